use std::time::Duration;

use anyhow::ensure;
use kube::ResourceExt;
use logpipe_e2e::{Bed, Pipeline, run};
use serde_json::json;

use crate::START;

const LINES: u64 = 400_000;

const EXAMPLE: &str = include_str!("../../../examples/brokers.yaml");

#[tokio::test]
async fn every_pod_a_disk_and_the_operator_may_go_under_load() {
    run("brokers", brokers).await;
}

async fn brokers(bed: &Bed) -> anyhow::Result<()> {
    let spec = json!({
        "source": {"generator": {"maxEvents": LINES, "eventsPerSecond": 500}},
        "kafka": {"managed": {"resources": {"requests": {"cpu": "100m"}}}},
        "etl": {"resources": {"requests": {"cpu": "50m", "memory": "128Mi"}}},
        "sink": {"rotation": {"intervalSeconds": 5}},
    });
    let pipeline = bed.example(EXAMPLE, &spec).await?;
    pipeline.wait_until_ready(START).await?;
    bed.say("ready");
    ensure!(
        bed.pods("shop", "kafka").await?.len() == 3,
        "the example has other than three brokers"
    );
    pipeline.wait_for_lines(1, START).await?;
    for (component, grace_seconds) in [
        ("source", None),
        ("source", Some(1)),
        ("etl", None),
        ("etl", Some(1)),
        ("kafka", None),
        ("kafka", Some(1)),
    ] {
        for pod in bed.pods("shop", component).await? {
            bed.replace_pod(&pod.name_any(), grace_seconds).await?;
            goes_on(&pipeline).await?;
            let how = if grace_seconds.is_some() {
                "killed"
            } else {
                "deleted"
            };
            bed.say(&format!("{how} {}", pod.name_any()));
        }
    }
    // The first broker founded the quorum: an empty disk must not found another one.
    for pod in ["shop-kafka-0", "shop-kafka-1"] {
        bed.replace_pod_and_volume(pod).await?;
        goes_on(&pipeline).await?;
        bed.say(&format!("deleted {pod} and its volume"));
    }
    bed.replace_operator().await?;
    goes_on(&pipeline).await?;
    bed.say("deleted the operator");
    pipeline.is_under_load(LINES).await?;
    pipeline.finish(LINES).await
}

/// Lines become rows, and everything is ready again.
async fn goes_on(pipeline: &Pipeline<'_>) -> anyhow::Result<()> {
    pipeline.wait_for_more(Duration::from_mins(3)).await?;
    pipeline.wait_until_ready(Duration::from_mins(3)).await
}
