//! Saves how far a lane has come, and lets go of files that are done.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::{Lane, Standing};
use crate::produce::ProduceError;
use crate::produce::followed::Followed;
use crate::produce::state::State;
use crate::tail::Note;
use crate::tail::identity::{FileId, Place};

/// How much is sent at most between two saves: a restart scans little more than that.
const SAVE_BYTES: u64 = 64 << 20;

/// How long nothing was sent when a lane counts as idle.
const IDLE: Duration = Duration::from_millis(500);

/// How many files that are gone a lane remembers, so that none is read again when it comes back.
const MOST_GONE: usize = 1000;

impl Lane<'_> {
    pub(super) fn is_time_to_save(&self, busy: bool, now: Instant) -> bool {
        let since = |then| now.saturating_duration_since(then);
        since(self.saved_at) >= self.shared.options.save_every
            || self.unsaved_bytes >= SAVE_BYTES
            || (!busy && since(self.last_sent) >= IDLE && since(self.saved_at) >= IDLE)
    }

    /// Whether others have written behind the place that was saved, while there was nothing to save. Nobody
    /// else writes as this producer, so its state is true at the end of the log, too.
    pub(super) fn falls_behind(&mut self, now: Instant) -> bool {
        let since = now.saturating_duration_since(self.saved_at);
        if self.dirty || since < self.shared.tuning.catch_up_every {
            return false;
        }
        self.saved_at = now;
        // A log that cannot tell is asked again at the next time.
        let bounds = self.shared.log.bounds(self.index);
        bounds.is_ok_and(|bounds| bounds.end > self.outbox.scan_from)
    }

    /// Waits until everything that was sent is durable, and saves. Only the `last` save fails where the
    /// disk does: until then, the older state and the log together still tell everything.
    pub(in crate::produce) fn save(&mut self, last: bool) -> Result<(), ProduceError> {
        if !self.dirty {
            return Ok(());
        }
        self.outbox.flush()?;
        self.settle()?;
        let end = self.shared.log.bounds(self.index)?.end;
        self.forget_gone();
        // What this save lets go of is gone for it already: nobody may be there to say so after it.
        let done = self.done();
        let state = State {
            topic_id: self.shared.log.identity().topic_id,
            generation: self.outbox.generation,
            next: self.outbox.next,
            scan_from: end,
            boot_id: self.shared.boot_id.map(str::to_owned),
            files: self
                .files
                .values_mut()
                .map(|file| {
                    let mut state = file.sealed();
                    state.gone |= !file.stays && done.contains(&state.id);
                    state
                })
                .collect(),
        };
        self.saved_at = Instant::now();
        if let Err(error) = self.state_file.save(&state) {
            self.shared.counters.save_failures.add(1);
            if last {
                return Err(error.into());
            }
            let error = &error as &dyn std::error::Error;
            tracing::error!(
                error,
                "cannot save the state; it is tried again, and nothing is lost meanwhile"
            );
            return Ok(());
        }
        // The previous copy must stay usable, so the records it needs must stay too.
        self.shared
            .control
            .set_saved(self.index, self.outbox.scan_from);
        self.outbox.scan_from = end;
        self.unsaved_bytes = 0;
        self.dirty = false;
        self.let_go(done);
        Ok(())
    }

    /// The files that are read to their ends and have no name, or are to be removed.
    fn done(&self) -> HashSet<FileId> {
        let now = Instant::now();
        let goes = |file: &&Followed| match file.standing {
            Standing::Nameless => true,
            Standing::Named => self.shared.options.delete_finished,
            Standing::Nowhere | Standing::Overwritten => false,
        };
        self.files
            .values()
            .filter(goes)
            .filter(|file| file.is_finished(now, self.grace_of(file)))
            .map(|file| file.state.id)
            .collect()
    }

    /// Closes files that have no name and are done, and removes those that the options say to remove.
    fn let_go(&mut self, done: HashSet<FileId>) {
        for id in done {
            let Some(file) = self.files.get_mut(&id) else {
                continue;
            };
            if file.standing == Standing::Nameless {
                file.close();
                file.standing = Standing::Nowhere;
                file.state.gone = true;
                let state = file.sealed();
                self.tell(Note::Closed(state));
                self.dirty = true;
            } else if remove(file) {
                self.forget(id);
            } else if !file.stays {
                // The saved state calls it gone; the next one does not.
                file.stays = true;
                self.dirty = true;
            }
        }
    }

    /// Whether a file without a name was read to its end: it is closed with the next save, which must come,
    /// because files that begin like it are held back until then.
    pub(super) fn has_done_with_nameless(&self, now: Instant) -> bool {
        let mut nameless = self
            .files
            .values()
            .filter(|file| file.standing == Standing::Nameless);
        nameless.any(|file| file.is_finished(now, self.grace_of(file)))
    }

    /// A file that is to be removed was closed by its writer before it was renamed: then a complete last
    /// line is its end.
    fn grace_of(&self, file: &Followed) -> Duration {
        if self.finishing && file.standing == Standing::Nameless {
            return Duration::ZERO;
        }
        let ended = file.state.position.tail().last() == Some(&b'\n');
        if self.shared.options.delete_finished && file.standing == Standing::Named && ended {
            Duration::ZERO
        } else {
            self.shared.tuning.grace
        }
    }

    fn forget(&mut self, id: FileId) {
        self.files.remove(&id);
        self.sort();
        self.dirty = true;
        self.tell(Note::Removed(id));
    }

    fn forget_gone(&mut self) {
        let gone = self.files.values().filter(|file| file.state.gone);
        let mut gone: Vec<(u64, FileId)> = gone.map(|file| (file.rank, file.state.id)).collect();
        if gone.len() <= MOST_GONE {
            return;
        }
        gone.sort_unstable();
        let excess = gone.len() - MOST_GONE;
        gone.truncate(excess);
        for (_, id) in gone {
            self.forget(id);
        }
    }
}

/// Removes a file if it is still the one that was read, and was read to its end.
fn remove(file: &Followed) -> bool {
    let path = file.path();
    let Ok(metadata) = std::fs::metadata(&path) else {
        return false;
    };
    let same = file.state.place == Some(Place::of(&metadata));
    if !same || metadata.len() != file.state.position.offset {
        return false;
    }
    match std::fs::remove_file(&path) {
        Ok(()) => true,
        Err(_) if file.stays => false,
        Err(error) => {
            let path = path.display();
            tracing::warn!(%path, %error, "cannot remove a file that is done; it stays");
            false
        }
    }
}
