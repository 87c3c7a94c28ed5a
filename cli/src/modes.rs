//! What of a manifest a command takes at its word: its Kafka and its bucket, or what stands for them on this
//! machine. Pure.

use std::path::PathBuf;

use anyhow::Context;
use logpipe_api::LogPipeline;
use logpipe_api::settings::{KafkaSettings, Secrets};
use serde::{Deserialize, Serialize};

/// Which log is between the producers and the ETL. A data folder says so, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum KafkaMode {
    /// A log in the data folder
    #[default]
    Embedded,
    /// `spec.kafka.external`
    Manifest,
}

/// Where the Parquet goes. A data folder says so, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum SinkMode {
    /// The data folder
    #[default]
    Local,
    /// `spec.sink.s3`
    Manifest,
}

impl KafkaMode {
    /// As the flag takes it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Manifest => "manifest",
        }
    }
}

impl SinkMode {
    /// As the flag takes it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Manifest => "manifest",
        }
    }
}

/// The flags for both.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Modes {
    /// The log between producers and ETL
    #[arg(long, value_enum, default_value_t)]
    pub(crate) kafka: KafkaMode,
    /// Where the Parquet goes
    #[arg(long, value_enum, default_value_t)]
    pub(crate) sink: SinkMode,
    /// The folder that stands for the manifest's Secrets: DIR/NAME/KEY is a file
    #[arg(long, value_name = "DIR", default_value = "secrets")]
    pub(crate) secrets: PathBuf,
}

impl Modes {
    /// Where Secrets are files.
    pub(crate) fn secrets(&self) -> Secrets {
        Secrets(self.secrets.to_string_lossy().into_owned())
    }

    /// The manifest's Kafka.
    pub(crate) fn kafka_settings(&self, pipeline: &LogPipeline) -> anyhow::Result<KafkaSettings> {
        let external = pipeline.spec.kafka.external.as_ref();
        let external = external.context(
            "--kafka manifest needs spec.kafka.external: the manifest names no Kafka, so add its bootstrapServers",
        )?;
        Ok(KafkaSettings::external(pipeline, external, &self.secrets()))
    }
}
