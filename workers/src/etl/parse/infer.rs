//! The columns of formats whose lines name their fields, from a sample. Pure.

use ahash::AHashMap;
use logpipe_api::pipeline::{FieldType, ParserType, UnknownFields};
use logpipe_api::plan::Column;

use super::json::{self, Fields};
use super::logfmt::{self, Written};
use super::names::Names;
use super::resolve::column;
use super::time::Clock;
use super::zone::Zone;
use crate::etl::row::Reject;

/// The most columns, `_extra` among them. A sample with more fields has the rest there.
const MOST_COLUMNS: usize = 256;

/// Fields that say when something happened, the surest first. Case does not count.
const TIMES: &[&str] = &[
    "@timestamp",
    "timestamp",
    "ts",
    "time",
    "datetime",
    "date_time",
    "eventtime",
    "event_time",
    "@t",
    "t",
    "t.$date",
    "date",
    "asctime",
    "logged_at",
    "created_at",
    "time_local",
    "time_iso8601",
    "timestamp_ms",
    "epoch",
    "__realtime_timestamp",
    "_source_realtime_timestamp",
    "instant.epochsecond",
    "record.time.repr",
    "start_time",
    "log.time",
];
/// Fields that say how bad it is.
const LEVELS: &[&str] = &[
    "level",
    "severity",
    "lvl",
    "loglevel",
    "log_level",
    "log.level",
    "levelname",
    "level_name",
    "severity_text",
    "severitytext",
    "@l",
    "priority",
    "s",
];
/// Fields that say what happened.
const MESSAGES: &[&str] = &[
    "message",
    "msg",
    "log",
    "@m",
    "@mt",
    "short_message",
    "text",
    "event",
    "body",
    "description",
];

/// What a sample says about one field.
#[derive(Clone, Debug, Default)]
struct Seen {
    path: String,
    /// How often it has a value that is not null.
    values: usize,
    ints: usize,
    floats: usize,
    bools: usize,
    /// Texts that can only be times.
    rfc3339: usize,
    /// Values that can be read as a time, numbers too.
    times: usize,
    /// Values that are text, or can be in a column of texts.
    texts: usize,
}

impl Seen {
    /// Whole numbers beyond 64 bits would lose digits as floats: the column is text then.
    fn number(&mut self, raw: &str) {
        if raw.parse::<i64>().is_ok() {
            self.ints += 1;
        } else if raw.contains(['.', 'e', 'E']) {
            self.floats += 1;
        }
    }

    /// The type that holds every value.
    fn kind(&self) -> FieldType {
        match self.values {
            0 => FieldType::String,
            values if values == self.ints => FieldType::Int64,
            values if values == self.ints + self.floats => FieldType::Float64,
            values if values == self.bools => FieldType::Boolean,
            values if values == self.rfc3339 => FieldType::Timestamp,
            _ => FieldType::String,
        }
    }
}

/// The fields of the sample in the order in which they were first seen.
struct Survey {
    fields: Vec<Seen>,
    index: AHashMap<String, usize>,
    clock: Clock,
    scratch: String,
}

impl Survey {
    fn of(kind: ParserType, lines: &[&str], zone: &Zone, read_at: i64) -> Self {
        let mut clock = Clock::new(zone.clone());
        clock.line_read_at(read_at);
        let mut survey = Self {
            fields: Vec::new(),
            index: AHashMap::new(),
            clock,
            scratch: String::new(),
        };
        for line in lines {
            // Lines that are no objects say nothing about the columns.
            if kind == ParserType::Json {
                if json::walk(line, &mut json::Unseen).is_ok() {
                    json::walk(line, &mut survey).expect("the walk before this one found no fault");
                }
                continue;
            }
            let whole = logfmt::walk(line, |_, _| Ok(())).is_ok();
            let pairs = logfmt::walk(line, |key, value| {
                if whole {
                    survey.logfmt(key, value);
                }
                Ok(())
            });
            debug_assert_eq!(pairs.is_ok(), whole);
        }
        survey
    }

    fn seen(&mut self, path: &str) -> &mut Seen {
        let next = self.fields.len();
        let index = *self.index.entry(path.to_owned()).or_insert(next);
        if index == next {
            self.fields.push(Seen {
                path: path.to_owned(),
                ..Seen::default()
            });
        }
        &mut self.fields[index]
    }

    /// The first field of `names` that most of its values allow.
    fn find(&self, names: &[&str], fits: impl Fn(&Seen) -> bool) -> Option<&Seen> {
        names.iter().find_map(|name| {
            self.fields
                .iter()
                .find(|seen| seen.path.eq_ignore_ascii_case(name) && fits(seen))
        })
    }

