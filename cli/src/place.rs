//! Where a pipeline's Parquet is: a run's data folder, any folder, or a bucket. Lists the objects, opens them,
//! and reads the checkpoints where they lie beside. Touches the disk or the network; never writes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use futures::TryStreamExt;
use logpipe_workers::checkpoint::Checkpoint;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::{ObjectMeta, ObjectStore};
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use serde::Deserialize;

pub(crate) mod checkpoints;
mod object;

pub(crate) use object::Object;

/// How a command is told the place: a folder or bucket, or a manifest.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct PlaceArgs {
    /// A run's data folder, any folder with Parquet, or `s3://bucket/prefix` (with the AWS_* variables)
    #[arg(value_name = "DIR|S3", required_unless_present = "filename")]
    place: Option<String>,
    /// The manifest instead: the place is its default data folder, ./logpipe-data/NAME
    #[arg(short = 'f', long, value_name = "MANIFEST", conflicts_with = "place")]
    filename: Option<PathBuf>,
}

impl PlaceArgs {
    /// Opens the place.
    pub(crate) fn open(&self) -> anyhow::Result<Place> {
        match (&self.place, &self.filename) {
            (Some(place), _) => Place::open(place),
            (None, Some(manifest)) => {
                let name = manifest_name(manifest)?;
                Place::open(&format!("./logpipe-data/{name}"))
            }
            (None, None) => bail!("name a folder, s3://bucket/prefix, or a manifest with -f"),
        }
    }
}

/// The name of the first pipeline in a manifest.
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

/// A place that holds Parquet.
pub(crate) struct Place {
    /// As the user named it.
    pub(crate) name: String,
    store: Arc<dyn ObjectStore>,
    prefix: Option<object_store::path::Path>,
    /// The folder behind the store, where it is a folder.
    root: Option<PathBuf>,
    checkpoints: Option<PathBuf>,
    runtime: tokio::runtime::Runtime,
}

impl Place {
    /// Opens `s3://bucket/prefix` or a folder.
    pub(crate) fn open(name: &str) -> anyhow::Result<Self> {
        // Its own thread drives the network while this one waits in the middle of a Parquet reader.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("failed to start the runtime")?;
        match name.strip_prefix("s3://") {
            Some(rest) => Self::bucket(name, rest, runtime),
            None => Self::folder(name, runtime),
        }
    }

