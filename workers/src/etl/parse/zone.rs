//! The zone of times that name none. The rules come with the build and never from the machine, so that
//! every worker makes the same row of a line. Pure.

use jiff::civil::DateTime;
use jiff::tz::{TimeZone, TimeZoneDatabase};

/// Microseconds in a second.
pub(super) const SECOND: i64 = 1_000_000;

/// Where a clock without a zone stands.
#[derive(Clone, Debug)]
pub(super) enum Zone {
    /// UTC and zones that never leave it.
    Fixed {
        /// Microseconds ahead of UTC.
        ahead: i64,
    },
    /// A zone with rules.
    Named {
        /// The rules.
        rules: TimeZone,
        /// The local minute that was asked for last, and how far it was ahead of UTC: in a log the next
        /// line is mostly of the same minute.
        last: Option<(i64, i64)>,
    },
}

impl Zone {
    /// Reads `UTC`, `Z`, an offset such as `+02:00`, or an IANA name; `None` for anything else.
    pub(super) fn find(name: &str) -> Option<Self> {
        if matches!(name, "UTC" | "Z" | "GMT" | "Etc/UTC") {
            return Some(Self::Fixed { ahead: 0 });
        }
        if let Some(seconds) = offset(name.as_bytes()) {
            return Some(Self::Fixed {
                ahead: i64::from(seconds) * SECOND,
            });
        }
        let rules = TimeZoneDatabase::bundled().get(name).ok()?;
        Some(Self::Named { rules, last: None })
    }

    /// The instant of a local time, both in microseconds since 1970. A local time that happens twice is
    /// the earlier one; one that a change of the clocks skips is moved forward by the length of the gap
    /// (what RFC 5545 and jiff call `compatible`).
    pub(super) fn utc(&mut self, local: i64) -> Option<i64> {
        match self {
            Self::Fixed { ahead } => Some(local - *ahead),
            Self::Named { rules, last } => {
                let minute = local.div_euclid(60 * SECOND);
                if let Some((known, ahead)) = last
                    && *known == minute
                {
                    return Some(local - *ahead);
                }
                let ahead = ahead(rules, minute * 60 * SECOND)?;
                *last = Some((minute, ahead));
                Some(local - ahead)
            }
        }
    }
}

/// How far the local time is ahead of UTC, in microseconds.
fn ahead(rules: &TimeZone, local: i64) -> Option<i64> {
    let seconds = local.div_euclid(SECOND);
    let civil: DateTime = jiff::Timestamp::from_second(seconds)
        .ok()?
        .to_zoned(TimeZone::UTC)
        .datetime();
    let instant = rules.to_ambiguous_timestamp(civil).compatible().ok()?;
    Some((seconds - instant.as_second()) * SECOND)
}

/// `+hh`, `+hhmm` or `+hh:mm`, the whole text, in seconds.
fn offset(text: &[u8]) -> Option<i32> {
    let (seconds, end) = super::time::offset_at(text, 0)?;
    (end == text.len()).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        text.parse::<jiff::Timestamp>().unwrap().as_microsecond()
    }

    #[test]
    fn zones_are_found_by_name_and_by_offset() {
        let noon = at("2026-07-01T12:00:00Z");
        for (name, utc) in [
            ("UTC", "2026-07-01T12:00:00Z"),
            ("+02:00", "2026-07-01T10:00:00Z"),
            ("-0730", "2026-07-01T19:30:00Z"),
            ("Europe/Zurich", "2026-07-01T10:00:00Z"),
            ("America/New_York", "2026-07-01T16:00:00Z"),
        ] {
            let mut zone = Zone::find(name).unwrap();
            assert_eq!(zone.utc(noon), Some(at(utc)), "{name}");
            assert_eq!(zone.utc(noon), Some(at(utc)), "{name}, from memory");
        }
        assert!(Zone::find("Europe/Atlantis").is_none());
        assert!(Zone::find("+02:00x").is_none());
    }

    #[test]
    fn a_local_time_that_happens_twice_is_the_earlier_one_and_a_skipped_one_moves_on() {
        let mut zone = Zone::find("Europe/Zurich").unwrap();
        assert_eq!(
            zone.utc(at("2026-10-25T02:30:00Z")),
            Some(at("2026-10-25T00:30:00Z"))
        );
        assert_eq!(
            zone.utc(at("2026-03-29T02:30:00Z")),
            Some(at("2026-03-29T01:30:00Z"))
        );
    }
}
