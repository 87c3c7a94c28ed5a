//! The columns of formats whose lines name their fields: JSON and logfmt. Pure.

use ahash::{AHashMap, AHashSet};
use logpipe_api::pipeline::{FieldType, UnknownFields};
use logpipe_api::plan::Column;

use super::columns::{EXTRA, from_text, missing_field, no_event_time, wrong_type};
use super::slots::place;
use super::time::Clock;
use crate::etl::row::{Reject, RejectReason, Row, Span, Value};

/// A field's value as it stands in the line.
#[derive(Clone, Copy, Debug)]
pub(super) enum Input {
    Null,
    Bool(bool),
    Number,
    /// Text: where it stands.
    Text(Value),
    /// Text of a format that writes everything as text (logfmt).
    Bare(Value),
    /// An array, or an object that is kept whole.
    Nested,
}

/// The columns by the fields they are taken from.
#[derive(Clone, Debug)]
pub(super) struct KeyedColumns {
    columns: Vec<Column>,
    /// The first column of a field, and for each column the next one of the same field.
    first: AHashMap<String, usize>,
    next_of_same: Vec<Option<usize>>,
    /// Every `a` and `a.b` of fields `a.b.c`.
    prefixes: AHashSet<String>,
    unknown: UnknownFields,
    event_time: Option<usize>,
    extra_column: Option<usize>,
    /// The number of the line in which a column was last set.
    set_in: Vec<u64>,
    line: u64,
    /// Fields come mostly in the order of the columns: the one to look at first.
    expected: usize,
    extra: String,
}

impl KeyedColumns {
    pub(super) fn bind(columns: &[Column], unknown: UnknownFields) -> Self {
        let mut first: AHashMap<String, usize> = AHashMap::new();
        let mut prefixes = AHashSet::new();
        let mut next_of_same = vec![None; columns.len()];
        let is_extra = |column: &Column| column.name == EXTRA;
        for (index, column) in columns.iter().enumerate().rev() {
            if is_extra(column) {
                continue;
            }
            next_of_same[index] = first.insert(column.from.clone(), index);
            for (dot, _) in column.from.match_indices('.') {
                prefixes.insert(column.from[..dot].to_owned());
            }
        }
        let event_time =
            |column: &Column| column.name == "timestamp" && column.kind == FieldType::Timestamp;
        Self {
            first,
            next_of_same,
            prefixes,
            unknown,
            event_time: columns.iter().position(event_time),
            extra_column: columns.iter().position(is_extra),
            set_in: vec![0; columns.len()],
            line: 0,
            expected: 0,
            extra: String::new(),
            columns: columns.to_vec(),
        }
    }

    /// Begins a line: every column is null.
    pub(super) fn begin(&mut self, row: &mut Row) {
        row.values.resize(self.columns.len(), Value::Null);
        self.line += 1;
        self.expected = 0;
        self.extra.clear();
    }

    /// Whether some column is taken from inside the object `path`.
    pub(super) fn has_inside(&self, path: &str) -> bool {
        !self.prefixes.is_empty() && self.prefixes.contains(path)
    }

    /// Takes the field `path`, whose value is written `raw` in the line. Of a field that is there twice the
    /// first is the column's; the others are treated as fields that are not columns.
    pub(super) fn take(
        &mut self,
        line: &str,
        path: &str,
        raw: &str,
        input: Input,
        clock: &mut Clock,
        row: &mut Row,
    ) -> Result<(), Reject> {
        let expected = self.columns.get(self.expected);
        let found = match expected {
            Some(column) if column.from == path && column.name != EXTRA => Some(self.expected),
            _ => self.first.get(path).copied(),
        };
        let Some(mut index) = found.filter(|index| self.set_in[*index] != self.line) else {
            return self.unknown(line, path, raw, input, row);
        };
        self.expected = index + 1;
        let mut kept = true;
        loop {
            self.set_in[index] = self.line;
            kept &= self.set(index, line, raw, input, clock, row)?;
            match self.next_of_same[index] {
                Some(next) => index = next,
                None => break,
            }
        }
        if !kept && self.unknown == UnknownFields::Collect {
            self.collect(line, path, raw, input, row);
        }
        Ok(())
    }

