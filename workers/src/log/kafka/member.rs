//! A member of a consumer group: the group says which partitions, the checkpoint says from where. Touches its
//! consumer.
//!
//! Members are static: a process that comes back within the session's ten seconds, under the same instance, gets
//! its partitions again without a rebalance. So leaving says nothing to the group; who does not come back is missed
//! after those ten seconds.
//!
//! A broker that is away for longer than those ten seconds makes librdkafka forget who it is in the group, ask as nobody,
//! and be fenced, which is final for a client. So a fenced member has lost its partitions and joins anew; only when
//! that goes on there must be another process of the same instance.
//!
//! The group waits for the answer to one change before it tells the next: librdkafka (2.12, `rdkafka_cgrp.c`) begins
//! no rebalance while it waits for an assign or unassign call. Until then it hands out no records at all.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset as RdOffset, TopicPartitionList};

use super::context::Rebalance;
use super::native::Feed;
use super::notes::Notes;
use super::reader::{Mode, Reader};
use super::{Shared, code};
use crate::log::{Changes, LogError, Member, Offset, Record, Source};

/// So many fencings within a minute are another process's work.
const MOST_FENCINGS: usize = 3;
const FENCINGS_WITHIN: Duration = Duration::from_mins(1);

/// See the module.
pub(super) struct GroupMember {
    group: String,
    instance: String,
    source: GroupSource,
    /// What was told and is not answered yet.
    open: Option<Rebalance>,
    notes: Notes,
    fencings: Vec<Instant>,
}

impl GroupMember {
    pub(super) fn join(
        shared: Arc<Shared>,
        group: &str,
        instance: String,
    ) -> Result<Self, LogError> {
        let notes = Notes::new(&shared.identity().topic);
        Ok(Self {
            group: group.to_owned(),
            source: GroupSource::join(shared, group, &instance)?,
            instance,
            open: None,
            notes,
            fencings: Vec::new(),
        })
    }

    /// Begins anew as a member that has nothing.
    fn join_again(&mut self) -> Result<Changes, LogError> {
        let now = Instant::now();
        self.fencings
            .retain(|at| now.duration_since(*at) < FENCINGS_WITHIN);
        self.fencings.push(now);
        if self.fencings.len() >= MOST_FENCINGS {
            let code = RDKafkaErrorCode::FencedInstanceId;
            return Err(self.source.shared.explain(code, ""));
        }
        tracing::warn!(
            group = %self.group,
            "the consumer group has forgotten this member while no broker answered; joining again"
        );
        let mut lost = std::mem::take(&mut self.source.owned);
        if let Some(Rebalance::Assign(partitions)) = &self.open {
            lost.extend(numbers(partitions));
        }
        self.leave();
        let shared = Arc::clone(&self.source.shared);
        self.notes = Notes::new(&shared.identity().topic);
        self.source = GroupSource::join(shared, &self.group, &self.instance)?;
        Ok(Changes {
            lost: lost.into_iter().collect(),
            ..Changes::default()
        })
    }

    /// Lets the client close itself when it is dropped: it waits for every change to be answered.
    fn leave(&mut self) {
        let consumer = self.source.reader.feed().consumer();
        let topic = &self.source.shared.identity().topic;
        consumer.context().close();
        if let Some(rebalance) = self.open.take() {
            rebalance.decline(consumer, topic);
        }
        while let Some(rebalance) = consumer.context().next_rebalance() {
            rebalance.decline(consumer, topic);
        }
    }

    /// Reads partitions no more, and tells the group so.
    fn drop_partitions(&mut self, partitions: &[u32]) -> Result<(), LogError> {
        for &partition in partitions {
            self.source.forget(partition);
            self.notes.forget(partition);
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
        if self.source.reader.is_fenced() {
            return self.join_again();
        }
        self.notes
            .tell_when_due(self.source.reader.feed().consumer());
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
        self.notes.tell(self.source.reader.feed().consumer());
        self.drop_partitions(&told)
    }

    fn note_committed(&mut self, partition: u32, next: Offset) {
        if self.source.owned.contains(&partition) {
            self.notes.set(partition, next);
        }
        self.notes
            .tell_when_due(self.source.reader.feed().consumer());
    }

    fn is_shared(&self) -> bool {
        true
    }
}

impl Drop for GroupMember {
    fn drop(&mut self) {
        self.notes.tell_last(self.source.reader.feed().consumer());
        self.leave();
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
    fn join(shared: Arc<Shared>, group: &str, instance: &str) -> Result<Self, LogError> {
        let consumer = shared.consumer(&[
            ("group.id", group),
            ("group.instance.id", instance),
            ("partition.assignment.strategy", "cooperative-sticky"),
            ("session.timeout.ms", "10000"),
            ("heartbeat.interval.ms", "3000"),
            ("max.poll.interval.ms", "300000"),
            // How soon the partitions of a topic that grew are shared out; five minutes when it is left out.
            ("topic.metadata.refresh.interval.ms", "10000"),
        ])?;
        let topic = &shared.identity().topic;
        consumer
            .subscribe(&[topic])
            .map_err(|error| group_error(&shared, "join the consumer group", &error))?;
        let feed = Arc::new(Feed::new(consumer, topic));
        Ok(Self {
            reader: Reader::new(Arc::clone(&shared), feed, Mode::Group),
            shared,
            owned: BTreeSet::new(),
        })
    }

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
        self.shared.bounds(partition)
    }
}
