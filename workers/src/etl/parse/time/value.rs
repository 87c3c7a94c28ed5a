//! Times that are a value of their own: the whole text, or a number since 1970.

use super::{Clock, Shape, Stamp, TimeFault, in_range};

impl Clock {
    /// Reads a text that is a time as a whole: any shape, a day alone (its midnight), or digits since 1970.
    pub(in crate::etl::parse) fn whole(&mut self, text: &str) -> Result<i64, TimeFault> {
        let text = text.trim();
        let bytes = text.as_bytes();
        let whole = |(instant, end): Stamp| (end == bytes.len()).then_some(instant);
        match self.any(bytes) {
            Ok(stamp) => return whole(stamp).ok_or(TimeFault::Absent),
            Err(TimeFault::Absent) => {}
            Err(fault) => return Err(fault),
        }
        if bytes.len() == 10 && bytes[4] == b'-' && bytes[7] == b'-' {
            let mut midnight = *b"0000-00-00T00:00:00";
            midnight[..10].copy_from_slice(bytes);
            return self.any(&midnight).map(|(instant, _)| instant);
        }
        let stamp = self.read(Shape::Unix, bytes)?;
        whole(stamp).ok_or(TimeFault::Absent)
    }

    /// Whether a text is written as RFC 3339 has it, zone included: then it can only be a time.
    pub(in crate::etl::parse) fn is_rfc3339(&mut self, text: &str) -> bool {
        let bytes = text.as_bytes();
        let zoned = bytes.ends_with(b"Z") || matches!(bytes.iter().rev().nth(5), Some(b'+' | b'-'));
        bytes.get(10) == Some(&b'T')
            && zoned
            && matches!(self.any(bytes), Ok((_, end)) if end == bytes.len())
    }

    /// Reads a JSON number: seconds, milli-, micro- or nanoseconds since 1970, by the size.
    pub(in crate::etl::parse) fn number(text: &str) -> Result<i64, TimeFault> {
        let value: f64 = text.parse().map_err(|_| TimeFault::Absent)?;
        let scale = match value.abs() {
            size if size < 1e11 => 1e6,
            size if size < 1e14 => 1e3,
            size if size < 1e17 => 1.0,
            _ => 1e-3,
        };
        // Whole numbers never pass through a float, which has not got enough digits for nanoseconds.
        let instant = match text.parse::<i64>() {
            Ok(whole) if scale >= 1.0 => whole.saturating_mul(scale as i64),
            Ok(whole) => whole.div_euclid(1000),
            Err(_) => seconds_and_fraction(text).unwrap_or((value * scale) as i64),
        };
        in_range(instant)
    }
}

/// `1700000000.123456` without the rounding of a float.
fn seconds_and_fraction(text: &str) -> Option<i64> {
    let (seconds, _) = text.split_once('.')?;
    let bytes = text.as_bytes();
    if seconds.len() > 11 {
        return None;
    }
    let (micros, end) = super::parts::fraction(bytes, seconds.len());
    let seconds: i64 = seconds.parse().ok()?;
    (seconds >= 0 && end == bytes.len()).then_some(seconds * 1_000_000 + i64::from(micros))
}
