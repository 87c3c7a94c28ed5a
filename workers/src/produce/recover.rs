//! Where a lane goes on: a fence keeps older generations out, and the partition tells, by the receiver's
//! own rule, which lines count. Writes fences and reads a partition; touches no disk.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use super::outbox::Outbox;
use super::state::{State, StateFile};
use super::{Control, ProduceError};
use crate::etl::receive::{Claim, Progress, Scan, Verdict};
use crate::log::key::{BlockKey, Chunk};
use crate::log::{Log, LogError, NewRecord, Offset, Record, Sink, Source};
use crate::tail::FileState;
use crate::tail::identity::{FileId, Head};
use crate::tail::position::Position;

/// How long a partition may stay silent while records are still missing.
const PATIENCE: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(100);

/// What a lane knows after a scan, and what it writes with.
pub(super) struct Recovered {
    /// It goes on from where the log is, and its state is the one that was loaded.
    pub(super) outbox: Outbox,
    pub(super) files: BTreeMap<FileId, FileState>,
    /// There is no state, and no line was ever written under this producer key.
    pub(super) fresh: bool,
    /// Which start of the machine it was when the state was saved.
    pub(super) boot_id: Option<String>,
}

/// Claims the partition for a lane; `None` when `control` says to stop before that is done.
pub(super) fn recover(
    log: &dyn Log,
    partition: u32,
    producer: &str,
    state_file: &StateFile,
    control: &Control,
) -> Result<Option<Recovered>, ProduceError> {
    let saved = state_file.load()?;
    let mut reader = Reader::new(log, partition, producer, control)?;
    let Range { start, end } = reader.source.bounds(partition)?;
    let identity = log.identity();
    match &saved {
        // Its numbers mean nothing to the readers of this log: they would wait for the ones before.
        Some(state) if state.topic_id != identity.topic_id || state.scan_from > end => {
            return Err(ProduceError::OtherLog {
                producer: producer.to_owned(),
                state: state_file.path().display().to_string(),
                topic: identity.topic,
                partition,
            });
        }
        Some(state) if state.scan_from < start => {
            return Err(ProduceError::RecordsGone {
                producer: producer.to_owned(),
                partition,
                needed: state.scan_from,
                start,
            });
        }
        // Before a fence is written: a start that must not be should not end the one that may.
        None if start > 0 => match reader.witness(start)? {
            None => return Ok(None),
            Some(Evidence::Proof) => {}
            Some(Evidence::Nothing) if state_file.may_begin() => {}
            Some(Evidence::Nothing | Evidence::Gone) => {
                return Err(ProduceError::StateGone {
                    producer: producer.to_owned(),
                    state: state_file.path().display().to_string(),
                    topic: identity.topic,
                    partition,
                    start,
                    begin: state_file.begin_path().display().to_string(),
                });
            }
        },
        _ => {}
    }
    let fresh = saved.is_none();
    let state = saved.unwrap_or_default();
    let scan_from = state.scan_from.max(start);
    let boot_id = state.boot_id.clone();
    let nonce = getrandom::u64().map_err(ProduceError::Random)?;
    let mut claiming = Claiming::new(state, nonce);
    let mut sink = log.sink(partition)?;
    reader.assign(scan_from)?;
    let Some(fences) = claiming.claim(&mut reader, sink.as_mut())? else {
        return Ok(None);
    };
    let progress = claiming.claim.progress();
    Ok(Some(Recovered {
        fresh: fresh && progress.next == 0,
        outbox: Outbox::new(sink, fences, progress, scan_from),
        files: claiming.files,
        boot_id,
    }))
}

/// Reads the records of one producer key.
struct Reader<'a> {
    source: Box<dyn Source>,
    partition: u32,
    producer: &'a str,
    control: &'a Control,
    next: Offset,
    heard: Instant,
}

impl<'a> Reader<'a> {
    fn new(
        log: &dyn Log,
        partition: u32,
        producer: &'a str,
        control: &'a Control,
    ) -> Result<Self, LogError> {
        Ok(Self {
            source: log.source()?,
            partition,
            producer,
            control,
            next: 0,
            heard: Instant::now(),
        })
    }

    fn assign(&mut self, offset: Offset) -> Result<(), LogError> {
        self.next = offset;
        self.heard = Instant::now();
        self.source.assign(self.partition, offset)
    }

