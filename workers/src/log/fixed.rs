//! A fixed share of the partitions: each thread of one process has its own, and nobody else reads the topic.

use super::{Changes, LogError, Member, Offset, Source};

/// See the module.
pub(crate) struct Fixed {
    source: Box<dyn Source>,
    /// What the next [`Changes`] say.
    assigned: Vec<u32>,
}

impl Fixed {
    /// The share of thread `index` of `count`: every `count`-th of `partitions`.
    pub(crate) fn new(source: Box<dyn Source>, partitions: u32, index: u32, count: u32) -> Self {
        let assigned = (0..partitions).filter(|partition| partition % count == index);
        Self {
            source,
            assigned: assigned.collect(),
        }
    }
}

impl Member for Fixed {
    fn source(&mut self) -> &mut dyn Source {
        self.source.as_mut()
    }

    fn changes(&mut self) -> Result<Changes, LogError> {
        Ok(Changes {
            assigned: std::mem::take(&mut self.assigned),
            ..Changes::default()
        })
    }

    fn accept(&mut self, starts: &[(u32, Offset)]) -> Result<(), LogError> {
        starts
            .iter()
            .try_for_each(|&(partition, offset)| self.source.assign(partition, offset))
    }

    fn give_back(&mut self, _: &[u32]) -> Result<(), LogError> {
        Ok(())
    }

    fn note_committed(&mut self, _: u32, _: Offset) {}

    fn is_shared(&self) -> bool {
        false
    }
}
