//! What the roles count, for the live display and for metrics. Counting never decides anything.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters that all roles of one process share.
#[derive(Debug, Default)]
pub struct Counters {
    /// Lines the generator wrote, in this run and those before it.
    pub generated: Count,
    /// Lines that are durable in the log.
    pub produced: Count,
    /// Bytes of these lines.
    pub produced_bytes: Count,
    /// Lines the ETL has read and not found to be duplicates.
    pub received: Count,
    /// Bytes of all records the ETL has read.
    pub received_bytes: Count,
    /// Lines dropped as duplicates, fenced, or behind a gap.
    pub dropped: Count,
    /// Rows committed to the table.
    pub rows: Count,
    /// Rows committed to the quarantine.
    pub dead: Count,
    /// Files committed.
    pub files: Count,
    /// Bytes of Parquet committed.
    pub file_bytes: Count,
    /// Files being followed.
    pub following: Count,
    /// Lines known to be destroyed before they could be read (a copytruncate gap, say), where countable;
    /// otherwise bytes are logged.
    pub lost_bytes: Count,
}

/// One counter.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Counts `n` more.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Replaces the count (for gauges).
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// The count.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
