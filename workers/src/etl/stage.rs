//! A record on its way into files: split into lines, each line parsed, and the lines grouped by folder, before
//! a single row is appended anywhere. So a batch can be cut in front of a record that would open too many
//! files. Buffers are reused from record to record. Pure.

use std::panic::{AssertUnwindSafe, catch_unwind};

use logpipe_api::pipeline::Granularity;

use super::encode::Layout;
use super::parse::{LineParser, ParseError};
use super::row::{Reject, RejectReason, Row, Span};
use crate::checkpoint::MAX_FILES;
use crate::log::Record;
use crate::log::key::{BlockKey, Chunk};

const MICROS_PER_HOUR: i64 = 3_600_000_000;
const MICROS_PER_DAY: i64 = 24 * MICROS_PER_HOUR;

/// The folder a row goes to: an hour or a day of the table, or a day of the quarantine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Folder {
    /// It is of the quarantine, which is parted by the day the line was read.
    pub dead: bool,
    /// Hours or days since 1970, as the plan's granularity says.
    bucket: i64,
}

impl Folder {
    fn of_table(granularity: Granularity, time: i64) -> Self {
        let width = match granularity {
            Granularity::Hour => MICROS_PER_HOUR,
            Granularity::Day => MICROS_PER_DAY,
        };
        Self {
            dead: false,
            bucket: time.div_euclid(width),
        }
    }

    fn of_dead(read_at: i64) -> Self {
        Self {
            dead: true,
            bucket: read_at.div_euclid(MICROS_PER_DAY),
        }
    }

    /// The folder's path below the sink's prefix, without slashes at its ends.
    pub fn path(self, layout: &Layout) -> String {
        let hourly = !self.dead && layout.plan.granularity == Granularity::Hour;
        let (days, hour) = if hourly {
            (self.bucket.div_euclid(24), Some(self.bucket.rem_euclid(24)))
        } else {
            (self.bucket, None)
        };
        let date = jiff::Timestamp::from_second(days * 86_400).map_or_else(
            |_| format!("day{days}"),
            |day| day.strftime("%Y-%m-%d").to_string(),
        );
        match (self.dead, hour) {
            (true, _) => format!("{}dt={date}", layout.plan.dead_letter_prefix),
            (false, Some(hour)) => format!("dt={date}/hour={hour:02}"),
            (false, None) => format!("dt={date}"),
        }
    }
}

/// How many lines a record's value has: each becomes one row. A last one without a newline counts.
pub fn count_lines(value: &[u8]) -> u32 {
    let newlines = memchr::memchr_iter(b'\n', value).count() as u32;
    newlines + u32::from(value.last().is_some_and(|last| *last != b'\n'))
}

/// Parses records into rows; one for each thread and plan.
pub struct Stager {
    parser: LineParser,
    granularity: Granularity,
    recompile: logpipe_api::Plan,
    lines: Vec<Span>,
    rows: Vec<Row>,
    /// Rejected lines, in order.
    rejects: Vec<(u32, Reject)>,
    groups: Vec<Group>,
    spare: Vec<Vec<u32>>,
}

/// The lines of a record that go to one folder.
#[derive(Debug)]
pub struct Group {
    /// The folder.
    pub folder: Folder,
    /// Indices of the lines, growing.
    pub lines: Vec<u32>,
}

/// A record whose lines are parsed.
pub struct StagedRecord<'a> {
    record: Record<'a>,
    key: Option<BlockKey<'a>>,
    /// The value where all of it is UTF-8; otherwise only single lines may be.
    text: Option<&'a str>,
    lines: &'a [Span],
    rows: &'a [Row],
    rejects: &'a [(u32, Reject)],
    /// The lines by folder, in order of their first line.
    pub groups: &'a [Group],
}

impl Stager {
    /// For the lines of `plan`.
    pub fn new(plan: &logpipe_api::Plan) -> Result<Self, ParseError> {
        Ok(Self {
            parser: LineParser::compile(plan)?,
            granularity: plan.granularity,
            recompile: plan.clone(),
            lines: Vec::new(),
            rows: Vec::new(),
            rejects: Vec::new(),
            groups: Vec::new(),
            spare: Vec::new(),
        })
    }

