//! Known files are found again, and new ones begin.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Known, Look, Registry, Status, is_away};
use crate::tail::discover::{Candidate, DiscoverError, Snapshot};
use crate::tail::identity::{FileId, Head, Place, SAMPLE_BYTES, file_id, hash, read_range};
use crate::tail::names::rotated;
use crate::tail::position::{Likeness, Position};
use crate::tail::{FileState, Follow, Order};

/// A file on the disk that no lane follows yet.
pub(super) struct Found {
    pub(super) candidate: Candidate,
    pub(super) file: File,
    /// Its first bytes, at most [`SAMPLE_BYTES`].
    pub(super) start: Vec<u8>,
    rank: u64,
    /// `None` while its first line is not complete.
    head: Option<Head>,
}

pub(super) fn unreadable(path: &Path, source: io::Error) -> DiscoverError {
    DiscoverError::Unreadable {
        path: path.display().to_string(),
        source,
    }
}

impl Registry {
    /// Opens a file; `None` if it is gone, or is another one by now. One that cannot be read is an error
    /// at the very first look; later it is tried again at each look.
    pub(super) fn open(
        &mut self,
        rank: u64,
        mut candidate: Candidate,
    ) -> Result<Option<Found>, DiscoverError> {
        let opened = File::open(&candidate.path).and_then(|file| {
            let metadata = file.metadata()?;
            let start = read_range(&file, 0, SAMPLE_BYTES)?;
            Ok((file, metadata, start))
        });
        let (file, metadata, start) = match opened {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if self.is_very_first() => return Err(unreadable(&candidate.path, error)),
            Err(error) => {
                self.shut.insert(candidate.place);
                if self.warned.insert(candidate.path.clone()) {
                    let path = candidate.path.display();
                    tracing::warn!(%path, %error, "cannot read a file; it is tried again until it can be read");
                }
                return Ok(None);
            }
        };
        if Place::of(&metadata) != candidate.place {
            return Ok(None);
        }
        self.warned.remove(&candidate.path);
        candidate.size = metadata.len();
        let head = Head::of(&start, self.finishing || !candidate.live);
        Ok(Some(Found {
            candidate,
            file,
            start,
            rank,
            head,
        }))
    }

    /// Known files at the place where they were, or at the one that their id tells. Returns the files
    /// that are none of them, without those that have no identity yet.
    pub(super) fn resume(
        &mut self,
        found: Vec<Found>,
        look: &mut Look,
    ) -> Result<Vec<Found>, DiscoverError> {
        let mut rest = Vec::new();
        for file in found {
            let place = file.candidate.place;
            // It has come back, and its lane reads on in what was unpacked: from where, is known after that.
            if self.is_being_unpacked(&file)? {
                look.undecided = true;
                continue;
            }
            let mut ids: Vec<FileId> = self
                .known
                .values()
                .filter(|known| known.file.place == Some(place) && !known.status.is_read())
                .map(|known| known.file.id)
                .collect();
            // The one that was read farthest is the last that was there.
            ids.sort_by_key(|id| std::cmp::Reverse(self.known[id].file.position.offset));
            if let Some(head) = file.head {
                let salted = (0..).map(|salt| file_id(&place, head, salt));
                let salted = salted.take_while(|id| self.known.contains_key(id));
                ids.extend(salted.filter(|id| {
                    let known = &self.known[id];
                    known.file.place.is_none() && !known.status.is_read()
                }));
            }
            if self.resume_one_of(&ids, &file, look)? {
                continue;
            }
            if file.head.is_some() {
                rest.push(file);
            } else if !file.start.is_empty() {
                self.unready.push((file.candidate.base, file.start));
            }
        }
        Ok(rest)
    }

