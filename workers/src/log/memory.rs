//! A log in memory: the real thing for tests, models and simulations, and for anybody who can live with
//! losing it. It keeps what it is given, wakes its readers, and can be told to fail. Touches nothing.
//!
//! Clones share one log.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::assigned::{Assigned, Slot};
use super::{Identity, Log, LogError, NewRecord, Offset, Record, Sink, Source, random};

/// As much as one poll hands out, in bytes of values.
const POLL_BYTES: usize = 1 << 20;

/// A topic in memory.
#[derive(Clone)]
pub struct MemoryLog {
    shared: Arc<Shared>,
}

/// What the next [`Sink::send`] does instead of succeeding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendFault {
    /// It fails, and the record is not written.
    BeforeWrite,
    /// It fails, but the record is written: the answer was lost.
    AfterWrite,
}

struct Shared {
    identity: Identity,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    partitions: Vec<Partition>,
    fault: Option<SendFault>,
    withheld: bool,
    closed: Option<String>,
}

/// Records `[start, end)`, with gaps where offsets were skipped.
#[derive(Default)]
struct Partition {
    start: Offset,
    end: Offset,
    records: VecDeque<(Offset, NewRecord)>,
}

impl MemoryLog {
    /// A new, empty topic with ids of its own.
    pub fn new(topic: &str, partitions: u32) -> Self {
        let id = || random::id().expect("the operating system has random numbers");
        let identity = Identity {
            cluster: id(),
            topic: topic.to_owned(),
            topic_id: id(),
            partitions,
        };
        let partitions = (0..partitions).map(|_| Partition::default()).collect();
        Self {
            shared: Arc::new(Shared {
                identity,
                state: Mutex::new(State {
                    partitions,
                    ..State::default()
                }),
                changed: Condvar::new(),
            }),
        }
    }

    /// Writes one record and returns its offset. Panics if there is no such partition.
    pub fn append(&self, partition: u32, record: NewRecord) -> Offset {
        self.change(partition, |partition| partition.push(record))
    }

    /// Every record of a partition. Panics if there is no such partition.
    pub fn records(&self, partition: u32) -> Vec<(Offset, NewRecord)> {
        self.change(partition, |partition| {
            partition.records.iter().cloned().collect()
        })
    }

    /// Leaves a gap of `count` offsets, as Kafka does for its control records.
    pub fn skip(&self, partition: u32, count: u64) {
        self.change(partition, |partition| partition.end += count);
    }

    /// Removes the records below `before`, as retention does. On an empty partition it sets where the
    /// first record will be.
    pub fn trim(&self, partition: u32, before: Offset) {
        self.change(partition, |partition| {
            partition.start = partition.start.max(before);
            partition.end = partition.end.max(partition.start);
            let kept = partition.index_of(partition.start);
            partition.records.drain(..kept);
        });
    }

    /// Forgets the records from `end` on, as a log does whose last writes were not on the disk.
    pub fn truncate(&self, partition: u32, end: Offset) {
        self.change(partition, |partition| {
            partition.end = partition.end.min(end.max(partition.start));
            let kept = partition.index_of(partition.end);
            partition.records.truncate(kept);
        });
    }

    /// Lets the next [`Sink::send`], of whichever sink, fail.
    pub fn fail_next_send(&self, fault: SendFault) {
        self.shared.lock().fault = Some(fault);
    }

    /// While `withheld`, records are written and can be read, but no sink learns of it: a
    /// [`Sink::flush`] waits.
    pub fn withhold_acknowledgements(&self, withheld: bool) {
        self.shared.lock().withheld = withheld;
        self.shared.changed.notify_all();
    }

    /// From now on every sink and source fails with `reason`.
    pub fn close(&self, reason: &str) {
        self.shared.lock().closed = Some(reason.to_owned());
        self.shared.changed.notify_all();
    }

    fn change<T>(&self, partition: u32, change: impl FnOnce(&mut Partition) -> T) -> T {
        let mut state = self.shared.lock();
        let changed = change(&mut state.partitions[partition as usize]);
        drop(state);
        self.shared.changed.notify_all();
        changed
    }
}

impl fmt::Debug for MemoryLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MemoryLog")
            .field(&self.shared.identity)
            .finish()
    }
}

impl Log for MemoryLog {
    fn identity(&self) -> Identity {
        self.shared.identity.clone()
    }

    fn source(&self) -> Result<Box<dyn Source>, LogError> {
        drop(self.shared.open()?);
        Ok(Box::new(MemorySource {
            shared: Arc::clone(&self.shared),
            assigned: Assigned::default(),
            read: Vec::new(),
        }))
    }

    fn sink(&self, partition: u32) -> Result<Box<dyn Sink>, LogError> {
        drop(self.shared.open()?);
        self.shared.identity.check("write", partition)?;
        Ok(Box::new(MemorySink {
            shared: Arc::clone(&self.shared),
            partition,
            sent: 0,
            acknowledged: 0,
            failed: None,
        }))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here leaves the state half changed, so a panic elsewhere is no reason to stop.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> Result<MutexGuard<'_, State>, LogError> {
        let state = self.lock();
        match &state.closed {
            Some(reason) => Err(self.closed(reason)),
            None => Ok(state),
        }
    }

    fn closed(&self, reason: &str) -> LogError {
        LogError::Closed {
            place: self.identity.topic.clone(),
            reason: Some(reason.to_owned()),
        }
    }
}

