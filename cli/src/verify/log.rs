//! The log as the witness: each record below the committed offset is read again through the ETL's own receiver,
//! and each line that it takes must be a row. Reads the log; memory stays bounded to the rows of a batch and the
//! records of a poll.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Arguments;
use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use logpipe_workers::checkpoint::Checkpoint;
use logpipe_workers::etl::partition::Receiver;
use logpipe_workers::etl::receive::{Progress, Verdict};
use logpipe_workers::etl::stage::count_lines;
use logpipe_workers::log::key::BlockKey;
use logpipe_workers::log::{Identity, Offset, Record, Source};

use super::names::id8;
use super::report::{Faults, Kind, LogPart};
use super::rows::Row;
use crate::table::things;

const POLL: Duration = Duration::from_millis(200);
/// How long records that must be there may take to come.
const PATIENCE: Duration = Duration::from_mins(1);

/// The log that the rows must have come from.
pub(super) struct Witness<'a> {
    pub(super) source: &'a mut dyn Source,
    pub(super) identity: &'a Identity,
}

impl Witness<'_> {
    /// Refuses checkpoints of another log, and a place without any: what is committed is not known then.
    pub(super) fn check(&self, checkpoints: &[Checkpoint]) -> anyhow::Result<()> {
        let identity = self.identity;
        if checkpoints.is_empty() {
            bail!(
                "there are no checkpoints, so nobody knows which records of {} are committed: name their folder with \
                 --checkpoints DIR",
                identity.topic
            );
        }
        let other = checkpoints.iter().find(|checkpoint| {
            checkpoint.cluster != identity.cluster || checkpoint.topic_id != identity.topic_id
        });
        if let Some(other) = other {
            bail!(
                "the checkpoints are of topic id {} in cluster {}, and Kafka's topic {} has the id {} in cluster {}: name \
                 the folder of this topic's checkpoints with --checkpoints DIR, or the other Kafka",
                other.topic_id,
                other.cluster,
                identity.topic,
                identity.topic_id,
                identity.cluster
            );
        }
        Ok(())
    }

    /// Whether rows of this topic id come from the log.
    pub(super) fn knows(&self, topic_id8: &str) -> bool {
        self.identity.topic_id8() == topic_id8
    }

    /// Whether there is anything of this checkpoint to compare.
    pub(super) fn has(&self, checkpoint: &Checkpoint) -> bool {
        self.knows(&id8(checkpoint)) && checkpoint.next > checkpoint.begin
    }
}

/// A record that is read and not compared yet: of its lines only their number is kept.
struct Noted {
    offset: Offset,
    /// Producer, generation, first sequence and lines of its key.
    key: Option<(String, u32, u64, u32)>,
    lines: u32,
}

impl Noted {
    fn of(record: &Record<'_>) -> Self {
        let key = BlockKey::decode(record.key);
        Self {
            offset: record.offset,
            key: key.map(|key| {
                (
                    key.producer.to_owned(),
                    key.generation,
                    key.first,
                    key.lines,
                )
            }),
            lines: count_lines(record.value),
        }
    }
}

/// Some lines of a record that are rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Run {
    offset: Offset,
    start: u32,
    end: u32,
}

/// The comparison of one partition, which goes on from batch to batch.
pub(super) struct Comparison<'a> {
    source: &'a mut dyn Source,
    partition: u32,
    label: String,
    receiver: Receiver,
    /// The log holds nothing below.
    start: Offset,
    /// Up to the committed offset.
    until: Offset,
    /// The beginning of the log is gone, so what the receiver knew at `start` has to be found out.
    is_cut: bool,
    /// One after the highest sequence in the rows below `start`, by producer key.
    before: BTreeMap<String, u64>,
    /// The producer keys whose generation is known.
    sure: BTreeSet<String>,
    /// Lines behind a gap, by producer keys of which no line was ever taken.
    untaken: BTreeMap<String, u64>,
    rows: Vec<Run>,
    noted: VecDeque<Noted>,
    part: LogPart,
}

