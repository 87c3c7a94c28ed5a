//! Numbers and times as text, by hand: the formatting machinery of the standard library costs more than
//! all the rest of a line. Pure.

use jiff::Timestamp;
use jiff::tz::Offset;

/// Appends `value` in decimal digits.
pub(super) fn push_number(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends the last `width` decimal digits of `value`, with zeros in front.
pub(super) fn push_padded(out: &mut Vec<u8>, mut value: u64, width: usize) {
    let at = out.len();
    out.resize(at + width, b'0');
    for digit in out[at..].iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// Appends the low `width` hex digits of `value`.
pub(super) fn push_hex(out: &mut Vec<u8>, value: u64, width: usize) {
    for nibble in (0..width).rev() {
        out.push(b"0123456789abcdef"[(value >> (nibble * 4)) as usize & 0xf]);
    }
}

const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// A time of day in UTC. Keeps the date and time of the last second it was asked about, because
/// neighbouring lines mostly share it; the text does not depend on that.
#[derive(Default)]
pub(super) struct Clock {
    second: Option<u64>,
    date: Vec<u8>,
    time: Vec<u8>,
    access: Vec<u8>,
}

impl Clock {
    /// Moves to `second` (since 1970).
    fn set(&mut self, second: u64) {
        if self.second == Some(second) {
            return;
        }
        let (year, month, day) = civil(second);
        self.date.clear();
        push_padded(&mut self.date, year, 4);
        self.date.push(b'-');
        push_padded(&mut self.date, month, 2);
        self.date.push(b'-');
        push_padded(&mut self.date, day, 2);
        let of_day = second % 86_400;
        self.time.clear();
        push_padded(&mut self.time, of_day / 3600, 2);
        self.time.push(b':');
        push_padded(&mut self.time, of_day / 60 % 60, 2);
        self.time.push(b':');
        push_padded(&mut self.time, of_day % 60, 2);
        self.access.clear();
        push_padded(&mut self.access, day, 2);
        self.access.push(b'/');
        self.access
            .extend_from_slice(MONTHS[(month - 1) as usize].as_slice());
        self.access.push(b'/');
        push_padded(&mut self.access, year, 4);
        self.access.push(b':');
        self.access.extend_from_slice(&self.time);
        self.access.extend_from_slice(b" +0000");
        self.second = Some(second);
    }

    /// Appends `2026-01-31`, `between`, `07:00:00`, `point`, `123`.
    pub(super) fn push(&mut self, out: &mut Vec<u8>, millis: u64, between: u8, point: u8) {
        self.set(millis / 1000);
        out.extend_from_slice(&self.date);
        out.push(between);
        out.extend_from_slice(&self.time);
        out.push(point);
        push_padded(out, millis % 1000, 3);
    }

    /// Appends `31/Jan/2026:07:00:00 +0000`.
    pub(super) fn push_access(&mut self, out: &mut Vec<u8>, millis: u64) {
        self.set(millis / 1000);
        out.extend_from_slice(&self.access);
    }
}

/// Year, month and day of a second since 1970. The date stands still behind the year 9999.
fn civil(second: u64) -> (u64, u64, u64) {
    let time = i64::try_from(second).ok();
    let time = time.and_then(|second| Timestamp::from_second(second).ok());
    let date = Offset::UTC.to_datetime(time.unwrap_or(Timestamp::MAX));
    (date.year() as u64, date.month() as u64, date.day() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_what_a_calendar_library_says() {
        let mut clock = Clock::default();
        // Every 40 days and some odd seconds, through leap years, 2000 and 2100.
        for step in 0..1_300u64 {
            let millis = step * 3_456_789_123;
            let mut text = Vec::new();
            clock.push(&mut text, millis, b'T', b'.');
            let time = jiff::Timestamp::from_millisecond(millis as i64).unwrap();
            let expected = time.strftime("%Y-%m-%dT%H:%M:%S%.3f").to_string();
            assert_eq!(String::from_utf8(text).unwrap(), expected);
            let mut text = Vec::new();
            clock.push_access(&mut text, millis);
            let expected = time.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string();
            assert_eq!(String::from_utf8(text).unwrap(), expected);
        }
    }

    #[test]
    fn a_time_that_no_calendar_has_is_no_panic() {
        let mut text = Vec::new();
        Clock::default().push(&mut text, u64::MAX, b'T', b'.');
        assert!(text.starts_with(b"9999-12-30T"));
    }

    #[test]
    fn numbers_are_written_in_full() {
        let mut text = Vec::new();
        for value in [0, 9, 10, 1_000_000, u64::MAX] {
            push_number(&mut text, value);
            text.push(b' ');
        }
        push_padded(&mut text, 42, 12);
        text.push(b' ');
        push_hex(&mut text, 0x00f0_0a1b, 8);
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "0 9 10 1000000 18446744073709551615 000000000042 00f00a1b"
        );
    }
}
