//! Decides which file on the disk continues which known file. One registry serves all lanes, because a
//! rotated file or its copy may have been read by any of them.
//!
//! At each look, every file found is taken for the first of these that holds:
//! 1. a file that is followed (same device, inode and birth time), perhaps under a new name;
//! 2. a known file that is not followed: same place, or the id that this place gives, and the bytes before
//!    the remembered offset stand there;
//! 3. the continuation of a known file that vanished or was overwritten: same head, same bytes before the
//!    offset, but another place (a copy made by copytruncate, a new device number);
//! 4. a copy of a file that is still followed: held back;
//! 5. a new file.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use logpipe_api::pipeline::StartAt;

use super::discover::{Candidate, DiscoverError, Snapshot, discover, is_deleted};
use super::identity::{FileId, Place};
use super::names::rotated;
use super::{FileState, Note, Order, Starts};

mod copies;
mod resume;

use copies::Copy;

/// How long a rest that cannot be unpacked waits: each attempt may fill the disk for a while.
const SHORTEST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_mins(10);

/// All files that the lanes of a producer know.
pub struct Registry {
    patterns: Vec<String>,
    start_at: StartAt,
    lanes: u32,
    known: HashMap<FileId, Known>,
    /// The files that are followed and have a name.
    places: HashMap<Place, FileId>,
    /// Files that differed from a followed one which begins like them; `true` once the followed one was
    /// found to be intact after that.
    suspects: HashMap<(Place, FileId), bool>,
    /// Files that were seen to be copies of followed ones, and whose.
    copies: HashMap<Place, FileId>,
    /// Copies that must not be read, as they were when they were found to be ones still.
    confirmed: HashMap<Place, (u64, (i64, i64))>,
    /// Live files without a complete first line, at this look: their logs and bytes.
    unready: Vec<(PathBuf, Vec<u8>)>,
    warned: HashSet<PathBuf>,
    /// What could not be looked at, at this look.
    faults: HashSet<String>,
    /// The files that could not be opened, at this look.
    shut: HashSet<Place>,
    fresh_lanes: u32,
    /// Where the files began that were there at the very first start.
    starts: Option<Starts>,
    /// This look is that of the very first start, and files begin at their ends.
    at_ends: bool,
    looks: u64,
    finishing: bool,
}

struct Known {
    lane: u32,
    /// Path, place and head as of now; the position as of the time when the lane last followed it.
    file: FileState,
    base: PathBuf,
    live: bool,
    size: u64,
    /// The look that found it as a new file.
    begun: u64,
    /// It was not followed since the machine was started again: its end may never have reached the disk.
    may_be_cut: bool,
    status: Status,
    /// How long the last attempt to unpack its rest is waited after, and until when.
    pause: Duration,
    not_before: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    /// No file on the disk is known to be it.
    Absent,
    /// Its lane reads it.
    Followed,
    /// Its lane reads it through an open handle; it has no name.
    Nameless,
    /// Its lane reads its rest from what was unpacked; it has no name.
    Unpacked,
    /// Other content stands where it was.
    Overwritten,
}

impl Status {
    fn is_read(self) -> bool {
        matches!(self, Self::Followed | Self::Nameless | Self::Unpacked)
    }
}

/// What a look at the disk came to.
#[derive(Debug, Default)]
pub struct Look {
    /// What to tell which lane, in order.
    pub orders: Vec<(u32, Order)>,
    /// Where files begin, when this was the very first look: to be kept before a lane is told anything.
    pub starts: Option<Starts>,
    /// The paths and globs for which there is no file.
    pub missing: Vec<String>,
    /// Files are held back until it is clear what they are.
    pub undecided: bool,
}

impl Look {
    fn tell(&mut self, lane: u32, order: Order) {
        self.orders.push((lane, order));
    }
}

impl Registry {
    /// A registry that knows no file yet. `lanes` is at least 1.
    pub fn new(patterns: Vec<String>, start_at: StartAt, lanes: u32) -> Self {
        Self {
            patterns,
            start_at,
            lanes,
            known: HashMap::new(),
            places: HashMap::new(),
            suspects: HashMap::new(),
            copies: HashMap::new(),
            confirmed: HashMap::new(),
            unready: Vec::new(),
            warned: HashSet::new(),
            faults: HashSet::new(),
            shut: HashSet::new(),
            fresh_lanes: 0,
            starts: None,
            at_ends: false,
            looks: 0,
            finishing: false,
        }
    }

    /// There was a first start before, and files began there.
    pub fn began(&mut self, starts: Starts) {
        self.starts = Some(starts);
    }

    /// From now on, files without a complete first line are taken too.
    pub fn finish(&mut self) {
        self.finishing = true;
    }

    /// How many files the lanes follow.
    pub fn following(&self) -> u64 {
        let read = self.known.values().filter(|known| known.status.is_read());
        read.count() as u64
    }

