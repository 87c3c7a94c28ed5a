//! Lines to rows: the parsers, and how `Auto` chooses one. Pure: no disk, no network, no clock.
//!
//! [`resolve`] makes the plan of a transform, once, from a sample of the first lines; [`LineParser`] is
//! compiled from the plan, for each thread, and reads a line at a time without an allocation. A row is a
//! function of the plan, the line and the moment the line was read; nothing that came before matters.
//!
//! * Every table of a format begins with `timestamp`, `level` and `message`; a format that has no level has
//!   nulls there. Levels are kept as they stand in the line.
//! * White space around the message of a line with a header is not part of it.
//! * How times are read, and what they mean without a zone, a year or a date: see `time`.

mod columns;
mod cri;
mod detect;
mod format;
mod infer;
mod json;
mod keyed;
mod layout;
mod level;
mod logfmt;
mod names;
mod nginx;
mod regex;
mod resolve;
mod slots;
mod syslog;
#[cfg(test)]
mod tests;
mod time;
mod zone;

use logpipe_api::pipeline::ParserType;
use logpipe_api::plan::Plan;

pub use layout::LayoutError;
pub(super) use resolve::is_blank;
pub use resolve::{Resolved, needs_sample, resolve};

use super::row::{Reject, RejectReason, Row};
use columns::FixedColumns;
use format::Format;
use keyed::KeyedColumns;
use slots::Slots;
use time::Clock;
use zone::Zone;

/// Why a transform makes no parser.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ParseError {
    /// The zone is not known.
    #[error(
        "unknown time zone {name:?}: write UTC, a name such as Europe/Zurich, or an offset such as +02:00"
    )]
    UnknownZone {
        /// As the plan has it.
        name: String,
    },
    /// The layout does not compile.
    #[error("the layout of the plan cannot be used")]
    Layout(#[from] LayoutError),
    /// A plan says `Auto`.
    #[error("the plan does not say how lines are read: its parser must not be Auto")]
    Undecided,
    /// The regular expression does not compile, or takes more memory than it may.
    #[error("the pattern is no regular expression that can be used")]
    Pattern(#[source] ::regex::Error),
    /// The regular expression gives no fields.
    #[error(
        "the pattern has no named group: write (?<name>…) around each part that is to be a column"
    )]
    NoGroups,
    /// There is nothing to decide from.
    #[error(
        "the format and the columns are to be found from a sample, but the sample has no lines: wait for the first ones, or name a parser and declare the schema"
    )]
    NoSample,
    /// A declared field is taken from one that the format does not have.
    #[error("the field {field:?} is taken from {from:?}, which lines of type {kind:?} do not have: they have {}", known.join(", "))]
    UnknownField {
        /// The declared column.
        field: String,
        /// Where it is taken from.
        from: String,
        /// The format.
        kind: ParserType,
        /// The format's fields.
        known: Vec<String>,
    },
    /// Two columns have names that query engines take for the same.
    #[error(
        "the column {name:?} cannot be told from another one, or from a folder's key (dt, hour): case does not count"
    )]
    NameTaken {
        /// The second one.
        name: String,
    },
}

/// Reads lines by a plan. It has caches and buffers of its own: one for each thread.
#[derive(Debug)]
pub struct LineParser {
    clock: Clock,
    reader: Reader,
}

#[derive(Debug)]
enum Reader {
    Fixed {
        format: Format,
        slots: Slots,
        columns: FixedColumns,
    },
    Json(KeyedColumns),
    Logfmt(KeyedColumns),
}

/// U+FEFF in UTF-8, which editors on Windows put at the start of a file.
const BOM: &str = "\u{feff}";

impl LineParser {
    /// Prepares a plan.
    pub fn compile(plan: &Plan) -> Result<Self, ParseError> {
        let name = &plan.parser.timezone;
        let zone =
            Zone::find(name).ok_or_else(|| ParseError::UnknownZone { name: name.clone() })?;
        let keyed = || KeyedColumns::bind(&plan.columns, plan.unknown_fields);
        let reader = match Format::of(&plan.parser)? {
            Some(format) => Reader::Fixed {
                slots: Slots::for_fields(format.fields().len()),
                columns: FixedColumns::bind(&plan.columns, format.fields()),
                format,
            },
            None if plan.parser.kind == ParserType::Logfmt => Reader::Logfmt(keyed()),
            None => Reader::Json(keyed()),
        };
        Ok(Self {
            clock: Clock::new(zone),
            reader,
        })
    }

    /// Reads one line, without its newline, into `row`, which is cleared first. A carriage return at the
    /// line's end and a byte order mark at its start are not part of it. `read_at`, in microseconds since
    /// 1970, UTC, is when the line was read from its source: it says which year a time without one is of.
    pub fn parse(&mut self, line: &str, read_at: i64, row: &mut Row) -> Result<(), Reject> {
        row.event_time = None;
        row.values.clear();
        row.scratch.clear();
        // Spans are 32 bits wide; the record's limit is far below.
        if u32::try_from(line.len()).is_err() {
            return Err(Reject {
                reason: RejectReason::LineTooLong,
                detail: format!("the line has {} bytes, more than 4 GiB", line.len()),
            });
        }
        let line = line.strip_suffix('\r').unwrap_or(line);
        match line.strip_prefix(BOM) {
            None => self.read(line, read_at, row),
            Some(rest) => {
                self.read(rest, read_at, row)?;
                columns::shift(row, BOM.len() as u32);
                Ok(())
            }
        }
    }

    fn read(&mut self, line: &str, read_at: i64, row: &mut Row) -> Result<(), Reject> {
        let clock = &mut self.clock;
        clock.line_read_at(read_at);
        match &mut self.reader {
            Reader::Fixed {
                format,
                slots,
                columns,
            } => {
                slots.clear();
                format.read(line, clock, slots, &mut row.scratch)?;
                columns.fill(line, slots, clock, row)
            }
            Reader::Json(columns) => json::read(line, columns, clock, row),
            Reader::Logfmt(columns) => logfmt::read(line, columns, clock, row),
        }
    }
}
