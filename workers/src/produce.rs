//! The file producer: follows files and writes their lines into the log, each exactly once, across
//! restarts, rotations and failures of the log.
//!
//! It has one lane a partition, each a thread with a sequence and a state file of its own; a file belongs
//! to one lane. One more thread looks for files. What was read is known from the log itself: after a start
//! a lane writes a *fence*, which keeps the records of earlier starts out that land late, and reads the
//! partition up to it; the state file only makes that short. It may touch the disk (the files, read only
//! except for `delete_finished`, and the state folder) and the log's traits.

use std::io;
use std::ops::AddAssign;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use logpipe_api::pipeline::{Framing, StartAt};

use crate::counters::Counters;
use crate::ended::SetOnPanic;
use crate::log::{Log, LogError, Offset};
use crate::tail::discover::DiscoverError;
use crate::tail::identity::boot_id;
use crate::tail::{Note, Order};

mod coordinator;
mod followed;
mod lane;
mod outbox;
mod recover;
mod starts;
pub mod state;
mod turns;

use coordinator::Coordinator;
use lane::{Lane, Shared};
use state::StateError;
use turns::Turns;

/// What a producer follows, and how.
#[derive(Clone, Debug)]
pub struct ProducerOptions {
    /// The producer's name; lane `i` writes under the producer key `<name>-<i>`. It must be unique in the
    /// log and never change.
    pub name: String,
    /// Paths and globs. Each stands for the file and its rotated siblings (`app.log.1`, …).
    pub paths: Vec<String>,
    /// Where to begin in files that are there at the very first start.
    pub start_at: StartAt,
    /// How many lines a record holds.
    pub framing: Framing,
    /// How long complete lines may wait for more to fill their block.
    pub linger: Duration,
    /// How often the state is saved while lines flow.
    pub save_every: Duration,
    /// The folder of the state files.
    pub state_dir: PathBuf,
    /// Removes rotated files when all their lines are durable and that is saved. For a writer of our own
    /// that closes a file before it renames it; the files that the paths name are never removed.
    pub delete_finished: bool,
}

/// How the parts of a process tell a producer to stop, and learn what it needs no more.
#[derive(Debug, Default)]
pub struct Control {
    stop: AtomicBool,
    finish: AtomicBool,
    saved: Mutex<Vec<Offset>>,
    asleep: Mutex<()>,
    changed: Condvar,
}

impl Control {
    /// Nothing is to be stopped yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Stop reading now; flush, save, and return.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.wake();
    }

    /// When every file is read to its end, a partial last line included, flush, save, and return.
    pub fn finish_at_end(&self) {
        self.finish.store(true, Ordering::Release);
    }

    /// With the lock, so that nobody who is about to wait misses it.
    fn wake(&self) {
        let asleep = self.asleep.lock().unwrap_or_else(PoisonError::into_inner);
        self.changed.notify_all();
        drop(asleep);
    }

    /// The offset below which a lane needs no record of its partition any more; 0 until it is known.
    /// What it needs includes what the previous copy of its state file would need.
    pub fn saved(&self, lane: u32) -> Offset {
        let saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner);
        saved.get(lane as usize).copied().unwrap_or(0)
    }

    fn set_saved(&self, lane: u32, offset: Offset) {
        let mut saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner);
        let lane = lane as usize;
        if saved.len() <= lane {
            saved.resize(lane + 1, 0);
        }
        saved[lane] = offset;
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn is_finishing(&self) -> bool {
        self.finish.load(Ordering::Acquire)
    }

    /// Waits so long, or until the producer is to stop.
    fn wait(&self, time: Duration) {
        let asleep = self.asleep.lock().unwrap_or_else(PoisonError::into_inner);
        let woken = self
            .changed
            .wait_timeout_while(asleep, time, |()| !self.is_stopped());
        drop(woken);
    }
}

/// What a producer did, or one of its lanes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Lines that became durable.
    pub lines: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes that were seen and destroyed before they could be read.
    pub lost_bytes: u64,
}

