//! Real servers: what `hack/parts up` starts, `hack/test-parts` tests. Without them each test says so and ends.

// A helper of tests fails as a test does.
#![allow(clippy::unwrap_used)]

mod s3;

/// What `hack/parts` says in a variable; `None`, with a note, where the parts are not up.
fn part(variable: &str) -> Option<String> {
    if let Ok(value) = std::env::var(variable) {
        return Some(value);
    }
    let required = std::env::var("LOGPIPE_REQUIRE_PARTS").is_ok_and(|value| value == "1");
    assert!(!required, "{variable} is not set: run hack/test-parts");
    eprintln!("not available: run hack/test-parts");
    None
}