impl<'a> Comparison<'a> {
    /// Begins to read the log where it still is and something is committed.
    pub(super) fn begin(
        witness: &'a mut Witness<'_>,
        checkpoint: &Checkpoint,
    ) -> anyhow::Result<Self> {
        let (partition, topic) = (checkpoint.partition, &witness.identity.topic);
        let label = format!("{topic} partition {partition}");
        let bounds = witness.source.bounds(partition)?;
        ensure!(
            checkpoint.next <= bounds.end,
            "{label}: the log ends at offset {}, before the checkpoint's {}: it was truncated or replaced by an older \
             copy, so it proves nothing",
            bounds.end,
            checkpoint.next
        );
        let start = bounds.start.max(checkpoint.begin);
        let is_cut = bounds.start > checkpoint.begin;
        witness.source.assign(partition, start)?;
        Ok(Self {
            source: &mut *witness.source,
            partition,
            receiver: Receiver {
                producers: BTreeMap::new(),
                // A producer that is seen for the first time behind a cut is taken from there on.
                begin: if is_cut { start } else { checkpoint.begin },
            },
            start,
            until: checkpoint.next.max(start),
            is_cut,
            before: BTreeMap::new(),
            sure: BTreeSet::new(),
            untaken: BTreeMap::new(),
            rows: Vec::new(),
            noted: VecDeque::new(),
            part: LogPart {
                topic: topic.clone(),
                partition,
                gone: start.min(checkpoint.next) - checkpoint.begin,
                start: start.min(checkpoint.next),
                end: checkpoint.next,
                ..LogPart::default()
            },
            label,
        })
    }

    /// Notes a committed row.
    pub(super) fn row(&mut self, row: &Row<'_>) {
        if row.offset < self.start {
            if let Some((producer, sequence)) = row.sequence {
                match self.before.get_mut(producer) {
                    Some(next) => *next = (*next).max(sequence + 1),
                    None => {
                        self.before.insert(producer.to_owned(), sequence + 1);
                    }
                }
            }
            return;
        }
        let (offset, start, end) = (row.offset, row.line, row.line.saturating_add(1));
        match self.rows.last_mut() {
            Some(last) if last.offset == offset && last.end == start => last.end = end,
            _ => self.rows.push(Run { offset, start, end }),
        }
    }

    /// Compares everything below `end`, whose rows are all noted.
    pub(super) fn compare(&mut self, end: Offset, faults: &mut Faults) -> anyhow::Result<()> {
        let end = end.min(self.until);
        for (producer, next) in std::mem::take(&mut self.before) {
            let progress = self.receiver.producers.entry(producer).or_default();
            progress.next = progress.next.max(next);
            progress.open = false;
        }
        self.rows.sort_unstable();
        let mut rows = std::mem::take(&mut self.rows).into_iter().peekable();
        while let Some(noted) = self.next(end)? {
            while let Some(run) = rows.next_if(|run| run.offset < noted.offset) {
                self.extra(run, faults);
            }
            let mut found = Vec::new();
            while let Some(run) = rows.next_if(|run| run.offset == noted.offset) {
                found.push(run);
            }
            let expected = self.expected(&noted, found.is_empty());
            self.judge(noted.offset, &expected, &found, faults);
        }
        while let Some(run) = rows.next_if(|run| run.offset < end) {
            self.extra(run, faults);
        }
        self.rows.extend(rows);
        Ok(())
    }

    /// Compares what is left, and reads the partition no more.
    pub(super) fn finish(mut self, faults: &mut Faults) -> anyhow::Result<LogPart> {
        self.compare(self.until, faults)?;
        for (producer, lines) in std::mem::take(&mut self.untaken) {
            let what =
                format_args!("producer {producer} not there: the lines before them never came");
            self.told_missing(lines, what, faults);
        }
        self.source.release(self.partition)?;
        Ok(self.part)
    }

