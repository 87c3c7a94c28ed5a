//! The checkpoint of one partition: one small value, replaced by one compare-and-swap. The algebra here is
//! pure; the stores ([`memory`], [`file`], `config_map`) do the writing. See `docs/adr/0001`.

use std::collections::BTreeSet;

use async_trait::async_trait;
use logpipe_api::PlanHash;
pub use logpipe_api::settings::partition_key;
use serde::{Deserialize, Serialize};

use crate::etl::receive::Producers;
use crate::log::{Identity, Offset};

pub mod config_map;
pub mod contract;
pub mod counted;
pub mod file;
pub mod memory;
pub mod rebuild;
pub mod survey;

/// The most files in one batch, so that a checkpoint stays below [`MAX_BYTES`].
pub const MAX_FILES: usize = 64;

/// The most bytes of one encoded checkpoint: 8 to a `ConfigMap` of 1 MiB, with room to spare.
pub const MAX_BYTES: usize = 16 * 1024;

const VERSION: u32 = 1;
const VERSION_WITH_EMPTY: u32 = 2;

/// The state of one partition. Every written value is unique by `epoch` and `n`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Checkpoint {
    /// The format's version: 1, and 2 where [`empty`](Self::empty) stands, which earlier releases do not know.
    #[serde(rename = "v")]
    pub version: u32,
    /// [`Identity::cluster`].
    pub cluster: String,
    /// [`Identity::topic_id`].
    pub topic_id: String,
    /// The partition.
    pub partition: u32,
    /// Where the very first batch began. Above 0, a producer key may show up in the middle of its
    /// sequence, because its earlier records were gone before we came.
    pub begin: Offset,
    /// Grows with each take-over.
    pub epoch: u64,
    /// Who took over last.
    pub owner: String,
    /// Grows with each write.
    pub n: u64,
    /// The next offset to read: everything below it is committed.
    pub next: Offset,
    /// The last committed record.
    pub anchor: Option<Anchor>,
    /// How far each producer key has come at `next`.
    pub producers: Producers,
    /// What was read behind `next` and gave no row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub empty: Option<Empty>,
    /// The batch that is being written.
    pub pending: Option<Batch>,
    /// What was committed so far.
    pub totals: Totals,
    /// What the commit saw, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Seen>,
}

/// Records behind `next` that were read and gave no row: fences, duplicates, what a transaction leaves. The next
/// batch still begins at `next`, but the log need not hold them any more.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Empty {
    /// One after the last of them.
    pub until: Offset,
    /// How far each producer key has come at `until`.
    pub producers: Producers,
}

/// What a commit saw. Nothing is decided by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Seen {
    /// When it was, in milliseconds since 1970.
    pub at: i64,
    /// Where the log ended then, as far as the worker knew; never before `next`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Offset>,
}

/// One record by offset and content: read again at a take-over, it tells a log that was truncated or made
/// anew.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Anchor {
    /// Its offset.
    pub offset: Offset,
    /// 32 hex digits of the SHA-256 of its key and value.
    pub sha: String,
}

/// An intent: a range of records and every file it becomes. Immutable once announced.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Batch {
    /// The first offset: the end of the batch before.
    pub start: Offset,
    /// One after the last offset.
    pub end: Offset,
    /// The plan that decided about its rows.
    pub plan: PlanHash,
    /// The batch's last record.
    pub anchor: Anchor,
    /// How far each producer key has come at `end`.
    pub producers_after: Producers,
    /// Its files, in order of their folder.
    pub files: Vec<BatchFile>,
}

/// One file of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchFile {
    /// The folder below the prefix, without slashes at its ends.
    pub dir: String,
    /// How many rows.
    pub rows: u64,
    /// 32 hex digits over the offset and line of each row.
    pub digest: String,
    /// The rows are quarantined lines.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dead: bool,
}

/// What was committed so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Totals {
    /// Rows in files of the table.
    pub rows: u64,
    /// Rows in files of the quarantine.
    pub dead: u64,
    /// Files of both.
    pub files: u64,
}

