use jiff::Timestamp;
use jiff::civil::DateTime;
use proptest::prelude::*;

use super::*;

fn clock() -> Clock {
    let mut clock = Clock::new(Zone::find("UTC").unwrap());
    clock.line_read_at(at("2026-03-10T12:00:00Z"));
    clock
}

fn at(text: &str) -> i64 {
    text.parse::<Timestamp>().unwrap().as_microsecond()
}

/// A text that begins with a time, the time, and the rest of the text.
const SPELLINGS: &[(&str, &str, &str)] = &[
    (
        "2026-01-31 07:00:00,123 INFO",
        "2026-01-31T07:00:00.123Z",
        " INFO",
    ),
    (
        "2026-01-31T07:00:00.123456789Z x",
        "2026-01-31T07:00:00.123456Z",
        " x",
    ),
    ("2026-01-31T07:00:00+02:00", "2026-01-31T05:00:00Z", ""),
    ("2026-01-31 07:00:00 +0200 x", "2026-01-31T05:00:00Z", " x"),
    (
        "2026-01-31 07:00:00.5 UTC [1]",
        "2026-01-31T07:00:00.5Z",
        " [1]",
    ),
    ("2026-01-31 07:00:00 PST x", "2026-01-31T15:00:00Z", " x"),
    (
        "2026-01-31 07:00:00:123|x",
        "2026-01-31T07:00:00.123Z",
        "|x",
    ),
    (
        "2026-01-31 07:00:00, Info",
        "2026-01-31T07:00:00Z",
        ", Info",
    ),
    (
        "2026-01-31 07:00:00,747 - INFO",
        "2026-01-31T07:00:00.747Z",
        " - INFO",
    ),
    (
        "2026-01-31 07:00:00 -12 x",
        "2026-01-31T07:00:00Z",
        " -12 x",
    ),
    ("2026-01-31 07:00:00 INFO", "2026-01-31T07:00:00Z", " INFO"),
    ("2026-01-31_07:00:00 x", "2026-01-31T07:00:00Z", " x"),
    (
        "2026-01-31  7:00:00 0 [Note]",
        "2026-01-31T07:00:00Z",
        " 0 [Note]",
    ),
    (
        "2026-01-31-07.00.00.675872 x",
        "2026-01-31T07:00:00.675872Z",
        " x",
    ),
    (
        "2026/01/31 07:00:00 [error]",
        "2026-01-31T07:00:00Z",
        " [error]",
    ),
    ("17/06/09 20:10:40 INFO", "2017-06-09T20:10:40Z", " INFO"),
    ("081109 203615 148", "2008-11-09T20:36:15Z", " 148"),
    ("081109  7:36:15 148", "2008-11-09T07:36:15Z", " 148"),
    ("20171223-22:15:29:606|x", "2017-12-23T22:15:29.606Z", "|x"),
    ("20171224-0:7:20:444|x", "2017-12-24T00:07:20.444Z", "|x"),
    ("20260131070000 x", "2026-01-31T07:00:00Z", " x"),
    ("20260131T070000Z x", "2026-01-31T07:00:00Z", " x"),
    ("Sun Dec 04 04:47:44 2005] x", "2005-12-04T04:47:44Z", "] x"),
    (
        "Sun Dec 04 04:47:44.123456 2005]",
        "2005-12-04T04:47:44.123456Z",
        "]",
    ),
    (
        "Sun Dec  4 04:47:44 UTC 2005 x",
        "2005-12-04T04:47:44Z",
        " x",
    ),
    (
        "Sun, 04 Dec 2005 04:47:44 +0100",
        "2005-12-04T03:47:44Z",
        "",
    ),
    ("Jan 31 2026 07:00:00 x", "2026-01-31T07:00:00Z", " x"),
    (
        "Jan 31, 2026 7:00:00 PM org.x",
        "2026-01-31T19:00:00Z",
        " org.x",
    ),
    (
        "31/Jan/2026:07:00:00 +0100] x",
        "2026-01-31T06:00:00Z",
        "] x",
    ),
    (
        "31-Jan-2026 07:00:00.123 INFO",
        "2026-01-31T07:00:00.123Z",
        " INFO",
    ),
    (
        "31 Jan 2026 07:00:00,123 INFO",
        "2026-01-31T07:00:00.123Z",
        " INFO",
    ),
    ("1/31/2026 12:00:00 AM x", "2026-01-31T00:00:00Z", " x"),
    ("31.01.2026 07:00:00 x", "2026-01-31T07:00:00Z", " x"),
];

