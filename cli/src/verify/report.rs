//! What the audit found, and how it is told to a person or a script. Pure.

use std::collections::BTreeMap;

use console::style;
use serde::Serialize;

use crate::table::{Table, count, things};

/// Of each kind, so many faults are told one by one.
const TOLD: usize = 8;

/// What the audit found.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    pub(super) place: String,
    /// No fault, and something was checked.
    pub(super) exactly_once: bool,
    /// Committed rows of the table and the quarantine.
    pub(super) lines: u64,
    pub(super) lost: u64,
    pub(super) twice: u64,
    /// Rows of a batch that is announced and not committed yet.
    pub(super) pending: u64,
    /// Parquet files with other names than ours; they were not looked at.
    pub(super) other_files: u64,
    pub(super) partitions: Vec<Partition>,
    /// What the log says, where it was read again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) log: Vec<LogPart>,
    pub(super) producers: Vec<Lane>,
    pub(super) generators: Vec<Lane>,
    pub(super) faults: Faults,
}

/// One partition of one topic.
#[expect(
    clippy::struct_field_names,
    reason = "the number is what everyone calls the partition"
)]
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Partition {
    pub(super) topic: String,
    pub(super) topic_id8: String,
    pub(super) partition: u32,
    pub(super) files: u64,
    /// Batches: different ranges of offsets.
    pub(super) ranges: u64,
    /// Committed rows of the table.
    pub(super) rows: u64,
    /// Committed rows of the quarantine.
    pub(super) dead: u64,
    /// The first offset.
    pub(super) start: u64,
    /// One after the last offset.
    pub(super) end: u64,
    /// Where the checkpoint says that the next batch begins; none without a checkpoint.
    pub(super) next: Option<u64>,
    /// Ranges that are missing between files.
    pub(super) gaps: u64,
    /// Ranges that lie over others.
    pub(super) overlaps: u64,
    /// Rows with the partition, offset and line of another.
    pub(super) twice: u64,
    /// Rows out of order within their file.
    pub(super) disorder: u64,
    /// Rows whose partition or offset is not that of their file's name.
    pub(super) misplaced: u64,
    /// Rows that are announced and not committed yet.
    pub(super) pending: u64,
}

/// One partition of the log, read again up to the committed offset.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LogPart {
    pub(super) topic: String,
    pub(super) partition: u32,
    /// The first offset that was compared.
    pub(super) start: u64,
    /// One after the last.
    pub(super) end: u64,
    /// Offsets of committed batches below `start`, which the log does not hold any more.
    pub(super) gone: u64,
    pub(super) records: u64,
    /// Lines that must be rows.
    pub(super) lines: u64,
    /// Of these, so many are none.
    pub(super) missing: u64,
    /// Rows that no line of the log gives.
    pub(super) extra: u64,
}

/// The numbers of one producer key, or of one generator.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Lane {
    pub(super) name: String,
    pub(super) lines: u64,
    pub(super) first: u64,
    /// One after the last number.
    pub(super) end: u64,
    pub(super) missing: u64,
    pub(super) twice: u64,
    /// Numbers above what the checkpoint says is committed, in committed files.
    pub(super) beyond: u64,
    /// The first numbers that are missing, `[start, end)`.
    #[serde(skip)]
    pub(super) example: Option<(u64, u64)>,
    /// Lines whose text is not what their checksum says; of generators only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bad_checksums: Option<u64>,
}

/// What kind of promise is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Kind {
    Unreadable,
    Gap,
    Overlap,
    Twice,
    MissingLines,
    BadChecksum,
    Misplaced,
    Disorder,
    TwoLogs,
    /// A line of the log that is no row.
    NotThere,
    /// A row that is no line of the log.
    NotInLog,
    Totals,
}

/// Broken promises: all are counted, the first of each kind are told.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Faults {
    /// How many rows, lines, ranges or files, by kind.
    pub(super) counts: BTreeMap<Kind, u64>,
    pub(super) told: Vec<String>,
    pub(super) untold: u64,
    #[serde(skip)]
    told_by_kind: BTreeMap<Kind, usize>,
}

impl Faults {
    /// Counts `number` things, and tells of them once.
    pub(super) fn add(&mut self, kind: Kind, number: u64, text: impl FnOnce() -> String) {
        *self.counts.entry(kind).or_default() += number;
        let told = self.told_by_kind.entry(kind).or_default();
        if *told == TOLD {
            self.untold += 1;
            return;
        }
        *told += 1;
        self.told.push(text());
    }

    pub(super) fn count(&self, kind: Kind) -> u64 {
        self.counts.get(&kind).copied().unwrap_or(0)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }
}

