//! What a worker does with a partition before it reads on: is it still the same log, and is a batch pending?
//! A pending batch is read and encoded again, and must come out as it was announced. Reads the log.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::EtlError;
use super::batch::{BatchBuilder, EncodedBatch, anchor_sha};
use super::encode::Layout;
use super::name::ObjectName;
use super::partition::Receiver;
use super::receive::Verdict;
use super::stage::Stager;
use crate::checkpoint::{Anchor, Batch, Checkpoint};
use crate::log::key::BlockKey;
use crate::log::{Identity, LogError, Offset, Record, Source};

/// How long records that must be there may take to come.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(200);

/// Checks that the log still holds what the checkpoints say, by its bounds and by the last committed record of each
/// partition. Those are read together: one after the other, each would wait for a fetch that waits for records.
pub(super) fn check_log(
    source: &mut dyn Source,
    checkpoints: &[&Checkpoint],
) -> Result<(), EtlError> {
    let mut anchors = BTreeMap::new();
    for checkpoint in checkpoints {
        let bounds = check_bounds(source, checkpoint)?;
        // What retention took says nothing about the rest.
        let anchor = checkpoint.anchor.as_ref();
        if let Some(anchor) = anchor.filter(|anchor| anchor.offset >= bounds.start) {
            anchors.insert(checkpoint.partition, anchor);
        }
    }
    check_anchors(source, anchors)
}

fn check_bounds(
    source: &mut dyn Source,
    checkpoint: &Checkpoint,
) -> Result<Range<Offset>, EtlError> {
    let partition = checkpoint.partition;
    let bounds = source.bounds(partition)?;
    let (next, _) = checkpoint.resume();
    if next > bounds.end {
        return Err(EtlError::LogTruncated {
            partition,
            next,
            end: bounds.end,
        });
    }
    if next < bounds.start {
        return Err(EtlError::DataLoss {
            partition,
            next,
            start: bounds.start,
        });
    }
    Ok(bounds)
}

/// Reads the record of each anchor, and the partitions no more.
fn check_anchors(
    source: &mut dyn Source,
    mut anchors: BTreeMap<u32, &Anchor>,
) -> Result<(), EtlError> {
    for (&partition, anchor) in &anchors {
        source.assign(partition, anchor.offset)?;
    }
    let mut found = BTreeMap::new();
    let mut deadline = Instant::now() + PATIENCE;
    while let Some((&partition, &anchor)) = anchors.first_key_value() {
        source.poll(POLL, &mut |record| {
            let anchor = anchors.get(&record.partition);
            if anchor.is_some_and(|anchor| anchor.offset == record.offset) {
                found.insert(record.partition, anchor_sha(record.key, record.value));
            }
        })?;
        let is_read =
            |partition: &u32, anchor: &mut &Anchor| source.position(*partition) > anchor.offset;
        let read: Vec<_> = anchors.extract_if(.., is_read).collect();
        if read.is_empty() && Instant::now() > deadline {
            return Err(silent(source, partition, anchor.offset + 1));
        }
        for (partition, anchor) in read {
            source.release(partition)?;
            if found.get(&partition) != Some(&anchor.sha) {
                return Err(EtlError::AnchorDiffers {
                    partition,
                    offset: anchor.offset,
                });
            }
            deadline = Instant::now() + PATIENCE;
        }
    }
    Ok(())
}

/// Checks that no object lies ahead of the checkpoint, save those of the pending batch: nothing is put before
/// it is announced, so the checkpoint would be an older copy, or gone.
pub(super) fn check_names(
    checkpoint: &Checkpoint,
    newest: Option<&ObjectName>,
) -> Result<(), EtlError> {
    let Some(newest) = newest else {
        return Ok(());
    };
    let pending = checkpoint.pending.as_ref();
    let of_pending = pending.is_some_and(|pending| newest.range() == (pending.start..pending.end));
    if newest.end <= checkpoint.next || of_pending {
        return Ok(());
    }
    Err(EtlError::CheckpointBehind {
        partition: checkpoint.partition,
        next: checkpoint.next,
        end: newest.end,
        object: newest.to_string(),
    })
}

