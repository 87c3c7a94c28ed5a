//! Numbers that should be there once each: the sequences of producer keys, and the lines of generators. Pure.

use std::collections::BTreeMap;

use logpipe_workers::generate::{Checked, check};

use super::report::Lane;
use super::rows::Row;
use super::runs::Runs;

/// Numbers that should be there once each.
#[derive(Default)]
pub(super) struct Numbers {
    committed: Runs,
    /// Of rows that are announced and not committed: they may have holes, but never come twice.
    pending: Runs,
    lines: u64,
    pub(super) bad: u64,
}

/// Which numbers must be there.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    /// All from this one on; otherwise from the lowest.
    pub(super) from: Option<u64>,
    /// All below this one; otherwise up to the highest.
    pub(super) until: Option<u64>,
}

impl Numbers {
    /// Adds the number of one line.
    pub(super) fn insert(&mut self, number: u64, committed: bool) {
        if committed {
            self.committed.insert(u128::from(number));
            self.lines += 1;
        } else {
            self.pending.insert(u128::from(number));
        }
    }

    /// What is there, missing and twice.
    pub(super) fn lane(mut self, name: &str, bounds: Bounds) -> Lane {
        let found = self.committed.summary();
        let (first, end) = (found.first.unwrap_or(0), found.end.unwrap_or(0));
        let below = bounds.from.map_or(0, |from| first.saturating_sub(from));
        let above = bounds.until.map_or(0, |until| until.saturating_sub(end));
        let hole_below = (below > 0).then(|| (first - below, first));
        let hole_above = (above > 0).then_some((end, end + above));
        self.committed.merge(self.pending);
        Lane {
            name: name.to_owned(),
            lines: self.lines,
            first,
            end,
            missing: found.missing + below + above,
            twice: self.committed.summary().twice,
            beyond: bounds.until.map_or(0, |until| end.saturating_sub(until)),
            example: hole_below.or(found.first_hole).or(hole_above),
            bad_checksums: None,
        }
    }
}

/// Finds the numbers of a producer key. Rows of one key follow each other, so the key is mostly the last one.
pub(super) struct LaneCache {
    key: (String, String),
}

impl LaneCache {
    /// For the files of one topic.
    pub(super) fn new(topic_id8: &str) -> Self {
        Self {
            key: (topic_id8.to_owned(), String::new()),
        }
    }

    /// The numbers of `producer`.
    pub(super) fn numbers<'a>(
        &mut self,
        all: &'a mut BTreeMap<(String, String), Numbers>,
        producer: &str,
    ) -> &'a mut Numbers {
        if self.key.1 != producer {
            producer.clone_into(&mut self.key.1);
        }
        if !all.contains_key(&self.key) {
            all.insert(self.key.clone(), Numbers::default());
        }
        all.get_mut(&self.key)
            .expect("it was inserted where it was missing")
    }
}

/// Counts the row's generated line, if it is one. Returns its producer and number where the text is not
/// what was generated.
pub(super) fn generated(
    row: &Row<'_>,
    generators: &mut BTreeMap<String, Numbers>,
    committed: bool,
) -> Option<(String, u64)> {
    let mut bad = None;
    for text in row.texts {
        match check(text) {
            Checked::Good { producer, n } => {
                entry(generators, producer).insert(n, committed);
                return None;
            }
            Checked::Bad { producer, n } => bad = bad.or(Some((producer, n))),
            Checked::Absent => {}
        }
    }
    let (producer, n) = bad?;
    let numbers = entry(generators, producer);
    numbers.bad += 1;
    // Its number may be wrong too, but then another one is missing.
    numbers.insert(n, committed);
    Some((producer.to_owned(), n))
}

fn entry<'a>(generators: &'a mut BTreeMap<String, Numbers>, producer: &str) -> &'a mut Numbers {
    if !generators.contains_key(producer) {
        generators.insert(producer.to_owned(), Numbers::default());
    }
    generators
        .get_mut(producer)
        .expect("it was inserted where it was missing")
}
