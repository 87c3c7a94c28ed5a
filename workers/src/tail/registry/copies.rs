//! A file that begins like one that is followed may be its copy: copytruncate makes it while the original
//! still has its content. It is held back until it is clear what it is.

use std::fs::File;
use std::io;
use std::path::Path;

use super::resume::{Found, unreadable};
use super::{Known, Look, Registry, Status};
use crate::tail::discover::{Candidate, DiscoverError};
use crate::tail::identity::{FileId, Head, Place, SAMPLE_BYTES, read_range};
use crate::tail::{FileState, Order};

/// Whether a file is a copy of one that is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Copy {
    Yes,
    No,
    /// The original must be looked at first.
    Perhaps,
}

impl Registry {
    pub(super) fn copy_of_followed(
        &mut self,
        file: &Found,
        look: &mut Look,
    ) -> Result<Copy, DiscoverError> {
        if file.candidate.live {
            return Ok(Copy::No);
        }
        let base = &file.candidate.base;
        let begins_live = |(of, bytes): &(_, Vec<u8>)| of == base && bytes.starts_with(&file.start);
        if self.unready.iter().any(begins_live) {
            return Ok(Copy::Perhaps);
        }
        if let Some((lane, id)) = self.replaced_live(base) {
            look.tell(lane, Order::Check(id));
            return Ok(Copy::Perhaps);
        }
        // A copy that was made in the first line has no head to compare.
        let headless = Head::of(&file.start, false).is_none();
        let begins = |head: Head| head.begins(&file.start);
        let alike: Vec<FileId> = self
            .known
            .values()
            .filter(|known| known.status.is_read() && &known.base == base)
            .filter(|known| (headless && known.live) || known.file.head.is_some_and(begins))
            .map(|known| known.file.id)
            .collect();
        for id in alike {
            let known = &self.known[&id];
            // A file that no lane can have read before this look is as it was found.
            let (lane, certain) = (known.lane, known.begun == self.looks);
            let copy =
                compare(known, file).map_err(|error| unreadable(&file.candidate.path, error))?;
            let suspect = (file.candidate.place, id);
            match copy {
                Copy::Yes => {
                    self.suspects.remove(&suspect);
                    self.copies.insert(file.candidate.place, id);
                    return Ok(Copy::Yes);
                }
                Copy::Perhaps => return Ok(Copy::Perhaps),
                Copy::No if certain || self.suspects.get(&suspect) == Some(&true) => {
                    self.copies.remove(&file.candidate.place);
                }
                // It differs from the original as it is now. That may have been truncated a moment ago,
                // and only its lane can tell.
                Copy::No => {
                    self.suspects.insert(suspect, false);
                    look.tell(lane, Order::Check(id));
                    return Ok(Copy::Perhaps);
                }
            }
        }
        Ok(Copy::No)
    }

    /// Whether a file that must not be read again still has what made it a copy. The inode of a copy that
    /// was removed is used again, and some scripts write over the copy before.
    pub(super) fn is_still_copy(
        &mut self,
        of: FileId,
        candidate: &Candidate,
        look: &mut Look,
    ) -> bool {
        let (place, now) = (candidate.place, (candidate.size, candidate.changed));
        let Some(known) = self.known.get_mut(&of) else {
            return false;
        };
        let before = self.confirmed.get(&place);
        if before == Some(&now) {
            return true;
        }
        let file = &known.file;
        // A copy does not grow: what makes it must be done before the original goes.
        let grew = before.is_some_and(|(size, _)| candidate.size > *size);
        let held = File::open(&candidate.path).and_then(|copy| {
            let size = copy.metadata()?.len();
            file.position
                .holds_as_far_as_it_goes(file.head, &copy, size)
        });
        match held {
            Ok(true) if !grew => drop(self.confirmed.insert(place, now)),
            Ok(_) => {
                known.file.copies.retain(|copy| *copy != place);
                look.tell(known.lane, Order::NotCopied { id: of, place });
                return false;
            }
            // Nobody knows: it is looked at again.
            Err(_) => {}
        }
        true
    }

    /// A live file of this log that is not any more what its lane follows, although that has not said so
    /// yet. What the path leads to now may be the original of a copy, and it is not known yet.
    fn replaced_live(&self, base: &Path) -> Option<(u32, FileId)> {
        let stands = |file: &FileState| {
            let original = File::open(&file.path)?;
            let start = read_range(&original, 0, SAMPLE_BYTES)?;
            let same_place = Some(Place::of(&original.metadata()?)) == file.place;
            io::Result::Ok(same_place && file.head.is_none_or(|head| head.begins(&start)))
        };
        self.known
            .values()
            .filter(|known| known.status == Status::Followed && known.live && known.base == base)
            // One that is not there will have another status at the next look.
            .find(|known| {
                !stands(&known.file).unwrap_or_else(|error| error.kind() != io::ErrorKind::NotFound)
            })
            .map(|known| (known.lane, known.file.id))
    }
}

/// Compares a file with one that is followed. A copy is never longer than its original.
fn compare(known: &Known, file: &Found) -> io::Result<Copy> {
    if known.status != Status::Followed {
        // Its content is compared when its lane has read it to the end and closed it.
        return Ok(Copy::Perhaps);
    }
    let Ok(original) = File::open(&known.file.path) else {
        return Ok(Copy::Perhaps);
    };
    let metadata = original.metadata()?;
    if Some(Place::of(&metadata)) != known.file.place {
        return Ok(Copy::Perhaps);
    }
    let size = file.candidate.size;
    if metadata.len() < known.size {
        return Ok(Copy::Perhaps); // it was truncated since it was found
    }
    if size > metadata.len() {
        return Ok(Copy::No);
    }
    let start = size.saturating_sub(SAMPLE_BYTES as u64);
    let len = (size - start) as usize;
    let same = read_range(&original, start, len)? == read_range(&file.file, start, len)?;
    Ok(if same { Copy::Yes } else { Copy::No })
}
