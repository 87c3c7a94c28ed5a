//! `logpipe verify` of a bucket, with Kafka as its witness.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use logpipe_api::LogPipeline;
use logpipe_api::settings::{
    CheckpointPlace, EtlSettings, KafkaSettings, S3Settings, Secrets, TopicSettings,
};
use logpipe_workers::checkpoint::file::FileStore;
use logpipe_workers::etl::{self, Control, EtlOptions, Parts};
use logpipe_workers::log::kafka::topic::ensure;
use logpipe_workers::log::kafka::{KafkaLog, KafkaOptions};
use logpipe_workers::log::key::{BlockKey, Chunk};
use logpipe_workers::log::{Log, NewRecord};
use logpipe_workers::store::Store;
use serde_json::Value;

use super::part;

/// A pipeline of its own, whose topic has been brought into the bucket.
struct World {
    dir: tempfile::TempDir,
    secrets: PathBuf,
    pipeline: LogPipeline,
}

impl World {
    fn new() -> Option<Self> {
        let (kafka, s3) = (part("LOGPIPE_TEST_KAFKA")?, part("LOGPIPE_TEST_S3")?);
        let bucket = part("LOGPIPE_TEST_S3_BUCKET")?;
        let secrets = PathBuf::from(part("LOGPIPE_TEST_SECRETS")?);
        let name = format!("verify-{:016x}", nonce());
        let manifest = format!(
            "apiVersion: logpipe.dev/v1alpha1\n\
             kind: LogPipeline\n\
             metadata: {{name: {name}}}\n\
             spec:\n\
             \x20 source: {{files: {{paths: [/var/log/*.log]}}}}\n\
             \x20 kafka:\n\
             \x20   external: {{bootstrapServers: [\"{kafka}\"]}}\n\
             \x20   topic: {{partitions: 2}}\n\
             \x20 sink:\n\
             \x20   s3: {{bucket: {bucket}, endpoint: \"{s3}\", credentials: {{secretRef: {{name: s3-credentials}}}}}}\n\
             \x20   rotation: {{maxRows: 10}}\n"
        );
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("m.yaml"), &manifest).unwrap();
        let world = Self {
            pipeline: serde_yaml::from_str(&manifest).unwrap(),
            secrets,
            dir,
        };
        world.fill();
        Some(world)
    }

    fn secrets(&self) -> Secrets {
        Secrets(self.secrets.display().to_string())
    }

    fn checkpoints(&self) -> PathBuf {
        self.dir.path().join("checkpoints")
    }

    fn store(&self) -> Store {
        Store::s3(&S3Settings::new(&self.pipeline, &self.secrets())).unwrap()
    }

    /// Writes a topic and runs the ETL over it: partition 0 is a producer's, with a block that came twice,
    /// partition 1 is written by others.
    fn fill(&self) {
        let external = self.pipeline.spec.kafka.external.as_ref().unwrap();
        let settings = KafkaSettings::external(&self.pipeline, external, &self.secrets());
        ensure(&settings, &TopicSettings::new(&self.pipeline)).unwrap();
        let log = KafkaLog::open(&settings, KafkaOptions::default()).unwrap();
        let mut sink = log.sink(0).unwrap();
        for first in [0, 5, 5, 10, 12, 17, 22, 27] {
            sink.send(block(first)).unwrap();
        }
        sink.flush().unwrap();
        let mut sink = log.sink(1).unwrap();
        for number in 0..20 {
            let text = format!("{}\n{}", line(number), line(number));
            sink.send(record(b"theirs".to_vec(), text)).unwrap();
        }
        sink.flush().unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let place = CheckpointPlace::Dir(self.checkpoints().display().to_string());
        let settings = EtlSettings::new(&self.pipeline, "test", "test", place);
        let control = Arc::new(Control::new(2));
        control.drain();
        let parts = Parts {
            log: &log,
            checkpoints: Arc::new(FileStore::open(&self.checkpoints()).unwrap()),
            store: self.store(),
            control: &control,
            counters: &Arc::default(),
            runtime: runtime.handle(),
        };
        let options = EtlOptions::new(&settings, false).unwrap();
        etl::run(&options, parts, &|_| {}).unwrap();
    }

    fn verify(&self, more: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_logpipe"))
            .current_dir(self.dir.path())
            .args(["verify", "-f", "m.yaml", "--sink", "manifest", "--secrets"])
            .arg(&self.secrets)
            .args(more)
            .output()
            .unwrap()
    }

    /// Audits against Kafka.
    fn against_kafka(&self) -> (bool, Value) {
        let checkpoints = self.checkpoints();
        let checkpoints = checkpoints.to_str().unwrap();
        let flags = [
            "--kafka",
            "manifest",
            "--checkpoints",
            checkpoints,
            "-o",
            "json",
        ];
        let output = self.verify(&flags);
        let report = serde_json::from_slice(&output.stdout);
        let report = report.unwrap_or_else(|_| panic!("{}", error(&output)));
        (output.status.success(), report)
    }
}

