//! From records to Parquet: event → batch → encode → intent → put → commit.
//!
//! Each ETL thread owns some partitions: it reads, parses and encodes, without a lock, an await or an
//! allocation for a record. What leaves it are finished batches; a task for each partition uploads them and
//! moves the checkpoint.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use logpipe_api::pipeline::{Granularity, Parquet, Transform};
use parquet::errors::ParquetError;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::checkpoint::CheckpointStore;
use crate::counters::Counters;
use crate::log::{Log, LogError, Offset, Source};
use crate::store::Store;

pub mod batch;
pub mod budget;
mod column;
pub mod commit;
pub mod encode;
pub mod name;
pub mod parse;
pub mod partition;
pub mod plans;
pub mod receive;
mod recover;
pub mod row;
mod sample;
pub mod stage;

use budget::{Budget, Held};
use commit::{CommitError, Committer};
use encode::Layout;
use partition::{Limits, Partition, Queued, Receiver};
use plans::{Frozen, PlanError, Plans};
use stage::Stager;

/// How long a thread waits for records before it looks at ages and signals again.
const POLL: Duration = Duration::from_millis(50);

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
}

/// What the ETL shares with whoever started it.
#[derive(Debug)]
pub struct Control {
    drain: AtomicBool,
    failed: AtomicBool,
    committed: Vec<AtomicU64>,
}

impl Control {
    /// For a log of so many partitions.
    pub fn new(partitions: u32) -> Self {
        Self {
            drain: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            committed: (0..partitions).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Nothing more will be written to the log: commit what it holds, and end.
    pub fn drain(&self) {
        self.drain.store(true, Ordering::Release);
    }

    /// The offset below which everything of a partition is committed.
    pub fn committed(&self, partition: u32) -> Offset {
        self.committed[partition as usize].load(Ordering::Acquire)
    }

    fn is_draining(&self) -> bool {
        self.drain.load(Ordering::Acquire)
    }
}

/// Why the ETL stopped. Nothing is lost or doubled by any of these: the checkpoint stands where it stood.
#[derive(Debug, thiserror::Error)]
pub enum EtlError {
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The protocol could not go on.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// There is no plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The plan's parser cannot be compiled.
    #[error("the plan's parser cannot be used")]
    Parser(#[source] parse::ParseError),
    /// Parquet could not be encoded.
    #[error("failed to encode parquet")]
    Encode(#[source] ParquetError),
    /// The log ends before the checkpoint.
    #[error(
        "partition {partition}: the log ends at offset {end}, before the checkpoint's {next}. The log was \
         truncated or replaced by an older copy: bring the newer log back, or remove the checkpoints to \
         begin again in a new place"
    )]
    LogTruncated {
        /// The partition.
        partition: u32,
        /// The checkpoint's next offset.
        next: Offset,
        /// The log's end.
        end: Offset,
    },
    /// The log begins behind the checkpoint.
    #[error(
        "partition {partition}: data loss: the log begins at offset {start}, and offsets [{next}, {start}) \
         were never committed. Retention removed them too early; they cannot be read any more"
    )]
    DataLoss {
        /// The partition.
        partition: u32,
        /// The checkpoint's next offset.
        next: Offset,
        /// The log's start.
        start: Offset,
    },
    /// The last committed record is another one.
    #[error(
        "partition {partition}: the record at offset {offset} is not the one that was committed. The log was \
         made anew or written over: remove the checkpoints to begin again in a new place"
    )]
    AnchorDiffers {
        /// The partition.
        partition: u32,
        /// The anchor's offset.
        offset: Offset,
    },
    /// A pending batch does not come out as announced.
    #[error(
        "partition {partition}: the pending batch [{start}, {end}) does not come out as it was announced: \
         {what}. Run the release that announced it once more, so that it can finish"
    )]
    PendingDiffers {
        /// The partition.
        partition: u32,
        /// The first offset.
        start: Offset,
        /// One after the last.
        end: Offset,
        /// What differs.
        what: String,
    },
    /// The plan of a pending batch is not known.
    #[error(
        "partition {partition}: the pending batch [{start}, {end}) was announced under plan {plan}, which is \
         not stored any more. Restore the checkpoint `plan` from its previous copy"
    )]
    PlanMissing {
        /// The partition.
        partition: u32,
        /// The first offset.
        start: Offset,
        /// One after the last.
        end: Offset,
        /// The plan's hash.
        plan: String,
    },
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
}

