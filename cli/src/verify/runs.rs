//! A set of numbers, kept as runs of neighbours, so that a hundred million consecutive lines cost as much as
//! one. Counts what comes twice. Pure.

/// Runs are sorted and joined when so many have gathered: 32 MiB.
const COMPACT_AT: usize = 1 << 20;

/// A set of numbers that notices what is added twice.
#[derive(Clone, Debug, Default)]
pub(super) struct Runs {
    /// `[start, end)`; the first `sorted` are sorted, disjoint and not touching.
    ranges: Vec<(u128, u128)>,
    sorted: usize,
    twice: u64,
    /// A number that came twice, as an example.
    first_twice: Option<u128>,
}

impl Runs {
    /// Adds a number.
    pub(super) fn insert(&mut self, number: u128) {
        if self.ranges.len() > self.sorted
            && let Some(last) = self.ranges.last_mut()
            && last.1 == number
        {
            last.1 += 1;
            return;
        }
        if self.ranges.len() >= COMPACT_AT && self.ranges.len() >= 2 * self.sorted {
            self.compact();
        }
        self.ranges.push((number, number + 1));
    }

    /// Adds all numbers of another set.
    pub(super) fn merge(&mut self, mut other: Self) {
        other.compact();
        self.twice += other.twice;
        self.first_twice = self.first_twice.or(other.first_twice);
        self.ranges.append(&mut other.ranges);
        self.compact();
    }

    fn compact(&mut self) {
        self.ranges.sort_unstable();
        let mut joined: Vec<(u128, u128)> = Vec::new();
        for &(start, end) in &self.ranges {
            match joined.last_mut() {
                Some(last) if start <= last.1 => {
                    if start < last.1 {
                        self.twice += (last.1.min(end) - start) as u64;
                        self.first_twice = self.first_twice.or(Some(start));
                    }
                    last.1 = last.1.max(end);
                }
                _ => joined.push((start, end)),
            }
        }
        self.sorted = joined.len();
        self.ranges = joined;
    }

    /// What was added.
    pub(super) fn summary(&mut self) -> Summary {
        self.compact();
        let holes = self.ranges.windows(2).map(|pair| (pair[0].1, pair[1].0));
        Summary {
            first: self.ranges.first().map(|run| run.0 as u64),
            end: self.ranges.last().map(|run| run.1 as u64),
            distinct: self.ranges.iter().map(|run| (run.1 - run.0) as u64).sum(),
            missing: holes.clone().map(|(start, end)| (end - start) as u64).sum(),
            first_hole: holes
                .clone()
                .next()
                .map(|(start, end)| (start as u64, end as u64)),
            twice: self.twice,
            first_twice: self.first_twice,
        }
    }
}

/// What a set of numbers amounts to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Summary {
    /// The lowest number.
    pub(super) first: Option<u64>,
    /// One after the highest.
    pub(super) end: Option<u64>,
    /// How many different ones.
    pub(super) distinct: u64,
    /// How many are missing between the lowest and the highest.
    pub(super) missing: u64,
    /// The first range that is missing, `[start, end)`.
    pub(super) first_hole: Option<(u64, u64)>,
    /// How often a number came that was there already.
    pub(super) twice: u64,
    /// One of these.
    pub(super) first_twice: Option<u128>,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn holes_and_doubles_are_counted_in_any_order() {
        let mut runs = Runs::default();
        for number in [5, 6, 7, 0, 1, 6, 7, 12, 1] {
            runs.insert(number);
        }
        let summary = runs.summary();
        assert_eq!(
            (summary.first, summary.end, summary.distinct),
            (Some(0), Some(13), 6)
        );
        assert_eq!((summary.missing, summary.first_hole), (7, Some((2, 5))));
        assert_eq!((summary.twice, summary.first_twice), (3, Some(1)));
    }

    #[test]
    fn neighbours_cost_one_run_and_sets_can_be_merged_and_asked_at_any_time() {
        let mut even = Runs::default();
        let mut expected = BTreeSet::new();
        for number in 0..1000u128 {
            even.insert(number * 2);
            expected.insert(number * 2);
        }
        assert_eq!(even.summary().missing, 999);
        let mut odd = Runs::default();
        for number in 0..1001u128 {
            odd.insert(number * 2 + 1);
            expected.insert(number * 2 + 1);
        }
        odd.insert(2000);
        even.merge(odd);
        even.insert(4);
        assert_eq!(even.summary().distinct, expected.len() as u64 + 1);
        assert_eq!(even.summary().twice, 1);
        assert_eq!(even.ranges, [(0, 2002)]);
    }
}
