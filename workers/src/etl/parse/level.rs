//! The words that name a level, as far as they are well known. Pure.

/// Whether a word is a level: of log4j, logback, JUL, python, syslog, Go, .NET, databases, httpd and
/// their kin. The case does not matter.
pub(super) fn is_level(word: &[u8]) -> bool {
    let among = |names: &[&str]| {
        names
            .iter()
            .any(|name| word.eq_ignore_ascii_case(name.as_bytes()))
    };
    match word.len() {
        3 => among(&[
            "ERR", "LOG", "INF", "WRN", "DBG", "TRC", "VRB", "FTL", "CRT", "OFF", "ALL",
        ]),
        4 => among(&["INFO", "WARN", "CRIT", "NOTE", "FINE", "HINT", "FAIL"]),
        5 => among(&[
            "ERROR", "DEBUG", "TRACE", "FATAL", "ALERT", "EMERG", "PANIC", "FINER", "AUDIT",
        ]),
        6 => among(&["NOTICE", "SEVERE", "CONFIG", "FINEST", "SYSTEM", "DETAIL"]) || numbered(word),
        7 => among(&["WARNING", "VERBOSE", "SUCCESS", "FAILURE"]),
        8 => among(&["CRITICAL"]),
        9 => among(&["EMERGENCY", "STATEMENT"]),
        11 => among(&["INFORMATION"]),
        _ => false,
    }
}

/// `debug1`, `trace8`
fn numbered(word: &[u8]) -> bool {
    let (name, digit) = word.split_at(5);
    digit[0].is_ascii_digit()
        && (name.eq_ignore_ascii_case(b"debug") || name.eq_ignore_ascii_case(b"trace"))
}

/// Whether a letter stands for a level, as in logcat and glog.
pub(super) fn is_level_letter(letter: u8) -> bool {
    b"VTDIWEFCA".contains(&letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_known_words_in_any_case() {
        for word in ["INFO", "Info", "warning", "SEVERE", "Err", "debug3", "LOG"] {
            assert!(is_level(word.as_bytes()), "{word}");
        }
        for word in ["", "GET", "hello", "INFOS", "debugX", "Component"] {
            assert!(!is_level(word.as_bytes()), "{word}");
        }
    }
}
