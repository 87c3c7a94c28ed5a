//! From a transform to a plan, with a sample where the transform leaves something open. Pure.

use std::borrow::Cow;

use logpipe_api::pipeline::{
    Field, FieldType, Granularity, ParserType, SchemaMode, Transform, UnknownFields,
};
use logpipe_api::plan::{Column, ParserPlan, Plan, SEMANTICS};

use super::columns::EXTRA;
use super::detect::detect;
use super::format::{Format, is_rare, natural_type};
use super::infer::{infer, time_field};
use super::layout::known::{MESSAGE, TEXT};
use super::names::Names;
use super::slots::Slots;
use super::time::Clock;
use super::zone::Zone;
use super::{BOM, ParseError};
use crate::etl::row::Value;

/// How many lines of the sample are looked at.
const MOST_LINES: usize = 1000;

/// A plan and how it came about.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The plan.
    pub plan: Plan,
    /// What was chosen and why, in a sentence or two, for a person.
    pub why: String,
}

/// Whether [`resolve`] has to see lines for this transform.
pub fn needs_sample(transform: &Transform) -> bool {
    let infer = transform.schema.mode == SchemaMode::Infer;
    if transform.schema.mode == SchemaMode::Raw {
        return false;
    }
    match transform.parser.kind {
        ParserType::Auto | ParserType::Log4j => true,
        ParserType::Json | ParserType::Logfmt => {
            infer || event_time(&transform.schema.fields).is_none()
        }
        ParserType::Syslog => infer,
        ParserType::Text | ParserType::Regex | ParserType::Cri | ParserType::Nginx => false,
    }
}

/// Makes the plan of a transform. Where the parser is `Auto`, or the columns are to be inferred, it decides
/// from `sample`, the first lines without their newlines. `read_at`, in microseconds since 1970, is when
/// the sample was read.
pub fn resolve(
    transform: &Transform,
    granularity: Granularity,
    sample: &[&[u8]],
    read_at: i64,
) -> Result<Resolved, ParseError> {
    let name = &transform.parser.timezone;
    let zone = Zone::find(name).ok_or_else(|| ParseError::UnknownZone { name: name.clone() })?;
    let lossy: Vec<String>;
    let mut lines = readable(
        sample
            .iter()
            .filter_map(|line| std::str::from_utf8(line).ok()),
    );
    if lines.is_empty() {
        // In another encoding the heads of the lines are still the same, and they tell the format.
        let decoded = sample.iter().map(|line| String::from_utf8_lossy(line));
        lossy = decoded.map(Cow::into_owned).collect();
        lines = readable(lossy.iter().map(String::as_str));
    }
    if lines.is_empty() && needs_sample(transform) {
        return Err(ParseError::NoSample);
    }
    let (parser, mut why) = choose_parser(transform, &lines, &zone, read_at);
    if lines.iter().filter(|line| line.contains('\0')).count() * 2 > lines.len() {
        why.push_str("; most of them hold NUL bytes, as UTF-16 does: write the file as UTF-8");
    }
    let columns = choose_columns(transform, &parser, &lines, &zone, read_at)?;
    let plan = Plan {
        semantics: SEMANTICS,
        parser,
        columns,
        unknown_fields: transform.schema.unknown_fields,
        granularity,
        dead_letter_prefix: transform.dead_letter.prefix.clone(),
    };
    super::LineParser::compile(&plan)?;
    Ok(Resolved { plan, why })
}

/// Whether a line says nothing about its format.
pub(in crate::etl) fn is_blank(line: &[u8]) -> bool {
    std::str::from_utf8(line).is_ok_and(|line| {
        let line = line.strip_prefix(BOM).unwrap_or(line);
        line.trim().is_empty()
    })
}

/// The lines that are not blank, without what stands around them.
fn readable<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    lines
        .filter(|line| !is_blank(line.as_bytes()))
        .map(|line| line.strip_suffix('\r').unwrap_or(line))
        .map(|line| line.strip_prefix(BOM).unwrap_or(line))
        .take(MOST_LINES)
        .collect()
}

fn choose_parser(
    transform: &Transform,
    lines: &[&str],
    zone: &Zone,
    read_at: i64,
) -> (ParserPlan, String) {
    let plan = |kind, layout: Option<String>| ParserPlan {
        kind,
        layout,
        pattern: transform
            .parser
            .pattern
            .clone()
            .filter(|_| kind == ParserType::Regex),
        timezone: transform.parser.timezone.clone(),
    };
    if transform.schema.mode == SchemaMode::Raw {
        let why = "the schema is Raw: every line is kept as it is, as the message".to_owned();
        return (plan(ParserType::Text, Some(MESSAGE.to_owned())), why);
    }
    let kind = transform.parser.kind;
    let only = match kind {
        ParserType::Auto => None,
        ParserType::Log4j => Some(ParserType::Log4j),
        ParserType::Text => {
            let why = format!("the manifest says Text: the layout is `{TEXT}`");
            return (plan(kind, Some(TEXT.to_owned())), why);
        }
        _ => return (plan(kind, None), format!("the manifest says {kind:?}")),
    };
    let choice = detect(lines, only, zone, read_at);
    (plan(choice.kind, choice.layout), choice.why)
}

