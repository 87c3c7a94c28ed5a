//! One ETL thread: it reads, parses and encodes the partitions it has, and a task for each of them commits what
//! it hands over. Partitions come and go where others share the topic. Touches the log, and the stores through
//! its committers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::batch::EncodedBatch;
use super::budget::Held;
use super::commit::{CommitError, Committer};
use super::encode::Layout;
use super::partition::{Partition, Queued, Work};
use super::stage::Stager;
use super::{Control, EtlError, POLL, Shared, plans, recover};
use crate::checkpoint::{Batch, Checkpoint, Seen};
use crate::counters::Counters;
use crate::log::{LogError, Member, Offset, Source};

mod group;

/// One ETL thread.
pub(super) struct Worker<'a> {
    shared: &'a Shared<'a>,
    layout: Arc<Layout>,
    member: Box<dyn Member>,
    stager: Stager,
    active: Vec<Active>,
    /// Partitions that were revoked; they are given back together.
    revoked: Vec<u32>,
    /// Committers of revoked partitions, with their last batches.
    leaving: Vec<(u32, JoinHandle<Committed>)>,
    /// Committers of partitions that were lost: they go on until they are done or fenced.
    orphans: Vec<JoinHandle<Committed>>,
    /// Partitions that another worker has taken, though the group has not taken them from us yet.
    fenced: Vec<(u32, Instant)>,
    /// The open batches' share of the budget.
    open: Held,
    /// Where the log ended when the sources did, by partition of ours.
    ends: Option<Vec<(u32, Offset)>>,
    /// Whether the topic must be asked for its identity before anything is handed over.
    unsure: bool,
}

type Committed = Result<(), CommitError>;

/// A partition, and the task that commits its batches.
struct Active {
    partition: Partition,
    committer: JoinHandle<Committed>,
    /// What the group was told to be committed.
    told: Offset,
}

impl<'a> Worker<'a> {
    /// A worker without a partition: [`run`](Self::run) takes them over as they are assigned.
    pub(super) fn start(
        shared: &'a Shared<'a>,
        thread: u32,
        threads: u32,
    ) -> Result<Self, EtlError> {
        let frozen = shared.plans.current();
        Ok(Self {
            shared,
            layout: Arc::new(Layout::new(frozen, &shared.options.parquet)),
            member: shared.log.member(thread, threads)?,
            stager: Stager::new(&frozen.plan).map_err(EtlError::Parser)?,
            active: Vec::new(),
            revoked: Vec::new(),
            leaving: Vec::new(),
            orphans: Vec::new(),
            fenced: Vec::new(),
            open: shared.budget.hold(0),
            ends: None,
            unsure: false,
        })
    }