/// Runs the ETL for every partition of `log`, until [`Control::drain`] and everything is committed.
/// `on_plan` hears which plan is used, once it is known.
#[allow(clippy::too_many_arguments)]
pub fn run(
    options: &EtlOptions,
    log: &dyn Log,
    checkpoints: Arc<dyn CheckpointStore>,
    store: Store,
    control: &Arc<Control>,
    counters: &Arc<Counters>,
    runtime: &Handle,
    on_plan: &dyn Fn(&Frozen),
) -> Result<(), EtlError> {
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
    };
    let partitions = log.identity().partitions;
    let threads = options.threads.clamp(1, partitions.max(1));
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|thread| {
                let mine: Vec<u32> = (0..partitions)
                    .filter(|partition| partition % threads == thread)
                    .collect();
                let shared = &shared;
                std::thread::Builder::new()
                    .name(format!("etl-{thread}"))
                    .spawn_scoped(scope, move || {
                        let result = Worker::start(shared, &mine).and_then(Worker::run);
                        if result.is_err() {
                            shared.control.failed.store(true, Ordering::Release);
                        }
                        result
                    })
                    .expect("the system can start a thread")
            })
            .collect();
        let mut first = Ok(());
        for worker in workers {
            let result = worker.join().expect("an ETL thread does not panic");
            if first.is_ok() {
                first = result;
            }
        }
        first
    })
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

/// One ETL thread.
struct Worker<'a> {
    shared: &'a Shared<'a>,
    source: Box<dyn Source>,
    stager: Stager,
    partitions: Vec<Partition>,
    committers: Vec<JoinHandle<Result<(), CommitError>>>,
    /// The open batches' share of the budget.
    open: Held,
    /// Where the log ended when the sources did, by partition of ours.
    ends: Option<Vec<Offset>>,
}

impl<'a> Worker<'a> {
    /// Takes the partitions over and finishes what is pending.
    fn start(shared: &'a Shared<'a>, numbers: &[u32]) -> Result<Self, EtlError> {
        let plan = &shared.plans.current().plan;
        let layout = Arc::new(Layout::new(plan.clone(), &shared.options.parquet));
        let mut worker = Self {
            shared,
            source: shared.log.source()?,
            stager: Stager::new(plan).map_err(EtlError::Parser)?,
            partitions: Vec::new(),
            committers: Vec::new(),
            open: shared.budget.hold(0),
            ends: None,
        };
        for &number in numbers {
            worker.start_partition(number, &layout)?;
        }
        Ok(worker)
    }

    fn start_partition(&mut self, number: u32, layout: &Arc<Layout>) -> Result<(), EtlError> {
        let shared = self.shared;
        let log = shared.log.identity();
        let begin = self.source.bounds(number)?.start;
        let committer = shared.runtime.block_on(Committer::take_over(
            shared.checkpoints.clone(),
            shared.store.clone(),
            &log,
            number,
            begin,
            &shared.options.owner,
        ))?;
        let checkpoint = committer.checkpoint().clone();
        recover::check_log(shared.log, &checkpoint)?;
        let committed = &shared.control.committed[number as usize];
        committed.store(checkpoint.next, Ordering::Release);

        // One batch in the committer's hands and one waiting: the next intent rides in the same swap.
        let (sender, receiver) = mpsc::channel(1);
        let (mut next, mut producers) = (checkpoint.next, checkpoint.producers.clone());
        let mut first = None;
        if let Some(pending) = &checkpoint.pending {
            let batch = self.rebuild(&checkpoint, pending)?;
            next = pending.end;
            producers.clone_from(&pending.producers_after);
            let held = shared.budget.hold(batch.bytes());
            first = Some(Queued {
                batch,
                announced: true,
                held,
            });
        }
        let control = shared.control.clone();
        let counters = shared.counters.clone();
        self.committers.push(shared.runtime.spawn(async move {
            let result = commit_all(committer, first, receiver, &control, &counters).await;
            if result.is_err() {
                control.failed.store(true, Ordering::Release);
            }
            result
        }));
        let receiver = Receiver {
            producers,
            begin: checkpoint.begin,
        };
        self.source.assign(number, next)?;
        let limits = shared.options.limits;
        self.partitions.push(Partition::new(
            number,
            log,
            layout.clone(),
            limits,
            receiver,
            next,
            sender,
        ));
        Ok(())
    }

    fn rebuild(
        &self,
        checkpoint: &crate::checkpoint::Checkpoint,
        pending: &crate::checkpoint::Batch,
    ) -> Result<batch::EncodedBatch, EtlError> {
        let plan = self
            .shared
            .plans
            .find(&pending.plan)
            .ok_or_else(|| EtlError::PlanMissing {
                partition: checkpoint.partition,
                start: pending.start,
                end: pending.end,
                plan: pending.plan.to_string(),
            })?;
        let layout = Arc::new(Layout::new(plan.clone(), &self.shared.options.parquet));
        recover::rebuild(self.shared.log, checkpoint, pending, layout)
    }

    fn run(mut self) -> Result<(), EtlError> {
        loop {
            if self.shared.control.failed.load(Ordering::Acquire) {
                return self.finish();
            }
            self.poll()?;
            let now = Instant::now();
            for partition in &mut self.partitions {
                partition
                    .cut_if_due(&self.shared.budget, now)
                    .map_err(EtlError::Encode)?;
            }
            self.keep_within_budget()?;
            if self.is_drained()? {
                return self.finish();
            }
            for partition in &mut self.partitions {
                if !partition.hand_over() {
                    return self.finish();
                }
                self.source.pause(partition.number(), partition.is_full());
            }
        }
    }

