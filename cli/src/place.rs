//! Where a pipeline's Parquet is: a run's data folder, any folder, or a bucket. Lists the objects, opens them,
//! and reads the checkpoints where they lie beside. Touches the disk or the network; never writes.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, bail};
use futures::TryStreamExt;
use logpipe_api::settings::S3Settings;
use logpipe_workers::checkpoint::Checkpoint;
use logpipe_workers::store::Store;
use object_store::ObjectMeta;
use object_store::local::LocalFileSystem;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};

use crate::runtime;

mod args;
mod checkpoints;
mod object;

pub(crate) use args::{PlaceArgs, load};
pub(crate) use object::Object;

/// A place that holds Parquet.
pub(crate) struct Place {
    /// As the user named it.
    pub(crate) name: String,
    store: Store,
    prefix: Option<object_store::path::Path>,
    /// The folder behind the store, where it is a folder.
    root: Option<PathBuf>,
    checkpoints: Option<PathBuf>,
    /// Why the bucket did not give a part of an object, where it did not.
    failure: Arc<Mutex<Option<String>>>,
    runtime: tokio::runtime::Runtime,
}

impl Place {
    /// Opens `s3://bucket/prefix` or a folder.
    pub(crate) fn open(name: &str) -> anyhow::Result<Self> {
        match name.strip_prefix("s3://") {
            Some(rest) => Self::bucket(&args::of_environment(name, rest, &args::variable)?),
            None => Self::folder(name),
        }
    }

    /// Opens a bucket.
    pub(crate) fn bucket(settings: &S3Settings) -> anyhow::Result<Self> {
        let store = Store::s3_reader(settings)?;
        let prefix = settings.prefix.trim_matches('/');
        Ok(Self {
            name: format!("s3://{}/{prefix}", settings.bucket),
            store,
            prefix: (!prefix.is_empty()).then(|| object_store::path::Path::from(prefix)),
            root: None,
            checkpoints: None,
            failure: Arc::default(),
            runtime: runtime::start()?,
        })
    }

    /// The same, with the checkpoints in this folder.
    pub(crate) fn with_checkpoints(self, dir: PathBuf) -> Self {
        Self {
            checkpoints: Some(dir),
            ..self
        }
    }

    fn folder(name: &str) -> anyhow::Result<Self> {
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
            store: Store::new(Arc::new(store), name.to_owned(), ""),
            prefix: None,
            root: Some(root),
            checkpoints: checkpoints.filter(|dir| dir.is_dir()),
            failure: Arc::default(),
            runtime: runtime::start()?,
        })
    }

    /// Every Parquet object of the place, in order of their names.
    pub(crate) fn list(&self) -> anyhow::Result<Vec<ObjectMeta>> {
        let listing = self.store.objects().list(self.prefix.as_ref());
        let all: Vec<ObjectMeta> = match self.runtime.block_on(listing.try_collect()) {
            Ok(all) => all,
            Err(error) if self.root.is_none() => {
                bail!("{}", self.store.explain("ListBucket", &error));
            }
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
                self.store.clone(),
                object,
                self.runtime.handle().clone(),
                self.failure.clone(),
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

    /// Why the bucket did not give a part of an object: then a file that cannot be read is no fault of the file.
    pub(crate) fn failure(&self) -> Option<String> {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.clone()
    }
}