    /// Takes note of what a lane said. [`Note::AtEnd`] is none of the registry's business.
    pub fn note(&mut self, note: Note) {
        match note {
            Note::Known {
                lane,
                files,
                fresh,
                rebooted,
            } => {
                self.fresh_lanes += u32::from(fresh);
                for file in files {
                    let known = Known {
                        lane,
                        base: file.path.clone(),
                        live: false,
                        size: 0,
                        begun: 0,
                        may_be_cut: rebooted,
                        status: Status::Absent,
                        pause: Duration::ZERO,
                        not_before: None,
                        file,
                    };
                    self.known.insert(known.file.id, known);
                }
            }
            Note::Broken(file) => self.part_with(file, Status::Overwritten),
            Note::Closed(file) => self.part_with(file, Status::Absent),
            Note::Later(file) => {
                let id = file.id;
                self.part_with(file, Status::Absent);
                if let Some(known) = self.known.get_mut(&id) {
                    known.pause = (known.pause * 2).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
                    known.not_before = Some(Instant::now() + known.pause);
                }
            }
            Note::Intact(id) => {
                let suspects = self.suspects.iter_mut().filter(|((_, of), _)| *of == id);
                suspects.for_each(|(_, cleared)| *cleared = true);
            }
            Note::Removed(id) => {
                if let Some(place) = self.known.remove(&id).and_then(|known| known.file.place) {
                    self.leave(place, id);
                }
                self.suspects.retain(|(_, of), _| *of != id);
                self.copies.retain(|_, of| *of != id);
            }
            Note::AtEnd { .. } => {}
        }
    }

    fn part_with(&mut self, file: FileState, status: Status) {
        if let Some(place) = file.place {
            self.leave(place, file.id);
        }
        if let Some(known) = self.known.get_mut(&file.id) {
            known.file = file;
            known.status = status;
            known.may_be_cut = false;
        }
    }

    fn leave(&mut self, place: Place, id: FileId) {
        if self.places.get(&place) == Some(&id) {
            self.places.remove(&place);
        }
    }