fn choose_columns(
    transform: &Transform,
    parser: &ParserPlan,
    lines: &[&str],
    zone: &Zone,
    read_at: i64,
) -> Result<Vec<Column>, ParseError> {
    if transform.schema.mode == SchemaMode::Raw {
        return Ok(vec![column("message", FieldType::String, "message")]);
    }
    let format = Format::of(parser)?;
    let mut columns = match (transform.schema.mode, &format) {
        (SchemaMode::Declared, format) => {
            declared(transform, parser, format.as_ref(), lines, zone, read_at)?
        }
        (_, Some(format)) => {
            let natural = |field: &String| column(field, natural_type(field), field);
            let mut names = Names::new();
            let seen = seen_fields(parser, lines, zone, read_at)?;
            format
                .fields()
                .iter()
                .filter(|field| lines.is_empty() || !is_rare(field) || seen.contains(field))
                .map(|field| Column {
                    name: names.make(field),
                    ..natural(field)
                })
                .collect()
        }
        (_, None) => infer(
            parser.kind,
            lines,
            zone,
            read_at,
            transform.schema.unknown_fields,
        ),
    };
    if format.is_none() && transform.schema.unknown_fields == UnknownFields::Collect {
        columns.push(column(EXTRA, FieldType::String, EXTRA));
    }
    Ok(columns)
}

/// The fields that the sample's lines have.
fn seen_fields(
    parser: &ParserPlan,
    lines: &[&str],
    zone: &Zone,
    read_at: i64,
) -> Result<Vec<String>, ParseError> {
    let Some(mut format) = Format::of(parser)? else {
        return Ok(Vec::new());
    };
    let mut clock = Clock::new(zone.clone());
    clock.line_read_at(read_at);
    let mut seen = vec![false; format.fields().len()];
    let mut slots = Slots::for_fields(seen.len());
    let mut scratch = String::new();
    for line in lines {
        scratch.clear();
        slots.clear();
        if format
            .read(line, &mut clock, &mut slots, &mut scratch)
            .is_ok()
        {
            for (seen, value) in seen.iter_mut().zip(&slots.values) {
                *seen |= *value != Value::Null;
            }
        }
    }
    let fields = format.fields().iter().zip(seen);
    Ok(fields
        .filter(|(_, seen)| *seen)
        .map(|(field, _)| field.clone())
        .collect())
}

/// The event time, then the declared fields.
fn declared(
    transform: &Transform,
    parser: &ParserPlan,
    format: Option<&Format>,
    lines: &[&str],
    zone: &Zone,
    read_at: i64,
) -> Result<Vec<Column>, ParseError> {
    let fields = &transform.schema.fields;
    let mut names = Names::new();
    let mut columns = Vec::with_capacity(fields.len() + 1);
    if !fields.iter().any(|field| field.name == "timestamp") {
        let from = match (format, event_time(fields)) {
            (Some(_), _) => "timestamp".to_owned(),
            (None, Some(field)) => from(field).to_owned(),
            (None, None) => time_field(parser.kind, lines, zone, read_at),
        };
        columns.push(column("timestamp", FieldType::Timestamp, &from));
    }
    for field in fields {
        let known = format.map(Format::fields);
        // What Auto found is not what the manifest named: there a field that is missing is null.
        if let Some(known) = known
            && !matches!(transform.parser.kind, ParserType::Auto | ParserType::Log4j)
            && !known.iter().any(|known| known == from(field))
        {
            return Err(ParseError::UnknownField {
                field: field.name.clone(),
                from: from(field).to_owned(),
                kind: parser.kind,
                known: known.to_vec(),
            });
        }
        columns.push(Column {
            required: field.required,
            ..column(&field.name, field.kind, from(field))
        });
    }
    match columns.iter().find(|column| !names.take(&column.name)) {
        Some(taken) => Err(ParseError::NameTaken {
            name: taken.name.clone(),
        }),
        None => Ok(columns),
    }
}

/// The declared field that is the event time: `timestamp`, else the first time.
fn event_time(fields: &[Field]) -> Option<&Field> {
    let times = || {
        fields
            .iter()
            .filter(|field| field.kind == FieldType::Timestamp)
    };
    times()
        .find(|field| field.name == "timestamp")
        .or_else(|| times().next())
}

fn from(field: &Field) -> &str {
    field.from.as_deref().unwrap_or(&field.name)
}

pub(super) fn column(name: &str, kind: FieldType, from: &str) -> Column {
    Column {
        name: name.to_owned(),
        kind,
        from: from.to_owned(),
        required: false,
    }
}