impl Report {
    /// The report for a person.
    pub(super) fn text(&self) -> String {
        let mut parts = vec![format!("\n{}\n\n", style(&self.place).bold())];
        parts.push(self.partitions_table().render(None));
        if !self.log.is_empty() {
            parts.push("\n".to_owned());
            parts.push(log_table(&self.log).render(None));
        }
        for (heading, lanes) in [
            ("producer", &self.producers),
            ("generator", &self.generators),
        ] {
            if !lanes.is_empty() {
                parts.push("\n".to_owned());
                parts.push(lanes_table(heading, lanes).render(None));
            }
        }
        parts.push("\n".to_owned());
        let note = |note| format!("{} {note}\n", style("·").dim());
        parts.extend(self.notes().into_iter().map(note));
        let fault = |fault| format!("{} {fault}\n", style("✗").red());
        parts.extend(self.faults.told.iter().cloned().map(fault));
        if self.faults.untold > 0 {
            parts.push(fault(format!("and {} more", count(self.faults.untold))));
        }
        if parts.last().is_some_and(|last| last != "\n") {
            parts.push("\n".to_owned());
        }
        parts.push(self.verdict());
        parts.push("\n".to_owned());
        parts.concat()
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.pending > 0 {
            notes.push(format!(
                "{} announced and not committed yet: the next run finishes exactly these",
                things(self.pending, "row")
            ));
        }
        if self.other_files > 0 {
            notes.push(format!(
                "{} of others left alone",
                things(self.other_files, "Parquet file")
            ));
        }
        let gone: u64 = self.log.iter().map(|part| part.gone).sum();
        if gone > 0 {
            notes.push(format!(
                "{} below what the log still holds: not compared with it",
                things(gone, "committed offset")
            ));
        }
        if self.generators.is_empty() {
            notes.push(
                "no generated lines, so no checksums: the offsets and sequences are the proof"
                    .to_owned(),
            );
        }
        if self
            .partitions
            .iter()
            .all(|partition| partition.next.is_none())
        {
            notes.push(
                "no checkpoints here: rows of an unfinished batch count like any other".to_owned(),
            );
        }
        notes
    }

    fn verdict(&self) -> String {
        let numbers = format!(
            "{}, {} lost, {} twice",
            things(self.lines, "line"),
            count(self.lost),
            count(self.twice)
        );
        if self.exactly_once {
            return format!("{} {}", style("exactly once:").green().bold(), numbers);
        }
        let mut verdict = vec![format!(
            "{} {numbers}",
            style("NOT exactly once:").red().bold()
        )];
        for (kind, what) in [
            (Kind::Unreadable, "unreadable file"),
            (Kind::BadChecksum, "bad checksum"),
            (Kind::Misplaced, "misplaced row"),
            (Kind::Disorder, "disordered row"),
            (Kind::TwoLogs, "producer of two logs"),
            (Kind::NotInLog, "unexpected row"),
        ] {
            let found = self.faults.count(kind);
            if found > 0 {
                verdict.push(things(found, what));
            }
        }
        verdict.join(", ")
    }

    fn partitions_table(&self) -> Table {
        let pending = self.pending > 0;
        let mut headings = vec![
            "topic",
            ">partition",
            ">files",
            ">rows",
            ">quarantined",
            ">offsets",
            ">gaps",
            ">overlaps",
            ">twice",
        ];
        if pending {
            headings.push(">not committed");
        }
        let mut table = Table::new(headings);
        for found in &self.partitions {
            let mut row = vec![
                found.topic.clone(),
                found.partition.to_string(),
                count(found.files),
                count(found.rows),
                count(found.dead),
                format!("[{}, {})", count(found.start), count(found.end)),
                flagged(found.gaps),
                flagged(found.overlaps),
                flagged(found.twice),
            ];
            if pending {
                row.push(count(found.pending));
            }
            table.push(row);
        }
        table
    }
}

fn log_table(parts: &[LogPart]) -> Table {
    let headings = [
        "log",
        ">partition",
        ">compared",
        ">records",
        ">lines",
        ">missing",
        ">extra",
    ];
    let mut table = Table::new(headings);
    for part in parts {
        table.push(vec![
            part.topic.clone(),
            part.partition.to_string(),
            format!("[{}, {})", count(part.start), count(part.end)),
            count(part.records),
            count(part.lines),
            flagged(part.missing),
            flagged(part.extra),
        ]);
    }
    table
}

fn lanes_table(heading: &str, lanes: &[Lane]) -> Table {
    let checksums = lanes.iter().any(|lane| lane.bad_checksums.is_some());
    let mut headings = vec![heading, ">lines", ">numbers", ">missing", ">twice"];
    if checksums {
        headings.push(">bad checksums");
    }
    let mut table = Table::new(headings);
    for lane in lanes {
        let mut row = vec![
            lane.name.clone(),
            count(lane.lines),
            format!("[{}, {})", count(lane.first), count(lane.end)),
            flagged(lane.missing),
            flagged(lane.twice),
        ];
        row.extend(lane.bad_checksums.map(flagged));
        table.push(row);
    }
    table
}

/// A number that should be 0, in red where it is not.
fn flagged(number: u64) -> String {
    let text = count(number);
    if number == 0 {
        text
    } else {
        style(text).red().bold().to_string()
    }
}