#[test]
fn the_usual_spellings_are_read() {
    for (text, expected, rest) in SPELLINGS {
        let (instant, end) = clock().any(text.as_bytes()).expect(text);
        assert_eq!(instant, at(expected), "{text}");
        assert_eq!(&text[end..], *rest, "{text}");
    }
}

#[test]
fn a_missing_year_is_the_latest_that_puts_the_time_at_most_a_day_after_the_reading() {
    for (text, expected) in [
        ("Mar 10 11:00:00 host", "2026-03-10T11:00:00Z"),
        ("Mar 11 11:59:59 host", "2026-03-11T11:59:59Z"),
        ("Mar 11 12:00:01 host", "2025-03-11T12:00:01Z"),
        ("Dec 31 23:59:59 host", "2025-12-31T23:59:59Z"),
        ("Feb 29 10:00:00 host", "2024-02-29T10:00:00Z"),
        ("03-17 16:13:38.811 host", "2025-03-17T16:13:38.811Z"),
        ("03.09 16:13:38 host", "2026-03-09T16:13:38Z"),
    ] {
        let (instant, _) = clock().any(text.as_bytes()).expect(text);
        assert_eq!(instant, at(expected), "{text}");
    }
    let mut new_year = clock();
    new_year.line_read_at(at("2025-12-31T23:30:00Z"));
    assert_eq!(
        new_year.any(b"Jan  1 00:10:00 host").unwrap().0,
        at("2026-01-01T00:10:00Z")
    );
}

#[test]
fn a_missing_date_is_the_latest_that_puts_the_time_at_most_an_hour_after_the_reading() {
    for (text, expected) in [
        ("11:00:00.123 [main]", "2026-03-10T11:00:00.123Z"),
        ("12:59:59 [main]", "2026-03-10T12:59:59Z"),
        ("13:00:01 [main]", "2026-03-09T13:00:01Z"),
    ] {
        let (instant, _) = clock().any(text.as_bytes()).expect(text);
        assert_eq!(instant, at(expected), "{text}");
    }
}

#[test]
fn times_that_do_not_exist_are_told_from_text_that_is_no_time() {
    for text in [
        "2026-02-30 07:00:00",
        "2026-13-01 07:00:00",
        "2026-01-31 24:00:00",
        "2026-01-31 07:00:61",
        "2200-01-01 00:00:00",
        "1969-12-31 23:59:59",
        "69/06/09 20:10:40",
        "Feb 30 10:00:00",
    ] {
        let read = clock().any(text.as_bytes());
        assert!(
            matches!(read, Err(TimeFault::Invalid(_))),
            "{text}: {read:?}"
        );
    }
    for text in [
        "",
        "x",
        "INFO message",
        "2026-01-31",
        "2026-01-31 INFO",
        "12345",
        "1.2.3.4 x",
        "192.168.1.1 - -",
        "2026-01-31T07:00",
        "May the force",
        "Monday",
        "é",
        "1077804742 1",
    ] {
        assert_eq!(
            clock().any(text.as_bytes()),
            Err(TimeFault::Absent),
            "{text}"
        );
    }
}

#[test]
fn numbers_since_1970_are_told_apart_by_their_size() {
    let expected = at("2023-11-14T22:13:20Z");
    for text in [
        "1700000000",
        "1700000000000",
        "1700000000000000",
        "1700000000000000000",
    ] {
        assert_eq!(Clock::number(text), Ok(expected), "{text}");
        assert_eq!(clock().whole(text), Ok(expected), "{text}");
    }
    assert_eq!(Clock::number("1700000000.123456"), Ok(expected + 123_456));
    assert_eq!(Clock::number("1.7e9"), Ok(expected));
    assert_eq!(clock().whole("2026-01-31"), Ok(at("2026-01-31T00:00:00Z")));
    assert!(Clock::number("-5").is_err());
    assert!(Clock::number("1e300").is_err());
}

