//! What the roles count, for the live display and for metrics. Counting never decides anything.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus::{Histogram, HistogramOpts};

use crate::etl::row::RejectReason;

/// Counters that all roles of one process share.
#[derive(Debug, Default)]
pub struct Counters {
    /// Lines the generator wrote.
    pub generated: Count,
    /// Lines that it had written in the runs before.
    pub generated_before: Count,
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
    /// How often a producer began anew because the log had failed.
    pub log_failures: Count,
    /// How often a producer's state could not be saved.
    pub save_failures: Count,
    /// What the producer's lanes have sent and not saved.
    pub unsaved: Unsaved,
    /// Records whose lines were not the next ones of their producer, and not old ones either.
    pub gaps: Count,
    /// Lines that became rows of the quarantine, committed or not, by [`RejectReason`].
    pub rejected: [Count; RejectReason::ALL.len()],
    /// How often partitions came or went.
    pub rebalances: Count,
    /// From taking a batch up to its commit.
    pub batches: Timing,
    /// One object, with every attempt.
    pub puts: Timing,
    /// Requests to the sink that failed, tried again or not.
    pub sink_failures: Count,
    /// Compare-and-swaps of checkpoints.
    pub swaps: Timing,
    /// Those that found another value.
    pub swap_conflicts: Count,
    /// Those that failed.
    pub swap_failures: Count,
}

/// How long something took. One observation is for a batch or a request, never for a line.
#[derive(Debug)]
pub struct Timing(Histogram);

impl Default for Timing {
    fn default() -> Self {
        // 5 ms to 80 s. The name is given where it is told.
        let buckets = prometheus::exponential_buckets(0.005, 2.0, 15);
        let options =
            HistogramOpts::new("t", "t").buckets(buckets.expect("they grow from above 0"));
        Self(Histogram::with_opts(options).expect("name and buckets are valid"))
    }
}

impl Timing {
    /// Counts what began at `start` and is over now.
    pub fn since(&self, start: Instant) {
        self.0.observe(start.elapsed().as_secs_f64());
    }

    /// Everything that was counted.
    pub fn histogram(&self) -> &Histogram {
        &self.0
    }
}

/// Since when each lane of a producer has something that is not saved.
#[derive(Debug, Default)]
pub struct Unsaved(Mutex<BTreeMap<u32, Instant>>);

impl Unsaved {
    /// Says of a lane whether it has.
    pub fn note(&self, lane: u32, unsaved: bool) {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if unsaved {
            since.entry(lane).or_insert_with(Instant::now);
        } else {
            since.remove(&lane);
        }
    }

    /// The age of the oldest; zero when all is saved.
    pub fn age(&self) -> Duration {
        let since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since
            .values()
            .map(Instant::elapsed)
            .max()
            .unwrap_or_default()
    }
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
