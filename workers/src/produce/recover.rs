//! Where a lane goes on: a fence keeps older generations out, and the partition tells, by the receiver's
//! own rule, which lines count. Writes one record and reads a partition; touches no disk.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::ProduceError;
use super::state::State;
use crate::etl::receive::{Progress, Verdict};
use crate::log::key::{BlockKey, Chunk};
use crate::log::{Log, LogError, NewRecord, Offset, Record, Sink, Source};
use crate::tail::FileState;
use crate::tail::identity::{FileId, Head};
use crate::tail::position::Position;

/// How long a partition may stay silent while records are still missing up to the fence.
const PATIENCE: Duration = Duration::from_mins(1);

/// What a lane knows after a scan, and what it writes with.
pub(super) struct Recovered {
    pub(super) progress: Progress,
    pub(super) files: BTreeMap<FileId, FileState>,
    /// There is neither a state nor a record of this producer key.
    pub(super) fresh: bool,
    pub(super) sink: Box<dyn Sink>,
    /// How many records were sent through `sink` already.
    pub(super) fences: u64,
}

/// What is learned from the records of one producer key.
struct Scan<'a> {
    producer: &'a str,
    progress: Progress,
    files: BTreeMap<FileId, FileState>,
    /// There is no state, and the log has lost its first records: ours must begin with the first line.
    from_nothing: bool,
    /// The first sequence that was found although the ones before it are nowhere.
    gone: Option<u64>,
    /// The highest generation of the records before our fence, and of the state.
    highest: u32,
    /// The generation of our fence, and the offset it cannot stand below: an earlier start that left no
    /// state behind may have written one of the same generation.
    fence: u32,
    fence_from: Offset,
    fenced: bool,
}

pub(super) fn recover(
    log: &dyn Log,
    partition: u32,
    producer: &str,
    state: Option<State>,
) -> Result<Recovered, ProduceError> {
    let mut sink = log.sink(partition)?;
    let mut source = log.source()?;
    let start = source.bounds(partition)?.start;
    let from_nothing = state.is_none();
    let state = state.unwrap_or_default();
    if !from_nothing && state.scan_from < start {
        return Err(ProduceError::RecordsGone {
            producer: producer.to_owned(),
            partition,
            needed: state.scan_from,
            start,
        });
    }
    let mut scan = Scan {
        producer,
        progress: Progress {
            generation: state.generation,
            next: state.next,
        },
        files: state
            .files
            .into_iter()
            .map(|file| (file.id, file))
            .collect(),
        from_nothing: from_nothing && start > 0,
        gone: None,
        highest: state.generation,
        fence: 0,
        fence_from: 0,
        fenced: false,
    };
    source.assign(partition, state.scan_from.max(start))?;
    let mut fences = 0;
    while !scan.fenced {
        fences += 1;
        scan.fence = scan.highest + 1;
        scan.fence_from = source.bounds(partition)?.end;
        write_fence(sink.as_mut(), producer, scan.fence, scan.progress.next)?;
        scan.read_to_fence(source.as_mut(), partition)?;
    }
    if let Some(first) = scan.gone {
        return Err(ProduceError::StateGone {
            producer: producer.to_owned(),
            partition,
            first,
        });
    }
    Ok(Recovered {
        fresh: from_nothing && scan.progress.next == 0,
        progress: scan.progress,
        files: scan.files,
        sink,
        fences,
    })
}

fn write_fence(
    sink: &mut dyn Sink,
    producer: &str,
    generation: u32,
    next: u64,
) -> Result<(), LogError> {
    let mut key = Vec::new();
    BlockKey {
        producer,
        generation,
        first: next,
        lines: 0,
        file_id: 0,
        file_offset: 0,
        path: "",
        chunk: Chunk::Whole,
    }
    .encode(&mut key);
    sink.send(NewRecord {
        timestamp: super::now_micros(),
        key: key.into(),
        value: bytes::Bytes::new(),
    })?;
    sink.flush()
}

impl Scan<'_> {
    /// Reads until our fence is seen, whether it holds or an even newer one stands before it.
    fn read_to_fence(
        &mut self,
        source: &mut dyn Source,
        partition: u32,
    ) -> Result<(), ProduceError> {
        let end: Offset = source.bounds(partition)?.end;
        let mut next: Offset = 0;
        let mut heard = Instant::now();
        let mut seen = false;
        while !seen {
            let records = source.poll(Duration::from_millis(100), &mut |record| {
                next = record.offset + 1;
                seen |= self.take(&record);
            })?;
            if records > 0 {
                heard = Instant::now();
            } else if heard.elapsed() > PATIENCE {
                return Err(ProduceError::FenceNotFound {
                    producer: self.producer.to_owned(),
                    partition,
                    next,
                    end,
                });
            }
        }
        self.fenced = self.highest < self.fence;
        Ok(())
    }

    /// Takes one record into account, and returns whether it is our own fence.
    fn take(&mut self, record: &Record<'_>) -> bool {
        let Some(key) = BlockKey::decode(record.key) else {
            return false;
        };
        if key.producer != self.producer {
            return false;
        }
        let ours =
            key.generation == self.fence && key.lines == 0 && record.offset >= self.fence_from;
        if !ours {
            self.highest = self.highest.max(key.generation);
        }
        if self.from_nothing && self.gone.is_none() && key.first > self.progress.next {
            self.gone = Some(key.first);
        }
        let verdict = self.progress.receive(key.generation, key.first, key.lines);
        if let Verdict::Take(_) = verdict {
            self.advance(&key, record.value);
        }
        ours
    }

    fn advance(&mut self, key: &BlockKey<'_>, value: &[u8]) {
        let file = self.files.entry(key.file_id).or_insert_with(|| FileState {
            id: key.file_id,
            path: key.path.into(),
            place: None,
            head: (key.file_offset == 0)
                .then(|| Head::of(value, true))
                .flatten(),
            position: Position::default(),
            copies: Vec::new(),
            gone: false,
        });
        if file.position.offset != key.file_offset {
            file.position = Position::at(key.file_offset);
        }
        file.position.advance(value, key.chunk == Chunk::Continues);
    }
}