#[test]
fn every_shape_has_a_name_of_its_own() {
    for (text, name) in [
        ("2026-01-31 07:00:00", "yyyy-MM-dd HH:mm:ss"),
        ("Jan 31 07:00:00", "MMM dd HH:mm:ss"),
    ] {
        assert_eq!(Shape::of(text.as_bytes()).map(Shape::name), Some(name));
        assert_eq!(Shape::named(name).map(Shape::name), Some(name));
    }
    assert_eq!(Shape::named("nonsense"), None);
}

fn civil_seconds() -> impl Strategy<Value = Timestamp> {
    (0..7_258_118_400_i64).prop_map(|second| Timestamp::from_second(second).unwrap())
}

proptest! {
    #[test]
    fn every_time_is_read_as_jiff_reads_it(stamp in civil_seconds(), micros in 0..1_000_000_i64) {
        let stamp = stamp + jiff::SignedDuration::from_micros(micros);
        let zoned = stamp.to_zoned(jiff::tz::TimeZone::UTC);
        let mut clock = clock();
        for format in [
            "%Y-%m-%d %H:%M:%S,%6f", "%Y-%m-%dT%H:%M:%S.%6f%:z", "%Y/%m/%d %H:%M:%S.%6f",
            "%a %b %d %H:%M:%S.%6f %Y", "%d/%b/%Y:%H:%M:%S.%6f %z", "%Y%m%d %H:%M:%S.%6f",
            "%d.%m.%Y %H:%M:%S.%6f", "%Y-%m-%d-%H.%M.%S.%6f",
        ] {
            let text = zoned.strftime(format).to_string();
            for _ in 0..2 {
                let read = clock.any(text.as_bytes());
                prop_assert_eq!(read, Ok((stamp.as_microsecond(), text.len())), "{}", text);
            }
        }
    }

    #[test]
    fn every_local_time_is_the_instant_that_jiff_takes(
        stamp in civil_seconds(),
        zone in prop::sample::select(vec!["Europe/Zurich", "America/St_Johns", "Australia/Lord_Howe",
            "Africa/Monrovia", "Pacific/Apia"]),
    ) {
        let civil: DateTime = stamp.to_zoned(jiff::tz::TimeZone::UTC).datetime();
        let rules = jiff::tz::TimeZoneDatabase::bundled().get(zone).unwrap();
        let expected = rules.to_ambiguous_timestamp(civil).compatible().unwrap();
        let mut clock = Clock::new(Zone::find(zone).unwrap());
        let text = civil.strftime("%Y-%m-%d %H:%M:%S").to_string();
        let read = clock.any(text.as_bytes());
        if expected.as_second() < 0 || expected.as_microsecond() >= END_OF_TIME {
            prop_assert!(matches!(read, Err(TimeFault::Invalid(_))));
        } else {
            prop_assert_eq!(read, Ok((expected.as_microsecond(), 19)));
        }
    }

    #[test]
    fn a_date_and_its_day_number_belong_together(days in 0..84_006_i64) {
        let (year, month, day) = civil_from_days(days);
        prop_assert_eq!(days_from_civil(year, month, day), days);
        prop_assert!(day <= days_in_month(year, month));
    }

    #[test]
    fn no_text_makes_a_reader_panic(text in ".{0,40}", digits in "[0-9 :/.,T+-]{0,40}") {
        for text in [text, digits] {
            let _read = clock().any(text.as_bytes());
            let _read = clock().whole(&text);
            let _read = Clock::number(&text);
            for shape in [Shape::Glog, Shape::Unix, Shape::DayMonthYear, Shape::Compact] {
                let _read = clock().read(shape, text.as_bytes());
            }
        }
    }
}
