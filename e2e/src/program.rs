//! Programs of a test's own beside the pipeline, each in a pod that keeps the restricted level: the auditor, one that
//! writes a log, a Kafka that is not ours.

use std::time::Duration;

use anyhow::ensure;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, LogParams, PostParams};
use serde_json::{Value, json};

use crate::bed::{map, variable};
use crate::{Bed, until};

/// A program in a pod.
pub struct Program<'a> {
    /// The pod's name, and its label `app`.
    pub name: &'a str,
    /// Its image.
    pub image: String,
    /// The program with its arguments.
    pub command: Vec<String>,
    /// Where each volume is seen, and what it is.
    pub volumes: Vec<(String, Value)>,
}

/// The image with the command line and the roles.
pub fn worker_image() -> String {
    let image = variable("LOGPIPE_E2E_WORKER_IMAGE");
    image.unwrap_or_else(|| "localhost/logpipe-worker:dev".to_owned())
}

/// The image with Kafka.
pub fn kafka_image() -> String {
    let image = variable("LOGPIPE_E2E_KAFKA_IMAGE");
    image.unwrap_or_else(|| "localhost/kafka:4.3.1".to_owned())
}

impl Bed {
    /// Starts a program.
    pub async fn start(&self, program: &Program<'_>) -> anyhow::Result<()> {
        let pod = serde_json::from_value(self.pod(program))?;
        self.api::<Pod>()
            .create(&PostParams::default(), &pod)
            .await?;
        Ok(())
    }

    fn pod(&self, program: &Program<'_>) -> Value {
        let numbered = || program.volumes.iter().enumerate();
        let volumes = numbered().map(|(number, (_, source))| {
            let mut volume = source.clone();
            volume["name"] = json!(format!("volume-{number}"));
            volume
        });
        let mounts = numbered().map(
            |(number, (path, _))| json!({"name": format!("volume-{number}"), "mountPath": path}),
        );
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": program.name, "namespace": self.namespace, "labels": map([("app", program.name)])},
            "spec": {
                "restartPolicy": "Never",
                "automountServiceAccountToken": false,
                "enableServiceLinks": false,
                "securityContext": {
                    "runAsNonRoot": true, "runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [{
                    "name": program.name,
                    "image": program.image,
                    "imagePullPolicy": "IfNotPresent",
                    "command": program.command,
                    "securityContext": {
                        "allowPrivilegeEscalation": false,
                        "readOnlyRootFilesystem": true,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "volumeMounts": mounts.collect::<Vec<_>>(),
                }],
                "volumes": volumes.collect::<Vec<_>>(),
            },
        })
    }

    /// Waits until a program has ended, and takes its pod away: its exit code and what it said.
    pub async fn outcome(&self, name: &str, within: Duration) -> anyhow::Result<(i32, String)> {
        let pods = self.api::<Pod>();
        let what = format!("{name} has ended");
        let code = until(&what, within, async || {
            Ok(exit_code(&pods.get(name).await?))
        })
        .await?;
        let text = pods.logs(name, &LogParams::default()).await?;
        self.stop(name).await?;
        Ok((code, text))
    }

    /// What one of Kafka's own tools says of the brokers of the pipeline `shop`.
    pub async fn kafka_tool(&self, class: &str, arguments: &[&str]) -> anyhow::Result<String> {
        let command = ["java", "-Xmx128m", "-cp", "/opt/kafka/libs/*", class];
        let server = ["--bootstrap-server", "shop-kafka:9092"];
        let words = command.iter().chain(arguments).chain(&server);
        self.start(&Program {
            name: "ask",
            image: kafka_image(),
            command: words.map(|&word| word.to_owned()).collect(),
            volumes: Vec::new(),
        })
        .await?;
        let (code, told) = self.outcome("ask", Duration::from_mins(2)).await?;
        ensure!(code == 0, "{class} ended with code {code}: {told}");
        Ok(told)
    }

    /// Kills a program, if it still runs, and waits until its pod is gone.
    pub async fn stop(&self, name: &str) -> anyhow::Result<()> {
        let pods = self.api::<Pod>();
        pods.delete(name, &DeleteParams::default().grace_period(0))
            .await?;
        let what = format!("{name} is gone");
        until(&what, Duration::from_mins(1), async || {
            Ok(pods.get_opt(name).await?.is_none().then_some(()))
        })
        .await
    }
}

fn exit_code(pod: &Pod) -> Option<i32> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    let state = statuses.first()?.state.as_ref()?;
    Some(state.terminated.as_ref()?.exit_code)
}
