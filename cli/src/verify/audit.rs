//! The audit: names first, then every row of every file. Memory stays bounded, because rows are kept as runs
//! of neighbouring numbers. Touches the disk or the network through [`Place`]; never writes.

use std::collections::BTreeMap;

use anyhow::bail;
use indicatif::ProgressBar;
use logpipe_workers::checkpoint::Checkpoint;
use logpipe_workers::etl::name::ObjectName;

use super::log::{Comparison, Witness};
use super::names::{Chain, Entry, chains, id8};
use super::numbers::{LaneCache, Numbers, generated};
use super::report::{Faults, Kind, Lane, LogPart, Partition, Report};
use super::rows::{self, Row};
use super::runs::Runs;
use crate::place::Place;
use crate::table::{count, things};

mod lanes;

/// What the user says about the pipeline.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Options {
    /// It is running or was stopped midway: a generated line that is not there yet is not lost.
    pub(super) running: bool,
}

/// Audits a place, against the log too where there is one to ask.
pub(super) fn audit(
    place: &Place,
    options: Options,
    mut witness: Option<Witness<'_>>,
    progress: &ProgressBar,
) -> anyhow::Result<Report> {
    // The checkpoints first: what is committed then has all its files in any listing that comes after.
    let checkpoints = place.checkpoints()?;
    if let Some(witness) = &witness {
        witness.check(&checkpoints)?;
    }
    let (files, other_files) = list(place)?;
    progress.set_length(files.iter().map(|file| file.object.size).sum());
    let mut audit = Audit {
        place,
        progress,
        faults: Faults::default(),
        producers: BTreeMap::new(),
        generators: BTreeMap::new(),
        log: Vec::new(),
    };
    let mut partitions = Vec::new();
    for chain in &chains(files) {
        let checkpoint = chain.checkpoint(&checkpoints);
        let comparison = match (&mut witness, checkpoint) {
            (Some(witness), Some(checkpoint)) if witness.knows(&chain.topic_id8) => {
                Some(Comparison::begin(witness, checkpoint)?)
            }
            _ => None,
        };
        partitions.push(audit.chain(chain, checkpoint, comparison)?);
    }
    for checkpoint in unseen(&checkpoints, &partitions) {
        audit.without_files(checkpoint, witness.as_mut())?;
    }
    progress.finish_and_clear();
    Ok(audit.finish(options, &checkpoints, partitions, other_files))
}

/// The files of ours, and how many others there are.
fn list(place: &Place) -> anyhow::Result<(Vec<Entry>, u64)> {
    let objects = place.list()?;
    let all = objects.len();
    let mut files = Vec::new();
    for object in objects {
        let path = place.relative(&object).to_owned();
        // A file that lies in the place itself has no folder.
        let name = ObjectName::parse(&path).or_else(|| ObjectName::parse(&format!("./{path}")));
        if let Some(name) = name {
            files.push(Entry { object, path, name });
        }
    }
    if files.is_empty() {
        bail!(
            "none of the {all} Parquet files of {} has a name of Logpipe's, so there is nothing to \
             audit: name the folder that `logpipe run` wrote to",
            place.name
        );
    }
    let other = (all - files.len()) as u64;
    Ok((files, other))
}

/// The checkpoints of partitions without a file.
fn unseen<'a>(
    checkpoints: &'a [Checkpoint],
    partitions: &[Partition],
) -> impl Iterator<Item = &'a Checkpoint> {
    checkpoints.iter().filter(|checkpoint| {
        let id8 = id8(checkpoint);
        let seen =
            |found: &Partition| found.partition == checkpoint.partition && found.topic_id8 == id8;
        !partitions.iter().any(seen)
    })
}

/// Lines of one file whose text is not what was generated.
#[derive(Default)]
struct BadLines {
    lines: u64,
    first: Option<(String, u64)>,
}

struct Audit<'a> {
    place: &'a Place,
    progress: &'a ProgressBar,
    faults: Faults,
    /// By the topic's id and the producer key.
    producers: BTreeMap<(String, String), Numbers>,
    generators: BTreeMap<String, Numbers>,
    log: Vec<LogPart>,
}

