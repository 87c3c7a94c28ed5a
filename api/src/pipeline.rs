//! The `LogPipeline` resource (`logpipe.dev/v1alpha1`): spec, defaults and the CEL rules that the API
//! server applies at admission.
//!
//! Only fields that do something exist. Every string, list and number is bounded, so that the rules
//! stay within the API server's cost budget. Doc comments become the descriptions in the CRD.

// The derive macros expand private copies of the types, which the lint takes for ours.
#![allow(unreachable_pub)]

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod readable;
mod resolve;

pub use resolve::QuantityError;

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
    doc = "Log lines in, queryable Parquet out, each line exactly once.",
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?$')")
        .message("metadata.name must be at most 52 of a-z, 0-9 and '-', and begin and end with a letter or digit: topic, folder and pods are named after it"),
    printcolumn = r#"{"name":"Bucket","type":"string","jsonPath":".spec.sink.s3.bucket"}"#,
    printcolumn = r#"{"name":"Prefix","type":"string","jsonPath":".spec.sink.s3.prefix"}"#,
    printcolumn = r#"{"name":"ETL","type":"integer","jsonPath":".spec.etl.replicas"}"#,
    printcolumn = r#"{"name":"Suspend","type":"string","jsonPath":".spec.suspend"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = readable::make_readable)]
pub struct LogPipelineSpec {
    /// What to hold back. Nothing is ever deleted.
    #[serde(default)]
    pub suspend: Suspend,
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

/// Where the log lines come from: exactly one of `generator` and `files`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.generator) != has(self.files)")
        .message("spec.source must have exactly one of generator and files: remove one, or add the one you want"),
    validation = Rule::new("has(self.generator) == has(oldSelf.generator)")
        .message("spec.source must keep its kind: make a new pipeline to change from generator to files or back")
)]
pub struct Source {
    /// Seeded synthetic lines, written to a rolling `app.log`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generator: Option<Generator>,
    /// Files to follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<Files>,
    /// How lines travel into the topic.
    #[serde(default)]
    pub producer: Producer,
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
    /// How many lines in a hundred are broken on purpose, to see the quarantine work.
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

/// How lines travel into the topic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Producer {
    /// How many lines one record holds.
    #[serde(default)]
    pub framing: Framing,
    /// How long a block may wait for more lines, in milliseconds.
    #[serde(default = "default_linger_ms")]
    #[schemars(range(min = 0, max = 10_000))]
    pub linger_ms: i64,
}

fn default_linger_ms() -> i64 {
    50
}

impl Default for Producer {
    fn default() -> Self {
        Self {
            framing: Framing::default(),
            linger_ms: default_linger_ms(),
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

/// The log between producers and ETL workers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Kafka {
    /// The topic.
    #[serde(default)]
    pub topic: Topic,
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
}

fn default_partitions() -> i32 {
    3
}

impl Default for Topic {
    fn default() -> Self {
        Self {
            name: None,
            partitions: default_partitions(),
        }
    }
}

/// How a line becomes a row.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Transform {
    /// How a line is read.
    #[serde(default)]
    pub parser: Parser,
    /// Which columns a row has.
    #[serde(default)]
    pub schema: Schema,
    /// Where lines go that cannot be read.
    #[serde(default)]
    pub dead_letter: DeadLetter,
}

/// How a line is read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.pattern) == (self.type == 'Regex')")
        .message("spec.transform.parser.pattern must be set for type Regex and for no other type")
)]
pub struct Parser {
    /// The format of the lines.
    #[serde(default, rename = "type")]
    pub kind: ParserType,
    /// For `Regex`: a regular expression whose named groups become columns; the group `timestamp` is
    /// the event time, for example `^(?<timestamp>\S+ \S+) (?<level>\w+) (?<message>.*)$`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub pattern: Option<String>,
    /// The zone of times that do not name one: `UTC`, an IANA name such as `Europe/Zurich`, or an
    /// offset such as `+02:00`.
    #[serde(default = "default_timezone")]
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[a-zA-Z0-9_+:/-]+$"))]
    pub timezone: String,
}

fn default_timezone() -> String {
    "UTC".to_owned()
}

impl Default for Parser {
    fn default() -> Self {
        Self {
            kind: ParserType::default(),
            pattern: None,
            timezone: default_timezone(),
        }
    }
}

