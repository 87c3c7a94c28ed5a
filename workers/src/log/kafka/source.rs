//! A source that reads the partitions it is told to, without any group. Touches its consumer.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::Shared;
use super::native::Feed;
use super::reader::{Mode, Reader};
use crate::log::{LogError, Offset, Record, Source};

/// See the module.
pub(super) struct KafkaSource {
    shared: Arc<Shared>,
    reader: Reader,
}

impl KafkaSource {
    pub(super) fn new(shared: Arc<Shared>) -> Result<Self, LogError> {
        let consumer = shared.consumer(&[])?;
        let feed = Arc::new(Feed::new(consumer, &shared.identity().topic));
        Ok(Self {
            reader: Reader::new(Arc::clone(&shared), feed, Mode::Alone),
            shared,
        })
    }
}

impl Source for KafkaSource {
    fn assign(&mut self, partition: u32, offset: Offset) -> Result<(), LogError> {
        self.shared.check_partition("read", partition)?;
        self.release(partition)?;
        self.reader
            .feed()
            .start(partition as i32, offset as i64)
            .map_err(|code| self.shared.explain(code, "a partition could not be begun"))?;
        self.reader.expect(partition, offset);
        Ok(())
    }

    fn release(&mut self, partition: u32) -> Result<(), LogError> {
        self.reader.pause(partition, false);
        if !self.reader.forget(partition) {
            return Ok(());
        }
        self.reader.feed().stop(partition as i32).map_err(|code| {
            self.shared
                .explain(code, "a partition could not be given up")
        })
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
