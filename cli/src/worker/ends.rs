//! Asks now and then where the partitions of an ETL worker end, which the checkpoints and the metrics tell as lag.
//! Touches Kafka.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use logpipe_workers::etl::Control;
use logpipe_workers::log::Log;

const EVERY: Duration = Duration::from_secs(15);

/// The first answer should be there before the first commit.
const AT_FIRST: Duration = Duration::from_secs(1);

/// Asks until the process ends: whoever waits for an answer of Kafka must not keep it from ending.
pub(super) fn watch(log: Arc<dyn Log>, control: Arc<Control>) -> anyhow::Result<()> {
    std::thread::Builder::new()
        .name("ends".to_owned())
        .spawn(move || {
            loop {
                std::thread::sleep(if ask(log.as_ref(), &control) {
                    EVERY
                } else {
                    AT_FIRST
                });
            }
        })
        .context("cannot start the thread ends")?;
    Ok(())
}

/// Whether there was a partition to ask for.
fn ask(log: &dyn Log, control: &Control) -> bool {
    let numbers: Vec<u32> = control.seen().all().into_keys().collect();
    for &number in &numbers {
        match log.end(number) {
            Ok(end) => control.seen().note_end(number, end),
            Err(error) => {
                // Who reads says it, too; the others would wait as long.
                tracing::debug!(%error, number, "the end of a partition is not known");
                break;
            }
        }
    }
    !numbers.is_empty()
}