    /// The next record below `end`.
    fn next(&mut self, end: Offset) -> anyhow::Result<Option<Noted>> {
        let deadline = Instant::now() + PATIENCE;
        while self.noted.is_empty() && self.source.position(self.partition) < end {
            let noted = &mut self.noted;
            let count = self
                .source
                .poll(POLL, &mut |record| noted.push_back(Noted::of(&record)))
                .with_context(|| format!("{}: the log cannot be read again", self.label))?;
            if count == 0 && Instant::now() > deadline {
                bail!(
                    "{}: nothing came from offset {} on, and the log must reach {end}",
                    self.label,
                    self.source.position(self.partition)
                );
            }
        }
        match self.noted.front() {
            Some(noted) if noted.offset < end => Ok(self.noted.pop_front()),
            _ => Ok(None),
        }
    }

    /// The lines of a record that must be rows.
    fn expected(&mut self, noted: &Noted, no_row: bool) -> Range<u32> {
        let Some((producer, generation, first, lines)) = &noted.key else {
            return 0..noted.lines;
        };
        let before = self.receiver.producers.get(producer).copied();
        let key = BlockKey {
            generation: *generation,
            first: *first,
            lines: *lines,
            ..BlockKey::fence(producer, *generation, 0)
        };
        match self.receiver.receive(Some(&key)) {
            // Behind a cut nobody knows the producer's generation: this may be an old one, that was fenced. If it
            // was not, its lines are missing, and so the next record of the producer has rows that it should not.
            Verdict::Take(_) if self.is_cut && no_row && !self.sure.contains(producer) => {
                self.restore(producer, before);
                0..0
            }
            Verdict::Take(skip) => {
                self.untaken.remove(producer);
                self.be_sure(producer);
                skip.min(noted.lines)..noted.lines
            }
            Verdict::Fence => {
                self.be_sure(producer);
                0..0
            }
            // Nothing else would show them: no row and no checkpoint counts a line of this producer.
            Verdict::Gap { missing: 0 } => {
                *self.untaken.entry(producer.clone()).or_default() += u64::from(*lines);
                0..0
            }
            Verdict::Duplicate | Verdict::Fenced | Verdict::Gap { .. } => 0..0,
        }
    }

    fn be_sure(&mut self, producer: &str) {
        if self.is_cut && !self.sure.contains(producer) {
            self.sure.insert(producer.to_owned());
        }
    }

    fn restore(&mut self, producer: &str, before: Option<Progress>) {
        let producers = &mut self.receiver.producers;
        match before {
            Some(before) => producers.insert(producer.to_owned(), before),
            None => producers.remove(producer),
        };
    }

    fn judge(&mut self, offset: Offset, expected: &Range<u32>, found: &[Run], faults: &mut Faults) {
        self.part.records += 1;
        self.part.lines += u64::from(expected.end - expected.start);
        let (mut there, mut other, mut reach) = (0, 0, 0);
        for run in found {
            // Rows that are there twice are told by their offset and line.
            let (start, end) = (run.start.max(reach), run.end.max(reach));
            reach = end;
            let inside = end
                .min(expected.end)
                .saturating_sub(start.max(expected.start));
            there += inside;
            other += (end - start) - inside;
        }
        let missing = u64::from(expected.end - expected.start - there);
        let extra = u64::from(other);
        if missing > 0 {
            let what = format_args!("the record at offset {offset} not there");
            self.told_missing(missing, what, faults);
        }
        if extra > 0 {
            self.told_extra(
                offset,
                extra,
                "which the record there does not give",
                faults,
            );
        }
    }

    fn extra(&mut self, run: Run, faults: &mut Faults) {
        let rows = u64::from(run.end - run.start);
        self.told_extra(run.offset, rows, "where the log holds no record", faults);
    }

    fn told_missing(&mut self, lines: u64, what: Arguments<'_>, faults: &mut Faults) {
        self.part.missing += lines;
        faults.add(Kind::NotThere, lines, || {
            format!("{}: {} of {what}", self.label, things(lines, "line"))
        });
    }

    fn told_extra(&mut self, offset: Offset, rows: u64, why: &str, faults: &mut Faults) {
        self.part.extra += rows;
        faults.add(Kind::NotInLog, rows, || {
            format!(
                "{}: {} of offset {offset}, {why}",
                self.label,
                things(rows, "row")
            )
        });
    }
}

#[cfg(test)]
mod tests;
