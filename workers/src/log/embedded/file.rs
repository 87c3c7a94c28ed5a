//! The file of an embedded log: its tables, how it is made and opened, and what each write does to it.
//! Touches the disk.
//!
//! | table | key | value |
//! |---|---|---|
//! | `about` | `format`, `cluster`, `topic`, `topic id` | text |
//! | `partitions` | partition | the offsets `[start, end)` that it holds |
//! | `records 00000`, … | offset | a record, see [`super::record`] |

use std::fs::{self, File, OpenOptions, TryLockError};
use std::ops::{Bound, Range};
use std::path::{Path, PathBuf};

use redb::{
    Builder, Database, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable,
    StorageBackend, TableDefinition, WriteTransaction,
};

use crate::durable;

use super::super::{Identity, LogError, Offset, random};

const FORMAT: &str = "1";
const ABOUT: TableDefinition<'_, &str, &str> = TableDefinition::new("about");
/// The file's name in its folder.
pub(super) const NAME: &str = "log.redb";

/// No number of partitions: as many as there are.
pub(super) const AS_THEY_ARE: u32 = 0;

const PARTITIONS: TableDefinition<'_, u32, (u64, u64)> = TableDefinition::new("partitions");

/// What redb may keep in memory: half for pages that a transaction has not written yet, the rest for
/// pages that readers are about to want. A reader that keeps up finds its records here. Twice as much was
/// no faster.
const CACHE_BYTES: usize = 24 << 20;

/// How many records one transaction removes at most, so that catching up with a long log does not hold
/// up those who write.
const TRIM_RECORDS: u64 = 2048;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("another process is using it: stop that one, or use another folder")]
    InUse,
    #[error(
        "it holds the topic {found}, not {wanted}: ask for the topic it holds, or use another folder"
    )]
    OtherTopic { found: String, wanted: String },
    #[error(
        "it has {found} partitions and a topic cannot shrink to {wanted}: ask for {found} or more, or use another folder"
    )]
    Shrinks { found: u32, wanted: u32 },
    #[error(
        "its format version is {found}, and this release reads version {FORMAT}: run the newer release, or use another folder"
    )]
    Newer { found: String },
    #[error("its file is damaged, {0} is missing: restore it from a copy, or use another folder")]
    Missing(&'static str),
    #[error("its file {file} is damaged: restore it from a copy, or use another folder")]
    Damaged {
        file: String,
        #[source]
        source: redb::DatabaseError,
    },
}

/// An open log file.
#[derive(Debug)]
pub(super) struct LogFile {
    pub(super) place: String,
    path: PathBuf,
    database: Database,
    /// Held as long as the file is open.
    _lock: File,
}

impl LogFile {
    /// Opens the log in `dir`, or makes it, and returns its identity and what its partitions hold.
    /// `backend` is redb's way to the file.
    pub(super) fn open<B: StorageBackend>(
        dir: &Path,
        topic: &str,
        partitions: u32,
        backend: &dyn Fn(File) -> Result<B, redb::DatabaseError>,
    ) -> Result<(Self, Identity, Vec<Range<Offset>>), LogError> {
        let place = dir.display().to_string();
        let failed = |action, source| LogError::Failed {
            place: place.clone(),
            action,
            source,
        };
        let lock = lock(dir).map_err(|cause| failed("open it", cause))?;
        let path = dir.join(NAME);
        if !path.exists() {
            create(dir, &path, topic).map_err(|cause| failed("create it", cause))?;
        }
        let database = open(&path, backend).map_err(|cause| failed("open it", cause))?;
        let file = Self {
            place: place.clone(),
            path,
            database,
            _lock: lock,
        };
        let (identity, bounds) = file
            .enter(topic, partitions)
            .map_err(|cause| failed("open it", cause))?;
        Ok((file, identity, bounds))
    }

    /// Checks what the file says about itself and adds the partitions that are missing.
    fn enter(&self, topic: &str, partitions: u32) -> Result<(Identity, Vec<Range<Offset>>), Cause> {
        let transaction = self.write()?;
        let about = transaction.open_table(ABOUT)?;
        let read = |key: &'static str| -> Result<String, Cause> {
            let value = about.get(key)?.ok_or(Refusal::Missing(key))?;
            Ok(value.value().to_owned())
        };
        let format = read("format")?;
        if format != FORMAT {
            return Err(Refusal::Newer { found: format }.into());
        }
        let found = read("topic")?;
        if found != topic {
            let wanted = topic.to_owned();
            return Err(Refusal::OtherTopic { found, wanted }.into());
        }
        let (cluster, topic_id) = (read("cluster")?, read("topic id")?);
        drop(about);
        let bounds = grow(&transaction, partitions)?;
        let identity = Identity {
            cluster,
            topic: found,
            topic_id,
            partitions: bounds.len() as u32,
        };
        transaction.commit()?;
        Ok((identity, bounds))
    }

    /// Begins a transaction whose commit is on the disk when it returns.
    pub(super) fn write(&self) -> Result<WriteTransaction, redb::TransactionError> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_quick_repair(true);
        Ok(transaction)
    }

    /// Begins to read what is committed now.
    pub(super) fn read(&self) -> Result<ReadTransaction, redb::TransactionError> {
        self.database.begin_read()
    }

    /// How many bytes the file takes on the disk. Its length is no measure: it grows by doubling, and
    /// what was never written takes no space.
    pub(super) fn size(&self) -> std::io::Result<u64> {
        let metadata = fs::metadata(&self.path)?;
        #[cfg(unix)]
        let size = std::os::unix::fs::MetadataExt::blocks(&metadata) * 512;
        #[cfg(not(unix))]
        let size = metadata.len();
        Ok(size)
    }
}

