//! How a command is told the place: a folder, a bucket with the AWS_* variables, or a manifest. Reads the manifest
//! and the environment.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::ArgGroup;
use logpipe_api::LogPipeline;
use logpipe_api::pipeline::Addressing;
use logpipe_api::settings::S3Settings;
use serde::Deserialize;

use super::Place;
use crate::manifest;
use crate::modes::{KafkaMode, Modes, SinkMode};

/// How a command is told the place: a folder or bucket, or a manifest.
#[derive(Clone, Debug, clap::Args)]
#[command(group = ArgGroup::new("where").args(["place", "filename"]).required(true))]
pub(crate) struct PlaceArgs {
    /// A run's data folder, any folder with Parquet, or `s3://bucket/prefix` (with the AWS_* variables)
    #[arg(value_name = "DIR|S3")]
    place: Option<String>,
    /// The manifest instead: the place is its data folder, or with `--sink manifest` its bucket
    #[arg(short = 'f', long, value_name = "MANIFEST", conflicts_with = "place")]
    pub(crate) filename: Option<PathBuf>,
    /// The manifest's data folder [default: ./logpipe-data/NAME]
    #[arg(long, value_name = "DIR", conflicts_with = "place")]
    data_dir: Option<PathBuf>,
    /// Where the manifest's Parquet is
    #[arg(long, value_enum, default_value_t, conflicts_with = "place")]
    pub(crate) sink: SinkMode,
    /// The folder that stands for the manifest's Secrets: DIR/NAME/KEY is a file
    #[arg(
        long,
        value_name = "DIR",
        default_value = "secrets",
        conflicts_with = "place"
    )]
    pub(crate) secrets: PathBuf,
}

impl PlaceArgs {
    /// Opens the place.
    pub(crate) fn open(&self) -> anyhow::Result<Place> {
        let manifest = match (&self.place, &self.filename) {
            (Some(place), _) => return Place::open(place),
            (None, Some(manifest)) => manifest,
            (None, None) => bail!("name a folder, s3://bucket/prefix, or a manifest with -f"),
        };
        match self.sink {
            SinkMode::Local => {
                let dir = self.data_dir(&manifest_name(manifest)?);
                Place::open(&dir.to_string_lossy())
            }
            SinkMode::Manifest => self.bucket(&load(manifest)?),
        }
    }

    /// The manifest's bucket, with the checkpoints of its data folder where they are there.
    fn bucket(&self, pipeline: &LogPipeline) -> anyhow::Result<Place> {
        let modes = Modes {
            kafka: KafkaMode::default(),
            sink: self.sink,
            secrets: self.secrets.clone(),
        };
        let place = Place::bucket(&modes.s3_settings(pipeline)?)?;
        let name = pipeline.metadata.name.as_deref().unwrap_or_default();
        let checkpoints = self.data_dir(name).join("checkpoints");
        if checkpoints.is_dir() {
            return Ok(place.with_checkpoints(checkpoints));
        }
        Ok(place)
    }

    fn data_dir(&self, name: &str) -> PathBuf {
        let usual = || Path::new("./logpipe-data").join(name);
        self.data_dir.clone().unwrap_or_else(usual)
    }
}

/// The first pipeline of a manifest, valid and with every default.
pub(crate) fn load(path: &Path) -> anyhow::Result<LogPipeline> {
    let pipelines = manifest::load(path)?.pipelines;
    let first = pipelines.into_iter().next();
    first.with_context(|| format!("{} holds no LogPipeline", path.display()))
}

/// The name of the first pipeline in a manifest, which may be invalid otherwise.
fn manifest_name(path: &Path) -> anyhow::Result<String> {
    #[derive(Deserialize)]
    struct Manifest {
        kind: String,
        metadata: Metadata,
    }
    #[derive(Deserialize)]
    struct Metadata {
        name: String,
    }
    let text =
        fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))?;
    for document in serde_yaml::Deserializer::from_str(&text) {
        let manifest = Manifest::deserialize(document);
        if let Some(found) = manifest.ok().filter(|found| found.kind == "LogPipeline") {
            return Ok(found.metadata.name);
        }
    }
    bail!(
        "{} holds no LogPipeline with a name: check it with `logpipe validate`",
        path.display()
    )
}

/// A variable that is set and not empty.
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The settings of `s3://bucket/prefix`, as AWS's own tools would take them from the environment.
pub(super) fn of_environment(
    name: &str,
    rest: &str,
    variable: &dyn Fn(&str) -> Option<String>,
) -> anyhow::Result<S3Settings> {
    let first = |names: &[&str]| names.iter().find_map(|name| variable(name));
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.is_empty() {
        bail!("{name} names no bucket: write s3://bucket/prefix");
    }
    let in_host = first(&["AWS_VIRTUAL_HOSTED_STYLE_REQUEST"]);
    let in_host = in_host.is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let region = first(&["AWS_REGION", "AWS_DEFAULT_REGION"]);
    Ok(S3Settings {
        bucket: bucket.to_owned(),
        prefix: prefix.trim_matches('/').to_owned(),
        endpoint: first(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"]),
        region: region.unwrap_or_else(|| "us-east-1".to_owned()),
        addressing: if in_host {
            Addressing::VirtualHost
        } else {
            Addressing::Path
        },
        ca_file: first(&["AWS_CA_BUNDLE"]),
        credentials_dir: None,
        sse: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_names_its_default_folder() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.yaml");
        let text = "kind: ConfigMap\nmetadata: {name: no}\n---\nkind: LogPipeline\nmetadata: {name: shop}\n";
        fs::write(&path, text).unwrap();
        assert_eq!(manifest_name(&path).unwrap(), "shop");
        fs::write(&path, "kind: LogPipeline\n").unwrap();
        let error = manifest_name(&path).unwrap_err().to_string();
        assert!(
            error.contains("holds no LogPipeline with a name"),
            "{error}"
        );
    }

    #[test]
    fn the_variables_of_aws_say_where_a_bucket_is() {
        let settings = |rest: &str, pairs: &[(&str, &str)]| {
            let variable = |name: &str| {
                let found = pairs.iter().find(|(found, _)| *found == name);
                found.map(|(_, value)| (*value).to_owned())
            };
            of_environment(&format!("s3://{rest}"), rest, &variable)
        };
        let plain = settings("logs/shop/", &[]).unwrap();
        assert_eq!(
            (plain.bucket.as_str(), plain.prefix.as_str()),
            ("logs", "shop")
        );
        assert_eq!((plain.endpoint, plain.region.as_str()), (None, "us-east-1"));
        let own = settings(
            "logs",
            &[
                ("AWS_ENDPOINT_URL", "http://other"),
                ("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9000"),
                ("AWS_DEFAULT_REGION", "eu-west-1"),
                ("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "True"),
            ],
        );
        let own = own.unwrap();
        assert_eq!(own.endpoint.as_deref(), Some("http://127.0.0.1:9000"));
        assert_eq!(
            (own.prefix.as_str(), own.region.as_str()),
            ("", "eu-west-1")
        );
        assert_eq!(own.addressing, Addressing::VirtualHost);
        let error = settings("/shop", &[]).unwrap_err().to_string();
        assert!(error.contains("names no bucket"), "{error}");
    }
}