/// The format of the lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ParserType {
    /// Decide from a sample of the first lines, and keep to it.
    #[default]
    Auto,
    /// Timestamp, level, message: `2026-01-31 07:00:00,123 INFO message`.
    Text,
    /// One JSON object a line.
    Json,
    /// `key=value` pairs.
    Logfmt,
    /// The named groups of `pattern`.
    Regex,
    /// Container runtime lines around any message.
    Cri,
    /// Combined or common access log of nginx and Apache.
    Nginx,
    /// RFC 5424, RFC 3164 and plain `/var/log` syslog.
    Syslog,
    /// Layouts of log4j, logback and their kin, and the Apache error log.
    Log4j,
}

/// Which columns a row has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.fields) && size(self.fields) > 0) == (self.mode == 'Declared')")
        .message("spec.transform.schema.fields must be set for mode Declared and for no other mode")
)]
pub struct Schema {
    /// Where the columns come from.
    #[serde(default)]
    pub mode: SchemaMode,
    /// The columns, for mode `Declared`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 256),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub fields: Vec<Field>,
    /// What happens to fields of a line that are not columns.
    #[serde(default)]
    pub unknown_fields: UnknownFields,
}

/// Where the columns come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SchemaMode {
    /// The parser's own columns and, for `Json` and `Logfmt`, those of a sample; then they are kept to.
    #[default]
    Infer,
    /// From `fields`.
    Declared,
    /// One column, `message`: the line as it is.
    Raw,
}

/// A declared column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(self.name in ['dt', 'hour'])")
        .message("name must not be dt or hour: the folders' own columns have these names")
)]
pub struct Field {
    /// The column's name, of letters, digits and `_`, beginning with a letter: names that begin with `_`
    /// are for ingestion metadata.
    #[schemars(
        length(min = 1, max = 128),
        regex(pattern = r"^[a-zA-Z][a-zA-Z0-9_]*$")
    )]
    pub name: String,
    /// The column's type.
    #[serde(rename = "type")]
    pub kind: FieldType,
    /// The field in the line; the column's name when it is left out. Nested JSON fields are written
    /// with dots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub from: Option<String>,
    /// A line without this field, or with a value of another type, goes to the quarantine. Otherwise
    /// the column is null.
    #[serde(default)]
    pub required: bool,
}

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum FieldType {
    /// UTF-8 text.
    String,
    /// 64-bit signed integer.
    Int64,
    /// 64-bit floating point number.
    Float64,
    /// True or false.
    Boolean,
    /// A time in UTC, in microseconds.
    Timestamp,
}

/// What happens to fields of a line that are not columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum UnknownFields {
    /// They are kept as one JSON text, in the column `_extra`.
    #[default]
    Collect,
    /// They are left out.
    Drop,
    /// The line goes to the quarantine.
    Reject,
}

/// Where lines go that cannot be read: files of their own, committed exactly once like any row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// The folder under the sink's prefix, one level deep and with its closing slash. A leading underscore keeps Spark, Hive and Athena from
    /// reading it as part of the table.
    #[serde(default = "default_dead_letter_prefix")]
    #[schemars(
        length(min = 2, max = 128),
        regex(pattern = r"^[_a-zA-Z0-9][a-zA-Z0-9_-]*/$")
    )]
    pub prefix: String,
}

fn default_dead_letter_prefix() -> String {
    "_dead/".to_owned()
}

impl Default for DeadLetter {
    fn default() -> Self {
        Self {
            prefix: default_dead_letter_prefix(),
        }
    }
}

/// Where the Parquet files go and how they are cut.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sink {
    /// The bucket.
    pub s3: S3,
    /// How the files are written.
    #[serde(default)]
    pub parquet: Parquet,
    /// Into which folders.
    #[serde(default)]
    pub partition_by: PartitionBy,
    /// When a file is closed: the first limit that is reached.
    #[serde(default)]
    pub rotation: Rotation,
}

