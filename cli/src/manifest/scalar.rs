//! What an unquoted word of YAML is: as kubectl reads it (YAML 1.1 as in sigs.k8s.io/yaml), so that
//! one manifest means the same here and there. Pure.

use serde_json::Number;

use super::yaml::Value;

/// The value of an unquoted word. `None` for what JSON cannot hold (`.inf`, `.nan`).
pub(super) fn resolve(word: &str) -> Option<Value> {
    match word {
        "" | "~" | "null" | "Null" | "NULL" => return Some(Value::Null),
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Some(Value::Bool(true));
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Some(Value::Bool(false));
        }
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" | "-.inf" | "-.Inf" | "-.INF"
        | ".nan" | ".NaN" | ".NAN" => return None,
        _ => {}
    }
    let number = looks_like_a_number(word).then(|| number(word)).flatten();
    Some(number.map_or_else(|| Value::Text(word.to_owned()), Value::Number))
}

fn looks_like_a_number(word: &str) -> bool {
    let unsigned = word.strip_prefix(['-', '+']).unwrap_or(word);
    unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
}

fn number(word: &str) -> Option<Number> {
    let plain = word.replace('_', "");
    whole(&plain).or_else(|| decimal(&plain))
}

/// A whole number: decimal, `0x`, `0o`, `0b`, or octal by a leading zero.
fn whole(word: &str) -> Option<Number> {
    let (negative, digits) = match word.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, word.strip_prefix('+').unwrap_or(word)),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    // `from_str_radix` would take a second sign.
    if !digits.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    let magnitude = i128::from_str_radix(digits, radix).ok()?;
    Number::from_i128(if negative { -magnitude } else { magnitude })
}

/// A decimal number. One without a fraction is a whole number: so does Go write it as JSON.
fn decimal(word: &str) -> Option<Number> {
    let mantissa = word.strip_prefix(['-', '+']).unwrap_or(word);
    let allowed = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '-' | '+');
    if !mantissa.chars().all(allowed) || mantissa.starts_with(['-', '+']) {
        return None;
    }
    let value: f64 = word.parse().ok()?;
    // 2^63: from there on, i64 does not hold it.
    if value.fract() == 0.0 && value.abs() < 9_223_372_036_854_775_808.0 {
        return Some(Number::from(value as i64));
    }
    Number::from_f64(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(word: &str) -> String {
        match resolve(word) {
            Some(Value::Null) => "null".to_owned(),
            Some(Value::Bool(value)) => value.to_string(),
            Some(Value::Number(value)) => value.to_string(),
            Some(Value::Text(text)) => format!("{text:?}"),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn words_mean_what_they_mean_to_kubectl() {
        let cases = [
            ("", "null"),
            ("~", "null"),
            ("yes", "true"),
            ("off", "false"),
            ("None", "\"None\""),
            ("5", "5"),
            ("-5", "-5"),
            ("+5", "5"),
            ("1_000_000", "1000000"),
            ("0x1F", "31"),
            ("0o17", "15"),
            ("017", "15"),
            ("0b101", "5"),
            ("0", "0"),
            ("08", "8"),
            ("1e6", "1000000"),
            ("5.0", "5"),
            ("2.5", "2.5"),
            (".5", "0.5"),
            ("64Mi", "\"64Mi\""),
            ("--5", "\"--5\""),
            ("-", "\"-\""),
            (".", "\".\""),
            ("+02:00", "\"+02:00\""),
            ("2026-01-31", "\"2026-01-31\""),
            ("18446744073709551615", "18446744073709551615"),
            ("0x", "\"0x\""),
            ("0b2", "\"0b2\""),
            ("1infinity", "\"1infinity\""),
        ];
        for (word, expected) in cases {
            assert_eq!(json(word), expected, "{word}");
        }
    }

    #[test]
    fn what_json_cannot_hold_is_no_value() {
        assert!(resolve(".inf").is_none());
        assert!(resolve(".NaN").is_none());
    }
}
