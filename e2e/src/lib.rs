//! What the tests on a real cluster share: a namespace for each, waiting, faults, the audit, and what is kept
//! when one fails. Talks to the API server and to nothing else.
//!
//! `hack/e2e` starts them. Without `LOGPIPE_E2E` they say that there is no cluster, and pass.

mod audit;
mod bed;
mod bundle;
mod objects;
mod pipeline;
mod pods;
mod program;
mod wait;

pub use bed::{Bed, run, run_alone};
pub use objects::{Objects, operator_writes};
pub use pipeline::{Pipeline, Totals};
pub use pods::Starts;
pub use program::{Program, kafka_image, worker_image};
pub use wait::{nothing, until};