    fn time(&self) -> Option<&Seen> {
        self.find(TIMES, |seen| seen.times > 0 && seen.times * 2 > seen.values)
    }
}

impl Survey {
    /// A JSON value as it is written.
    fn json(&mut self, path: &str, raw: &str) {
        match raw.as_bytes().first() {
            Some(b'n') => {
                self.seen(path);
            }
            Some(b'"') => {
                self.json_text(path, &raw[1..raw.len() - 1]);
            }
            Some(b't' | b'f') => self.count(path, |seen| seen.bools += 1),
            Some(b'{' | b'[') => self.count(path, |_| {}),
            _ => {
                let time = Clock::number(raw).is_ok();
                self.count(path, |seen| {
                    seen.times += usize::from(time);
                    seen.number(raw);
                });
            }
        }
    }

    fn text(&mut self, path: &str, text: &str) {
        let time = self.clock.whole(text).is_ok();
        let rfc3339 = time && self.clock.is_rfc3339(text);
        self.count(path, |seen| {
            seen.texts += 1;
            seen.times += usize::from(time);
            seen.rfc3339 += usize::from(rfc3339);
        });
    }

    /// A logfmt value: everything is text, and what looks like a number or a truth value is one.
    fn logfmt(&mut self, path: &str, value: Written<'_>) {
        match value {
            Written::Empty => {
                self.seen(path);
            }
            Written::Flag | Written::Plain("true" | "false") => {
                self.count(path, |seen| seen.bools += 1);
            }
            Written::Quoted(inner) => self.json_text(path, inner),
            Written::Plain(text) => {
                self.text(path, text);
                if is_number(text) {
                    self.count_again(path, |seen| {
                        seen.texts -= 1;
                        seen.number(text);
                    });
                }
            }
        }
    }

    fn json_text(&mut self, path: &str, inner: &str) {
        let mut text = std::mem::take(&mut self.scratch);
        text.clear();
        json::unescape(inner, &mut text);
        self.text(path, &text);
        self.scratch = text;
    }

    fn count(&mut self, path: &str, change: impl FnOnce(&mut Seen)) {
        let seen = self.seen(path);
        seen.values += 1;
        change(seen);
    }

    /// Says more about a value that was counted.
    fn count_again(&mut self, path: &str, change: impl FnOnce(&mut Seen)) {
        change(self.seen(path));
    }
}

/// Whether a text is a number and nothing else: `007` is a name, and so is `+1`.
fn is_number(text: &str) -> bool {
    serde_json::from_str::<&serde_json::value::RawValue>(text)
        .is_ok_and(|raw| matches!(raw.get().as_bytes().first(), Some(b'-' | b'0'..=b'9')))
}

impl<'a> Fields<'a> for Survey {
    fn enters(&mut self, _path: &str) -> bool {
        true
    }

    fn field(&mut self, path: &str, raw: &'a str) -> Result<(), Reject> {
        self.json(path, raw);
        Ok(())
    }
}

/// The columns of a sample: the event time, the level, the message, then the other fields in the order in
/// which they were first seen.
pub(super) fn infer(
    kind: ParserType,
    lines: &[&str],
    zone: &Zone,
    read_at: i64,
    unknown: UnknownFields,
) -> Vec<Column> {
    let survey = Survey::of(kind, lines, zone, read_at);
    let path = |seen: Option<&Seen>, otherwise: &str| {
        seen.map_or_else(|| otherwise.to_owned(), |seen| seen.path.clone())
    };
    let time = path(survey.time(), "timestamp");
    let level = path(
        survey.find(LEVELS, |seen| seen.texts + seen.ints > 0),
        "level",
    );
    let message = path(survey.find(MESSAGES, |seen| seen.texts > 0), "message");
    let mut names = Names::new();
    for name in super::slots::COMMON {
        names.take(name);
    }
    let mut columns = vec![
        column("timestamp", FieldType::Timestamp, &time),
        column("level", FieldType::String, &level),
        column("message", FieldType::String, &message),
    ];
    let most = MOST_COLUMNS - usize::from(unknown == UnknownFields::Collect);
    let others = survey
        .fields
        .iter()
        .filter(|seen| ![&time, &level, &message].contains(&&seen.path));
    for seen in others {
        if columns.len() == most {
            break;
        }
        columns.push(column(&names.make(&seen.path), seen.kind(), &seen.path));
    }
    columns
}

/// The field that holds the event time; `timestamp` where the sample does not say.
pub(super) fn time_field(kind: ParserType, lines: &[&str], zone: &Zone, read_at: i64) -> String {
    let survey = Survey::of(kind, lines, zone, read_at);
    survey
        .time()
        .map_or_else(|| "timestamp".to_owned(), |seen| seen.path.clone())
}
