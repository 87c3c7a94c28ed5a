//! A member of a consumer group: the group says which partitions, the checkpoint says from where. Touches its
//! consumer.
//!
//! Members are static: a process that comes back within the session's ten seconds, under the same instance, gets
//! its partitions again without a rebalance. So leaving says nothing to the group; who does not come back is missed
//! after those ten seconds.
//!
//! The group waits for the answer to one change before it tells the next: librdkafka (2.12, `rdkafka_cgrp.c`) begins
//! no rebalance while it waits for an assign or unassign call. Until then it hands out no records at all.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Offset as RdOffset, TopicPartitionList};

use super::context::Rebalance;
use super::native::Feed;
use super::reader::{Mode, Reader};
use super::{Group, Shared, code};
use crate::log::{Changes, LogError, Member, Offset, Record, Source};

/// How often the group is told how far partitions are committed.
const NOTE_EVERY: Duration = Duration::from_secs(1);

/// See the module.
pub(super) struct GroupMember {
    source: GroupSource,
    /// What was told and is not answered yet.
    open: Option<Rebalance>,
    /// How far partitions of ours are committed.
    notes: BTreeMap<u32, Offset>,
    /// Not all notes were told.
    untold: bool,
    told_at: Instant,
}

impl GroupMember {
    pub(super) fn join(shared: Arc<Shared>, group: &Group, index: u32) -> Result<Self, LogError> {
        let instance = format!("{}-{index}", group.instance);
        let consumer = shared.consumer(&[
            ("group.id", &group.id),
            ("group.instance.id", &instance),
            ("partition.assignment.strategy", "cooperative-sticky"),
            ("session.timeout.ms", "10000"),
            ("heartbeat.interval.ms", "3000"),
            ("max.poll.interval.ms", "300000"),
        ])?;
        let topic = &shared.identity().topic;
        consumer
            .subscribe(&[topic])
            .map_err(|error| shared.failed("join the consumer group", error.to_string()))?;
        let feed = Arc::new(Feed::new(consumer, topic));
        Ok(Self {
            source: GroupSource {
                reader: Reader::new(Arc::clone(&shared), feed, Mode::Group),
                shared,
                owned: BTreeSet::new(),
            },
            open: None,
            notes: BTreeMap::new(),
            untold: false,
            told_at: Instant::now(),
        })
    }

    /// Tells the group how far partitions are committed. What it does not take now it is told again.
    fn tell_notes(&mut self) {
        self.told_at = Instant::now();
        self.untold = false;
        let topic = &self.source.shared.identity().topic;
        let mut list = TopicPartitionList::new();
        for (&partition, &next) in &self.notes {
            let offset = RdOffset::Offset(next as i64);
            if let Err(error) = list.add_partition_offset(topic, partition as i32, offset) {
                tracing::debug!(%error, partition, next, "not an offset");
            }
        }
        let consumer = self.source.reader.feed().consumer();
        if list.count() > 0
            && let Err(error) = consumer.commit(&list, CommitMode::Async)
        {
            tracing::debug!(%error, "the group was not told how far this member is");
            self.untold = true;
        }
    }

    fn tell_notes_when_due(&mut self) {
        let context = self.source.reader.feed().consumer().context();
        self.untold |= context.take_commit_failed();
        if self.untold && self.told_at.elapsed() >= NOTE_EVERY {
            self.tell_notes();
        }
    }

    /// Reads partitions no more, and tells the group so.
    fn drop_partitions(&mut self, partitions: &[u32]) -> Result<(), LogError> {
        for &partition in partitions {
            self.source.forget(partition);
            self.notes.remove(&partition);
        }
        let shared = &self.source.shared;
        let list = shared.list(partitions.iter().copied());
        let consumer = self.source.reader.feed().consumer();
        consumer
            .incremental_unassign(&list)
            .map_err(|error| group_error(shared, "give partitions back", &error))
    }
}

fn group_error(shared: &Shared, action: &'static str, error: &KafkaError) -> LogError {
    shared.failed(action, error.to_string())
}

fn numbers(partitions: &[i32]) -> Vec<u32> {
    partitions
        .iter()
        .map(|&partition| partition as u32)
        .collect()
}

impl Member for GroupMember {
    fn source(&mut self) -> &mut dyn Source {
        &mut self.source
    }

    fn changes(&mut self) -> Result<Changes, LogError> {
        self.source.reader.serve()?;
        self.tell_notes_when_due();
        let mut changes = Changes::default();
        while self.open.is_none() {
            let context = self.source.reader.feed().consumer().context();
            let Some(rebalance) = context.next_rebalance() else {
                break;
            };
            match &rebalance {
                // Nothing to decide.
                Rebalance::Assign(none) if none.is_empty() => {
                    self.open = Some(rebalance);
                    self.accept(&[])?;
                }
                Rebalance::Assign(partitions) => {
                    changes.assigned = numbers(partitions);
                    self.open = Some(rebalance);
                }
                Rebalance::Revoke(none) if none.is_empty() => self.drop_partitions(&[])?,
                Rebalance::Revoke(partitions) => {
                    changes.revoked = numbers(partitions);
                    self.open = Some(rebalance);
                }
                Rebalance::Lose(partitions) => {
                    let partitions = numbers(partitions);
                    self.drop_partitions(&partitions)?;
                    changes.lost.extend(partitions);
                }
            }
        }
        Ok(changes)
    }

