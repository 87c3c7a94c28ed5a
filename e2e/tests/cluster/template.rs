use std::time::Duration;

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use logpipe_e2e::{Bed, run, until};
use serde_json::{Value, json};

use crate::START;

const LINES: u64 = 120_000;

#[tokio::test]
async fn what_is_laid_over_pods_is_there_and_rolls_without_loss() {
    run("template", template).await;
}

async fn template(bed: &Bed) -> anyhow::Result<()> {
    let spec = json!({
        "source": {"generator": {"maxEvents": LINES, "eventsPerSecond": 500}},
        "etl": {"replicas": 2},
    });
    let pipeline = bed.pipeline("shop", &spec).await?;
    pipeline.wait_until_ready(START).await?;
    pipeline.wait_for_lines(1, START).await?;
    let brokers = bed.starts("shop", "kafka").await?;
    let workers = overlay(bed, "one").await?;
    pipeline.edit(&workers).await?;
    workers_have(bed, "one").await?;
    pipeline.wait_until_ready(START).await?;
    ensure!(
        bed.starts("shop", "kafka").await? == brokers,
        "a broker was touched"
    );
    bed.say("both workers have affinity, annotation and a container of ours");
    pipeline.wait_for_more(START).await?;

    let all = json!({"podTemplate": {"metadata": {"labels": {"team": "data"}}}});
    pipeline.edit(&all).await?;
    for component in ["source", "etl", "kafka"] {
        until("each pod has the label", START, async || {
            let pods = bed.pods("shop", component).await?;
            let labelled = |pod: &Pod| pod.labels().get("team").is_some_and(|team| team == "data");
            Ok((!pods.is_empty() && pods.iter().all(labelled)).then_some(()))
        })
        .await?;
    }
    pipeline.wait_until_ready(START).await?;
    bed.say("every pod has the label");

    let wrong = json!({"etl": {"podTemplate": {"spec": {"restartPolicy": "Never"}}}});
    pipeline.edit(&wrong).await?;
    let told = pipeline
        .wait_for("Stalled", Some("InvalidSpec"), Duration::from_mins(2))
        .await?;
    ensure!(
        told.message
            .contains("spec.etl.podTemplate.spec.restartPolicy"),
        "{}",
        told.message
    );
    pipeline.wait_for_more(START).await?;
    pipeline
        .edit(&json!({"etl": {"podTemplate": null}}))
        .await?;
    pipeline.wait_until_ready(START).await?;
    bed.say("a wrong template was told, and lines went on");
    bed.no_container_failed("shop").await?;
    pipeline.finish(LINES).await
}

/// A container that waits, in an image that the node has: that of the brokers, for its shell.
async fn overlay(bed: &Bed, mark: &str) -> anyhow::Result<Value> {
    let brokers = bed.pods("shop", "kafka").await?;
    let spec = brokers.first().and_then(|pod| pod.spec.as_ref());
    let image = spec.and_then(|spec| spec.containers[0].image.clone());
    let image = image.context("there is no broker")?;
    Ok(json!({"etl": {"podTemplate": {
        "metadata": {"annotations": {"example.com/mark": mark}},
        "spec": {
            "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{
                "weight": 1,
                "podAffinityTerm": {
                    "topologyKey": "kubernetes.io/hostname",
                    "labelSelector": {"matchLabels": {"logpipe.dev/component": "kafka"}},
                },
            }]}},
            "containers": [{
                "name": "agent",
                "image": image,
                "command": ["/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1; done"],
                "resources": {"requests": {"cpu": "5m", "memory": "8Mi"}},
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            }],
        },
    }}}))
}

async fn workers_have(bed: &Bed, mark: &str) -> anyhow::Result<()> {
    until("both workers have it", START, async || {
        let pods = bed.pods("shop", "etl").await?;
        let has = |pod: &Pod| {
            let marked = pod.annotations().get("example.com/mark");
            let spec = pod.spec.as_ref();
            marked.is_some_and(|found| found == mark)
                && spec.is_some_and(|spec| spec.containers.len() == 2 && spec.affinity.is_some())
        };
        let ready = bed.ready("shop", "etl").await?;
        Ok((ready == 2 && pods.len() == 2 && pods.iter().all(has)).then_some(()))
    })
    .await
}
