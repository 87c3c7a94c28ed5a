//! A checkpoint that was lost is made again from what is in the sink, or nothing is made. Pure.
//!
//! Each file carries in its footer the checkpoint that announced its batch. So the files of the newest batch say
//! everything: where all of them are there, the batch is committed, and the checkpoint is the one behind it. Where
//! some are missing, the crash came between two puts: the batch is pending again, exactly as it was announced, and
//! the next worker finishes it as it finishes any other.
//!
//! This is right only while nobody puts a file: no worker may run, and no put of one may be under way.

use logpipe_api::settings::partition_key;

use super::Checkpoint;
use super::survey::{LogSeen, Newest, PartitionSeen, Sink};
use crate::etl::name::ObjectName;
use crate::log::Offset;

/// Why a checkpoint is not made or not put back. Each says what a person can do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The names leave a gap, or overlap.
    #[error(
        "partition {partition}: {what}. The table itself is not whole, and a checkpoint would hide that. Bring the \
         missing files back, or move those away that do not belong there; `logpipe verify` lists them"
    )]
    Broken {
        /// The partition.
        partition: u32,
        /// The gap or overlap.
        what: String,
    },
    /// A release before this one wrote the newest files.
    #[error(
        "partition {partition}: {object} does not carry its batch in its footer: an older release wrote it, so it \
         does not tell where to go on. Restore the checkpoint from a backup (`logpipe checkpoint import`), or begin \
         again in a new place, with a name and a prefix of its own"
    )]
    NoImprint {
        /// The partition.
        partition: u32,
        /// A file of the newest batch.
        object: String,
    },
    /// A file is not what its batch says.
    #[error(
        "partition {partition}: {object} {what}. It was copied there, changed, or written by another pipeline: move it \
         away, and try again"
    )]
    Foreign {
        /// The partition.
        partition: u32,
        /// The file.
        object: String,
        /// What does not fit.
        what: &'static str,
    },
    /// The rest of the newest batch cannot be read any more.
    #[error(
        "partition {partition}: of the last batch [{start}, {end}) only {have} of {all} files are in the sink, and the \
         log begins at offset {log}: the lines of the others cannot be read any more. Bring the log's records or the \
         missing files back from a copy ({missing}); otherwise keep this table as it is, and begin again in a new \
         place, with a name and a prefix of its own"
    )]
    RestGone {
        /// The partition.
        partition: u32,
        /// Where the batch starts.
        start: Offset,
        /// One after its last offset.
        end: Offset,
        /// Files that are there.
        have: usize,
        /// Files that were announced.
        all: usize,
        /// Where the log begins.
        log: Offset,
        /// The folder of the first file that is missing.
        missing: String,
    },
    /// Nothing says whether a partition was ever written.
    #[error(
        "partition {partition}: no file of it is in the sink, and the log begins at offset {log}: nothing tells whether \
         the offsets below were written and their files removed. If no line of it was ever written, say so: \
         --assume-unwritten"
    )]
    Unknown {
        /// The partition.
        partition: u32,
        /// Where the log begins.
        log: Offset,
    },
    /// It is of another topic or cluster.
    #[error(
        "partition {partition}: the checkpoint is of topic id {found} in Kafka cluster {found_cluster}, and the log is \
         topic id {expected} in cluster {cluster}: it says nothing about this log. Use the checkpoints of this one"
    )]
    OtherLog {
        /// The partition.
        partition: u32,
        /// The checkpoint's topic id.
        found: String,
        /// The checkpoint's cluster.
        found_cluster: String,
        /// The log's topic id.
        expected: String,
        /// The log's cluster.
        cluster: String,
    },
    /// Files lie ahead of it.
    #[error(
        "partition {partition}: the checkpoint stands at offset {next}, but files up to offset {end} are in the sink \
         ({object}): going on from it would write these rows twice. Use a newer one, or make it from the files: \
         `logpipe checkpoint rebuild`"
    )]
    Behind {
        /// The partition.
        partition: u32,
        /// Where the checkpoint stands.
        next: Offset,
        /// One after the last offset in a file.
        end: Offset,
        /// The file.
        object: String,
    },
    /// Files that it says are there are not.
    #[error(
        "partition {partition}: the checkpoint stands at offset {next}, but the files in the sink end at offset {end}: \
         the lines between would never be written. Is this the sink of these checkpoints? Then make them from its \
         files: `logpipe checkpoint rebuild`"
    )]
    Ahead {
        /// The partition.
        partition: u32,
        /// Where the checkpoint stands.
        next: Offset,
        /// One after the last offset in a file; 0 where there is none.
        end: Offset,
    },
}

