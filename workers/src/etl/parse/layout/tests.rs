use super::*;
use crate::etl::parse::zone::Zone;
use crate::etl::row::{RejectReason, Row};

fn clock() -> Clock {
    let mut clock = Clock::new(Zone::find("UTC").unwrap());
    clock.line_read_at(1_790_000_000_000_000);
    clock
}

/// The fields of a line, by name, as `name=text`.
fn read(layout: &str, line: &str) -> Result<Vec<String>, Reject> {
    let layouts = Layouts::compile(layout).unwrap();
    let mut slots = Slots::for_fields(layouts.fields().len());
    layouts.read(line, &mut clock(), &mut slots)?;
    let row = Row::default();
    Ok(layouts
        .fields()
        .iter()
        .zip(&slots.values)
        .filter_map(|(name, value)| Some(format!("{name}={}", row.text(line, value)?)))
        .collect())
}

#[test]
fn a_layout_reads_its_header_however_it_is_padded() {
    assert_eq!(
        read(
            "%d - %p [%t:%c@%L] - %m",
            "2015-07-29 19:04:29,071 - WARN  [SendWorker:18:Quorum$Send@688] - Send [it] - now  "
        )
        .unwrap(),
        [
            "timestamp=2015-07-29 19:04:29,071",
            "level=WARN",
            "message=Send [it] - now",
            "thread=SendWorker:18",
            "logger=Quorum$Send",
            "line=688"
        ]
    );
    assert_eq!(
        read(
            "[%d][%p][%c] %m",
            "[2026-01-31T07:00:00,123][INFO ][o.e.n.Node   ] started"
        )
        .unwrap(),
        [
            "timestamp=2026-01-31T07:00:00,123",
            "level=INFO",
            "message=started",
            "logger=o.e.n.Node"
        ]
    );
    assert_eq!(
        read(
            "[%d] %p %m (%c)",
            "[2026-01-31 07:00:00,123] INFO [K (a)] up (kafka.Server)"
        )
        .unwrap(),
        [
            "timestamp=2026-01-31 07:00:00,123",
            "level=INFO",
            "message=[K (a)] up",
            "logger=kafka.Server"
        ]
    );
}

#[test]
fn an_empty_message_is_a_message() {
    assert_eq!(
        read("%d %p %m", "2026-01-31 07:00:00 INFO ").unwrap(),
        ["timestamp=2026-01-31 07:00:00", "level=INFO", "message="]
    );
}

#[test]
fn the_first_layout_that_fits_reads_the_line() {
    let layouts = "%d %p %c: %m\n%d %m\n%m";
    assert_eq!(
        read(layouts, "2026-01-31 07:00:00 INFO a.B: hi")
            .unwrap()
            .len(),
        4
    );
    assert_eq!(
        read(layouts, "2026-01-31 07:00:00 hi").unwrap(),
        ["timestamp=2026-01-31 07:00:00", "message=hi"]
    );
    assert_eq!(read(layouts, "  at a.B ").unwrap(), ["message=  at a.B "]);
}

#[test]
fn a_line_that_does_not_fit_is_told_where_and_why() {
    let reject = read("%d %p %m", "Exception in thread main").unwrap_err();
    assert_eq!(reject.reason, RejectReason::Malformed);
    assert_eq!(
        reject.detail,
        "no timestamp at byte 0: found \"Exception in thread main\""
    );
    let reject = read("%d %p %m", "2026-01-31 07:00:00 hello").unwrap_err();
    assert_eq!(reject.detail, "no level at byte 20: found \"hello\"");
    let reject = read("%d %p %m\n%m", "2026-02-30 07:00:00 INFO hello").unwrap_err();
    assert_eq!(reject.reason, RejectReason::InvalidTimestamp);
    assert!(
        reject
            .detail
            .starts_with("no valid time at byte 0: there is no such day")
    );
}

#[test]
fn a_layout_that_cannot_work_is_refused() {
    assert!(matches!(
        Layouts::compile("%d %q"),
        Err(LayoutError::UnknownConversion { at: 3, .. })
    ));
    assert!(matches!(
        Layouts::compile("%d{nonsense}"),
        Err(LayoutError::UnknownConversion { .. })
    ));
    assert!(matches!(
        Layouts::compile("%t%p"),
        Err(LayoutError::EndlessField { .. })
    ));
}

#[test]
fn a_line_made_to_be_tried_in_many_ways_ends_soon() {
    let line = format!(
        "2026-01-31 07:00:00,123 - INFO [{}",
        "a:b@c] ".repeat(20_000)
    );
    assert!(read("%d - %p [%t:%c@%L] - %m", &line).is_err());
}