/// A bucket of S3 or of a server that speaks its protocol.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.bucket == oldSelf.bucket && has(self.prefix) == has(oldSelf.prefix) && (!has(self.prefix) || self.prefix == oldSelf.prefix)")
        .message("spec.sink.s3 must keep its bucket and prefix: make a new pipeline for a new place")
)]
pub struct S3 {
    /// The bucket's name, of lower-case letters, digits, `-` and single dots.
    #[schemars(
        length(min = 3, max = 63),
        regex(pattern = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?([.][a-z0-9]([a-z0-9-]*[a-z0-9])?)*$")
    )]
    pub bucket: String,
    /// The folder of this pipeline's files in the bucket, with a closing slash; the pipeline's name when
    /// it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 512),
        regex(pattern = r"^([.]*[a-zA-Z0-9_=-][a-zA-Z0-9._=-]*/)+$")
    )]
    pub prefix: Option<String>,
}

/// How Parquet is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Parquet {
    /// The codec of the pages.
    #[serde(default)]
    pub compression: Compression,
    /// The most rows in a row group.
    #[serde(default = "default_row_group_rows")]
    #[schemars(range(min = 1000, max = 10_000_000))]
    pub row_group_rows: i64,
}

fn default_row_group_rows() -> i64 {
    1_000_000
}

impl Default for Parquet {
    fn default() -> Self {
        Self {
            compression: Compression::default(),
            row_group_rows: default_row_group_rows(),
        }
    }
}

/// The codec of the pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Compression {
    /// Fast, and what Spark writes by default.
    #[default]
    Snappy,
    /// Smaller by about 40 % for about 12 % more CPU (level 1).
    Zstd,
    /// LZ4 blocks without a frame (`LZ4_RAW`).
    Lz4Raw,
    /// As it is.
    None,
}

/// Into which folders files go: `dt=2026-01-31/hour=07`, by the event time in UTC.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PartitionBy {
    /// By the event time.
    #[serde(default)]
    pub time: PartitionByTime,
}

/// How fine the folders are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.granularity == oldSelf.granularity")
        .message("spec.sink.partitionBy.time.granularity must not change, because readers refuse a table with folders of both depths: make a new pipeline for another one")
)]
pub struct PartitionByTime {
    /// How much time one folder holds.
    #[serde(default)]
    pub granularity: Granularity,
}

/// How fine the folders are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Granularity {
    /// `dt=2026-01-31/hour=07`
    #[default]
    Hour,
    /// `dt=2026-01-31`
    Day,
}

/// When a file is closed: the first limit that is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("quantity(self.maxBytes).compareTo(quantity('1Mi')) >= 0 && quantity(self.maxBytes).compareTo(quantity('512Mi')) <= 0")
        .message("spec.sink.rotation.maxBytes must be between 1Mi and 512Mi: a file is written in one put")
)]
pub struct Rotation {
    /// Bytes of Parquet, from 1Mi to 512Mi: a whole number with `k`, `M`, `G` (powers of 1000) or `Ki`,
    /// `Mi`, `Gi` (powers of 1024).
    #[serde(default = "default_max_bytes")]
    #[schemars(
        length(min = 1, max = 16),
        regex(pattern = r"^[1-9][0-9]*(Ki|Mi|Gi|k|M|G)?$")
    )]
    pub max_bytes: String,
    /// Rows.
    #[serde(default = "default_max_rows")]
    #[schemars(range(min = 1, max = 100_000_000))]
    pub max_rows: i64,
    /// Seconds since the first row.
    #[serde(default = "default_interval_seconds")]
    #[schemars(range(min = 1, max = 86_400))]
    pub interval_seconds: i64,
    /// Seconds without a new row.
    #[serde(default = "default_idle_seconds")]
    #[schemars(range(min = 1, max = 86_400))]
    pub idle_seconds: i64,
}

fn default_max_bytes() -> String {
    "64Mi".to_owned()
}
fn default_max_rows() -> i64 {
    5_000_000
}
fn default_interval_seconds() -> i64 {
    300
}
fn default_idle_seconds() -> i64 {
    60
}

impl Default for Rotation {
    fn default() -> Self {
        Self {
            max_bytes: default_max_bytes(),
            max_rows: default_max_rows(),
            interval_seconds: default_interval_seconds(),
            idle_seconds: default_idle_seconds(),
        }
    }
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
}

fn default_replicas() -> i32 {
    1
}

impl Default for Etl {
    fn default() -> Self {
        Self {
            replicas: default_replicas(),
        }
    }
}
