//! Real logs of the loghub collection against its tables of what each line says. The data are not part of
//! the project: set `LOGPIPE_LOGHUB` to a folder with `Apache.log`, `Apache.csv` and so on.

use jiff::Timestamp;
use logpipe_api::pipeline::{Granularity, Transform};

use crate::etl::parse::{LineParser, resolve};
use crate::etl::row::{Row, Value};

const READ_AT: &str = "2005-12-31T00:00:00Z";

/// The rows of a table of comma-separated values, header first.
fn table(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => cell.extend(chars.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut cell)),
            '\n' if !quoted => {
                row.push(std::mem::take(&mut cell).trim_end_matches('\r').to_owned());
                rows.push(std::mem::take(&mut row));
            }
            c => cell.push(c),
        }
    }
    if !cell.is_empty() || !row.is_empty() {
        row.push(cell);
        rows.push(row);
    }
    rows
}

/// How a file's table says the time, as strftime writes it.
fn time(name: &str, get: &dyn Fn(&str) -> String) -> (&'static str, String) {
    match name {
        "Apache" => ("%a %b %d %H:%M:%S %Y", get("Time")),
        "HDFS" => ("%y%m%d %H%M%S", format!("{} {}", get("Date"), get("Time"))),
        "Spark" => (
            "%y/%m/%d %H:%M:%S",
            format!("{} {}", get("Date"), get("Time")),
        ),
        "Zookeeper" => (
            "%Y-%m-%d %H:%M:%S,%3f",
            format!("{} {}", get("Date"), get("Time")),
        ),
        "Linux" => (
            "%b %-d %H:%M:%S",
            format!("{} {} {}", get("Month"), get("Date"), get("Time")),
        ),
        other => panic!("no table for {other}"),
    }
}

#[test]
#[ignore = "needs the loghub samples: set LOGPIPE_LOGHUB to their folder"]
fn every_line_of_the_loghub_samples_says_what_its_table_says() {
    let folder = std::env::var("LOGPIPE_LOGHUB").expect("LOGPIPE_LOGHUB names a folder");
    let read_at = READ_AT.parse::<Timestamp>().unwrap().as_microsecond();
    let mut wrong = Vec::new();
    for name in ["Apache", "HDFS", "Linux", "Spark", "Zookeeper"] {
        let log = std::fs::read(format!("{folder}/{name}.log")).unwrap();
        let csv =
            String::from_utf8(std::fs::read(format!("{folder}/{name}.csv")).unwrap()).unwrap();
        let lines: Vec<&[u8]> = log
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .collect();
        let resolved = resolve(
            &Transform::default(),
            Granularity::Hour,
            &lines[..1000],
            read_at,
        )
        .unwrap();
        println!("{name}: {}", resolved.why);
        println!(
            "  {:?}",
            resolved
                .plan
                .columns
                .iter()
                .map(|c| &c.name)
                .collect::<Vec<_>>()
        );
        let mut parser = LineParser::compile(&resolved.plan).unwrap();
        let table = table(&csv);
        let (header, truth) = table.split_first().unwrap();
        assert_eq!((lines.len(), truth.len()), (2000, 2000), "{name}");
        let mut row = Row::default();
        let mut rejected = 0;
        for (line, truth) in lines.iter().zip(truth) {
            let line = std::str::from_utf8(line).unwrap();
            if let Err(reject) = parser.parse(line, read_at, &mut row) {
                rejected += 1;
                println!("  rejected: {} {line}", reject.detail);
                continue;
            }
            let get = |column: &str| {
                let at = header.iter().position(|name| name == column).unwrap();
                truth[at].clone()
            };
            let (format, expected) = time(name, &get);
            let zoned = Timestamp::from_microsecond(row.event_time.unwrap()).unwrap();
            let zoned = zoned.to_zoned(jiff::tz::TimeZone::UTC);
            assert_eq!(row.values[0], Value::Time(row.event_time.unwrap()));
            let text = |index: usize| row.text(line, &row.values[index]).unwrap_or_default();
            let level = if name == "Linux" {
                String::new()
            } else {
                get("Level")
            };
            let actual = [
                zoned.strftime(format).to_string(),
                text(1).into(),
                text(2).into(),
            ];
            if actual != [expected, level, get("Content")] {
                wrong.push(format!("{name}: {actual:?} of {line}"));
            }
        }
        println!("  {} of 2000 rows, {rejected} rejected", 2000 - rejected);
    }
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(20)].join("\n")
    );
}
