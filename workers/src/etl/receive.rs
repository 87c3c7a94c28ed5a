//! The go-back-N receiver: which lines of a record are new. Pure, and the same for the ETL, for a
//! producer that scans its partition after a restart, and for the model that checks both.
//!
//! Of a record with lines `[first, end)` it takes those from `next` on when `first <= next < end`, and
//! drops the rest: they were taken before, or they come after a gap that their producer will fill. A
//! *fence* (a record without lines) begins a generation: whatever an older one writes behind it, however
//! late it lands, is dropped. See `docs/adr/0002`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How far one producer key has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Progress {
    /// The generation that may write.
    #[serde(rename = "gen")]
    pub generation: u32,
    /// The sequence of the next new line.
    pub next: u64,
}

/// Progress by producer key.
pub type Producers = BTreeMap<String, Progress>;

/// What to do with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The lines from this one on are new (0 is the record's first line).
    Take(u32),
    /// A fence: nothing to take.
    Fence,
    /// Every line was taken before.
    Duplicate,
    /// An older generation wrote it, behind the fence.
    Fenced,
    /// Lines `[next, first)` are missing; the producer will send them again, and these too.
    Gap {
        /// The first missing line.
        missing: u64,
    },
}

impl Progress {
    /// Decides about the record `[first, first + lines)` of `generation`, and moves on.
    pub fn receive(&mut self, generation: u32, first: u64, lines: u32) -> Verdict {
        if generation < self.generation {
            return Verdict::Fenced;
        }
        self.generation = generation;
        if lines == 0 {
            return Verdict::Fence;
        }
        let end = first + u64::from(lines);
        if first > self.next {
            return Verdict::Gap { missing: self.next };
        }
        if end <= self.next {
            return Verdict::Duplicate;
        }
        let skip = (self.next - first) as u32;
        self.next = end;
        Verdict::Take(skip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_taken_once_whatever_the_borders_of_the_blocks() {
        let mut progress = Progress::default();
        assert_eq!(progress.receive(1, 0, 3), Verdict::Take(0));
        assert_eq!(progress.receive(1, 0, 3), Verdict::Duplicate);
        assert_eq!(progress.receive(1, 2, 4), Verdict::Take(1));
        assert_eq!(progress.receive(1, 7, 1), Verdict::Gap { missing: 6 });
        assert_eq!(progress.receive(1, 6, 1), Verdict::Take(0));
        assert_eq!(
            progress,
            Progress {
                generation: 1,
                next: 7
            }
        );
    }

    #[test]
    fn an_older_generation_writes_in_vain_behind_the_fence() {
        let mut progress = Progress::default();
        assert_eq!(progress.receive(1, 0, 2), Verdict::Take(0));
        assert_eq!(progress.receive(2, 0, 0), Verdict::Fence);
        assert_eq!(progress.receive(1, 2, 5), Verdict::Fenced);
        assert_eq!(progress.receive(2, 2, 1), Verdict::Take(0));
    }
}
