//! A durable log in one folder, for pipelines that run in one process without Kafka. It stands on redb, an
//! embedded key-value store. Touches the disk, below its folder only.
//!
//! Sinks compress records and queue them; one thread writes all that waits in one transaction and then
//! acknowledges it. An acknowledged record survives a killed process and a power cut, as far as the disk
//! keeps what it has confirmed. Any failure to write closes the log: a record that was not acknowledged
//! may or may not be there, as with any log.
//!
//! What was decided, and measured with `benches/log.rs` on a busy machine with two cores and a disk that
//! writes 230 MB/s:
//! * **LZ4 for each value, on the threads of the sinks.** 1.12 GB of lines take 0.31 GB on the disk instead
//!   of 1.23 GB. They are written at 400-800 MB/s instead of 110-380, and read at 1.4 GB/s instead of 1.7:
//!   the disk is the bottleneck, and it also has the files that are followed and the Parquet to carry.
//! * **Quick repair**: each commit saves which pages are free and syncs twice. Files of 0.3 to 2.5 GB then
//!   open in 0.04-0.34 s after a crash, whatever their size, instead of 0.6-1.6 s that grow with it, and
//!   that with the whole file in the page cache: without it, opening reads the whole file. The second sync costs one commit that is waited for 1-3 ms; with
//!   commits in groups no difference in speed was found beyond the noise.
//! * **One thread writes**, because redb has one write transaction at a time. While it waits for the disk,
//!   the sinks fill the next group.

use std::error::Error;
use std::fmt;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use redb::StorageBackend;
use redb::backends::FileBackend;

use self::file::LogFile;
use self::queue::Queue;
use self::record::{Damage, Encoder};
use self::sink::EmbeddedSink;
use self::source::{EmbeddedSource, Reader};
use super::assigned::Assigned;
use super::{Identity, Log, LogError, Offset, Sink, Source};

mod file;
mod queue;
mod record;
mod sink;
mod source;
#[cfg(test)]
mod tests;
mod writer;

/// A topic on the local disk. Clones share it; when the last clone, source and sink is dropped, what was
/// queued is written and the file is closed, and that drop waits for the disk.
#[derive(Clone)]
pub struct EmbeddedLog {
    handle: Arc<Handle>,
}

/// What keeps a log open.
struct Handle {
    identity: Identity,
    file: Arc<LogFile>,
    queue: Arc<Queue>,
    writer: Option<JoinHandle<()>>,
}

impl EmbeddedLog {
    /// Opens the log in the folder `dir`, or makes it. A topic that is there must have the name `topic`;
    /// it gets more partitions if it has fewer than `partitions`, and is refused if it has more. One
    /// process can have it open, once.
    pub fn open(dir: &Path, topic: &str, partitions: u32) -> Result<Self, LogError> {
        Self::open_on(dir, topic, partitions, &FileBackend::new)
    }

    /// Opens the log that is in the folder `dir`, with as many partitions as it has.
    pub fn open_existing(dir: &Path, topic: &str) -> Result<Self, LogError> {
        if !dir.join(file::NAME).is_file() {
            return Err(LogError::Refused {
                what: format!(
                    "there is no log in {}: name the data folder of a pipeline that has run",
                    dir.display()
                ),
            });
        }
        Self::open_on(dir, topic, file::AS_THEY_ARE, &FileBackend::new)
    }

    fn open_on<B: StorageBackend>(
        dir: &Path,
        topic: &str,
        partitions: u32,
        backend: &dyn Fn(File) -> Result<B, redb::DatabaseError>,
    ) -> Result<Self, LogError> {
        let (file, identity, bounds) = LogFile::open(dir, topic, partitions, backend)?;
        let file = Arc::new(file);
        let queue = Arc::new(Queue::new(file.place.clone(), bounds.clone()));
        let writer = std::thread::Builder::new().name("log writer".to_owned());
        let writer = writer
            .spawn({
                let (file, queue) = (Arc::clone(&file), Arc::clone(&queue));
                move || writer::run(&file, &queue, bounds)
            })
            .map_err(|error| LogError::Failed {
                place: file.place.clone(),
                action: "start its writer",
                source: error.into(),
            })?;
        Ok(Self {
            handle: Arc::new(Handle {
                identity,
                file,
                queue,
                writer: Some(writer),
            }),
        })
    }

    /// Removes the records of a partition below `before`, which nobody needs any more. Returns at once:
    /// they go with the next transaction, and their space is used again.
    pub fn trim(&self, partition: u32, before: Offset) -> Result<(), LogError> {
        self.handle.identity.check("trim", partition)?;
        self.handle.queue.trim(partition, before)
    }

    /// Lets every sink wait, or go on: for a reader that has fallen too far behind, because what it has not
    /// read cannot be trimmed.
    pub fn pause_sinks(&self, paused: bool) {
        self.handle.queue.pause(paused);
    }

    /// How many bytes the log takes on the disk.
    pub fn size_on_disk(&self) -> Result<u64, LogError> {
        self.handle.file.size().map_err(|error| LogError::Failed {
            place: self.handle.place().to_owned(),
            action: "tell its size",
            source: error.into(),
        })
    }
}

impl fmt::Debug for EmbeddedLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedLog")
            .field("place", &self.handle.place())
            .field("identity", &self.handle.identity)
            .finish()
    }
}

impl Log for EmbeddedLog {
    fn identity(&self) -> Identity {
        self.handle.identity.clone()
    }

    fn source(&self) -> Result<Box<dyn Source>, LogError> {
        self.handle.queue.check()?;
        Ok(Box::new(EmbeddedSource {
            handle: Arc::clone(&self.handle),
            assigned: Assigned::default(),
            reader: Reader::default(),
        }))
    }

    fn sink(&self, partition: u32) -> Result<Box<dyn Sink>, LogError> {
        self.handle.identity.check("write", partition)?;
        self.handle.queue.check()?;
        Ok(Box::new(EmbeddedSink {
            handle: Arc::clone(&self.handle),
            partition,
            encoder: Encoder::default(),
            sent: 0,
            acknowledged: Arc::default(),
            refused: false,
        }))
    }
}

impl Handle {
    fn place(&self) -> &str {
        &self.file.place
    }

    fn unreadable(&self, error: impl Error + Send + Sync + 'static) -> LogError {
        LogError::Failed {
            place: self.place().to_owned(),
            action: "read records",
            source: error.into(),
        }
    }

    fn damaged(&self, partition: u32, offset: Offset, damage: &Damage) -> LogError {
        LogError::Failed {
            place: self.place().to_owned(),
            action: "read a record",
            source: format!(
                "offset {offset} of partition {partition} is damaged, {damage}: restore the folder from a copy, or start with a new one"
            )
            .into(),
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.queue.end();
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!(place = self.place(), "the writer of the log panicked");
        }
    }
}
