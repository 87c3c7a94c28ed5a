//! Which partitions a source reads, from where, and whose turn it is. Pure.

use super::Offset;

/// The partitions of one source.
#[derive(Debug, Default)]
pub(super) struct Assigned {
    slots: Vec<Slot>,
    turn: usize,
}

/// One assigned partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) partition: u32,
    /// The next offset to read.
    pub(super) next: Offset,
    pub(super) paused: bool,
}

impl Assigned {
    /// Reads `partition` from `next` on. A pause stays.
    pub(super) fn assign(&mut self, partition: u32, next: Offset) {
        if let Some(slot) = self.find(partition) {
            slot.next = next;
            return;
        }
        self.slots.push(Slot {
            partition,
            next,
            paused: false,
        });
    }

    /// Reads `partition` no more.
    pub(super) fn release(&mut self, partition: u32) {
        self.slots.retain(|slot| slot.partition != partition);
        self.turn = 0;
    }

    /// The next offset of a partition; 0 where it is not assigned.
    pub(super) fn position(&self, partition: u32) -> Offset {
        let slot = self.slots.iter().find(|slot| slot.partition == partition);
        slot.map_or(0, |slot| slot.next)
    }

    /// Stops or resumes a partition; one that was never assigned is ignored.
    pub(super) fn pause(&mut self, partition: u32, paused: bool) {
        if let Some(slot) = self.find(partition) {
            slot.paused = paused;
        }
    }

    /// Offers each partition that is not paused to `read`, once around from whose turn it is, until
    /// `read` returns false. The turn passes to the one behind the last that was offered, so that a full
    /// partition cannot keep the others waiting.
    pub(super) fn around<E>(
        &mut self,
        mut read: impl FnMut(&mut Slot) -> Result<bool, E>,
    ) -> Result<(), E> {
        let (first, count) = (self.turn, self.slots.len());
        for step in 0..count {
            let at = (first + step) % count;
            if self.slots[at].paused {
                continue;
            }
            self.turn = (at + 1) % count;
            if !read(&mut self.slots[at])? {
                break;
            }
        }
        Ok(())
    }

    fn find(&mut self, partition: u32) -> Option<&mut Slot> {
        self.slots
            .iter_mut()
            .find(|slot| slot.partition == partition)
    }
}
