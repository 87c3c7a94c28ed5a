//! What a state is made of.

use std::collections::HashSet;
use std::hash::{Hash, Hasher};

use logpipe_workers::etl::receive::Claim;
use logpipe_workers::log::key::BlockKey;

use crate::explore::FastHasher;

pub(super) const KEY: &str = "lane-0";
pub(super) const FILES: usize = 2;

/// Lines read of each file.
pub(super) type Places = [u8; FILES];

/// Logs and places.
pub(super) type Checked = HashSet<(Vec<Record>, Option<Saved>), FastHasher>;

/// A record in flight or in the log. A fence has no lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Which start wrote it, for fences.
    pub(super) by: u8,
    pub(super) generation: u32,
    pub(super) first: u8,
    pub(super) lines: u8,
    pub(super) file: u8,
    pub(super) place: u8,
}

/// What a producer saves: at `from` in the log, `progress` was true and the files were read to `places`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Saved {
    pub(super) from: usize,
    pub(super) generation: u32,
    pub(super) next: u64,
    pub(super) places: Places,
}

/// One start of the producer.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Start {
    /// It was killed; what is in flight may still land. Nothing else of it is kept.
    pub(super) dead: bool,
    /// It holds the lock: all starts before it were dead when it began. Only then it may save.
    pub(super) locked: bool,
    /// Until its fence counts.
    pub(super) claim: Option<Claim>,
    /// Where it reads on in the log while it claims.
    pub(super) scanned: usize,
    pub(super) generation: u32,
    pub(super) next: u64,
    pub(super) places: Places,
    pub(super) in_flight: Vec<Record>,
    /// The sequence before which every line has landed, and the places there.
    pub(super) acknowledged: (u64, Places),
    /// The end of the log at one moment, and what was sent by then.
    pub(super) noted: Option<(usize, u64, Places)>,
    pub(super) failed: bool,
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(super) log: Vec<Record>,
    pub(super) starts: Vec<Start>,
    pub(super) saved: Vec<Saved>,
    pub(super) overlaps: usize,
    pub(super) losses: usize,
}

#[derive(Clone, Copy, Debug)]
#[expect(dead_code, reason = "the fields are printed in traces")]
pub(crate) enum Step {
    /// A producer starts with what was saved, or with nothing, and sends its fence. It is `alone`, or
    /// the earlier ones go on beside it.
    Begin { loaded: Option<Saved>, alone: bool },
    /// It reads the log up to its fence.
    Claim { start: usize },
    /// It sends the next lines of a file.
    Send {
        start: usize,
        file: usize,
        lines: u8,
    },
    /// Its oldest record in flight lands, with acknowledgement.
    Land { start: usize },
    /// Its oldest record in flight is given up.
    Lose { start: usize },
    /// It notes the end of the log.
    Note { start: usize },
    /// It saves its place.
    Save { start: usize, saved: Saved },
}

/// One word a record: hashing is where the search spends its time.
impl Hash for Record {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let bytes = [
            self.by, self.first, self.lines, self.file, self.place, 0, 0, 0,
        ];
        hasher.write_u64(u64::from_le_bytes(bytes) ^ u64::from(self.generation) << 40);
    }
}

impl Record {
    pub(super) fn key(&self, nonces: bool) -> BlockKey<'static> {
        let nonce = if nonces { u64::from(self.by) + 1 } else { 0 };
        let file = if self.lines == 0 {
            nonce
        } else {
            u64::from(self.file)
        };
        BlockKey {
            first: u64::from(self.first),
            lines: u32::from(self.lines),
            file_offset: u64::from(self.place),
            ..BlockKey::fence(KEY, self.generation, file)
        }
    }
}
pub(super) fn fence(by: u8, claim: &Claim) -> Record {
    Record {
        by,
        generation: claim.fence(KEY).generation,
        first: 0,
        lines: 0,
        file: 0,
        place: 0,
    }
}
