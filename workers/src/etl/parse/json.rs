//! Lines that are JSON objects. Values are looked at where they stand; only texts with escapes are written
//! anew. Pure.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::keyed::{Input, KeyedColumns};
use super::slots::{missing, place};
use super::time::Clock;
use crate::etl::row::{Reject, RejectReason, Row, Span, Value};

/// How many objects deep fields are looked for; deeper ones stay JSON text.
pub(super) const MOST_DEPTH: usize = 8;

/// What wants to see the fields of a line.
pub(super) trait Fields<'a> {
    /// Whether to look inside the object `path`.
    fn enters(&mut self, path: &str) -> bool;
    /// The field `path`, whose value is written `raw`.
    fn field(&mut self, path: &str, raw: &'a str) -> Result<(), Reject>;
}

/// Looks at nothing: for asking whether a line is an object at all.
pub(super) struct Unseen;

impl<'a> Fields<'a> for Unseen {
    fn enters(&mut self, _path: &str) -> bool {
        false
    }

    fn field(&mut self, _path: &str, _raw: &'a str) -> Result<(), Reject> {
        Ok(())
    }
}

/// Shows the fields of a line in their order. Fields in objects have their path with dots as a name.
pub(super) fn walk<'a>(line: &'a str, fields: &mut dyn Fields<'a>) -> Result<(), Reject> {
    let start = line.len() - line.trim_ascii_start().len();
    if !line[start..].starts_with('{') {
        return Err(missing("JSON object", line, start));
    }
    walk_object(line, line, "", 0, fields)
}

fn walk_object<'a>(
    line: &str,
    object: &'a str,
    prefix: &str,
    depth: usize,
    fields: &mut dyn Fields<'a>,
) -> Result<(), Reject> {
    let mut reject = None;
    let mut deserializer = serde_json::Deserializer::from_str(object);
    let visitor = Members {
        line,
        prefix,
        depth,
        fields,
        reject: &mut reject,
    };
    let read = deserializer
        .deserialize_map(visitor)
        .and_then(|()| deserializer.end());
    match (reject, read) {
        (Some(reject), _) => Err(reject),
        (None, Ok(())) => Ok(()),
        (None, Err(error)) => Err(malformed(&error)),
    }
}

fn malformed(error: &serde_json::Error) -> Reject {
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or_default();
    Reject {
        reason: RejectReason::Malformed,
        detail: format!(
            "no valid JSON at byte {}: {what}",
            error.column().saturating_sub(1)
        ),
    }
}

struct Members<'f, 'a, 'r> {
    line: &'r str,
    prefix: &'r str,
    depth: usize,
    fields: &'f mut dyn Fields<'a>,
    reject: &'f mut Option<Reject>,
}

impl<'a> Visitor<'a> for Members<'_, 'a, '_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Key(key)) = map.next_key()? {
            let raw: &'a RawValue = map.next_value()?;
            let raw = raw.get();
            let path: Cow<'_, str> = match self.prefix {
                "" => Cow::Borrowed(&*key),
                prefix => Cow::Owned(format!("{prefix}.{key}")),
            };
            let inside = raw.starts_with('{')
                && self.depth < MOST_DEPTH
                && !raw[1..].trim_ascii_start().starts_with('}')
                && self.fields.enters(&path);
            let seen = if inside {
                walk_object(self.line, raw, &path, self.depth + 1, self.fields)
            } else {
                self.fields.field(&path, raw)
            };
            if let Err(reject) = seen {
                *self.reject = Some(reject);
                return Err(A::Error::custom("rejected"));
            }
        }
        Ok(())
    }
}

/// A key, which is borrowed from the line where it has no escapes.
struct Key<'a>(Cow<'a, str>);

impl<'a> Deserialize<'a> for Key<'a> {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl<'a> Visitor<'a> for KeyVisitor {
            type Value = Key<'a>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a key")
            }

            fn visit_borrowed_str<E>(self, key: &'a str) -> Result<Key<'a>, E> {
                Ok(Key(Cow::Borrowed(key)))
            }

            fn visit_str<E>(self, key: &str) -> Result<Key<'a>, E> {
                Ok(Key(Cow::Owned(key.to_owned())))
            }
        }
        deserializer.deserialize_str(KeyVisitor)
    }
}

/// Reads a line into the columns.
pub(super) fn read(
    line: &str,
    columns: &mut KeyedColumns,
    clock: &mut Clock,
    row: &mut Row,
) -> Result<(), Reject> {
    columns.begin(row);
    walk(
        line,
        &mut Reader {
            line,
            columns,
            clock,
            row,
        },
    )?;
    columns.finish(row)
}

struct Reader<'r> {
    line: &'r str,
    columns: &'r mut KeyedColumns,
    clock: &'r mut Clock,
    row: &'r mut Row,
}

impl<'a> Fields<'a> for Reader<'_> {
    fn enters(&mut self, path: &str) -> bool {
        self.columns.has_inside(path)
    }

    fn field(&mut self, path: &str, raw: &'a str) -> Result<(), Reject> {
        let input = match raw.as_bytes().first() {
            Some(b'"') => Input::Text(text(self.line, raw, &mut self.row.scratch)),
            Some(b't') => Input::Bool(true),
            Some(b'f') => Input::Bool(false),
            Some(b'n') => Input::Null,
            Some(b'{' | b'[') => Input::Nested,
            _ => Input::Number,
        };
        self.columns
            .take(self.line, path, raw, input, self.clock, self.row)
    }
}

