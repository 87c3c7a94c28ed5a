//! From records to Parquet: event → batch → encode → intent → put → commit.
//!
//! Each ETL thread owns some partitions: it reads, parses and encodes, without a lock, an await or an
//! allocation for a record. What leaves it are finished batches; a task for each partition uploads them and
//! moves the checkpoint.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use logpipe_api::pipeline::{Granularity, Parquet, Transform};
use tokio::runtime::Handle;

use crate::checkpoint::counted::Counted;
use crate::checkpoint::{Batch, CheckpointStore};
use crate::counters::Counters;
use crate::ended::SetOnPanic;
use crate::log::{Log, Offset};
use crate::store::Store;

pub mod batch;
pub mod budget;
mod column;
pub mod commit;
pub mod encode;
mod error;
mod listing;
mod metadata;
pub mod name;
pub mod parse;
pub mod partition;
pub mod plans;
pub mod receive;
mod recover;
pub mod row;
mod sample;
pub mod seen;
pub mod stage;
mod worker;

use budget::Budget;
pub use error::EtlError;
use listing::Listings;
use partition::Limits;
use plans::{Frozen, Plans};
use seen::Partitions;
use worker::Worker;

/// How long a thread waits for records before it looks at ages and signals again.
const POLL: Duration = Duration::from_millis(50);

/// How many partitions a topic of ours can grow to.
const MOST_PARTITIONS: u32 = 1024;

/// What the ETL workers of one process do.
#[derive(Clone, Debug)]
pub struct EtlOptions {
    /// Who takes the partitions over: unique for each start.
    pub owner: String,
    /// Threads that share the partitions.
    pub threads: u32,
    /// How a line becomes a row.
    pub transform: Transform,
    /// How fine the folders are.
    pub granularity: Granularity,
    /// How Parquet is written.
    pub parquet: Parquet,
    /// When a batch is cut.
    pub limits: Limits,
    /// Bytes that open and finished batches may hold together.
    pub memory: usize,
    /// Nobody but this pipeline trims the log, and only what is committed: so a partition that begins above 0
    /// has, or had, a checkpoint.
    pub owns_log: bool,
}

/// What the ETL shares with whoever started it.
#[derive(Debug)]
pub struct Control {
    drain: AtomicBool,
    stop: AtomicBool,
    failed: AtomicBool,
    committed: Vec<AtomicU64>,
    needed: Vec<AtomicU64>,
    done: Vec<AtomicU64>,
    seen: Partitions,
}

impl Control {
    /// For a log of so many partitions, with room for more to come.
    pub fn new(partitions: u32) -> Self {
        let offsets = || {
            let count = partitions.max(MOST_PARTITIONS);
            (0..count).map(|_| AtomicU64::new(0)).collect()
        };
        Self {
            drain: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            committed: offsets(),
            needed: offsets(),
            done: offsets(),
            seen: Partitions::default(),
        }
    }

    /// The partitions that this process has, for people.
    pub fn seen(&self) -> &Partitions {
        &self.seen
    }

    /// Read no more: commit what was read, and end. Others go on with the partitions.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    /// Nothing more will be written to the log: commit what it holds, and end.
    pub fn drain(&self) {
        self.drain.store(true, Ordering::Release);
    }

    /// The offset below which everything of a partition is committed.
    pub fn committed(&self, partition: u32) -> Offset {
        load(&self.committed, partition)
    }

    /// The offset below which nothing is left to be done: everything is committed, or holds no new line, as a
    /// fence does.
    pub fn done(&self, partition: u32) -> Offset {
        load(&self.done, partition).max(self.committed(partition))
    }

    /// The ETL has read up to `position`, and holds no row behind `start`.
    fn note_empty(&self, partition: u32, start: Offset, position: Offset) {
        if self.committed(partition) == start {
            store(&self.done, partition, position);
        }
    }

    /// The offset below which the ETL needs no record of a partition any more, not even to go on from the
    /// previous copy of its checkpoint; 0 until it is known.
    pub fn needed(&self, partition: u32) -> Offset {
        load(&self.needed, partition)
    }

    fn note_seen(&self, partition: &mut partition::Partition) {
        let number = partition.number();
        let oldest = partition.oldest(self.committed(number));
        self.seen.note_done(number, self.done(number), oldest);
    }

    fn note_committed(&self, partition: u32, next: Offset) {
        store(&self.committed, partition, next);
    }

    /// The previous copy of the checkpoint stands at the start of the batch that was committed last; its
    /// anchor is the record before.
    fn note_batch(&self, partition: u32, batch: &Batch) {
        store(&self.needed, partition, batch.start.saturating_sub(1));
        self.note_committed(partition, batch.end);
    }

