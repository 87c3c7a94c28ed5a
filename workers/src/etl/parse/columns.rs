//! From what stands in a line to the values of the plan's columns. Pure.

use logpipe_api::pipeline::FieldType;
use logpipe_api::plan::Column;

use super::slots::{self, Slots, TIMESTAMP, excerpt};
use super::time::{Clock, TimeFault};
use crate::etl::row::{Reject, RejectReason, Row, Value};

/// The column that holds what is in no other.
pub(super) const EXTRA: &str = "_extra";

/// A column and the slot it is taken from.
#[derive(Clone, Debug)]
struct Bound {
    column: Column,
    /// `None`: the format has no such field, so the column is null.
    slot: Option<usize>,
}

/// The columns of a format whose fields are known beforehand.
#[derive(Clone, Debug)]
pub(super) struct FixedColumns {
    columns: Vec<Bound>,
}

impl FixedColumns {
    pub(super) fn bind(columns: &[Column], fields: &[String]) -> Self {
        let bind = |column: &Column| Bound {
            slot: fields.iter().position(|field| *field == column.from),
            column: column.clone(),
        };
        Self {
            columns: columns.iter().map(bind).collect(),
        }
    }

    /// Fills the row from the slots.
    pub(super) fn fill(
        &self,
        line: &str,
        slots: &Slots,
        clock: &mut Clock,
        row: &mut Row,
    ) -> Result<(), Reject> {
        row.event_time = slots.time;
        for Bound { column, slot } in &self.columns {
            let value = slot.and_then(|slot| slots.values.get(slot)).copied();
            let value = match (column.kind, value) {
                (FieldType::Timestamp, Some(Value::Line(_))) if *slot == Some(TIMESTAMP) => {
                    slots.time.map_or(Value::Null, Value::Time)
                }
                (FieldType::String, Some(value)) => value,
                (_, Some(value @ (Value::Line(_) | Value::Scratch(_)))) => {
                    let text = row.text(line, &value).unwrap_or_default();
                    match from_text(column.kind, text, clock) {
                        Ok(value) => value,
                        Err(()) if column.required => return Err(wrong_type(column, text)),
                        Err(()) => Value::Null,
                    }
                }
                _ => Value::Null,
            };
            if column.required && value == Value::Null {
                return Err(missing_field(column));
            }
            row.values.push(value);
        }
        Ok(())
    }
}

/// A text as a value of another type; `Err` where it is none.
pub(super) fn from_text(kind: FieldType, text: &str, clock: &mut Clock) -> Result<Value, ()> {
    match kind {
        FieldType::String => Err(()),
        FieldType::Int64 => text.parse().map(Value::Int).map_err(drop),
        FieldType::Float64 => match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Value::Float(number)),
            _ => Err(()),
        },
        FieldType::Boolean => match text {
            "true" | "TRUE" | "True" => Ok(Value::Bool(true)),
            "false" | "FALSE" | "False" => Ok(Value::Bool(false)),
            _ => Err(()),
        },
        FieldType::Timestamp => clock.whole(text).map(Value::Time).map_err(drop),
    }
}

pub(super) fn wrong_type(column: &Column, text: &str) -> Reject {
    Reject {
        reason: RejectReason::WrongType,
        detail: format!(
            "the field {:?} is not of type {}: found {:?}",
            column.from,
            column.kind.as_str(),
            excerpt(text, 24)
        ),
    }
}

pub(super) fn missing_field(column: &Column) -> Reject {
    Reject {
        reason: RejectReason::MissingField,
        detail: format!("the required field {:?} is missing", column.from),
    }
}

/// A field that should be the event time, and is not.
pub(super) fn no_event_time(field: &str, text: &str, fault: TimeFault) -> Reject {
    let why = match fault {
        TimeFault::Absent => "it is not written like a time",
        TimeFault::Invalid(why) => why,
    };
    Reject {
        reason: RejectReason::InvalidTimestamp,
        detail: format!(
            "no valid time in the field {field:?}: {why}: found {:?}",
            excerpt(text, 40)
        ),
    }
}

/// Shifts the spans of a row whose line was cut at its start by `by` bytes.
pub(super) fn shift(row: &mut Row, by: u32) {
    for value in &mut row.values {
        if let Value::Line(span) = value {
            *value = slots::span((span.start + by) as usize, (span.end + by) as usize);
        }
    }
}
