//! The parsers through their public door: lines in, rows out.

mod auto;
mod fields;
mod formats;
mod loghub;
mod robust;
mod schema;

use jiff::Timestamp;
use logpipe_api::pipeline::{Granularity, Parser, ParserType, Transform};
use logpipe_api::plan::Plan;

use super::{LineParser, Resolved, resolve};
use crate::etl::row::{Reject, Row, Value};

/// When every line of these tests is read.
const READ_AT: &str = "2026-03-10T12:00:00Z";

fn read_at() -> i64 {
    READ_AT.parse::<Timestamp>().unwrap().as_microsecond()
}

fn transform(kind: ParserType) -> Transform {
    Transform {
        parser: Parser {
            kind,
            ..Parser::default()
        },
        ..Transform::default()
    }
}

fn resolved(transform: &Transform, lines: &[&str]) -> Resolved {
    let sample: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
    resolve(transform, Granularity::Hour, &sample, read_at()).unwrap()
}

/// A row as `column=value`, without the nulls.
fn row(plan: &Plan, line: &str) -> Result<Vec<String>, Reject> {
    let mut row = Row::default();
    LineParser::compile(plan)
        .unwrap()
        .parse(line, read_at(), &mut row)?;
    assert_eq!(row.values.len(), plan.columns.len());
    let shown = plan
        .columns
        .iter()
        .zip(&row.values)
        .filter_map(|(column, value)| {
            let text = match value {
                Value::Null => return None,
                Value::Time(instant) => Timestamp::from_microsecond(*instant).unwrap().to_string(),
                Value::Int(number) => number.to_string(),
                Value::Float(number) => format!("{number:?}"),
                Value::Bool(truth) => truth.to_string(),
                text => row.text(line, text).unwrap().to_owned(),
            };
            Some(format!("{}={text}", column.name))
        });
    Ok(shown.collect())
}

/// The rows of lines under the plan that `kind` makes of the same lines.
fn rows(kind: ParserType, lines: &[&str]) -> Vec<Vec<String>> {
    let plan = resolved(&transform(kind), lines).plan;
    lines
        .iter()
        .map(|line| row(&plan, line).expect(line))
        .collect()
}
