//! What the services of an imaginary shop have to say: levels, templates and the values that fill them.
//! Pure. No text here needs escaping in JSON or logfmt, so each format can take it as it is.

use std::sync::LazyLock;

use super::random::Random;
use super::text::{push_hex, push_number};

/// How severe a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

impl Level {
    /// Of a hundred lines, 8 are debug, 80 info, 9 warnings and 3 errors.
    pub(super) fn choose(random: &mut Random) -> Self {
        match random.below(100) {
            0..8 => Self::Debug,
            8..88 => Self::Info,
            88..97 => Self::Warn,
            _ => Self::Error,
        }
    }

    /// As it is written in upper case.
    pub(super) fn upper(self) -> &'static [u8] {
        match self {
            Self::Debug => b"DEBUG",
            Self::Info => b"INFO",
            Self::Warn => b"WARN",
            Self::Error => b"ERROR",
        }
    }

    /// As it is written in lower case.
    pub(super) fn lower(self) -> &'static [u8] {
        match self {
            Self::Debug => b"debug",
            Self::Info => b"info",
            Self::Warn => b"warn",
            Self::Error => b"error",
        }
    }

    /// The severity of syslog.
    pub(super) fn severity(self) -> u64 {
        match self {
            Self::Debug => 7,
            Self::Info => 6,
            Self::Warn => 4,
            Self::Error => 3,
        }
    }
}

/// The messages by level: the service, a colon, and what it says. `{1..9}` stands for a number from 1 to 8,
/// `{hex8}` for 8 hex digits, `{a|b}` for one of these words; the other names are those of [`Part`].
const DEBUG: &[&str] = &[
    "catalog:cache hit for product {1..90000}, age {1..600} s",
    "gateway:upstream pool has {1..64} idle connections of 64",
    "auth:token {hex12} valid for another {10..3600} s",
    "search:query plan {hex8} reused, {1..40} segments",
];
const INFO: &[&str] = &[
    "gateway:{method} {path} {200|200|200|201|204|304} in {ms} ms",
    "gateway:{method} {path} from {address}, {120..64000} bytes in {ms} ms",
    "checkout:order {100000..999999} placed by user {user}, {1..9} items, CHF {5..900}.90",
    "payment:payment {hex8} captured with {card} for order {100000..999999} in {ms} ms",
    "auth:user {user} signed in from {address}, session {hex8}",
    "shipping:parcel {10000000..99999999} handed to {carrier}, {1..40} kg to {city}",
    "catalog:price of product {1..90000} changed to CHF {1..500}.50 by {user}",
    "search:found {0..2000} products in {ms} ms, page {1..20} for user {user}",
    "mail:order confirmation sent to {user}@example.com, {ms} ms, queue {0..300}",
    "jobs:job reindex-{1..64} finished, {100..50000} documents in {ms} ms",
];
const WARN: &[&str] = &[
    "payment:payment {hex8} declined by {card}, attempt {1..4} of 3",
    "gateway:slow request {method} {path} took {1000..9000} ms",
    "auth:wrong password for user {user} from {address}, {1..5} tries left",
    "catalog:stock of product {1..90000} is down to {0..5} in {city}",
    "jobs:queue mail has {500..9000} entries, oldest waits for {30..900} s",
];
const ERROR: &[&str] = &[
    "payment:gateway of {card} did not answer within {5..30} s, request {hex16}",
    "gateway:{method} {path} {500|502|503}: connection to 10.0.{0..256}.{1..255}:8080 refused",
    "shipping:label for order {100000..999999} not printed: java.net.SocketTimeoutException: read timed out",
    "search:shard {0..32} is unavailable, {1..400} queries failed",
];

const USERS: [&str; 16] = [
    "amina", "bjorn", "chen", "daria", "emeka", "fatima", "gustavo", "hana", "ivan", "julia",
    "kofi", "lucia", "mateo", "noor", "oksana", "priya",
];
const HOSTS: &[&str] = &["web-1", "web-2", "web-3", "job-1", "job-2", "edge-1"];

