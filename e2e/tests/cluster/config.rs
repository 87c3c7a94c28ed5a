use std::time::Duration;

use anyhow::ensure;
use logpipe_e2e::{Bed, Pipeline, run, until};
use serde_json::{Value, json};

use crate::START;

const LINES: u64 = 300_000;

#[tokio::test]
async fn a_change_of_kafkas_config_rolls_unseen_by_the_workers() {
    run("config-three", three).await;
}

#[tokio::test]
async fn the_restart_of_a_single_broker_is_a_pause_and_no_error() {
    run("config-one", one).await;
}

async fn three(bed: &Bed) -> anyhow::Result<()> {
    let pipeline = start(bed, 3).await?;
    let workers = bed.workers().await?;
    rolls(bed, &pipeline, 3, &retention("48")).await?;
    ensure!(
        bed.workers().await? == workers,
        "a worker was started again"
    );
    bed.no_container_failed("shop").await?;
    // One that no broker starts with takes a single broker away, and can be mended.
    pipeline.edit(&retention("never")).await?;
    until("a broker fails", Duration::from_mins(3), async || {
        let kafka = pipeline.condition("KafkaReady").await?;
        Ok((kafka.reason == "PodFailing").then_some(()))
    })
    .await?;
    for _ in 0..3 {
        pipeline.wait_for_more(Duration::from_mins(2)).await?;
    }
    ensure!(
        bed.ready("shop", "kafka").await? == 2,
        "more than one broker has gone"
    );
    bed.say("a bad setting stopped at the first broker, and lines went on");
    rolls(bed, &pipeline, 3, &retention("24")).await?;
    ensure!(
        bed.workers().await? == workers,
        "a worker was started again"
    );
    pipeline.finish(LINES).await
}

async fn one(bed: &Bed) -> anyhow::Result<()> {
    let pipeline = start(bed, 1).await?;
    let workers = bed.workers().await?;
    rolls(bed, &pipeline, 1, &retention("48")).await?;
    ensure!(
        bed.workers().await? == workers,
        "a worker was started again"
    );
    bed.no_container_failed("shop").await?;
    pipeline.finish(LINES).await
}

async fn start(bed: &Bed, brokers: i32) -> anyhow::Result<Pipeline<'_>> {
    let spec = json!({
        "source": {"generator": {"maxEvents": LINES, "eventsPerSecond": 1000}},
        "kafka": {"managed": {"replicas": brokers}},
        "etl": {"replicas": 2},
    });
    let pipeline = bed.pipeline("shop", &spec).await?;
    pipeline.wait_until_ready(START).await?;
    pipeline.wait_for_lines(1, START).await?;
    bed.say("ready");
    Ok(pipeline)
}

fn retention(hours: &str) -> Value {
    json!({"kafka": {"managed": {"config": {"log.retention.hours": hours}}}})
}

/// Edits the spec, and waits until each broker is another pod and lines go on; at most one was away at a time.
pub(crate) async fn rolls(
    bed: &Bed,
    pipeline: &Pipeline<'_>,
    brokers: usize,
    spec: &Value,
) -> anyhow::Result<()> {
    let before = bed.starts("shop", "kafka").await?;
    let begun = bed.seconds();
    let mut fewest = brokers;
    pipeline.edit(spec).await?;
    until(
        "each broker is another pod",
        Duration::from_mins(6),
        async || {
            fewest = fewest.min(bed.ready("shop", "kafka").await?);
            let now = bed.starts("shop", "kafka").await?;
            let another = |(name, old): (&String, &(Option<String>, i32))| {
                now.get(name).is_some_and(|new| new.0 != old.0)
            };
            Ok(before.iter().all(another).then_some(()))
        },
    )
    .await?;
    pipeline.wait_until_ready(START).await?;
    ensure!(
        fewest + 1 >= brokers,
        "only {fewest} of {brokers} brokers were ready"
    );
    bed.say(&format!("rolled in {:.0} s", bed.seconds() - begun));
    for _ in 0..3 {
        pipeline.wait_for_more(Duration::from_mins(2)).await?;
    }
    Ok(())
}
