//! What a lane does when it is told something about one of its files.

use std::path::PathBuf;
use std::time::Instant;

use super::Lane;
use super::unpack::unpack;
use crate::produce::ProduceError;
use crate::produce::followed::{Bytes, Followed, Standing};
use crate::tail::identity::FileId;
use crate::tail::position::Position;
use crate::tail::{FileState, Note, Order};

impl Lane<'_> {
    pub(super) fn carry_out(&mut self, order: Order) -> Result<(), ProduceError> {
        self.orders_done += 1;
        let now = Instant::now();
        match order {
            Order::Finish => {
                self.finishing = true;
                self.files
                    .values_mut()
                    .for_each(|file| file.look_again(now));
            }
            Order::End => self.ending = true,
            Order::Follow(follow) => {
                self.dirty = true;
                let id = follow.id;
                let file = self.files.entry(id).or_insert_with(|| {
                    let state = FileState {
                        id,
                        path: follow.path.clone(),
                        place: None,
                        head: None,
                        position: Position::default(),
                        copies: Vec::new(),
                        gone: false,
                    };
                    let mut file = Followed::known(state, now);
                    file.start = follow.position.clone().unwrap_or_default();
                    file
                });
                file.follow(*follow, now);
                self.sort();
            }
            Order::Moved { id, path, live } => self.with(id, |file| {
                file.state.path = path;
                file.live = live;
                file.last_growth = now;
                file.look_again(now);
                if file.standing == Standing::Nameless {
                    file.standing = Standing::Named;
                }
            }),
            Order::Copied { id, place } => self.with(id, |file| file.state.copies.push(place)),
            Order::NotCopied { id, place } => self.with(id, |file| {
                file.state.copies.retain(|copy| *copy != place);
            }),
            Order::Touched(id) => self.with(id, |file| file.look_again(now)),
            Order::Vanished(id) => self.vanished(id, now),
            Order::Unpack { id, from } => self.unpack(id, &from, now)?,
            Order::GiveUp(id) => self.give_up(id),
            Order::Check(id) => self.check(id)?,
        }
        Ok(())
    }

    fn with(&mut self, id: FileId, change: impl FnOnce(&mut Followed)) {
        if let Some(file) = self.files.get_mut(&id) {
            change(file);
            self.dirty = true;
        }
    }

    pub(super) fn sort(&mut self) {
        self.order = self.files.keys().copied().collect();
        self.order.sort_by_key(|id| (self.files[id].rank, *id));
    }

    pub(super) fn vanished(&mut self, id: FileId, now: Instant) {
        let Some(file) = self.files.get_mut(&id) else {
            return;
        };
        if file.standing != Standing::Named {
            return;
        }
        file.standing = Standing::Nameless;
        file.live = false;
        file.last_growth = now;
        file.next_read = now;
        if !file.is_open() {
            // The registry looks whether anything else continues it.
            file.standing = Standing::Nowhere;
            let state = file.sealed();
            self.tell(Note::Closed(state));
        }
    }

    /// Finishes a file from a compressed one that holds it, or gives it up.
    fn unpack(&mut self, id: FileId, from: &[PathBuf], now: Instant) -> Result<(), ProduceError> {
        let space = self.state_file.path().with_extension("unpacked");
        let Some(file) = self.files.get_mut(&id) else {
            return Ok(());
        };
        let mut no_space = None;
        for path in from {
            match unpack(path, &space, file.state.head, &file.state.position) {
                Ok(None) => {}
                Ok(Some((handle, size))) => {
                    let (from, path) = (file.state.position.offset, path.display());
                    let unread = size - from;
                    tracing::info!(%path, from, unread, "finishing a file that is gone from its compressed copy");
                    file.adopt(handle, size, now);
                    self.sort();
                    return Ok(());
                }
                Err(source) => no_space = Some((path, source)),
            }
        }
        if let Some((path, source)) = no_space {
            // It may fit later, and is not lost until the compressed file is.
            let state = file.sealed();
            let folder = self.shared.options.state_dir.display().to_string();
            let path = path.display().to_string();
            let error = ProduceError::Unpack {
                path,
                folder,
                source,
            };
            if self.finishing {
                return Err(error);
            }
            let error = &error as &dyn std::error::Error;
            tracing::error!(
                error,
                "the rest of a file waits until there is room to unpack it; it is tried again"
            );
            self.tell(Note::Later(state));
            return Ok(());
        }
        self.give_up(id);
        if let Some(file) = self.files.get_mut(&id) {
            let state = file.sealed();
            self.tell(Note::Closed(state));
        }
        Ok(())
    }

    fn give_up(&mut self, id: FileId) {
        let Some(file) = self.files.get_mut(&id) else {
            return;
        };
        if file.state.gone {
            return;
        }
        file.standing = Standing::Nowhere;
        file.state.gone = true;
        file.close();
        self.dirty = true;
        let lost = report_lost(&file.state, file.unread());
        self.lose(lost);
    }

    fn check(&mut self, id: FileId) -> Result<(), ProduceError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let found = match self.files.get_mut(&id) {
            Some(file) if file.is_read() => Some(file.read(&mut buffer)),
            _ => None,
        };
        self.buffer = buffer;
        match found {
            Some(Ok(Bytes::New { .. })) => self.tell(Note::Intact(id)),
            Some(Ok(Bytes::Replaced)) => self.replaced(id),
            Some(Err(error)) => return Err(self.unreadable(id, error)),
            Some(Ok(Bytes::Missing)) | None => {}
        }
        Ok(())
    }

    pub(super) fn replaced(&mut self, id: FileId) {
        let Some(file) = self.files.get_mut(&id) else {
            return;
        };
        file.standing = Standing::Overwritten;
        file.at_end = false;
        file.close();
        let state = file.sealed();
        let (path, offset) = (state.path.display(), state.position.offset);
        tracing::info!(%path, offset, "a file was truncated or replaced in place; looking for what it held");
        self.tell(Note::Broken(state));
    }
}

/// Says which bytes of a file are lost, and returns how many are known to be.
pub(super) fn report_lost(file: &FileState, bytes: u64) -> u64 {
    let (path, from) = (file.path.display(), file.position.offset);
    if bytes > 0 {
        let to = from + bytes;
        tracing::warn!(%path, from, to, "bytes of a file were destroyed before they could be read; they are lost");
    } else {
        tracing::warn!(%path, from, "a file is gone that was read up to this offset; if anything was written behind it, that is lost");
    }
    bytes
}
