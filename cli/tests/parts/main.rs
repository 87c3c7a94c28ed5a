//! The program against real parts: Apache Kafka and a real S3 server, as `hack/parts up` starts them. Where they are
//! missing each test says so and passes, unless `LOGPIPE_REQUIRE_PARTS=1`.

// A helper of tests fails as a test does.
#![allow(clippy::unwrap_used)]

mod verify;

/// What a variable of `hack/parts` says; a test without it ends here.
fn part(variable: &str) -> Option<String> {
    if let Ok(value) = std::env::var(variable) {
        return Some(value);
    }
    let required = std::env::var("LOGPIPE_REQUIRE_PARTS").is_ok_and(|value| value == "1");
    assert!(!required, "{variable} is not set: run hack/test-parts");
    eprintln!("not available: run hack/test-parts");
    None
}
