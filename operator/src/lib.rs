//! The operator: a `LogPipeline` becomes Kafka, a topic, a source, checkpoints and ETL workers.
//!
//! ```text
//! watch ─▶ validate ─▶ desired::objects ─▶ apply ─▶ status::of ─▶ patch the status
//!          (pure)       (pure)             (client)  (pure)        (client)
//! ```
//!
//! It reads no Secret, holds no password, and dials nothing but the API server and the pods of the brokers it made.

pub mod apply;
mod brokers;
pub mod config;
pub mod conflicts;
pub mod context;
pub mod controller;
pub mod desired;
pub mod error;
pub mod health;
mod identity;
pub mod leader;
mod memory;
pub mod metrics;
mod namespaces;
pub mod observe;
pub mod progress;
pub mod reconcile;
pub mod shutdown;
pub mod status;
pub mod validate;
pub mod volumes;

mod object;
mod pending;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use logpipe_probe::chain;
pub use object::{Kind, Object};
pub use pending::Pending;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic cannot have left half an entry.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