impl AddAssign for Summary {
    fn add_assign(&mut self, other: Self) {
        self.lines += other.lines;
        self.bytes += other.bytes;
        self.lost_bytes += other.lost_bytes;
    }
}

/// Why a producer had to stop.
#[derive(Debug, thiserror::Error)]
pub enum ProduceError {
    /// The files cannot be looked for.
    #[error(transparent)]
    Discover(#[from] DiscoverError),
    /// There is nothing to read.
    #[error("path {path:?} leads to no file: correct it, or leave it out")]
    Missing {
        /// The path or glob.
        path: String,
    },
    /// A file failed while it was read.
    #[error(
        "failed to read {path}: once it can be read again, start again, and it goes on where it was"
    )]
    File {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A compressed file cannot be unpacked, although it can be read.
    #[error(
        "failed to unpack {path} into the state folder {folder}, to read what is left of a file: make room there and start again, and it goes on where it was"
    )]
    Unpack {
        /// The compressed file.
        path: String,
        /// The state folder.
        folder: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The state cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The log failed.
    #[error("failed to write to the log")]
    Log(#[from] LogError),
    /// The state was saved with another log, or the log has lost its end.
    #[error(
        "producer {producer}: state file {state} was saved with another log than {topic} as it is now (partition {partition}): the log was made anew, or has lost its last records. Bring the log back, or begin anew in a new place, with a prefix and a data folder of its own"
    )]
    OtherLog {
        /// The producer key.
        producer: String,
        /// The state file.
        state: String,
        /// The log.
        topic: String,
        /// The partition.
        partition: u32,
    },
    /// The state is older than what the log still holds.
    #[error(
        "producer {producer}: the log's partition {partition} begins at offset {start}, but the state file needs the records from {needed} on to know what was sent since it was saved: put back a newer state file, or begin anew in a new place, with a prefix and a data folder of its own"
    )]
    RecordsGone {
        /// The producer key.
        producer: String,
        /// The partition.
        partition: u32,
        /// Where the scan has to begin.
        needed: Offset,
        /// The first offset there is.
        start: Offset,
    },
    /// There is no state, and the log does not go back far enough to stand in for it.
    #[error(
        "producer {producer}: there is no state file {state}, and partition {partition} of log {topic} has lost its records below offset {start}, so nobody can tell which lines are in the log already: put back the state file, or take another producer name to begin anew (lines that were sent already are then sent again). If nothing was ever sent to this log under this name, say so with an empty file {begin}, and start again"
    )]
    StateGone {
        /// The producer key.
        producer: String,
        /// The missing file.
        state: String,
        /// The log.
        topic: String,
        /// The partition.
        partition: u32,
        /// The first offset there is.
        start: Offset,
        /// The file by which a first start is allowed.
        begin: String,
    },
    /// Nothing is higher than the generation that the log holds; no producer of ours comes that far.
    #[error(
        "producer {producer}: a record in partition {partition} has the highest generation there is, so no fence can outrank it: find out who else writes to the log, and take another producer name to begin anew (lines that were sent already are then sent again)"
    )]
    GenerationsUsedUp {
        /// The producer key.
        producer: String,
        /// The partition.
        partition: u32,
    },
    /// The operating system gave no random number.
    #[error("failed to draw a random number, by which a start knows its own fence")]
    Random(#[source] getrandom::Error),
    /// The log does not hand out what was written to it.
    #[error(
        "producer {producer}: partition {partition} holds records up to offset {end}, but none came for a minute after offset {next}: check the log"
    )]
    FenceNotFound {
        /// The producer key.
        producer: String,
        /// The partition.
        partition: u32,
        /// The next offset to read.
        next: Offset,
        /// One after the last offset.
        end: Offset,
    },
    /// The operating system gave no thread.
    #[error("failed to start a thread")]
    Thread(#[source] io::Error),
}

impl ProduceError {
    /// Whether beginning anew from what the log holds may help.
    fn may_pass_at_once(&self) -> bool {
        matches!(
            self,
            Self::Log(LogError::Failed { .. }) | Self::FenceNotFound { .. }
        )
    }

