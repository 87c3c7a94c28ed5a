//! What is known of the partitions that a process has, for people: lag, ages, times of commits. Nothing is
//! decided by it. Touches nothing.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::log::Offset;

/// What is known of one partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Partition {
    /// The offset below which everything is committed.
    pub committed: Offset,
    /// Where the log ended when it was last asked; none before the first answer.
    pub end: Option<Offset>,
    /// When the oldest record that was read and is not committed was written, in microseconds since 1970.
    pub oldest: Option<i64>,
    /// When a batch was last committed here, in milliseconds since 1970.
    pub committed_at: Option<i64>,
}

impl Partition {
    /// Records of the log that are not committed.
    pub fn lag(&self) -> Option<u64> {
        self.end.map(|end| end.saturating_sub(self.committed))
    }
}

/// The partitions that this process has now.
#[derive(Debug, Default)]
pub struct Partitions(Mutex<BTreeMap<u32, Partition>>);

impl Partitions {
    /// Each of them, as it is now.
    pub fn all(&self) -> BTreeMap<u32, Partition> {
        self.lock().clone()
    }

    /// Where a partition ends. One that is not ours any more is left alone.
    pub fn note_end(&self, partition: u32, end: Offset) {
        if let Some(seen) = self.lock().get_mut(&partition) {
            seen.end = Some(end);
        }
    }

    pub(super) fn end(&self, partition: u32) -> Option<Offset> {
        self.lock().get(&partition)?.end
    }

    pub(crate) fn came(&self, partition: u32, committed: Offset) {
        let seen = Partition {
            committed,
            ..Partition::default()
        };
        self.lock().insert(partition, seen);
    }

    pub(super) fn went(&self, partition: u32) {
        self.lock().remove(&partition);
    }

    pub(super) fn note_done(&self, partition: u32, done: Offset, oldest: Option<i64>) {
        if let Some(seen) = self.lock().get_mut(&partition) {
            seen.committed = done;
            seen.oldest = oldest;
        }
    }

    pub(super) fn note_commit(&self, partition: u32, at: i64) {
        if let Some(seen) = self.lock().get_mut(&partition) {
            seen.committed_at = Some(at);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, Partition>> {
        // Nothing is left half changed by a panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_committed_is_lag() {
        let partitions = Partitions::default();
        partitions.came(3, 10);
        assert_eq!(partitions.all()[&3].lag(), None);
        partitions.note_end(3, 25);
        partitions.note_done(3, 20, Some(7));
        assert_eq!(partitions.all()[&3].lag(), Some(5));
        partitions.note_done(3, 30, None);
        assert_eq!(partitions.all()[&3].lag(), Some(0));
    }

    #[test]
    fn a_partition_that_went_is_not_told_of() {
        let partitions = Partitions::default();
        partitions.came(0, 0);
        partitions.went(0);
        partitions.note_end(0, 9);
        assert!(partitions.all().is_empty());
    }
}
