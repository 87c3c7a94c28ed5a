use std::time::Duration;

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::PostParams;
use logpipe_e2e::{Bed, Pipeline, Program, run, worker_image};
use serde_json::json;

use crate::START;

const LINES: u64 = 90_000;
const FOLDER: &str = "/var/log/shop";

#[tokio::test]
async fn files_of_another_program_are_followed_through_rotations_restarts_and_kills() {
    run("files", files).await;
}

async fn files(bed: &Bed) -> anyhow::Result<()> {
    let claim = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "shop-logs"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    });
    bed.api::<PersistentVolumeClaim>()
        .create(&PostParams::default(), &serde_json::from_value(claim)?)
        .await?;
    bed.start(&writer()).await?;
    let spec = json!({
        "source": {
            "generator": null,
            "files": {
                "paths": [format!("{FOLDER}/app.log*")],
                "volume": {"persistentVolumeClaim": {"claimName": "shop-logs"}, "mountPath": FOLDER},
            },
        },
        "kafka": {"topic": {"partitions": 2}},
        "etl": {"replicas": 2},
    });
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
    bed.start(&writer()).await?;
    bed.say("killed the writer");
    ended(bed, &pipeline).await?;
    pipeline.audit(LINES).await
}

const WRITER: &str = "writer";

fn writer() -> Program<'static> {
    let lines = LINES.to_string();
    let command = [
        "/usr/local/bin/logpipe",
        "generate",
        "--dir",
        FOLDER,
        "--rate",
        "600",
        "--max-events",
        &lines,
        "--producer",
        "shop",
        "--roll-bytes",
        "512Ki",
        // A file that is gone before it was read is lost, which is not what this is about.
        "--keep",
        "100",
    ];
    let claim = json!({"persistentVolumeClaim": {"claimName": "shop-logs"}});
    Program {
        name: WRITER,
        image: worker_image(),
        command: command.map(str::to_owned).into(),
        volumes: vec![(FOLDER.to_owned(), claim)],
    }
}

async fn ended(bed: &Bed, pipeline: &Pipeline<'_>) -> anyhow::Result<()> {
    pipeline.is_under_load(LINES).await?;
    let (code, text) = bed.outcome(WRITER, Duration::from_mins(5)).await?;
    ensure!(code == 0, "the writer ended with code {code}: {text}");
    let totals = pipeline.wait_for_lines(LINES, START).await;
    totals
        .context("not all lines of the files are rows")
        .map(drop)
}
