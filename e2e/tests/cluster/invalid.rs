use std::time::Duration;

use anyhow::ensure;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, PostParams};
use logpipe_api::LogPipeline;
use logpipe_e2e::{Bed, Pipeline, run, until};
use serde_json::{Value, json};

use crate::START;

const LINES: u64 = 60_000;

#[tokio::test]
async fn a_bad_manifest_is_refused_or_told_and_what_runs_goes_on() {
    run("invalid", invalid).await;
}

async fn invalid(bed: &Bed) -> anyhow::Result<()> {
    not_made(bed).await?;
    let spec = json!({
        "source": {"generator": {"maxEvents": LINES, "eventsPerSecond": 200}},
        "kafka": {"managed": {"replicas": 1}, "topic": {"partitions": 3}},
    });
    let pipeline = bed.pipeline("shop", &spec).await?;
    pipeline.wait_until_ready(START).await?;
    refused(&pipeline).await?;
    bed.say("every edit that must be refused was");
    let before = bed.starts("shop", "kafka").await?;
    stalls(&pipeline).await?;
    place_of_another(bed).await?;
    ensure!(
        bed.starts("shop", "kafka").await? == before,
        "a broker was touched"
    );
    pipeline.wait_for_more(START).await?;
    bed.say("what cannot be carried out was told, and lines went on");
    image_and_secret(&pipeline).await?;
    pipeline.finish(LINES).await?;
    checkpoint_gone(bed, &pipeline).await
}

/// New manifests that the API server must not take, and a part of what it must say.
async fn not_made(bed: &Bed) -> anyhow::Result<()> {
    let cases = [
        (
            json!({"source": {"files": {"paths": ["/a/*.log"]}}}),
            "exactly one of generator, files and topic",
        ),
        (
            json!({"kafka": {"managed": {"replicas": 2}}}),
            "must be 1, or 3 and more",
        ),
        (
            json!({"kafka": {"external": {"bootstrapServers": ["a:9092"]}}}),
            "at most one of managed and external",
        ),
        (
            json!({"transform": {"parser": {"type": "Regex"}}}),
            "pattern must be set for type Regex",
        ),
        (
            json!({"transform": {"schema": {"mode": "Declared"}}}),
            "fields must be set for mode Declared",
        ),
        (
            json!({"etl": {"replicas": 0}}),
            "greater than or equal to 1",
        ),
        (
            json!({"images": {"worker": {"repository": "w"}}}),
            "a tag or a digest",
        ),
        (
            json!({"sink": {"rotation": {"maxBytes": "1Ti"}}}),
            "between 1Mi and 512Mi",
        ),
        (json!({"suspend": "Maybe"}), "supported values"),
    ];
    for (spec, says) in cases {
        let object =
            serde_json::from_value::<kube::api::DynamicObject>(bed.manifest("bad", &spec))?;
        let kind = kube::core::ApiResource::erase::<LogPipeline>(&());
        let api = kube::Api::namespaced_with(bed.client().clone(), &bed.namespace, &kind);
        let outcome: Result<kube::api::DynamicObject, _> =
            api.create(&PostParams::default(), &object).await;
        let error = outcome
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        ensure!(
            error.contains(says),
            "{spec}: {error:?} does not say {says:?}"
        );
    }
    Ok(())
}

/// Edits that the API server must not take.
async fn refused(pipeline: &Pipeline<'_>) -> anyhow::Result<()> {
    let cases = [
        (
            json!({"sink": {"s3": {"bucket": "other"}}}),
            "must keep its bucket and prefix",
        ),
        (
            json!({"kafka": {"topic": {"partitions": 2}}}),
            "must not shrink",
        ),
        (
            json!({"kafka": {"topic": {"name": "other"}}}),
            "must not change",
        ),
        (json!({"kafka": {"managed": null}}), "must not be removed"),
        (
            json!({"source": {"generator": null, "topic": {}}}),
            "must keep its kind",
        ),
        (
            json!({"sink": {"partitionBy": {"time": {"granularity": "Day"}}}}),
            "must not change",
        ),
    ];
    for (spec, says) in cases {
        let error = pipeline.refused(&spec).await?;
        ensure!(
            error.contains(says),
            "{spec}: {error:?} does not say {says:?}"
        );
    }
    Ok(())
}

