//! Whatever a line holds, it is a row or a rejection, the same one each time.

use logpipe_api::pipeline::{FieldType, ParserType, UnknownFields};
use logpipe_api::plan::{Column, ParserPlan, Plan, SEMANTICS};
use proptest::prelude::*;

use super::*;
use crate::etl::parse::layout::known::LAYOUTS;

const KINDS: [ParserType; 8] = [
    ParserType::Text,
    ParserType::Json,
    ParserType::Logfmt,
    ParserType::Regex,
    ParserType::Cri,
    ParserType::Nginx,
    ParserType::Syslog,
    ParserType::Log4j,
];

/// A plan of every kind, with columns of every type.
fn plan(kind: ParserType) -> Plan {
    let column = |name: &str, kind, from: &str| Column {
        name: name.into(),
        kind,
        from: from.into(),
        required: false,
    };
    let mut columns = vec![column("timestamp", FieldType::Timestamp, "timestamp")];
    for from in [
        "level",
        "message",
        "pid",
        "a",
        "a.b",
        "structured_data",
        "extra",
    ] {
        columns.push(column(from, FieldType::String, from));
        columns.push(column("i", FieldType::Int64, from));
        columns.push(column("f", FieldType::Float64, from));
        columns.push(column("t", FieldType::Timestamp, from));
        columns.push(column("b", FieldType::Boolean, from));
    }
    columns.push(column("_extra", FieldType::String, "_extra"));
    Plan {
        semantics: SEMANTICS,
        parser: ParserPlan {
            kind,
            layout: (kind == ParserType::Log4j).then(|| LAYOUTS.join("\n")),
            pattern: Some(r"(?<timestamp>\S+) (?<a>\w*)(?<message>.*)".into()),
            timezone: "Europe/Zurich".into(),
        },
        columns,
        unknown_fields: UnknownFields::Collect,
        granularity: Granularity::Hour,
        dead_letter_prefix: "_dead/".into(),
    }
}

/// Lines made of the pieces that parsers look for.
fn lines() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "2026-01-31 07:00:00,123",
        "2026-01-31T07:00:00Z",
        "Jan 31 07:00:00",
        "17/06/09 20:10:40",
        "1769842800",
        " ",
        "  ",
        "INFO",
        "[",
        "]",
        "(",
        ")",
        "{",
        "}",
        "\"",
        "\\",
        ":",
        "=",
        ",",
        "-",
        "|",
        "<34>",
        "1 ",
        "@",
        "a",
        "b",
        "é",
        "\u{feff}",
        "\0",
        "\r",
        "\t",
        "timestamp",
        "message",
        "stdout F",
        "null",
        "1e5",
        "\\u",
        "d83d",
        "host",
        "app[1]: ",
        "\"a\":",
        "{\"a\":{\"b\":1}}",
        "GET / HTTP/1.1",
        "200",
        "%",
        "#",
    ]);
    prop_oneof![
        3 => prop::collection::vec(pieces, 0..24).prop_map(|pieces| pieces.concat()),
        1 => any::<String>(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_line_is_a_row_or_a_rejection_and_always_the_same(
        texts in prop::collection::vec(lines(), 1..4),
        read_at in prop_oneof![Just(read_at()), Just(i64::MIN), Just(i64::MAX), any::<i64>()],
    ) {
        for kind in KINDS {
            let plan = plan(kind);
            let mut reused = LineParser::compile(&plan).unwrap();
            let mut row = Row::default();
            for line in &texts {
                let read = reused.parse(line, read_at, &mut row);
                let mut fresh = Row::default();
                let again = LineParser::compile(&plan).unwrap().parse(line, read_at, &mut fresh);
                prop_assert_eq!(&read, &again);
                if read.is_err() {
                    continue;
                }
                prop_assert_eq!(&row.values, &fresh.values);
                prop_assert_eq!(row.event_time, fresh.event_time);
                prop_assert_eq!(row.values.len(), plan.columns.len());
                for (value, column) in row.values.iter().zip(&plan.columns) {
                    if let Value::Line(_) | Value::Scratch(_) = value {
                        prop_assert!(row.text(line, value).is_some());
                        prop_assert_eq!(column.kind, FieldType::String);
                    }
                }
                if let Some(extra) = row.values.last().and_then(|value| row.text(line, value)) {
                    prop_assert!(serde_json::from_str::<serde_json::Value>(extra).is_ok(), "{}", extra);
                }
            }
        }
    }

    #[test]
    fn every_sample_makes_a_plan_that_compiles(texts in prop::collection::vec(lines(), 1..8)) {
        let sample: Vec<&[u8]> = texts.iter().map(String::as_bytes).collect();
        for kind in [ParserType::Auto, ParserType::Json, ParserType::Logfmt, ParserType::Syslog, ParserType::Log4j] {
            let transform = transform(kind);
            let Ok(made) = resolve(&transform, Granularity::Hour, &sample, read_at()) else {
                continue;
            };
            let mut parser = LineParser::compile(&made.plan).unwrap();
            let mut row = Row::default();
            let read = texts.iter().filter(|line| !line.trim().is_empty());
            let (mut rows, mut all) = (0, 0);
            for line in read {
                all += 1;
                rows += i32::from(parser.parse(line, read_at(), &mut row).is_ok());
            }
            if kind == ParserType::Auto {
                prop_assert!(rows * 5 >= all * 4, "{} of {}: {}", rows, all, made.why);
            }
        }
    }
}
