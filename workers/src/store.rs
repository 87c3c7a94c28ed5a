//! The object store behind the sink: create-only puts, and a look at the object wherever a put's outcome is
//! in doubt. Touches the store, nothing else.

use std::collections::BTreeMap;
use std::path::Path as FsPath;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use parquet::file::metadata::ParquetMetaDataReader;

use crate::counters::Counters;
use crate::etl::batch::Object;
use crate::etl::encode::DIGEST_KEY;
use crate::etl::name::ObjectName;
use crate::log::Identity;

mod probe;
mod retry;
mod s3;
mod verdict;

pub use probe::CreateOnly;
use retry::{GaveUp, Policy, Warnings};
pub use s3::{CredentialsError, SetupError};
use verdict::Place;
pub use verdict::Refused;

/// Bytes of an object's end that are read to find its digest: the footer of a file with a few row groups.
const FOOTER_BYTES: u64 = 256 * 1024;

/// How often a write to the outside is tried before its worker gives up.
pub(crate) const ATTEMPTS: u32 = 5;

/// Where a pipeline's files go.
#[derive(Clone)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    /// What to call it in messages: a folder or `s3://bucket/prefix`.
    place: String,
    prefix: Path,
    /// The bucket, where it is one of S3.
    bucket: Option<Arc<Place>>,
    policy: Policy,
    create_only: CreateOnly,
    warnings: Arc<Warnings>,
    counters: Arc<Counters>,
}

/// Why an object could not be written.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// Another content stands under the same name: two pipelines write to one place, or the plan's writer
    /// changed without [`SEMANTICS`](logpipe_api::plan::SEMANTICS). Nothing was overwritten.
    #[error(
        "sink conflict: {place}/{path} exists with digest {found} and should have {expected}; \
         nothing was overwritten. Two pipelines may write to the same place: give each its own prefix"
    )]
    Conflict {
        /// The folder or bucket.
        place: String,
        /// The object.
        path: String,
        /// The digest in its footer, or what is wrong with it.
        found: String,
        /// The digest it should have.
        expected: String,
    },
    /// The store failed, again and again.
    #[error("failed to write {path} to {place}; tried {attempts} times")]
    Failed {
        /// The folder or bucket.
        place: String,
        /// The object.
        path: String,
        /// How often it was tried.
        attempts: u32,
        /// The last failure.
        #[source]
        source: object_store::Error,
    },
    /// A person must mend it.
    #[error(transparent)]
    Refused(#[from] Refused),
}

impl PutError {
    /// Whether starting again later may help, without anybody's doing.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Conflict { .. } => false,
            Self::Failed { .. } => true,
            Self::Refused(refused) => refused.may_pass(),
        }
    }
}

/// Why the objects could not be listed or read.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// The store failed, again and again.
    #[error("tried {attempts} times")]
    Failed {
        /// How often it was tried.
        attempts: u32,
        /// The last failure.
        #[source]
        source: object_store::Error,
    },
    /// A person must mend it.
    #[error(transparent)]
    Refused(#[from] Refused),
}

impl ListError {
    fn of(gave_up: GaveUp) -> Self {
        match gave_up {
            GaveUp::Refused(refused) => Self::Refused(refused),
            GaveUp::Failed { attempts, source } => Self::Failed { attempts, source },
        }
    }

    /// Whether starting again later may help, without anybody's doing.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Failed { .. } => true,
            Self::Refused(refused) => refused.may_pass(),
        }
    }
}

/// What the footer of an object says.
#[derive(Clone, Debug, Default)]
pub struct Footer {
    /// When the object was written, in seconds since 1970.
    pub modified: i64,
    /// Its keys and values.
    pub pairs: BTreeMap<String, String>,
}

/// A request that failed.
#[derive(Debug)]
struct Failure {
    /// What S3 calls it, such as `PutObject`.
    operation: &'static str,
    error: object_store::Error,
}

impl Failure {
    fn of(operation: &'static str) -> impl FnOnce(object_store::Error) -> Self {
        move |error| Self { operation, error }
    }
}

/// What stands under a name after a put.
enum Stands {
    /// The object.
    Ours,
    /// Another one, of this digest.
    Another(String),
}

// The store's own would show its settings and the access key.
impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({})", self.place)
    }
}

