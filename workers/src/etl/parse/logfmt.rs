//! Lines of `key=value` pairs. Pure.

use super::json::unescape;
use super::keyed::{Input, KeyedColumns};
use super::slots::{missing, place};
use super::time::Clock;
use crate::etl::row::{Reject, Row, Span, Value};

/// A value as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written<'a> {
    /// A key alone, which says that something is so.
    Flag,
    /// `key=`
    Empty,
    /// `key=value`
    Plain(&'a str),
    /// `key="value"`, without the quotes and with the escapes.
    Quoted(&'a str),
}

/// Shows the pairs of a line in their order.
pub(super) fn walk<'a>(
    line: &'a str,
    mut pair: impl FnMut(&'a str, Written<'a>) -> Result<(), Reject>,
) -> Result<(), Reject> {
    let start = line.len() - line.trim_ascii_start().len();
    let mut rest = &line[start..];
    let mut pairs = 0;
    while !rest.is_empty() {
        let at = line.len() - rest.len();
        let end = rest.find([' ', '\t', '=', '"']).unwrap_or(rest.len());
        let (key, after) = rest.split_at(end);
        if key.is_empty() {
            return Err(missing("key", line, at));
        }
        let (value, after) = match after.strip_prefix('=') {
            None => (Written::Flag, after),
            Some(after) => {
                value(after).ok_or_else(|| missing("closing quote", line, line.len()))?
            }
        };
        if !after.is_empty() && !after.starts_with([' ', '\t']) {
            return Err(missing(
                "space after the value",
                line,
                line.len() - after.len(),
            ));
        }
        pairs += usize::from(value != Written::Flag);
        pair(key, value)?;
        rest = after.trim_ascii_start();
    }
    if pairs == 0 {
        return Err(missing("key=value pair", line, start));
    }
    Ok(())
}

/// The value behind an equals sign, and what follows it; `None` where a quote is not closed.
fn value(text: &str) -> Option<(Written<'_>, &str)> {
    if let Some(inner) = text.strip_prefix('"') {
        let end = closing_quote(inner)?;
        return Some((Written::Quoted(&inner[..end]), &inner[end + 1..]));
    }
    let (plain, after) = text.split_at(text.find([' ', '\t']).unwrap_or(text.len()));
    let written = if plain.is_empty() {
        Written::Empty
    } else {
        Written::Plain(plain)
    };
    Some((written, after))
}

fn closing_quote(inner: &str) -> Option<usize> {
    let mut escaped = false;
    inner.bytes().position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    })
}

/// Whether a line can hardly be anything else: two pairs or more, no lone words.
pub(super) fn is_logfmt(line: &str) -> bool {
    let (mut pairs, mut others) = (0, 0);
    let is_key = |key: &str| {
        key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '@')
            && key
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_.@/-".contains(&byte))
    };
    let read = walk(line, |key, value| {
        if value != Written::Flag && is_key(key) {
            pairs += 1;
        } else {
            others += 1;
        }
        Ok(())
    });
    read.is_ok() && pairs >= 2 && others == 0
}

/// Reads a line into the columns.
pub(super) fn read(
    line: &str,
    columns: &mut KeyedColumns,
    clock: &mut Clock,
    row: &mut Row,
) -> Result<(), Reject> {
    columns.begin(row);
    walk(line, |key, value| {
        let (raw, input) = match value {
            Written::Flag => ("true", Input::Bool(true)),
            Written::Empty => ("null", Input::Null),
            Written::Plain(text) => (text, Input::Bare(place(line, text))),
            Written::Quoted(inner) => (inner, Input::Bare(quoted(line, inner, &mut row.scratch))),
        };
        columns.take(line, key, raw, input, clock, row)
    })?;
    columns.finish(row)
}

fn quoted(line: &str, inner: &str, scratch: &mut String) -> Value {
    if !inner.contains('\\') {
        return place(line, inner);
    }
    let start = scratch.len();
    unescape(inner, scratch);
    Value::Scratch(Span {
        start: start as u32,
        end: scratch.len() as u32,
    })
}
