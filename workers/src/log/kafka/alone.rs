//! A fixed share of the partitions, of which a consumer group is told how far it is committed. It is no member of
//! that group: while others work in it, Kafka does not take what this one says, and nobody loses a partition.
//! Touches a consumer that reads nothing: one that reads without its group never ends to close itself.

use std::time::Duration;

use rdkafka::consumer::BaseConsumer;

use super::bounded::Bounded;
use super::context::Events;
use super::notes::Notes;
use crate::log::fixed::Fixed;
use crate::log::{Changes, LogError, Member, Offset, Source};

/// See the module.
pub(super) struct Alone {
    fixed: Fixed,
    teller: Bounded,
    notes: Notes,
}

impl Alone {
    /// `teller` has the group's id.
    pub(super) fn new(fixed: Fixed, teller: BaseConsumer<Events>, topic: &str) -> Self {
        Self {
            fixed,
            teller: Bounded::new(teller),
            notes: Notes::new(topic),
        }
    }
}

impl Member for Alone {
    fn source(&mut self) -> &mut dyn Source {
        self.fixed.source()
    }

    fn changes(&mut self) -> Result<Changes, LogError> {
        // Serves the answers to what was told.
        self.teller.poll(Duration::ZERO);
        self.notes.tell_when_due(&self.teller);
        self.fixed.changes()
    }

    fn accept(&mut self, starts: &[(u32, Offset)]) -> Result<(), LogError> {
        self.fixed.accept(starts)
    }

    fn give_back(&mut self, partitions: &[u32]) -> Result<(), LogError> {
        self.fixed.give_back(partitions)
    }

    fn note_committed(&mut self, partition: u32, next: Offset) {
        self.notes.set(partition, next);
    }

    fn is_shared(&self) -> bool {
        false
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        self.notes.tell_last(&self.teller);
    }
}