    /// Whether starting again may help, without a person who mends something first.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Log(error) => error.may_pass(),
            Self::FenceNotFound { .. }
            | Self::File { .. }
            | Self::Discover(_)
            | Self::Random(_)
            | Self::Thread(_) => true,
            _ => false,
        }
    }
}

/// What is not for users to choose; tests do.
#[derive(Clone, Copy, Debug)]
struct Tuning {
    /// How long a file that was rotated away must be quiet before its partial last line is a line: its
    /// writer may not have opened the new one yet.
    grace: Duration,
    /// How often files are looked for, and a quiet one is read at the latest.
    look_every: Duration,
    /// How often a lane that has nothing to save sees whether others write its partition: the place that it
    /// saved must not fall behind what the log keeps.
    catch_up_every: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(5),
            look_every: Duration::from_millis(500),
            catch_up_every: Duration::from_mins(10),
        }
    }
}

/// Microseconds since 1970.
fn now_micros() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_micros() as i64)
}

/// Follows files until `control` says to stop or everything is finished, with one thread a partition.
pub fn run(
    options: &ProducerOptions,
    log: &dyn Log,
    control: &Control,
    counters: &Counters,
) -> Result<Summary, ProduceError> {
    let turns = Turns::default();
    let boot_id = boot_id();
    let shared = Shared {
        options,
        tuning: Tuning::default(),
        boot_id: boot_id.as_deref(),
        log,
        control,
        counters,
        turns: &turns,
    };
    thread::scope(|scope| {
        let (note, notes) = channel();
        let mut threads = Vec::new();
        let mut orders = Vec::new();
        for index in 0..log.identity().partitions {
            let (order, received) = channel();
            let note = note.clone();
            orders.push(order);
            let thread = thread::Builder::new()
                .name(format!("{}-{index}", options.name))
                .spawn_scoped(scope, move || run_lane(shared, index, received, note));
            match thread {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    control.stop();
                    return Err(ProduceError::Thread(error));
                }
            }
        }
        drop(note);
        let topic_id = log.identity().topic_id;
        let mut coordinator = Coordinator::new(
            options,
            shared.tuning,
            control,
            counters,
            orders,
            notes,
            topic_id,
        );
        let coordinated = coordinate(&mut coordinator, control, &threads);
        if coordinated.is_err() {
            control.stop();
        }
        let summary = join(threads);
        coordinated.and(summary)
    })
}

fn run_lane(
    shared: Shared<'_>,
    index: u32,
    orders: Receiver<Order>,
    notes: Sender<Note>,
) -> Result<Summary, ProduceError> {
    let _panicked = SetOnPanic(&shared.control.stop);
    let done = match Lane::start(shared, index, orders, notes) {
        Ok(Some(lane)) => lane.run(),
        // It was told to stop before it had its partition.
        Ok(None) => Ok(Summary::default()),
        Err(error) => Err(error),
    };
    if done.is_err() {
        // The other lanes flush and save; then the error is reported.
        shared.control.stop();
    }
    done
}

fn coordinate(
    coordinator: &mut Coordinator<'_>,
    control: &Control,
    threads: &[ScopedJoinHandle<'_, Result<Summary, ProduceError>>],
) -> Result<(), ProduceError> {
    const LONGEST: Duration = Duration::from_millis(50);
    while !control.is_stopped() && !threads.iter().any(ScopedJoinHandle::is_finished) {
        if coordinator.step()? {
            break;
        }
        coordinator.wait(LONGEST);
    }
    Ok(())
}

fn join(
    threads: Vec<ScopedJoinHandle<'_, Result<Summary, ProduceError>>>,
) -> Result<Summary, ProduceError> {
    let mut summary = Summary::default();
    let mut failed = None;
    for thread in threads {
        match thread.join() {
            Ok(Ok(of_lane)) => summary += of_lane,
            Ok(Err(error)) => failed = failed.or(Some(error)),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
    failed.map_or(Ok(summary), Err)
}

#[cfg(test)]
mod tests;