    fn accept(&mut self, starts: &[(u32, Offset)]) -> Result<(), LogError> {
        let shared = Arc::clone(&self.source.shared);
        let told = match self.open.take() {
            Some(Rebalance::Assign(partitions)) => numbers(&partitions),
            other => {
                self.open = other;
                let reason = "the group has assigned nothing that is not answered";
                return Err(shared.failed("take partitions over", reason.to_owned()));
            }
        };
        let topic = &shared.identity().topic;
        let mut list = TopicPartitionList::new();
        for &partition in &told {
            let start = starts.iter().find(|(number, _)| *number == partition);
            let Some(&(_, offset)) = start else {
                self.open = Some(Rebalance::Assign(told.iter().map(|&p| p as i32).collect()));
                let reason = format!("it is not said where partition {partition} begins");
                return Err(shared.failed("take partitions over", reason));
            };
            list.add_partition_offset(topic, partition as i32, RdOffset::Offset(offset as i64))
                .map_err(|error| group_error(&shared, "take partitions over", &error))?;
            self.source.reader.expect(partition, offset);
            self.source.reader.feed().lead(partition as i32);
            self.source.owned.insert(partition);
        }
        let consumer = self.source.reader.feed().consumer();
        consumer
            .incremental_assign(&list)
            .map_err(|error| group_error(&shared, "take partitions over", &error))
    }

    fn give_back(&mut self, partitions: &[u32]) -> Result<(), LogError> {
        let told = match self.open.take() {
            Some(Rebalance::Revoke(told)) => numbers(&told),
            other => {
                self.open = other;
                let reason = "the group has revoked nothing that is not answered";
                let shared = &self.source.shared;
                return Err(shared.failed("give partitions back", reason.to_owned()));
            }
        };
        debug_assert!(told.iter().all(|partition| partitions.contains(partition)));
        self.tell_notes();
        self.drop_partitions(&told)
    }

    fn note_committed(&mut self, partition: u32, next: Offset) {
        if self.source.owned.contains(&partition) {
            self.notes.insert(partition, next);
            self.untold = true;
        }
        self.tell_notes_when_due();
    }

    fn is_shared(&self) -> bool {
        true
    }
}

impl Drop for GroupMember {
    fn drop(&mut self) {
        if self.untold {
            self.tell_notes();
        }
        let consumer = self.source.reader.feed().consumer();
        // The client closes itself when it is dropped, and waits for every change to be answered.
        consumer.context().close();
        if let Some(rebalance) = self.open.take() {
            rebalance.decline(consumer, &self.source.shared.identity().topic);
        }
        while let Some(rebalance) = consumer.context().next_rebalance() {
            rebalance.decline(consumer, &self.source.shared.identity().topic);
        }
    }
}

/// The reader of a member.
struct GroupSource {
    shared: Arc<Shared>,
    reader: Reader,
    /// What the group gave us, read or not.
    owned: BTreeSet<u32>,
}

impl GroupSource {
    /// Back to how a partition is before it is assigned.
    fn forget(&mut self, partition: u32) {
        self.reader.forget(partition);
        self.owned.remove(&partition);
        self.reader.hold(partition, false);
    }
}

impl Source for GroupSource {
    /// Of a partition that the group gave us: reads on elsewhere.
    fn assign(&mut self, partition: u32, offset: Offset) -> Result<(), LogError> {
        if !self.owned.contains(&partition) {
            let reason = format!("the group did not assign partition {partition} to this member");
            return Err(self.shared.failed("read a partition", reason));
        }
        self.reader
            .begin_anew(partition as i32, offset as i64, false)
            .map_err(|error| self.shared.explain(code(&error), &error.to_string()))?;
        self.reader.hold(partition, false);
        self.reader.expect(partition, offset);
        Ok(())
    }

    /// It stays ours, but is not read.
    fn release(&mut self, partition: u32) -> Result<(), LogError> {
        if self.reader.forget(partition) {
            self.reader.hold(partition, true);
        }
        Ok(())
    }

    fn position(&self, partition: u32) -> Offset {
        self.reader.position(partition)
    }

    fn pause(&mut self, partition: u32, paused: bool) {
        self.reader.pause(partition, paused);
    }

    fn poll(
        &mut self,
        timeout: Duration,
        each: &mut dyn FnMut(Record<'_>),
    ) -> Result<usize, LogError> {
        self.reader.poll(timeout, each)
    }

    fn bounds(&mut self, partition: u32) -> Result<Range<Offset>, LogError> {
        self.shared.check_partition("read", partition)?;
        self.shared.bounds(self.reader.feed().consumer(), partition)
    }
}
