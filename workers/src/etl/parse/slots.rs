//! What a format of fixed fields reads from a line, before it becomes columns; and how it says that it
//! cannot. Pure.

use crate::etl::row::{Reject, RejectReason, Span, Value};

/// The first three fields of every format; its own follow.
pub(super) const TIMESTAMP: usize = 0;
/// How bad it is, as it stands in the line.
pub(super) const LEVEL: usize = 1;
/// What happened.
pub(super) const MESSAGE: usize = 2;
/// The names of the first three fields.
pub(super) const COMMON: [&str; 3] = ["timestamp", "level", "message"];

/// One text for each of a format's fields.
#[derive(Clone, Debug, Default)]
pub(super) struct Slots {
    /// Null or text, by the number of the field. The timestamp's is the text it was read from.
    pub(super) values: Vec<Value>,
    /// The event time, in microseconds since 1970, UTC.
    pub(super) time: Option<i64>,
}

impl Slots {
    pub(super) fn for_fields(count: usize) -> Self {
        Self {
            values: vec![Value::Null; count],
            time: None,
        }
    }

    pub(super) fn clear(&mut self) {
        self.values.fill(Value::Null);
        self.time = None;
    }

    /// Field `slot` is the line's bytes `[start, end)`.
    pub(super) fn set(&mut self, slot: usize, start: usize, end: usize) {
        if let Some(value) = self.values.get_mut(slot) {
            *value = span(start, end);
        }
    }

    pub(super) fn put(&mut self, slot: usize, value: Value) {
        if let Some(place) = self.values.get_mut(slot) {
            *place = value;
        }
    }
}

/// Bytes `[start, end)` of the line.
pub(super) fn span(start: usize, end: usize) -> Value {
    Value::Line(Span {
        start: start as u32,
        end: end as u32,
    })
}

/// Where `part` stands in `whole`, which it was cut from.
pub(super) fn place(whole: &str, part: &str) -> Value {
    let start = part.as_ptr() as usize - whole.as_ptr() as usize;
    span(start, start + part.len())
}

/// A rejection that says what is missing where, and what stands there instead.
pub(super) fn missing(what: &str, line: &str, at: usize) -> Reject {
    Reject {
        reason: RejectReason::Malformed,
        detail: format!("no {what} at byte {at}: {}", found(line, at)),
    }
}

/// A rejection because of a time that does not exist.
pub(super) fn no_such_time(why: &str, line: &str, at: usize) -> Reject {
    Reject {
        reason: RejectReason::InvalidTimestamp,
        detail: format!("no valid time at byte {at}: {why}: {}", found(line, at)),
    }
}

/// The next bytes of the line in words.
fn found(line: &str, at: usize) -> String {
    const MOST: usize = 24;
    let rest = line.get(at..).unwrap_or_default();
    if rest.is_empty() {
        return "the line ends there".to_owned();
    }
    format!("found {:?}", excerpt(rest, MOST))
}

/// The start of a text, at most `most` characters.
pub(super) fn excerpt(text: &str, most: usize) -> &str {
    text.char_indices()
        .nth(most)
        .map_or(text, |(end, _)| &text[..end])
}
