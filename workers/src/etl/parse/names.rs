//! Names of columns that come from a sample. Pure.

use ahash::AHashSet;

/// The longest name.
const LONGEST: usize = 128;

/// Names that are taken: letters, digits and underscores, first a letter, and different from each other
/// even where case does not count (Athena, Spark).
#[derive(Clone, Debug)]
pub(super) struct Names {
    taken: AHashSet<String>,
}

impl Names {
    /// Nothing is taken but the folders' keys, which query engines show as columns.
    pub(super) fn new() -> Self {
        Self {
            taken: ["dt", "hour"].map(str::to_owned).into(),
        }
    }

    /// Takes a name as it is; `false` where it is taken.
    pub(super) fn take(&mut self, name: &str) -> bool {
        self.taken.insert(name.to_ascii_lowercase())
    }

    /// Makes a field's path a name, with a number at its end where it is taken.
    pub(super) fn make(&mut self, path: &str) -> String {
        let mut name: String = path
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
            .take(LONGEST - 12)
            .collect();
        if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
            let bare = name.trim_start_matches('_');
            name = match bare.chars().next() {
                Some(first) if first.is_ascii_alphabetic() => bare.to_owned(),
                _ => format!("field_{bare}"),
            };
        }
        let mut unique = name.clone();
        let mut number = 2;
        while !self.take(&unique) {
            unique = format!("{name}_{number}");
            number += 1;
        }
        unique
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_and_different_in_any_case() {
        let mut names = Names::new();
        let made: Vec<_> = [
            "user.id", "user_id", "User_ID", "@version", "_id", "1st", "é", "", "hour",
        ]
        .map(|path| names.make(path))
        .into();
        assert_eq!(
            made,
            [
                "user_id",
                "user_id_2",
                "User_ID_3",
                "version",
                "id",
                "field_1st",
                "field_",
                "field__2",
                "hour_2"
            ]
        );
    }
}
