//! What the operator, the workers and the command line agree on: the [`LogPipeline`] resource, the
//! settings of each worker and the [`Plan`] that decides which line becomes which row.
//!
//! This crate touches nothing: no client, no Kafka, no disk, no clock.

mod hex;
pub mod names;
pub mod pipeline;
pub mod plan;
pub mod quantity;
pub mod settings;

pub use hex::hex;
pub use pipeline::{LogPipeline, LogPipelineSpec};
pub use plan::{Plan, PlanHash};
