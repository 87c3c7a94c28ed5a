//! How partitions come to an ETL thread and leave it, where several share a topic. The group says who works;
//! the checkpoint's swap says who is right: so what is done here saves work, and nothing depends on it.

use std::time::{Duration, Instant};

use super::{Active, EtlError, Worker, finish_reading};
use crate::etl::commit::CommitError;

/// How long the group may leave us a partition that another worker has taken, before we stop: longer than it
/// takes the group to notice that a member is gone.
const FENCED: Duration = Duration::from_secs(30);

impl Worker<'_> {
    /// Drops what is lost, finishes what is revoked, and takes over what is assigned.
    pub(super) fn follow_group(&mut self) -> Result<(), EtlError> {
        let changes = self.member.changes()?;
        let ended: Vec<_> = self
            .orphans
            .extract_if(.., |orphan| orphan.is_finished())
            .collect();
        ended.into_iter().try_for_each(|orphan| self.join(orphan))?;
        let parts = [&changes.lost, &changes.revoked, &changes.assigned];
        if parts.iter().any(|part| !part.is_empty()) {
            self.shared.counters.rebalances.add(1);
        }
        for number in changes.lost {
            self.fenced.retain(|(fenced, _)| *fenced != number);
            self.shared.control.seen.went(number);
            self.revoked.retain(|revoked| *revoked != number);
            self.forget_coming(number);
            let active = self
                .active
                .extract_if(.., |active| active.partition.number() == number);
            self.orphans.extend(active.map(|active| active.committer));
            let leaving = self
                .leaving
                .extract_if(.., |(leaving, _)| *leaving == number);
            self.orphans.extend(leaving.map(|(_, committer)| committer));
        }
        for number in changes.revoked {
            self.fenced.retain(|(fenced, _)| *fenced != number);
            self.revoked.push(number);
            self.forget_coming(number);
            let mut active = self.active.iter_mut();
            if let Some(active) = active.find(|active| active.partition.number() == number) {
                let position = self.member.source().position(number);
                finish_reading(&mut active.partition, position, self.shared)?;
            }
        }
        if !changes.assigned.is_empty() {
            self.take_over_all(&changes.assigned)?;
        }
        if let Some((partition, _)) = self.fenced.iter().find(|(_, at)| at.elapsed() > FENCED) {
            return Err(CommitError::TakenInGroup {
                partition: *partition,
            }
            .into());
        }
        Ok(())
    }

    /// Gives revoked partitions back when their last batch is committed, and tells the group of progress.
    pub(super) fn let_go(&mut self) -> Result<(), EtlError> {
        for at in 0..self.active.len() {
            let number = self.active[at].partition.number();
            let done = self.shared.control.done(number);
            if self.active[at].told < done {
                self.active[at].told = done;
                self.member.note_committed(number, done);
            }
        }
        if self.revoked.is_empty() {
            return Ok(());
        }
        let leaves = |active: &mut Active| {
            self.revoked.contains(&active.partition.number()) && !active.partition.is_full()
        };
        for active in self.active.extract_if(.., leaves) {
            // Without its partition the channel is closed, and the committer ends behind its last batch.
            self.leaving
                .push((active.partition.number(), active.committer));
        }
        let numbers = self.active.iter().map(|active| active.partition.number());
        let busy = numbers
            .into_iter()
            .any(|number| self.revoked.contains(&number));
        if busy || self.leaving.iter().any(|(_, task)| !task.is_finished()) {
            return Ok(());
        }
        for (number, committer) in std::mem::take(&mut self.leaving) {
            self.shared.control.seen.went(number);
            self.join(committer)?;
            self.tell(number);
        }
        let revoked = std::mem::take(&mut self.revoked);
        self.member.give_back(&revoked)?;
        Ok(())
    }

    /// Tells the group how far a partition is committed that we have no more.
    pub(super) fn tell(&mut self, number: u32) {
        let done = self.shared.control.done(number);
        self.member.note_committed(number, done);
    }

    /// Whether a partition whose committer has ended was taken by another worker; otherwise the committer has
    /// failed, which is told at the end.
    pub(super) fn is_taken(&mut self, active: Active) -> Result<bool, EtlError> {
        let number = active.partition.number();
        if !self.member.is_shared() {
            self.leaving.push((number, active.committer));
            return Ok(false);
        }
        self.member.source().pause(number, true);
        self.shared.control.seen.went(number);
        self.join(active.committer)?;
        self.fenced.push((number, Instant::now()));
        Ok(true)
    }
}
