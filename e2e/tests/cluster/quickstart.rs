use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::ensure;
use logpipe_api::LogPipeline;
use logpipe_e2e::{Bed, run_alone, until};
use serde_json::json;

use crate::START;

const LINES: u64 = 100_000;

const EXAMPLE: &str = include_str!("../../../examples/cluster.yaml");

#[tokio::test]
async fn a_manifest_becomes_rows_and_its_deletion_leaves_nothing() {
    run_alone("quickstart", quickstart).await;
}

async fn quickstart(bed: &Bed) -> anyhow::Result<()> {
    let kinds = bed.kinds().await?;
    let before: BTreeSet<String> = bed.objects(&kinds).await?.into_keys().collect();
    let begun = bed.seconds();
    let spec = json!({
        "source": {"generator": {"maxEvents": LINES, "eventsPerSecond": 0}},
        "sink": {"rotation": {"intervalSeconds": 5}},
    });
    let pipeline = bed.example(EXAMPLE, &spec).await?;
    pipeline.wait_until_ready(START).await?;
    let ready = bed.seconds() - begun;
    pipeline.wait_for_lines(1, START).await?;
    let first = bed.seconds() - begun;
    bed.say(&format!(
        "ready after {ready:.1} s, the first file is committed after {first:.1} s"
    ));
    let limit: f64 =
        std::env::var("LOGPIPE_E2E_START_SECONDS").map_or(Ok(90.0), |text| text.parse())?;
    ensure!(
        first.max(ready) < limit,
        "quickstart took more than {limit} s"
    );
    let totals = pipeline.wait_for_lines(LINES, START).await?;
    bed.say(&format!("{totals:?}"));
    pipeline.audit(LINES).await?;
    pipeline.wait_until_told(totals).await?;
    pipeline.delete().await?;
    until("the pipeline is gone", Duration::from_mins(5), async || {
        let found = bed.api::<LogPipeline>().get_opt(&pipeline.name).await?;
        Ok(found.is_none().then_some(()))
    })
    .await?;
    bed.say("the pipeline is gone");
    let mut left = Vec::new();
    let outcome = until("nothing is left", Duration::from_mins(2), async || {
        let now = bed.objects(&kinds).await?.into_keys();
        left = now
            .filter(|key| !before.contains(key) && key != "ConfigMap/audit")
            .collect();
        Ok(left.is_empty().then_some(()))
    })
    .await;
    ensure!(outcome.is_ok(), "the deletion left {left:?}");
    Ok(())
}
