//! `status`: what the operator saw. Written by the operator alone; nothing is decided by it.

// The derive macros expand private copies of the types, which the lint takes for ours.
#![allow(unreachable_pub)]

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the operator observed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = super::readable::make_readable)]
pub struct LogPipelineStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`, `Reconciling` and `Stalled` sum up `KafkaReady`, `TopicReady`, `SourceReady` and `ETLReady`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"])
    )]
    pub conditions: Vec<Condition>,
    /// The log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kafka: Option<KafkaStatus>,
    /// The topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<TopicStatus>,
    /// The ETL workers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etl: Option<EtlStatus>,
    /// The checkpoints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoints: Option<CheckpointsStatus>,
    /// What was committed, read from the checkpoints at most every 30 seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
}

/// A condition of the pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Its name.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// Why, in one word.
    pub reason: String,
    /// What, on which object, why, and what fixes it.
    pub message: String,
    /// The generation of the spec it is about.
    #[serde(default)]
    pub observed_generation: i64,
    /// Since when `status` is what it is.
    #[schemars(extend("format" = "date-time"))]
    pub last_transition_time: String,
}

/// The log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KafkaStatus {
    /// `Managed` or `External`.
    pub mode: String,
    /// The identity of a managed Kafka, drawn when it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
    /// The `metadata.version` of a managed Kafka, as last seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata_version: Option<String>,
    /// Where clients connect first.
    pub bootstrap_servers: String,
    /// Brokers of a managed Kafka.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Those that are ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_replicas: Option<i32>,
}

/// The topic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TopicStatus {
    /// Its name.
    pub name: String,
    /// The partitions it was made or found with.
    pub partitions: i32,
}

/// The ETL workers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EtlStatus {
    /// Workers that exist.
    pub replicas: i32,
    /// Those that are ready.
    pub ready_replicas: i32,
    /// The label selector of their pods.
    pub selector: String,
}

/// The checkpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckpointsStatus {
    /// The number of partitions whose checkpoint was made. One of these that is gone is never recreated: an
    /// empty checkpoint would say that nothing was written yet.
    pub partitions: i32,
}

/// What was committed. Counts are text, because they may be greater than what every JSON reader keeps whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// Rows in files of the table.
    pub committed_rows: String,
    /// Files of the table and of the quarantine.
    pub files_written: String,
    /// Lines in files of the quarantine.
    pub dead_letter_records: String,
    /// Records of the topic that were not committed at `lastCommitTime`: what each partition lacked at its own last
    /// commit, with an end of the topic that is up to 15 s older. It stands still while no worker commits. A record
    /// holds many lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_records: Option<String>,
    /// When a worker last committed a batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub last_commit_time: Option<String>,
}
