//! Against real parts: Apache Kafka, as `hack/parts up` starts it. Where it is missing each test says so and passes,
//! unless `LOGPIPE_REQUIRE_PARTS=1`.

mod kafka;
