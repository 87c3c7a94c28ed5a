//! From an assignment to the first record: a partition is taken over, the store is listed, the log is checked, and
//! a pending batch is finished. All that time the thread goes on to poll, or the group would take it for dead.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{Active, Worker, commit_all};
use crate::checkpoint::{Batch, Checkpoint};
use crate::etl::batch::EncodedBatch;
use crate::etl::commit::{CommitError, Committer};
use crate::etl::encode::Layout;
use crate::etl::listing::Newest;
use crate::etl::partition::{Partition, Queued};
use crate::etl::{EtlError, plans, recover};
use crate::log::{Offset, Source};
use crate::store::ListError;

/// Partitions of one assignment, which are not read yet.
pub(super) struct Coming {
    /// A reader of its own: the member's is the group's.
    reader: Box<dyn Source>,
    /// Until it is there, nothing is known of files ahead of the checkpoints.
    listing: Option<JoinHandle<Result<Arc<Newest>, ListError>>>,
    /// Those that are not started.
    committers: VecDeque<Committer>,
    /// Where those go on that are.
    starts: Vec<(u32, Offset)>,
}

impl Drop for Coming {
    fn drop(&mut self) {
        if let Some(listing) = &self.listing {
            listing.abort();
        }
    }
}

impl Worker<'_> {
    /// Takes partitions over, and begins to list the store behind that: whoever had them before can announce nothing
    /// any more.
    pub(super) fn take_over_all(&mut self, numbers: &[u32]) -> Result<(), EtlError> {
        let shared = self.shared;
        let mut reader = shared.log.source()?;
        let mut committers = VecDeque::with_capacity(numbers.len());
        for &number in numbers {
            committers.push_back(self.take_over(reader.as_mut(), number)?);
        }
        let taken = Instant::now();
        let (listings, store) = (shared.listings.clone(), shared.store.clone());
        let log = shared.log.identity();
        let listing = async move { listings.newest(&store, &log, taken).await };
        self.coming.push(Coming {
            reader,
            listing: Some(shared.runtime.spawn(listing)),
            committers,
            starts: Vec::with_capacity(numbers.len()),
        });
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

    /// Goes on with what was taken over, and accepts each assignment whose partitions are all started.
    pub(super) fn start_coming(&mut self) -> Result<(), EtlError> {
        for mut coming in std::mem::take(&mut self.coming) {
            if self.go_on(&mut coming)? {
                self.member.accept(&coming.starts)?;
            } else {
                self.coming.push(coming);
            }
        }
        Ok(())
    }

    /// Whether all of it is started.
    fn go_on(&mut self, coming: &mut Coming) -> Result<bool, EtlError> {
        if let Some(listing) = coming.listing.take_if(|listing| listing.is_finished()) {
            self.check(coming, listing)?;
        }
        if coming.listing.is_some() {
            return Ok(false);
        }
        while let Some(committer) = coming.committers.pop_front() {
            let pending = committer.checkpoint().pending.is_some();
            let start = self.start_partition(coming.reader.as_mut(), committer)?;
            coming.starts.push(start);
            if pending {
                break; // It took a while to build its batch again: the others have to wait for a poll.
            }
        }
        Ok(coming.committers.is_empty())
    }

    fn check(
        &self,
        coming: &mut Coming,
        listing: JoinHandle<Result<Arc<Newest>, ListError>>,
    ) -> Result<(), EtlError> {
        let shared = self.shared;
        let listed = shared.runtime.block_on(listing);
        let newest = listed
            .unwrap_or_else(|failed| std::panic::resume_unwind(failed.into_panic()))
            .map_err(|source| EtlError::List {
                place: shared.store.place().to_owned(),
                source,
            })?;
        let mut checkpoints = Vec::with_capacity(coming.committers.len());
        for committer in &coming.committers {
            let checkpoint = committer.checkpoint();
            let checked = recover::check_names(checkpoint, newest.get(&checkpoint.partition));
            if checked.is_err() && !shared.runtime.block_on(committer.is_owner())? {
                continue; // Another worker has it by now, and wrote these files. Our next swap will fail.
            }
            checked?;
            checkpoints.push(checkpoint);
        }
        recover::check_log(coming.reader.as_mut(), &checkpoints)
    }

    /// A partition that was taken away before it was started is not.
    pub(super) fn forget_coming(&mut self, number: u32) {
        for coming in &mut self.coming {
            coming
                .committers
                .retain(|committer| committer.checkpoint().partition != number);
            coming.starts.retain(|(start, _)| *start != number);
        }
        self.coming
            .retain(|coming| !coming.committers.is_empty() || !coming.starts.is_empty());
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
}
