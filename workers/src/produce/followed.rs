//! One file that a lane reads. Every read takes the bytes before the offset along and compares them, so
//! that content which was replaced is noticed before a byte of it is taken. Reads files.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::tail::identity::{Place, SAMPLE_BYTES, read_full};
use crate::tail::position::{Likeness, Position};
use crate::tail::{FileState, Follow};

/// How much one read takes at most.
pub(super) const READ_BYTES: usize = 1 << 20;

/// A buffer of this size serves every file of a lane.
pub(super) const BUFFER_BYTES: usize = READ_BYTES + SAMPLE_BYTES;

const SHORTEST_WAIT: Duration = Duration::from_millis(5);

/// How a followed file can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Not found in this run, or gone.
    Nowhere,
    /// At its path.
    Named,
    /// Only the open handle leads to it.
    Nameless,
    /// Other content stands where it was; the registry looks for it.
    Overwritten,
}

/// A file of a lane.
// Each flag is a fact of its own; no two of them make one state.
#[allow(clippy::struct_excessive_bools)]
pub(super) struct Followed {
    pub(super) state: FileState,
    /// Where it begins, as long as neither the saved state nor the log knows the file.
    pub(super) start: Position,
    pub(super) standing: Standing,
    /// It has not been rotated away.
    pub(super) live: bool,
    pub(super) group: u64,
    pub(super) rank: u64,
    /// Nothing was left to take when it was read last.
    pub(super) at_end: bool,
    /// The end of the file as it was seen last.
    pub(super) seen_size: u64,
    pub(super) next_read: Instant,
    pub(super) last_growth: Instant,
    /// It could not be removed when it was done.
    pub(super) stays: bool,
    /// Since when complete lines wait for more to fill their block.
    pub(super) waiting_since: Option<Instant>,
    file: Option<File>,
    verified: bool,
}

/// What a read found.
pub(super) enum Bytes {
    /// The buffer holds what stands in `[from, to)`: new bytes. `last`: the file ends there.
    New { from: usize, to: usize, last: bool },
    /// The file is not at its path; the registry will find out.
    Missing,
    /// The file does not hold what was read before.
    Replaced,
}

impl Followed {
    pub(super) fn known(state: FileState, now: Instant) -> Self {
        Self {
            seen_size: state.position.offset,
            state,
            start: Position::default(),
            standing: Standing::Nowhere,
            live: false,
            group: 0,
            rank: 0,
            at_end: false,
            next_read: now,
            last_growth: now,
            stays: false,
            waiting_since: None,
            file: None,
            verified: false,
        }
    }

    pub(super) fn follow(&mut self, follow: Follow, now: Instant) {
        self.state.path = follow.path;
        self.state.place = Some(follow.place);
        self.state.head = follow.head;
        self.state.gone = false;
        if let Some(position) = follow.position {
            // It has shrunk to before its start: what comes behind its new end is wanted.
            if position.offset < self.start.offset {
                self.start = position.clone();
            }
            self.state.position = position;
        }
        self.standing = Standing::Named;
        self.live = follow.live;
        self.group = follow.group;
        self.rank = follow.rank;
        self.close();
        self.at_end = false;
        self.last_growth = now;
        self.next_read = now;
    }

    /// Goes back to what the log knows; `None`: it knows nothing of this file.
    pub(super) fn rewind(&mut self, position: Option<Position>, now: Instant) {
        self.state.position = position.unwrap_or_else(|| self.start.clone());
        self.verified = false;
        self.at_end = false;
        self.waiting_since = None;
        self.next_read = now;
    }

    pub(super) fn is_read(&self) -> bool {
        matches!(self.standing, Standing::Named | Standing::Nameless)
    }

    pub(super) fn is_open(&self) -> bool {
        self.file.is_some()
    }

    /// Goes on with an open file of `size` bytes that holds what was read, and has no name.
    pub(super) fn adopt(&mut self, file: File, size: u64, now: Instant) {
        self.file = Some(file);
        self.verified = false;
        self.standing = Standing::Nameless;
        self.live = false;
        self.seen_size = size;
        self.last_growth = now;
        self.look_again(now);
    }

    pub(super) fn close(&mut self) {
        self.file = None;
        self.verified = false;
    }

    /// Rotated away, read to its end, and without a new byte for `grace`.
    pub(super) fn is_finished(&self, now: Instant, grace: Duration) -> bool {
        !self.live && self.at_end && self.is_quiet(now, grace)
    }

    pub(super) fn is_quiet(&self, now: Instant, grace: Duration) -> bool {
        now.saturating_duration_since(self.last_growth) >= grace
    }

    /// Reads what is new.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Bytes> {
        if !self.open()? {
            return Ok(Bytes::Missing);
        }
        let file = self.file.as_ref().expect("it was opened above");
        let position = &mut self.state.position;
        if !self.verified {
            let size = file.metadata()?.len();
            if position.compare(self.state.head, file, size)? != Likeness::Same {
                return Ok(Bytes::Replaced);
            }
            position.load_tail(file)?;
            self.verified = true;
        }
        let tail = position.tail();
        let wanted = tail.len() + READ_BYTES;
        let start = position.offset - tail.len() as u64;
        let filled = read_full(file, start, &mut buffer[..wanted])?;
        if filled < tail.len() || buffer[..tail.len()] != *tail {
            return Ok(Bytes::Replaced);
        }
        let from = tail.len();
        let begins = |head: crate::tail::identity::Head| head.begins(&buffer[from..filled]);
        if position.offset == 0 && !self.state.head.is_none_or(begins) {
            return Ok(Bytes::Replaced);
        }
        Ok(Bytes::New {
            from,
            to: filled,
            last: filled < wanted,
        })
    }

    /// Opens the file at its path; `false` if it is not there.
    fn open(&mut self) -> io::Result<bool> {
        if self.file.is_some() {
            return Ok(true);
        }
        if self.standing == Standing::Nameless {
            return Ok(false);
        }
        let file = match File::open(&self.state.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        if self.state.place != Some(Place::of(&file.metadata()?)) {
            return Ok(false);
        }
        self.file = Some(file);
        Ok(true)
    }

    /// Reads at once; until then nobody knows whether its end is reached.
    pub(super) fn look_again(&mut self, now: Instant) {
        self.at_end = false;
        self.next_read = now;
    }

    /// Sets when to look again: soon while the file grows, seldom when it has been quiet for long.
    pub(super) fn schedule(&mut self, now: Instant, linger: Duration, longest: Duration) {
        let quiet = now.saturating_duration_since(self.last_growth);
        let mut wait = (quiet / 8).max(SHORTEST_WAIT).min(longest);
        if let Some(since) = self.waiting_since {
            wait = wait.min((since + linger).saturating_duration_since(now));
        }
        self.next_read = now + wait;
    }

    /// Whether only the open handle leads to it. Some file systems do not count the names of a file.
    pub(super) fn is_deleted(&self) -> bool {
        let links = self.file.as_ref().map(|file| Ok(file.metadata()?.nlink()));
        let uncounted = matches!(links, Some(io::Result::Ok(0)));
        let place = |path| io::Result::Ok(Place::of(&fs::metadata(path)?));
        uncounted && place(&self.state.path).ok() != self.state.place
    }

    /// The bytes that are known to be there behind the position.
    pub(super) fn unread(&self) -> u64 {
        self.seen_size.saturating_sub(self.state.position.offset)
    }

    /// The state with the hash of what was read last.
    pub(super) fn sealed(&mut self) -> FileState {
        self.state.position.seal();
        self.state.clone()
    }

    pub(super) fn path(&self) -> PathBuf {
        self.state.path.clone()
    }
}
