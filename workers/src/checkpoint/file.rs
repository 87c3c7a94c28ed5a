//! Checkpoints as files in one folder, for pipelines that run in one process. Touches the disk, below its
//! folder only.
//!
//! A key `p00000` is the file `p00000.checkpoint`: one line `logpipe checkpoint v1 crc32c=… length=…`, then
//! the value. It is replaced by rename, when the new file is on the disk: whatever happens, the old or the
//! new value stands whole. The value before it stays as `p00000.checkpoint.previous`, for people: nothing
//! reads it by itself, because an old checkpoint would write lines again that are in the table already.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use crate::durable;

use super::{CheckpointStore, StoreError, Swap};

const MAGIC: &str = "logpipe checkpoint v";
const VERSION: u32 = 1;

/// Far above every checkpoint: a larger file is not one of ours.
const MAX_FILE_BYTES: u64 = 1 << 20;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Values in files. Clones share it.
#[derive(Clone, Debug)]
pub struct FileStore {
    folder: Arc<Folder>,
}

#[derive(Debug)]
struct Folder {
    dir: PathBuf,
    /// Held while a value is compared and replaced; the lock on the file does the same between processes.
    swapping: Mutex<File>,
}

/// Why a checkpoint's file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    #[error(
        "{file} has format version {found}, and this release reads version {VERSION}: run the newer release"
    )]
    Newer { file: String, found: u32 },
    #[error("{file} is damaged, {what}, and nothing was read from it; {remedy}")]
    Damaged {
        file: String,
        what: &'static str,
        remedy: String,
    },
    #[error("a key is made of lower-case letters, digits and dashes")]
    Key,
}

impl FileStore {
    /// Opens the folder, making it if need be.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let failed = |source: io::Error| StoreError {
            key: "*".to_owned(),
            place: dir.display().to_string(),
            action: "open the folder",
            source: source.into(),
        };
        durable::create_dir_all(dir).map_err(failed)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(dir.join("checkpoints.lock"))
            .map_err(failed)?;
        Ok(Self {
            folder: Arc::new(Folder {
                dir: dir.to_owned(),
                swapping: Mutex::new(lock),
            }),
        })
    }

    /// Runs `work` where it may block: a swap waits for the disk three times, and the threads of the
    /// runtime have uploads to look after.
    async fn run<T: Send + 'static>(
        &self,
        key: &str,
        action: &'static str,
        work: impl FnOnce(&Folder, &str) -> Result<T, Cause> + Send + 'static,
    ) -> Result<T, StoreError> {
        let folder = Arc::clone(&self.folder);
        let name = key.to_owned();
        let outcome = tokio::task::spawn_blocking(move || {
            check(&name)?;
            work(&folder, &name)
        })
        .await;
        outcome
            .unwrap_or_else(|stopped| Err(stopped.into()))
            .map_err(|source| StoreError {
                key: key.to_owned(),
                place: self.folder.dir.display().to_string(),
                action,
                source,
            })
    }
}

#[async_trait]
impl CheckpointStore for FileStore {
    async fn read(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.run(key, "read it", Folder::read).await
    }

    async fn swap(
        &self,
        key: &str,
        expected: Option<&[u8]>,
        new: &[u8],
    ) -> Result<Swap, StoreError> {
        let expected = expected.map(<[u8]>::to_vec);
        let new = new.to_vec();
        self.run(key, "swap it", move |folder, key| {
            folder.swap(key, expected.as_deref(), &new)
        })
        .await
    }
}

fn check(key: &str) -> Result<(), Unusable> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if key.is_empty() || !key.bytes().all(allowed) {
        return Err(Unusable::Key);
    }
    Ok(())
}

impl Folder {
    fn path(&self, key: &str, suffix: &str) -> PathBuf {
        self.dir.join(format!("{key}.checkpoint{suffix}"))
    }

