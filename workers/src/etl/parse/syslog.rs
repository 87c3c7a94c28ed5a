//! Syslog: RFC 5424, RFC 3164 with and without its priority, and the files that syslog daemons write. Pure.

mod rfc5424;

use super::level::is_level;
use super::slots::{self, LEVEL, MESSAGE, Slots, TIMESTAMP, span};
use super::time::{Clock, Shape, TimeFault};
use crate::etl::row::{Reject, Span, Value};

/// The fields, by slot. Level and facility come from the priority.
pub(super) const FIELDS: [&str; 11] = [
    "timestamp",
    "level",
    "message",
    "host",
    "process",
    "pid",
    "procid",
    "context",
    "facility",
    "msgid",
    "structured_data",
];
const HOST: usize = 3;
const PROCESS: usize = 4;
const PID: usize = 5;
/// A process identifier that is not a number.
const PROCID: usize = 6;
/// What macOS writes in parentheses behind the process.
const CONTEXT: usize = 7;
const FACILITY: usize = 8;
const MSGID: usize = 9;
const STRUCTURED_DATA: usize = 10;

const SEVERITIES: [&str; 8] = [
    "emerg", "alert", "crit", "err", "warning", "notice", "info", "debug",
];
const FACILITIES: [&str; 24] = [
    "kern",
    "user",
    "mail",
    "daemon",
    "auth",
    "syslog",
    "lpr",
    "news",
    "uucp",
    "cron",
    "authpriv",
    "ftp",
    "ntp",
    "security",
    "console",
    "solaris-cron",
    "local0",
    "local1",
    "local2",
    "local3",
    "local4",
    "local5",
    "local6",
    "local7",
];
/// The longest name of a process, in bytes.
const LONGEST_PROCESS: usize = 96;

/// Reads a line of any of the dialects.
pub(super) fn read(
    line: &str,
    clock: &mut Clock,
    slots: &mut Slots,
    scratch: &mut String,
) -> Result<(), Reject> {
    let priority = priority(line);
    let mut at = 0;
    if let Some((number, end)) = priority {
        slots.put(LEVEL, written(SEVERITIES[number % 8], scratch));
        slots.put(FACILITY, written(FACILITIES[number / 8], scratch));
        at = end;
        if line[at..].starts_with("1 ") {
            return rfc5424::read(line, at + 2, clock, slots, scratch);
        }
    }
    match clock.any(&line.as_bytes()[at..]) {
        Ok((instant, length)) => {
            slots.time = Some(instant);
            slots.set(TIMESTAMP, at, at + length);
            at = skip_spaces(line, at + length);
        }
        Err(TimeFault::Invalid(why)) => return Err(slots::no_such_time(why, line, at)),
        // RFC 3164: behind a priority there may be anything.
        Err(TimeFault::Absent) if priority.is_some() => {
            message(line, at, slots);
            return Ok(());
        }
        Err(TimeFault::Absent) => return Err(slots::missing("timestamp", line, at)),
    }
    let end = word_end(line, at);
    // Daemons that log to themselves leave the host out.
    if !line[at..end].ends_with(':') && !line[at..end].contains('[') {
        if is_level(&line.as_bytes()[at..end]) {
            return Err(slots::missing("host", line, at));
        }
        if end > at {
            slots.set(HOST, at, end);
        }
        at = skip_spaces(line, end);
    }
    let at = process(line, at, slots);
    message(line, at, slots);
    Ok(())
}

/// How surely a line that could be read as syslog is syslog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Likeness {
    /// Something else.
    None,
    /// A time as syslog daemons write it, and words.
    Some,
    /// A priority; or a host and a process behind such a time.
    Sure,
}

pub(super) fn likeness(line: &str, slots: &Slots) -> Likeness {
    let text = line.as_bytes();
    let shape = Shape::of(text);
    let set = |slot: usize| {
        slots
            .values
            .get(slot)
            .is_some_and(|value| *value != Value::Null)
    };
    let named = set(PROCESS) && set(HOST);
    match shape {
        _ if priority(line).is_some() => Likeness::Sure,
        Some(Shape::MonthName) if named => Likeness::Sure,
        Some(Shape::MonthName) => Likeness::Some,
        Some(Shape::YearMonthDay) if named && text.get(10) == Some(&b'T') => Likeness::Sure,
        _ => Likeness::None,
    }
}

