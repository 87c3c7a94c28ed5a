//! Reads timestamps by hand: fixed offsets, no allocation, and a memory of the last minute, because
//! parsing times is most of the work of parsing logs. Pure.
//!
//! What a text does not say is decided by these rules and nothing else:
//! * A time without a zone is in the plan's zone.
//! * A time without a year is of the latest year that puts it at most one day after the moment the line
//!   was read; a time without a date of the latest day that puts it at most one hour after.
//! * Two-digit years are 1969 to 1999 for 69 to 99, and 2000 to 2068 for 00 to 68.
//! * Fractions are cut to microseconds, the leap second :60 is read as :59.
//! * Only instants of the years 1970 to 2199 (UTC) are times; February 30 is none.

mod cursor;
mod parts;
mod shape;
#[cfg(test)]
mod tests;
mod value;

pub(super) use shape::Shape;

use super::zone::{SECOND, Zone};
use shape::Civil;

const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// 2200-01-01T00:00:00Z in microseconds.
const END_OF_TIME: i64 = 7_258_118_400 * SECOND;

/// Why there is no time here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimeFault {
    /// The text does not look like a time.
    Absent,
    /// It looks like one, but there is no such time.
    Invalid(&'static str),
}

/// A time and the byte after it.
pub(super) type Stamp = (i64, usize);

/// Turns text into instants.
#[derive(Clone, Debug)]
pub(super) struct Clock {
    zone: Zone,
    /// When the line was read, in microseconds since 1970, UTC.
    read_at: i64,
    /// `yyyy-MM-dd HH:mm` as it stood in the last line, and that minute as local time.
    minute: [u8; 16],
    minute_starts: i64,
}

impl Clock {
    pub(super) fn new(zone: Zone) -> Self {
        Self {
            zone,
            read_at: 0,
            minute: [0; 16],
            minute_starts: 0,
        }
    }

    /// Says when the next line was read. Only moments that can be in a table count; others are brought
    /// to the nearest of them.
    pub(super) fn line_read_at(&mut self, read_at: i64) {
        self.read_at = read_at.clamp(0, END_OF_TIME);
    }

    /// Reads a time of any well-known shape at the start of `text`.
    pub(super) fn any(&mut self, text: &[u8]) -> Result<Stamp, TimeFault> {
        if let Some(stamp) = self.iso(text)? {
            return Ok(stamp);
        }
        let shape = Shape::of(text).ok_or(TimeFault::Absent)?;
        self.read(shape, text)
    }

    /// Reads a time of one shape at the start of `text`.
    pub(super) fn read(&mut self, shape: Shape, text: &[u8]) -> Result<Stamp, TimeFault> {
        let (civil, end) = shape.read(text).ok_or(TimeFault::Absent)?;
        Ok((self.instant(&civil)?, end))
    }

    /// `yyyy-MM-dd HH:mm:ss` with all its digits, as nearly every modern log writes it. `None`: not so.
    fn iso(&mut self, text: &[u8]) -> Result<Option<Stamp>, TimeFault> {
        let Some(head) = text.first_chunk::<19>() else {
            return Ok(None);
        };
        let Some(minute) = head.first_chunk::<16>() else {
            return Ok(None);
        };
        if *minute != self.minute {
            let Some(civil) = parts::iso_minute(minute) else {
                return Ok(None);
            };
            self.minute_starts = local(&civil)?;
            self.minute = *minute;
        }
        let [.., b':', tens @ b'0'..=b'9', ones @ b'0'..=b'9'] = *head else {
            return Ok(None);
        };
        let second = i64::from((tens - b'0') * 10 + (ones - b'0'));
        if second > 60 {
            return Err(TimeFault::Invalid("there is no such second"));
        }
        let (micros, end) = parts::fraction(text, 19);
        let local = self.minute_starts + second.min(59) * SECOND + i64::from(micros);
        let (ahead, end) = match parts::zone_at(text, end) {
            Some((seconds, end)) => (Some(seconds), end),
            None => (None, end),
        };
        Ok(Some((self.utc(local, ahead)?, end)))
    }

