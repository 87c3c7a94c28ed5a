use std::time::Duration;

use anyhow::ensure;
use kube::discovery::ApiResource;
use logpipe_e2e::{Bed, Objects, nothing, operator_writes, run, until};
use serde_json::json;

use crate::START;

const LINES: u64 = 20_000;

/// How long the pipeline rests before a worker notes what it has read and gave no row, which it does once.
const IDLE: Duration = Duration::from_secs(5);

#[tokio::test]
async fn an_idle_pipeline_is_not_written_to() {
    run("idle", idle).await;
}

async fn idle(bed: &Bed) -> anyhow::Result<()> {
    let minutes: u64 =
        std::env::var("LOGPIPE_E2E_IDLE_MINUTES").map_or(Ok(1), |text| text.parse())?;
    let spec = json!({
        "source": {"generator": {"maxEvents": LINES, "eventsPerSecond": 0}},
        "sink": {"rotation": {"idleSeconds": IDLE.as_secs()}},
    });
    let pipeline = bed.pipeline("shop", &spec).await?;
    pipeline.wait_until_ready(START).await?;
    let totals = pipeline.wait_for_lines(LINES, START).await?;
    pipeline.wait_until_told(totals).await?;
    let kinds = bed.kinds().await?;
    let before = settled(bed, &kinds).await?;
    let written = operator_writes(&bed.namespace)?;
    bed.say(&format!("{} objects, {minutes} minutes", before.len()));
    nothing(
        "something changed",
        Duration::from_mins(minutes),
        async || Ok(changes(&before, &bed.objects(&kinds).await?)),
    )
    .await?;
    match (written, operator_writes(&bed.namespace)?) {
        (Some(before), Some(after)) => {
            ensure!(
                before == after,
                "the operator wrote {} times",
                after - before
            );
            bed.say(&format!(
                "no object changed; the operator wrote {before} times before, and then not once"
            ));
        }
        _ => bed.say("no object changed; there is no audit log to count the operator's writes in"),
    }
    pipeline.audit(LINES).await
}

/// Every object, once nothing has changed for some times as long as a worker waits.
async fn settled(bed: &Bed, kinds: &[ApiResource]) -> anyhow::Result<Objects> {
    let mut before = bed.objects(kinds).await?;
    until("the pipeline rests", START, async || {
        tokio::time::sleep(IDLE * 3).await;
        let after = bed.objects(kinds).await?;
        let rests = changes(&before, &after).is_empty();
        before = after;
        Ok(rests.then_some(()))
    })
    .await?;
    Ok(before)
}

fn changes(before: &Objects, after: &Objects) -> Vec<String> {
    let keys = before.keys().chain(after.keys());
    let version = |objects: &Objects, key: &String| objects.get(key).map(|found| found.0.clone());
    let changed = keys.filter(|key| version(before, key) != version(after, key));
    changed.cloned().collect()
}
