//! `spec.kafka`: the log between producers and ETL workers.

// The derive macros expand private copies of the types, which the lint takes for ours.
#![allow(unreachable_pub)]

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ManagedKafka;

/// The log between producers and ETL workers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.managed) && has(self.external))")
        .message("spec.kafka must have at most one of managed and external: keep the one you want"),
    validation = Rule::new("!has(oldSelf.managed) || has(self.managed)")
        .message("spec.kafka.managed must not be removed once it is written: its brokers and volumes are there"),
    validation = Rule::new("has(oldSelf.managed) || !has(self.managed) || (quantity(self.managed.storage.size).compareTo(quantity('8Gi')) >= 0 && !has(self.managed.storage.className))")
        .message("spec.kafka.managed.storage must be what the brokers were made with before it was written: size 8Gi or more, no className"),
    validation = Rule::new("has(self.external) == has(oldSelf.external)")
        .message("spec.kafka.external must not be added or removed: make a new pipeline for another Kafka")
)]
pub struct Kafka {
    /// A Kafka of the pipeline's own. It is what you get when neither is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed: Option<ManagedKafka>,
    /// Your own Kafka.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalKafka>,
    /// The topic.
    #[serde(default)]
    pub topic: Topic,
}

/// A Kafka that is not ours.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExternalKafka {
    /// Some of its brokers, as `host:port`.
    #[schemars(
        length(min = 1, max = 32),
        inner(length(min = 3, max = 260), regex(pattern = r"^([a-zA-Z0-9._-]+|\[[0-9a-fA-F:.]+\]):[0-9]{1,5}$")),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub bootstrap_servers: Vec<String>,
    /// TLS and its certificates; left out, the connection is not encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<KafkaTls>,
    /// Log in with a name and a password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sasl: Option<KafkaSasl>,
}

/// TLS to Kafka. The brokers' certificates must name the hosts that are dialled.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KafkaTls {
    /// The certificates that the brokers' own must lead to, in PEM; the system's when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<CaRef>,
    /// A client certificate: a Secret of type `kubernetes.io/tls`, with `tls.crt` and `tls.key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_cert_secret_ref: Option<SecretRef>,
}

/// A name and a password for Kafka.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KafkaSasl {
    /// The SASL mechanism.
    pub mechanism: SaslMechanism,
    /// The user.
    #[schemars(length(min = 1, max = 256))]
    pub username: String,
    /// The password.
    pub password_secret_key_ref: SecretKeyRef,
}

/// How a password is proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SaslMechanism {
    /// Sent as it is: use it with TLS.
    Plain,
    /// SCRAM-SHA-256.
    ScramSha256,
    /// SCRAM-SHA-512.
    ScramSha512,
}

/// A Secret in the pipeline's namespace. `logpipe run` reads `<secrets folder>/<name>/`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// Its name.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
    )]
    pub name: String,
}

/// One value of a Secret in the pipeline's namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// The Secret's name.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
    )]
    pub name: String,
    /// The key in it.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[-._a-zA-Z0-9]*[-_a-zA-Z0-9][-._a-zA-Z0-9]*$")
    )]
    pub key: String,
}

/// Certificates of authorities in a Secret of the pipeline's namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CaRef {
    /// The Secret's name.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
    )]
    pub name: String,
    /// The key in it.
    #[serde(default = "default_ca_key")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[-._a-zA-Z0-9]*[-_a-zA-Z0-9][-._a-zA-Z0-9]*$")
    )]
    pub key: String,
}

fn default_ca_key() -> String {
    "ca.crt".to_owned()
}

/// The topic that holds the raw lines.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.name) == has(oldSelf.name) && (!has(self.name) || self.name == oldSelf.name)")
        .message("spec.kafka.topic.name must not change: make a new pipeline for another topic"),
    validation = Rule::new("self.partitions >= oldSelf.partitions")
        .message("spec.kafka.topic.partitions must not shrink: Kafka cannot remove partitions")
)]
pub struct Topic {
    /// The topic's name, of letters, digits, `.`, `_` and `-`; the pipeline's name when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 200),
        regex(pattern = r"^[.]*[a-zA-Z0-9_-][a-zA-Z0-9._-]*$")
    )]
    pub name: Option<String>,
    /// Partitions; also the most ETL workers that can share the work. May only grow.
    #[serde(default = "default_partitions")]
    #[schemars(range(min = 1, max = 1024))]
    pub partitions: i32,
    /// How many brokers keep a copy; what the brokers say when it is left out. It is only used when the
    /// topic is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 15))]
    pub replication_factor: Option<i32>,
    /// Whether Logpipe creates and changes the topic.
    #[serde(default)]
    pub management_policy: ManagementPolicy,
    /// Settings of the topic, such as `retention.ms`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub config: BTreeMap<String, String>,
}

fn default_partitions() -> i32 {
    3
}

impl Default for Topic {
    fn default() -> Self {
        Self {
            name: None,
            partitions: default_partitions(),
            replication_factor: None,
            management_policy: ManagementPolicy::default(),
            config: BTreeMap::new(),
        }
    }
}

/// Whether Logpipe creates and changes the topic. It is never deleted, and never loses a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ManagementPolicy {
    /// It is created when it is missing; partitions are added and settings changed as written here.
    #[default]
    CreateOrUpdate,
    /// It is only compared: differences are reported.
    ObserveOnly,
}