    /// Sets one column; `false` where the value is of another type and the column stays null.
    fn set(
        &self,
        index: usize,
        line: &str,
        raw: &str,
        input: Input,
        clock: &mut Clock,
        row: &mut Row,
    ) -> Result<bool, Reject> {
        let column = &self.columns[index];
        if matches!(input, Input::Null) {
            return Ok(true);
        }
        if column.kind == FieldType::Timestamp {
            let read = match input {
                Input::Text(value) | Input::Bare(value) => {
                    clock.whole(row.text(line, &value).unwrap_or_default())
                }
                Input::Number => Clock::number(raw),
                _ => Err(super::time::TimeFault::Absent),
            };
            return match read {
                Ok(instant) => {
                    row.values[index] = Value::Time(instant);
                    Ok(true)
                }
                Err(fault) if self.event_time == Some(index) => {
                    Err(no_event_time(&column.from, raw, fault))
                }
                Err(_) if column.required => Err(wrong_type(column, raw)),
                Err(_) => Ok(false),
            };
        }
        let value = match (column.kind, input) {
            (FieldType::String, Input::Text(value) | Input::Bare(value)) => Some(value),
            (FieldType::String, Input::Bool(true)) if !is_part(line, raw) => {
                let start = row.scratch.len();
                row.scratch.push_str(raw);
                Some(Value::Scratch(Span {
                    start: start as u32,
                    end: row.scratch.len() as u32,
                }))
            }
            (FieldType::String, _) => Some(place(line, raw)),
            (FieldType::Boolean, Input::Bool(value)) => Some(Value::Bool(value)),
            (FieldType::Int64 | FieldType::Float64, Input::Number) => {
                from_text(column.kind, raw, clock).ok()
            }
            (kind, Input::Bare(value)) => {
                from_text(kind, row.text(line, &value).unwrap_or_default(), clock).ok()
            }
            _ => None,
        };
        match value {
            Some(value) => {
                row.values[index] = value;
                Ok(true)
            }
            None if column.required => Err(wrong_type(column, raw)),
            None => Ok(false),
        }
    }

    fn unknown(
        &mut self,
        line: &str,
        path: &str,
        raw: &str,
        input: Input,
        row: &Row,
    ) -> Result<(), Reject> {
        match self.unknown {
            UnknownFields::Drop => Ok(()),
            UnknownFields::Collect => {
                self.collect(line, path, raw, input, row);
                Ok(())
            }
            UnknownFields::Reject => Err(Reject {
                reason: RejectReason::UnknownField,
                detail: format!(
                    "the field {:?} is not a column, or is there twice",
                    super::slots::excerpt(path, 80)
                ),
            }),
        }
    }

    /// Adds a field to the JSON object of the fields that are not columns.
    fn collect(&mut self, line: &str, path: &str, raw: &str, input: Input, row: &Row) {
        self.extra
            .push(if self.extra.is_empty() { '{' } else { ',' });
        push_json_text(&mut self.extra, path);
        self.extra.push(':');
        match input {
            Input::Bare(value) => {
                push_json_text(&mut self.extra, row.text(line, &value).unwrap_or_default());
            }
            _ => self.extra.push_str(raw),
        }
    }

    /// Ends a line.
    pub(super) fn finish(&mut self, row: &mut Row) -> Result<(), Reject> {
        for (column, value) in self.columns.iter().zip(&row.values) {
            if column.required && *value == Value::Null {
                return Err(missing_field(column));
            }
        }
        if let Some(Value::Time(instant)) = self.event_time.and_then(|index| row.values.get(index))
        {
            row.event_time = Some(*instant);
        }
        if let (Some(index), false) = (self.extra_column, self.extra.is_empty()) {
            let start = row.scratch.len();
            row.scratch.push_str(&self.extra);
            row.scratch.push('}');
            row.values[index] = Value::Scratch(Span {
                start: start as u32,
                end: row.scratch.len() as u32,
            });
        }
        Ok(())
    }
}

/// Whether `part` was cut from `whole`; the `true` of a lone key of logfmt was not.
fn is_part(whole: &str, part: &str) -> bool {
    whole.as_bytes().as_ptr_range().contains(&part.as_ptr())
}

/// Writes a text as a JSON string.
pub(super) fn push_json_text(out: &mut String, text: &str) {
    out.push('"');
    let mut from = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.push_str(&text[from..at]);
        from = at + 1;
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            _ => {
                use std::fmt::Write;
                write!(out, "\\u{byte:04x}").expect("writing to a string cannot fail");
            }
        }
    }
    out.push_str(&text[from..]);
    out.push('"');
}
