//! Reads the files of a lane and sends their lines.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use bytes::Bytes as Value;
use logpipe_api::pipeline::Framing;

use super::Lane;
use crate::log::key::Chunk;
use crate::produce::followed::{Bytes, Standing};
use crate::produce::{ProduceError, now_micros};
use crate::tail::identity::FileId;
use crate::tail::split::{BLOCK_BYTES, Block, lines, next_block};

/// How many files all lanes together keep open while nothing is to be read from them.
const MOST_OPEN: usize = 256;

/// A file that was closed because others need its handle is looked at when its size changes.
const UNTIL_TOUCHED: Duration = Duration::from_hours(24);

impl Lane<'_> {
    /// Reads every file that is due, the older ones of a log before the newer ones, at most a mebibyte
    /// each; returns whether there is more.
    pub(super) fn read_round(&mut self, now: Instant) -> Result<bool, ProduceError> {
        let mut more = false;
        let mut blocked = HashSet::new();
        for index in 0..self.order.len() {
            let id = self.order[index];
            let Some(file) = self.files.get(&id) else {
                continue;
            };
            if !file.is_read() || blocked.contains(&file.group) {
                continue;
            }
            let group = file.group;
            let due = file.next_read <= now;
            let unfinished = due && self.read_file(id, now)?;
            more |= unfinished;
            let waits = |file: &super::Followed| file.is_read() && !file.at_end && !file.live;
            if unfinished || self.files.get(&id).is_some_and(waits) {
                blocked.insert(group);
            }
        }
        Ok(more)
    }

    fn read_file(&mut self, id: FileId, now: Instant) -> Result<bool, ProduceError> {
        if self.files.get(&id).is_some_and(|file| !file.is_open()) {
            self.make_room(now);
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        let result = self.read_into(id, &mut buffer, now);
        self.buffer = buffer;
        result
    }

    /// Closes the file that has been quiet for longest, where too many are open.
    fn make_room(&mut self, now: Instant) {
        let lanes = self.shared.log.identity().partitions.max(1) as usize;
        let most = (MOST_OPEN / lanes).max(8);
        let named =
            |file: &&mut super::Followed| file.standing == Standing::Named && file.is_open();
        let mut open: Vec<_> = self.files.values_mut().filter(named).collect();
        if open.len() < most {
            return;
        }
        open.sort_by_key(|file| (!file.at_end, file.last_growth));
        for file in open.into_iter().take(most / 8 + 1) {
            file.close();
            if file.at_end {
                file.next_read = now + UNTIL_TOUCHED;
            }
        }
    }

    #[cfg(test)]
    pub(in crate::produce) fn open_files(&self) -> usize {
        self.files.values().filter(|file| file.is_open()).count()
    }

    fn read_into(
        &mut self,
        id: FileId,
        buffer: &mut [u8],
        now: Instant,
    ) -> Result<bool, ProduceError> {
        let Some(file) = self.files.get_mut(&id) else {
            return Ok(false);
        };
        let (from, to, last) = match file.read(buffer) {
            Ok(Bytes::New { from, to, last }) => (from, to, last),
            Ok(Bytes::Replaced) => {
                self.replaced(id);
                return Ok(false);
            }
            Ok(Bytes::Missing) => {
                file.at_end = false;
                file.next_read = now + self.shared.tuning.look_every;
                return Ok(false);
            }
            Err(error) => return Err(self.unreadable(id, error)),
        };
        let data = &buffer[from..to];
        let end = file.state.position.offset + data.len() as u64;
        if end > file.seen_size {
            file.seen_size = end;
            file.last_growth = now;
        }
        let quiet = !file.live && file.is_quiet(now, self.shared.tuning.grace);
        let complete = last && (self.finishing || quiet);
        let used = self.send_blocks(id, data, last, complete, now)?;
        let Some(file) = self.files.get_mut(&id) else {
            return Ok(false);
        };
        file.at_end = last && used == data.len();
        if last {
            let longest = self.shared.tuning.look_every;
            file.schedule(now, self.shared.options.linger, longest);
        }
        // The registry does not see it where it cannot list the folder, and it may be gone too.
        let quiet = file.at_end && file.is_quiet(now, self.shared.tuning.grace);
        if quiet && file.standing == Standing::Named && file.is_deleted() {
            self.vanished(id, now);
        }
        Ok(!last)
    }

    /// Sends what is ready of `data`, and returns how many bytes that was.
    fn send_blocks(
        &mut self,
        id: FileId,
        data: &[u8],
        last: bool,
        complete: bool,
        now: Instant,
    ) -> Result<usize, ProduceError> {
        let timestamp = now_micros();
        let mut used = 0;
        loop {
            let Some(file) = self.files.get_mut(&id) else {
                return Ok(used);
            };
            let rest = &data[used..];
            let Some(block) = next_block(rest, file.state.position.mid_line, complete) else {
                break;
            };
            if rest.len() <= BLOCK_BYTES {
                if !last {
                    break; // the next read fills it
                }
                let since = *file.waiting_since.get_or_insert(now);
                let waited = now.saturating_duration_since(since);
                if !self.finishing && waited < self.shared.options.linger {
                    break;
                }
            }
            file.waiting_since = None;
            self.send_block(id, block, &rest[..block.bytes], timestamp)?;
            used += block.bytes;
            self.last_sent = now;
        }
        Ok(used)
    }

    fn send_block(
        &mut self,
        id: FileId,
        block: Block,
        bytes: &[u8],
        timestamp: i64,
    ) -> Result<(), ProduceError> {
        let Some(file) = self.files.get_mut(&id) else {
            return Ok(());
        };
        let value = Value::copy_from_slice(bytes);
        let mut send = |block, skipped, value| {
            let (producer, file) = (&self.producer, &file.state);
            self.outbox
                .send(producer, file, skipped, block, value, timestamp)
        };
        if self.shared.options.framing == Framing::Line && block.lines > 1 {
            for line in lines(bytes) {
                let one = Block {
                    bytes: line.len(),
                    lines: 1,
                    chunk: Chunk::Whole,
                };
                send(one, line.start, value.slice(line))?;
            }
        } else {
            send(block, 0, value)?;
        }
        let mid_line = block.chunk == Chunk::Continues;
        file.state.position.advance(bytes, mid_line);
        self.unsaved_bytes += block.bytes as u64;
        self.dirty = true;
        Ok(())
    }
}
