//! JSON and logfmt: columns from a sample, and what is in no column.

use logpipe_api::pipeline::{ParserType, UnknownFields};

use super::*;
use crate::etl::row::RejectReason;

/// Names and types of the columns that a sample gives.
fn columns(kind: ParserType, lines: &[&str]) -> Vec<String> {
    let plan = resolved(&transform(kind), lines).plan;
    plan.columns
        .iter()
        .map(|c| format!("{}:{:?}<{}", c.name, c.kind, c.from))
        .collect()
}

#[test]
fn columns_come_from_the_sample_in_the_order_they_are_seen() {
    let lines = [
        r#"{"severity":"INFO","time":"2026-01-31T07:00:00Z","n":1,"f":1,"ok":true,"req":{"id":7,"tags":["a"]},"at":"2026-01-31T07:00:00Z","User":"a","mix":1}"#,
        r#"{"f":1.5,"msg":"hi","user":2,"mix":"x","dt":"y","void":null,"big":123456789012345678901}"#,
        "broken {",
    ];
    assert_eq!(
        columns(ParserType::Json, &lines),
        [
            "timestamp:Timestamp<time",
            "level:String<severity",
            "message:String<msg",
            "n:Int64<n",
            "f:Float64<f",
            "ok:Boolean<ok",
            "req_id:Int64<req.id",
            "req_tags:String<req.tags",
            "at:Timestamp<at",
            "User:String<User",
            "mix:String<mix",
            "user_2:Int64<user",
            "dt_2:String<dt",
            "void:String<void",
            "big:String<big",
            "_extra:String<_extra",
        ]
    );
}

#[test]
fn a_row_holds_every_field_in_its_column_or_in_extra() {
    let plan = resolved(
        &transform(ParserType::Json),
        &[r#"{"ts":1769842800123,"level":30,"message":"m","n":1,"f":0.5,"o":{"a":"x"}}"#],
    )
    .plan;
    assert_eq!(
        row(&plan, r#"{ "ts" : 1769842800123456, "level":50, "message":"a\n\u00e9\"", "n":"one", "new":{"k":[1,"\""]}, "n":2, "f":3, "o":{"a":[1], "b":null} }"#).unwrap(),
        [
            "timestamp=2026-01-31T07:00:00.123456Z",
            "level=50",
            "message=a\né\"",
            "f=3.0",
            "o_a=[1]",
            r#"_extra={"n":"one","new":{"k":[1,"\""]},"n":2,"o.b":null}"#,
        ]
    );
    assert_eq!(row(&plan, "{}").unwrap(), Vec::<String>::new());
    assert_eq!(
        row(&plan, r#"{"n":99999999999999999999}"#).unwrap(),
        [r#"_extra={"n":99999999999999999999}"#]
    );
    assert_eq!(
        row(&plan, r#"{"f":1e999}"#).unwrap(),
        [r#"_extra={"f":1e999}"#]
    );
    assert_eq!(row(&plan, r#"{"o":5}"#).unwrap(), [r#"_extra={"o":5}"#]);
}

#[test]
fn an_event_time_that_cannot_be_read_is_no_row() {
    let plan = resolved(&transform(ParserType::Json), &[r#"{"ts":1769842800}"#]).plan;
    for line in [
        r#"{"ts":"soon"}"#,
        r#"{"ts":-1}"#,
        r#"{"ts":[]}"#,
        r#"{"ts":"2300-01-01T00:00:00Z"}"#,
    ] {
        assert_eq!(
            row(&plan, line).unwrap_err().reason,
            RejectReason::InvalidTimestamp,
            "{line}"
        );
    }
    assert_eq!(row(&plan, r#"{"ts":null}"#).unwrap(), Vec::<String>::new());
}

#[test]
fn unknown_fields_are_kept_dropped_or_rejected() {
    let mut transform = transform(ParserType::Json);
    let sample = [r#"{"a":1}"#];
    let line = r#"{"a":1,"b":{"c":2}}"#;
    let kept = resolved(&transform, &sample).plan;
    assert_eq!(
        row(&kept, line).unwrap(),
        ["a=1", r#"_extra={"b":{"c":2}}"#]
    );
    transform.schema.unknown_fields = UnknownFields::Drop;
    let dropped = resolved(&transform, &sample).plan;
    assert_eq!(row(&dropped, line).unwrap(), ["a=1"]);
    assert!(dropped.columns.iter().all(|column| column.name != "_extra"));
    transform.schema.unknown_fields = UnknownFields::Reject;
    let strict = resolved(&transform, &sample).plan;
    let reject = row(&strict, line).unwrap_err();
    assert_eq!(reject.reason, RejectReason::UnknownField);
    assert!(reject.detail.contains("\"b\""), "{}", reject.detail);
}

#[test]
fn a_sample_of_many_fields_makes_at_most_256_columns() {
    let fields: Vec<String> = (0..400).map(|n| format!("\"k{n}\":{n}")).collect();
    let line = format!("{{{}}}", fields.join(","));
    let plan = resolved(&transform(ParserType::Json), &[&line]).plan;
    assert_eq!(plan.columns.len(), 256);
    let last = row(&plan, &line).unwrap().pop().unwrap();
    assert!(last.starts_with("_extra={\"k252\":252,"), "{last}");
}

#[test]
fn logfmt_values_have_the_types_they_look_like() {
    let line = r#"time=2026-01-31T07:00:00Z lvl=info msg="say \"hi\"" n=-3 f=2.5 ok=true id=007 empty= debug took=5ms"#;
    let plan = resolved(&transform(ParserType::Logfmt), &[line]).plan;
    assert_eq!(
        row(&plan, line).unwrap(),
        [
            "timestamp=2026-01-31T07:00:00Z",
            "level=info",
            "message=say \"hi\"",
            "n=-3",
            "f=2.5",
            "ok=true",
            "id=007",
            "debug=true",
            "took=5ms",
        ]
    );
    assert_eq!(
        row(&plan, r#"n=x new="a\"b" lone id"#).unwrap(),
        ["id=true", r#"_extra={"n":"x","new":"a\"b","lone":true}"#]
    );
    for bad in [
        "",
        "no pairs here",
        "a=\"open",
        "=x",
        "a=\"b\"c",
        "a=1 \"b\"",
    ] {
        assert_eq!(
            row(&plan, bad).unwrap_err().reason,
            RejectReason::Malformed,
            "{bad}"
        );
    }
}