/// A piece of a message.
enum Part {
    Text(&'static str),
    /// A number in `[low, high)`.
    Number(u32, u32),
    /// This many hex digits.
    Hex(usize),
    OneOf(Vec<&'static str>),
    /// Milliseconds, mostly few and sometimes many.
    Latency,
    User,
    Address,
    Path,
}

/// One kind of message.
pub(super) struct Template {
    /// Which service says it.
    pub(super) service: &'static str,
    parts: Vec<Part>,
}

/// All kinds of messages by level, taken apart once.
static TEMPLATES: LazyLock<[Vec<Template>; 4]> = LazyLock::new(|| {
    let all = |texts: &[&'static str]| texts.iter().map(|text| Template::new(text)).collect();
    [all(DEBUG), all(INFO), all(WARN), all(ERROR)]
});

/// One of the messages of `level`.
pub(super) fn choose(level: Level, random: &mut Random) -> &'static Template {
    let templates = &TEMPLATES[level as usize];
    &templates[random.below(templates.len() as u32) as usize]
}

impl Template {
    fn new(text: &'static str) -> Self {
        let (service, mut rest) = text.split_once(':').expect("a template names its service");
        let mut parts = Vec::new();
        while let Some((before, behind)) = rest.split_once('{') {
            let (name, after) = behind
                .split_once('}')
                .expect("a template closes its braces");
            parts.push(Part::Text(before));
            parts.push(Part::new(name));
            rest = after;
        }
        parts.push(Part::Text(rest));
        Self { service, parts }
    }

    /// Appends the message.
    pub(super) fn push(&self, random: &mut Random, out: &mut Vec<u8>) {
        for part in &self.parts {
            match part {
                Part::Text(text) => out.extend_from_slice(text.as_bytes()),
                Part::Number(low, high) => {
                    push_number(out, u64::from(low + random.below(high - low)));
                }
                Part::Hex(width) => push_hex(out, random.next(), *width),
                Part::OneOf(words) => out.extend_from_slice(random.choose(words).as_bytes()),
                Part::Latency => push_number(out, latency(random)),
                Part::User => {
                    out.extend_from_slice(random.choose(&USERS).as_bytes());
                    push_number(out, u64::from(random.below(1000)));
                }
                Part::Address => push_address(random, out),
                Part::Path => push_path(random, out),
            }
        }
    }
}

impl Part {
    fn new(name: &'static str) -> Self {
        let number = |text: &str| text.parse().expect("a template's number is a number");
        if let Some((low, high)) = name.split_once("..") {
            return Self::Number(number(low), number(high));
        }
        if let Some(width) = name.strip_prefix("hex") {
            return Self::Hex(number(width) as usize);
        }
        match name {
            "ms" => Self::Latency,
            "user" => Self::User,
            "address" => Self::Address,
            "path" => Self::Path,
            "method" => Self::OneOf(vec!["GET", "GET", "GET", "POST", "PUT", "DELETE"]),
            "card" => Self::OneOf(vec!["visa", "mastercard", "twint", "invoice"]),
            "carrier" => Self::OneOf(vec!["alpine-post", "northline", "swiftbox"]),
            "city" => Self::OneOf(vec!["Zurich", "Lagos", "Osaka", "Lima", "Toronto", "Pune"]),
            words => Self::OneOf(words.split('|').collect()),
        }
    }
}

/// Milliseconds: 1 to 64 for most, up to 4 s for one in thirty-two.
pub(super) fn latency(random: &mut Random) -> u64 {
    let bits = random.next();
    let base = 1 + (bits & 63);
    if bits >> 59 == 0 { base * 63 } else { base }
}

/// A host's name.
pub(super) fn host(random: &mut Random) -> &'static str {
    random.choose(HOSTS)
}

/// Appends an address of the ranges that are kept for documentation.
pub(super) fn push_address(random: &mut Random, out: &mut Vec<u8>) {
    const NETS: [&str; 3] = ["192.0.2.", "198.51.100.", "203.0.113."];
    out.extend_from_slice(random.choose(&NETS).as_bytes());
    push_number(out, u64::from(1 + random.below(254)));
}

/// Appends a path without a query.
pub(super) fn push_path(random: &mut Random, out: &mut Vec<u8>) {
    const ROOTS: [&str; 6] = [
        "/api/orders/",
        "/api/products/",
        "/api/users/",
        "/api/carts/",
        "/static/img/",
        "/api/v2/search/",
    ];
    out.extend_from_slice(random.choose(&ROOTS).as_bytes());
    push_number(out, u64::from(random.below(1_000_000)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_need_no_escaping_and_leave_no_brace_behind() {
        let mut random = Random::new(1, 1);
        for level in [Level::Debug, Level::Info, Level::Warn, Level::Error] {
            for template in &TEMPLATES[level as usize] {
                let mut text = Vec::new();
                template.push(&mut random, &mut text);
                let text = String::from_utf8(text).unwrap();
                assert!(!text.contains(['"', '\\', '{', '}', '|', '[']), "{text}");
                assert!(text.len() > 20, "{text}");
            }
        }
    }
}