/// Builds a pending batch again, from the log and under the plan it was announced with.
pub(super) fn rebuild(
    source: &mut dyn Source,
    log: &Identity,
    checkpoint: &Checkpoint,
    pending: &Batch,
    layout: Arc<Layout>,
) -> Result<EncodedBatch, EtlError> {
    let partition = checkpoint.partition;
    let start = source.bounds(partition)?.start;
    let (next, producers) = checkpoint.resume();
    if next < start {
        return Err(EtlError::DataLoss {
            partition,
            next,
            start,
        });
    }
    let mut stager = Stager::new(&layout.plan).map_err(EtlError::Parser)?;
    let mut receiver = Receiver {
        producers: producers.clone(),
        begin: checkpoint.begin,
    };
    let mut builder = BatchBuilder::new(layout, pending.start..next);
    read(source, partition, next..pending.end, |record| {
        let key = BlockKey::decode(record.key);
        if let Verdict::Take(skip) = receiver.receive(key.as_ref()) {
            let staged = stager.stage(*record, key, skip);
            builder.append(&staged).map_err(EtlError::Encode)?;
        }
        builder.extend(record);
        Ok(())
    })?;
    let encoded = builder
        .finish(log, checkpoint, receiver.producers)
        .map_err(EtlError::Encode)?;
    if encoded.batch != *pending {
        return Err(EtlError::PendingDiffers {
            partition,
            start: pending.start,
            end: pending.end,
            what: difference(pending, &encoded.batch),
        });
    }
    Ok(encoded)
}

/// Hands every record of `[start, end)` to `each`, and reads the partition no more.
fn read(
    source: &mut dyn Source,
    partition: u32,
    range: Range<Offset>,
    mut each: impl FnMut(&Record<'_>) -> Result<(), EtlError>,
) -> Result<(), EtlError> {
    source.assign(partition, range.start)?;
    let mut deadline = Instant::now() + PATIENCE;
    let mut result = Ok(());
    // The position, not the last record: offsets may leave gaps at the end of the range.
    while source.position(partition) < range.end && result.is_ok() {
        let count = source.poll(POLL, &mut |record| {
            if record.partition == partition && record.offset < range.end && result.is_ok() {
                result = each(&record);
            }
        })?;
        if count > 0 {
            deadline = Instant::now() + PATIENCE;
        } else if Instant::now() > deadline {
            return Err(silent(source, partition, range.end));
        }
    }
    source.release(partition)?;
    result
}

/// Why no record came before `end` for so long: the log no longer goes so far, or does not answer.
fn silent(source: &mut dyn Source, partition: u32, end: Offset) -> EtlError {
    match source.bounds(partition) {
        Ok(bounds) if bounds.end < end => EtlError::LogTruncated {
            partition,
            next: end,
            end: bounds.end,
        },
        Ok(_) => {
            let seconds = PATIENCE.as_secs();
            EtlError::Log(LogError::Failed {
                place: format!("partition {partition}"),
                action: "read records",
                source: format!("it has some below offset {end}, and none came for {seconds} s")
                    .into(),
            })
        }
        Err(error) => error.into(),
    }
}

/// The first thing in which two batches of the same range differ, in words.
fn difference(announced: &Batch, now: &Batch) -> String {
    for (old, new) in announced.files.iter().zip(&now.files) {
        if old != new {
            return format!(
                "{} was announced with {} rows (digest {}), and {} comes out with {} rows (digest {})",
                old.dir, old.rows, old.digest, new.dir, new.rows, new.digest
            );
        }
    }
    if announced.files.len() != now.files.len() {
        return format!(
            "{} files were announced, and {} come out",
            announced.files.len(),
            now.files.len()
        );
    }
    "the records themselves have changed".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::memory::MemoryLog;
    use crate::log::{Log as _, NewRecord};

    #[test]
    fn silence_is_not_taken_for_a_log_that_was_cut() {
        let log = MemoryLog::new("logs", 1);
        log.append(
            0,
            NewRecord {
                timestamp: 0,
                key: bytes::Bytes::new(),
                value: bytes::Bytes::from_static(b"line\n"),
            },
        );
        let mut source = log.source().unwrap();
        let silent = |end| super::silent(source.as_mut(), 0, end);
        let errors: Vec<EtlError> = [1, 2].map(silent).into();
        assert!(errors[0].may_pass(), "{}", errors[0]);
        assert!(
            matches!(
                errors[1],
                EtlError::LogTruncated {
                    next: 2,
                    end: 1,
                    ..
                }
            ),
            "{}",
            errors[1]
        );
    }
}
