//! How a command is told whose checkpoints: a data folder, a manifest, or a pipeline in a cluster.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::ArgGroup;

use super::Checkpoints;
use super::cluster::Cluster;
use super::local::Local;
use crate::place::load;

/// A data folder, a manifest, or a pipeline in a cluster.
#[derive(Clone, Debug, clap::Args)]
#[command(group = ArgGroup::new("whose").args(["place", "filename"]).required(true))]
pub(crate) struct CheckpointArgs {
    /// A run's data folder; with `-n`, the name of a pipeline in a cluster
    #[arg(value_name = "DIR|NAME")]
    place: Option<String>,
    /// The namespace of a pipeline in a cluster
    #[arg(short = 'n', long, requires = "place")]
    namespace: Option<String>,
    /// The context of the kubeconfig [default: the current one]
    #[arg(long, requires = "namespace")]
    context: Option<String>,
    /// The manifest of the run; needed if the run used `--kafka manifest` or `--sink manifest`
    #[arg(short = 'f', long, value_name = "MANIFEST", conflicts_with = "place")]
    filename: Option<PathBuf>,
    /// The manifest's data folder [default: ./logpipe-data/NAME]
    #[arg(long, value_name = "DIR", conflicts_with = "place")]
    data_dir: Option<PathBuf>,
    /// The folder that stands for the manifest's Secrets: DIR/NAME/KEY is a file
    #[arg(
        long,
        value_name = "DIR",
        default_value = "secrets",
        conflicts_with = "place"
    )]
    secrets: PathBuf,
}

impl CheckpointArgs {
    /// Opens the place.
    pub(crate) fn open(&self) -> anyhow::Result<Box<dyn Checkpoints>> {
        if let (Some(name), Some(namespace)) = (&self.place, &self.namespace) {
            let cluster = Cluster::connect(name, namespace, self.context.clone())?;
            return Ok(Box::new(cluster));
        }
        if let Some(manifest) = &self.filename {
            let pipeline = load(manifest)?;
            let name = pipeline.metadata.name.clone();
            let name = name.context("the manifest has no metadata.name")?;
            let usual = || Path::new("./logpipe-data").join(name);
            let dir = self.data_dir.clone().unwrap_or_else(usual);
            let local = Local::open(&dir, Some((pipeline, self.secrets.clone())))?;
            return Ok(Box::new(local));
        }
        let Some(dir) = &self.place else {
            bail!("name a data folder, a manifest with -f, or a pipeline with -n NAMESPACE");
        };
        if dir.starts_with("s3://") {
            bail!(
                "checkpoints are not in the bucket: name the data folder, the manifest with -f, or a pipeline with \
                 -n NAMESPACE"
            );
        }
        Ok(Box::new(Local::open(Path::new(dir), None)?))
    }
}
