//! The shapes in which logs write times. Each is one short reader; which one applies is decided by the
//! first bytes alone, so that a line means the same whatever lines came before it.

use super::cursor::Cursor;
use super::parts::{month, weekday};

/// What a text says about a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::etl::parse) struct Civil {
    /// `None`: the text does not say.
    pub(super) year: Option<i32>,
    /// 1 to 12; 0: the text does not say.
    pub(super) month: u32,
    pub(super) day: u32,
    pub(super) hour: u32,
    pub(super) minute: u32,
    pub(super) second: u32,
    pub(super) micros: u32,
    /// Seconds ahead of UTC, where the text says so.
    pub(super) ahead: Option<i32>,
    /// The instant itself, where the text counts from 1970: microseconds.
    pub(super) instant: Option<i64>,
}

/// A way to write a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::etl::parse) enum Shape {
    /// `2026-01-31 07:00:00,123`, also with `/` or `.` in the date, `T` between, and a zone behind.
    YearMonthDay,
    /// `26/01/31 07:00:00`
    ShortYear,
    /// `260131 070000` and `260131  7:00:00`
    CompactShortYear,
    /// `20260131 07:00:00.123`, `20260131-7:0:0:123`, `20260131070000`
    Compact,
    /// `Sat Jan 31 07:00:00.123456 2026`, `Sat, 31 Jan 2026 07:00:00 +0000`
    Weekday,
    /// `Jan 31 07:00:00`, `Jan 31 2026 07:00:00`, `Jan 31, 2026 7:00:00 AM`
    MonthName,
    /// `31/Jan/2026:07:00:00 +0000`, `31-Jan-2026 07:00:00.123`, `31 Jan 2026 07:00:00,123`
    DayMonthName,
    /// `01-31 07:00:00.123`, `01.31 07:00:00`
    MonthDay,
    /// `1/31/2026 7:00:00 AM`
    MonthDayYear,
    /// `31.01.2026 07:00:00`; with slashes only where the layout says so
    DayMonthYear,
    /// `07:00:00.123`
    TimeOfDay,
    /// `0131 07:00:00.123456`, of Google's loggers
    Glog,
    /// Seconds since 1970, with an optional fraction; or milli-, micro- or nanoseconds, by the size.
    Unix,
}

/// Every shape with the name that layouts give it.
const NAMES: [(Shape, &str); 13] = [
    (Shape::YearMonthDay, "yyyy-MM-dd HH:mm:ss"),
    (Shape::ShortYear, "yy/MM/dd HH:mm:ss"),
    (Shape::CompactShortYear, "yyMMdd HHmmss"),
    (Shape::Compact, "yyyyMMdd HH:mm:ss"),
    (Shape::Weekday, "EEE MMM dd HH:mm:ss yyyy"),
    (Shape::MonthName, "MMM dd HH:mm:ss"),
    (Shape::DayMonthName, "dd/MMM/yyyy HH:mm:ss"),
    (Shape::MonthDay, "MM-dd HH:mm:ss"),
    (Shape::MonthDayYear, "MM/dd/yyyy HH:mm:ss"),
    (Shape::DayMonthYear, "dd/MM/yyyy HH:mm:ss"),
    (Shape::TimeOfDay, "HH:mm:ss"),
    (Shape::Glog, "MMdd HH:mm:ss"),
    (Shape::Unix, "UNIX"),
];

impl Shape {
    /// The shape of that name.
    pub(in crate::etl::parse) fn named(name: &str) -> Option<Self> {
        NAMES
            .iter()
            .find(|(_, n)| *n == name)
            .map(|(shape, _)| *shape)
    }

    /// Its name: a conversion pattern of Java's `DateTimeFormatter`, without the parts that may be there
    /// or not (fractions, zones).
    pub(in crate::etl::parse) fn name(self) -> &'static str {
        NAMES
            .iter()
            .find(|(shape, _)| *shape == self)
            .map_or("", |(_, name)| name)
    }

    /// The one shape that the first bytes allow. Numbers since 1970 are never guessed.
    pub(in crate::etl::parse) fn of(text: &[u8]) -> Option<Self> {
        if text.first()?.is_ascii_alphabetic() {
            return if weekday(text).is_some() {
                Some(Self::Weekday)
            } else {
                month(text).map(|_| Self::MonthName)
            };
        }
        let digits = |at: usize| {
            let mut end = at;
            while text.get(end).is_some_and(u8::is_ascii_digit) {
                end += 1;
            }
            end - at
        };
        let first = digits(0);
        let after = *text.get(first)?;
        let second = digits(first + 1);
        let name_follows = text.get(first + 1).is_some_and(u8::is_ascii_alphabetic);
        match (first, after) {
            (4, b'-' | b'/' | b'.') => Some(Self::YearMonthDay),
            (6, b' ') => Some(Self::CompactShortYear),
            (8 | 14, _) => Some(Self::Compact),
            (1 | 2, b'/' | b'-' | b' ') if name_follows => Some(Self::DayMonthName),
            (1 | 2, b':') => Some(Self::TimeOfDay),
            (1 | 2, b'/' | b'-' | b'.') => {
                let third = digits(first + second + 2);
                match (text.get(first + 1 + second)?, third) {
                    (b' ', _) => Some(Self::MonthDay),
                    (b'/', 4) if after == b'/' => Some(Self::MonthDayYear),
                    (b'.' | b'-', 4) if after != b'/' => Some(Self::DayMonthYear),
                    (b'/' | b'-', 2) if first == 2 => Some(Self::ShortYear),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// What the start of `text` says in this shape, and the byte after it.
    pub(super) fn read(self, text: &[u8]) -> Option<(Civil, usize)> {
        let mut cursor = Cursor { text, at: 0 };
        let civil = match self {
            Self::YearMonthDay => cursor.year_month_day(),
            Self::ShortYear => cursor.short_year(),
            Self::CompactShortYear => cursor.compact_short_year(),
            Self::Compact => cursor.compact(),
            Self::Weekday => cursor.weekday(),
            Self::MonthName => cursor.month_name(),
            Self::DayMonthName => cursor.day_month_name(),
            Self::MonthDay => cursor.month_day(),
            Self::MonthDayYear => cursor.numbers_then_year(false),
            Self::DayMonthYear => cursor.numbers_then_year(true),
            Self::TimeOfDay => cursor.time_of_day(),
            Self::Glog => cursor.glog(),
            Self::Unix => cursor.unix(),
        }?;
        Some((civil, cursor.at))
    }
}