/// The text of a JSON string: where it stands in the line or, unescaped, in the scratch.
fn text(line: &str, raw: &str, scratch: &mut String) -> Value {
    let inner = &raw[1..raw.len() - 1];
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return place(line, inner);
    }
    let start = scratch.len();
    unescape(inner, scratch);
    Value::Scratch(Span {
        start: start as u32,
        end: scratch.len() as u32,
    })
}

/// Appends a JSON string's text without its escapes. Halves of surrogate pairs, which are no characters,
/// become U+FFFD.
pub(super) fn unescape(inner: &str, out: &mut String) {
    let mut rest = inner;
    while let Some((plain, escape)) = rest.split_once('\\') {
        out.push_str(plain);
        let mut chars = escape.chars();
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('r') => out.push('\r'),
            Some('b') => out.push('\u{8}'),
            Some('f') => out.push('\u{c}'),
            Some('u') => {
                let (char, after) = unescape_unicode(chars.as_str());
                out.push(char);
                rest = after;
                continue;
            }
            Some(other) => out.push(other),
            None => {}
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
}

/// The character of the four digits after `\u`, with the second half of a pair, and what follows.
fn unescape_unicode(rest: &str) -> (char, &str) {
    let unit = |text: &str| {
        text.get(..4)
            .and_then(|hex| u16::from_str_radix(hex, 16).ok())
    };
    let Some(high) = unit(rest) else {
        return (char::REPLACEMENT_CHARACTER, rest);
    };
    let after = &rest[4..];
    if let Some(low) = after.strip_prefix("\\u").and_then(unit)
        && let Some(Ok(char)) = char::decode_utf16([high, low]).next()
        && char.len_utf16() == 2
    {
        return (char, &after[6..]);
    }
    (
        char::from_u32(u32::from(high)).unwrap_or(char::REPLACEMENT_CHARACTER),
        after,
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Collect<'a>(Vec<(String, &'a str)>);

    impl<'a> Fields<'a> for Collect<'a> {
        fn enters(&mut self, _path: &str) -> bool {
            true
        }

        fn field(&mut self, path: &str, raw: &'a str) -> Result<(), Reject> {
            self.0.push((path.to_owned(), raw));
            Ok(())
        }
    }

    fn fields(line: &str) -> Result<Vec<(String, &str)>, Reject> {
        let mut collect = Collect(Vec::new());
        walk(line, &mut collect)?;
        Ok(collect.0)
    }

    #[test]
    fn fields_are_shown_in_the_order_of_the_line_with_their_paths() {
        let seen = fields(r#" {"b":1,"a":{"y":"x","c":{"d":[1, 2]},"e":{}},"b":null} "#).unwrap();
        let seen: Vec<_> = seen
            .iter()
            .map(|(path, raw)| (path.as_str(), *raw))
            .collect();
        assert_eq!(
            seen,
            [
                ("b", "1"),
                ("a.y", "\"x\""),
                ("a.c.d", "[1, 2]"),
                ("a.e", "{}"),
                ("b", "null")
            ]
        );
    }

    #[test]
    fn what_is_no_object_is_told_where() {
        assert_eq!(
            fields("hello").unwrap_err().detail,
            "no JSON object at byte 0: found \"hello\""
        );
        let detail = fields(r#"{"a":tru}"#).unwrap_err().detail;
        assert!(detail.starts_with("no valid JSON at byte 8"), "{detail}");
        assert!(fields(r#"{"a":1} x"#).is_err());
        assert!(fields("{\"a\":\"\0\"}").is_err());
        assert!(fields("{").is_err());
    }

    #[test]
    fn deep_nesting_is_no_way_to_break_the_stack() {
        let deep = format!("{}1{}", "{\"a\":".repeat(50_000), "}".repeat(50_000));
        let seen = fields(&deep);
        assert!(seen.is_ok_and(|seen| seen.len() == 1));
        assert!(fields(&"[".repeat(100_000)).is_err());
        assert!(fields(&format!("{{\"a\":{}", "[".repeat(100_000))).is_err());
    }

    #[test]
    fn half_a_surrogate_pair_becomes_the_replacement_character() {
        let mut out = String::new();
        unescape(r"a\ud83d\ude00 \ud83d \ude00\u0041\/", &mut out);
        assert_eq!(out, "a😀 \u{fffd} \u{fffd}A/");
    }

    proptest! {
        #[test]
        fn every_text_comes_back_from_its_json(text in any::<String>()) {
            let json = serde_json::to_string(&text).unwrap();
            let mut out = String::new();
            unescape(&json[1..json.len() - 1], &mut out);
            prop_assert_eq!(&out, &text);
            let mut ours = String::new();
            super::super::keyed::push_json_text(&mut ours, &text);
            prop_assert_eq!(serde_json::from_str::<String>(&ours).unwrap(), text);
        }

        #[test]
        fn no_text_makes_the_unescaper_panic(text in r"(\\|u|[0-9a-f]|d8|é|.){0,20}") {
            unescape(&text, &mut String::new());
        }
    }
}
