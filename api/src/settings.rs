//! The settings of each worker, and their form as environment variables: the only contract between whoever
//! starts a worker (the operator, a script) and the worker. Pure: reading the environment is the caller's.
//!
//! A field `bucket` of the settings `S3` is the variable `LOGPIPE_S3_BUCKET`. Text stands there as it is; text
//! that could be taken for something else, and everything that is not text, is JSON. No secret is among them:
//! secrets are files, and the settings say where.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::pipeline::{
    Addressing, Framing, GeneratorFormat, Granularity, ManagementPolicy, Parquet,
    RecordCompression, Rotation, SaslMechanism, Sse, StartAt, Transform,
};

mod from_pipeline;

pub use from_pipeline::Secrets;

/// Settings that travel as environment variables.
pub trait Settings: Serialize + DeserializeOwned {
    /// What the variables begin with, such as `LOGPIPE_S3_`.
    const PREFIX: &'static str;

    /// The variables. A field without a value has none.
    fn to_env(&self) -> BTreeMap<String, String> {
        let value = serde_json::to_value(self).expect("settings hold nothing that JSON cannot");
        let Value::Object(fields) = value else {
            unreachable!("settings are structs");
        };
        let fields = fields.into_iter().filter(|(_, value)| !value.is_null());
        fields
            .map(|(field, value)| (variable(Self::PREFIX, &field), encode(value)))
            .collect()
    }

    /// Reads them back from all variables of a process; the others are left alone.
    fn from_env(
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, SettingsError> {
        let mut fields = Map::new();
        for (name, text) in variables {
            if let Some(field) = name.strip_prefix(Self::PREFIX) {
                fields.insert(field.to_lowercase(), decode(text));
            }
        }
        serde_json::from_value(Value::Object(fields)).map_err(|error| SettingsError {
            prefix: Self::PREFIX,
            reason: name_variable(Self::PREFIX, &error.to_string()),
        })
    }
}

/// The variables of a worker are incomplete or wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the environment variables {prefix}* cannot be used: {reason}")]
pub struct SettingsError {
    prefix: &'static str,
    reason: String,
}

fn variable(prefix: &str, field: &str) -> String {
    format!("{prefix}{}", field.to_uppercase())
}

fn encode(value: Value) -> String {
    match value {
        Value::String(text) if serde_json::from_str::<Value>(&text).is_err() => text,
        other => other.to_string(),
    }
}

fn decode(text: String) -> Value {
    serde_json::from_str(&text).unwrap_or(Value::String(text))
}

/// ``missing field `bucket` `` → ``missing field `bucket` (LOGPIPE_S3_BUCKET)``
fn name_variable(prefix: &str, reason: &str) -> String {
    let field = reason.split('`').nth(1).unwrap_or_default();
    if field.is_empty() || !field.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') {
        return reason.to_owned();
    }
    format!("{reason} ({})", variable(prefix, field))
}

/// Where Kafka is, and how to talk to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaSettings {
    /// Some brokers, as `host:port`.
    pub bootstrap_servers: Vec<String>,
    /// The topic.
    pub topic: String,
    /// Talk TLS, and how.
    #[serde(default)]
    pub tls: Option<KafkaTlsSettings>,
    /// Log in.
    #[serde(default)]
    pub sasl: Option<KafkaSaslSettings>,
}

/// TLS to Kafka, with files in PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaTlsSettings {
    /// The authorities; the system's own when there is none.
    #[serde(default)]
    pub ca_file: Option<String>,
    /// The client certificate.
    #[serde(default)]
    pub certificate_file: Option<String>,
    /// Its key.
    #[serde(default)]
    pub key_file: Option<String>,
}

/// A name and a password for Kafka.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaSaslSettings {
    /// How the password is proven.
    pub mechanism: SaslMechanism,
    /// The user.
    pub username: String,
    /// The file with the password. A line end behind it does not belong to it.
    pub password_file: String,
}

/// The bucket, and how to talk to its server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3Settings {
    /// The bucket.
    pub bucket: String,
    /// The pipeline's folder in it, with a closing slash.
    pub prefix: String,
    /// The server; AWS when there is none.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// The region.
    pub region: String,
    /// Where the bucket stands in an address.
    pub addressing: Addressing,
    /// More authorities for the server's certificate, in PEM.
    #[serde(default)]
    pub ca_file: Option<String>,
    /// A folder with the files `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and maybe `AWS_SESSION_TOKEN`, read
    /// again when they change; without it, the key comes from the environment.
    #[serde(default)]
    pub credentials_dir: Option<String>,
    /// How the server encrypts what it stores.
    #[serde(default)]
    pub sse: Option<Sse>,
}

