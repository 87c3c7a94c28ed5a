//! The tail of a generated line: who wrote it, its number and a checksum. It stands at the end of the
//! message, ` [gen demo n=123 sum=9f3c0a1b]`, or in an access log at the end of the path,
//! `?gen=demo&n=123&sum=9f3c0a1b`. Pure.
//!
//! The checksum covers the producer, the number and the message's text before the tail. It does not cover
//! time and level, which a table holds in columns of their own and in another form. So it can be checked in
//! the line as well as in the table's `message`.

use super::text::{push_hex, push_number};

/// What [`check`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked<'a> {
    /// No tail: the text was not generated, or lost its tail.
    Absent,
    /// The text before the tail is the generator's.
    Good {
        /// Who wrote the line.
        producer: &'a str,
        /// Its number, from 0.
        n: u64,
    },
    /// There is a tail, but the text before it is not what the generator wrote.
    Bad {
        /// Who wrote the line, as the tail says.
        producer: &'a str,
        /// Its number, as the tail says.
        n: u64,
    },
}

/// The two ways in which a tail is written.
#[derive(Clone, Copy)]
pub(super) enum Style {
    Message,
    Query,
}

/// Checksums of one producer's lines.
pub(super) struct Summer {
    producer: Vec<u8>,
    begin: u32,
}

impl Summer {
    pub(super) fn new(producer: &str) -> Self {
        Self {
            producer: producer.as_bytes().to_vec(),
            begin: begin(producer),
        }
    }

    /// Appends the tail of line `n`, whose message is `out[from..]`.
    pub(super) fn push_tail(&self, out: &mut Vec<u8>, from: usize, n: u64, style: Style) {
        let sum = sum(self.begin, n, &out[from..]);
        let [begin, number, checksum, end] = style.words();
        out.extend_from_slice(begin);
        out.extend_from_slice(&self.producer);
        out.extend_from_slice(number);
        push_number(out, n);
        out.extend_from_slice(checksum);
        push_hex(out, u64::from(sum), 8);
        out.extend_from_slice(end);
    }
}

fn begin(producer: &str) -> u32 {
    // A zero byte cannot stand in a name, so no other name and number give the same bytes.
    crc32c::crc32c_append(crc32c::crc32c(producer.as_bytes()), &[0])
}

fn sum(begin: u32, n: u64, text: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(begin, &n.to_le_bytes()), text)
}

impl Style {
    fn words(self) -> [&'static [u8]; 4] {
        match self {
            Self::Message => [b" [gen ", b" n=", b" sum=", b"]"],
            Self::Query => [b"?gen=", b"&n=", b"&sum=", b""],
        }
    }
}

/// Whether a producer's name can stand in a tail: 1 to 200 letters, digits, `.`, `_` and `-`.
pub fn is_producer_name(name: &str) -> bool {
    (1..=200).contains(&name.len()) && name.bytes().all(is_name_byte)
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

/// Looks for the tail of a generated line in a message, or in a whole line, and checks it. In a whole line
/// the message may begin behind any blank, quote or equals sign.
pub fn check(text: &[u8]) -> Checked<'_> {
    let Some(tail) = find(text, Style::Message).or_else(|| find(text, Style::Query)) else {
        return Checked::Absent;
    };
    let Tail { producer, n, .. } = tail;
    let begin = begin(producer);
    let starts = std::iter::once(0)
        .chain(memchr::memchr3_iter(b' ', b'"', b'=', tail.before).map(|separator| separator + 1));
    for start in starts {
        if sum(begin, n, &tail.before[start..]) == tail.sum {
            return Checked::Good { producer, n };
        }
    }
    Checked::Bad { producer, n }
}

struct Tail<'a> {
    before: &'a [u8],
    producer: &'a str,
    n: u64,
    sum: u32,
}

/// The last tail in `text`, because a message may quote another line.
fn find(text: &[u8], style: Style) -> Option<Tail<'_>> {
    let [begin, number, checksum, end] = style.words();
    let at = memchr::memmem::rfind(text, begin)?;
    let rest = &text[at + begin.len()..];
    let (producer, rest) = take_while(rest, is_name_byte);
    let (digits, rest) = take_while(rest.strip_prefix(number)?, |b| b.is_ascii_digit());
    let (sum, rest) = take_while(rest.strip_prefix(checksum)?, |b| b.is_ascii_hexdigit());
    rest.strip_prefix(end)?;
    if producer.is_empty() || sum.len() != 8 {
        return None;
    }
    Some(Tail {
        before: &text[..at],
        producer: std::str::from_utf8(producer).ok()?,
        n: std::str::from_utf8(digits).ok()?.parse().ok()?,
        sum: u32::from_str_radix(std::str::from_utf8(sum).ok()?, 16).ok()?,
    })
}

fn take_while(bytes: &[u8], keep: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    let length = bytes.iter().position(|&byte| !keep(byte));
    bytes.split_at(length.unwrap_or(bytes.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tailed(text: &str, style: Style) -> Vec<u8> {
        let mut out = text.as_bytes().to_vec();
        Summer::new("demo").push_tail(&mut out, 0, 123, style);
        out
    }

    const GOOD: Checked<'_> = Checked::Good {
        producer: "demo",
        n: 123,
    };
    const BAD: Checked<'_> = Checked::Bad {
        producer: "demo",
        n: 123,
    };

    #[test]
    fn a_message_and_a_path_carry_their_checksum() {
        let message = tailed("order 7 placed", Style::Message);
        assert!(message.starts_with(b"order 7 placed [gen demo n=123 sum="));
        assert_eq!(check(&message), GOOD);
        assert_eq!(check(&tailed("/api/orders/7", Style::Query)), GOOD);
    }

    #[test]
    fn the_tail_is_found_in_a_whole_line() {
        let message = String::from_utf8(tailed("order 7 placed", Style::Message)).unwrap();
        for line in [
            format!("2026-01-31 07:00:00,123 INFO {message}"),
            format!(r#"{{"level":"INFO","message":"{message}"}}"#),
            format!(r#"ts=1 msg="{message}""#),
        ] {
            assert_eq!(check(line.as_bytes()), GOOD, "{line}");
        }
        let path = String::from_utf8(tailed("/api/orders/7", Style::Query)).unwrap();
        let line = format!(r#"192.0.2.1 - - [x] "GET {path} HTTP/1.1" 200 5 "-" "-""#);
        assert_eq!(check(line.as_bytes()), GOOD);
    }

    #[test]
    fn any_changed_byte_before_the_sum_is_seen() {
        let message = tailed("order 7 placed", Style::Message);
        for at in 0..message.len() {
            let mut changed = message.clone();
            changed[at] ^= 1;
            assert_ne!(check(&changed), GOOD, "byte {at}");
        }
        assert_eq!(check(&[b"x", &message[..]].concat()), BAD);
        assert_eq!(check(&message[1..]), BAD);
    }

    #[test]
    fn other_text_has_no_tail() {
        for text in [
            "",
            "order 7 placed",
            " [gen ",
            "a [gen demo n=x sum=00000000]",
            "?gen=demo&n=1",
        ] {
            assert_eq!(check(text.as_bytes()), Checked::Absent, "{text}");
        }
    }

    #[test]
    fn names_that_would_blur_the_tail_are_refused() {
        assert!(is_producer_name("shop-7.eu_west"));
        for name in ["", "a b", "a]", "a&b", "é"] {
            assert!(!is_producer_name(name), "{name}");
        }
    }
}
