//! What the operator refuses in a manifest that the CRD's schema and rules let pass. Pure.
//!
//! It needs nothing but the manifest, so the operator and `logpipe validate` tell it in the same words. What depends
//! on the cluster, such as another pipeline with the same bucket, is the operator's alone.

use super::{LogPipelineSpec, ManagedKafka, metadata_version};
use crate::quantity;

/// The folder of a source's volume in its pod, with the saved offsets and the generator's `app.log`.
pub const SOURCE_DIR: &str = "/var/lib/logpipe";

/// The folder under which each Secret is a folder, and each of its keys a file.
pub const SECRETS: &str = "/etc/logpipe/secrets";

/// Memory of a broker when the manifest does not say.
const KAFKA_MEMORY_MIB: u64 = 1024;

/// Kafka does not start with less.
const LEAST_HEAP_MIB: u64 = 128;

/// What a manifest may not say about a broker, because the operator does; a dot at the end stands for all
/// that begins so.
const OURS: [&str; 17] = [
    "advertised.listeners",
    "auto.create.topics.enable",
    "broker.id",
    "broker.rack",
    "controller.",
    "inter.broker.listener.name",
    "listener.",
    "listeners",
    "log.dir",
    "log.dirs",
    "metadata.log.dir",
    "node.id",
    "process.roles",
    "sasl.",
    "security.",
    "ssl.",
    "zookeeper.",
];

/// Something in a manifest that cannot be carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {reason}")]
pub struct Fault {
    /// Where, as `spec.source.files.paths[2]`.
    pub field: String,
    /// What is wrong, and the remedy.
    pub reason: String,
}

impl Fault {
    /// Of a field.
    pub fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            reason: reason.into(),
        }
    }
}

impl LogPipelineSpec {
    /// All that cannot be carried out, but for [`files_without_volume`](Self::files_without_volume).
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        self.add_files(&mut faults);
        if self.kafka.external.is_none() {
            self.add_kafka(&mut faults);
        }
        if let Err(error) = self.sink.rotation.max_bytes() {
            faults.push(Fault::new("spec.sink.rotation.maxBytes", error.to_string()));
        }
        faults.extend(self.pod_template_faults());
        faults
    }

    /// `logpipe run` has the files of its machine; in a cluster they must be on a volume.
    pub fn files_without_volume(&self) -> Option<Fault> {
        let source = &self.source;
        let files = source
            .files
            .as_ref()
            .filter(|_| source.generator.is_none())?;
        files.volume.is_none().then(|| {
            Fault::new(
                "spec.source.files.volume",
                "must be set in a cluster: name the claim that the files are on",
            )
        })
    }

    fn add_files(&self, faults: &mut Vec<Fault>) {
        let Some(files) = &self.source.files else {
            return;
        };
        let Some(volume) = &files.volume else { return };
        let mount = volume.mount_path.as_str();
        let below = |path: &str, folder: &str| {
            path.strip_prefix(folder)
                .is_some_and(|rest| rest.starts_with('/'))
        };
        for (number, path) in files.paths.iter().enumerate() {
            if !below(path, mount) {
                faults.push(Fault::new(
                    format!("spec.source.files.paths[{number}]"),
                    format!(
                        "is {path}, which is not below spec.source.files.volume.mountPath: begin it with {mount}/"
                    ),
                ));
            }
        }
        let is_in = |inner: &str, outer: &str| inner == outer || below(inner, outer);
        for (own, holds) in [(SOURCE_DIR, "the saved offsets"), (SECRETS, "Secrets")] {
            if is_in(mount, own) || is_in(own, mount) {
                faults.push(Fault::new(
                    "spec.source.files.volume.mountPath",
                    format!("must be neither below nor above {own}, where {holds} are: mount it elsewhere"),
                ));
            }
        }
    }

    fn add_kafka(&self, faults: &mut Vec<Fault>) {
        let managed = self.kafka.managed.clone().unwrap_or_default();
        managed.add_config(faults);
        if let Some(factor) = self.kafka.topic.replication_factor
            && factor > managed.replicas
        {
            let brokers = match managed.replicas {
                1 => "there is 1 broker".to_owned(),
                many => format!("there are {many} brokers"),
            };
            faults.push(Fault::new(
                "spec.kafka.topic.replicationFactor",
                format!(
                    "is {factor}, and {brokers}: lower it, or raise spec.kafka.managed.replicas"
                ),
            ));
        }
        managed.add_heap(faults);
        let asked = managed.metadata_version.as_deref();
        if asked.is_some_and(|version| metadata_version::level(version).is_none()) {
            faults.push(Fault::new(
                "spec.kafka.managed.metadataVersion",
                "is not known to this operator: upgrade the operator, or remove it, and it follows the image",
            ));
        }
    }
}

impl ManagedKafka {
    /// The heap of a broker, in MiB.
    pub fn heap_mib(&self) -> u64 {
        let memory = self
            .memory_limit()
            .and_then(|text| quantity::bytes(text).ok());
        let memory = memory.map_or(KAFKA_MEMORY_MIB, |bytes| bytes >> 20);
        memory.saturating_mul(self.jvm.heap_percent as u64) / 100
    }

    /// A request that stands alone is the limit, too.
    fn memory_limit(&self) -> Option<&str> {
        let resources = self.resources.as_ref()?;
        let amounts = [&resources.limits, &resources.requests];
        let mut memory = amounts.into_iter().flatten();
        memory.find_map(|amounts| amounts.memory.as_deref())
    }