    /// Hands on the records that are there, or waits a little for some; `false` when told to stop.
    fn read(&mut self, each: &mut dyn FnMut(&BlockKey<'_>, &[u8])) -> Result<bool, ProduceError> {
        if self.control.is_stopped() {
            return Ok(false);
        }
        let (producer, next) = (self.producer, &mut self.next);
        let records = self.source.poll(POLL, &mut |record: Record<'_>| {
            *next = record.offset + 1;
            let key = BlockKey::decode(record.key);
            if let Some(key) = key.filter(|key| key.producer == producer) {
                each(&key, record.value);
            }
        })?;
        // Offsets may leave gaps, at the end too.
        self.next = self.next.max(self.source.position(self.partition));
        if records > 0 {
            self.heard = Instant::now();
        } else if self.heard.elapsed() > PATIENCE {
            return Err(ProduceError::FenceNotFound {
                producer: self.producer.to_owned(),
                partition: self.partition,
                next: self.next,
                end: self.source.bounds(self.partition)?.end,
            });
        }
        Ok(true)
    }

    /// What the records from `start` on tell about the ones before; `None` when told to stop.
    fn witness(&mut self, start: Offset) -> Result<Option<Evidence>, ProduceError> {
        let end = self.source.bounds(self.partition)?.end;
        let mut witness = Witness::default();
        self.assign(start)?;
        while self.next < end {
            if !self.read(&mut |key, _| witness.take(key))? {
                return Ok(None);
            }
        }
        Ok(Some(witness.evidence()))
    }
}

/// What a log that has lost its first records tells about those of one producer key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Evidence {
    /// None of them was lost.
    Proof,
    /// No line of it is there; fences at most.
    Nothing,
    /// Some were lost.
    Gone,
}

/// Fences that count go up by one, whatever state a start begins from, and lines are numbered from 0. So
/// the first generation with its first line cannot be followed to the end if records before were lost.
/// The first line alone proves nothing: it may be a late one that older generations had sent.
#[derive(Default)]
struct Witness {
    progress: Progress,
    skipped_generation: bool,
    gap: bool,
}

impl Witness {
    fn take(&mut self, key: &BlockKey<'_>) {
        let before = self.progress.generation;
        let next_fence = key.lines == 0 && key.generation == before.saturating_add(1);
        let known = before > 0 && key.generation <= before;
        self.skipped_generation |= !next_fence && !known;
        let verdict = self.progress.receive(key.generation, key.first, key.lines);
        self.gap |= matches!(verdict, Verdict::Gap { .. });
    }

    fn evidence(&self) -> Evidence {
        match self.progress.next {
            _ if self.skipped_generation => Evidence::Gone,
            0 if self.gap => Evidence::Gone,
            0 => Evidence::Nothing,
            _ => Evidence::Proof,
        }
    }
}

/// A claim, and what is learned about the files on the way.
struct Claiming {
    claim: Claim,
    files: BTreeMap<FileId, FileState>,
    claimed: bool,
    outrun: bool,
}

impl Claiming {
    fn new(state: State, nonce: u64) -> Self {
        let saved = Progress {
            generation: state.generation,
            next: state.next,
            ..Progress::default()
        };
        let files = state.files.into_iter().map(|file| (file.id, file));
        Self {
            claim: Claim::new(saved, nonce),
            files: files.collect(),
            claimed: false,
            outrun: false,
        }
    }

    /// Writes fences until one counts, and returns how many; `None` when told to stop before.
    fn claim(
        &mut self,
        reader: &mut Reader<'_>,
        sink: &mut dyn Sink,
    ) -> Result<Option<u64>, ProduceError> {
        let mut fences = 0;
        while !self.claimed {
            fences += 1;
            self.outrun = false;
            write_fence(sink, &self.claim.fence(reader.producer))?;
            while !self.claimed && !self.outrun {
                if !reader.read(&mut |key, value| self.take(key, value))? {
                    return Ok(None);
                }
            }
            if self.outrun && self.claim.progress().generation == u32::MAX {
                return Err(ProduceError::GenerationsUsedUp {
                    producer: reader.producer.to_owned(),
                    partition: reader.partition,
                });
            }
        }
        Ok(Some(fences))
    }

    fn take(&mut self, key: &BlockKey<'_>, value: &[u8]) {
        if self.claimed {
            return; // behind the fence, older generations write in vain
        }
        match self.claim.read(key) {
            Scan::Record(Verdict::Take(_)) => self.advance(key, value),
            Scan::Record(_) => {}
            Scan::Claimed => self.claimed = true,
            Scan::Outrun => self.outrun = true,
        }
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

fn write_fence(sink: &mut dyn Sink, key: &BlockKey<'_>) -> Result<(), LogError> {
    let mut bytes = Vec::new();
    key.encode(&mut bytes);
    sink.send(NewRecord {
        timestamp: super::now_micros(),
        key: bytes.into(),
        value: bytes::Bytes::new(),
    })?;
    sink.flush()
}
