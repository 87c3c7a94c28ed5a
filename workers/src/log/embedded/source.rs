//! Reads partitions of an embedded log. Touches the disk.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redb::ReadTransaction;

use super::super::assigned::{Assigned, Slot};
use super::super::{LogError, Offset, Record, Source};
use super::{Handle, file, record};

/// As much as one poll hands out, in bytes of values.
const POLL_BYTES: usize = 1 << 20;

pub(super) struct EmbeddedSource {
    pub(super) handle: Arc<Handle>,
    pub(super) assigned: Assigned,
    pub(super) reader: Reader,
}

/// What reading needs, kept between polls.
#[derive(Default)]
pub(super) struct Reader {
    bounds: Vec<Range<Offset>>,
    value: Vec<u8>,
}

impl Source for EmbeddedSource {
    fn assign(&mut self, partition: u32, offset: Offset) -> Result<(), LogError> {
        self.handle.identity.check("read", partition)?;
        self.assigned.assign(partition, offset);
        Ok(())
    }

    fn release(&mut self, partition: u32) -> Result<(), LogError> {
        self.assigned.release(partition);
        Ok(())
    }

    fn position(&self, partition: u32) -> Offset {
        self.assigned.position(partition)
    }

    fn pause(&mut self, partition: u32, paused: bool) {
        self.assigned.pause(partition, paused);
    }

    fn poll(
        &mut self,
        timeout: Duration,
        each: &mut dyn FnMut(Record<'_>),
    ) -> Result<usize, LogError> {
        let begun = Instant::now();
        loop {
            let queue = &self.handle.queue;
            queue.bounds(&mut self.reader.bounds)?;
            let count = self.read(each)?;
            let left = timeout.saturating_sub(begun.elapsed());
            if count > 0 || left.is_zero() {
                return Ok(count);
            }
            self.handle
                .queue
                .wait_for_change(&self.reader.bounds, left)?;
        }
    }

    fn bounds(&mut self, partition: u32) -> Result<Range<Offset>, LogError> {
        self.handle.identity.check("read", partition)?;
        self.handle.queue.bounds(&mut self.reader.bounds)?;
        Ok(self.reader.bounds[partition as usize].clone())
    }
}

impl EmbeddedSource {
    /// Hands out what is there, with one look at the file.
    fn read(&mut self, each: &mut dyn FnMut(Record<'_>)) -> Result<usize, LogError> {
        let Self {
            handle,
            assigned,
            reader,
        } = self;
        // Begun when the first partition has something: a poll in vain costs no transaction.
        let mut transaction = None;
        let mut budget = POLL_BYTES;
        let mut count = 0;
        let outcome = assigned.around(|slot| {
            if !reader.has_records(slot)? {
                return Ok(true);
            }
            let transaction = match &mut transaction {
                Some(transaction) => transaction,
                none => none.insert(
                    handle
                        .file
                        .read()
                        .map_err(|error| handle.unreadable(error))?,
                ),
            };
            reader.read(handle, transaction, slot, &mut budget, &mut |record| {
                count += 1;
                each(record);
            })?;
            Ok(budget > 0)
        });
        match outcome {
            // What was handed out stays so; the partition that failed fails again on its next turn.
            Err(error) if count == 0 => Err(error),
            _ => Ok(count),
        }
    }
}

impl Reader {
    fn has_records(&self, slot: &Slot) -> Result<bool, LogError> {
        let bounds = &self.bounds[slot.partition as usize];
        if slot.next < bounds.start || slot.next > bounds.end {
            return Err(out_of_range(slot, bounds.start, bounds.end));
        }
        Ok(slot.next < bounds.end)
    }

    fn read(
        &mut self,
        handle: &Handle,
        transaction: &ReadTransaction,
        slot: &mut Slot,
        budget: &mut usize,
        each: &mut dyn FnMut(Record<'_>),
    ) -> Result<(), LogError> {
        let end = self.bounds[slot.partition as usize].end;
        let records =
            file::records(transaction, slot.partition).map_err(|error| handle.unreadable(error))?;
        let range = records
            .range(slot.next..end)
            .map_err(|error| handle.unreadable(error))?;
        for entry in range {
            let (offset, stored) = entry.map_err(|error| handle.unreadable(error))?;
            let offset = offset.value();
            if offset != slot.next {
                // Trimmed since the bounds were looked at.
                return Err(out_of_range(slot, offset, end));
            }
            let decoded = record::decode(stored.value(), &mut self.value)
                .map_err(|damage| handle.damaged(slot.partition, offset, &damage))?;
            each(Record {
                partition: slot.partition,
                offset,
                timestamp: decoded.timestamp,
                key: decoded.key,
                value: decoded.value,
            });
            slot.next = offset + 1;
            *budget = budget.saturating_sub(decoded.value.len().max(1));
            if *budget == 0 {
                return Ok(());
            }
        }
        if slot.next == end {
            return Ok(());
        }
        // Nothing is left of the range: it was trimmed too.
        Err(out_of_range(slot, end, end))
    }
}

fn out_of_range(slot: &Slot, start: Offset, end: Offset) -> LogError {
    LogError::OutOfRange {
        partition: slot.partition,
        offset: slot.next,
        start,
        end,
    }
}
