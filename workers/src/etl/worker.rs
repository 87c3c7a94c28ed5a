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
use super::{Control, EtlError, POLL, Shared};
use crate::checkpoint::Seen;
use crate::counters::Counters;
use crate::log::{LogError, Member, Offset};

mod coming;
mod group;

use coming::Coming;

/// How long a worker that ends asks for the topic's identity, before it leaves batches to the next one: less than
/// what a pod has to end, together with the last answer's time.
const FAREWELL: Duration = Duration::from_secs(10);

/// One ETL thread.
pub(super) struct Worker<'a> {
    shared: &'a Shared<'a>,
    layout: Arc<Layout>,
    member: Box<dyn Member>,
    stager: Stager,
    active: Vec<Active>,
    coming: Vec<Coming>,
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
    /// Why it did not answer, when it was asked last.
    unanswered: Option<LogError>,
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
            coming: Vec::new(),
            revoked: Vec::new(),
            leaving: Vec::new(),
            orphans: Vec::new(),
            fenced: Vec::new(),
            open: shared.budget.hold(0),
            ends: None,
            unsure: false,
            unanswered: None,
        })
    }

    /// Reads and commits until everything is drained, or told to stop.
    pub(super) fn run(mut self) -> Result<(), EtlError> {
        loop {
            if self.shared.control.failed.load(Ordering::Acquire) {
                return self.finish();
            }
            self.follow_group()?;
            self.start_coming()?;
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
        // Otherwise the batches wait, and with them their partitions.
        let may_send = self.is_same_topic()?;
        // In a group nothing may keep us from polling, so that the group hears from us: reading stops instead.
        let over = self.member.is_shared() && self.shared.budget.is_over();
        let mut at = 0;
        while at < self.active.len() {
            let active = &mut self.active[at];
            if active.committer.is_finished() || (may_send && !active.partition.hand_over()) {
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
                self.unanswered = None;
                Ok(true)
            }
            Err(failed @ LogError::Failed { .. }) => {
                let error = &failed as &dyn std::error::Error;
                tracing::warn!(error, "cannot ask for the topic's identity, trying again");
                self.unanswered = Some(failed);
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
        let mut last = 0;
        member.source().poll(POLL, &mut |record| {
            if result.is_err() {
                return;
            }
            let now = *now.get_or_insert_with(Instant::now);
            // Records of one partition mostly follow each other.
            let is_its = |active: &Active| active.partition.number() == record.partition;
            if !active.get(last).is_some_and(is_its) {
                let Some(at) = active.iter().position(is_its) else {
                    return;
                };
                last = at;
            }
            let partition = &mut active[last].partition;
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
        let control = &self.shared.control;
        let ends = || control.failed.load(Ordering::Acquire) || control.is_stopping();
        while self.shared.budget.is_over() && !ends() {
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
        if !self.shared.control.is_draining() || !self.coming.is_empty() {
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
        let begun = Instant::now();
        let mut first = Ok(());
        while self.active.iter().any(|a| a.partition.is_full()) && !failed.load(Ordering::Acquire) {
            if !self.hand_over()? {
                break;
            }
            // What is not announced is read again by the next owner.
            if let Some(error) = self.unanswered.take_if(|_| begun.elapsed() > FAREWELL) {
                first = Err(error.into());
                break;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let mut committers = std::mem::take(&mut self.leaving);
        for active in std::mem::take(&mut self.active) {
            // Closes the channel: the committer ends behind its last batch.
            committers.push((active.partition.number(), active.committer));
        }
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
        match joined {
            Err(failed) => std::panic::resume_unwind(failed.into_panic()),
            Ok(Err(CommitError::Fenced { partition, owner })) if self.member.is_shared() => {
                tracing::info!(partition, owner, "another worker took the partition over");
                Ok(())
            }
            Ok(result) => result.map_err(EtlError::from),
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