/// Takes the folder for this process, making it if need be.
fn lock(dir: &Path) -> Result<File, Cause> {
    durable::create_dir_all(dir)?;
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(dir.join("log.lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Refusal::InUse.into()),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

/// Makes a new log beside its place and moves it there when it is whole: a crash on the way leaves
/// nothing that could be taken for a log.
fn create(dir: &Path, path: &Path, topic: &str) -> Result<(), Cause> {
    let new = dir.join("log.redb.new");
    if new.exists() {
        fs::remove_file(&new)?;
    }
    let database = Builder::new().set_cache_size(1 << 20).create(&new)?;
    let transaction = database.begin_write()?;
    let mut about = transaction.open_table(ABOUT)?;
    about.insert("format", FORMAT)?;
    about.insert("cluster", random::id()?.as_str())?;
    about.insert("topic", topic)?;
    about.insert("topic id", random::id()?.as_str())?;
    drop(about);
    transaction.commit()?;
    database.close()?;
    fs::rename(&new, path)?;
    // The file's name must be on the disk before anything in it is acknowledged.
    durable::sync_dir(dir)?;
    Ok(())
}

fn open<B: StorageBackend>(
    path: &Path,
    backend: &dyn Fn(File) -> Result<B, redb::DatabaseError>,
) -> Result<Database, Cause> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let opened = backend(file).and_then(|backend| {
        Builder::new()
            .set_cache_size(CACHE_BYTES)
            .create_with_backend(backend)
    });
    match opened {
        Ok(database) => Ok(database),
        Err(redb::DatabaseError::DatabaseAlreadyOpen) => Err(Refusal::InUse.into()),
        Err(source) if is_damage(&source) => {
            let file = path.display().to_string();
            Err(Refusal::Damaged { file, source }.into())
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether the file is not what redb has written, which it also says as an error of reading.
fn is_damage(error: &redb::DatabaseError) -> bool {
    use redb::{DatabaseError, StorageError};
    match error {
        DatabaseError::Storage(StorageError::Corrupted(_)) => true,
        DatabaseError::Storage(StorageError::Io(error)) => {
            error.kind() == std::io::ErrorKind::InvalidData
        }
        _ => false,
    }
}

/// Adds partitions until there are as many as are wanted, and returns what each holds.
fn grow(transaction: &WriteTransaction, wanted: u32) -> Result<Vec<Range<Offset>>, Cause> {
    let mut table = transaction.open_table(PARTITIONS)?;
    let mut bounds = Vec::new();
    for entry in table.iter()? {
        let (start, end) = entry?.1.value();
        bounds.push(start..end);
    }
    let found = bounds.len() as u32;
    if found > wanted && wanted != AS_THEY_ARE {
        return Err(Refusal::Shrinks { found, wanted }.into());
    }
    for partition in found..wanted {
        table.insert(partition, (0, 0))?;
        drop(transaction.open_table(TableDefinition::<u64, &[u8]>::new(&name(partition)))?);
        bounds.push(0..0);
    }
    Ok(bounds)
}

fn name(partition: u32) -> String {
    format!("records {partition:05}")
}

/// Appends `records` to a partition that holds `bounds`.
pub(super) fn append<'a>(
    transaction: &WriteTransaction,
    partition: u32,
    bounds: &mut Range<Offset>,
    records: impl Iterator<Item = &'a [u8]>,
) -> Result<(), redb::Error> {
    let name = name(partition);
    let mut table = transaction.open_table(TableDefinition::<u64, &[u8]>::new(&name))?;
    // One descent of the tree for all records, instead of one for each.
    let mut cursor = table.upper_bound_mut(Bound::<u64>::Unbounded)?;
    for record in records {
        cursor.insert_before(bounds.end, record)?;
        bounds.end += 1;
    }
    cursor.close()?;
    store_bounds(transaction, partition, bounds)
}

/// Removes records below `before` from a partition that holds `bounds`: all of them, or as many as
/// one transaction should.
pub(super) fn trim(
    transaction: &WriteTransaction,
    partition: u32,
    bounds: &mut Range<Offset>,
    before: Offset,
) -> Result<(), redb::Error> {
    let before = before.min(bounds.end).min(bounds.start + TRIM_RECORDS);
    let name = name(partition);
    let mut table = transaction.open_table(TableDefinition::<u64, &[u8]>::new(&name))?;
    table.retain_in(..before, |_, _| false)?;
    bounds.start = before;
    store_bounds(transaction, partition, bounds)
}

fn store_bounds(
    transaction: &WriteTransaction,
    partition: u32,
    bounds: &Range<Offset>,
) -> Result<(), redb::Error> {
    let mut table = transaction.open_table(PARTITIONS)?;
    table.insert(partition, (bounds.start, bounds.end))?;
    Ok(())
}

/// The records of a partition, to be read.
pub(super) fn records(
    transaction: &ReadTransaction,
    partition: u32,
) -> Result<ReadOnlyTable<u64, &'static [u8]>, redb::TableError> {
    transaction.open_table(TableDefinition::<u64, &[u8]>::new(&name(partition)))
}