    /// Looks at the disk and decides. The notes that were taken before are older than what it sees.
    pub fn look(&mut self) -> Result<Look, DiscoverError> {
        let mut snapshot = discover(&self.patterns)?;
        self.keep_siblings(&mut snapshot);
        self.looks += 1;
        self.judge(std::mem::take(&mut snapshot.faults))?;
        self.shut.clear();
        self.at_ends =
            self.is_very_first() && self.start_at == StartAt::End && self.starts.is_none();
        let mut look = Look {
            missing: snapshot.missing.clone(),
            ..Look::default()
        };
        let unknown = self.recognise(&snapshot, &mut look);
        let mut found = Vec::new();
        for (rank, candidate) in unknown {
            found.extend(self.open(rank, candidate)?);
        }
        self.unready.clear();
        let found = self.resume(found, &mut look)?;
        // The live files first: what is a copy of one is no file of its own. Ranks keep the order.
        let (live, siblings): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|file| file.candidate.live);
        for file in live {
            if !self.continue_elsewhere(&file, &mut look)? {
                self.begin(&file, &mut look)?;
            }
        }
        for file in siblings {
            match self.copy_of_followed(&file, &mut look)? {
                Copy::Yes => {}
                Copy::Perhaps => look.undecided = true,
                Copy::No if self.continue_elsewhere(&file, &mut look)? => {}
                Copy::No => self.begin(&file, &mut look)?,
            }
        }
        if !look.undecided {
            self.give_up(&snapshot, &mut look);
        }
        if self.at_ends {
            look.starts = Some(self.starts.get_or_insert_default().clone());
        }
        Ok(look)
    }

    /// Nobody has seen this work yet, so who reads the error is there to mend it.
    pub(super) fn is_very_first(&self) -> bool {
        self.looks == 1 && self.fresh_lanes == self.lanes
    }

    /// What cannot be looked at is an error when it was asked for now; later it must not stop the others.
    fn judge(&mut self, faults: Vec<DiscoverError>) -> Result<(), DiscoverError> {
        let mut now = HashSet::new();
        for fault in faults {
            let unreadable = matches!(fault, DiscoverError::Unreadable { .. });
            if self.is_very_first() || (self.looks == 1 && !unreadable) {
                return Err(fault);
            }
            if !self.faults.contains(fault.path()) && !now.contains(fault.path()) {
                let error = &fault as &dyn std::error::Error;
                tracing::warn!(
                    error,
                    "a path cannot be looked at; it is tried again until it can"
                );
            }
            now.insert(fault.path().to_owned());
        }
        self.faults = now;
        Ok(())
    }

    /// While a log is not there, a glob names its rotated files as if each were a log of its own.
    fn keep_siblings(&self, snapshot: &mut Snapshot) {
        let logs: HashSet<&Path> = self.known.values().map(|known| &*known.base).collect();
        for candidate in snapshot.candidates.iter_mut().filter(|file| file.live) {
            let name = candidate.path.file_name().unwrap_or_default();
            let mut of = rotated(name.to_str().unwrap_or_default())
                .map(|(log, _)| candidate.path.with_file_name(log));
            if let Some(log) = of.find(|log| logs.contains(&**log)) {
                drop(of);
                candidate.base = log;
                candidate.live = false;
            }
        }
    }

    /// Finds the files that are followed, wherever they are now, and returns the others with their rank.
    fn recognise(&mut self, snapshot: &Snapshot, look: &mut Look) -> Vec<(u64, Candidate)> {
        self.find_returned(snapshot, look);
        let copies: HashMap<Place, FileId> = self
            .known
            .values()
            .flat_map(|known| known.file.copies.iter().map(|copy| (*copy, known.file.id)))
            .collect();
        self.confirmed.retain(|place, _| copies.contains_key(place));
        let mut seen = HashSet::new();
        let mut unknown = Vec::new();
        for (index, candidate) in snapshot.candidates.iter().enumerate() {
            if let Some(&id) = self.places.get(&candidate.place) {
                seen.insert(id);
                self.moved(id, candidate, look);
                continue;
            }
            let of = copies.get(&candidate.place);
            if !of.is_some_and(|of| self.is_still_copy(*of, candidate, look)) {
                unknown.push((self.rank(index), candidate.clone()));
            }
        }
        self.find_renamed(snapshot, &seen, &mut unknown, look);
        unknown
    }

    /// Files without a name that have one again. Their lanes have them open, so nothing else can have their
    /// places; a lane that has closed one says so, and it is resumed after that.
    fn find_returned(&mut self, snapshot: &Snapshot, look: &mut Look) {
        let nameless = |known: &&mut Known| known.status == Status::Nameless;
        for known in self.known.values_mut().filter(nameless) {
            let is_it = |candidate: &&Candidate| known.file.place == Some(candidate.place);
            let Some(candidate) = snapshot.candidates.iter().find(is_it) else {
                continue;
            };
            if let Entry::Vacant(place) = self.places.entry(candidate.place) {
                place.insert(known.file.id);
                known.status = Status::Followed;
                known.file.path.clone_from(&candidate.path);
                known.live = candidate.live;
                let order = Order::Moved {
                    id: known.file.id,
                    path: candidate.path.clone(),
                    live: candidate.live,
                };
                look.tell(known.lane, order);
            }
        }
    }

    /// Later looks rank behind earlier ones, and within a look the oldest file comes first.
    fn rank(&self, index: usize) -> u64 {
        (self.looks << 32) | index as u64
    }

    fn moved(&mut self, id: FileId, candidate: &Candidate, look: &mut Look) {
        let Some(known) = self.known.get_mut(&id) else {
            return;
        };
        known.base.clone_from(&candidate.base);
        if known.file.path != candidate.path || known.live != candidate.live {
            known.file.path.clone_from(&candidate.path);
            known.live = candidate.live;
            let (path, live) = (candidate.path.clone(), candidate.live);
            look.tell(known.lane, Order::Moved { id, path, live });
        }
        if known.size != candidate.size {
            known.size = candidate.size;
            look.tell(known.lane, Order::Touched(id));
        }
    }

    /// Files that no path, glob or rotated name leads to any more: they have another name in their
    /// folder, or none.
    fn find_renamed(
        &mut self,
        snapshot: &Snapshot,
        seen: &HashSet<FileId>,
        unknown: &mut Vec<(u64, Candidate)>,
        look: &mut Look,
    ) {
        let mut missed: Vec<FileId> = self.known.keys().copied().collect();
        missed.retain(|id| !seen.contains(id));
        for id in missed {
            let known = &self.known[&id];
            let Some(place) = known.file.place else {
                continue;
            };
            let renamed = snapshot.names.get(&(place.device, place.inode));
            let renamed = renamed.and_then(|path| stat(path, &known.base));
            let renamed = renamed.filter(|candidate| candidate.place == place);
            match (known.status, renamed) {
                (Status::Followed, Some(candidate)) => self.moved(id, &candidate, look),
                (Status::Followed, None) if is_away(&known.file, snapshot) => {
                    look.tell(known.lane, Order::Vanished(id));
                    self.leave(place, id);
                    self.set_status(id, Status::Nameless);
                }
                (Status::Absent, Some(candidate)) => {
                    let listed = unknown.iter().any(|(_, other)| other.place == place);
                    if !listed && !self.places.contains_key(&place) {
                        unknown.insert(0, (self.rank(0), candidate));
                    }
                }
                _ => {}
            }
        }
    }

    fn set_status(&mut self, id: FileId, status: Status) {
        if let Some(known) = self.known.get_mut(&id) {
            known.status = status;
        }
    }
}

/// Whether a file that was not found is not there any more. A folder that cannot be listed may be one that is
/// not mounted yet.
fn is_away(file: &FileState, snapshot: &Snapshot) -> bool {
    let folder = file.path.parent().unwrap_or(Path::new(""));
    let device = file.place.map(|place| place.device);
    snapshot.folders.contains(folder) || device.is_some_and(|device| is_deleted(&file.path, device))
}

/// A file that was renamed to something that is no rotated name.
fn stat(path: &Path, base: &Path) -> Option<Candidate> {
    let metadata = std::fs::metadata(path).ok()?;
    metadata.is_file().then(|| Candidate {
        path: path.to_owned(),
        place: Place::of(&metadata),
        size: metadata.len(),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
        base: base.to_owned(),
        live: false,
    })
}
