//! The `LogPipeline` resource (`logpipe.dev/v1alpha1`): spec, defaults and the CEL rules that the API
//! server applies at admission.
//!
//! Only fields that do something exist. Every string, list and number is bounded, so that the rules
//! stay within the API server's cost budget. Doc comments become the descriptions in the CRD.

// The derive macros expand private copies of the types, which the lint takes for ours.
#![allow(unreachable_pub)]

use kube::{CustomResource, CustomResourceExt, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

mod cluster;
mod cluster_rules;
mod kafka;
pub mod metadata_version;
mod pod_template;
mod readable;
mod resolve;
mod sink;
mod source;
mod status;
mod transform;

pub use cluster::*;
pub use cluster_rules::{Fault, SECRETS, SOURCE_DIR};
pub use kafka::*;
pub use pod_template::*;
pub use sink::*;
pub use source::*;
pub use status::*;
pub use transform::*;

/// One pipeline: a log source, the topic it is written to, and the Parquet it becomes.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "logpipe.dev",
    version = "v1alpha1",
    kind = "LogPipeline",
    plural = "logpipelines",
    shortname = "lp",
    category = "logpipe",
    namespaced,
    derive = "PartialEq",
    status = "LogPipelineStatus",
    scale(
        spec_replicas_path = ".spec.etl.replicas",
        status_replicas_path = ".status.etl.replicas",
        label_selector_path = ".status.etl.selector"
    ),
    doc = "Log lines in, queryable Parquet out, each line exactly once.",
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]{0,50}[a-z0-9])?$')")
        .message("metadata.name must be at most 52 of a-z, 0-9 and '-', begin with a letter and end with a letter or digit: topic, folder, pods and Services are named after it"),
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Status","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name":"Lag","type":"string","jsonPath":".status.progress.lagRecords"}"#,
    printcolumn = r#"{"name":"Rows","type":"string","jsonPath":".status.progress.committedRows"}"#,
    printcolumn = r#"{"name":"DLQ","type":"string","jsonPath":".status.progress.deadLetterRecords"}"#,
    printcolumn = r#"{"name":"ETL","type":"integer","jsonPath":".status.etl.readyReplicas"}"#,
    printcolumn = r#"{"name":"Kafka","type":"integer","jsonPath":".status.kafka.readyReplicas"}"#,
    printcolumn = r#"{"name":"Committed","type":"date","jsonPath":".status.progress.lastCommitTime"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Suspend","type":"string","jsonPath":".spec.suspend","priority":1}"#,
    printcolumn = r#"{"name":"Topic","type":"string","jsonPath":".status.topic.name","priority":1}"#,
    printcolumn = r#"{"name":"Bucket","type":"string","jsonPath":".spec.sink.s3.bucket","priority":1}"#,
    printcolumn = r#"{"name":"Prefix","type":"string","jsonPath":".spec.sink.s3.prefix","priority":1}"#
)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = readable::make_readable)]
pub struct LogPipelineSpec {
    /// What to hold back. Nothing is ever deleted.
    #[serde(default)]
    pub suspend: Suspend,
    /// What a deletion leaves.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// The images of the pods.
    #[serde(default)]
    pub images: Images,
    /// On which nodes the pods run.
    #[serde(default)]
    pub scheduling: Scheduling,
    /// Merged into all pods: labels, annotations, affinity, containers and volumes of your own. Lists of named things
    /// are merged by name, other lists and `nodeSelector` are replaced. The operator's containers keep their image,
    /// command, environment and resources; the Job of the topic takes no container of yours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_template: Option<PodTemplate>,
    /// Where the log lines come from.
    pub source: Source,
    /// The log between producers and ETL workers.
    #[serde(default)]
    pub kafka: Kafka,
    /// How a line becomes a row.
    #[serde(default)]
    pub transform: Transform,
    /// Where the Parquet files go and how they are cut.
    pub sink: Sink,
    /// How often progress is saved.
    #[serde(default)]
    pub checkpoint: CheckpointSpec,
    /// The ETL workers.
    #[serde(default)]
    pub etl: Etl,
}

// These are compiled here, once. Serde's code for all that the resource can hold is compiled anew into each crate that
// asks serde for it: it was a third of the code of the command line.
impl LogPipeline {
    /// A resource from its JSON. Nothing is checked but the types.
    pub fn from_json(object: Value) -> serde_json::Result<Self> {
        serde_json::from_value(object)
    }

    /// The `CustomResourceDefinition` as JSON.
    pub fn crd_json() -> Value {
        serde_json::to_value(Self::crd()).expect("a CRD is JSON")
    }
}

impl LogPipelineSpec {
    /// A spec from its JSON. Nothing is checked but the types.
    pub fn from_json(spec: Value) -> serde_json::Result<Self> {
        serde_json::from_value(spec)
    }
}

/// What to hold back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Suspend {
    /// Everything runs.
    #[default]
    None,
    /// The source is not read; lines that are already in the topic still become rows.
    Sources,
    /// Nothing runs.
    All,
}

/// How often progress is saved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckpointSpec {
    /// How often a file producer saves its offsets, in seconds. A crash costs a longer scan of the
    /// topic, never a line.
    #[serde(default = "default_checkpoint_interval")]
    #[schemars(range(min = 1, max = 300))]
    pub interval_seconds: i64,
}

fn default_checkpoint_interval() -> i64 {
    5
}

impl Default for CheckpointSpec {
    fn default() -> Self {
        Self {
            interval_seconds: default_checkpoint_interval(),
        }
    }
}

/// The ETL workers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Etl {
    /// How many share the partitions.
    #[serde(default = "default_replicas")]
    #[schemars(range(min = 1, max = 1024))]
    pub replicas: i32,
    /// The consumer group that shares the partitions among the workers, and shows their lag in Kafka's own tools;
    /// `<namespace>.<name>` when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 249), regex(pattern = r"^[a-zA-Z0-9._-]+$"))]
    pub group_id: Option<String>,
    /// A service account of yours for the workers, such as one with a cloud role that may write to the bucket. The
    /// operator binds it to the checkpoints; it makes one when this is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
    )]
    pub service_account_name: Option<String>,
    /// What a worker is given; 250m of CPU and 512Mi of memory, at most 1Gi, when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Merged into the workers' pods, after `spec.podTemplate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_template: Option<PodTemplate>,
}

fn default_replicas() -> i32 {
    1
}

impl Default for Etl {
    fn default() -> Self {
        Self {
            replicas: default_replicas(),
            group_id: None,
            service_account_name: None,
            resources: None,
            pod_template: None,
        }
    }
}