fn since_1970() -> Duration {
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH).unwrap()
}

fn nonce() -> u64 {
    since_1970().as_nanos() as u64 ^ u64::from(std::process::id())
}

fn error(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn line(number: u64) -> String {
    format!("2026-01-31 07:00:00,000 INFO line {number}")
}

/// Five lines of our producer.
fn block(first: u64) -> NewRecord {
    let mut key = Vec::new();
    BlockKey {
        producer: "verify-0",
        generation: 1,
        first,
        lines: 5,
        file_id: 1,
        file_offset: 0,
        path: "app.log",
        chunk: Chunk::Whole,
    }
    .encode(&mut key);
    let lines: Vec<String> = (first..first + 5).map(line).collect();
    record(key, lines.join("\n") + "\n")
}

fn record(key: Vec<u8>, text: String) -> NewRecord {
    NewRecord {
        // Now, or retention takes it at once.
        timestamp: since_1970().as_micros() as i64,
        key: key.into(),
        value: text.into(),
    }
}

#[test]
fn a_bucket_is_audited_against_its_topic_record_by_record() {
    let Some(world) = World::new() else {
        return;
    };
    let (good, report) = world.against_kafka();
    assert!(good, "{report:#}");
    let log = &report["log"];
    // Of the block at 12 three lines are new, and the second one at 5 has none.
    assert_eq!(
        (&log[0]["records"], &log[0]["lines"]),
        (&8.into(), &32.into())
    );
    assert_eq!(
        (&log[1]["records"], &log[1]["lines"]),
        (&20.into(), &40.into())
    );
    assert_eq!(report["lines"], 72);

    // A file of others' records is gone: no sequence tells of it.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (store, prefix) = (world.store(), world.pipeline.prefix());
    runtime.block_on(async {
        use futures::TryStreamExt;
        use object_store::ObjectStoreExt;
        let prefix = object_store::path::Path::from(prefix);
        let listed = store.objects().list(Some(&prefix));
        let all: Vec<_> = listed.try_collect().await.unwrap();
        let theirs = |path: &str| path.contains("-p00001-00000000000000000000-");
        let first = all.iter().find(|found| theirs(found.location.as_ref()));
        store
            .objects()
            .delete(&first.unwrap().location)
            .await
            .unwrap();
    });
    let (good, report) = world.against_kafka();
    assert!(!good);
    assert_eq!(report["log"][1]["missing"], report["lost"]);
    let told = report["faults"]["told"].to_string();
    assert!(
        told.contains("partition 1: 2 lines of the record at offset 0 not there"),
        "{told}"
    );
}

#[test]
fn without_checkpoints_the_topic_proves_nothing_and_the_bucket_is_audited_alone() {
    let Some(world) = World::new() else {
        return;
    };
    let output = world.verify(&["--kafka", "manifest"]);
    assert!(!output.status.success());
    assert!(
        error(&output).contains("there are no checkpoints"),
        "{}",
        error(&output)
    );
    let output = world.verify(&[]);
    assert!(output.status.success(), "{}", error(&output));
    // Beside the manifest's data folder they are found by themselves.
    let data = world.dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::rename(world.checkpoints(), data.join("checkpoints")).unwrap();
    let data = Path::to_str(&data).unwrap();
    let output = world.verify(&["--data-dir", data, "--kafka", "manifest"]);
    assert!(output.status.success(), "{}", error(&output));
}
