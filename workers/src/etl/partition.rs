//! One partition in an ETL thread: receives its records, fills the open batch, and hands finished batches to
//! its committer. Touches nothing itself.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parquet::errors::ParquetError;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::batch::{BatchBuilder, EncodedBatch};
use super::budget::{Budget, Held};
use super::encode::Layout;
use super::receive::{Producers, Progress, Verdict};
use super::stage::Stager;
use crate::checkpoint::{Checkpoint, Empty};
use crate::counters::Counters;
use crate::log::key::BlockKey;
use crate::log::{Identity, Offset, Record};

/// When a batch is cut: the first limit that is reached.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of Parquet in one file.
    pub max_bytes: usize,
    /// Rows.
    pub max_rows: u64,
    /// Since its first row.
    pub interval: Duration,
    /// Since its last row.
    pub idle: Duration,
}

/// What a partition hands to its committer, in order.
pub enum Work {
    /// A batch.
    Batch(Queued),
    /// Records that gave no row, behind the last batch.
    Empty(Empty),
}

/// A batch on its way to the committer.
pub struct Queued {
    /// The batch.
    pub batch: EncodedBatch,
    /// It is announced already: its first owner went away in the middle of it.
    pub announced: bool,
    /// Its share of the memory budget, given back when it is dropped.
    pub held: Held,
}

/// Which lines of a partition's records are new, and how far each producer key has come.
#[derive(Clone, Debug)]
pub struct Receiver {
    /// Progress by producer key.
    pub producers: Producers,
    /// Where the partition's very first batch began.
    pub begin: Offset,
}

impl Receiver {
    /// Decides about a record. Records without a key of ours are taken whole: they count by offset alone.
    pub fn receive(&mut self, key: Option<&BlockKey<'_>>) -> Verdict {
        let Some(key) = key else {
            return Verdict::Take(0);
        };
        if let Some(progress) = self.producers.get_mut(key.producer) {
            return progress.receive(key.generation, key.first, key.lines);
        }
        // A producer that is seen for the first time begins at 0, unless the log was already cut off in
        // front when the partition began: then its first line that is left counts as its beginning. The fence of
        // its first generation says that no line was before.
        let is_new = key.lines == 0 && key.generation <= 1;
        let mut progress = Progress {
            generation: key.generation,
            next: 0,
            open: self.begin > 0 && !is_new,
        };
        let verdict = progress.receive(key.generation, key.first, key.lines);
        self.producers.insert(key.producer.to_owned(), progress);
        verdict
    }
}

/// The state of one partition.
pub struct Partition {
    log: Identity,
    /// The checkpoint as it will be behind the last batch that was cut.
    cut: Checkpoint,
    layout: Arc<Layout>,
    receiver: Receiver,
    limits: Limits,
    open: BatchBuilder,
    /// Everything before it is in a batch, or is noted to have no row.
    noted: Offset,
    first_row: Instant,
    last_row: Instant,
    /// Since when there is something behind the last row that is not noted, and no row.
    rowless: Option<Instant>,
    /// What is finished, and the committer has no room for yet.
    ready: VecDeque<Work>,
    /// Something was finished since this was last asked.
    fresh: bool,
    committer: mpsc::Sender<Work>,
    /// When the first record of the open batch was written.
    opened_with: i64,
    /// Of each finished batch its end, and when its first record was written.
    waiting: VecDeque<(Offset, i64)>,
}

impl Partition {
    /// Goes on behind a checkpoint and its pending batch.
    pub fn new(
        mut checkpoint: Checkpoint,
        log: Identity,
        layout: Arc<Layout>,
        limits: Limits,
        committer: mpsc::Sender<Work>,
    ) -> Self {
        let now = Instant::now();
        if let Some(pending) = checkpoint.pending.take() {
            checkpoint.pass(&pending);
        }
        let (until, producers) = checkpoint.resume();
        Self {
            log,
            open: BatchBuilder::new(layout.clone(), checkpoint.next..until),
            layout,
            limits,
            receiver: Receiver {
                producers: producers.clone(),
                begin: checkpoint.begin,
            },
            noted: until,
            cut: checkpoint,
            first_row: now,
            last_row: now,
            rowless: None,
            ready: VecDeque::new(),
            fresh: false,
            committer,
            opened_with: 0,
            waiting: VecDeque::new(),
        }
    }