/// Why a checkpoint cannot be changed in this way. Each is a defect of the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransitionError {
    /// Two batches at once.
    #[error("a batch that starts at {start} is pending already")]
    Pending {
        /// Where the pending batch starts.
        start: Offset,
    },
    /// Nothing to commit.
    #[error("no batch is pending")]
    NothingPending,
    /// A hole or an overlap between batches.
    #[error("the batch starts at {start}, but the next offset is {next}")]
    NotNext {
        /// Where the batch starts.
        start: Offset,
        /// Where it should start.
        next: Offset,
    },
    /// Nothing new was read.
    #[error("the records without a row end at {until}, and those below {from} were read before")]
    NotBehind {
        /// Where they end.
        until: Offset,
        /// Where reading goes on.
        from: Offset,
    },
    /// A batch must have a range, files with rows, and each folder once.
    #[error("the batch is malformed: {reason}")]
    Malformed {
        /// What is wrong.
        reason: &'static str,
    },
}

impl Checkpoint {
    /// The state before the first batch of a partition, which starts at `begin`.
    pub fn new(log: &Identity, partition: u32, begin: Offset, owner: &str) -> Self {
        Self {
            version: VERSION,
            cluster: log.cluster.clone(),
            topic_id: log.topic_id.clone(),
            partition,
            begin,
            epoch: 1,
            owner: owner.to_owned(),
            n: 1,
            next: begin,
            anchor: None,
            producers: Producers::new(),
            empty: None,
            pending: None,
            totals: Totals::default(),
            seen: None,
        }
    }

    /// `owner` takes over. A pending batch stays as it is: the new owner finishes exactly that.
    #[must_use]
    pub fn take_over(&self, owner: &str) -> Self {
        let mut taken = self.written();
        taken.epoch += 1;
        owner.clone_into(&mut taken.owner);
        taken
    }

    /// Where reading goes on, with which state of the receiver. A pending batch is read from there, too.
    pub fn resume(&self) -> (Offset, &Producers) {
        match &self.empty {
            Some(empty) => (empty.until, &empty.producers),
            None => (self.next, &self.producers),
        }
    }

    /// Notes that nothing in front of `empty.until` gave a row.
    pub fn note_empty(&self, empty: Empty) -> Result<Self, TransitionError> {
        if let Some(pending) = &self.pending {
            let start = pending.start;
            return Err(TransitionError::Pending { start });
        }
        let (until, (from, _)) = (empty.until, self.resume());
        if until <= from {
            return Err(TransitionError::NotBehind { until, from });
        }
        let mut noted = self.written();
        noted.set_empty(Some(empty));
        Ok(noted)
    }

    /// Without the note of what gave no row.
    #[must_use]
    pub(crate) fn without_empty(mut self) -> Self {
        self.set_empty(None);
        self
    }

    fn set_empty(&mut self, empty: Option<Empty>) {
        self.version = match empty {
            Some(_) => VERSION_WITH_EMPTY,
            None => VERSION,
        };
        self.empty = empty;
    }

    /// Announces a batch.
    pub fn announce(&self, batch: Batch) -> Result<Self, TransitionError> {
        if let Some(pending) = &self.pending {
            return Err(TransitionError::Pending {
                start: pending.start,
            });
        }
        batch.check(self.next)?;
        let mut announced = self.written();
        announced.pending = Some(batch);
        Ok(announced)
    }

    /// Commits the pending batch.
    pub fn commit(&self) -> Result<Self, TransitionError> {
        let mut committed = self.written();
        let batch = committed
            .pending
            .take()
            .ok_or(TransitionError::NothingPending)?;
        committed.pass(&batch);
        Ok(committed)
    }

    /// Moves behind a batch that follows this state.
    pub(crate) fn pass(&mut self, batch: &Batch) {
        self.next = batch.end;
        self.set_empty(None);
        self.seen = None;
        self.anchor = Some(batch.anchor.clone());
        self.producers.clone_from(&batch.producers_after);
        for file in &batch.files {
            self.totals.files += 1;
            if file.dead {
                self.totals.dead += file.rows;
            } else {
                self.totals.rows += file.rows;
            }
        }
    }

