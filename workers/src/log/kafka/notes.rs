//! What a consumer group is told of the committed offsets, so that Kafka's own tools show the lag. Nothing reads it
//! back: the checkpoint is the truth. Touches the consumer that it is given.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{Offset as RdOffset, TopicPartitionList};

use super::context::Events;
use crate::log::Offset;

/// How often the group is told.
const EVERY: Duration = Duration::from_secs(1);

/// See the module.
pub(super) struct Notes {
    topic: String,
    /// How far each partition is committed.
    offsets: BTreeMap<u32, Offset>,
    /// Not all was told.
    untold: bool,
    told_at: Instant,
}

impl Notes {
    pub(super) fn new(topic: &str) -> Self {
        Self {
            topic: topic.to_owned(),
            offsets: BTreeMap::new(),
            untold: false,
            told_at: Instant::now(),
        }
    }

    pub(super) fn set(&mut self, partition: u32, next: Offset) {
        self.offsets.insert(partition, next);
        self.untold = true;
    }

    pub(super) fn forget(&mut self, partition: u32) {
        self.offsets.remove(&partition);
    }

    /// Tells what is new, and once more what the group did not take.
    pub(super) fn tell_when_due(&mut self, consumer: &BaseConsumer<Events>) {
        self.untold |= consumer.context().take_commit_failed();
        if self.untold && self.told_at.elapsed() >= EVERY {
            self.tell(consumer);
        }
    }

    /// Tells what is new before the consumer goes.
    pub(super) fn tell_last(&mut self, consumer: &BaseConsumer<Events>) {
        if self.untold {
            self.tell(consumer);
        }
    }

    pub(super) fn tell(&mut self, consumer: &BaseConsumer<Events>) {
        self.told_at = Instant::now();
        self.untold = false;
        let mut list = TopicPartitionList::new();
        for (&partition, &next) in &self.offsets {
            let offset = RdOffset::Offset(next as i64);
            if let Err(error) = list.add_partition_offset(&self.topic, partition as i32, offset) {
                tracing::debug!(%error, partition, next, "not an offset");
            }
        }
        if list.count() > 0
            && let Err(error) = consumer.commit(&list, CommitMode::Async)
        {
            tracing::debug!(%error, "the group was not told how far partitions are committed");
            self.untold = true;
        }
    }
}
