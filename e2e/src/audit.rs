//! `logpipe verify` as a pod beside the pipeline: the bucket against the checkpoints and, where Kafka still runs,
//! against the topic, record by record.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{DeleteParams, LogParams, PostParams};
use serde::Deserialize;
use serde_json::json;

use crate::bed::{KEYS, map, variable};
use crate::{Bed, Pipeline, until};

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
        let params = PostParams::default();
        let maps = self.bed.api::<ConfigMap>();
        maps.delete(NAME, &DeleteParams::default()).await.ok();
        maps.create(&params, &files).await?;
        let pods = self.bed.api::<Pod>();
        pods.create(&params, &self.bed.auditor()?).await?;
        let code = until("the audit has ended", Duration::from_mins(5), async || {
            Ok(exit_code(&pods.get(NAME).await?))
        })
        .await?;
        let text = pods.logs(NAME, &LogParams::default()).await?;
        pods.delete(NAME, &DeleteParams::default().grace_period(0))
            .await?;
        until("the audit is gone", Duration::from_mins(1), async || {
            Ok(pods.get_opt(NAME).await?.is_none().then_some(()))
        })
        .await?;
        let start = text.find('{').unwrap_or(0);
        serde_json::from_str(&text[start..])
            .with_context(|| format!("verify ended with code {code} and said: {text}"))
    }

    /// The manifest as one who has a Kafka of their own would write it: `verify` dials what the manifest names.
    async fn for_outside(&self) -> anyhow::Result<String> {
        let object = self.get().await?;
        let status = object.status.clone().unwrap_or_default();
        let servers = status.kafka.context("no Kafka is told")?.bootstrap_servers;
        let mut spec = serde_json::to_value(&object.spec)?;
        if let Some(kafka) = spec["kafka"].as_object_mut() {
            kafka.remove("managed");
            kafka.insert(
                "external".to_owned(),
                json!({"bootstrapServers": [servers]}),
            );
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
    fn auditor(&self) -> anyhow::Result<Pod> {
        let image = variable("LOGPIPE_E2E_WORKER_IMAGE");
        let image = image.unwrap_or_else(|| "localhost/logpipe-worker:dev".to_owned());
        let args = [
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
        let pod = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": NAME, "namespace": self.namespace, "labels": map([("app", NAME)])},
            "spec": {
                "restartPolicy": "Never",
                "automountServiceAccountToken": false,
                "enableServiceLinks": false,
                "securityContext": {
                    "runAsNonRoot": true, "runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [{
                    "name": NAME,
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["/usr/local/bin/logpipe"],
                    "args": args,
                    "securityContext": {
                        "allowPrivilegeEscalation": false,
                        "readOnlyRootFilesystem": true,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "volumeMounts": [
                        {"name": "audit", "mountPath": "/audit"},
                        {"name": "keys", "mountPath": format!("/secrets/{KEYS}")},
                        {"name": "tmp", "mountPath": "/tmp"},
                    ],
                }],
                "volumes": [
                    {"name": "audit", "configMap": {"name": NAME}},
                    {"name": "keys", "secret": {"secretName": KEYS}},
                    {"name": "tmp", "emptyDir": {}},
                ],
            },
        });
        Ok(serde_json::from_value(pod)?)
    }
}

fn exit_code(pod: &Pod) -> Option<i32> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    let state = statuses.first()?.state.as_ref()?;
    Some(state.terminated.as_ref()?.exit_code)
}

/// A checkpoint as it stands in a data folder, which is where `verify` looks for one.
fn framed(value: &str) -> String {
    let checksum = crc32c::crc32c(value.as_bytes());
    format!(
        "logpipe checkpoint v1 crc32c={checksum:08x} length={}\n{value}",
        value.len()
    )
}
