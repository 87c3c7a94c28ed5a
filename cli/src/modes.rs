//! What of a manifest a command takes at its word: its Kafka and its bucket, or what stands for them on this
//! machine. Looks whether files are there.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use logpipe_api::LogPipeline;
use logpipe_api::settings::{KafkaSettings, S3Settings, Secrets};
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

    /// Fails where files are missing that stand for Secrets: all of them are named.
    pub(crate) fn check_secrets(&self, pipeline: &LogPipeline) -> anyhow::Result<()> {
        let mut wanted = Vec::new();
        if self.kafka == KafkaMode::Manifest
            && let Some(external) = &pipeline.spec.kafka.external
        {
            let settings = KafkaSettings::external(pipeline, external, &self.secrets());
            wanted.extend(of_kafka(&settings));
        }
        if self.sink == SinkMode::Manifest {
            wanted.extend(of_s3(&S3Settings::new(pipeline, &self.secrets())));
        }
        need(wanted, &self.secrets)
    }

    /// The manifest's Kafka.
    pub(crate) fn kafka_settings(&self, pipeline: &LogPipeline) -> anyhow::Result<KafkaSettings> {
        let external = pipeline.spec.kafka.external.as_ref();
        let external = external.context(
            "--kafka manifest needs spec.kafka.external: the manifest names no Kafka, so add its bootstrapServers",
        )?;
        let settings = KafkaSettings::external(pipeline, external, &self.secrets());
        need(of_kafka(&settings), &self.secrets)?;
        Ok(settings)
    }

    /// The manifest's bucket.
    pub(crate) fn s3_settings(&self, pipeline: &LogPipeline) -> anyhow::Result<S3Settings> {
        let settings = S3Settings::new(pipeline, &self.secrets());
        need(of_s3(&settings), &self.secrets)?;
        Ok(settings)
    }
}

/// Fails where one of these files is missing. Only here is it known that their folder stands for Secrets.
fn need(mut files: Vec<String>, secrets: &Path) -> anyhow::Result<()> {
    files.retain(|path| !Path::new(path).exists());
    if files.is_empty() {
        return Ok(());
    }
    let (what, them) = match files.len() {
        1 => ("a file is missing", "it"),
        _ => ("files are missing", "them"),
    };
    bail!(
        "{what} in {}, the folder that the manifest's Secrets are read from here: make {them} with the values of the \
         Secrets, or name another folder with --secrets\n  {}",
        secrets.display(),
        files.join("\n  ")
    )
}

fn of_kafka(settings: &KafkaSettings) -> Vec<String> {
    let mut files = Vec::new();
    if let Some(tls) = &settings.tls {
        files.extend(
            [&tls.ca_file, &tls.certificate_file, &tls.key_file]
                .into_iter()
                .flatten()
                .cloned(),
        );
    }
    files.extend(settings.sasl.iter().map(|sasl| sasl.password_file.clone()));
    files
}

fn of_s3(settings: &S3Settings) -> Vec<String> {
    let mut files: Vec<String> = settings.ca_file.iter().cloned().collect();
    if let Some(dir) = &settings.credentials_dir {
        files.extend(
            ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"].map(|key| format!("{dir}/{key}")),
        );
    }
    files
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn each_missing_file_of_a_secret_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let spec = serde_json::json!({
            "source": {"topic": {}},
            "kafka": {"external": {"bootstrapServers": ["k:9092"], "sasl": {
                "mechanism": "Plain", "username": "u", "passwordSecretKeyRef": {"name": "login", "key": "password"},
            }}},
            "sink": {"s3": {"bucket": "logs", "credentials": {"secretRef": {"name": "s3"}}}},
        });
        let pipeline = LogPipeline::new(
            "shop",
            logpipe_api::LogPipelineSpec::from_json(spec).unwrap(),
        );
        let mut modes = Modes {
            kafka: KafkaMode::Manifest,
            sink: SinkMode::Manifest,
            secrets: dir.path().to_owned(),
        };
        let text = modes.check_secrets(&pipeline).unwrap_err().to_string();
        for name in [
            "login/password",
            "s3/AWS_ACCESS_KEY_ID",
            "s3/AWS_SECRET_ACCESS_KEY",
            "--secrets",
        ] {
            assert!(text.contains(name), "{text}");
        }
        for (name, key) in [("login", "password"), ("s3", "AWS_ACCESS_KEY_ID")] {
            fs::create_dir(dir.path().join(name)).unwrap();
            fs::write(dir.path().join(name).join(key), "x").unwrap();
        }
        let text = modes.check_secrets(&pipeline).unwrap_err().to_string();
        assert!(text.starts_with("a file is missing in "), "{text}");
        assert!(text.ends_with("s3/AWS_SECRET_ACCESS_KEY"), "{text}");
        modes.sink = SinkMode::Local;
        modes.check_secrets(&pipeline).unwrap();
    }
}
