//! The formats whose fields are known before the first line. Pure.

use logpipe_api::pipeline::{FieldType, ParserType};
use logpipe_api::plan::ParserPlan;

use super::layout::Layouts;
use super::layout::known::TEXT;
use super::regex::Pattern;
use super::slots::Slots;
use super::time::Clock;
use super::{ParseError, cri, nginx, syslog};
use crate::etl::row::Reject;

/// A format with fields that are known beforehand.
#[derive(Debug)]
pub(super) enum Format {
    Layouts(Layouts),
    Regex(Pattern),
    /// With the names of the fields.
    Cri(Vec<String>),
    Nginx(Vec<String>),
    Syslog(Vec<String>),
}

impl Format {
    /// The format of a plan; `None` for those whose lines name their fields.
    pub(super) fn of(plan: &ParserPlan) -> Result<Option<Self>, ParseError> {
        Ok(Some(match plan.kind {
            ParserType::Text | ParserType::Log4j => {
                let layout = plan.layout.as_deref().unwrap_or(TEXT);
                Self::Layouts(Layouts::compile(layout)?)
            }
            ParserType::Regex => Self::Regex(Pattern::compile(
                plan.pattern.as_deref().unwrap_or_default(),
            )?),
            ParserType::Cri => Self::Cri(owned(&cri::FIELDS)),
            ParserType::Nginx => Self::Nginx(owned(&nginx::FIELDS)),
            ParserType::Syslog => Self::Syslog(owned(&syslog::FIELDS)),
            ParserType::Json | ParserType::Logfmt => return Ok(None),
            ParserType::Auto => return Err(ParseError::Undecided),
        }))
    }

    /// The names of the fields, by slot.
    pub(super) fn fields(&self) -> &[String] {
        match self {
            Self::Layouts(layouts) => layouts.fields(),
            Self::Regex(pattern) => pattern.fields(),
            Self::Cri(fields) | Self::Nginx(fields) | Self::Syslog(fields) => fields,
        }
    }

    /// Reads a line into the slots; text that has to be written anew goes to `scratch`.
    pub(super) fn read(
        &mut self,
        line: &str,
        clock: &mut Clock,
        slots: &mut Slots,
        scratch: &mut String,
    ) -> Result<(), Reject> {
        match self {
            Self::Layouts(layouts) => layouts.read(line, clock, slots),
            Self::Regex(pattern) => pattern.read(line, clock, slots),
            Self::Cri(_) => cri::read(line, clock, slots),
            Self::Nginx(_) => nginx::read(line, clock, slots),
            Self::Syslog(_) => syslog::read(line, clock, slots, scratch),
        }
    }
}

pub(super) fn owned(fields: &[&str]) -> Vec<String> {
    fields.iter().map(|field| (*field).to_owned()).collect()
}

/// Fields that only some lines of a format have, and many files in none: they are columns where a sample
/// has them, or where there is no sample.
pub(super) fn is_rare(field: &str) -> bool {
    matches!(
        field,
        "procid" | "context" | "facility" | "msgid" | "structured_data" | "vhost" | "extra"
    )
}

/// The type that a field of these formats has when nothing is declared.
pub(super) fn natural_type(field: &str) -> FieldType {
    match field {
        "timestamp" => FieldType::Timestamp,
        "pid" | "tid" | "line" | "status" | "bytes" => FieldType::Int64,
        _ => FieldType::String,
    }
}