    fn add_heap(&self, faults: &mut Vec<Fault>) {
        let heap = self.heap_mib();
        if heap >= LEAST_HEAP_MIB {
            return;
        }
        let field = match self.memory_limit() {
            Some(_) => "spec.kafka.managed.resources.limits.memory",
            None => "spec.kafka.managed.jvm.heapPercent",
        };
        faults.push(Fault::new(
            field,
            format!(
                "leaves a broker {heap} MiB of heap, and it needs {LEAST_HEAP_MIB}: raise resources.limits.memory or \
                 jvm.heapPercent"
            ),
        ));
    }

    fn add_config(&self, faults: &mut Vec<Fault>) {
        for (key, value) in &self.config {
            let is = |own: &&str| *own == key || (own.ends_with('.') && key.starts_with(*own));
            let field = || format!("spec.kafka.managed.config[{}]", key.escape_debug());
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            if OURS.iter().any(is) {
                faults.push(Fault::new(field(), "is set by the operator: remove it"));
            } else if key.is_empty() || !key.bytes().all(is_plain) {
                faults.push(Fault::new(
                    field(),
                    "is no setting's name: write it with letters, digits, '.', '_' and '-' only",
                ));
            } else if value.contains(['\n', '\r', '\\']) {
                faults.push(Fault::new(
                    field(),
                    "must not hold line ends or backslashes: a setting is one line of a file",
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn faults(spec: Value) -> Vec<String> {
        let mut spec = spec;
        spec["sink"] = json!({"s3": {"bucket": "logs"}});
        let spec: LogPipelineSpec = serde_json::from_value(spec).unwrap();
        spec.faults().iter().map(ToString::to_string).collect()
    }

    #[track_caller]
    fn told(spec: Value, wanted: &[&str]) {
        let faults = faults(spec);
        assert_eq!(faults.len(), wanted.len(), "{faults:?}");
        for (fault, wanted) in faults.iter().zip(wanted) {
            assert!(fault.starts_with(wanted), "{fault}");
        }
    }

    fn managed(managed: &Value) -> Value {
        json!({"source": {"generator": {}}, "kafka": {"managed": managed}})
    }

    fn files(paths: &[&str], mount: &str) -> Value {
        let volume = json!({"persistentVolumeClaim": {"claimName": "c"}, "mountPath": mount});
        json!({"source": {"files": {"paths": paths, "volume": volume}}})
    }

    #[test]
    fn files_are_below_their_volume_and_away_from_the_saved_offsets() {
        told(files(&["/logs/a.log", "/logs/**/*.log"], "/logs"), &[]);
        told(
            files(&["/logs/a.log", "b.log", "/logs2/c.log", "/logs"], "/logs"),
            &[
                "spec.source.files.paths[1] is b.log, which is not below",
                "spec.source.files.paths[2] is /logs2/c.log, which is not below",
                "spec.source.files.paths[3] is /logs, which is not below",
            ],
        );
        for mount in ["/var/lib/logpipe", "/var/lib/logpipe/logs"] {
            told(
                files(&[&format!("{mount}/a.log")], mount),
                &["spec.source.files.volume.mountPath must be neither below nor above"],
            );
        }
        told(
            files(&["/etc/a.log"], "/etc"),
            &[
                "spec.source.files.volume.mountPath must be neither below nor above /etc/logpipe/secrets",
            ],
        );
    }

    #[test]
    fn files_need_a_volume_in_a_cluster_alone() {
        let spec = json!({
            "source": {"files": {"paths": ["a.log"]}},
            "sink": {"s3": {"bucket": "logs"}},
        });
        let spec: LogPipelineSpec = serde_json::from_value(spec).unwrap();
        assert_eq!(spec.faults(), []);
        let fault = spec.files_without_volume().unwrap();
        assert_eq!(fault.field, "spec.source.files.volume");
    }

    #[test]
    fn settings_of_a_broker_that_are_ours_or_no_line_are_refused() {
        told(
            managed(&json!({"config": {"log.retention.hours": "1"}})),
            &[],
        );
        told(
            managed(&json!({"config": {
                "a": "1\nnode.id=7", "listeners": "x", "log.dirs ": "x", "node.id": "1", "ssl.keystore.location": "/x",
            }})),
            &[
                "spec.kafka.managed.config[a] must not hold line ends",
                "spec.kafka.managed.config[listeners] is set by the operator",
                "spec.kafka.managed.config[log.dirs ] is no setting's name",
                "spec.kafka.managed.config[node.id] is set by the operator",
                "spec.kafka.managed.config[ssl.keystore.location] is set by the operator",
            ],
        );
    }

    #[test]
    fn a_topic_has_no_more_copies_than_brokers() {
        let topic = |kafka: Value| json!({"source": {"generator": {}}, "kafka": kafka});
        let three = json!({"replicationFactor": 3});
        told(
            topic(json!({"topic": three})),
            &["spec.kafka.topic.replicationFactor is 3, and there is 1 broker: "],
        );
        told(
            topic(json!({"topic": three, "managed": {"replicas": 3}})),
            &[],
        );
        // How many brokers a Kafka has that is not ours, only it knows.
        let external = json!({"bootstrapServers": ["k:9092"]});
        told(topic(json!({"topic": three, "external": external})), &[]);
    }

    #[test]
    fn a_broker_has_enough_heap() {
        let memory = |text: &str| json!({"limits": {"memory": text}});
        told(managed(&json!({"resources": memory("256Mi")})), &[]);
        told(
            managed(&json!({"resources": memory("255Mi")})),
            &["spec.kafka.managed.resources.limits.memory leaves a broker 127 MiB of heap"],
        );
        told(
            managed(&json!({"jvm": {"heapPercent": 12}})),
            &["spec.kafka.managed.jvm.heapPercent leaves a broker 122 MiB of heap"],
        );
    }
}
