//! The object store behind the sink: create-only puts, and a look at the object wherever a put's outcome is
//! in doubt. Touches the store, nothing else.

use std::collections::BTreeMap;
use std::path::Path as FsPath;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use parquet::file::metadata::ParquetMetaDataReader;

use crate::etl::batch::Object;
use crate::etl::encode::DIGEST_KEY;
use crate::etl::name::ObjectName;
use crate::log::Identity;

/// Bytes of an object's end that are read to find its digest: the footer of a file with a few row groups.
const FOOTER_BYTES: u64 = 256 * 1024;

/// How often a write to the outside is tried before its worker gives up.
pub(crate) const ATTEMPTS: u32 = 5;

/// Where a pipeline's files go.
#[derive(Clone, Debug)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    /// What to call it in messages: a folder or `s3://bucket/prefix`.
    place: String,
    prefix: Path,
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

    /// Any store; `place` is what messages call it.
    pub fn new(objects: Arc<dyn ObjectStore>, place: String, prefix: &str) -> Self {
        Self {
            objects,
            place,
            prefix: Path::from(prefix),
        }
    }

    /// Writes an object that must not be there yet, or finds that exactly it is there already.
    pub async fn put(&self, object: &Object) -> Result<(), PutError> {
        let path = self.path(&object.path);
        let mut attempt = 0;
        loop {
            attempt += 1;
            let options = PutOptions {
                mode: PutMode::Create,
                ..PutOptions::default()
            };
            let payload = object.file.payload.clone();
            let Err(error) = self.objects.put_opts(&path, payload, options).await else {
                return Ok(());
            };
            // Whatever the error says, only the object tells: a store may have written it and lost the
            // answer, and one reports a conflict (409) as "already exists" although nothing does.
            match self.existing_digest(&path).await {
                Ok(Some(found)) if found == object.file.digest => return Ok(()),
                Ok(Some(found)) => {
                    return Err(PutError::Conflict {
                        place: self.place.clone(),
                        path: path.to_string(),
                        found,
                        expected: object.file.digest.clone(),
                    });
                }
                Ok(None) | Err(_) if attempt < ATTEMPTS => {
                    tracing::warn!(path = %path, attempt, error = %error, "put failed, trying again");
                    tokio::time::sleep(backoff(attempt)).await;
                }
                Ok(None) | Err(_) => {
                    return Err(PutError::Failed {
                        place: self.place.clone(),
                        path: path.to_string(),
                        attempts: attempt,
                        source: error,
                    });
                }
            }
        }
    }

    /// Of each partition of this log, the object whose batch ends last.
    pub async fn newest(&self, log: &Identity) -> object_store::Result<BTreeMap<u32, ObjectName>> {
        let topic_id8 = log.topic_id8();
        let mut newest: BTreeMap<u32, ObjectName> = BTreeMap::new();
        let mut objects = self.objects.list(Some(&self.prefix));
        while let Some(object) = objects.try_next().await? {
            let Some(relative) = object.location.prefix_match(&self.prefix) else {
                continue;
            };
            let relative: Path = relative.collect();
            let Some(name) = ObjectName::parse(relative.as_ref()) else {
                continue;
            };
            if name.topic != log.topic || name.topic_id8 != topic_id8 {
                continue;
            }
            match newest.get(&name.partition) {
                Some(found) if found.end >= name.end => {}
                _ => {
                    newest.insert(name.partition, name);
                }
            }
        }
        Ok(newest)
    }

    /// The folder or bucket, for messages.
    pub fn place(&self) -> &str {
        &self.place
    }

    fn path(&self, relative: &str) -> Path {
        self.prefix
            .parts()
            .chain(Path::from(relative).parts())
            .collect()
    }

    /// The digest in an object's footer; `None` where there is no object.
    async fn existing_digest(&self, path: &Path) -> Result<Option<String>, object_store::Error> {
        let size = match self.objects.head(path).await {
            Ok(meta) => meta.size,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let range = GetRange::Bounded(size.saturating_sub(FOOTER_BYTES)..size);
        let options = GetOptions {
            range: Some(range),
            ..GetOptions::default()
        };
        let tail = self.objects.get_opts(path, options).await?.bytes().await?;
        match footer_digest(&tail, size) {
            Some(digest) => Ok(Some(digest)),
            // A footer larger than that has hundreds of columns: read the whole object.
            None if (tail.len() as u64) < size => {
                let whole = self.objects.get(path).await?.bytes().await?;
                Ok(Some(
                    footer_digest(&whole, size).unwrap_or_else(|| "none".to_owned()),
                ))
            }
            None => Ok(Some("none".to_owned())),
        }
    }
}

fn footer_digest(tail: &Bytes, size: u64) -> Option<String> {
    let mut reader = ParquetMetaDataReader::new();
    reader.try_parse_sized(tail, size).ok()?;
    let metadata = reader.finish().ok()?;
    let pairs = metadata.file_metadata().key_value_metadata()?;
    pairs
        .iter()
        .find(|pair| pair.key == DIGEST_KEY)?
        .value
        .clone()
}

/// Doubles from 100 ms to 5 s.
pub(crate) fn backoff(attempt: u32) -> Duration {
    Duration::from_millis((50_u64 << attempt.min(10)).min(5_000))
}
