//! What runs requests over the network beside the threads that work.

use anyhow::Context;
use tokio::runtime::{Builder, Runtime};

/// Its own thread drives the network while others wait, as one does in the middle of a Parquet reader.
pub(crate) fn start() -> anyhow::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("network")
        .enable_all()
        .build()
        .context("failed to start the runtime")
}