    /// The partition's number.
    pub fn number(&self) -> u32 {
        self.cut.partition
    }

    /// Bytes of memory in the open batch.
    pub fn memory(&self) -> usize {
        self.open.memory()
    }

    /// When the open batch got its first row; `None` while it has none.
    pub fn opened_at(&self) -> Option<Instant> {
        (self.open.rows() > 0).then_some(self.first_row)
    }

    /// The records since the last cut, where none of them had a row.
    pub fn empty_range(&self) -> Option<std::ops::Range<Offset>> {
        (self.open.rows() == 0).then(|| self.open.range())
    }

    /// Where reading goes on.
    pub fn next(&self) -> Offset {
        self.open.range().end
    }

    /// The committer has no room: do not read on.
    pub fn is_full(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Whether something was finished since the last call.
    pub fn take_fresh(&mut self) -> bool {
        std::mem::take(&mut self.fresh)
    }

    /// Takes a record in. `now` is the clock of this poll: one reading for many records.
    pub fn accept(
        &mut self,
        record: &Record<'_>,
        stager: &mut Stager,
        budget: &Budget,
        counters: &Counters,
        now: Instant,
    ) -> Result<(), ParquetError> {
        counters.received_bytes.add(record.value.len() as u64);
        let key = BlockKey::decode(record.key);
        // The receiver's state at the end of the batch is what stands before this record, should the batch
        // have to be cut in front of it.
        let before = match &key {
            Some(key) => self.receiver.producers.get(key.producer).copied(),
            None => None,
        };
        let lines = key.map_or(0, |key| u64::from(key.lines));
        match self.receiver.receive(key.as_ref()) {
            Verdict::Take(skip) => {
                let staged = stager.stage(*record, key, skip);
                if !self.open.fits(&staged) {
                    let after = self.receiver.producers.clone();
                    if let Some(key) = &key {
                        restore(&mut self.receiver.producers, key.producer, before);
                    }
                    self.cut(budget)?;
                    self.receiver.producers = after;
                }
                if self.open.rows() == 0 {
                    self.first_row = now;
                    self.opened_with = record.timestamp;
                }
                self.last_row = now;
                let rows = self.open.rows();
                self.open.append(&staged)?;
                counters.received.add(self.open.rows() - rows);
                counters.dropped.add(u64::from(skip));
                for reason in staged.reasons() {
                    counters.rejected[reason as usize].add(1);
                }
            }
            Verdict::Gap { missing } => {
                counters.gaps.add(1);
                counters.dropped.add(lines);
                tracing::debug!(
                    partition = self.number(),
                    offset = record.offset,
                    missing,
                    "record behind a gap, dropped until its producer sends it again"
                );
            }
            Verdict::Duplicate | Verdict::Fenced => counters.dropped.add(lines),
            Verdict::Fence => {}
        }
        self.open.extend(record);
        // The other limits are looked at once a poll: this one is exact, to a record.
        if self.open.rows() >= self.limits.max_rows {
            self.cut(budget)
        } else {
            Ok(())
        }
    }

    /// When the oldest record with a line was written that is read and not below `committed`.
    pub fn oldest(&mut self, committed: Offset) -> Option<i64> {
        while self
            .waiting
            .front()
            .is_some_and(|(end, _)| *end <= committed)
        {
            self.waiting.pop_front();
        }
        let open = (self.open.rows() > 0).then_some(self.opened_with);
        self.waiting.front().map(|(_, at)| *at).or(open)
    }

    /// Cuts the open batch when it has reached a limit.
    pub fn cut_if_due(&mut self, budget: &Budget, now: Instant) -> Result<(), ParquetError> {
        let limits = &self.limits;
        let due = self.open.rows() > 0
            && (now.duration_since(self.first_row) >= limits.interval
                || now.duration_since(self.last_row) >= limits.idle
                || self.open.largest_file() >= limits.max_bytes);
        if due { self.cut(budget) } else { Ok(()) }
    }

    /// Finishes the open batch, if it has rows, and begins the next one behind it.
    pub fn cut(&mut self, budget: &Budget) -> Result<(), ParquetError> {
        if self.open.rows() == 0 {
            return Ok(());
        }
        let end = self.open.range().end;
        let next = BatchBuilder::new(self.layout.clone(), end..end);
        let done = std::mem::replace(&mut self.open, next);
        let batch = done.finish(&self.log, &self.cut, self.receiver.producers.clone())?;
        self.cut.pass(&batch.batch);
        let held = budget.hold(batch.bytes());
        self.waiting.push_back((batch.batch.end, self.opened_with));
        self.ready.push_back(Work::Batch(Queued {
            batch,
            announced: false,
            held,
        }));
        self.noted = end;
        self.fresh = true;
        Ok(())
    }

    /// Notes what was read up to `position` and gave no row, when that has stood for `patience`: otherwise it would be
    /// missing once retention has taken it. A partition without traffic is noted once.
    pub fn note_rowless(&mut self, position: Offset, patience: Duration, now: Instant) {
        if self.open.rows() > 0 || position <= self.noted {
            self.rowless = None;
            return;
        }
        let since = *self.rowless.get_or_insert(now);
        if now.duration_since(since) < patience {
            return;
        }
        self.rowless = None;
        self.noted = position;
        self.open.skip_to(position);
        self.ready.push_back(Work::Empty(Empty {
            until: position,
            producers: self.receiver.producers.clone(),
        }));
        self.fresh = true;
    }

    /// Hands what is finished to the committer as far as it has room. `false` when the committer is gone.
    pub fn hand_over(&mut self) -> bool {
        while let Some(work) = self.ready.pop_front() {
            match self.committer.try_send(work) {
                Ok(()) => {}
                Err(TrySendError::Full(work)) => {
                    self.ready.push_front(work);
                    return true;
                }
                Err(TrySendError::Closed(_)) => return false,
            }
        }
        true
    }
}

fn restore(producers: &mut Producers, producer: &str, before: Option<Progress>) {
    match before {
        Some(before) => {
            producers.insert(producer.to_owned(), before);
        }
        None => {
            producers.remove(producer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receive(receiver: &mut Receiver, generation: u32, first: u64, lines: u32) -> Verdict {
        let key = BlockKey {
            first,
            lines,
            ..BlockKey::fence("demo-0", generation, 7)
        };
        receiver.receive(Some(&key))
    }

    fn receiver(begin: Offset) -> Receiver {
        Receiver {
            producers: Producers::new(),
            begin,
        }
    }

    #[test]
    fn behind_a_cut_a_fence_does_not_say_where_the_lines_begin() {
        let mut receiver = receiver(5);
        assert_eq!(receive(&mut receiver, 2, 0, 0), Verdict::Fence);
        let stored = serde_json::to_string(&receiver.producers).unwrap();
        assert_eq!(stored, r#"{"demo-0":{"gen":2,"next":0,"open":true}}"#);
        receiver.producers = serde_json::from_str(&stored).unwrap();
        assert_eq!(receive(&mut receiver, 1, 490, 10), Verdict::Fenced);
        assert_eq!(receive(&mut receiver, 3, 0, 0), Verdict::Fence);
        assert_eq!(receive(&mut receiver, 3, 500, 10), Verdict::Take(0));
        assert_eq!(receive(&mut receiver, 3, 505, 10), Verdict::Take(5));
        let gap = Verdict::Gap { missing: 515 };
        assert_eq!(receive(&mut receiver, 3, 520, 10), gap);
        let stored = serde_json::to_string(&receiver.producers).unwrap();
        assert_eq!(stored, r#"{"demo-0":{"gen":3,"next":515}}"#);
    }

    #[test]
    fn behind_a_cut_a_block_says_where_the_lines_begin() {
        let mut receiver = receiver(5);
        assert_eq!(receive(&mut receiver, 2, 500, 10), Verdict::Take(0));
        assert_eq!(receive(&mut receiver, 2, 505, 10), Verdict::Take(5));
    }

    #[test]
    fn a_producer_whose_first_fence_is_there_begins_at_line_0() {
        for (begin, generation) in [(0, 1), (0, 2), (5, 1)] {
            let mut receiver = receiver(begin);
            assert_eq!(receive(&mut receiver, generation, 0, 0), Verdict::Fence);
            let gap = Verdict::Gap { missing: 0 };
            assert_eq!(receive(&mut receiver, generation, 10, 10), gap);
        }
    }
}