    fn poll(&mut self) -> Result<(), EtlError> {
        let Self {
            source,
            stager,
            partitions,
            shared,
            ..
        } = self;
        let mut result = Ok(());
        let mut now = None;
        source.poll(POLL, &mut |record| {
            if result.is_err() {
                return;
            }
            let now = *now.get_or_insert_with(Instant::now);
            let Some(partition) = partitions
                .iter_mut()
                .find(|p| p.number() == record.partition)
            else {
                return;
            };
            result = partition.accept(&record, stager, &shared.budget, &shared.counters, now);
        })?;
        result.map_err(EtlError::Encode)
    }

    /// Over the budget, the oldest open batch is cut, and reading waits until the committers have caught up.
    fn keep_within_budget(&mut self) -> Result<(), EtlError> {
        self.open
            .resize(self.partitions.iter().map(Partition::memory).sum());
        if !self.shared.budget.is_over() {
            return Ok(());
        }
        let oldest = self
            .partitions
            .iter_mut()
            .filter(|partition| partition.opened_at().is_some())
            .min_by_key(|partition| partition.opened_at());
        if let Some(partition) = oldest {
            partition
                .cut(&self.shared.budget)
                .map_err(EtlError::Encode)?;
        }
        self.open
            .resize(self.partitions.iter().map(Partition::memory).sum());
        for partition in &mut self.partitions {
            partition.hand_over();
        }
        let failed = &self.shared.control.failed;
        while self.shared.budget.is_over() && !failed.load(Ordering::Acquire) {
            if self
                .partitions
                .iter()
                .any(|partition| partition.opened_at().is_some())
            {
                break; // The next round cuts the next one.
            }
            std::thread::sleep(Duration::from_millis(5));
            for partition in &mut self.partitions {
                partition.hand_over();
            }
        }
        Ok(())
    }

    /// Whether the sources are done and everything they wrote is read; then the open batches are cut.
    fn is_drained(&mut self) -> Result<bool, EtlError> {
        if !self.shared.control.is_draining() {
            return Ok(false);
        }
        let ends = match &self.ends {
            Some(ends) => ends,
            None => {
                let mut ends = Vec::with_capacity(self.partitions.len());
                for partition in &self.partitions {
                    ends.push(self.source.bounds(partition.number())?.end);
                }
                self.ends.insert(ends)
            }
        };
        if self
            .partitions
            .iter()
            .zip(ends)
            .any(|(partition, end)| partition.position() < *end)
        {
            return Ok(false);
        }
        for partition in &mut self.partitions {
            partition
                .cut(&self.shared.budget)
                .map_err(EtlError::Encode)?;
        }
        Ok(true)
    }

    /// Hands over what is ready, waits until it is committed, and says what went wrong first.
    fn finish(mut self) -> Result<(), EtlError> {
        let failed = &self.shared.control.failed;
        while self.partitions.iter().any(Partition::is_full) && !failed.load(Ordering::Acquire) {
            for partition in &mut self.partitions {
                partition.hand_over();
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        drop(self.partitions); // Closes the channels: the committers end behind their last batch.
        let mut first = Ok(());
        for committer in self.committers {
            let result = self
                .shared
                .runtime
                .block_on(committer)
                .expect("a committer does not panic");
            if first.is_ok() {
                first = result.map_err(EtlError::from);
            }
        }
        first
    }
}

/// Commits batches in order until the channel is closed.
async fn commit_all(
    mut committer: Committer,
    first: Option<Queued>,
    mut batches: mpsc::Receiver<Queued>,
    control: &Control,
    counters: &Counters,
) -> Result<(), CommitError> {
    let mut next = first;
    loop {
        let Some(queued) = (match next.take() {
            Some(queued) => Some(queued),
            None => batches.recv().await,
        }) else {
            return Ok(());
        };
        if !queued.announced {
            committer.announce(&queued.batch).await?;
        }
        committer.put(&queued.batch).await?;
        if let Ok(mut following) = batches.try_recv() {
            committer.commit(Some(&following.batch)).await?;
            following.announced = true;
            next = Some(following);
        } else {
            committer.commit(None).await?;
        }
        count(&queued.batch, counters);
        let end = queued.batch.batch.end;
        control.committed[committer.checkpoint().partition as usize].store(end, Ordering::Release);
    }
}

fn count(batch: &batch::EncodedBatch, counters: &Counters) {
    for (file, object) in batch.batch.files.iter().zip(&batch.objects) {
        if file.dead {
            &counters.dead
        } else {
            &counters.rows
        }
        .add(file.rows);
        counters.files.add(1);
        counters.file_bytes.add(object.file.bytes.len() as u64);
    }
}
