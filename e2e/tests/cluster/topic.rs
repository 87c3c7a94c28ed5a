use std::time::Duration;

use anyhow::ensure;
use logpipe_e2e::{Bed, run};
use serde_json::json;

use crate::START;

const LINES: u64 = 100_000;

#[tokio::test]
async fn a_topic_gets_partitions_and_settings_under_load() {
    run("topic", topic).await;
}

async fn topic(bed: &Bed) -> anyhow::Result<()> {
    let spec = json!({
        "source": {"generator": {"maxEvents": LINES, "eventsPerSecond": 1000}},
        "kafka": {"topic": {"partitions": 2, "config": {"retention.ms": "7200000"}}},
        "etl": {"replicas": 2},
    });
    let pipeline = bed.pipeline("shop", &spec).await?;
    pipeline.wait_until_ready(START).await?;
    pipeline.wait_for_lines(1, START).await?;
    let change = json!({
        "kafka": {"topic": {"partitions": 5, "config": {"retention.ms": "3600000"}}},
        "etl": {"replicas": 5},
    });
    pipeline.edit(&change).await?;
    pipeline.wait_until_ready(START).await?;
    let status = pipeline.get().await?.status.unwrap_or_default();
    let told = (
        status.topic.map(|topic| topic.partitions),
        status.checkpoints.map(|checkpoints| checkpoints.partitions),
        status.etl.map(|etl| etl.ready_replicas),
    );
    ensure!(
        told == (Some(5), Some(5), Some(5)),
        "partitions, checkpoints and workers are told as {told:?}"
    );
    bed.say("5 partitions, 5 workers");
    pipeline.wait_for_more(Duration::from_mins(2)).await?;
    pipeline.is_under_load(LINES).await?;
    bed.no_container_failed("shop").await?;
    pipeline.finish(LINES).await
}
