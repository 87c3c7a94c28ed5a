//! What stands between the sinks, the writer and the sources of an embedded log: the records that wait,
//! what the partitions hold, and whether the log still works. Touches nothing.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::super::{LogError, Offset};

/// How many bytes may wait or be on their way to the disk; then sinks wait.
const QUEUE_BYTES: usize = 16 << 20;

/// As much as one transaction writes. Half of what may wait: while one half is on its way, the other
/// fills.
const COMMIT_BYTES: usize = QUEUE_BYTES / 2;

/// A record that is on its way.
pub(super) struct Waiting {
    pub(super) partition: u32,
    pub(super) stored: Vec<u8>,
    /// Its sink's count of durable records.
    pub(super) acknowledged: Arc<AtomicU64>,
}

/// What the writer does in one transaction.
#[derive(Default)]
pub(super) struct Work {
    pub(super) records: Vec<Waiting>,
    /// Partitions and the offsets below which their records go.
    pub(super) trims: Vec<(u32, Offset)>,
    bytes: usize,
}

/// Shared by all handles of a log and its writer.
pub(super) struct Queue {
    place: String,
    state: Mutex<State>,
    /// There is work, or no more will come.
    work: Condvar,
    /// There is room.
    room: Condvar,
    /// Something was committed.
    committed: Condvar,
}

struct State {
    waiting: VecDeque<Waiting>,
    /// Bytes that wait or are being written.
    bytes: usize,
    bounds: Vec<Range<Offset>>,
    /// The start that each partition shall have.
    wanted: Vec<Offset>,
    /// Sinks wait, whatever room there is.
    paused: bool,
    /// No more records come.
    ended: bool,
    failed: Option<String>,
}

impl Queue {
    pub(super) fn new(place: String, bounds: Vec<Range<Offset>>) -> Self {
        let wanted = bounds.iter().map(|bounds| bounds.start).collect();
        Self {
            place,
            state: Mutex::new(State {
                waiting: VecDeque::new(),
                bytes: 0,
                bounds,
                wanted,
                paused: false,
                ended: false,
                failed: None,
            }),
            work: Condvar::new(),
            room: Condvar::new(),
            committed: Condvar::new(),
        }
    }

    /// Queues a record; waits for room. A record that is larger than the queue goes alone.
    pub(super) fn push(&self, record: Waiting) -> Result<(), LogError> {
        let mut state = self.open()?;
        while state.paused || (state.bytes > 0 && state.bytes + record.stored.len() > QUEUE_BYTES) {
            state = self.wait(&self.room, state)?;
        }
        state.bytes += record.stored.len();
        state.waiting.push_back(record);
        // The writer takes all that waits: it sleeps only when nothing did.
        if state.waiting.len() == 1 {
            self.work.notify_one();
        }
        Ok(())
    }

    /// Lets sinks wait, or go on.
    pub(super) fn pause(&self, paused: bool) {
        self.lock().paused = paused;
        if !paused {
            self.room.notify_all();
        }
    }

    /// Asks for the records below `before` to be removed.
    pub(super) fn trim(&self, partition: u32, before: Offset) -> Result<(), LogError> {
        let mut state = self.open()?;
        let at = partition as usize;
        let before = before.min(state.bounds[at].end);
        if before > state.wanted[at] {
            state.wanted[at] = before;
            self.work.notify_one();
        }
        Ok(())
    }

