//! Against real parts: Apache Kafka and a real S3 server, as `hack/parts up` starts them. Where they are missing each
//! test says so and passes, unless `LOGPIPE_REQUIRE_PARTS=1`.

// A test says what it expects by failing.
#![allow(clippy::unwrap_used)]

mod kafka;
mod s3;
