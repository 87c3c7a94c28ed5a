//! Waiting for something that can be seen. The only place that sleeps.

use std::time::{Duration, Instant};

use anyhow::{bail, ensure};

/// Between two looks.
const STEP: Duration = Duration::from_millis(250);

/// Looks until there is something. A look that fails is tried again: the API server may be busy.
pub async fn until<T>(
    what: &str,
    within: Duration,
    mut look: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let begun = Instant::now();
    loop {
        let seen = look().await;
        if let Ok(Some(found)) = seen {
            return Ok(found);
        }
        if begun.elapsed() > within {
            let last = seen.err().map(|error| format!(": {error:#}"));
            bail!(
                "{what}: not within {} s{}",
                within.as_secs(),
                last.unwrap_or_default()
            );
        }
        tokio::time::sleep(STEP).await;
    }
}

/// Looks now and then, for so long, and fails at the first thing that is seen.
pub async fn nothing(
    what: &str,
    span: Duration,
    mut look: impl AsyncFnMut() -> anyhow::Result<Vec<String>>,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let seen = look().await?;
        ensure!(
            seen.is_empty(),
            "{what} after {} s: {seen:?}",
            begun.elapsed().as_secs()
        );
        if begun.elapsed() > span {
            return Ok(());
        }
        tokio::time::sleep(STEP * 20).await;
    }
}