    /// The next transaction's work; `None` when all is done and no more will come.
    pub(super) fn take(&self) -> Option<Work> {
        let mut state = self.lock();
        loop {
            let work = state.take();
            if !work.records.is_empty() || !work.trims.is_empty() {
                return Some(work);
            }
            if state.ended {
                return None;
            }
            state = self
                .work
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Publishes what a transaction made durable: first to readers, then to the sinks.
    pub(super) fn commit(&self, work: &Work, bounds: &[Range<Offset>]) {
        let mut state = self.lock();
        state.bounds.clone_from_slice(bounds);
        state.bytes -= work.bytes;
        for record in &work.records {
            record.acknowledged.fetch_add(1, Ordering::Release);
        }
        drop(state);
        self.room.notify_all();
        self.committed.notify_all();
    }

    /// Closes the log for good: whoever waits or comes later is told why.
    pub(super) fn fail(&self, reason: &str) {
        let mut state = self.lock();
        state.failed.get_or_insert_with(|| reason.to_owned());
        state.waiting.clear();
        drop(state);
        self.room.notify_all();
        self.committed.notify_all();
    }

    /// Says that no more records come.
    pub(super) fn end(&self) {
        self.lock().ended = true;
        self.work.notify_one();
    }

    /// Waits until a sink's count has come to `sent`.
    pub(super) fn flush(&self, acknowledged: &AtomicU64, sent: u64) -> Result<(), LogError> {
        let mut state = self.open()?;
        while acknowledged.load(Ordering::Acquire) < sent {
            state = self.wait(&self.committed, state)?;
        }
        Ok(())
    }

    /// Whether the log works.
    pub(super) fn check(&self) -> Result<(), LogError> {
        drop(self.open()?);
        Ok(())
    }

    /// Copies what the partitions hold to `bounds`.
    pub(super) fn bounds(&self, bounds: &mut Vec<Range<Offset>>) -> Result<(), LogError> {
        let state = self.open()?;
        bounds.clone_from(&state.bounds);
        Ok(())
    }

    /// Waits at most `timeout` until the partitions hold anything else than `bounds`.
    pub(super) fn wait_for_change(
        &self,
        bounds: &[Range<Offset>],
        timeout: Duration,
    ) -> Result<(), LogError> {
        let state = self.open()?;
        let (state, _) = self
            .committed
            .wait_timeout_while(state, timeout, |state| {
                state.failed.is_none() && state.bounds == bounds
            })
            .unwrap_or_else(PoisonError::into_inner);
        self.check_state(&state)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No line between a lock and its release can panic half way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> Result<MutexGuard<'_, State>, LogError> {
        let state = self.lock();
        self.check_state(&state)?;
        Ok(state)
    }

    fn wait<'a>(
        &self,
        condition: &Condvar,
        state: MutexGuard<'a, State>,
    ) -> Result<MutexGuard<'a, State>, LogError> {
        let state = condition
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner);
        self.check_state(&state)?;
        Ok(state)
    }

    fn check_state(&self, state: &State) -> Result<(), LogError> {
        match &state.failed {
            None => Ok(()),
            Some(reason) => Err(LogError::Closed {
                place: self.place.clone(),
                reason: Some(reason.clone()),
            }),
        }
    }
}

impl State {
    fn take(&mut self) -> Work {
        let mut work = Work::default();
        while let Some(record) = self.waiting.front() {
            let bytes = work.bytes + record.stored.len();
            if !work.records.is_empty() && bytes > COMMIT_BYTES {
                break;
            }
            work.bytes = bytes;
            work.records.extend(self.waiting.pop_front());
        }
        for (partition, bounds) in self.bounds.iter().enumerate() {
            if bounds.start < self.wanted[partition] {
                work.trims.push((partition as u32, self.wanted[partition]));
            }
        }
        work
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: usize = 1 << 20;

    fn record() -> Waiting {
        Waiting {
            partition: 0,
            stored: vec![0; RECORD],
            acknowledged: Arc::default(),
        }
    }

    #[test]
    fn a_full_queue_makes_its_writers_wait() {
        let queue = Queue::new("here".to_owned(), std::iter::once(0..0).collect());
        let pushed = AtomicU64::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..100 {
                    queue.push(record()).unwrap();
                    pushed.fetch_add(1, Ordering::SeqCst);
                }
                queue.end();
            });
            let mut taken = 0;
            while let Some(work) = queue.take() {
                assert!(work.bytes <= COMMIT_BYTES);
                taken += work.records.len() as u64;
                // Nothing is freed before the commit: the writer of the queue comes this far, no further.
                let most = taken - work.records.len() as u64 + (QUEUE_BYTES / RECORD) as u64;
                while pushed.load(Ordering::SeqCst) < most.min(100) {
                    std::thread::yield_now();
                }
                assert!(queue.lock().bytes <= QUEUE_BYTES);
                queue.commit(&work, std::slice::from_ref(&(0..taken)));
            }
            assert_eq!(taken, 100);
        });
    }

    #[test]
    fn a_record_larger_than_the_queue_goes_alone() {
        let queue = Queue::new("here".to_owned(), std::iter::once(0..0).collect());
        let large = Waiting {
            stored: vec![0; QUEUE_BYTES + 1],
            ..record()
        };
        queue.push(large).unwrap();
        assert_eq!(queue.take().unwrap().records.len(), 1);
    }

    #[test]
    fn a_failed_log_frees_those_who_wait() {
        let queue = Queue::new("here".to_owned(), std::iter::once(0..0).collect());
        std::thread::scope(|scope| {
            let pusher = scope.spawn(|| (0..100).try_for_each(|_| queue.push(record())));
            let flusher = scope.spawn(|| queue.flush(&AtomicU64::new(0), 1));
            queue.fail("the disk is gone");
            for outcome in [pusher.join().unwrap(), flusher.join().unwrap()] {
                let error = outcome.unwrap_err().to_string();
                assert_eq!(error, "log here is closed: the disk is gone");
            }
        });
    }
}