/// The checkpoint of a partition, from what was found; `None` where nothing was ever committed. `owner` must be one
/// that no worker ever had: a swap of the past then finds another value than it expects.
pub fn rebuild(
    seen: &PartitionSeen,
    log: &LogSeen,
    owner: &str,
    assume_unwritten: bool,
) -> Result<Option<Checkpoint>, Refusal> {
    let partition = seen.partition;
    let newest = match &seen.sink {
        Sink::Newest(newest) => newest,
        Sink::Broken(what) => {
            let what = what.clone();
            return Err(Refusal::Broken { partition, what });
        }
        Sink::Empty if seen.log.start > 0 && !assume_unwritten => {
            let log = seen.log.start;
            return Err(Refusal::Unknown { partition, log });
        }
        Sink::Empty => return Ok(None),
    };
    let mut checkpoint = imprint(partition, newest, log)?.clone();
    let batch = checkpoint.pending.clone();
    let batch = batch.expect("an imprint has the batch that it announces");
    let here = |dir: &str| newest.files.iter().any(|file| file.dir == dir);
    let missing = batch.files.iter().find(|file| !here(&file.dir));
    match missing {
        None => {
            checkpoint.pending = None;
            checkpoint.pass(&batch);
        }
        Some(missing) if batch.start < seen.log.start => {
            return Err(Refusal::RestGone {
                partition,
                start: batch.start,
                end: batch.end,
                have: newest.files.len(),
                all: batch.files.len(),
                log: seen.log.start,
                missing: missing.dir.clone(),
            });
        }
        // Pending as it was: its files are put or compared, and then it is committed.
        Some(_) => {}
    }
    checkpoint.epoch = 1;
    checkpoint.n = 1;
    owner.clone_into(&mut checkpoint.owner);
    Ok(Some(checkpoint))
}

/// What the files of the newest batch say, where they agree.
fn imprint<'a>(
    partition: u32,
    newest: &'a Newest,
    log: &LogSeen,
) -> Result<&'a Checkpoint, Refusal> {
    let mut said: Option<&Checkpoint> = None;
    for file in &newest.files {
        let foreign = |what| Refusal::Foreign {
            partition,
            object: file.object.clone(),
            what,
        };
        let Some(imprint) = &file.imprint else {
            let object = file.object.clone();
            return Err(Refusal::NoImprint { partition, object });
        };
        if imprint.cluster != log.cluster || imprint.topic_id != log.topic_id {
            return Err(other_log(imprint, log));
        }
        let batch = imprint.pending.as_ref();
        let batch = batch.filter(|batch| {
            imprint.partition == partition
                && imprint.next == batch.start
                && (newest.start, newest.end) == (batch.start, batch.end)
        });
        let batch = batch.ok_or_else(|| foreign("carries the batch of another file"))?;
        let announced = batch.files.iter().find(|one| one.dir == file.dir);
        let announced = announced.ok_or_else(|| foreign("is not of the batch that it names"))?;
        if file.digest.as_ref() != Some(&announced.digest) {
            return Err(foreign("holds other rows than its batch says"));
        }
        if said.is_some_and(|said| said != imprint) {
            return Err(foreign("carries another batch than its neighbours"));
        }
        said = Some(imprint);
    }
    Ok(said.expect("the newest batch is that of a file"))
}

/// Whether going on from a checkpoint neither leaves out a line nor writes one twice, as far as the sink tells.
/// `anywhere` says whether any file of this log is in the sink: then it is the right one, and a partition without
/// a file may have had some that were removed on purpose.
pub fn fits(
    checkpoint: &Checkpoint,
    seen: &PartitionSeen,
    log: &LogSeen,
    anywhere: bool,
) -> Result<(), Refusal> {
    let (partition, next) = (seen.partition, checkpoint.next);
    if checkpoint.cluster != log.cluster || checkpoint.topic_id != log.topic_id {
        return Err(other_log(checkpoint, log));
    }
    let newest = match &seen.sink {
        Sink::Newest(newest) => newest,
        Sink::Broken(what) => {
            let what = what.clone();
            return Err(Refusal::Broken { partition, what });
        }
        Sink::Empty if checkpoint.totals.files == 0 || anywhere => return Ok(()),
        Sink::Empty => {
            let end = 0;
            return Err(Refusal::Ahead {
                partition,
                next,
                end,
            });
        }
    };
    let end = newest.end;
    let pending = checkpoint.pending.as_ref();
    if pending.is_some_and(|batch| (batch.start, batch.end) == (newest.start, end)) || end == next {
        return Ok(());
    }
    if end < next {
        return Err(Refusal::Ahead {
            partition,
            next,
            end,
        });
    }
    Err(Refusal::Behind {
        partition,
        next,
        end,
        object: newest
            .files
            .first()
            .map_or_else(String::new, |file| file.object.clone()),
    })
}

fn other_log(found: &Checkpoint, log: &LogSeen) -> Refusal {
    Refusal::OtherLog {
        partition: found.partition,
        found: found.topic_id.clone(),
        found_cluster: found.cluster.clone(),
        expected: log.topic_id.clone(),
        cluster: log.cluster.clone(),
    }
}

/// The files of the newest batch of one partition, where the ranges of all its files follow each other.
pub fn newest(mut names: Vec<ObjectName>) -> Result<Vec<ObjectName>, String> {
    names.sort_by(|a, b| (a.start, a.end, &a.dir).cmp(&(b.start, b.end, &b.dir)));
    for pair in names.windows(2) {
        let [before, behind] = pair else { continue };
        if before.range() == behind.range() || before.end == behind.start {
            continue;
        }
        let key = partition_key(before.partition);
        let what = if before.end < behind.start {
            "no file covers the offsets"
        } else {
            "two files cover the offsets"
        };
        let (from, to) = (before.end.min(behind.start), before.end.max(behind.start));
        return Err(format!(
            "{what} [{from}, {}) of {key} (between {before} and {behind})",
            to.min(behind.end).max(from + 1)
        ));
    }
    let last = names.last().map(ObjectName::range);
    names.retain(|name| Some(name.range()) == last);
    Ok(names)
}

#[cfg(test)]
mod tests;