impl Store {
    /// A folder of this machine; it is made if it is not there. Files are on the disk (fsync) before a put
    /// returns, because the checkpoint that follows is.
    pub fn local(dir: &FsPath, prefix: &str) -> std::io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let objects = LocalFileSystem::new_with_prefix(dir)?.with_fsync(true);
        Ok(Self::new(
            Arc::new(objects),
            dir.display().to_string(),
            prefix,
        ))
    }

    /// Any store that refuses to create an object twice; `place` is what messages call it.
    pub fn new(objects: Arc<dyn ObjectStore>, place: String, prefix: &str) -> Self {
        Self {
            objects,
            place,
            prefix: Path::from(prefix),
            bucket: None,
            policy: Policy::brief(),
            create_only: CreateOnly::Enforced,
            warnings: Arc::default(),
            counters: Arc::default(),
        }
    }

    /// Counts its requests there.
    #[must_use]
    pub fn counted_in(mut self, counters: Arc<Counters>) -> Self {
        self.counters = counters;
        self
    }

    /// Writes an object that must not be there yet, or finds that exactly it is there already. A bucket that is
    /// out of reach is waited for, for as long as it takes.
    pub async fn put(&self, object: &Object) -> Result<(), PutError> {
        let start = Instant::now();
        let path = self.path(&object.path);
        let mut attempts = self.attempts(self.policy);
        loop {
            let tried = match self.create_only {
                CreateOnly::Enforced => self.create(&path, object).await,
                CreateOnly::Ignored => self.look_and_overwrite(&path, object).await,
            };
            match tried {
                Ok(Stands::Ours) => {
                    attempts.succeeded();
                    self.counters.puts.since(start);
                    return Ok(());
                }
                Ok(Stands::Another(found)) => {
                    return Err(PutError::Conflict {
                        place: self.place.clone(),
                        path: path.to_string(),
                        found,
                        expected: object.file.digest.clone(),
                    });
                }
                Err(failure) => attempts.failed(failure).await.map_err(|gave_up| {
                    let failed = |attempts, source| PutError::Failed {
                        place: self.place.clone(),
                        path: path.to_string(),
                        attempts,
                        source,
                    };
                    match gave_up {
                        GaveUp::Refused(refused) => PutError::Refused(refused),
                        GaveUp::Failed { attempts, source } => failed(attempts, source),
                    }
                })?,
            }
        }
    }

    /// Of each partition of this log, the object whose batch ends last.
    pub async fn newest(&self, log: &Identity) -> Result<BTreeMap<u32, ObjectName>, ListError> {
        let mut newest: BTreeMap<u32, ObjectName> = BTreeMap::new();
        self.list(log, &mut |name| match newest.get(&name.partition) {
            Some(found) if found.end >= name.end => {}
            _ => {
                newest.insert(name.partition, name);
            }
        })
        .await?;
        Ok(newest)
    }

    /// Every object of this log, in order of their names.
    pub async fn names(&self, log: &Identity) -> Result<Vec<ObjectName>, ListError> {
        let mut names = Vec::new();
        self.list(log, &mut |name| names.push(name)).await?;
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// What the footer of an object says; nothing where it is not there, or has none.
    pub async fn footer(&self, name: &ObjectName) -> Result<Footer, ListError> {
        let path = self.path(&name.to_string());
        let mut attempts = self.attempts(self.policy);
        loop {
            match self.existing_footer(&path).await {
                Ok(footer) => {
                    attempts.succeeded();
                    return Ok(footer.unwrap_or_default());
                }
                Err(failure) => attempts.failed(failure).await.map_err(ListError::of)?,
            }
        }
    }

    /// The folder or bucket, for messages.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// The objects themselves, for reading; [`explain`](Self::explain) says what an error means.
    pub fn objects(&self) -> &Arc<dyn ObjectStore> {
        &self.objects
    }

    /// Hands every object of this log to `each`, and some maybe twice, where the store fails in between.
    async fn list(
        &self,
        log: &Identity,
        each: &mut (dyn FnMut(ObjectName) + Send),
    ) -> Result<(), ListError> {
        let mut last = None;
        let mut attempts = self.attempts(self.policy);
        while let Err(error) = self.list_on(log, &mut last, each).await {
            let failure = Failure::of("ListBucket")(error);
            attempts.failed(failure).await.map_err(ListError::of)?;
        }
        attempts.succeeded();
        Ok(())
    }

    /// Lists from behind `last` on, where the store lists in order; any other is listed from its beginning.
    async fn list_on(
        &self,
        log: &Identity,
        last: &mut Option<Path>,
        each: &mut (dyn FnMut(ObjectName) + Send),
    ) -> object_store::Result<()> {
        let topic_id8 = log.topic_id8();
        let mut objects = match last.as_ref().filter(|_| self.bucket.is_some()) {
            Some(last) => self.objects.list_with_offset(Some(&self.prefix), last),
            None => self.objects.list(Some(&self.prefix)),
        };
        while let Some(object) = objects.try_next().await? {
            let name = self.name(&object.location);
            *last = Some(object.location);
            if let Some(name) = name
                && name.topic == log.topic
                && name.topic_id8 == topic_id8
            {
                each(name);
            }
        }
        Ok(())
    }

    fn name(&self, location: &Path) -> Option<ObjectName> {
        let relative: Path = location.prefix_match(&self.prefix)?.collect();
        ObjectName::parse(relative.as_ref())
    }

    fn path(&self, relative: &str) -> Path {
        self.prefix
            .parts()
            .chain(Path::from(relative).parts())
            .collect()
    }

    async fn create(&self, path: &Path, object: &Object) -> Result<Stands, Failure> {
        let Err(error) = self.write(path, object, PutMode::Create).await else {
            return Ok(Stands::Ours);
        };
        // Whatever the error says, only the object tells: a store may have written it and lost the answer, and
        // one reports a conflict (409) as "already exists" although nothing does.
        match self.existing_digest(path).await {
            Ok(Some(found)) => Ok(stands(found, object)),
            Err(failure) if matches!(error, object_store::Error::AlreadyExists { .. }) => {
                Err(failure)
            }
            Ok(None) | Err(_) => Err(Failure::of("PutObject")(error)),
        }
    }

    /// For a store that creates an object twice. Between the look and the put another worker may write; but the
    /// intent has pinned what stands in the object, so it writes the same.
    async fn look_and_overwrite(&self, path: &Path, object: &Object) -> Result<Stands, Failure> {
        if let Some(found) = self.existing_digest(path).await? {
            return Ok(stands(found, object));
        }
        let put = self.write(path, object, PutMode::Overwrite).await;
        put.map_err(Failure::of("PutObject"))?;
        Ok(Stands::Ours)
    }

    async fn write(&self, path: &Path, object: &Object, mode: PutMode) -> object_store::Result<()> {
        let options = PutOptions {
            mode,
            ..PutOptions::default()
        };
        let payload = object.file.payload.clone();
        self.objects.put_opts(path, payload, options).await?;
        Ok(())
    }

    /// The digest in an object's footer; `None` where there is no object.
    async fn existing_digest(&self, path: &Path) -> Result<Option<String>, Failure> {
        let footer = self.existing_footer(path).await?;
        let digest = |footer: Footer| footer.pairs.get(DIGEST_KEY).cloned();
        Ok(footer.map(|footer| digest(footer).unwrap_or_else(|| "none".to_owned())))
    }

    /// `None` where there is no object.
    async fn existing_footer(&self, path: &Path) -> Result<Option<Footer>, Failure> {
        let meta = match self.objects.head(path).await {
            Ok(meta) => meta,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(Failure::of("HeadObject")(error)),
        };
        let size = meta.size;
        let tail = self.read(path, size.saturating_sub(FOOTER_BYTES)..size);
        let tail = tail.await.map_err(Failure::of("GetObject"))?;
        let pairs = match footer_pairs(&tail, size) {
            // A footer larger than that has hundreds of columns: read the whole object.
            None if (tail.len() as u64) < size => {
                let whole = self.read(path, 0..size).await;
                footer_pairs(&whole.map_err(Failure::of("GetObject"))?, size)
            }
            pairs => pairs,
        };
        Ok(Some(Footer {
            modified: meta.last_modified.timestamp(),
            pairs: pairs.unwrap_or_default(),
        }))
    }

    async fn read(&self, path: &Path, range: std::ops::Range<u64>) -> object_store::Result<Bytes> {
        let options = GetOptions {
            range: (!range.is_empty()).then_some(GetRange::Bounded(range)),
            ..GetOptions::default()
        };
        self.objects.get_opts(path, options).await?.bytes().await
    }
}

fn stands(found: String, object: &Object) -> Stands {
    if found == object.file.digest {
        Stands::Ours
    } else {
        Stands::Another(found)
    }
}

fn footer_pairs(tail: &Bytes, size: u64) -> Option<BTreeMap<String, String>> {
    let mut reader = ParquetMetaDataReader::new();
    reader.try_parse_sized(tail, size).ok()?;
    let metadata = reader.finish().ok()?;
    let pairs = metadata.file_metadata().key_value_metadata()?;
    let pairs = pairs.iter().cloned();
    Some(
        pairs
            .filter_map(|pair| Some((pair.key, pair.value?)))
            .collect(),
    )
}

/// Doubles from 100 ms to 5 s.
pub(crate) fn backoff(attempt: u32) -> Duration {
    Duration::from_millis((50_u64 << attempt.min(10)).min(5_000))
}

#[cfg(test)]
mod tests;
