//! `<34>1 2026-01-31T07:00:00.003Z host app 111 ID47 [exampleSDID@32473 iut="3"] message`

use super::{
    HOST, MSGID, PROCESS, STRUCTURED_DATA, TIMESTAMP, message, set_pid, skip_spaces, word_end,
};
use crate::etl::parse::keyed::push_json_text;
use crate::etl::parse::slots::{self, Slots};
use crate::etl::parse::time::{Clock, TimeFault};
use crate::etl::row::{Reject, Span, Value};

/// Reads what stands behind the version. A dash stands for nothing.
pub(super) fn read(
    line: &str,
    at: usize,
    clock: &mut Clock,
    slots: &mut Slots,
    scratch: &mut String,
) -> Result<(), Reject> {
    let mut at = at;
    for slot in [TIMESTAMP, HOST, PROCESS, super::PID, MSGID] {
        let end = word_end(line, at);
        if end == at {
            let what = [
                "timestamp",
                "host",
                "application",
                "process identifier",
                "message identifier",
            ];
            let index = [TIMESTAMP, HOST, PROCESS, super::PID, MSGID]
                .iter()
                .position(|s| *s == slot);
            return Err(slots::missing(what[index.unwrap_or(0)], line, at));
        }
        match (&line[at..end], slot) {
            ("-", _) => {}
            (_, TIMESTAMP) => time(line, at, end, clock, slots)?,
            (_, super::PID) => set_pid(line, at, end, slots),
            _ => slots.set(slot, at, end),
        }
        at = (end + 1).min(line.len());
    }
    let end = structured_data(line, at, slots, scratch)?;
    let start = skip_spaces(line, end);
    // RFC 5424: a message in UTF-8 may say so with a byte order mark.
    let mark = if line[start..].starts_with('\u{feff}') {
        3
    } else {
        0
    };
    message(line, start + mark, slots);
    Ok(())
}

fn time(
    line: &str,
    at: usize,
    end: usize,
    clock: &mut Clock,
    slots: &mut Slots,
) -> Result<(), Reject> {
    match clock.any(&line.as_bytes()[at..end]) {
        Ok((instant, length)) if at + length == end => {
            slots.time = Some(instant);
            slots.set(TIMESTAMP, at, end);
            Ok(())
        }
        Err(TimeFault::Invalid(why)) => Err(slots::no_such_time(why, line, at)),
        _ => Err(slots::missing("timestamp", line, at)),
    }
}

/// `-` or `[id name="value" …][…]`, which becomes `{"id":{"name":"value"}}`; returns the byte after it.
fn structured_data(
    line: &str,
    at: usize,
    slots: &mut Slots,
    scratch: &mut String,
) -> Result<usize, Reject> {
    if line[at..].starts_with('-') {
        return Ok(at + 1);
    }
    let start = scratch.len();
    let mut at = at;
    while line[at..].starts_with('[') {
        scratch.push(if scratch.len() == start { '{' } else { ',' });
        at = element(line, at + 1, scratch)
            .ok_or_else(|| slots::missing("well-formed structured data", line, at))?;
    }
    if scratch.len() == start {
        return Err(slots::missing("structured data", line, at));
    }
    scratch.push('}');
    let span = Span {
        start: start as u32,
        end: scratch.len() as u32,
    };
    slots.put(STRUCTURED_DATA, Value::Scratch(span));
    Ok(at)
}

/// `id name="value" …]` at a byte, as a member of a JSON object; returns the byte after it.
fn element(line: &str, at: usize, scratch: &mut String) -> Option<usize> {
    let end = at + line[at..].find([' ', ']'])?;
    push_json_text(scratch, &line[at..end]);
    scratch.push_str(":{");
    let mut at = end;
    let mut first = true;
    loop {
        let rest = line[at..].trim_start_matches(' ');
        at = line.len() - rest.len();
        if rest.starts_with(']') {
            scratch.push('}');
            return Some(at + 1);
        }
        let (name, value) = rest.split_once("=\"")?;
        if name.is_empty() || name.contains([' ', ']', '"']) {
            return None;
        }
        if !std::mem::take(&mut first) {
            scratch.push(',');
        }
        push_json_text(scratch, name);
        scratch.push(':');
        at = line.len() - value.len() + parameter(value, scratch)?;
    }
}

/// A value up to its closing quote, without the backslashes before `"`, `\` and `]`; returns its length
/// with the quote.
fn parameter(value: &str, scratch: &mut String) -> Option<usize> {
    let mut text = String::new();
    let mut chars = value.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => {
                push_json_text(scratch, &text);
                return Some(at + 1);
            }
            '\\' => match chars.next()? {
                (_, escaped @ ('"' | '\\' | ']')) => text.push(escaped),
                (_, other) => text.extend(['\\', other]),
            },
            other => text.push(other),
        }
    }
    None
}
