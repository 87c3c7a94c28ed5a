//! The schema's modes.

use logpipe_api::pipeline::{Field, FieldType, ParserType, SchemaMode, UnknownFields};

use super::*;
use crate::etl::parse::{ParseError, needs_sample};
use crate::etl::row::RejectReason;

fn field(name: &str, kind: FieldType, from: Option<&str>, required: bool) -> Field {
    Field {
        name: name.into(),
        kind,
        from: from.map(str::to_owned),
        required,
    }
}

fn declared(kind: ParserType, fields: Vec<Field>) -> Transform {
    let mut transform = transform(kind);
    transform.schema.mode = SchemaMode::Declared;
    transform.schema.fields = fields;
    transform
}

#[test]
fn raw_keeps_the_line_as_it_is() {
    let mut raw = transform(ParserType::Json);
    raw.schema.mode = SchemaMode::Raw;
    assert!(!needs_sample(&raw));
    let plan = resolved(&raw, &[]).plan;
    assert_eq!(
        row(&plan, "  2026-01-31 07:00:00 x ").unwrap(),
        ["message=  2026-01-31 07:00:00 x "]
    );
    assert_eq!(row(&plan, "").unwrap(), ["message="]);
}

#[test]
fn declared_columns_follow_the_event_time() {
    let json = declared(
        ParserType::Json,
        vec![
            field("when", FieldType::Timestamp, Some("meta.time"), true),
            field("code", FieldType::Int64, None, true),
            field("text", FieldType::String, Some("code"), false),
            field("rate", FieldType::Float64, None, false),
        ],
    );
    assert!(!needs_sample(&json));
    let plan = resolved(&json, &[]).plan;
    assert_eq!(
        row(
            &plan,
            r#"{"meta":{"time":1769842800},"code":7,"rate":"x","more":1}"#
        )
        .unwrap(),
        [
            "timestamp=2026-01-31T07:00:00Z",
            "when=2026-01-31T07:00:00Z",
            "code=7",
            "text=7",
            r#"_extra={"rate":"x","more":1}"#,
        ]
    );
    let reason = |line| row(&plan, line).unwrap_err().reason;
    assert_eq!(
        reason(r#"{"meta":{"time":1769842800},"code":"7"}"#),
        RejectReason::WrongType
    );
    assert_eq!(
        reason(r#"{"meta":{"time":1769842800}}"#),
        RejectReason::MissingField
    );
    assert_eq!(
        reason(r#"{"meta":{"time":1769842800},"code":null}"#),
        RejectReason::MissingField
    );
    assert_eq!(reason(r#"{"code":7}"#), RejectReason::MissingField);
}

#[test]
fn a_declared_timestamp_takes_the_place_of_the_event_time() {
    let plan = resolved(
        &declared(
            ParserType::Json,
            vec![
                field("n", FieldType::Int64, None, false),
                field("timestamp", FieldType::Timestamp, Some("t"), false),
            ],
        ),
        &[],
    )
    .plan;
    let names: Vec<_> = plan
        .columns
        .iter()
        .map(|column| column.name.as_str())
        .collect();
    assert_eq!(names, ["n", "timestamp", "_extra"]);
    let mut made = Row::default();
    LineParser::compile(&plan)
        .unwrap()
        .parse(r#"{"t":1769842800}"#, 0, &mut made)
        .unwrap();
    assert_eq!(made.event_time, Some(1_769_842_800_000_000));
}

#[test]
fn without_a_declared_time_the_sample_says_which_field_is_the_event_time() {
    let json = declared(
        ParserType::Json,
        vec![field("n", FieldType::Int64, None, false)],
    );
    assert!(needs_sample(&json));
    let plan = resolved(&json, &[r#"{"n":1,"@timestamp":"2026-01-31T07:00:00Z"}"#]).plan;
    assert_eq!(plan.columns[0].from, "@timestamp");
}

#[test]
fn fields_of_fixed_formats_are_declared_by_their_names() {
    let text = declared(
        ParserType::Text,
        vec![
            field("severity", FieldType::String, Some("level"), true),
            field("text", FieldType::String, Some("message"), false),
            field("number", FieldType::Int64, Some("message"), false),
        ],
    );
    let plan = resolved(&text, &[]).plan;
    assert_eq!(
        row(&plan, "2026-01-31 07:00:00 INFO 42").unwrap(),
        [
            "timestamp=2026-01-31T07:00:00Z",
            "severity=INFO",
            "text=42",
            "number=42"
        ]
    );
    assert_eq!(row(&plan, "2026-01-31 07:00:00 INFO x").unwrap().len(), 3);
    let wrong = declared(
        ParserType::Text,
        vec![field("u", FieldType::String, Some("user"), false)],
    );
    let error = resolve(&wrong, Granularity::Hour, &[], 0).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("they have timestamp, level, message"),
        "{error}"
    );
}

#[test]
fn columns_that_engines_cannot_tell_apart_are_refused() {
    for (one, two) in [("a", "A"), ("dt", "b"), ("x", "Timestamp")] {
        let twice = declared(
            ParserType::Json,
            vec![
                field(one, FieldType::Timestamp, None, false),
                field(two, FieldType::String, None, false),
            ],
        );
        let error = resolve(&twice, Granularity::Hour, &[], 0).unwrap_err();
        assert!(matches!(error, ParseError::NameTaken { .. }), "{error}");
    }
}

#[test]
fn formats_with_fields_of_their_own_have_nothing_extra() {
    for unknown in [
        UnknownFields::Collect,
        UnknownFields::Drop,
        UnknownFields::Reject,
    ] {
        let mut text = transform(ParserType::Text);
        text.schema.unknown_fields = unknown;
        assert_eq!(resolved(&text, &[]).plan.columns.len(), 3);
    }
}