    /// What each file of `batch` carries in its footer: the checkpoint that announces it, but for who wrote it and
    /// when and what was noted before, so that a batch comes out the same whoever finishes it. A checkpoint that
    /// was lost is [made again](rebuild) from it.
    pub fn imprint(&self, batch: &Batch) -> String {
        let imprint = Self {
            epoch: 0,
            owner: String::new(),
            n: 0,
            seen: None,
            pending: Some(batch.clone()),
            ..self.clone().without_empty()
        };
        serde_json::to_string(&imprint).expect("a checkpoint holds nothing that JSON cannot")
    }

    /// Commits the pending batch and announces the one behind it, in one write.
    pub fn commit_and_announce(&self, batch: Batch) -> Result<Self, TransitionError> {
        let mut both = self.commit()?.announce(batch)?;
        both.n = self.n + 1;
        Ok(both)
    }

    fn written(&self) -> Self {
        let mut next = self.clone();
        next.n += 1;
        next
    }

    /// The value as it is stored.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a checkpoint holds nothing that JSON cannot")
    }

    /// Reads a stored value.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        #[derive(Deserialize)]
        struct Version {
            v: u32,
        }
        // The version first: a newer value may hold fields that this build does not know.
        let Version { v } = serde_json::from_slice(bytes).map_err(DecodeError::Corrupt)?;
        if v > VERSION_WITH_EMPTY {
            return Err(DecodeError::Newer { found: v });
        }
        if v < 1 {
            let error = serde::de::Error::custom("there is no version 0");
            return Err(DecodeError::Corrupt(error));
        }
        serde_json::from_slice(bytes).map_err(DecodeError::Corrupt)
    }
}

impl Batch {
    fn check(&self, next: Offset) -> Result<(), TransitionError> {
        let malformed = |reason| Err(TransitionError::Malformed { reason });
        if self.start != next {
            return Err(TransitionError::NotNext {
                start: self.start,
                next,
            });
        }
        if self.start >= self.end {
            return malformed("its range is empty");
        }
        if self.anchor.offset < self.start || self.anchor.offset >= self.end {
            return malformed("its anchor lies outside its range");
        }
        if self.files.is_empty() {
            return malformed("it has no file");
        }
        if self.files.len() > MAX_FILES {
            return malformed("it has more than 64 files");
        }
        if self.files.iter().any(|file| file.rows == 0) {
            return malformed("a file has no row");
        }
        let dirs: BTreeSet<&str> = self.files.iter().map(|file| file.dir.as_str()).collect();
        if dirs.len() != self.files.len() {
            return malformed("a folder stands twice");
        }
        Ok(())
    }
}

/// Why a stored checkpoint cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// A newer release wrote it.
    #[error(
        "it has format version {found}, and this release reads versions up to {VERSION_WITH_EMPTY}: run the newer release"
    )]
    Newer {
        /// The version it has.
        found: u32,
    },
    /// It is damaged.
    #[error("it is not a checkpoint")]
    Corrupt(#[source] serde_json::Error),
}

/// What a compare-and-swap came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swap {
    /// The new value stands.
    Done,
    /// Another value stood there; nothing was changed.
    Conflict,
}

/// Why a checkpoint store failed. After a failed swap the value must be read again: the write may have
/// gone through.
#[derive(Debug, thiserror::Error)]
#[error("checkpoint {key} in {place}: failed to {action}")]
pub struct StoreError {
    /// The key.
    pub key: String,
    /// The folder or object that holds it.
    pub place: String,
    /// What was tried.
    pub action: &'static str,
    /// Why it failed.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl StoreError {
    /// Whether trying again may help, without a person who mends something first.
    pub fn may_pass(&self) -> bool {
        if let Some(unusable) = self.source.downcast_ref::<config_map::Unusable>() {
            return unusable.may_pass();
        }
        !self.source.is::<file::Unusable>()
    }
}

/// Keeps values by key, each replaced whole and only by compare-and-swap. Keys are lower-case letters,
/// digits and dashes.
#[async_trait]
pub trait CheckpointStore: Send + Sync {
    /// The value of `key`, if there is one.
    async fn read(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError>;

    /// Writes `new` if the value is `expected` to the byte (`None`: if there is none).
    async fn swap(
        &self,
        key: &str,
        expected: Option<&[u8]>,
        new: &[u8],
    ) -> Result<Swap, StoreError>;
}

#[cfg(test)]
mod tests;
