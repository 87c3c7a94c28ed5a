//! Why a reconciliation fails, and what an answer of the API server means. Pure.

use std::time::Duration;

use crate::apply::ApplyError;
use crate::observe::ObserveError;

/// Why a reconciliation did not come to its end. All of it is tried again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The pipeline's objects could not be listed.
    #[error(transparent)]
    Observe(#[from] ObserveError),
    /// An object could not be made, changed or removed.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The status could not be written.
    #[error("failed to write the status")]
    Status(#[source] kube::Error),
    /// The finalizer could not be set or removed.
    #[error("failed to change the finalizer")]
    Finalizer(#[source] kube::Error),
    /// It took too long.
    #[error(
        "not done after {0:?}: the API server does not answer, or slowly; what was done stays, and the rest is tried again"
    )]
    Timeout(Duration),
    /// A defect.
    #[error("a defect of the operator: please report it with this: {0}")]
    Panic(String),
}

/// What the API server said, without the rest of its answer.
pub fn server_message(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// Whether trying again gives the same answer.
pub fn is_permanent(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => matches!(status.code, 400 | 403 | 405 | 413 | 422),
        _ => false,
    }
}
