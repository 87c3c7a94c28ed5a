//! The names that rotation gives to files: which are rotated siblings of a log, and in which order they
//! were written. Pure.

use std::cmp::Reverse;

/// When a rotated file was written, compared with its siblings. Older ones come first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Age {
    /// `app.log.old`
    Old,
    /// A date or a number of fixed width, which grows: `app.log-20260131`, `app.log.000000500000`.
    Growing(String),
    /// A number that is counted up with each rotation, as logrotate does: `app.log.1` is the newest.
    Counted(Reverse<u64>),
    /// The log itself.
    Live,
}

const COMPRESSED: [&str; 8] = ["gz", "bz2", "xz", "zst", "lz4", "Z", "zip", "lzma"];

/// Whether a file's name says that it is compressed. Such a file is never followed.
pub fn is_compressed(name: &str) -> bool {
    name.rsplit_once('.')
        .is_some_and(|(_, extension)| COMPRESSED.contains(&extension))
}

/// Splits the name of a rotated file into the log's name and the age, in every way that could be meant.
pub fn rotated(name: &str) -> impl Iterator<Item = (&str, Age)> {
    name.char_indices()
        .filter(|(at, c)| *at > 0 && matches!(c, '.' | '-' | '_'))
        .filter_map(|(at, _)| Some((&name[..at], age(&name[at + 1..])?)))
}

fn age(suffix: &str) -> Option<Age> {
    if suffix == "old" {
        return Some(Age::Old);
    }
    if suffix.is_empty() || !suffix.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let counted = suffix.len() <= 5 && !(suffix.len() > 1 && suffix.starts_with('0'));
    if suffix.bytes().all(|byte| byte.is_ascii_digit()) && counted {
        return suffix.parse().ok().map(|n| Age::Counted(Reverse(n)));
    }
    let dated = |c: char| c.is_ascii_digit() || matches!(c, '-' | '_' | '.' | ':' | 'T' | 'Z');
    suffix
        .chars()
        .all(dated)
        .then(|| Age::Growing(suffix.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn age_of(name: &str) -> Option<Age> {
        rotated(name)
            .find(|(base, _)| *base == "app.log")
            .map(|(_, age)| age)
    }

    #[test]
    fn rotated_names_are_known_and_ordered_oldest_first() {
        let sorted = |names: &[&str]| {
            let mut ages: Vec<_> = names.iter().map(|n| (age_of(n).unwrap(), *n)).collect();
            ages.sort();
            ages.into_iter()
                .map(|(_, n)| n.to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            sorted(&["app.log.1", "app.log.10", "app.log.2"]),
            ["app.log.10", "app.log.2", "app.log.1"]
        );
        assert_eq!(
            sorted(&["app.log.000001000000", "app.log.000000500000"]),
            ["app.log.000000500000", "app.log.000001000000"]
        );
        assert_eq!(
            sorted(&["app.log-20260201", "app.log-20260131"]),
            ["app.log-20260131", "app.log-20260201"]
        );
    }

    #[test]
    fn other_names_are_no_rotated_siblings() {
        for name in [
            "app.log",
            "app.log.gz",
            "app.log.1.gz",
            "app.logs",
            "app.log.audit",
            "app.log2",
        ] {
            assert_eq!(age_of(name), None, "{name}");
        }
        assert!(is_compressed("app.log.1.gz"));
        assert!(!is_compressed("app.log.1"));
    }
}
