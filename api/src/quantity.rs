//! Amounts as Kubernetes writes them: a number and a suffix. Pure.

/// Why an amount of bytes cannot be read. The schema and its rules refuse such a value, so it is only met in a
/// resource that has not been validated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Not a whole number with one of the suffixes.
    #[error(
        "{0:?} is not a quantity of bytes: write a whole number with k, M, G, Ki, Mi or Gi, such as 64Mi"
    )]
    Malformed(String),
    /// More than 64 bits hold.
    #[error("{0:?} is more bytes than 64 bits can count")]
    TooLarge(String),
}

/// A number of bytes as people write it: `64Mi`, `3k`, `1000`. Fractions and exponents are refused.
pub fn bytes(text: &str) -> Result<u64, QuantityError> {
    let malformed = || QuantityError::Malformed(text.to_owned());
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, suffix) = text.split_at(digits);
    let one = one(suffix).ok_or_else(malformed)?;
    if number.is_empty() {
        return Err(malformed());
    }
    let number: Option<u64> = number.parse().ok();
    number
        .and_then(|number| number.checked_mul(one))
        .ok_or_else(|| QuantityError::TooLarge(text.to_owned()))
}

/// An amount of anything in billionths, which is as fine as they are; `None` for what is none, has an exponent, or is
/// more than 128 bits hold.
pub fn nanos(text: &str) -> Option<u128> {
    const NANOS: u128 = 1_000_000_000;
    let digits = text
        .bytes()
        .take_while(|byte| byte.is_ascii_digit() || *byte == b'.');
    let (number, suffix) = text.split_at(digits.count());
    let one = match suffix {
        "n" => 1,
        "u" => NANOS / 1_000_000,
        "m" => NANOS / 1000,
        _ => u128::from(one(suffix)?) * NANOS,
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let whole: u128 = format!("{whole}{part}").parse().ok()?;
    let scale = 10_u128.checked_pow(u32::try_from(part.len()).ok()?)?;
    Some(whole.checked_mul(one)? / scale)
}

/// What one of this suffix is; `None` where it is no suffix, or one of less than one.
fn one(suffix: &str) -> Option<u64> {
    let (base, power): (u64, u32) = match suffix {
        "" => (1, 0),
        "k" => (1000, 1),
        "M" => (1000, 2),
        "G" => (1000, 3),
        "T" => (1000, 4),
        "P" => (1000, 5),
        "E" => (1000, 6),
        "Ki" => (1024, 1),
        "Mi" => (1024, 2),
        "Gi" => (1024, 3),
        "Ti" => (1024, 4),
        "Pi" => (1024, 5),
        "Ei" => (1024, 6),
        _ => return None,
    };
    Some(base.pow(power))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_suffix_has_its_power() {
        assert_eq!(bytes("1048576"), Ok(1_048_576));
        for (power, letter) in (1..).zip(["k", "M", "G", "T", "P", "E"]) {
            let decimal = bytes(&format!("3{letter}"));
            let binary = bytes(&format!("3{}i", letter.to_uppercase()));
            assert_eq!(decimal, Ok(3 * 1000_u64.pow(power)), "{letter}");
            assert_eq!(binary, Ok(3 * 1024_u64.pow(power)), "{letter}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for text in [
            "", "Mi", "64mi", "64 Mi", "-1Mi", "1.5Gi", "1e3", "64Mib", "٣Mi",
        ] {
            let malformed = Err(QuantityError::Malformed(text.to_owned()));
            assert_eq!(bytes(text), malformed, "{text}");
        }
    }

    #[test]
    fn a_number_beyond_64_bits_is_refused_and_not_wrapped() {
        for text in ["18446744073709551616", "18446744073709551615Ki", "16Ei"] {
            let too_large = Err(QuantityError::TooLarge(text.to_owned()));
            assert_eq!(bytes(text), too_large, "{text}");
        }
        assert_eq!(bytes("18446744073709551615"), Ok(u64::MAX));
    }

    #[test]
    fn parts_of_one_are_counted_too() {
        for (text, wanted) in [
            ("1n", 1),
            ("1u", 1000),
            ("1m", 1_000_000),
            ("0.5", 500_000_000),
            ("1.5k", 1_500_000_000_000),
            ("1Ki", 1_024_000_000_000),
        ] {
            assert_eq!(nanos(text), Some(wanted), "{text}");
        }
        for text in ["", "m", "x", "1e3", "1.2.3", "-1", "1mi"] {
            assert_eq!(nanos(text), None, "{text}");
        }
    }
}
