use std::time::Duration;

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::PostParams;
use logpipe_e2e::{Bed, Pipeline, Program, run, worker_image};
use serde_json::{Value, json};

use crate::START;

const LINES: u64 = 90_000;
const MANY_LINES: u64 = 100_000;
const FOLDER: &str = "/var/log/shop";

#[tokio::test]
async fn files_of_another_program_are_followed_through_rotations_restarts_and_kills() {
    run("files", files).await;
}

async fn files(bed: &Bed) -> anyhow::Result<()> {
    make_volume(bed).await?;
    let writer = writer(LINES, "600", "512Ki");
    bed.start(&writer).await?;
    let mut spec = followed();
    spec["kafka"] = json!({"topic": {"partitions": 2}});
    let pipeline = bed.pipeline("shop", &spec).await?;
    pipeline.wait_until_ready(START).await?;
    pipeline.wait_for_lines(1, START).await?;
    bed.say("ready");
    for pod in ["shop-source-0", "shop-etl-0", "shop-source-0", "shop-etl-1"] {
        for grace_seconds in [None, Some(1)] {
            bed.replace_pod(pod, grace_seconds).await?;
            pipeline.wait_for_more(Duration::from_mins(2)).await?;
        }
        bed.say(&format!("deleted and killed {pod}"));
    }
    // The program that writes goes, too, in the middle of a line for all we know.
    bed.stop(WRITER).await?;
    bed.start(&writer).await?;
    bed.say("killed the writer");
    ended(bed, &pipeline, LINES).await?;
    pipeline.audit(LINES).await
}

/// The first 256 partitions have a ConfigMap each, and those above share some: `logpipe_api::settings`.
#[tokio::test]
async fn a_topic_may_have_more_partitions_than_checkpoints_have_objects() {
    run("partitions", partitions).await;
}

async fn partitions(bed: &Bed) -> anyhow::Result<()> {
    make_volume(bed).await?;
    // Many files, since each belongs to one partition.
    bed.start(&writer(MANY_LINES, "1000", "16Ki")).await?;
    let mut spec = followed();
    spec["kafka"] = json!({"topic": {"partitions": 250}});
    spec["sink"] = json!({"rotation": {"intervalSeconds": 15}});
    let pipeline = bed.pipeline("shop", &spec).await?;
    pipeline.wait_until_ready(START).await?;
    pipeline.wait_for_lines(1, START).await?;
    bed.say("ready with 250 partitions");
    pipeline
        .edit(&json!({"kafka": {"topic": {"partitions": 300}}}))
        .await?;
    pipeline.wait_until_ready(START).await?;
    bed.say("ready with 300 partitions");
    for pod in ["shop-etl-0", "shop-source-0", "shop-etl-1"] {
        bed.replace_pod(pod, Some(1)).await?;
        pipeline.wait_for_more(START).await?;
        bed.say(&format!("killed {pod}"));
    }
    ended(bed, &pipeline, MANY_LINES).await?;
    let begun = pipeline.checkpoints().await?;
    let packed = begun.iter().filter(|(key, _)| key.as_str() >= "p00256");
    let (begun, packed) = (begun.len(), packed.count());
    bed.say(&format!(
        "{begun} partitions have begun, {packed} of them share an object"
    ));
    ensure!(packed > 0, "no line came into a partition above 256");
    pipeline.audit(MANY_LINES).await
}

async fn make_volume(bed: &Bed) -> anyhow::Result<()> {
    let claim = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "shop-logs"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    });
    bed.api::<PersistentVolumeClaim>()
        .create(&PostParams::default(), &serde_json::from_value(claim)?)
        .await?;
    Ok(())
}

/// The spec of a pipeline that follows the files of the writer.
fn followed() -> Value {
    json!({
        "source": {
            "generator": null,
            "files": {
                "paths": [format!("{FOLDER}/app.log*")],
                "volume": {"persistentVolumeClaim": {"claimName": "shop-logs"}, "mountPath": FOLDER},
            },
        },
        "etl": {"replicas": 2},
    })
}

const WRITER: &str = "writer";

/// Another program, which writes so many lines, so many a second, into files of that size.
fn writer(lines: u64, rate: &str, roll_bytes: &str) -> Program<'static> {
    let lines = lines.to_string();
    let command = [
        "/usr/local/bin/logpipe",
        "generate",
        "--dir",
        FOLDER,
        "--rate",
        rate,
        "--max-events",
        &lines,
        "--producer",
        "shop",
        "--roll-bytes",
        roll_bytes,
        // A file that is gone before it was read is lost, which is not what this is about.
        "--keep",
        "10000",
    ];
    let claim = json!({"persistentVolumeClaim": {"claimName": "shop-logs"}});
    Program {
        name: WRITER,
        image: worker_image(),
        command: command.map(str::to_owned).into(),
        volumes: vec![(FOLDER.to_owned(), claim)],
    }
}

async fn ended(bed: &Bed, pipeline: &Pipeline<'_>, lines: u64) -> anyhow::Result<()> {
    pipeline.is_under_load(lines).await?;
    let (code, text) = bed.outcome(WRITER, Duration::from_mins(5)).await?;
    ensure!(code == 0, "the writer ended with code {code}: {text}");
    let totals = pipeline.wait_for_lines(lines, START).await;
    totals
        .context("not all lines of the files are rows")
        .map(drop)
}
