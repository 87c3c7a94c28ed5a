use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams};
use logpipe_e2e::{Bed, Pipeline, run, until};
use serde_json::{Value, json};

use crate::START;

const LINES: u64 = 120_000;

#[tokio::test]
async fn a_checkpoint_that_is_gone_under_load_is_made_again_or_put_back() {
    run("checkpoint", checkpoint).await;
}

async fn checkpoint(bed: &Bed) -> anyhow::Result<()> {
    let spec = json!({
        "source": {"generator": {"maxEvents": LINES, "eventsPerSecond": 300, "malformedPercent": 3}},
        "kafka": {"topic": {"partitions": 4}},
        "sink": {"rotation": {"intervalSeconds": 1}},
        "etl": {"replicas": 2},
    });
    let pipeline = bed.pipeline("shop", &spec).await?;
    pipeline.wait_until_ready(START).await?;
    pipeline.wait_for_lines(1, START).await?;
    refuses_beside_workers(bed)?;
    let begun = begun(&pipeline).await?;

    // One, while its workers write; then all of them and the plans, and the workers are killed.
    lose(bed, &pipeline, &[&begun]).await?;
    rebuild(bed, &pipeline).await?;
    for round in 1..=3 {
        let all = ["p00000", "p00001", "p00002", "p00003", "plan"];
        lose(bed, &pipeline, &all).await?;
        bed.say(&format!("round {round}: all are gone"));
        rebuild(bed, &pipeline).await?;
    }

    // One that is put back from a file, which must be of now.
    stop(bed, &pipeline).await?;
    let file = std::env::temp_dir().join(format!("{}.json", bed.namespace));
    let file = file.to_string_lossy().into_owned();
    succeeds(logpipe(bed, &["export", "shop", "--to", &file])?)?;
    go_on(&pipeline).await?;
    pipeline.wait_for_more(START).await?;
    lose(bed, &pipeline, &[&begun]).await?;
    stop(bed, &pipeline).await?;
    let old = logpipe(bed, &["import", "shop", "--from", &file])?;
    let said = String::from_utf8_lossy(&old.stdout);
    ensure!(
        !old.status.success() && said.contains("would write these rows twice"),
        "an old file: {said}"
    );
    std::fs::remove_file(&file)?;
    bed.say("an old export is refused");
    rebuild(bed, &pipeline).await?;
    stop(bed, &pipeline).await?;
    succeeds(logpipe(bed, &["export", "shop", "--to", &file])?)?;
    lose(bed, &pipeline, &[&begun]).await?;
    succeeds(logpipe(bed, &["import", "shop", "--from", &file])?)?;
    std::fs::remove_file(&file)?;
    pipeline.wait_for("Ready", Some("Suspended"), START).await?;
    bed.say("a fresh export is put back");
    go_on(&pipeline).await?;

    pipeline.finish(LINES).await?;
    pipeline.wait_until_ready(START).await
}

/// The partition with the most rows.
async fn begun(pipeline: &Pipeline<'_>) -> anyhow::Result<String> {
    let rows = |text: &str| -> Option<u64> {
        let value: Value = serde_json::from_str(text).ok()?;
        value["totals"]["rows"].as_u64()
    };
    let all = pipeline.checkpoints().await?;
    let most = all.into_iter().max_by_key(|(_, text)| rows(text));
    Ok(most.context("no partition has begun")?.0)
}

fn refuses_beside_workers(bed: &Bed) -> anyhow::Result<()> {
    let outcome = logpipe(bed, &["rebuild", "shop"])?;
    let said = String::from_utf8_lossy(&outcome.stderr);
    ensure!(
        !outcome.status.success() && said.contains("spec.suspend is not All"),
        "beside workers: {said}"
    );
    Ok(())
}

