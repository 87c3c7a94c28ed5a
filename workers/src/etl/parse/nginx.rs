//! Access logs of nginx and httpd, common and combined, also with a virtual host before and other fields
//! behind. Pure.

use super::slots::{self, MESSAGE, Slots, TIMESTAMP, place};
use super::time::{Clock, TimeFault};
use crate::etl::row::Reject;

/// The fields, by slot. The message is the request as the client sent it.
pub(super) const FIELDS: [&str; 14] = [
    "timestamp",
    "level",
    "message",
    "remote_addr",
    "user",
    "method",
    "path",
    "protocol",
    "status",
    "bytes",
    "referer",
    "user_agent",
    "vhost",
    "extra",
];
const REMOTE_ADDR: usize = 3;
const USER: usize = 4;
const METHOD: usize = 5;
const STATUS: usize = 8;
const BYTES: usize = 9;
const REFERER: usize = 10;
const VHOST: usize = 12;
const EXTRA: usize = 13;

/// Reads a line. A dash stands for nothing.
pub(super) fn read(line: &str, clock: &mut Clock, slots: &mut Slots) -> Result<(), Reject> {
    let open = memchr::memmem::find(line.as_bytes(), b" [")
        .ok_or_else(|| slots::missing("client and \"[\"", line, 0))?;
    client(line, &line[..open], slots)?;
    let time = open + 2;
    let (instant, length) = clock
        .any(&line.as_bytes()[time..])
        .map_err(|fault| match fault {
            TimeFault::Absent => slots::missing("timestamp", line, time),
            TimeFault::Invalid(why) => slots::no_such_time(why, line, time),
        })?;
    slots.time = Some(instant);
    slots.set(TIMESTAMP, time, time + length);
    let mut at = time + length;
    let rest = line[at..].strip_prefix("] \"");
    let rest = rest.ok_or_else(|| slots::missing("\"]\" and a quoted request", line, at))?;
    at += 3;
    let length = quoted(rest).ok_or_else(|| slots::missing("closing quote", line, line.len()))?;
    request(line, &rest[..length], slots);
    at += length + 1;
    let mut words = line[at..].split_ascii_whitespace();
    let status = words
        .next()
        .filter(|word| word.bytes().all(|byte| byte.is_ascii_digit()));
    let status = status.ok_or_else(|| slots::missing("status", line, at))?;
    slots.put(STATUS, place(line, status));
    let Some(bytes) = words.next() else {
        return Ok(());
    };
    put(line, BYTES, bytes, slots);
    at = bytes.as_ptr() as usize - line.as_ptr() as usize + bytes.len();
    rest_of(line, at, slots);
    Ok(())
}

/// `[vhost] address ident user`
fn client(line: &str, text: &str, slots: &mut Slots) -> Result<(), Reject> {
    let mut words = text.split_ascii_whitespace().rev();
    let (Some(user), Some(_ident), Some(address)) = (words.next(), words.next(), words.next())
    else {
        return Err(slots::missing("address, identity and user", line, 0));
    };
    put(line, USER, user, slots);
    slots.put(REMOTE_ADDR, place(line, address));
    if let Some(vhost) = words.next() {
        slots.put(VHOST, place(line, vhost));
    }
    match words.next() {
        None => Ok(()),
        Some(_) => Err(slots::missing(
            "time in brackets after the user",
            line,
            text.len(),
        )),
    }
}

/// `GET /path HTTP/1.1`; what clients send that is no request has only a message.
fn request(line: &str, text: &str, slots: &mut Slots) {
    slots.put(MESSAGE, place(line, text));
    let Some((method, target)) = text.split_once(' ') else {
        return;
    };
    if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return;
    }
    let (path, protocol) = match target.rsplit_once(' ') {
        Some((path, protocol)) if protocol.starts_with("HTTP/") => (path, Some(protocol)),
        _ => (target, None),
    };
    slots.put(METHOD, place(line, method));
    slots.put(METHOD + 1, place(line, path));
    if let Some(protocol) = protocol {
        slots.put(METHOD + 2, place(line, protocol));
    }
}

/// The referer and the user agent, each in quotes, and whatever comes behind.
fn rest_of(line: &str, mut at: usize, slots: &mut Slots) {
    for slot in [REFERER, REFERER + 1] {
        let Some(text) = line[at..].trim_ascii_start().strip_prefix('"') else {
            break;
        };
        let Some(length) = quoted(text) else { break };
        put(line, slot, &text[..length], slots);
        at = line.len() - text.len() + length + 1;
    }
    let extra = line[at..].trim_ascii();
    if !extra.is_empty() {
        slots.put(EXTRA, place(line, extra));
    }
}

fn put(line: &str, slot: usize, text: &str, slots: &mut Slots) {
    if text != "-" {
        slots.put(slot, place(line, text));
    }
}

/// The length of the text up to the closing quote; quotes with a backslash before them are part of it.
fn quoted(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    })
}
