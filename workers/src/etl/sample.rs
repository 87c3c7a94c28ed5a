//! The first lines of a log, for `Auto` and `Infer`. Reads the log and the checkpoints.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::commit::CommitError;
use super::parse::is_blank;
use super::{Control, EtlError};
use crate::checkpoint::{Checkpoint, CheckpointStore, partition_key};
use crate::log::key::{BlockKey, Chunk};
use crate::log::{Log, LogError, Offset, Record, Source};

/// Lines that are enough to decide.
const LINES: usize = 1000;

/// How long to wait for more lines when there are some but not enough.
const PATIENCE: Duration = Duration::from_millis(500);

/// Lines as raw bytes.
#[derive(Debug, Default)]
pub(super) struct Sample {
    values: Vec<Vec<u8>>,
    lines: usize,
    read_at: i64,
}

impl Sample {
    pub(super) fn is_empty(&self) -> bool {
        self.lines == 0
    }

    /// The lines, without their newlines; about [`LINES`] of them.
    pub(super) fn lines(&self) -> Vec<&[u8]> {
        let lines = self.values.iter().flat_map(|value| {
            let value = value.strip_suffix(b"\n").unwrap_or(value);
            value.split(|&byte| byte == b'\n')
        });
        lines.take(LINES).collect()
    }

    /// Takes what tells something: a record with a line that is not blank. Of a line so long that it comes
    /// in pieces the first one does, the others have no head. `goes_on`: the record before was a piece of a
    /// line that continues in this one.
    fn add(&mut self, record: &Record<'_>, goes_on: bool) {
        let lines = record.value.split(|&byte| byte == b'\n');
        let lines = lines.filter(|line| !is_blank(line)).count();
        if goes_on || lines == 0 || self.lines >= LINES {
            return;
        }
        if self.values.is_empty() {
            self.read_at = record.timestamp;
        }
        self.lines += lines;
        self.values.push(record.value.to_vec());
    }

    /// When the first of them was read, in microseconds since 1970.
    pub(super) fn read_at(&self) -> i64 {
        self.read_at
    }
}

/// Waits for lines that are not committed yet; an empty sample when the log is drained without one that
/// tells something.
pub(super) fn take(
    log: &dyn Log,
    checkpoints: &Arc<dyn CheckpointStore>,
    control: &Control,
    runtime: &Handle,
) -> Result<Sample, EtlError> {
    let mut source = log.source()?;
    let partitions = log.identity().partitions;
    for partition in 0..partitions {
        let start = source.bounds(partition)?.start;
        let stored = runtime
            .block_on(checkpoints.read(&partition_key(partition)))
            .map_err(CommitError::from)?;
        // What cannot be read here is reported at the take-over, with all it takes to mend it.
        let next = stored
            .and_then(|bytes| Checkpoint::decode(&bytes).ok())
            .map_or(0, |c| c.next);
        let end = source.bounds(partition)?.end;
        source.assign(partition, next.clamp(start, end))?;
    }
    let mut sample = Sample::default();
    let mut long = vec![false; partitions as usize];
    let mut ends = None;
    let mut since = None;
    while sample.lines < LINES && since.is_none_or(|at: Instant| at.elapsed() < PATIENCE) {
        if control.is_stopping() {
            return Ok(Sample::default());
        }
        // Where the log ends when its sources are done; asked once.
        if ends.is_none() && control.is_draining() {
            ends = Some(self::ends(source.as_mut(), partitions)?);
        }
        source.poll(super::POLL, &mut |record| {
            let chunk = BlockKey::decode(record.key).map_or(Chunk::Whole, |key| key.chunk);
            let long = &mut long[record.partition as usize];
            let goes_on = std::mem::replace(long, chunk == Chunk::Continues);
            sample.add(&record, goes_on);
        })?;
        let at_end = |ends: &Vec<Offset>| {
            let mut ends = (0..).zip(ends);
            ends.all(|(partition, end)| source.position(partition) >= *end)
        };
        if ends.as_ref().is_some_and(at_end) {
            break;
        }
        if sample.lines > 0 && since.is_none() {
            since = Some(Instant::now());
        }
    }
    Ok(sample)
}

fn ends(source: &mut dyn Source, partitions: u32) -> Result<Vec<Offset>, LogError> {
    (0..partitions)
        .map(|partition| Ok(source.bounds(partition)?.end))
        .collect()
}