/// Deletes ConfigMaps, and kills the workers; the operator tells it, and makes none anew.
async fn lose(bed: &Bed, pipeline: &Pipeline<'_>, keys: &[&str]) -> anyhow::Result<()> {
    let maps = bed.api::<ConfigMap>();
    let now = DeleteParams::default().grace_period(0);
    for key in keys {
        maps.delete(&format!("shop-checkpoint-{key}"), &now).await?;
    }
    for pod in bed.pods("shop", "etl").await? {
        bed.api::<Pod>().delete(&pod.name_any(), &now).await.ok();
    }
    let found = pipeline
        .wait_for("Stalled", Some("CheckpointMissing"), START)
        .await?;
    let command = format!("logpipe checkpoint rebuild shop -n {}", bed.namespace);
    ensure!(found.message.contains(&command), "{}", found.message);
    Ok(())
}

async fn stop(bed: &Bed, pipeline: &Pipeline<'_>) -> anyhow::Result<()> {
    pipeline.edit(&json!({"suspend": "All"})).await?;
    until("the workers are gone", Duration::from_mins(3), async || {
        Ok(bed.pods("shop", "etl").await?.is_empty().then_some(()))
    })
    .await
}

async fn go_on(pipeline: &Pipeline<'_>) -> anyhow::Result<()> {
    pipeline.edit(&json!({"suspend": "None"})).await?;
    pipeline.wait_for("Ready", Some("Running"), START).await?;
    Ok(())
}

/// Stops, makes what is gone again, and goes on.
async fn rebuild(bed: &Bed, pipeline: &Pipeline<'_>) -> anyhow::Result<()> {
    stop(bed, pipeline).await?;
    let said = succeeds(logpipe(bed, &["rebuild", "shop", "-o", "json"])?)?;
    let report: Value = serde_json::from_str(&said)?;
    let partitions = report["partitions"].as_array().context("no partitions")?;
    let is = |action: &str| {
        let all = partitions.iter();
        all.filter(|line| line["action"] == action).count()
    };
    let pending = partitions.iter().filter(|line| line["pending"].is_array());
    bed.say(&format!(
        "{} made again, {} of them with a pending batch; {} kept, {} never written",
        is("Written"),
        pending.count(),
        is("Kept"),
        is("Unwritten")
    ));
    ensure!(is("Written") >= 1, "nothing was made again: {report}");
    // By itself, and as its own: with the labels and the mark of what it applied.
    pipeline.wait_for("Ready", Some("Suspended"), START).await?;
    let maps = ListParams::default().labels("logpipe.dev/component=checkpoint");
    for map in bed.api::<ConfigMap>().list(&maps).await?.items {
        let taken = map.annotations().contains_key("logpipe.dev/applied");
        ensure!(
            taken && map.owner_references().len() == 1,
            "{} is nobody's",
            map.name_any()
        );
    }
    let pods = ListParams::default().labels("logpipe.dev/component=checkpoint");
    let left = bed.api::<Pod>().list(&pods).await?.items;
    ensure!(
        left.iter()
            .all(|pod| pod.metadata.deletion_timestamp.is_some()),
        "the pod that looked is still there"
    );
    go_on(pipeline).await?;
    pipeline.wait_for_more(START).await
}

/// `logpipe checkpoint …` as its user has it.
fn logpipe(bed: &Bed, arguments: &[&str]) -> anyhow::Result<Output> {
    let named = std::env::var_os("LOGPIPE_E2E_LOGPIPE").map(PathBuf::from);
    let usual = || {
        PathBuf::from(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../target/release/logpipe"
        ))
    };
    let program = named.unwrap_or_else(usual);
    let mut command = Command::new(&program);
    command
        .arg("checkpoint")
        .args(arguments)
        .args(["-n", &bed.namespace]);
    let output = command.output();
    output.with_context(|| {
        format!(
            "{} cannot be run: build it with cargo build --release",
            program.display()
        )
    })
}

fn succeeds(output: Output) -> anyhow::Result<String> {
    let said = String::from_utf8(output.stdout)?;
    ensure!(
        output.status.success(),
        "logpipe checkpoint failed: {said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(said)
}