    /// Parses the lines of `record` from line `skip` on.
    pub fn stage<'a>(
        &'a mut self,
        record: Record<'a>,
        key: Option<BlockKey<'a>>,
        skip: u32,
    ) -> StagedRecord<'a> {
        self.split(record.value);
        self.rejects.clear();
        self.spare
            .extend(self.groups.drain(..).map(|group| group.lines));
        let text = std::str::from_utf8(record.value).ok();
        let chunk = key.is_some_and(|key| key.chunk != Chunk::Whole);
        let mut next = skip;
        while (next as usize) < self.lines.len() {
            // One guard for the whole record: a panic costs the line that caused it, nothing else.
            let mut at = next;
            let staged = catch_unwind(AssertUnwindSafe(|| {
                while (at as usize) < self.lines.len() {
                    self.stage_line(&record, text, chunk, at);
                    at += 1;
                }
            }));
            if staged.is_err() {
                self.survive_panic(&record, at);
                at += 1;
            }
            next = at;
        }
        StagedRecord {
            record,
            key,
            text,
            lines: &self.lines,
            rows: &self.rows,
            rejects: &self.rejects,
            groups: &self.groups,
        }
    }

    /// Every line ends with a newline, save a last one without.
    fn split(&mut self, value: &[u8]) {
        self.lines.clear();
        let mut start = 0;
        for newline in memchr::memchr_iter(b'\n', value) {
            self.lines.push(Span {
                start,
                end: newline as u32,
            });
            start = newline as u32 + 1;
        }
        if (start as usize) < value.len() {
            self.lines.push(Span {
                start,
                end: value.len() as u32,
            });
        }
        if self.rows.len() < self.lines.len() {
            self.rows.resize_with(self.lines.len(), Row::default);
        }
    }

    fn stage_line(&mut self, record: &Record<'_>, text: Option<&str>, chunk: bool, index: u32) {
        let span = self.lines[index as usize];
        let (start, end) = (span.start as usize, span.end as usize);
        let line = match text {
            // Newlines never stand inside a character, so every line of a valid text is valid.
            Some(text) => text.get(start..end),
            None => std::str::from_utf8(&record.value[start..end]).ok(),
        };
        let outcome = match line {
            _ if chunk => Err(Reject {
                reason: RejectReason::LineTooLong,
                detail: format!(
                    "a piece of {} bytes of a line that is over the limit",
                    end - start
                ),
            }),
            None => Err(invalid_utf8(&record.value[start..end])),
            Some(line) => self
                .parser
                .parse(line, record.timestamp, &mut self.rows[index as usize]),
        };
        match outcome {
            Ok(()) => {
                let time = self.rows[index as usize]
                    .event_time
                    .unwrap_or(record.timestamp);
                self.file(record, Folder::of_table(self.granularity, time), index);
            }
            Err(reject) => self.reject(record, index, reject),
        }
    }

    /// Puts a line into its folder's group. A record alone must fit one batch: lines beyond its 63rd folder
    /// of the table go to the quarantine, which is the 64th.
    fn file(&mut self, record: &Record<'_>, folder: Folder, index: u32) {
        if let Some(group) = self
            .groups
            .iter_mut()
            .rev()
            .find(|group| group.folder == folder)
        {
            group.lines.push(index);
            return;
        }
        if !folder.dead && self.groups.iter().filter(|g| !g.folder.dead).count() >= MAX_FILES - 1 {
            let detail = format!(
                "one record holds lines of more than {} folders",
                MAX_FILES - 1
            );
            self.reject(
                record,
                index,
                Reject {
                    reason: RejectReason::TooManyFolders,
                    detail,
                },
            );
            return;
        }
        let mut lines = self.spare.pop().unwrap_or_default();
        lines.clear();
        lines.push(index);
        self.groups.push(Group { folder, lines });
    }

    fn reject(&mut self, record: &Record<'_>, index: u32, reject: Reject) {
        self.rejects.push((index, reject));
        self.file(record, Folder::of_dead(record.timestamp), index);
    }

    /// The parser's caches may be half-written: it is compiled anew.
    fn survive_panic(&mut self, record: &Record<'_>, index: u32) {
        if let Ok(parser) = LineParser::compile(&self.recompile) {
            self.parser = parser;
        }
        let detail = "the parser failed on this line; please report it".to_owned();
        self.reject(
            record,
            index,
            Reject {
                reason: RejectReason::ParserPanicked,
                detail,
            },
        );
    }
}

fn invalid_utf8(line: &[u8]) -> Reject {
    let at = std::str::from_utf8(line)
        .err()
        .map_or(0, |error| error.valid_up_to());
    let detail = match line {
        [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => {
            "it begins with a UTF-16 byte order mark; write the file as UTF-8".to_owned()
        }
        _ => format!(
            "byte {at} is not UTF-8: 0x{:02X}",
            line.get(at).copied().unwrap_or_default()
        ),
    };
    Reject {
        reason: RejectReason::InvalidUtf8,
        detail,
    }
}

impl<'a> StagedRecord<'a> {
    /// Why lines were rejected, one reason a line.
    pub(super) fn reasons(&self) -> impl Iterator<Item = RejectReason> {
        self.rejects.iter().map(|(_, reject)| reject.reason)
    }

    pub(super) fn partition(&self) -> u32 {
        self.record.partition
    }

    pub(super) fn offset(&self) -> u64 {
        self.record.offset
    }

    pub(super) fn read_at(&self) -> i64 {
        self.record.timestamp
    }

    pub(super) fn key(&self) -> Option<&BlockKey<'a>> {
        self.key.as_ref()
    }

    /// The byte of the record's value at which the line begins.
    pub(super) fn start_of(&self, line: u32) -> u64 {
        u64::from(self.lines[line as usize].start)
    }

    /// The line's bytes, without its newline.
    pub(super) fn raw(&self, line: u32) -> &'a [u8] {
        let span = self.lines[line as usize];
        &self.record.value[span.start as usize..span.end as usize]
    }

    /// The text of a line that was parsed.
    pub(super) fn line(&self, line: u32) -> &'a str {
        let span = self.lines[line as usize];
        match self.text {
            Some(text) => text.get(span.start as usize..span.end as usize),
            None => std::str::from_utf8(self.raw(line)).ok(),
        }
        .expect("only valid text is parsed")
    }

    pub(super) fn row(&self, line: u32) -> &'a Row {
        &self.rows[line as usize]
    }

    /// Why the line was rejected.
    pub(super) fn reject(&self, line: u32) -> &'a Reject {
        let at = self
            .rejects
            .binary_search_by_key(&line, |(line, _)| *line)
            .expect("each line of a quarantine folder has a reason");
        &self.rejects[at].1
    }
}