    fn is_draining(&self) -> bool {
        self.drain.load(Ordering::Acquire)
    }

    fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }
}

/// These offsets are for display and for trimming the embedded log: a partition beyond what there is room for
/// does without.
fn load(offsets: &[AtomicU64], partition: u32) -> Offset {
    let offset = offsets.get(partition as usize);
    offset.map_or(0, |offset| offset.load(Ordering::Acquire))
}

fn store(offsets: &[AtomicU64], partition: u32, value: Offset) {
    if let Some(offset) = offsets.get(partition as usize) {
        offset.store(value, Ordering::Release);
    }
}

/// What the workers of one process share.
struct Shared<'a> {
    options: &'a EtlOptions,
    log: &'a dyn Log,
    checkpoints: Arc<dyn CheckpointStore>,
    store: Store,
    control: Arc<Control>,
    counters: Arc<Counters>,
    runtime: Handle,
    budget: Budget,
    plans: Plans,
    listings: Arc<Listings>,
}

/// What the ETL works with.
pub struct Parts<'a> {
    /// Where the records are.
    pub log: &'a dyn Log,
    /// How far each partition is.
    pub checkpoints: Arc<dyn CheckpointStore>,
    /// Where the files go.
    pub store: Store,
    /// Ends it, and tells how far it is.
    pub control: &'a Arc<Control>,
    /// What it counts.
    pub counters: &'a Arc<Counters>,
    /// Runs what waits for the stores.
    pub runtime: &'a Handle,
}

/// Runs the ETL for the partitions of the log that this process gets, until [`Control::drain`] and everything is
/// committed, or [`Control::stop`].
/// `on_plan` hears which plan is used, once it is known.
pub fn run(
    options: &EtlOptions,
    parts: Parts<'_>,
    on_plan: &dyn Fn(&Frozen),
) -> Result<(), EtlError> {
    let Parts {
        log,
        checkpoints,
        store,
        control,
        counters,
        runtime,
    } = parts;
    let checkpoints: Arc<dyn CheckpointStore> =
        Arc::new(Counted::new(checkpoints, counters.clone()));
    let store = store.counted_in(counters.clone());
    let Some(plans) = find_plan(options, log, &checkpoints, control, runtime)? else {
        return Ok(()); // Drained without a single line.
    };
    on_plan(plans.current());
    let shared = Shared {
        options,
        log,
        checkpoints,
        store,
        control: control.clone(),
        counters: counters.clone(),
        runtime: runtime.clone(),
        budget: Budget::new(options.memory),
        plans,
        listings: Arc::default(),
    };
    let partitions = log.identity().partitions;
    let threads = options.threads.clamp(1, partitions.max(1));
    std::thread::scope(|scope| {
        let mut workers = Vec::new();
        let mut first = Ok(());
        for thread in 0..threads {
            let shared = &shared;
            let spawned = std::thread::Builder::new()
                .name(format!("etl-{thread}"))
                .spawn_scoped(scope, move || run_thread(shared, thread, threads));
            match spawned {
                Ok(worker) => workers.push(worker),
                Err(error) => {
                    shared.control.failed.store(true, Ordering::Release);
                    first = Err(EtlError::Thread(error));
                    break;
                }
            }
        }
        for worker in workers {
            let result = worker.join();
            first = first.and(result.unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        first
    })
}

fn run_thread(shared: &Shared<'_>, thread: u32, threads: u32) -> Result<(), EtlError> {
    let _panicked = SetOnPanic(&shared.control.failed);
    let result = Worker::start(shared, thread, threads).and_then(Worker::run);
    if result.is_err() {
        // The others commit what they have read; then the error is reported.
        shared.control.failed.store(true, Ordering::Release);
    }
    result
}

/// The stored plan, or one made from the first lines; `None` when the log is drained without a line.
fn find_plan(
    options: &EtlOptions,
    log: &dyn Log,
    checkpoints: &Arc<dyn CheckpointStore>,
    control: &Control,
    runtime: &Handle,
) -> Result<Option<Plans>, EtlError> {
    let (transform, granularity) = (&options.transform, options.granularity);
    if let Some(plans) = runtime.block_on(plans::load(checkpoints, transform, granularity))? {
        return Ok(Some(plans));
    }
    let mut sample = sample::Sample::default();
    if parse::needs_sample(transform) {
        sample = sample::take(log, checkpoints, control, runtime)?;
        if sample.is_empty() {
            return Ok(None);
        }
    }
    let lines = sample.lines();
    let frozen = plans::freeze(
        checkpoints,
        transform,
        granularity,
        &lines,
        sample.read_at(),
    );
    Ok(Some(runtime.block_on(frozen)?))
}
