use std::time::Duration;

use anyhow::{Context, ensure};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::api::{Patch, PatchParams, PostParams};
use logpipe_api::LogPipeline;
use logpipe_e2e::{Bed, Pipeline, run_alone, until};
use serde_json::json;

use crate::START;

const LINES: u64 = 5_000_000;
const MOST: i32 = 3;

/// Its metrics are seconds old, and it looks every 15 s.
const AUTOSCALER: Duration = Duration::from_mins(5);

#[tokio::test]
async fn an_autoscaler_follows_the_load() {
    run_alone("autoscaler", autoscaler).await;
}

async fn autoscaler(bed: &Bed) -> anyhow::Result<()> {
    if kube::discovery::group(bed.client(), "metrics.k8s.io")
        .await
        .is_err()
    {
        bed.say("not available: the cluster has no metrics.k8s.io: it needs metrics-server");
        return Ok(());
    }
    let high = json!({
        "source": {"generator": {"maxEvents": LINES, "eventsPerSecond": 40_000}},
        "kafka": {"topic": {"partitions": 6}},
        "etl": {"resources": {"requests": {"cpu": "20m", "memory": "512Mi"}, "limits": {"memory": "1Gi"}}},
    });
    let pipeline = bed.pipeline("shop", &high).await?;
    pipeline.wait_until_ready(START).await?;
    pipeline.wait_for_lines(1, START).await?;
    bed.api()
        .create(&PostParams::default(), &hpa("shop")?)
        .await?;
    has_workers(bed, &pipeline, MOST).await?;
    for _ in 0..3 {
        pipeline.wait_for_more(Duration::from_mins(2)).await?;
    }
    let still = statefulset(bed).await?;
    ensure!(
        still == MOST,
        "something set {MOST} workers to {still} under load"
    );
    // The user's manifest, applied again with less load, says nothing of the number.
    let mut low = high.clone();
    low["source"]["generator"]["eventsPerSecond"] = json!(100);
    let params = PatchParams::apply("kubectl").force();
    let applied = bed
        .api::<LogPipeline>()
        .patch("shop", &params, &Patch::Apply(&bed.manifest("shop", &low)))
        .await?;
    ensure!(
        applied.spec.etl.replicas == MOST,
        "an apply of a manifest without a number set it to {}",
        applied.spec.etl.replicas
    );
    bed.say("the load is over");
    has_workers(bed, &pipeline, 1).await?;
    pipeline.wait_for_more(Duration::from_mins(2)).await?;
    pipeline.is_under_load(LINES).await?;
    bed.no_container_failed("shop").await?;
    pipeline.finish(LINES).await
}

/// Of `docs/how-to/pods.md`, with less patience.
fn hpa(pipeline: &str) -> anyhow::Result<HorizontalPodAutoscaler> {
    Ok(serde_json::from_value(json!({
        "metadata": {"name": pipeline},
        "spec": {
            "scaleTargetRef": {"apiVersion": "logpipe.dev/v1alpha1", "kind": "LogPipeline", "name": pipeline},
            "minReplicas": 1,
            "maxReplicas": MOST,
            "metrics": [{"type": "Resource", "resource": {
                "name": "cpu",
                "target": {"type": "Utilization", "averageUtilization": 60},
            }}],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 30}},
        },
    }))?)
}

/// Waits until the autoscaler made them so many. The StatefulSet may only come nearer to that number: an operator that
/// puts it back is seen as a step the other way.
async fn has_workers(bed: &Bed, pipeline: &Pipeline<'_>, wanted: i32) -> anyhow::Result<()> {
    let mut steps = vec![statefulset(bed).await?];
    let what = format!("the autoscaler makes it {wanted} workers");
    let outcome = until(&what, AUTOSCALER, async || {
        let now = statefulset(bed).await?;
        if steps.last() != Some(&now) {
            let load = load(bed).await?;
            bed.say(&format!("{now} workers, with a load of {load}"));
            steps.push(now);
        }
        let object = pipeline.get().await?;
        let told = object.status.unwrap_or_default().etl;
        let ready = told.is_some_and(|etl| (etl.replicas, etl.ready_replicas) == (wanted, wanted));
        let pods = bed.pods("shop", "etl").await?.len();
        let asked = object.spec.etl.replicas == wanted && now == wanted;
        Ok((asked && ready && pods == wanted as usize).then_some(()))
    })
    .await;
    outcome.with_context(|| format!("the StatefulSet had {steps:?}"))?;
    let nearer = |pair: &[i32]| (pair[1] - wanted).abs() < (pair[0] - wanted).abs();
    ensure!(
        steps.windows(2).all(nearer),
        "something fights the autoscaler: the StatefulSet had {steps:?} workers"
    );
    bed.say(&format!("{wanted} workers are ready"));
    Ok(())
}

async fn statefulset(bed: &Bed) -> anyhow::Result<i32> {
    let set = bed.api::<StatefulSet>().get("shop-etl").await?;
    let replicas = set.spec.and_then(|spec| spec.replicas);
    replicas.context("the StatefulSet has no number of replicas")
}

/// What the autoscaler saw, in percent of the CPU that the workers ask for.
async fn load(bed: &Bed) -> anyhow::Result<String> {
    let hpa = bed.api::<HorizontalPodAutoscaler>().get("shop").await?;
    let metrics = hpa.status.and_then(|status| status.current_metrics);
    let cpu = metrics.into_iter().flatten().find_map(|metric| {
        let current = metric.resource?.current;
        Some((current.average_utilization?, current.average_value?.0))
    });
    Ok(cpu.map_or("unknown".to_owned(), |(percent, value)| {
        format!("{percent} % ({value}) a worker")
    }))
}
