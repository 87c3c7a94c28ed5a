//! `logpipe verify` as a pod beside the pipeline: the bucket against the checkpoints and, where Kafka still runs,
//! against the topic, record by record.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, PostParams};
use serde::Deserialize;
use serde_json::json;

use crate::program::{Program, worker_image};
use crate::{Bed, Pipeline};

/// What `logpipe verify` found.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Audit {
    /// No fault.
    exactly_once: bool,
    /// Rows of table and quarantine.
    lines: u64,
    /// Lines that should be there and are not.
    lost: u64,
    /// Lines that are there more than once.
    twice: u64,
    /// What the topic says, by partition.
    #[serde(default)]
    log: Vec<LogPart>,
}

/// One partition of the topic, read again.
#[derive(Clone, Debug, Deserialize)]
struct LogPart {
    /// Lines that must be rows.
    lines: u64,
    /// Those that are none.
    missing: u64,
    /// Rows that no line gives.
    extra: u64,
}

const NAME: &str = "audit";

/// containerd 1.6 loses what a program has written and nobody has read when it ends: some of a report of 160 KB.
const TRIES: u32 = 6;

impl Pipeline<'_> {
    /// Audits, and fails unless exactly `lines` lines are there, each once, and the topic says the same.
    pub async fn audit(&self, lines: u64) -> anyhow::Result<()> {
        let audit = self.look_into().await?;
        let in_log: u64 = audit.log.iter().map(|part| part.lines).sum();
        self.bed.say(&format!(
            "verify: {} lines, {} lost, {} twice; the topic holds {in_log}",
            audit.lines, audit.lost, audit.twice
        ));
        let differ = audit.log.iter().any(|part| part.missing + part.extra > 0);
        ensure!(
            audit.exactly_once && !differ,
            "verify found faults: {audit:?}"
        );
        ensure!(
            audit.lines == lines && in_log == lines,
            "{lines} lines were generated, and {} are rows, and {in_log} in the topic",
            audit.lines
        );
        Ok(())
    }

    async fn look_into(&self) -> anyhow::Result<Audit> {
        let mut files = BTreeMap::from([("manifest.yaml".to_owned(), self.for_outside().await?)]);
        for (key, value) in self.checkpoints().await? {
            files.insert(format!("{key}.checkpoint"), framed(&value));
        }
        let files = ConfigMap {
            metadata: kube::core::ObjectMeta {
                name: Some(NAME.to_owned()),
                ..kube::core::ObjectMeta::default()
            },
            data: Some(files),
            ..ConfigMap::default()
        };
        let maps = self.bed.api::<ConfigMap>();
        maps.delete(NAME, &DeleteParams::default()).await.ok();
        maps.create(&PostParams::default(), &files).await?;
        let mut tries = 0;
        loop {
            self.bed.start(&self.bed.auditor().await?).await?;
            let (code, text) = self.bed.outcome(NAME, Duration::from_mins(5)).await?;
            tries += 1;
            let start = text.find('{').unwrap_or(0);
            match serde_json::from_str(&text[start..]) {
                Err(error) if error.is_eof() && tries < TRIES => {}
                report => {
                    return report.with_context(|| {
                        format!("verify ended with code {code} and said: {text}")
                    });
                }
            }
        }
    }

    /// The manifest as one who has a Kafka of their own would write it: `verify` dials what the manifest names.
    async fn for_outside(&self) -> anyhow::Result<String> {
        let object = self.get().await?;
        let mut spec = serde_json::to_value(&object.spec)?;
        if object.spec.kafka.external.is_none() {
            let status = object.status.clone().unwrap_or_default();
            let servers = status.kafka.context("no Kafka is told")?.bootstrap_servers;
            let topic = &object.spec.kafka.topic;
            spec["kafka"] = json!({"external": {"bootstrapServers": [servers]}, "topic": topic});
        }
        let manifest = json!({
            "apiVersion": "logpipe.dev/v1alpha1",
            "kind": "LogPipeline",
            "metadata": {"name": self.name, "namespace": self.bed.namespace},
            "spec": spec,
        });
        Ok(serde_yaml::to_string(&manifest)?)
    }
}

impl Bed {
    /// `logpipe verify` with every Secret of the namespace, as `logpipe run` finds them on a laptop.
    async fn auditor(&self) -> anyhow::Result<Program<'_>> {
        let command = [
            "/usr/local/bin/logpipe",
            "verify",
            "-f",
            "/audit/manifest.yaml",
            "--sink",
            "manifest",
            "--secrets",
            "/secrets",
            "--checkpoints",
            "/audit",
            "--kafka",
            "manifest",
            "-o",
            "json",
        ];
        let mut volumes = vec![
            ("/audit".to_owned(), json!({"configMap": {"name": NAME}})),
            ("/tmp".to_owned(), json!({"emptyDir": {}})),
        ];
        for secret in self.api::<Secret>().list(&ListParams::default()).await? {
            let name = secret.name_any();
            let source = json!({"secret": {"secretName": name}});
            volumes.push((format!("/secrets/{name}"), source));
        }
        Ok(Program {
            name: NAME,
            image: worker_image(),
            command: command.map(str::to_owned).into(),
            volumes,
        })
    }
}

/// A checkpoint as it stands in a data folder, which is where `verify` looks for one.
fn framed(value: &str) -> String {
    let checksum = crc32c::crc32c(value.as_bytes());
    format!(
        "logpipe checkpoint v1 crc32c={checksum:08x} length={}\n{value}",
        value.len()
    )
}