    /// The instant of what a text says, with what it does not say filled in.
    fn instant(&mut self, civil: &Civil) -> Result<i64, TimeFault> {
        if let Some(instant) = civil.instant {
            return in_range(instant);
        }
        if civil.year.is_some() {
            let local = local(civil)?;
            return self.utc(local, civil.ahead);
        }
        if civil.month == 0 {
            return self.latest_day(civil);
        }
        self.latest_year(civil)
    }

    fn latest_year(&mut self, civil: &Civil) -> Result<i64, TimeFault> {
        let (this_year, _, _) = civil_from_days(self.read_at.div_euclid(DAY));
        // Eight years back there is a February 29, even around 1900 and 2100.
        for year in (this_year - 8..=this_year + 1).rev() {
            let dated = Civil {
                year: Some(year),
                ..*civil
            };
            let Ok(local) = local(&dated) else { continue };
            let Ok(instant) = self.utc(local, civil.ahead) else {
                continue;
            };
            if instant <= self.read_at + DAY {
                return Ok(instant);
            }
        }
        Err(TimeFault::Invalid("there is no such day"))
    }

    fn latest_day(&mut self, civil: &Civil) -> Result<i64, TimeFault> {
        let today = self.read_at.div_euclid(DAY);
        let time = time_of_day(civil)?;
        for day in (today - 2..=today + 1).rev() {
            let Ok(instant) = self.utc(day * DAY + time, civil.ahead) else {
                continue;
            };
            if instant <= self.read_at + HOUR {
                return Ok(instant);
            }
        }
        Err(TimeFault::Invalid("it lies outside the years 1970 to 2199"))
    }

    fn utc(&mut self, local: i64, ahead: Option<i32>) -> Result<i64, TimeFault> {
        let instant = match ahead {
            Some(seconds) => local - i64::from(seconds) * SECOND,
            None => self
                .zone
                .utc(local)
                .ok_or(TimeFault::Invalid("it lies outside the years 1970 to 2199"))?,
        };
        in_range(instant)
    }
}

/// The instant, where it lies in the years that a table may have.
fn in_range(instant: i64) -> Result<i64, TimeFault> {
    if (0..END_OF_TIME).contains(&instant) {
        return Ok(instant);
    }
    Err(TimeFault::Invalid("it lies outside the years 1970 to 2199"))
}

/// A date and time as microseconds since 1970, as if it were UTC.
fn local(civil: &Civil) -> Result<i64, TimeFault> {
    let year = civil.year.unwrap_or(1970);
    if civil.month == 0 || civil.month > 12 {
        return Err(TimeFault::Invalid("there is no such month"));
    }
    if civil.day == 0 || civil.day > days_in_month(year, civil.month) {
        return Err(TimeFault::Invalid("there is no such day"));
    }
    Ok(days_from_civil(year, civil.month, civil.day) * DAY + time_of_day(civil)?)
}

fn time_of_day(civil: &Civil) -> Result<i64, TimeFault> {
    if civil.hour > 23 || civil.minute > 59 || civil.second > 60 {
        return Err(TimeFault::Invalid("there is no such time of day"));
    }
    Ok(i64::from(civil.hour) * HOUR
        + i64::from(civil.minute) * MINUTE
        + i64::from(civil.second.min(59)) * SECOND
        + i64::from(civil.micros))
}

fn days_in_month(year: i32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days since 1970-01-01 in the Gregorian calendar, after Howard Hinnant's `days_from_civil`: years begin
/// in March, so that the leap day is the last.
fn days_from_civil(year: i32, month: u32, day: u32) -> i64 {
    let year = i64::from(year) - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((i64::from(month) + 9) % 12) + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The inverse of [`days_from_civil`]: year, month, day.
fn civil_from_days(days: i64) -> (i32, u32, u32) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year as i32, month as u32, day as u32)
}

/// `+hh`, `+hhmm` or `+hh:mm` at a byte: seconds ahead of UTC, and the byte after it.
pub(super) fn offset_at(text: &[u8], at: usize) -> Option<(i32, usize)> {
    parts::offset(text, at)
}