/// Edits that only the operator can judge; each is taken back.
async fn stalls(pipeline: &Pipeline<'_>) -> anyhow::Result<()> {
    let cases = [
        (
            json!({"config": {"listeners": "x"}}),
            json!({"config": null}),
            "config[listeners] is set by the operator: remove it",
        ),
        (
            json!({"resources": {"limits": {"memory": "64Mi"}}}),
            json!({"resources": {"limits": null}}),
            "raise resources.limits.memory",
        ),
    ];
    for (edit, back, says) in cases {
        pipeline.edit(&json!({"kafka": {"managed": edit}})).await?;
        stalled(pipeline, "InvalidSpec", says).await?;
        pipeline.edit(&json!({"kafka": {"managed": back}})).await?;
        pipeline.wait_until_ready(START).await?;
    }
    let edit = |factor: Value| json!({"kafka": {"topic": {"replicationFactor": factor}}});
    pipeline.edit(&edit(json!(3))).await?;
    stalled(pipeline, "InvalidSpec", "raise spec.kafka.managed.replicas").await?;
    pipeline.edit(&edit(Value::Null)).await?;
    pipeline.wait_until_ready(START).await
}

async fn stalled(pipeline: &Pipeline<'_>, reason: &str, says: &str) -> anyhow::Result<()> {
    let found = pipeline
        .wait_for("Stalled", Some(reason), Duration::from_mins(2))
        .await?;
    ensure!(
        found.message.contains(says),
        "{:?} does not say {says:?}",
        found.message
    );
    Ok(())
}

async fn place_of_another(bed: &Bed) -> anyhow::Result<()> {
    let second = bed.pipeline("second", &json!({})).await?;
    stalled(&second, "InvalidSpec", "where pipeline shop in namespace").await?;
    second.delete().await?;
    until(
        "the second pipeline is gone",
        Duration::from_mins(1),
        async || {
            Ok(bed
                .api::<LogPipeline>()
                .get_opt("second")
                .await?
                .is_none()
                .then_some(()))
        },
    )
    .await
}

/// An image that is nowhere and a Secret that is not there.
async fn image_and_secret(pipeline: &Pipeline<'_>) -> anyhow::Result<()> {
    let image = json!({"images": {"worker": {"repository": "localhost/nowhere", "tag": "1"}}});
    pipeline.edit(&image).await?;
    stalled(pipeline, "ImageUnavailable", "localhost/nowhere:1").await?;
    pipeline.edit(&json!({"images": {"worker": null}})).await?;
    pipeline.wait_until_ready(START).await?;
    let secret =
        |name: &str| json!({"sink": {"s3": {"credentials": {"secretRef": {"name": name}}}}});
    pipeline.edit(&secret("absent")).await?;
    stalled(pipeline, "VolumesMissing", "Secret absent").await?;
    pipeline.edit(&secret("s3-credentials")).await?;
    pipeline.wait_until_ready(START).await
}

/// One that is lost is not made again; restored, everything goes on.
async fn checkpoint_gone(bed: &Bed, pipeline: &Pipeline<'_>) -> anyhow::Result<()> {
    let maps = bed.api::<ConfigMap>();
    let name = "shop-checkpoint-p00001";
    let mut copy = maps.get(name).await?;
    maps.delete(name, &DeleteParams::default()).await?;
    for words in [
        "it is not made anew",
        "`logpipe checkpoint rebuild shop -n ",
    ] {
        stalled(pipeline, "CheckpointMissing", words).await?;
    }
    ensure!(maps.get_opt(name).await?.is_none(), "{name} was made again");
    copy.metadata.resource_version = None;
    copy.metadata.uid = None;
    maps.create(&PostParams::default(), &copy).await?;
    pipeline.wait_until_ready(START).await?;
    pipeline.audit(LINES).await
}
