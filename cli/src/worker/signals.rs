//! SIGTERM and SIGINT: the first one drains, the second one ends at once, which is as safe.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;

/// How often a role looks whether it is to stop.
pub(super) const STEP: Duration = Duration::from_millis(50);

/// Set by the first signal.
pub(super) fn stop_flag() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::AcqRel) {
            std::process::exit(130);
        }
        tracing::info!("stopping: what was read is still brought to its end");
    })
    .context("cannot listen for signals")?;
    Ok(stop)
}
