//! The log between producers and ETL: partitions of records with offsets, written by a [`Sink`] and read
//! by a [`Source`]. Kafka, the embedded log and the one in memory all stand behind these two traits.
//!
//! Nothing here touches a disk or a network; the implementations do.

use std::ops::Range;
use std::time::Duration;

use logpipe_api::names;

mod assigned;
pub mod contract;
pub mod embedded;
mod fixed;
pub mod kafka;
pub mod key;
pub mod memory;
mod random;

use fixed::Fixed;

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
        names::hash8(self.topic_id.as_bytes())
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

    /// The reader of thread `index` of `count` of this process, which shares the partitions with the others. A
    /// log that this process has for itself gives each thread a fixed share.
    fn member(&self, index: u32, count: u32) -> Result<Box<dyn Member>, LogError> {
        let partitions = self.identity().partitions;
        Ok(Box::new(Fixed::new(
            self.source()?,
            partitions,
            index,
            count,
        )))
    }

    /// The offsets that a partition holds.
    fn bounds(&self, partition: u32) -> Result<Range<Offset>, LogError> {
        self.source()?.bounds(partition)
    }

    /// Where a partition ends now, for people: of the topic that answers under this name.
    fn end(&self, partition: u32) -> Result<Offset, LogError> {
        Ok(self.source()?.bounds(partition)?.end)
    }

    /// Asks the server whether the topic is still the one of [`identity`](Self::identity): it may have been
    /// deleted and made anew under the same name. What was read before the question is then of that topic. A log
    /// that this process holds open cannot be replaced.
    fn check_identity(&self) -> Result<(), LogError> {
        Ok(())
    }
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
    /// The topic was made anew under the same name, or another cluster answers.
    #[error(
        "topic {topic} is not the one it was: it had the id {expected} in cluster {cluster}, and now it has the id \
         {found}. It was deleted and made anew, or another Kafka answers: bring the old one back, or begin again \
         in a new place, with a prefix and a name of its own"
    )]
    OtherTopic {
        /// The topic's name.
        topic: String,
        /// The cluster it was in.
        cluster: String,
        /// The topic id it had.
        expected: String,
        /// The topic id and cluster it has now, in words.
        found: String,
    },
    /// Nothing will change by trying again: a person must mend it.
    #[error("{what}")]
    Refused {
        /// What failed, why, and the remedy.
        what: String,
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

impl LogError {
    /// Whether trying again may help, without a person who mends something first.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Failed { .. } | Self::Closed { .. })
    }
}

/// Reads partitions in offset order.
pub trait Source: Send {
    /// Reads `partition` from `offset` on, instead of wherever it was. A partition that was never
    /// assigned is not read.
    fn assign(&mut self, partition: u32, offset: Offset) -> Result<(), LogError>;

    /// Reads `partition` no more, and forgets its place. One that was never assigned is ignored.
    fn release(&mut self, partition: u32) -> Result<(), LogError>;

    /// The next offset that may still come of an assigned partition; 0 of any other. Where offsets leave gaps,
    /// this moves past them, so that it reaches the end of the log.
    fn position(&self, partition: u32) -> Offset;

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
    fn bounds(&mut self, partition: u32) -> Result<Range<Offset>, LogError>;
}

/// A reader that shares the topic's partitions with others, of this process or of any.
pub trait Member: Send {
    /// The reader. Of what [`changes`](Self::changes) says is assigned it reads what was
    /// [accepted](Self::accept); it is polled all the time, also without a partition, because the group learns
    /// from that that this member lives.
    fn source(&mut self) -> &mut dyn Source;

    /// What changed since the last call. Does not wait.
    fn changes(&mut self) -> Result<Changes, LogError>;

    /// Begins to read what was assigned: each partition from its offset on. Answers one `assigned`, whole.
    fn accept(&mut self, starts: &[(u32, Offset)]) -> Result<(), LogError>;

    /// Gives back partitions that were revoked, whose last batch is committed. Answers one `revoked`, whole.
    fn give_back(&mut self, partitions: &[u32]) -> Result<(), LogError>;

    /// Tells the group how far a partition is committed, for tools that show lag. Nothing reads it back.
    fn note_committed(&mut self, partition: u32, next: Offset);

    /// Whether another process may take partitions over. Being fenced is then no failure.
    fn is_shared(&self) -> bool;
}

/// What changed about the partitions of a [`Member`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Take these over, and [accept](Member::accept) them.
    pub assigned: Vec<u32>,
    /// Finish and commit these, and [give them back](Member::give_back).
    pub revoked: Vec<u32>,
    /// Others have these already, because this member was not heard of for too long: drop them. They are given
    /// back already.
    pub lost: Vec<u32>,
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