    /// Whether a file has the content of one whose rest is being read from elsewhere. More than its head is
    /// known of such a one; its place need not be.
    fn is_being_unpacked(&self, file: &Found) -> Result<bool, DiscoverError> {
        for (id, known) in &self.known {
            if known.status == Status::Unpacked && self.likeness(*id, file)? != Likeness::Other {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn resume_one_of(
        &mut self,
        ids: &[FileId],
        file: &Found,
        look: &mut Look,
    ) -> Result<bool, DiscoverError> {
        for &id in ids {
            match self.likeness(id, file)? {
                Likeness::Same => {
                    self.follow(id, file, None, look);
                    return Ok(true);
                }
                Likeness::Shorter if self.known[&id].may_be_cut => {
                    let path = &file.candidate.path;
                    let mut position = self.known[&id].file.position.clone();
                    let before = position.offset;
                    let went = position.go_back(&file.file, file.candidate.size);
                    went.map_err(|error| unreadable(path, error))?;
                    let (path, from) = (path.display(), position.offset);
                    tracing::warn!(%path, from, before, "a file lost its end when the machine stopped; it is read again from the last line that is surely as it was");
                    self.follow(id, file, Some(position), look);
                    return Ok(true);
                }
                // Who opens a log with truncation often writes the same first lines again.
                _ if self.known[&id].file.gone => {}
                _ => self.overwritten(id),
            }
        }
        Ok(false)
    }

    fn overwritten(&mut self, id: FileId) {
        if let Some(known) = self.known.get_mut(&id) {
            known.status = Status::Overwritten;
            known.may_be_cut = false;
        }
    }

    pub(super) fn likeness(&self, id: FileId, file: &Found) -> Result<Likeness, DiscoverError> {
        let known = &self.known[&id].file;
        known
            .position
            .compare(known.head, &file.file, file.candidate.size)
            .map_err(|error| unreadable(&file.candidate.path, error))
    }

    /// Whether a file has the content of a known one that vanished or was overwritten.
    pub(super) fn continue_elsewhere(
        &mut self,
        file: &Found,
        look: &mut Look,
    ) -> Result<bool, DiscoverError> {
        let may_continue = |known: &&Known| {
            let state = &known.file;
            let same_log = belongs_to(&state.path, &file.candidate.base);
            let rotated = !state.gone && same_log && !file.candidate.live;
            !known.status.is_read()
                && state.head.is_none_or(|head| head.begins(&file.start))
                && (rotated || state.position.knows_more_than(state.head))
        };
        let known = self.known.values().filter(may_continue);
        let mut ids: Vec<FileId> = known.map(|known| known.file.id).collect();
        ids.sort_by_key(|id| {
            let known = &self.known[id].file;
            let elsewhere = known.path != file.candidate.path;
            (elsewhere, std::cmp::Reverse(known.position.offset))
        });
        self.continue_one_of(&ids, file, look)
    }

    fn continue_one_of(
        &mut self,
        ids: &[FileId],
        file: &Found,
        look: &mut Look,
    ) -> Result<bool, DiscoverError> {
        for &id in ids {
            let likeness = self.likeness(id, file)?;
            let Some(known) = self.known.get_mut(&id) else {
                continue;
            };
            if likeness == Likeness::Same {
                self.follow(id, file, None, look);
                return Ok(true);
            }
            let place = file.candidate.place;
            let seen = self.copies.get(&place) == Some(&id);
            let copy = is_early_copy(&known.file, file, likeness, seen);
            if copy.map_err(|error| unreadable(&file.candidate.path, error))? {
                known.file.copies.push(place);
                look.tell(known.lane, Order::Copied { id, place });
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Known files of which nothing was found.
    pub(super) fn give_up(&mut self, snapshot: &Snapshot, look: &mut Look) {
        for known in self.known.values_mut() {
            let file = &mut known.file;
            let id = file.id;
            if file.place.is_some_and(|place| self.shut.contains(&place)) {
                continue; // it is there, and cannot be read now
            }
            let waits = known.not_before.is_some_and(|time| Instant::now() < time);
            if waits && !self.finishing {
                continue;
            }
            let given_up = match known.status {
                Status::Overwritten => true,
                Status::Absent => !file.gone && is_away(file, snapshot),
                Status::Followed | Status::Nameless | Status::Unpacked => false,
            };
            if !given_up {
                continue;
            }
            let same_log = |(_, base): &&(PathBuf, PathBuf)| belongs_to(&file.path, base);
            let compressed = snapshot.compressed.iter().filter(same_log);
            let from: Vec<PathBuf> = compressed.map(|(path, _)| path.clone()).collect();
            // Many files begin alike, and most compressed ones were read before.
            if file.position.knows_more_than(file.head) && !from.is_empty() {
                known.status = Status::Unpacked;
                look.tell(known.lane, Order::Unpack { id, from });
            } else {
                known.status = Status::Absent;
                file.gone = true;
                look.tell(known.lane, Order::GiveUp(id));
            }
        }
    }

    /// A new file.
    pub(super) fn begin(&mut self, file: &Found, look: &mut Look) -> Result<(), DiscoverError> {
        let Some(head) = file.head else {
            return Ok(());
        };
        let place = file.candidate.place;
        let id = (0..u32::MAX)
            .map(|salt| file_id(&place, head, salt))
            .find(|id| !self.known.contains_key(id))
            .expect("there are more salts than files");
        let position = self.start_of(id, head, file);
        let position = position.map_err(|error| unreadable(&file.candidate.path, error))?;
        let known = Known {
            lane: (id % u64::from(self.lanes)) as u32,
            file: FileState {
                id,
                path: file.candidate.path.clone(),
                place: Some(place),
                head: Some(head),
                position: position.clone(),
                copies: Vec::new(),
                gone: false,
            },
            base: file.candidate.base.clone(),
            live: file.candidate.live,
            size: file.candidate.size,
            begun: self.looks,
            may_be_cut: false,
            status: Status::Absent,
            pause: Duration::ZERO,
            not_before: None,
        };
        self.known.insert(id, known);
        self.follow(id, file, Some(position), look);
        Ok(())
    }

    /// Where a new file begins.
    fn start_of(&mut self, id: FileId, head: Head, file: &Found) -> io::Result<Position> {
        let size = file.candidate.size;
        if self.at_ends {
            let mut start = Position::at(after_last_line(&file.file, size)?);
            start.load_tail(&file.file)?;
            start.seal();
            let starts = self.starts.get_or_insert_default();
            starts.insert(id, start.clone());
            return Ok(start);
        }
        let start = self.starts.as_ref().and_then(|starts| starts.get(&id));
        match start {
            // The id alone may be that of another file which has the inode now and begins alike.
            Some(start) if start.compare(Some(head), &file.file, size)? == Likeness::Same => {
                Ok(start.clone())
            }
            _ => Ok(Position::default()),
        }
    }

    fn follow(&mut self, id: FileId, file: &Found, position: Option<Position>, look: &mut Look) {
        let Some(known) = self.known.get_mut(&id) else {
            return;
        };
        let candidate = &file.candidate;
        known.file.path.clone_from(&candidate.path);
        known.file.place = Some(candidate.place);
        known.file.head = known.file.head.or(file.head);
        known.file.gone = false;
        known.base.clone_from(&candidate.base);
        known.live = candidate.live;
        known.size = candidate.size;
        known.status = Status::Followed;
        known.may_be_cut = false;
        self.places.insert(candidate.place, id);
        self.copies.remove(&candidate.place);
        self.suspects
            .retain(|(place, _), _| *place != candidate.place);
        let follow = Follow {
            id,
            path: candidate.path.clone(),
            place: candidate.place,
            head: known.file.head,
            live: candidate.live,
            group: hash(candidate.base.as_os_str().as_encoded_bytes()),
            rank: file.rank,
            position,
        };
        look.tell(known.lane, Order::Follow(Box::new(follow)));
    }
}

/// Whether a file is a copy of a known one that was made before that was truncated, and lacks what was read
/// after: it was seen to be one, or its end is marked. That it begins alike is not enough, not even for many
/// lines: a program may write the same ones at each start.
fn is_early_copy(
    known: &FileState,
    file: &Found,
    likeness: Likeness,
    seen: bool,
) -> io::Result<bool> {
    let size = file.candidate.size;
    let position = &known.position;
    let sibling = !file.candidate.live && belongs_to(&known.path, &file.candidate.base);
    if !sibling || size >= position.offset {
        return Ok(false);
    }
    if seen {
        return position.holds_as_far_as_it_goes(known.head, &file.file, size);
    }
    // The line in which the copy was made may be a part of what was read.
    Ok(likeness == Likeness::Shorter && position.is_marked(after_last_line(&file.file, size)?))
}

/// Whether a path is that of a log or of one of its rotated files.
fn belongs_to(path: &Path, base: &Path) -> bool {
    let name = |path: &Path| Some(path.file_name()?.to_string_lossy().into_owned());
    let (Some(name), Some(log)) = (name(path), name(base)) else {
        return false;
    };
    path.parent() == base.parent() && (name == log || rotated(&name).any(|(of, _)| of == log))
}

/// The offset behind the last newline.
fn after_last_line(file: &File, size: u64) -> io::Result<u64> {
    const STEP: u64 = 64 * 1024;
    let mut end = size;
    while end > 0 {
        let start = end.saturating_sub(STEP);
        let bytes = read_range(file, start, (end - start) as usize)?;
        if let Some(newline) = memchr::memrchr(b'\n', &bytes) {
            return Ok(start + newline as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}