impl Partition {
    fn push(&mut self, record: NewRecord) -> Offset {
        let offset = self.end;
        self.records.push_back((offset, record));
        self.end += 1;
        offset
    }

    /// The place of the first record at or above `offset`.
    fn index_of(&self, offset: Offset) -> usize {
        self.records.partition_point(|(at, _)| *at < offset)
    }

    /// Copies records from the slot's offset on into `read`, until their values pass `budget`. The
    /// slot's place moves behind them and over gaps.
    fn read(
        &self,
        slot: &mut Slot,
        budget: &mut usize,
        read: &mut Vec<(u32, Offset, NewRecord)>,
    ) -> Result<(), LogError> {
        if slot.next < self.start || slot.next > self.end {
            return Err(LogError::OutOfRange {
                partition: slot.partition,
                offset: slot.next,
                start: self.start,
                end: self.end,
            });
        }
        for (offset, record) in self.records.range(self.index_of(slot.next)..) {
            if *budget == 0 {
                return Ok(());
            }
            // A copy of handles: the bytes are shared.
            read.push((slot.partition, *offset, record.clone()));
            slot.next = offset + 1;
            *budget = budget.saturating_sub(record.value.len().max(1));
        }
        slot.next = self.end;
        Ok(())
    }
}

struct MemorySource {
    shared: Arc<Shared>,
    assigned: Assigned,
    read: Vec<(u32, Offset, NewRecord)>,
}

impl MemorySource {
    fn collect(&mut self, state: &State) -> Result<(), LogError> {
        let mut budget = POLL_BYTES;
        let read = &mut self.read;
        let outcome = self.assigned.around(|slot| {
            state.partitions[slot.partition as usize].read(slot, &mut budget, read)?;
            Ok(budget > 0)
        });
        match outcome {
            // What was read before another partition failed is handed out first; that one fails again.
            Err(error) if read.is_empty() => Err(error),
            _ => Ok(()),
        }
    }
}

impl Source for MemorySource {
    fn assign(&mut self, partition: u32, offset: Offset) -> Result<(), LogError> {
        self.shared.identity.check("read", partition)?;
        self.assigned.assign(partition, offset);
        Ok(())
    }

    fn release(&mut self, partition: u32) -> Result<(), LogError> {
        self.assigned.release(partition);
        Ok(())
    }

    fn position(&self, partition: u32) -> Offset {
        self.assigned.position(partition)
    }

    fn pause(&mut self, partition: u32, paused: bool) {
        self.assigned.pause(partition, paused);
    }

    fn poll(
        &mut self,
        timeout: Duration,
        each: &mut dyn FnMut(Record<'_>),
    ) -> Result<usize, LogError> {
        let shared = Arc::clone(&self.shared);
        let begun = Instant::now();
        let mut state = shared.open()?;
        loop {
            self.collect(&state)?;
            let left = timeout.saturating_sub(begun.elapsed());
            if !self.read.is_empty() || left.is_zero() {
                break;
            }
            state = shared
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            if let Some(reason) = &state.closed {
                return Err(shared.closed(reason));
            }
        }
        // `each` may write to this very log.
        drop(state);
        let count = self.read.len();
        for (partition, offset, record) in self.read.drain(..) {
            each(Record {
                partition,
                offset,
                timestamp: record.timestamp,
                key: &record.key,
                value: &record.value,
            });
        }
        Ok(count)
    }

    fn bounds(&mut self, partition: u32) -> Result<Range<Offset>, LogError> {
        self.shared.identity.check("read", partition)?;
        let state = self.shared.open()?;
        let partition = &state.partitions[partition as usize];
        Ok(partition.start..partition.end)
    }
}

struct MemorySink {
    shared: Arc<Shared>,
    partition: u32,
    sent: u64,
    acknowledged: u64,
    failed: Option<&'static str>,
}

impl MemorySink {
    fn open(&self) -> Result<MutexGuard<'_, State>, LogError> {
        match self.failed {
            Some(reason) => Err(self.shared.closed(reason)),
            None => self.shared.open(),
        }
    }
}

impl Sink for MemorySink {
    fn send(&mut self, record: NewRecord) -> Result<(), LogError> {
        let mut state = self.open()?;
        let fault = state.fault.take();
        if fault != Some(SendFault::BeforeWrite) {
            state.partitions[self.partition as usize].push(record);
        }
        drop(state);
        self.shared.changed.notify_all();
        if fault.is_some() {
            let reason = "an earlier record could not be written";
            self.failed = Some(reason);
            return Err(LogError::Failed {
                place: self.shared.identity.topic.clone(),
                action: "write a record",
                source: "a fault that a test asked for".into(),
            });
        }
        self.sent += 1;
        Ok(())
    }

    fn acknowledged(&mut self) -> Result<u64, LogError> {
        let withheld = self.open()?.withheld;
        if !withheld {
            self.acknowledged = self.sent;
        }
        Ok(self.acknowledged)
    }

    fn flush(&mut self) -> Result<(), LogError> {
        let shared = Arc::clone(&self.shared);
        let mut state = self.open()?;
        while state.withheld && self.acknowledged < self.sent {
            state = shared
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            if let Some(reason) = &state.closed {
                return Err(shared.closed(reason));
            }
        }
        drop(state);
        self.acknowledged = self.sent;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
