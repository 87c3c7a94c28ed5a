//! What a lane sends under its claim of a partition: numbered records, and which of them are durable. A new
//! claim replaces all of it. Writes to the log.

use std::collections::VecDeque;

use bytes::Bytes;

use super::ProduceError;
use crate::etl::receive::Progress;
use crate::log::key::BlockKey;
use crate::log::{LogError, NewRecord, Offset, Sink};
use crate::tail::FileState;
use crate::tail::split::Block;

/// See the module.
pub(super) struct Outbox {
    /// The generation of the claim.
    pub(super) generation: u32,
    /// The number of the next line.
    pub(super) next: u64,
    /// Where the state that was saved last makes a scan begin.
    pub(super) scan_from: Offset,
    sink: Box<dyn Sink>,
    key: Vec<u8>,
    in_flight: VecDeque<InFlight>,
    settled: u64,
}

struct InFlight {
    lines: u32,
    bytes: u32,
}

/// What has become durable.
#[derive(Default)]
pub(super) struct Durable {
    pub(super) lines: u64,
    pub(super) bytes: u64,
}

impl Outbox {
    /// Goes on from `progress`, through a sink that so many fences were sent through.
    pub(super) fn new(
        sink: Box<dyn Sink>,
        fences: u64,
        progress: Progress,
        scan_from: Offset,
    ) -> Self {
        Self {
            generation: progress.generation,
            next: progress.next,
            scan_from,
            sink,
            key: Vec::new(),
            in_flight: VecDeque::new(),
            settled: fences,
        }
    }

    /// Sends a block of a file that begins `skipped` bytes behind the file's position.
    pub(super) fn send(
        &mut self,
        producer: &str,
        file: &FileState,
        skipped: usize,
        block: Block,
        value: Bytes,
        timestamp: i64,
    ) -> Result<(), ProduceError> {
        self.key.clear();
        BlockKey {
            producer,
            generation: self.generation,
            first: self.next,
            lines: block.lines,
            file_id: file.id,
            file_offset: file.position.offset + skipped as u64,
            path: &file.path.to_string_lossy(),
            chunk: block.chunk,
        }
        .encode(&mut self.key);
        self.sink.send(NewRecord {
            timestamp,
            key: Bytes::copy_from_slice(&self.key),
            value,
        })?;
        self.next += u64::from(block.lines);
        self.in_flight.push_back(InFlight {
            lines: block.lines,
            bytes: block.bytes as u32,
        });
        Ok(())
    }

    /// Waits until everything that was sent is durable.
    pub(super) fn flush(&mut self) -> Result<(), LogError> {
        self.sink.flush()
    }

    /// What has become durable since it was asked for last.
    pub(super) fn settle(&mut self) -> Result<Durable, LogError> {
        let acknowledged = self.sink.acknowledged()?;
        let mut durable = Durable::default();
        while self.settled < acknowledged {
            self.settled += 1;
            let Some(InFlight { lines, bytes }) = self.in_flight.pop_front() else {
                break;
            };
            durable.lines += u64::from(lines);
            durable.bytes += u64::from(bytes);
        }
        Ok(durable)
    }
}
