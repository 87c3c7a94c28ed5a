//! One ETL thread: it reads, parses and encodes the partitions it owns, and a task for each of them commits
//! what it hands over. Touches the log, and the stores through its committers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::batch::EncodedBatch;
use super::budget::Held;
use super::commit::{CommitError, Committer};
use super::encode::Layout;
use super::partition::{Partition, Queued, Receiver};
use super::stage::Stager;
use super::{Control, EtlError, POLL, Shared, recover};
use crate::checkpoint::{Batch, Checkpoint};
use crate::counters::Counters;
use crate::log::{Offset, Source};

/// One ETL thread.
pub(super) struct Worker<'a> {
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
    pub(super) fn start(shared: &'a Shared<'a>, numbers: &[u32]) -> Result<Self, EtlError> {
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
        let mut committers = Vec::with_capacity(numbers.len());
        for &number in numbers {
            committers.push(worker.take_over(number)?);
        }
        // Behind every take-over: whoever had these partitions before can announce nothing any more.
        let store = &shared.store;
        let newest = shared
            .runtime
            .block_on(store.newest(&shared.log.identity()));
        let newest = newest.map_err(|source| EtlError::List {
            place: store.place().to_owned(),
            source,
        })?;
        for committer in committers {
            let partition = committer.checkpoint().partition;
            recover::check_names(committer.checkpoint(), newest.get(&partition))?;
            worker.start_partition(committer, &layout)?;
        }
        Ok(worker)
    }

    fn take_over(&mut self, number: u32) -> Result<Committer, EtlError> {
        let shared = self.shared;
        let begin = self.source.bounds(number)?.start;
        let committer = shared.runtime.block_on(Committer::take_over(
            shared.checkpoints.clone(),
            shared.store.clone(),
            &shared.log.identity(),
            number,
            begin,
            &shared.options.owner,
        ))?;
        let checkpoint = committer.checkpoint();
        if shared.options.owns_log && checkpoint.anchor.is_none() && checkpoint.begin > 0 {
            return Err(EtlError::CheckpointMissing {
                partition: number,
                start: begin,
            });
        }
        Ok(committer)
    }

    fn start_partition(
        &mut self,
        committer: Committer,
        layout: &Arc<Layout>,
    ) -> Result<(), EtlError> {
        let shared = self.shared;
        let log = shared.log.identity();
        let checkpoint = committer.checkpoint().clone();
        let number = checkpoint.partition;
        recover::check_log(shared.log, &checkpoint)?;
        shared.control.note_committed(number, checkpoint.next);

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

    fn rebuild(&self, checkpoint: &Checkpoint, pending: &Batch) -> Result<EncodedBatch, EtlError> {
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

    pub(super) fn run(mut self) -> Result<(), EtlError> {
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
                if let Some(empty) = partition.empty_range() {
                    let control = &self.shared.control;
                    control.note_empty(partition.number(), empty.start, empty.end);
                }
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
        let ends = if let Some(ends) = &self.ends {
            ends
        } else {
            let mut ends = Vec::with_capacity(self.partitions.len());
            for partition in &self.partitions {
                ends.push(self.source.bounds(partition.number())?.end);
            }
            self.ends.insert(ends)
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
        control.note_batch(committer.checkpoint().partition, &queued.batch.batch);
    }
}

fn count(batch: &EncodedBatch, counters: &Counters) {
    for (file, object) in batch.batch.files.iter().zip(&batch.objects) {
        if file.dead {
            &counters.dead
        } else {
            &counters.rows
        }
        .add(file.rows);
        counters.files.add(1);
        counters
            .file_bytes
            .add(object.file.payload.content_length() as u64);
    }
}