    fn bucket(name: &str, rest: &str, runtime: tokio::runtime::Runtime) -> anyhow::Result<Self> {
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            bail!("{name} names no bucket: write s3://bucket/prefix");
        }
        // An error only says that it is installed already.
        drop(rustls::crypto::ring::default_provider().install_default());
        let plain = ["AWS_ENDPOINT", "AWS_ENDPOINT_URL"].iter().any(|variable| {
            std::env::var(variable).is_ok_and(|endpoint| endpoint.starts_with("http://"))
        });
        let store = AmazonS3Builder::from_env()
            .with_bucket_name(bucket)
            .with_allow_http(plain)
            .build()
            .with_context(|| format!("failed to set up {name}: check the AWS_* variables"))?;
        let prefix = prefix.trim_matches('/');
        Ok(Self {
            name: name.to_owned(),
            store: Arc::new(store),
            prefix: (!prefix.is_empty()).then(|| object_store::path::Path::from(prefix)),
            root: None,
            checkpoints: None,
            runtime,
        })
    }

    fn folder(name: &str, runtime: tokio::runtime::Runtime) -> anyhow::Result<Self> {
        let dir = Path::new(name);
        if !dir.is_dir() {
            let what = if dir.exists() {
                "is not a folder"
            } else {
                "is not there"
            };
            bail!(
                "{name} {what}: name the data folder that `logpipe run` printed, such as \
                 ./logpipe-data/quickstart, or s3://bucket/prefix"
            );
        }
        let below = dir.join("parquet");
        let root = if below.is_dir() {
            below
        } else {
            dir.to_owned()
        };
        // Beside the Parquet, when the user named the data folder or `parquet` in it.
        let checkpoints = root.parent().map(|data| data.join("checkpoints"));
        let store = LocalFileSystem::new_with_prefix(&root)
            .with_context(|| format!("failed to open {}", root.display()))?;
        Ok(Self {
            name: name.to_owned(),
            store: Arc::new(store),
            prefix: None,
            root: Some(root),
            checkpoints: checkpoints.filter(|dir| dir.is_dir()),
            runtime,
        })
    }

    /// Every Parquet object of the place, in order of their names.
    pub(crate) fn list(&self) -> anyhow::Result<Vec<ObjectMeta>> {
        let listing = self.store.list(self.prefix.as_ref());
        let all: Vec<ObjectMeta> = match self.runtime.block_on(listing.try_collect()) {
            Ok(all) => all,
            Err(error) if self.root.is_none() => bail!(
                "failed to list {}: {}. Check the bucket's name, AWS_ENDPOINT, AWS_REGION and the \
                 credentials",
                self.name,
                server_says(&error.to_string())
            ),
            Err(error) => {
                return Err(error).with_context(|| format!("failed to list {}", self.name));
            }
        };
        let mut parquet: Vec<ObjectMeta> = all
            .into_iter()
            .filter(|object| object.location.as_ref().ends_with(".parquet"))
            .collect();
        parquet.sort_by(|a, b| a.location.cmp(&b.location));
        if parquet.is_empty() {
            bail!(
                "{} holds no Parquet yet: run a pipeline first (`logpipe run MANIFEST`), or name \
                 another place",
                self.name
            );
        }
        Ok(parquet)
    }

    /// The object's path below the place.
    pub(crate) fn relative<'a>(&self, object: &'a ObjectMeta) -> &'a str {
        let path = object.location.as_ref();
        let prefix = self.prefix.as_ref().map_or("", |prefix| prefix.as_ref());
        let below = path.strip_prefix(prefix).unwrap_or(path);
        below.trim_start_matches('/')
    }

    /// Opens an object for reading by columns. Types come from Parquet alone, so that files of other
    /// writers look alike.
    pub(crate) fn open_parquet(
        &self,
        object: &ObjectMeta,
    ) -> anyhow::Result<ParquetRecordBatchReaderBuilder<Object>> {
        let reader = match &self.root {
            Some(root) => {
                let mut path = root.clone();
                path.extend(object.location.parts().map(|part| part.as_ref().to_owned()));
                Object::Local(File::open(&path)?)
            }
            None => Object::Remote(Arc::new(object::Remote::new(
                Arc::clone(&self.store),
                object.location.clone(),
                object.size,
                self.runtime.handle().clone(),
            ))),
        };
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let metadata = ArrowReaderMetadata::load(&reader, options)?;
        Ok(ParquetRecordBatchReaderBuilder::new_with_metadata(
            reader, metadata,
        ))
    }

    /// The checkpoints of a run's data folder, by partition; none elsewhere.
    pub(crate) fn checkpoints(&self) -> anyhow::Result<Vec<Checkpoint>> {
        let dir = self.checkpoints.as_deref();
        dir.map_or_else(|| Ok(Vec::new()), checkpoints::read_all)
    }
}

/// What the server means: the message in its XML, or the first line of what the client tells.
fn server_says(error: &str) -> &str {
    let message = error
        .split_once("<Message>")
        .and_then(|(_, rest)| rest.split_once("</Message>"));
    let text = message.map_or_else(|| error.lines().next().unwrap_or(error), |(text, _)| text);
    text.trim_end_matches('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_own_words_are_told() {
        let xml =
            "404 Not Found: <Error><Message>The specified bucket does not exist.</Message></Error>";
        assert_eq!(server_says(xml), "The specified bucket does not exist");
        assert_eq!(
            server_says("connection refused\nmore"),
            "connection refused"
        );
    }

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
}
