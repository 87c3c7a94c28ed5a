use std::time::Duration;

use anyhow::ensure;
use logpipe_e2e::{Bed, run, until};
use serde_json::json;

use crate::START;

const LINES: u64 = 200_000;

#[tokio::test]
async fn a_change_of_kafkas_config_rolls_unseen_by_the_workers() {
    run("config-three", async |bed: &Bed| config(bed, 3).await).await;
}

#[tokio::test]
async fn the_restart_of_a_single_broker_is_a_pause_and_no_error() {
    run("config-one", async |bed: &Bed| config(bed, 1).await).await;
}

async fn config(bed: &Bed, brokers: i32) -> anyhow::Result<()> {
    let spec = json!({
        "source": {"generator": {"maxEvents": LINES, "eventsPerSecond": 1000}},
        "kafka": {"managed": {"replicas": brokers}},
        "etl": {"replicas": 2},
    });
    let pipeline = bed.pipeline("shop", &spec).await?;
    pipeline.wait_until_ready(START).await?;
    pipeline.wait_for_lines(1, START).await?;
    let before = bed.starts("shop", "kafka").await?;
    let workers = (
        bed.starts("shop", "source").await?,
        bed.starts("shop", "etl").await?,
    );
    bed.say("ready");
    pipeline
        .edit(&json!({"kafka": {"managed": {"config": {"log.retention.hours": "48"}}}}))
        .await?;
    until(
        "each broker is another pod",
        Duration::from_mins(6),
        async || {
            let now = bed.starts("shop", "kafka").await?;
            let all = now.len() == before.len();
            Ok((all && before.iter().all(|(name, old)| now[name].0 != old.0)).then_some(()))
        },
    )
    .await?;
    pipeline.wait_until_ready(START).await?;
    bed.say("rolled");
    for _ in 0..3 {
        pipeline.wait_for_more(Duration::from_mins(2)).await?;
    }
    let now = (
        bed.starts("shop", "source").await?,
        bed.starts("shop", "etl").await?,
    );
    ensure!(
        now == workers,
        "a worker was started again: {workers:?} became {now:?}"
    );
    bed.no_container_failed("shop").await?;
    pipeline
        .edit(&json!({"source": {"generator": {"eventsPerSecond": 0}}}))
        .await?;
    pipeline.wait_for_lines(LINES, START).await?;
    pipeline.audit(LINES).await.map(drop)
}
