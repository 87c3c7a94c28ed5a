use std::time::Duration;

use anyhow::Context;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, Patch, PatchParams};
use logpipe_e2e::{Bed, run_alone, until, worker_image};
use serde_json::json;

use crate::START;

const LINES: u64 = 150_000;

#[tokio::test]
async fn operator_and_workers_are_upgraded_under_load() {
    run_alone("upgrade", upgrade).await;
}

async fn upgrade(bed: &Bed) -> anyhow::Result<()> {
    let Ok(next) = std::env::var("LOGPIPE_E2E_NEXT_WORKER_IMAGE") else {
        bed.say("not available: LOGPIPE_E2E_NEXT_WORKER_IMAGE names no other image");
        return Ok(());
    };
    let outcome = under_load(bed, &next).await;
    // The other tests find the operator as it was, whatever happened.
    set_worker_image(bed, &worker_image()).await?;
    outcome
}

async fn under_load(bed: &Bed, next: &str) -> anyhow::Result<()> {
    let spec = json!({
        "source": {"generator": {"maxEvents": LINES, "eventsPerSecond": 1000}},
        "etl": {"replicas": 2},
    });
    let pipeline = bed.pipeline("shop", &spec).await?;
    pipeline.wait_until_ready(START).await?;
    pipeline.wait_for_lines(1, START).await?;
    for image in [next, &worker_image(), next] {
        set_worker_image(bed, image).await?;
        rolled(bed, image).await?;
        pipeline.wait_until_ready(START).await?;
        bed.say(&format!("operator and workers have {image}"));
        pipeline.wait_for_more(Duration::from_mins(2)).await?;
    }
    pipeline.is_under_load(LINES).await?;
    bed.no_container_failed("shop").await?;
    pipeline.finish(LINES).await
}

/// As an upgrade of the chart does it: another operator, whose workers are of another image.
async fn set_worker_image(bed: &Bed, image: &str) -> anyhow::Result<()> {
    let api: Api<Deployment> = Api::namespaced(bed.client().clone(), "logpipe-system");
    let patch = json!({"spec": {"template": {"spec": {"containers": [
        {"name": "operator", "env": [{"name": "LOGPIPE_WORKER_IMAGE", "value": image}]},
    ]}}}});
    let name = "logpipe-operator";
    api.patch(name, &PatchParams::default(), &Patch::Strategic(&patch))
        .await
        .context("the operator's Deployment cannot be changed")?;
    until(
        "the operator is another one",
        Duration::from_mins(2),
        async || {
            let found = api.get(name).await?;
            let status = found.status.unwrap_or_default();
            let seen = status.observed_generation == found.metadata.generation;
            let replicas = (
                status.updated_replicas,
                status.replicas,
                status.available_replicas,
            );
            Ok((seen && replicas == (Some(1), Some(1), Some(1))).then_some(()))
        },
    )
    .await
}

async fn rolled(bed: &Bed, image: &str) -> anyhow::Result<()> {
    until(
        "all workers have the image",
        Duration::from_mins(5),
        async || {
            let mut pods = bed.pods("shop", "etl").await?;
            pods.extend(bed.pods("shop", "source").await?);
            let all = pods.iter().all(|pod| {
                let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
                containers
                    .into_iter()
                    .all(|container| container.image.as_deref() == Some(image))
            });
            Ok((all && pods.len() == 3).then_some(()))
        },
    )
    .await
}
