use std::time::Duration;

use anyhow::ensure;
use logpipe_e2e::{Bed, Objects, nothing, operator_writes, run};
use serde_json::json;

use crate::START;

const LINES: u64 = 20_000;

#[tokio::test]
async fn an_idle_pipeline_is_not_written_to() {
    run("idle", idle).await;
}

async fn idle(bed: &Bed) -> anyhow::Result<()> {
    let minutes: u64 =
        std::env::var("LOGPIPE_E2E_IDLE_MINUTES").map_or(Ok(1), |text| text.parse())?;
    let spec = json!({"source": {"generator": {"maxEvents": LINES, "eventsPerSecond": 0}}});
    let pipeline = bed.pipeline("shop", &spec).await?;
    pipeline.wait_until_ready(START).await?;
    let totals = pipeline.wait_for_lines(LINES, START).await?;
    pipeline.wait_until_told(totals).await?;
    let kinds = bed.kinds().await?;
    let before = bed.objects(&kinds).await?;
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

fn changes(before: &Objects, after: &Objects) -> Vec<String> {
    let keys = before.keys().chain(after.keys());
    let version = |objects: &Objects, key: &String| objects.get(key).map(|found| found.0.clone());
    let changed = keys.filter(|key| version(before, key) != version(after, key));
    changed.cloned().collect()
}