/// `<34>`: the number and the byte after it.
fn priority(line: &str) -> Option<(usize, usize)> {
    let (number, _) = line.strip_prefix('<')?.split_once('>')?;
    if number.is_empty() || number.len() > 3 {
        return None;
    }
    let value = number.parse().ok().filter(|value| *value < 192)?;
    Some((value, number.len() + 2))
}

/// `process[pid]: `, `process[pid] (context): ` or `process: ` at a byte: sets the fields and returns where
/// the message begins. Without a process that is the same byte.
fn process(line: &str, at: usize, slots: &mut Slots) -> usize {
    let rest = &line[at..];
    // util-linux's login writes ` -- root[2421]: `.
    let skip = if rest.starts_with("-- ") { 3 } else { 0 };
    let end = rest
        .bytes()
        .enumerate()
        .skip(skip)
        .take(LONGEST_PROCESS)
        .find(|(index, byte)| match byte {
            b':' => matches!(rest.as_bytes().get(index + 1), None | Some(b' ' | b'\t')),
            byte => matches!(byte, b'[' | b' ' | b'\t' | b'"' | b'='),
        });
    let Some((end, byte)) = end.filter(|(end, _)| *end > skip) else {
        return at;
    };
    match byte {
        b':' => {
            slots.set(PROCESS, at, at + end);
            skip_spaces(line, at + end + 1)
        }
        b'[' => with_pid(line, at, at + end, slots).unwrap_or(at),
        b' ' => {
            // `syslogd 1.4.1: restart.`
            let version = word_end(line, at + end + 1);
            let word = &line[at + end + 1..version];
            if word.len() > 1
                && word.ends_with(':')
                && word.starts_with(|c: char| c.is_ascii_digit())
            {
                slots.set(PROCESS, at, version - 1);
                return skip_spaces(line, version);
            }
            at
        }
        _ => at,
    }
}

/// `[pid]`, `[pid] (context)` at `open`, and a colon.
fn with_pid(line: &str, at: usize, open: usize, slots: &mut Slots) -> Option<usize> {
    let close = open
        + line[open..]
            .find(']')
            .filter(|length| *length <= LONGEST_PROCESS)?;
    let (after, context) = match line[close + 1..].strip_prefix(" (") {
        None => (close + 1, None),
        Some(text) => {
            let length = text.find("):")?;
            (
                close + 3 + length + 1,
                Some((close + 3, close + 3 + length)),
            )
        }
    };
    let rest = &line[after..];
    if !rest.starts_with(':') && !rest.starts_with(' ') {
        return None;
    }
    slots.set(PROCESS, at, open);
    set_pid(line, open + 1, close, slots);
    if let Some((start, end)) = context {
        slots.set(CONTEXT, start, end);
    }
    Some(skip_spaces(line, after + 1))
}

/// A process identifier: a number, or something else.
fn set_pid(line: &str, start: usize, end: usize, slots: &mut Slots) {
    let text = &line[start..end];
    if text.is_empty() {
        return;
    }
    let number = text.len() <= 18 && text.bytes().all(|byte| byte.is_ascii_digit());
    slots.set(if number { PID } else { PROCID }, start, end);
}

fn message(line: &str, at: usize, slots: &mut Slots) {
    let end = at + line[at..].trim_ascii_end().len();
    slots.put(MESSAGE, span(at, end));
}

fn skip_spaces(line: &str, at: usize) -> usize {
    let at = at.min(line.len());
    line.len() - line[at..].trim_start_matches([' ', '\t']).len()
}

fn word_end(line: &str, at: usize) -> usize {
    let rest = line.get(at..).unwrap_or_default();
    at + rest.find([' ', '\t']).unwrap_or(rest.len())
}

/// Text that does not stand in the line.
fn written(text: &str, scratch: &mut String) -> Value {
    let start = scratch.len();
    scratch.push_str(text);
    Value::Scratch(Span {
        start: start as u32,
        end: scratch.len() as u32,
    })
}
