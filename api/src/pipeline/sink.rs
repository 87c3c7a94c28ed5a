//! `spec.sink`: where the Parquet files go and how they are cut.

// The derive macros expand private copies of the types, which the lint takes for ours.
#![allow(unreachable_pub)]

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::kafka::{CaRef, SecretRef};

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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
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
    /// The server's address, such as `http://s3.object-store.svc:9000`; AWS when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 8, max = 512),
        regex(pattern = r"^https?://([a-zA-Z0-9._-]+|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?/?$")
    )]
    pub endpoint: Option<String>,
    /// The region.
    #[serde(default = "default_region")]
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[a-z0-9-]+$"))]
    pub region: String,
    /// Where the bucket's name goes in a URL: `Path` for MinIO and most self-hosted servers, `VirtualHost` for
    /// AWS. Left out: `Path` where there is an endpoint, `VirtualHost` for AWS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addressing: Option<Addressing>,
    /// How the server's certificate is checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<S3Tls>,
    /// The key to the bucket; left out, it is taken from the environment: the `AWS_*` variables, a web identity
    /// token, or the instance's own role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<S3Credentials>,
    /// How the server encrypts what it stores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sse: Option<Sse>,
}

fn default_region() -> String {
    "us-east-1".to_owned()
}

impl Default for S3 {
    fn default() -> Self {
        Self {
            bucket: String::new(),
            prefix: None,
            endpoint: None,
            region: default_region(),
            addressing: None,
            tls: None,
            credentials: None,
            sse: None,
        }
    }
}

/// Where the bucket's name goes in a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Addressing {
    /// `https://server/bucket/object`
    Path,
    /// `https://bucket.server/object`
    VirtualHost,
}

/// How the server's certificate is checked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct S3Tls {
    /// The certificates that the server's own must lead to, in PEM, beside the well-known ones.
    pub ca_secret_ref: CaRef,
}

/// The key to the bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct S3Credentials {
    /// A Secret with `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, and `AWS_SESSION_TOKEN` where there is
    /// one. It is read again when it changes.
    pub secret_ref: SecretRef,
}

/// How the server encrypts what it stores.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.kmsKeyId) ? self.type == 'KMS' : true")
        .message("spec.sink.s3.sse.kmsKeyId must be set for type KMS only")
)]
pub struct Sse {
    /// Whose key is used.
    #[serde(rename = "type")]
    pub kind: SseType,
    /// The key of the key service; the bucket's own when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub kms_key_id: Option<String>,
}

/// Whose key the server encrypts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SseType {
    /// The server's own.
    S3,
    /// One of the key service.
    #[serde(rename = "KMS")]
    Kms,
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
    /// Smaller by about 40% for about 7% more CPU (level 1).
    Zstd,
    /// LZ4 blocks without a frame (`LZ4_RAW`).
    Lz4Raw,
    /// Not compressed.
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

impl Granularity {
    /// As a manifest names it, and `run.json` of a data folder.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "Hour",
            Self::Day => "Day",
        }
    }
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
