//! The operator: a `LogPipeline` becomes Kafka, a topic, a source, checkpoints and ETL workers.
//!
//! ```text
//! watch ─▶ validate ─▶ desired::objects ─▶ apply ─▶ status::of ─▶ patch the status
//!          (pure)       (pure)             (client)  (pure)        (client)
//! ```
//!
//! It reads no Secret, holds no password, and dials nothing but the API server.

//A pub mod apply;
pub mod config;
//A pub mod controller;
pub mod desired;
//A pub mod health;
//A pub mod leader;
//A pub mod observe;
//A pub mod progress;
//A pub mod status;
pub mod validate;

mod object;

pub use object::{Kind, Object};
