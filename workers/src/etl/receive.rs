//! The go-back-N receiver: which lines of a record are new. Pure, and the same for the ETL, for a
//! producer that scans its partition after a restart, and for the model that checks both.
//!
//! Of a record with lines `[first, end)` it takes those from `next` on when `first <= next < end`, and
//! drops the rest: they were taken before, or they come after a gap that their producer will fill. A
//! *fence* (a record without lines) begins a generation: whatever an older one writes behind it, however
//! late it lands, is dropped. A producer that starts gets its partition back by a [`Claim`]. See
//! `docs/adr/0002`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::log::key::BlockKey;

/// How far one producer key has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Progress {
    /// The generation that may write.
    #[serde(rename = "gen")]
    pub generation: u32,
    /// The sequence of the next new line; 0 while it is [`open`](Self::open).
    pub next: u64,
    /// Only fences were seen, and the records before them were gone: the next line of the producer is the next new
    /// one, whatever its sequence.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub open: bool,
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
        if std::mem::take(&mut self.open) {
            self.next = first;
        }
        if first > self.next {
            return Verdict::Gap { missing: self.next };
        }
        let end = first.saturating_add(u64::from(lines));
        if end <= self.next {
            return Verdict::Duplicate;
        }
        let skip = (self.next - first) as u32;
        self.next = end;
        Verdict::Take(skip)
    }
}

/// How a producer gets its partition back at a start. It writes the [`fence`](Self::fence), waits until
/// that is durable, reads the records of its own producer key from its saved place on, and hands each to
/// [`read`](Self::read) until that says [`Scan::Claimed`]. Then it goes on after
/// [`progress`](Self::progress), in the fence's generation. Before that it must not write a line.
///
/// Two starts may take the same generation, from the same saved state: so a fence counts only if the
/// log held no fence as high before it, and a producer must know its own fence by more than the
/// generation, which is what the nonce is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    progress: Progress,
    generation: u32,
    nonce: u64,
}

/// What one record meant for a [`Claim`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan {
    /// Another record than the claim's own fence, and what the receivers do with it. Of `Take` the
    /// producer must note where the record ends in its file: the next line of that file stands there.
    Record(Verdict),
    /// The claim's fence, and it counts.
    Claimed,
    /// The claim's fence, but another start had a fence as high before it, so it does not count. The
    /// claim has moved to a higher generation: write its [`fence`](Claim::fence) and read on.
    Outrun,
}

impl Claim {
    /// A claim that reads on from a saved place, at which `saved` was true (the default at the log's
    /// start, where nothing was saved). `nonce` must be drawn at random for each start.
    pub fn new(saved: Progress, nonce: u64) -> Self {
        Self {
            progress: saved,
            generation: saved.generation.saturating_add(1),
            nonce,
        }
    }

    /// The key of the fence that has to be written now.
    pub fn fence<'a>(&self, producer: &'a str) -> BlockKey<'a> {
        BlockKey::fence(producer, self.generation, self.nonce)
    }

    /// How far the receivers have come at the record that was read last.
    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// Takes the next record of the own producer key into account.
    pub fn read(&mut self, key: &BlockKey<'_>) -> Scan {
        let before = self.progress.generation;
        let verdict = self.progress.receive(key.generation, key.first, key.lines);
        if key.fence_of() != Some((self.generation, self.nonce)) {
            return Scan::Record(verdict);
        }
        if before < self.generation {
            return Scan::Claimed;
        }
        self.generation = before.saturating_add(1);
        Scan::Outrun
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(generation: u32, first: u64, lines: u32) -> BlockKey<'static> {
        BlockKey {
            generation,
            first,
            lines,
            ..BlockKey::fence("demo-0", generation, 0)
        }
    }

    #[test]
    fn a_claim_goes_on_after_the_last_line_that_was_taken_before_its_fence() {
        let mut claim = Claim::new(Progress::default(), 7);
        assert_eq!(claim.read(&block(0, 0, 2)), Scan::Record(Verdict::Take(0)));
        assert_eq!(
            claim.read(&block(0, 3, 1)),
            Scan::Record(Verdict::Gap { missing: 2 })
        );
        let fence = claim.fence("demo-0");
        assert_eq!(claim.read(&fence), Scan::Claimed);
        assert_eq!(
            claim.progress(),
            Progress {
                generation: 1,
                next: 2,
                ..Progress::default()
            }
        );
    }

    #[test]
    fn of_two_starts_with_one_generation_the_later_fence_does_not_count() {
        let mut first = Claim::new(Progress::default(), 7);
        let mut second = Claim::new(Progress::default(), 8);
        let (one, two) = (first.fence("demo-0"), second.fence("demo-0"));
        assert_eq!(one.generation, two.generation);
        assert_eq!(first.read(&one), Scan::Claimed);
        assert_eq!(second.read(&one), Scan::Record(Verdict::Fence));
        assert_eq!(second.read(&two), Scan::Outrun);
        let higher = second.fence("demo-0");
        assert_eq!(second.read(&block(1, 0, 4)), Scan::Record(Verdict::Take(0)));
        assert_eq!(second.read(&higher), Scan::Claimed);
        assert_eq!(
            second.progress(),
            Progress {
                generation: 2,
                next: 4,
                ..Progress::default()
            }
        );
    }

    #[test]
    fn no_number_in_a_key_makes_the_receiver_panic() {
        let mut progress = Progress {
            generation: 1,
            next: u64::MAX - 1,
            ..Progress::default()
        };
        assert_eq!(
            progress.receive(u32::MAX, u64::MAX - 1, u32::MAX),
            Verdict::Take(0)
        );
        let mut claim = Claim::new(progress, 7);
        let fence = claim.fence("demo-0");
        assert_eq!(claim.read(&fence), Scan::Outrun);
    }

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
                next: 7,
                ..Progress::default()
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
