//! The shapes in which logs write times. Each is one short reader; which one applies is decided by the
//! first bytes alone, so that a line means the same whatever lines came before it.

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

struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn eat_one_of(&mut self, bytes: &[u8]) -> Option<u8> {
        let byte = self.peek().filter(|byte| bytes.contains(byte))?;
        self.at += 1;
        Some(byte)
    }

    fn spaces(&mut self) -> Option<()> {
        self.eat(b' ')?;
        while self.eat(b' ').is_some() {}
        Some(())
    }

    /// A number of `least` to `most` digits.
    fn number(&mut self, least: usize, most: usize) -> Option<u32> {
        let mut value = 0;
        let mut digits = 0;
        while digits < most
            && let Some(digit @ b'0'..=b'9') = self.peek()
        {
            value = value * 10 + u32::from(digit - b'0');
            digits += 1;
            self.at += 1;
        }
        (digits >= least).then_some(value)
    }

    fn month(&mut self) -> Option<u32> {
        let month = month(self.text.get(self.at..)?)?;
        self.at += 3;
        // "January" and "Sept" are as good as "Jan".
        while self.peek().is_some_and(|byte| byte.is_ascii_alphabetic()) {
            self.at += 1;
        }
        Some(month)
    }

    /// `H:mm:ss`, with a fraction where there is one.
    fn clock(&mut self, civil: &mut Civil) -> Option<()> {
        civil.hour = self.number(1, 2)?;
        let colon = self.eat_one_of(b":.")?;
        civil.minute = self.number(1, 2)?;
        self.eat(colon)?;
        civil.second = self.number(1, 2)?;
        (civil.micros, self.at) = fraction(self.text, self.at);
        Some(())
    }

    fn zone(&mut self, civil: &mut Civil) {
        if let Some((ahead, end)) = zone_at(self.text, self.at) {
            civil.ahead = Some(ahead);
            self.at = end;
        }
    }

    /// ` AM` or ` PM`, where it is there.
    fn half_of_day(&mut self, civil: &mut Civil) {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let [b' ', half @ (b'A' | b'P' | b'a' | b'p'), b'M' | b'm', ..] = rest else {
            return;
        };
        if rest.get(3).is_some_and(u8::is_ascii_alphanumeric) || !(1..=12).contains(&civil.hour) {
            return;
        }
        civil.hour = civil.hour % 12
            + if half.eq_ignore_ascii_case(&b'P') {
                12
            } else {
                0
            };
        self.at += 3;
    }

    fn year_month_day(&mut self) -> Option<Civil> {
        let mut civil = Civil {
            year: Some(self.number(4, 4)? as i32),
            ..Civil::default()
        };
        let between = self.eat_one_of(b"-/.")?;
        civil.month = self.number(1, 2)?;
        self.eat(between)?;
        civil.day = self.number(1, 2)?;
        self.eat_one_of(b"Tt _-:")?;
        while self.eat(b' ').is_some() {}
        self.clock(&mut civil)?;
        self.zone(&mut civil);
        Some(civil)
    }

    fn short_year(&mut self) -> Option<Civil> {
        let mut civil = Civil {
            year: Some(short_year(self.number(2, 2)?)),
            ..Civil::default()
        };
        let between = self.eat_one_of(b"/-")?;
        civil.month = self.number(2, 2)?;
        self.eat(between)?;
        civil.day = self.number(2, 2)?;
        self.spaces()?;
        self.clock(&mut civil)?;
        self.zone(&mut civil);
        Some(civil)
    }

    fn compact_short_year(&mut self) -> Option<Civil> {
        let mut civil = Civil {
            year: Some(short_year(self.number(2, 2)?)),
            month: self.number(2, 2)?,
            day: self.number(2, 2)?,
            ..Civil::default()
        };
        self.spaces()?;
        self.maybe_compact_clock(&mut civil)?;
        Some(civil)
    }

    fn compact(&mut self) -> Option<Civil> {
        let mut civil = Civil {
            year: Some(self.number(4, 4)? as i32),
            month: self.number(2, 2)?,
            day: self.number(2, 2)?,
            ..Civil::default()
        };
        if !self.peek()?.is_ascii_digit() {
            self.eat_one_of(b" -_T")?;
        }
        self.maybe_compact_clock(&mut civil)?;
        self.zone(&mut civil);
        Some(civil)
    }

    /// `HHmmss` or `H:mm:ss`.
    fn maybe_compact_clock(&mut self, civil: &mut Civil) -> Option<()> {
        let start = self.at;
        if let (Some(hour), Some(minute), Some(second)) =
            (self.number(2, 2), self.number(2, 2), self.number(2, 2))
        {
            (civil.hour, civil.minute, civil.second) = (hour, minute, second);
            (civil.micros, self.at) = fraction(self.text, self.at);
            return (!self.peek().is_some_and(|b| b.is_ascii_digit())).then_some(());
        }
        self.at = start;
        self.clock(civil)
    }

    fn weekday(&mut self) -> Option<Civil> {
        weekday(self.text)?;
        self.at = 3;
        while self.peek().is_some_and(|byte| byte.is_ascii_alphabetic()) {
            self.at += 1;
        }
        if self.eat(b',').is_some() {
            self.spaces()?;
            return self.day_month_name();
        }
        self.spaces()?;
        let mut civil = Civil {
            month: self.month()?,
            ..Civil::default()
        };
        self.spaces()?;
        civil.day = self.number(1, 2)?;
        self.spaces()?;
        self.clock(&mut civil)?;
        self.zone(&mut civil);
        self.spaces()?;
        civil.year = Some(self.number(4, 4)? as i32);
        Some(civil)
    }

    fn month_name(&mut self) -> Option<Civil> {
        let mut civil = Civil {
            month: self.month()?,
            ..Civil::default()
        };
        self.spaces()?;
        civil.day = self.number(1, 2)?;
        let comma = self.eat(b',').is_some();
        self.spaces()?;
        let before = self.at;
        match self.number(4, 4) {
            Some(year) => {
                civil.year = Some(year as i32);
                self.eat(b',');
                self.spaces()?;
            }
            None if comma => return None,
            None => self.at = before,
        }
        self.clock(&mut civil)?;
        if civil.year.is_some() {
            self.half_of_day(&mut civil);
            self.zone(&mut civil);
        }
        Some(civil)
    }

    fn day_month_name(&mut self) -> Option<Civil> {
        let mut civil = Civil {
            day: self.number(1, 2)?,
            ..Civil::default()
        };
        let between = self.eat_one_of(b"/- ")?;
        civil.month = self.month()?;
        self.eat(between)?;
        civil.year = Some(self.number(4, 4)? as i32);
        self.eat(b',');
        self.eat_one_of(b": T")?;
        while self.eat(b' ').is_some() {}
        self.clock(&mut civil)?;
        self.zone(&mut civil);
        Some(civil)
    }

    fn month_day(&mut self) -> Option<Civil> {
        let mut civil = Civil {
            month: self.number(2, 2)?,
            ..Civil::default()
        };
        self.eat_one_of(b"-./")?;
        civil.day = self.number(2, 2)?;
        self.spaces()?;
        self.clock(&mut civil)?;
        Some(civil)
    }

    fn numbers_then_year(&mut self, day_first: bool) -> Option<Civil> {
        let first = self.number(1, 2)?;
        let between = self.eat_one_of(b"/.-")?;
        let second = self.number(1, 2)?;
        self.eat(between)?;
        let (month, day) = if day_first {
            (second, first)
        } else {
            (first, second)
        };
        let mut civil = Civil {
            year: Some(self.number(4, 4)? as i32),
            month,
            day,
            ..Civil::default()
        };
        self.eat(b',');
        self.eat_one_of(b" T")?;
        while self.eat(b' ').is_some() {}
        self.clock(&mut civil)?;
        self.half_of_day(&mut civil);
        self.zone(&mut civil);
        Some(civil)
    }

    fn time_of_day(&mut self) -> Option<Civil> {
        let mut civil = Civil::default();
        self.clock(&mut civil)?;
        Some(civil)
    }

    fn glog(&mut self) -> Option<Civil> {
        let mut civil = Civil {
            month: self.number(2, 2)?,
            day: self.number(2, 2)?,
            ..Civil::default()
        };
        self.spaces()?;
        self.clock(&mut civil)?;
        Some(civil)
    }

    fn unix(&mut self) -> Option<Civil> {
        let start = self.at;
        let mut value: i64 = 0;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            value = value
                .checked_mul(10)?
                .checked_add(i64::from(digit - b'0'))?;
            self.at += 1;
        }
        // Nine digits are times before 2001-09-09; fewer are counters, not times.
        let instant = match self.at - start {
            9..=11 => {
                let (micros, end) = fraction(self.text, self.at);
                self.at = end;
                value
                    .checked_mul(1_000_000)?
                    .checked_add(i64::from(micros))?
            }
            12..=14 => value.checked_mul(1000)?,
            15..=17 => value,
            18..=19 => value / 1000,
            _ => return None,
        };
        Some(Civil {
            instant: Some(instant),
            ..Civil::default()
        })
    }
}

