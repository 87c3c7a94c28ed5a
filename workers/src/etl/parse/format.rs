//! The formats whose fields are known before the first line. Pure.

use logpipe_api::pipeline::{FieldType, ParserType};
use logpipe_api::plan::ParserPlan;

use super::ParseError;
use super::layout::Layouts;
use super::layout::known::TEXT;
use super::slots::Slots;
use super::time::Clock;
use crate::etl::row::Reject;

/// A format with fields that are known beforehand.
#[derive(Debug)]
pub(super) enum Format {
    Layouts(Layouts),
}

impl Format {
    /// The format of a plan; `None` for those whose lines name their fields.
    pub(super) fn of(plan: &ParserPlan) -> Result<Option<Self>, ParseError> {
        Ok(Some(match plan.kind {
            ParserType::Text | ParserType::Log4j => {
                let layout = plan.layout.as_deref().unwrap_or(TEXT);
                Self::Layouts(Layouts::compile(layout)?)
            }
            ParserType::Json | ParserType::Logfmt => return Ok(None),
            _ => return Err(ParseError::Undecided),
        }))
    }

    /// The names of the fields, by slot.
    pub(super) fn fields(&self) -> &[String] {
        match self {
            Self::Layouts(layouts) => layouts.fields(),
        }
    }

    /// Reads a line into the slots; text that has to be written anew goes to `scratch`.
    pub(super) fn read(
        &mut self,
        line: &str,
        clock: &mut Clock,
        slots: &mut Slots,
        _scratch: &mut String,
    ) -> Result<(), Reject> {
        match self {
            Self::Layouts(layouts) => layouts.read(line, clock, slots),
        }
    }
}

/// The type that a field of these formats has when nothing is declared.
pub(super) fn natural_type(field: &str) -> FieldType {
    match field {
        "timestamp" => FieldType::Timestamp,
        "pid" | "tid" | "line" | "status" | "bytes" => FieldType::Int64,
        _ => FieldType::String,
    }
}
