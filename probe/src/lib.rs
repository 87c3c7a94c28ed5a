//! What the operator and the probe in a broker's pod ask a broker, and whether a broker is ready. Touches no
//! more than the stream that it is given.

pub mod ready;
pub mod wire;