/// `yyyy-MM-dd HH:mm`, every digit in its place.
pub(super) fn iso_minute(text: &[u8; 16]) -> Option<Civil> {
    let [
        y0,
        y1,
        y2,
        y3,
        b'-',
        m0,
        m1,
        b'-',
        d0,
        d1,
        b' ' | b'T',
        h0,
        h1,
        b':',
        n0,
        n1,
    ] = *text
    else {
        return None;
    };
    let two = |tens: u8, ones: u8| {
        (tens.is_ascii_digit() && ones.is_ascii_digit())
            .then(|| u32::from(tens - b'0') * 10 + u32::from(ones - b'0'))
    };
    Some(Civil {
        year: Some((two(y0, y1)? * 100 + two(y2, y3)?) as i32),
        month: two(m0, m1)?,
        day: two(d0, d1)?,
        hour: two(h0, h1)?,
        minute: two(n0, n1)?,
        ..Civil::default()
    })
}

/// A fraction of a second at a byte: microseconds, and the byte after it; nothing is 0. After a colon
/// (`07:00:00:123`) it must have three digits.
pub(super) fn fraction(text: &[u8], at: usize) -> (u32, usize) {
    let rest = text.get(at..).unwrap_or_default();
    let [mark @ (b'.' | b',' | b':'), digits @ ..] = rest else {
        return (0, at);
    };
    let mut micros = 0;
    let mut count = 0;
    for byte in digits {
        if !byte.is_ascii_digit() {
            break;
        }
        if count < 6 {
            micros = micros * 10 + u32::from(byte - b'0');
        }
        count += 1;
    }
    if count == 0 || (*mark == b':' && count < 3) {
        return (0, at);
    }
    for _ in count..6 {
        micros *= 10;
    }
    (micros, at + 1 + count)
}