    fn read(&self, key: &str) -> Result<Option<Vec<u8>>, Cause> {
        let path = self.path(key, "");
        let bytes = match fs::metadata(&path) {
            Ok(metadata) if metadata.len() > MAX_FILE_BYTES => Vec::new(),
            Ok(_) => fs::read(&path)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let file = path.display().to_string();
        match decode(&bytes) {
            Ok(value) => Ok(Some(value.to_vec())),
            Err(Fault::Newer(found)) => Err(Unusable::Newer { file, found }.into()),
            Err(Fault::Damaged(what)) => {
                let remedy = self.remedy(key, &file);
                Err(Unusable::Damaged { file, what, remedy }.into())
            }
        }
    }

    /// What a person can do about a damaged file. Going back is never done without one: whatever was
    /// written since then would be written again.
    fn remedy(&self, key: &str, file: &str) -> String {
        let previous = self.path(key, ".previous");
        if !previous.exists() {
            return "make it from the files of the table: `logpipe checkpoint rebuild`".to_owned();
        }
        let previous = previous.display();
        format!(
            "make it from the files of the table: `logpipe checkpoint rebuild`. {previous} holds the value of one step \
             before: rename it to {file} only where nothing was written since"
        )
    }

    fn swap(&self, key: &str, expected: Option<&[u8]>, new: &[u8]) -> Result<Swap, Cause> {
        // A panic cannot have left half a value: only the rename changes it.
        let lock = self.swapping.lock().unwrap_or_else(PoisonError::into_inner);
        lock.lock()?;
        let outcome = self.swap_locked(key, expected, new);
        lock.unlock()?;
        outcome
    }

    fn swap_locked(&self, key: &str, expected: Option<&[u8]>, new: &[u8]) -> Result<Swap, Cause> {
        if self.read(key)?.as_deref() != expected {
            return Ok(Swap::Conflict);
        }
        let (path, next) = (self.path(key, ""), self.path(key, ".next"));
        let mut file = File::create(&next)?;
        file.write_all(&encode(new))?;
        file.sync_all()?;
        drop(file);
        if expected.is_some() {
            // A second name for the value, so that the first is never missing.
            let previous = self.path(key, ".previous");
            remove(&previous)?;
            keep(&path, &previous)?;
        }
        fs::rename(&next, &path)?;
        durable::sync_dir(&self.dir)?;
        Ok(Swap::Done)
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

/// Gives a file a second name, or copies it where a file cannot have two.
fn keep(path: &Path, previous: &Path) -> io::Result<()> {
    if fs::hard_link(path, previous).is_err() {
        fs::copy(path, previous)?;
    }
    Ok(())
}

/// The bytes of a file: the first line, then the value.
pub fn encode(value: &[u8]) -> Vec<u8> {
    let mut line = String::new();
    let (checksum, length) = (crc32c::crc32c(value), value.len());
    writeln!(
        line,
        "{MAGIC}{VERSION} crc32c={checksum:08x} length={length}"
    )
    .expect("a string takes what it is given");
    let mut bytes = line.into_bytes();
    bytes.extend_from_slice(value);
    bytes
}

/// Why the bytes of a file are no value.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Of a release after this one.
    #[error(
        "it has format version {0}, and this release reads version {VERSION}: run the newer release"
    )]
    Newer(u32),
    /// Not what was written.
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
}

/// The value in the bytes of a file.
pub fn decode(bytes: &[u8]) -> Result<&[u8], Fault> {
    let damaged = Fault::Damaged("its first line is not that of a checkpoint");
    let Some(end) = memchr::memchr(b'\n', bytes) else {
        return Err(damaged);
    };
    let (line, value) = (&bytes[..end], &bytes[end + 1..]);
    let Some(words) = std::str::from_utf8(line)
        .ok()
        .and_then(|line| line.strip_prefix(MAGIC))
    else {
        return Err(damaged);
    };
    let mut words = words.split(' ');
    // The version first: a newer one may have other words.
    match words.next().and_then(|version| version.parse().ok()) {
        Some(VERSION) => {}
        Some(newer) if newer > VERSION => return Err(Fault::Newer(newer)),
        _ => return Err(damaged),
    }
    let checksum = words.next().and_then(|word| word.strip_prefix("crc32c="));
    let length = words.next().and_then(|word| word.strip_prefix("length="));
    if length.and_then(|length| length.parse().ok()) != Some(value.len()) {
        return Err(Fault::Damaged("its length is not what its first line says"));
    }
    if checksum.and_then(|text| u32::from_str_radix(text, 16).ok()) != Some(crc32c::crc32c(value)) {
        return Err(Fault::Damaged(
            "its checksum is not what its first line says",
        ));
    }
    Ok(value)
}

#[cfg(test)]
mod tests;