    /// Takes partitions over and finishes what is pending in them.
    fn take_over_all(&mut self, numbers: &[u32]) -> Result<(), EtlError> {
        let shared = self.shared;
        // A reader of its own: the member's is the group's.
        let mut reader = shared.log.source()?;
        let mut committers = Vec::with_capacity(numbers.len());
        for &number in numbers {
            committers.push(self.take_over(reader.as_mut(), number)?);
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
        let mut checkpoints = Vec::with_capacity(numbers.len());
        for checkpoint in committers.iter().map(Committer::checkpoint) {
            recover::check_names(checkpoint, newest.get(&checkpoint.partition))?;
            checkpoints.push(checkpoint);
        }
        recover::check_log(reader.as_mut(), &checkpoints)?;
        let mut starts = Vec::with_capacity(numbers.len());
        for committer in committers {
            starts.push(self.start_partition(reader.as_mut(), committer)?);
        }
        self.member.accept(&starts)?;
        Ok(())
    }

    fn take_over(&self, reader: &mut dyn Source, number: u32) -> Result<Committer, EtlError> {
        let shared = self.shared;
        let begin = reader.bounds(number)?.start;
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

    /// Returns the partition and where it goes on.
    fn start_partition(
        &mut self,
        reader: &mut dyn Source,
        committer: Committer,
    ) -> Result<(u32, Offset), EtlError> {
        let shared = self.shared;
        let log = shared.log.identity();
        let checkpoint = committer.checkpoint().clone();
        let number = checkpoint.partition;
        shared.control.note_committed(number, checkpoint.next);
        shared.control.seen.came(number, checkpoint.next);

        // One batch in the committer's hands and one waiting: the next intent rides in the same swap.
        let (sender, receiver) = mpsc::channel(1);
        let mut first = None;
        if let Some(pending) = &checkpoint.pending {
            let batch = self.rebuild(reader, &checkpoint, pending)?;
            let held = shared.budget.hold(batch.bytes());
            first = Some(Queued {
                batch,
                announced: true,
                held,
            });
        }
        let control = shared.control.clone();
        let counters = shared.counters.clone();
        let is_shared = self.member.is_shared();
        let committer = shared.runtime.spawn(async move {
            let result = commit_all(committer, first, receiver, &control, &counters).await;
            let taken = is_shared && matches!(result, Err(CommitError::Fenced { .. }));
            if result.is_err() && !taken {
                control.failed.store(true, Ordering::Release);
            }
            result
        });
        let limits = shared.options.limits;
        let partition = Partition::new(checkpoint, log, self.layout.clone(), limits, sender);
        let next = partition.next();
        self.active.push(Active {
            partition,
            committer,
            told: 0,
        });
        Ok((number, next))
    }

    fn rebuild(
        &self,
        reader: &mut dyn Source,
        checkpoint: &Checkpoint,
        pending: &Batch,
    ) -> Result<EncodedBatch, EtlError> {
        let shared = self.shared;
        let plan = match shared.plans.find(&pending.plan) {
            Some(plan) => Some(plan.clone()),
            None => shared
                .runtime
                .block_on(plans::find_stored(&shared.checkpoints, &pending.plan))?,
        };
        let plan = plan.ok_or_else(|| EtlError::PlanMissing {
            partition: checkpoint.partition,
            start: pending.start,
            end: pending.end,
            plan: pending.plan.to_string(),
        })?;
        let layout = Arc::new(Layout::new(&plan, &shared.options.parquet));
        let log = shared.log.identity();
        recover::rebuild(reader, &log, checkpoint, pending, layout)
    }

    /// Reads and commits until everything is drained, or told to stop.
    pub(super) fn run(mut self) -> Result<(), EtlError> {
        loop {
            if self.shared.control.failed.load(Ordering::Acquire) {
                return self.finish();
            }
            self.follow_group()?;
            self.poll()?;
            let now = Instant::now();
            for active in &mut self.active {
                let partition = &mut active.partition;
                partition
                    .cut_if_due(&self.shared.budget, now)
                    .map_err(EtlError::Encode)?;
                let position = self.member.source().position(partition.number());
                partition.note_rowless(position, self.shared.options.limits.idle, now);
            }
            self.keep_within_budget()?;
            if self.shared.control.is_stopping() || self.is_drained()? {
                self.cut_all()?;
                return self.finish();
            }
            if !self.hand_over()? {
                return self.finish();
            }
            self.let_go()?;
        }
    }

    /// Hands finished batches to their committers. `false` when one of them has failed.
    fn hand_over(&mut self) -> Result<bool, EtlError> {
        if !self.is_same_topic()? {
            return Ok(true); // The batches wait, and with them their partitions.
        }
        // In a group nothing may keep us from polling, so that the group hears from us: reading stops instead.
        let over = self.member.is_shared() && self.shared.budget.is_over();
        let mut at = 0;
        while at < self.active.len() {
            let active = &mut self.active[at];
            if active.committer.is_finished() || !active.partition.hand_over() {
                let active = self.active.swap_remove(at);
                if !self.is_taken(active)? {
                    return Ok(false);
                }
                continue;
            }
            let partition = &mut active.partition;
            let number = partition.number();
            let source = self.member.source();
            let waits = over || partition.is_full() || self.revoked.contains(&number);
            source.pause(number, waits);
            if let Some(empty) = partition.empty_range() {
                let control = &self.shared.control;
                control.note_empty(number, empty.start, empty.end);
            }
            self.shared.control.note_seen(partition);
            at += 1;
        }
        Ok(true)
    }

    /// Whether the records of every finished batch are of the topic that the checkpoints name: asked once for
    /// each, behind its last record.
    fn is_same_topic(&mut self) -> Result<bool, EtlError> {
        for active in &mut self.active {
            self.unsure |= active.partition.take_fresh();
        }
        if !self.unsure {
            return Ok(true);
        }
        match self.shared.log.check_identity() {
            Ok(()) => {
                self.unsure = false;
                Ok(true)
            }
            Err(error @ LogError::Failed { .. }) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "cannot ask for the topic's identity, trying again");
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn cut_all(&mut self) -> Result<(), EtlError> {
        for active in &mut self.active {
            let position = self.member.source().position(active.partition.number());
            finish_reading(&mut active.partition, position, self.shared)?;
        }
        Ok(())
    }

    fn poll(&mut self) -> Result<(), EtlError> {
        let Self {
            member,
            stager,
            active,
            shared,
            ..
        } = self;
        let mut result = Ok(());
        let mut now = None;
        member.source().poll(POLL, &mut |record| {
            if result.is_err() {
                return;
            }
            let now = *now.get_or_insert_with(Instant::now);
            let Some(active) = active
                .iter_mut()
                .find(|active| active.partition.number() == record.partition)
            else {
                return;
            };
            let partition = &mut active.partition;
            result = partition.accept(&record, stager, &shared.budget, &shared.counters, now);
        })?;
        result.map_err(EtlError::Encode)
    }

    /// Over the budget, the oldest open batch is cut, and reading waits until the committers have caught up.
    fn keep_within_budget(&mut self) -> Result<(), EtlError> {
        self.open.resize(self.memory());
        if !self.shared.budget.is_over() {
            return Ok(());
        }
        let open = self.active.iter_mut().map(|active| &mut active.partition);
        let oldest = open
            .filter(|partition| partition.opened_at().is_some())
            .min_by_key(|partition| partition.opened_at());
        if let Some(partition) = oldest {
            partition
                .cut(&self.shared.budget)
                .map_err(EtlError::Encode)?;
        }
        self.open.resize(self.memory());
        let failed = &self.shared.control.failed;
        while self.shared.budget.is_over() && !failed.load(Ordering::Acquire) {
            if !self.hand_over()? {
                break;
            }
            let mut partitions = self.active.iter().map(|active| &active.partition);
            if partitions.any(|partition| partition.opened_at().is_some()) {
                break; // The next round cuts the next one.
            }
            if self.member.is_shared() {
                break; // Every partition is paused until there is room.
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn memory(&self) -> usize {
        let open = self.active.iter().map(|active| active.partition.memory());
        open.sum()
    }

    /// Whether the sources are done and everything they wrote is read.
    fn is_drained(&mut self) -> Result<bool, EtlError> {
        if !self.shared.control.is_draining() {
            return Ok(false);
        }
        let source = self.member.source();
        if self.ends.is_none() {
            let mut ends = Vec::with_capacity(self.active.len());
            for active in &self.active {
                let number = active.partition.number();
                ends.push((number, source.bounds(number)?.end));
            }
            self.ends = Some(ends);
        }
        let mut ends = self.ends.iter().flatten();
        Ok(ends.all(|&(number, end)| source.position(number) >= end))
    }

    /// Hands over what is ready, waits until it is committed, and says what went wrong first.
    fn finish(mut self) -> Result<(), EtlError> {
        let failed = &self.shared.control.failed;
        while self.active.iter().any(|a| a.partition.is_full()) && !failed.load(Ordering::Acquire) {
            if !self.hand_over()? {
                break;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let mut committers = std::mem::take(&mut self.leaving);
        for active in std::mem::take(&mut self.active) {
            // Closes the channel: the committer ends behind its last batch.
            committers.push((active.partition.number(), active.committer));
        }
        let mut first = Ok(());
        for (number, committer) in committers {
            let result = self.join(committer);
            self.tell(number);
            first = first.and(result);
        }
        for orphan in std::mem::take(&mut self.orphans) {
            first = first.and(self.join(orphan));
        }
        first
    }

    /// Waits for a committer. In a group, that another worker has the partition by now is no failure.
    fn join(&self, committer: JoinHandle<Committed>) -> Result<(), EtlError> {
        let joined = self.shared.runtime.block_on(committer);
        match joined.expect("a committer does not panic") {
            Err(CommitError::Fenced { partition, owner }) if self.member.is_shared() => {
                tracing::info!(partition, owner, "another worker took the partition over");
                Ok(())
            }
            result => result.map_err(EtlError::from),
        }
    }
}

/// Makes everything that was read ready for the committer.
fn finish_reading(
    partition: &mut Partition,
    position: Offset,
    shared: &Shared<'_>,
) -> Result<(), EtlError> {
    partition.cut(&shared.budget).map_err(EtlError::Encode)?;
    partition.note_rowless(position, Duration::ZERO, Instant::now());
    Ok(())
}

/// Commits batches in order until the channel is closed.
async fn commit_all(
    mut committer: Committer,
    first: Option<Queued>,
    mut works: mpsc::Receiver<Work>,
    control: &Control,
    counters: &Counters,
) -> Result<(), CommitError> {
    let mut next = first.map(Work::Batch);
    loop {
        let work = match next.take() {
            Some(work) => Some(work),
            None => works.recv().await,
        };
        let queued = match work {
            None => return Ok(()),
            Some(Work::Empty(empty)) => {
                committer.note_empty(empty).await?;
                continue;
            }
            Some(Work::Batch(queued)) => queued,
        };
        let start = Instant::now();
        let partition = committer.checkpoint().partition;
        if !queued.announced {
            committer.announce(&queued.batch).await?;
        }
        committer.put(&queued.batch).await?;
        let seen = Seen {
            at: Timestamp::now().as_millisecond(),
            end: control.seen.end(partition),
        };
        next = works.try_recv().ok();
        let following = match &mut next {
            Some(Work::Batch(following)) => {
                following.announced = true;
                Some(&following.batch)
            }
            _ => None,
        };
        committer.commit(following, Some(seen)).await?;
        counters.batches.since(start);
        control.seen.note_commit(partition, seen.at);
        count(&queued.batch, counters);
        control.note_batch(partition, &queued.batch.batch);
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