impl Audit<'_> {
    fn chain(
        &mut self,
        chain: &Chain,
        checkpoint: Option<&Checkpoint>,
        mut comparison: Option<Comparison<'_>>,
    ) -> anyhow::Result<Partition> {
        let mut found = Partition {
            topic: chain.topic.clone(),
            topic_id8: chain.topic_id8.clone(),
            partition: chain.partition,
            files: chain.files.len() as u64,
            ..Partition::default()
        };
        chain.check(checkpoint, &mut found, &mut self.faults);
        let unreadable = self.faults.count(Kind::Unreadable);
        let mut places = Runs::default();
        let mut reach = 0;
        let mut committed_files = 0;
        for file in &chain.files {
            if file.name.start >= reach {
                self.doubles(chain, std::mem::take(&mut places), &mut found);
                // Rows of files that cannot be read cannot be compared either.
                comparison =
                    comparison.filter(|_| unreadable == self.faults.count(Kind::Unreadable));
                if let Some(comparison) = &mut comparison {
                    comparison.compare(reach, &mut self.faults)?;
                }
            }
            reach = reach.max(file.name.end);
            let committed = found.next.is_none_or(|next| file.name.start < next);
            committed_files += u64::from(committed);
            self.file(
                file,
                committed,
                &mut places,
                comparison.as_mut(),
                &mut found,
            )?;
        }
        self.doubles(chain, places, &mut found);
        if unreadable != self.faults.count(Kind::Unreadable) {
            return Ok(found); // Nor can they be counted.
        }
        if let Some(checkpoint) = checkpoint {
            self.totals(chain, checkpoint, committed_files, &found);
        }
        if let Some(comparison) = comparison {
            self.log.push(comparison.finish(&mut self.faults)?);
        }
        Ok(found)
    }

    /// Tells of rows with the same offset and line.
    fn doubles(&mut self, chain: &Chain, mut places: Runs, found: &mut Partition) {
        let summary = places.summary();
        found.twice += summary.twice;
        if let Some(place) = summary.first_twice {
            let (offset, line) = (place >> 32, place as u32);
            self.faults.add(Kind::Twice, summary.twice, || {
                format!(
                    "{}: {} there twice, the first at offset {offset}, line {line}",
                    chain.label(),
                    things(summary.twice, "row")
                )
            });
        }
    }

    fn file(
        &mut self,
        file: &Entry,
        committed: bool,
        places: &mut Runs,
        comparison: Option<&mut Comparison<'_>>,
        found: &mut Partition,
    ) -> anyhow::Result<()> {
        let mut comparison = comparison.filter(|_| committed);
        let mut last = None;
        let (mut disorder, mut misplaced, mut bad) = (0, 0, BadLines::default());
        let (producers, generators) = (&mut self.producers, &mut self.generators);
        let mut lanes = LaneCache::new(&file.name.topic_id8);
        let read = rows::read(self.place, &file.object, &mut |row: &Row<'_>| {
            let place = (row.offset, row.line);
            disorder += u64::from(last.is_some_and(|last| last >= place));
            last = Some(place);
            let here =
                row.partition == file.name.partition && file.name.range().contains(&row.offset);
            misplaced += u64::from(!here);
            places.insert(u128::from(row.offset) << 32 | u128::from(row.line));
            if let Some(comparison) = &mut comparison {
                comparison.row(row);
            }
            if let Some((producer, sequence)) = row.sequence {
                lanes
                    .numbers(producers, producer)
                    .insert(sequence, committed);
            }
            if let Some(line) = generated(row, generators, committed) {
                bad.lines += 1;
                bad.first.get_or_insert(line);
            }
        });
        self.progress.inc(file.object.size);
        if let Some(failure) = self.place.failure() {
            bail!("failed to read {}: {failure}", file.path);
        }
        self.tell(file, disorder, misplaced, &bad);
        found.disorder += disorder;
        found.misplaced += misplaced;
        match read {
            Ok(read) if !committed => found.pending += read.rows,
            Ok(read) if read.kind == rows::Kind::Quarantine => found.dead += read.rows,
            Ok(read) => found.rows += read.rows,
            Err(error) => self.faults.add(Kind::Unreadable, 1, || {
                let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
                format!("{}: it cannot be read: {}", file.path, causes.join(": "))
            }),
        }
        Ok(())
    }

    fn tell(&mut self, file: &Entry, disorder: u64, misplaced: u64, bad: &BadLines) {
        let path = &file.path;
        if disorder > 0 {
            self.faults.add(Kind::Disorder, disorder, || {
                format!(
                    "{path}: {} not in the order of offset and line",
                    things(disorder, "row")
                )
            });
        }
        if misplaced > 0 {
            let rows = things(misplaced, "row");
            self.faults.add(Kind::Misplaced, misplaced, || {
                format!("{path}: {rows} outside the partition and offsets of its name")
            });
        }
        if let Some((producer, n)) = &bad.first {
            let lines = things(bad.lines, "line");
            self.faults.add(Kind::BadChecksum, bad.lines, || {
                format!("{path}: {lines} with another text than was generated, first {producer}'s line {n}")
            });
        }
    }

    /// Compares what the checkpoint counted with what is there.
    fn totals(&mut self, chain: &Chain, checkpoint: &Checkpoint, files: u64, found: &Partition) {
        let totals = checkpoint.totals;
        for (what, committed, there) in [
            ("row", totals.rows, found.rows),
            ("quarantined line", totals.dead, found.dead),
            ("file", totals.files, files),
        ] {
            if committed != there {
                let committed = things(committed, what);
                self.faults.add(Kind::Totals, 1, || {
                    format!(
                        "{}: {committed} committed, but {} there",
                        chain.label(),
                        count(there)
                    )
                });
            }
        }
    }

    /// A partition that has a checkpoint, and not one file.
    fn without_files(
        &mut self,
        checkpoint: &Checkpoint,
        witness: Option<&mut Witness<'_>>,
    ) -> anyhow::Result<()> {
        if checkpoint.totals.files > 0 {
            self.faults.add(Kind::Gap, 1, || {
                let (were, them) = match checkpoint.totals.files {
                    1 => ("was", "it is not"),
                    _ => ("were", "none is"),
                };
                let files = things(checkpoint.totals.files, "file");
                let partition = checkpoint.partition;
                format!("partition {partition}: {files} {were} committed, but {them} there")
            });
        }
        if let Some(witness) = witness.filter(|witness| witness.has(checkpoint)) {
            let comparison = Comparison::begin(witness, checkpoint)?;
            self.log.push(comparison.finish(&mut self.faults)?);
        }
        Ok(())
    }

    fn finish(
        mut self,
        options: Options,
        checkpoints: &[Checkpoint],
        partitions: Vec<Partition>,
        other_files: u64,
    ) -> Report {
        let producers = self.producer_lanes(checkpoints);
        let generators = self.generator_lanes(options);
        let sum = |lanes: &[Lane], of: fn(&Lane) -> u64| lanes.iter().map(of).sum::<u64>();
        let lines: u64 = partitions.iter().map(|found| found.rows + found.dead).sum();
        let committed: u64 = checkpoints
            .iter()
            .map(|found| found.totals.rows + found.totals.dead)
            .sum();
        let not_there: u64 = self.log.iter().map(|part| part.missing).sum();
        // A line that is missing or twice shows in more than one of these.
        let lost = sum(&producers, |lane| lane.missing)
            .max(not_there)
            .max(if options.running {
                0
            } else {
                sum(&generators, |lane| lane.missing)
            })
            .max(committed.saturating_sub(lines));
        let twice = sum(&producers, |lane| lane.twice)
            .max(sum(&generators, |lane| lane.twice))
            .max(partitions.iter().map(|found| found.twice).sum());
        Report {
            place: self.place.name.clone(),
            exactly_once: self.faults.is_empty() && lines > 0,
            lines,
            lost,
            twice,
            pending: partitions.iter().map(|found| found.pending).sum(),
            other_files,
            partitions,
            log: self.log,
            producers,
            generators,
            faults: self.faults,
        }
    }
}