/// A zone behind a time, with or without a space before it: seconds ahead of UTC, and the byte after it.
pub(super) fn zone_at(text: &[u8], at: usize) -> Option<(i32, usize)> {
    match *text.get(at)? {
        b'Z' | b'z' => ends_at(text, at + 1).map(|end| (0, end)),
        b'+' | b'-' => offset(text, at),
        b' ' => match *text.get(at + 1)? {
            b'+' | b'-' => {
                let (ahead, end) = offset(text, at + 1)?;
                // ` -5 ` may be anything; ` -0500` and ` -05:00` are zones.
                (end - at > 4).then_some((ahead, end))
            }
            b'A'..=b'Z' => zone_name(text, at + 1),
            _ => None,
        },
        _ => None,
    }
}

/// Zones that are written as a word: UTC, and those that RFC 2822 defines or that are unambiguous.
fn zone_name(text: &[u8], at: usize) -> Option<(i32, usize)> {
    let rest = text.get(at..)?;
    let (hours, length) = match rest {
        [b'C', b'E', b'S', b'T', ..] => (2, 4),
        [b'U', b'T', b'C', ..] | [b'G', b'M', b'T', ..] => (0, 3),
        [b'C', b'E', b'T', ..] => (1, 3),
        [
            zone @ (b'E' | b'C' | b'M' | b'P'),
            season @ (b'S' | b'D'),
            b'T',
            ..,
        ] => {
            let standard = match zone {
                b'E' => -5,
                b'C' => -6,
                b'M' => -7,
                _ => -8,
            };
            (standard + i32::from(*season == b'D'), 3)
        }
        _ => return None,
    };
    Some((hours * 3600, ends_at(text, at + length)?))
}

/// `+hh`, `+hhmm` or `+hh:mm`: seconds ahead of UTC, and the byte after it.
pub(super) fn offset(text: &[u8], at: usize) -> Option<(i32, usize)> {
    let mut cursor = Cursor { text, at };
    let sign = if cursor.eat_one_of(b"+-")? == b'-' {
        -1
    } else {
        1
    };
    let hours = cursor.number(2, 2)?;
    cursor.eat(b':');
    let before = cursor.at;
    let minutes = match cursor.number(2, 2) {
        Some(minutes) => minutes,
        None if cursor.at == before && text.get(before - 1) != Some(&b':') => 0,
        None => return None,
    };
    if hours > 18 || minutes > 59 {
        return None;
    }
    let seconds = (hours * 3600 + minutes * 60) as i32;
    Some((sign * seconds, ends_at(text, cursor.at)?))
}

/// `at`, where no word or number goes on there.
fn ends_at(text: &[u8], at: usize) -> Option<usize> {
    let goes_on = text
        .get(at)
        .is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    (!goes_on).then_some(at)
}

fn short_year(two: u32) -> i32 {
    (if two >= 69 { 1900 + two } else { 2000 + two }) as i32
}

fn month(text: &[u8]) -> Option<u32> {
    Some(match &lower_case(text)? {
        b"jan" => 1,
        b"feb" => 2,
        b"mar" => 3,
        b"apr" => 4,
        b"may" => 5,
        b"jun" => 6,
        b"jul" => 7,
        b"aug" => 8,
        b"sep" => 9,
        b"oct" => 10,
        b"nov" => 11,
        b"dec" => 12,
        _ => return None,
    })
}

fn weekday(text: &[u8]) -> Option<()> {
    let known = [b"mon", b"tue", b"wed", b"thu", b"fri", b"sat", b"sun"];
    known.contains(&&lower_case(text)?).then_some(())
}

fn lower_case(text: &[u8]) -> Option<[u8; 3]> {
    text.first_chunk::<3>()
        .map(|name| name.map(|byte| byte.to_ascii_lowercase()))
}
