use std::time::Duration;

use anyhow::{Context, ensure};
use logpipe_e2e::{Bed, Pipeline, kafka_image, run, until};
use serde_json::{Value, json};

use crate::START;
use crate::config::rolls;

const LINES: u64 = 400_000;

#[tokio::test]
async fn kafka_is_upgraded_under_load_and_its_metadata_version_follows() {
    run("kafka-upgrade", upgrade).await;
}

async fn upgrade(bed: &Bed) -> anyhow::Result<()> {
    let Ok(oldest) = std::env::var("LOGPIPE_E2E_OLDEST_KAFKA_IMAGE") else {
        bed.say("not available: LOGPIPE_E2E_OLDEST_KAFKA_IMAGE names no older Kafka");
        return Ok(());
    };
    let (older, newer) = (image(&oldest)?, image(&kafka_image())?);
    let spec = json!({
        "source": {"generator": {"maxEvents": LINES, "eventsPerSecond": 800}},
        "kafka": {"managed": {"replicas": 3}},
        "images": {"kafka": older},
        "etl": {"replicas": 2},
    });
    let pipeline = bed.pipeline("shop", &spec).await?;
    pipeline.wait_until_ready(START).await?;
    pipeline.wait_for_lines(1, START).await?;
    has_level(&pipeline, "4.2-IV1").await?;
    bed.say(&format!("ready with {oldest} at 4.2-IV1"));
    let workers = bed.workers().await?;
    // Held, so that there is a way back; a raised one would keep the older brokers from starting.
    let edit = json!({
        "images": {"kafka": newer},
        "kafka": {"managed": {"metadataVersion": "4.2"}},
    });
    rolls(bed, &pipeline, 3, &edit).await?;
    has_level(&pipeline, "4.2-IV1").await?;
    bed.say("the newer image, held at 4.2-IV1");
    rolls(bed, &pipeline, 3, &json!({"images": {"kafka": older}})).await?;
    bed.say("the older image again");
    let edit = json!({
        "images": {"kafka": newer},
        "kafka": {"managed": {"metadataVersion": null}},
    });
    rolls(bed, &pipeline, 3, &edit).await?;
    has_level(&pipeline, "4.3-IV0").await?;
    bed.say("the newer image, raised to 4.3-IV0");
    is_refused(&pipeline).await?;
    pipeline.wait_for_more(Duration::from_mins(2)).await?;
    pipeline.is_under_load(LINES).await?;
    ensure!(
        bed.workers().await? == workers,
        "a worker was started again"
    );
    bed.no_container_failed("shop").await?;
    pipeline.finish(LINES).await
}

/// There is no way back from there, and it is told.
async fn is_refused(pipeline: &Pipeline<'_>) -> anyhow::Result<()> {
    let version = |text: Value| json!({"kafka": {"managed": {"metadataVersion": text}}});
    pipeline.edit(&version(json!("4.2"))).await?;
    let refused = Some("MetadataVersionRefused");
    pipeline
        .wait_for("Stalled", refused, Duration::from_mins(1))
        .await?;
    pipeline.edit(&version(Value::Null)).await?;
    pipeline.wait_until_ready(Duration::from_mins(1)).await
}

async fn has_level(pipeline: &Pipeline<'_>, level: &str) -> anyhow::Result<()> {
    let what = format!("metadata.version is {level}");
    until(&what, Duration::from_mins(1), async || {
        let kafka = pipeline.get().await?.status.unwrap_or_default().kafka;
        let told = kafka.and_then(|kafka| kafka.metadata_version);
        Ok((told.as_deref() == Some(level)).then_some(()))
    })
    .await
}

fn image(reference: &str) -> anyhow::Result<Value> {
    let (repository, tag) = reference
        .rsplit_once(':')
        .with_context(|| format!("image {reference} has no tag"))?;
    Ok(json!({"repository": repository, "tag": tag}))
}
