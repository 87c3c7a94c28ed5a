//! The parts of times: fractions, zones, names of months and days.

use super::cursor::Cursor;
use super::shape::Civil;

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

pub(super) fn short_year(two: u32) -> i32 {
    (if two >= 69 { 1900 + two } else { 2000 + two }) as i32
}

pub(super) fn month(text: &[u8]) -> Option<u32> {
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

pub(super) fn weekday(text: &[u8]) -> Option<()> {
    let known = [b"mon", b"tue", b"wed", b"thu", b"fri", b"sat", b"sun"];
    known.contains(&&lower_case(text)?).then_some(())
}

fn lower_case(text: &[u8]) -> Option<[u8; 3]> {
    text.first_chunk::<3>()
        .map(|name| name.map(|byte| byte.to_ascii_lowercase()))
}