/// What the generator writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GeneratorSettings {
    /// The name that each line carries.
    pub name: String,
    /// The folder of `app.log`.
    pub dir: String,
    /// Lines a second; 0 is as fast as the pipeline takes them.
    pub events_per_second: u64,
    /// Stop after this many lines; 0 never stops.
    pub max_events: u64,
    /// What the lines look like.
    pub format: GeneratorFormat,
    /// The same seed writes the same messages.
    pub seed: u64,
    /// How many lines in a hundred are broken on purpose.
    pub malformed_percent: u8,
}

/// What the file producer follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProducerSettings {
    /// The producer's name, unique in the topic; lane `i` writes under the producer key `<name>-<i>`.
    pub name: String,
    /// Paths and globs.
    pub paths: Vec<String>,
    /// Where to begin in files that are there at the very first start.
    pub start_at: StartAt,
    /// How many lines a record holds.
    pub framing: Framing,
    /// The codec of the records.
    pub compression: RecordCompression,
    /// How long a block may wait for more lines.
    pub linger_ms: u64,
    /// How often offsets are saved.
    pub save_every_seconds: u64,
    /// The folder of the saved offsets.
    pub state_dir: String,
    /// Removes rotated files when they are done: for the generator's own.
    pub delete_finished: bool,
}

/// What an ETL worker does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EtlSettings {
    /// Who takes partitions over, unique for each start: the pod's UID.
    pub owner: String,
    /// The member of the consumer group, the same at each start: the pod's name.
    pub instance: String,
    /// The consumer group.
    pub group_id: String,
    /// Threads, each a member of the group.
    pub threads: u32,
    /// How a line becomes a row.
    pub transform: Transform,
    /// How fine the folders are.
    pub granularity: Granularity,
    /// How Parquet is written.
    pub parquet: Parquet,
    /// When a batch is cut.
    pub rotation: Rotation,
    /// Where the checkpoints are.
    pub checkpoints: CheckpointPlace,
}

/// Where checkpoints are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckpointPlace {
    /// In files of one folder, which all workers of the pipeline must share.
    Dir(String),
    /// In ConfigMaps of a cluster.
    ConfigMaps {
        /// Their namespace.
        namespace: String,
        /// What their names begin with; see [`checkpoint_object`].
        prefix: String,
    },
}

/// Partitions that have a ConfigMap of their own. A busy pipeline writes each of them every few seconds, and
/// those of one object stand in each other's way.
pub const UNPACKED_PARTITIONS: u32 = 256;

/// Partitions above [`UNPACKED_PARTITIONS`] that share one: with 16 KiB each they stay far below the 1 MiB of
/// an object.
pub const PACKED_PARTITIONS: u32 = 8;

/// The key of the plans, beside those of the partitions.
pub const PLAN_KEY: &str = "plan";

/// The key of a partition's checkpoint: `p00003`.
pub fn partition_key(partition: u32) -> String {
    format!("p{partition:05}")
}

/// The partition whose checkpoint has this key; none where it is the key of something else.
pub fn partition_of_key(key: &str) -> Option<u32> {
    let digits = key.strip_prefix('p')?;
    let all_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
    (digits.len() == 5 && all_digits).then(|| digits.parse().ok())?
}

/// The name of the ConfigMap that holds the checkpoint `key`. It never depends on how many partitions there
/// are, so that a topic can grow. The operator makes these objects; workers read and patch them.
pub fn checkpoint_object(prefix: &str, key: &str) -> String {
    match partition_of_key(key).and_then(|partition| partition.checked_sub(UNPACKED_PARTITIONS)) {
        Some(above) => format!("{prefix}-g{:05}", above / PACKED_PARTITIONS),
        None => format!("{prefix}-{key}"),
    }
}

/// What the topic must be like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopicSettings {
    /// At least so many.
    pub partitions: u32,
    /// On how many brokers a record lies, when the topic is made; what the brokers say when there is none.
    #[serde(default)]
    pub replication_factor: Option<u32>,
    /// Whether it is made and changed.
    pub management_policy: ManagementPolicy,
    /// Its settings.
    #[serde(default)]
    pub config: BTreeMap<String, String>,
}

/// Where a worker tells its metrics and whether it is ready.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricsSettings {
    /// As `address:port`; no port is opened when there is none.
    #[serde(default)]
    pub listen: Option<String>,
}

impl Settings for KafkaSettings {
    const PREFIX: &'static str = "LOGPIPE_KAFKA_";
}
impl Settings for S3Settings {
    const PREFIX: &'static str = "LOGPIPE_S3_";
}
impl Settings for GeneratorSettings {
    const PREFIX: &'static str = "LOGPIPE_GENERATOR_";
}
impl Settings for ProducerSettings {
    const PREFIX: &'static str = "LOGPIPE_PRODUCER_";
}
impl Settings for EtlSettings {
    const PREFIX: &'static str = "LOGPIPE_ETL_";
}
impl Settings for MetricsSettings {
    const PREFIX: &'static str = "LOGPIPE_METRICS_";
}
impl Settings for TopicSettings {
    const PREFIX: &'static str = "LOGPIPE_TOPIC_";
}

#[cfg(test)]
mod tests;
