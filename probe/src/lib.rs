//! What the operator and the probe in a broker's pod ask a broker, and whether a broker is ready. Touches no
//! more than the stream that it is given.

pub mod ready;
pub mod wire;

/// An error with its causes.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
