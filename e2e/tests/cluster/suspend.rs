use std::time::Duration;

use anyhow::ensure;
use logpipe_e2e::{Bed, Pipeline, run, until};
use serde_json::json;

use crate::START;

const LINES: u64 = 60_000;

#[tokio::test]
async fn what_is_suspended_stands_still_and_goes_on_where_it_was() {
    run("suspend", suspend).await;
}

async fn suspend(bed: &Bed) -> anyhow::Result<()> {
    let spec = json!({"source": {"generator": {"maxEvents": LINES, "eventsPerSecond": 300}}});
    let pipeline = bed.pipeline("shop", &spec).await?;
    pipeline.wait_until_ready(START).await?;
    pipeline.wait_for_more(START).await?;
    set(&pipeline, "Sources", "Suspended").await?;
    has_pods(bed, 0, 1).await?;
    let drained = pipeline.totals().await?;
    bed.say(&format!("Sources: {drained:?}"));
    set(&pipeline, "None", "Running").await?;
    pipeline.wait_for_more(START).await?;
    bed.say("None: lines come in");
    set(&pipeline, "All", "Suspended").await?;
    has_pods(bed, 0, 0).await?;
    let stopped = pipeline.totals().await?;
    bed.say(&format!("All: {stopped:?}"));
    ensure!(
        !bed.pods("shop", "kafka").await?.is_empty(),
        "Kafka is gone"
    );
    set(&pipeline, "None", "Running").await?;
    bed.no_container_failed("shop").await?;
    pipeline.finish(LINES).await
}

async fn set(pipeline: &Pipeline<'_>, what: &str, reason: &str) -> anyhow::Result<()> {
    pipeline.edit(&json!({"suspend": what})).await?;
    pipeline
        .wait_for("Ready", Some(reason), START)
        .await
        .map(drop)
}

async fn has_pods(bed: &Bed, sources: usize, workers: usize) -> anyhow::Result<()> {
    until(
        "the pods are as many as they should",
        Duration::from_mins(3),
        async || {
            let now = (
                bed.pods("shop", "source").await?.len(),
                bed.pods("shop", "etl").await?.len(),
            );
            Ok((now == (sources, workers)).then_some(()))
        },
    )
    .await
}
