//! Writes to one partition of an embedded log. Touches nothing: the writer does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::{LogError, NewRecord, Sink};
use super::Handle;
use super::queue::Waiting;
use super::record::{Encoder, MAX_KEY_BYTES, MAX_VALUE_BYTES};

pub(super) struct EmbeddedSink {
    pub(super) handle: Arc<Handle>,
    pub(super) partition: u32,
    pub(super) encoder: Encoder,
    pub(super) sent: u64,
    pub(super) acknowledged: Arc<AtomicU64>,
    pub(super) refused: bool,
}

impl EmbeddedSink {
    fn check(&self) -> Result<(), LogError> {
        if !self.refused {
            return Ok(());
        }
        Err(LogError::Closed {
            place: self.handle.place().to_owned(),
            reason: Some("an earlier record of this sink was refused".to_owned()),
        })
    }

    fn check_size(&mut self, record: &NewRecord) -> Result<(), LogError> {
        let (key, value) = (record.key.len(), record.value.len());
        if key <= MAX_KEY_BYTES && value <= MAX_VALUE_BYTES {
            return Ok(());
        }
        self.refused = true;
        Err(LogError::Failed {
            place: self.handle.place().to_owned(),
            action: "write a record",
            source: format!(
                "its key has {key} bytes and its value {value}, and {MAX_KEY_BYTES} and {MAX_VALUE_BYTES} are the limits"
            )
            .into(),
        })
    }
}

impl Sink for EmbeddedSink {
    fn send(&mut self, record: NewRecord) -> Result<(), LogError> {
        self.check()?;
        self.check_size(&record)?;
        self.handle.queue.push(Waiting {
            partition: self.partition,
            stored: self.encoder.encode(&record),
            acknowledged: Arc::clone(&self.acknowledged),
        })?;
        self.sent += 1;
        Ok(())
    }

    fn acknowledged(&mut self) -> Result<u64, LogError> {
        self.check()?;
        self.handle.queue.check()?;
        Ok(self.acknowledged.load(Ordering::Acquire))
    }

    fn flush(&mut self) -> Result<(), LogError> {
        self.check()?;
        self.handle.queue.flush(&self.acknowledged, self.sent)
    }
}
