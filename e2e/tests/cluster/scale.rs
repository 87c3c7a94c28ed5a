use std::time::Duration;

use kube::api::{Patch, PatchParams};
use logpipe_api::LogPipeline;
use logpipe_e2e::{Bed, run, until};
use serde_json::json;

use crate::START;

const LINES: u64 = 200_000;

#[tokio::test]
async fn workers_come_and_go_under_load() {
    run("scale", scale).await;
}

async fn scale(bed: &Bed) -> anyhow::Result<()> {
    let spec = json!({
        "source": {"generator": {"maxEvents": LINES, "eventsPerSecond": 1000}},
        "kafka": {"topic": {"partitions": 6}},
    });
    let pipeline = bed.pipeline("shop", &spec).await?;
    pipeline.wait_until_ready(START).await?;
    pipeline.wait_for_lines(1, START).await?;
    for workers in [6, 2] {
        // As `kubectl scale` does it.
        let patch = json!({"spec": {"replicas": workers}});
        let api = bed.api::<LogPipeline>();
        api.patch_scale("shop", &PatchParams::default(), &Patch::Merge(&patch))
            .await?;
        until(
            "the workers are as many as asked",
            Duration::from_mins(4),
            async || {
                let told = pipeline.get().await?.status.unwrap_or_default().etl;
                let ready = told
                    .is_some_and(|etl| (etl.replicas, etl.ready_replicas) == (workers, workers));
                Ok(
                    (ready && bed.pods("shop", "etl").await?.len() == workers as usize)
                        .then_some(()),
                )
            },
        )
        .await?;
        bed.say(&format!("{workers} workers"));
        for _ in 0..3 {
            pipeline.wait_for_more(Duration::from_mins(2)).await?;
        }
    }
    pipeline.is_under_load(LINES).await?;
    bed.no_container_failed("shop").await?;
    pipeline.finish(LINES).await
}
