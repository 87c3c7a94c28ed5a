//! `spec.source`: where the lines come from, and how they travel into the topic.

// The derive macros expand private copies of the types, which the lint takes for ours.
#![allow(unreachable_pub)]

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{PodTemplate, Resources, Storage};

/// Where the log lines come from: exactly one of `generator`, `files` and `topic`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.generator) ? 1 : 0) + (has(self.files) ? 1 : 0) + (has(self.topic) ? 1 : 0) == 1")
        .message("spec.source must have exactly one of generator, files and topic: keep the one you want"),
    validation = Rule::new("has(self.generator) == has(oldSelf.generator) && has(self.files) == has(oldSelf.files)")
        .message("spec.source must keep its kind: make a new pipeline to change between generator, files and topic")
)]
pub struct Source {
    /// Seeded synthetic lines, written to a rolling `app.log`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generator: Option<Generator>,
    /// Files to follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<Files>,
    /// Logpipe reads no files: other programs write the topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<TopicSource>,
    /// How lines travel into the topic.
    #[serde(default)]
    pub producer: Producer,
    /// The volume of the saved offsets, and of the generator's `app.log`.
    #[serde(default)]
    pub storage: Storage,
    /// Merged into the source's pod, after `spec.podTemplate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_template: Option<PodTemplate>,
}

/// A generator of synthetic log lines. Each line carries its producer, number and checksum, so that
/// `logpipe verify` can prove that none is lost or doubled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Generator {
    /// Lines a second; 0 is as fast as the pipeline takes them.
    #[serde(default = "default_events_per_second")]
    #[schemars(range(min = 0, max = 100_000_000))]
    pub events_per_second: i64,
    /// Stop after this many lines; 0 never stops.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1_000_000_000_000_000_i64))]
    pub max_events: i64,
    /// What the lines look like.
    #[serde(default)]
    pub format: GeneratorFormat,
    /// The same seed writes the same messages. At most 2^53 - 1, which every JSON reader keeps whole.
    #[serde(default)]
    #[schemars(range(min = 0, max = 9_007_199_254_740_991_i64))]
    pub seed: i64,
    /// How many lines in a hundred are broken on purpose, so that there are dead letters.
    #[serde(default)]
    #[schemars(range(min = 0, max = 100))]
    pub malformed_percent: i64,
}

fn default_events_per_second() -> i64 {
    200
}

impl Default for Generator {
    fn default() -> Self {
        Self {
            events_per_second: default_events_per_second(),
            max_events: 0,
            format: GeneratorFormat::default(),
            seed: 0,
            malformed_percent: 0,
        }
    }
}

/// What generated lines look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum GeneratorFormat {
    /// `2026-01-31 07:00:00,123 INFO message`
    #[default]
    Text,
    /// One JSON object a line.
    Json,
    /// `ts=… level=… msg="…"`
    Logfmt,
    /// The combined access log of nginx and Apache.
    Nginx,
    /// RFC 5424.
    Syslog,
    /// What container runtimes write: `2026-01-31T07:00:00.123456789Z stdout F message`
    Cri,
}

/// Files to follow. Rotation by rename, copytruncate and delete-and-recreate is followed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Files {
    /// Paths or globs (`*`, `?`, `[a-z]`, `**`). Relative paths start at the manifest's folder.
    #[schemars(
        length(min = 1, max = 64),
        inner(length(min = 1, max = 1024)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub paths: Vec<String>,
    /// Where to begin in a file that is already there at the very first start. Files that appear
    /// later are always read from their beginning.
    #[serde(default)]
    pub start_at: StartAt,
    /// In a cluster, the volume the files are on; a path must be below its `mountPath`. `logpipe run` reads
    /// the files of its machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<FilesVolume>,
}

/// A volume with files to follow. It is only read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FilesVolume {
    /// A claim in the pipeline's namespace, shared with the program that writes the files.
    pub persistent_volume_claim: ClaimRef,
    /// Where it is seen.
    #[schemars(
        length(min = 2, max = 1024),
        regex(pattern = r"^(/[a-zA-Z0-9_][a-zA-Z0-9._-]*)+$")
    )]
    pub mount_path: String,
}

/// A claim of a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClaimRef {
    /// Its name.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
    )]
    pub claim_name: String,
}

/// Where to begin in a file at the very first start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StartAt {
    /// At its first byte.
    #[default]
    Beginning,
    /// After its last complete line.
    End,
}

/// Others write the topic: a record of theirs holds one line or several, and counts by its offset alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TopicSource {}

/// How lines travel into the topic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Producer {
    /// How many lines one record holds.
    #[serde(default)]
    pub framing: Framing,
    /// The codec of the records in Kafka. The embedded log of `logpipe run` always takes LZ4.
    #[serde(default)]
    pub compression: RecordCompression,
    /// How long a block may wait for more lines, in milliseconds.
    #[serde(default = "default_linger_ms")]
    #[schemars(range(min = 0, max = 10_000))]
    pub linger_ms: i64,
    /// What the producer is given in a cluster, and the generator as well; 50m of CPU and 64Mi of memory, at
    /// most 256Mi, or 128Mi and 2Mi for each partition where that is more, when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
}

fn default_linger_ms() -> i64 {
    50
}

impl Default for Producer {
    fn default() -> Self {
        Self {
            framing: Framing::default(),
            compression: RecordCompression::default(),
            linger_ms: default_linger_ms(),
            resources: None,
        }
    }
}

/// How many lines one record holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Framing {
    /// Complete lines, joined, at most 60 KiB a record.
    #[default]
    Block,
    /// One line a record, for topics that others read too.
    Line,
}

/// The codec of the records in Kafka.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RecordCompression {
    /// Fast; lines shrink to about a quarter.
    #[default]
    Lz4,
    /// Smaller, for more CPU.
    Zstd,
    /// As fast as LZ4, and a little larger.
    Snappy,
    /// For readers that know nothing else.
    Gzip,
    /// Not compressed.
    None,
}
