//! A reader for each shape of time.

use super::parts::{fraction, month, short_year, weekday, zone_at};
use super::shape::Civil;

/// A text and how far it was read.
pub(super) struct Cursor<'a> {
    pub(super) text: &'a [u8],
    pub(super) at: usize,
}

impl Cursor<'_> {
    pub(super) fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    pub(super) fn eat(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    pub(super) fn eat_one_of(&mut self, bytes: &[u8]) -> Option<u8> {
        let byte = self.peek().filter(|byte| bytes.contains(byte))?;
        self.at += 1;
        Some(byte)
    }

    pub(super) fn spaces(&mut self) -> Option<()> {
        self.eat(b' ')?;
        while self.eat(b' ').is_some() {}
        Some(())
    }

    /// A number of `least` to `most` digits.
    pub(super) fn number(&mut self, least: usize, most: usize) -> Option<u32> {
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

    pub(super) fn month(&mut self) -> Option<u32> {
        let month = month(self.text.get(self.at..)?)?;
        self.at += 3;
        // "January" and "Sept" are as good as "Jan".
        while self.peek().is_some_and(|byte| byte.is_ascii_alphabetic()) {
            self.at += 1;
        }
        Some(month)
    }

    /// `H:mm:ss`, with a fraction where there is one.
    pub(super) fn clock(&mut self, civil: &mut Civil) -> Option<()> {
        civil.hour = self.number(1, 2)?;
        let colon = self.eat_one_of(b":.")?;
        civil.minute = self.number(1, 2)?;
        self.eat(colon)?;
        civil.second = self.number(1, 2)?;
        (civil.micros, self.at) = fraction(self.text, self.at);
        Some(())
    }

    pub(super) fn zone(&mut self, civil: &mut Civil) {
        if let Some((ahead, end)) = zone_at(self.text, self.at) {
            civil.ahead = Some(ahead);
            self.at = end;
        }
    }

    /// ` AM` or ` PM`, where it is there.
    pub(super) fn half_of_day(&mut self, civil: &mut Civil) {
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

    pub(super) fn year_month_day(&mut self) -> Option<Civil> {
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

    pub(super) fn short_year(&mut self) -> Option<Civil> {
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

    pub(super) fn compact_short_year(&mut self) -> Option<Civil> {
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

    pub(super) fn compact(&mut self) -> Option<Civil> {
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
    pub(super) fn maybe_compact_clock(&mut self, civil: &mut Civil) -> Option<()> {
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

    pub(super) fn weekday(&mut self) -> Option<Civil> {
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

    pub(super) fn month_name(&mut self) -> Option<Civil> {
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

    pub(super) fn day_month_name(&mut self) -> Option<Civil> {
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

    pub(super) fn month_day(&mut self) -> Option<Civil> {
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

    pub(super) fn numbers_then_year(&mut self, day_first: bool) -> Option<Civil> {
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

    pub(super) fn time_of_day(&mut self) -> Option<Civil> {
        let mut civil = Civil::default();
        self.clock(&mut civil)?;
        Some(civil)
    }

    pub(super) fn glog(&mut self) -> Option<Civil> {
        let mut civil = Civil {
            month: self.number(2, 2)?,
            day: self.number(2, 2)?,
            ..Civil::default()
        };
        self.spaces()?;
        self.clock(&mut civil)?;
        Some(civil)
    }

    pub(super) fn unix(&mut self) -> Option<Civil> {
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
