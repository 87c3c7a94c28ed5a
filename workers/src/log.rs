//! The log between producers and ETL: partitions of records with offsets, written by a [`Sink`] and read
//! by a [`Source`]. Kafka, the embedded log and the one in memory all stand behind these two traits.
//!
//! Nothing here touches a disk or a network; the implementations do.

use std::time::Duration;

use sha2::{Digest, Sha256};

mod assigned;
pub mod contract;
pub mod embedded;
pub mod key;
pub mod memory;
mod random;

/// A record's position in its partition: always "next to read" where a range ends (`[start, end)`).
pub type Offset = u64;

/// A record as the ETL reads it. It borrows the client's memory: what is kept must be copied.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The partition it is in.
    pub partition: u32,
    /// Its place there. Offsets grow, but may leave gaps.
    pub offset: Offset,
    /// When the producer read the lines, in microseconds since 1970, UTC.
    pub timestamp: i64,
    /// A [`key::BlockKey`], or anything else for topics that others write.
    pub key: &'a [u8],
    /// The lines, verbatim, newlines included.
    pub value: &'a [u8],
}

/// Which log this is: a checkpoint of one must never be used with another of the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster's id.
    pub cluster: String,
    /// The topic's name.
    pub topic: String,
    /// The topic's id, drawn anew whenever it is created.
    pub topic_id: String,
    /// How many partitions it has.
    pub partitions: u32,
}

impl Identity {
    /// 8 hex digits that stand for the topic's id in object names: of its SHA-256, because Kafka's own
    /// ids may contain dashes.
    pub fn topic_id8(&self) -> String {
        let hash = Sha256::digest(self.topic_id.as_bytes());
        format!(
            "{:02x}{:02x}{:02x}{:02x}",
            hash[0], hash[1], hash[2], hash[3]
        )
    }

    /// Refuses a partition that the topic does not have; `action` is what was tried.
    fn check(&self, action: &'static str, partition: u32) -> Result<(), LogError> {
        if partition < self.partitions {
            return Ok(());
        }
        Err(LogError::Failed {
            place: self.topic.clone(),
            action,
            source: format!(
                "there is no partition {partition}: the topic has {}",
                self.partitions
            )
            .into(),
        })
    }
}

/// A topic: hands out its readers and writers.
pub trait Log: Send + Sync {
    /// Which log this is.
    fn identity(&self) -> Identity;

    /// A reader with nothing assigned yet.
    fn source(&self) -> Result<Box<dyn Source>, LogError>;

    /// A writer for one partition.
    fn sink(&self, partition: u32) -> Result<Box<dyn Sink>, LogError>;
}

/// Why the log could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The records that were asked for are gone (retention) or were never there (a shorter log).
    #[error(
        "offset {offset} of partition {partition} is not in the log, which holds [{start}, {end})"
    )]
    OutOfRange {
        /// The partition.
        partition: u32,
        /// What was asked for.
        offset: Offset,
        /// The first offset that is there.
        start: Offset,
        /// One after the last.
        end: Offset,
    },
    /// The log's folder or server failed.
    #[error("log {place}: failed to {action}")]
    Failed {
        /// The folder or address.
        place: String,
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The log was closed while it was in use, or an earlier write failed.
    #[error("log {place} is closed{}", .reason.as_deref().map(|r| format!(": {r}")).unwrap_or_default())]
    Closed {
        /// The folder or address.
        place: String,
        /// Why, where an earlier failure closed it.
        reason: Option<String>,
    },
}

/// Reads partitions in offset order.
pub trait Source: Send {
    /// Reads `partition` from `offset` on, instead of wherever it was. A partition that was never
    /// assigned is not read.
    fn assign(&mut self, partition: u32, offset: Offset) -> Result<(), LogError>;

    /// Stops or resumes handing out records of a partition (back-pressure); its place is kept.
    fn pause(&mut self, partition: u32, paused: bool);

    /// Hands records to `each`, in order within a partition, and returns how many. Waits at most
    /// `timeout` for the first one; `Ok(0)` means that there was none. At most about a mebibyte of
    /// values is handed out by one call. An offset that is gone is [`LogError::OutOfRange`].
    fn poll(
        &mut self,
        timeout: Duration,
        each: &mut dyn FnMut(Record<'_>),
    ) -> Result<usize, LogError>;

    /// The offsets `[start, end)` that the partition holds now.
    fn bounds(&mut self, partition: u32) -> Result<std::ops::Range<Offset>, LogError>;
}

/// A record to be written.
#[derive(Clone, Debug)]
pub struct NewRecord {
    /// When the lines were read, in microseconds since 1970, UTC.
    pub timestamp: i64,
    /// The key, see [`key::BlockKey`].
    pub key: bytes::Bytes,
    /// The lines.
    pub value: bytes::Bytes,
}

/// Appends to one partition, in order. A sink that failed stays failed: drop it, scan, make a new one.
pub trait Sink: Send {
    /// Queues a record; waits while the queue is full. An error means that nothing after the last
    /// acknowledged record is known to be written.
    fn send(&mut self, record: NewRecord) -> Result<(), LogError>;

    /// How many records of this sink are durable. They are always the first ones that were sent.
    fn acknowledged(&mut self) -> Result<u64, LogError>;

    /// Waits until every record that was sent is durable.
    fn flush(&mut self) -> Result<(), LogError>;
}
