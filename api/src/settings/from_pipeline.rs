//! The settings that a manifest asks for. Pure.

use super::{
    CheckpointPlace, EtlSettings, GeneratorSettings, KafkaSaslSettings, KafkaSettings,
    KafkaTlsSettings, ProducerSettings, S3Settings, TopicSettings,
};
use crate::pipeline::{Addressing, ExternalKafka, Generator, LogPipeline};

/// The folder under which each Secret is a folder, and each of its keys a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secrets(pub String);

impl Secrets {
    fn dir(&self, name: &str) -> String {
        format!("{}/{name}", self.0.trim_end_matches('/'))
    }

    fn file(&self, name: &str, key: &str) -> String {
        format!("{}/{key}", self.dir(name))
    }
}

impl KafkaSettings {
    /// The user's own Kafka.
    pub fn external(pipeline: &LogPipeline, kafka: &ExternalKafka, secrets: &Secrets) -> Self {
        let tls = kafka.tls.as_ref().map(|tls| {
            let client = tls.client_cert_secret_ref.as_ref();
            KafkaTlsSettings {
                ca_file: tls
                    .ca_secret_ref
                    .as_ref()
                    .map(|ca| secrets.file(&ca.name, &ca.key)),
                certificate_file: client.map(|client| secrets.file(&client.name, "tls.crt")),
                key_file: client.map(|client| secrets.file(&client.name, "tls.key")),
            }
        });
        let sasl = kafka.sasl.as_ref().map(|sasl| {
            let password = &sasl.password_secret_key_ref;
            KafkaSaslSettings {
                mechanism: sasl.mechanism,
                username: sasl.username.clone(),
                password_file: secrets.file(&password.name, &password.key),
            }
        });
        Self {
            bootstrap_servers: kafka.bootstrap_servers.clone(),
            topic: pipeline.topic_name(),
            tls,
            sasl,
        }
    }
}

impl S3Settings {
    /// The manifest's bucket.
    pub fn new(pipeline: &LogPipeline, secrets: &Secrets) -> Self {
        let s3 = &pipeline.spec.sink.s3;
        let usual = match s3.endpoint {
            Some(_) => Addressing::Path,
            None => Addressing::VirtualHost,
        };
        Self {
            bucket: s3.bucket.clone(),
            prefix: pipeline.prefix(),
            endpoint: s3.endpoint.clone(),
            region: s3.region.clone(),
            addressing: s3.addressing.unwrap_or(usual),
            ca_file: s3
                .tls
                .as_ref()
                .map(|tls| secrets.file(&tls.ca_secret_ref.name, &tls.ca_secret_ref.key)),
            credentials_dir: s3
                .credentials
                .as_ref()
                .map(|credentials| secrets.dir(&credentials.secret_ref.name)),
            sse: s3.sse.clone(),
        }
    }
}

impl GeneratorSettings {
    /// Lines of `name` in `dir`.
    pub fn new(generator: &Generator, name: &str, dir: &str) -> Self {
        Self {
            name: name.to_owned(),
            dir: dir.to_owned(),
            events_per_second: generator.events_per_second as u64,
            max_events: generator.max_events as u64,
            format: generator.format,
            seed: generator.seed as u64,
            malformed_percent: generator.malformed_percent as u8,
        }
    }
}

impl ProducerSettings {
    /// A producer of `paths` under `name`, which keeps its offsets in `state_dir`.
    pub fn new(pipeline: &LogPipeline, name: &str, paths: Vec<String>, state_dir: &str) -> Self {
        let source = &pipeline.spec.source;
        Self {
            name: name.to_owned(),
            paths,
            start_at: source
                .files
                .as_ref()
                .map(|files| files.start_at)
                .unwrap_or_default(),
            framing: source.producer.framing,
            compression: source.producer.compression,
            linger_ms: source.producer.linger_ms as u64,
            save_every_seconds: pipeline.spec.checkpoint.interval_seconds as u64,
            state_dir: state_dir.to_owned(),
            delete_finished: source.generator.is_some(),
        }
    }
}

impl EtlSettings {
    /// One worker, a single thread, with its checkpoints in `checkpoints`.
    pub fn new(
        pipeline: &LogPipeline,
        owner: &str,
        instance: &str,
        checkpoints: CheckpointPlace,
    ) -> Self {
        let sink = &pipeline.spec.sink;
        Self {
            owner: owner.to_owned(),
            instance: instance.to_owned(),
            group_id: pipeline.group_id(),
            threads: 1,
            transform: pipeline.spec.transform.clone(),
            granularity: sink.partition_by.time.granularity,
            parquet: sink.parquet.clone(),
            rotation: sink.rotation.clone(),
            checkpoints,
        }
    }
}

impl TopicSettings {
    /// The manifest's topic.
    pub fn new(pipeline: &LogPipeline) -> Self {
        let topic = &pipeline.spec.kafka.topic;
        Self {
            partitions: topic.partitions as u32,
            replication_factor: topic.replication_factor.map(|factor| factor as u32),
            management_policy: topic.management_policy,
            config: topic.config.clone(),
        }
    }
}
