//! How far a file was read, with the evidence that tells whether a file still is the one that was read:
//! hashes of what stands before this offset and before a few earlier ones. Reads files.

use std::fs::File;
use std::io;

use serde::{Deserialize, Serialize};

use super::identity::{Head, Mark, SAMPLE_BYTES, hash, read_range};

/// How many lines at the start of a file are marked each, and how many before the offset.
const MARKED_LINES: usize = 8;

/// How far a file was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The offset of the next byte to read.
    pub offset: u64,
    /// It stands within a line whose earlier chunks were taken.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mid_line: bool,
    /// The bytes before `offset`, as of the last [`Position::seal`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    end: Option<Mark>,
    /// Earlier marks, ever farther apart: a file that lost its end, or a copy that was made too early, is
    /// told by them. A few dozen at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    samples: Vec<Mark>,
    /// The ends of the last lines before `offset`, as of the last [`Position::seal`]: a copy that was made a
    /// moment too early ends at one of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    recent: Vec<Mark>,
    /// The bytes before `offset`, at most [`SAMPLE_BYTES`]; empty while they are known as hash only.
    #[serde(skip)]
    tail: Vec<u8>,
}

/// What a file is, measured against a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Likeness {
    /// It has everything that was read.
    Same,
    /// It ends before the position, and begins like what was read, beyond the head.
    Shorter,
    /// It is another file.
    Other,
}

impl Position {
    /// The start of a file, or a place in it before which nothing is known.
    pub fn at(offset: u64) -> Self {
        Self {
            offset,
            ..Self::default()
        }
    }

    /// The bytes before the offset, as far as they are known.
    pub fn tail(&self) -> &[u8] {
        &self.tail
    }

    /// Moves on over `bytes`, which stand at the offset.
    pub fn advance(&mut self, bytes: &[u8], mid_line: bool) {
        if self.tail.is_empty()
            && let Some(end) = self.end
        {
            self.samples.push(end);
        }
        self.end = None;
        self.sample(bytes);
        self.offset += bytes.len() as u64;
        self.mid_line = mid_line;
        let kept = SAMPLE_BYTES.saturating_sub(bytes.len());
        let excess = self.tail.len().saturating_sub(kept);
        self.tail.drain(..excess);
        let new = bytes.len().min(SAMPLE_BYTES);
        self.tail.extend_from_slice(&bytes[bytes.len() - new..]);
    }

    /// Marks the places within `bytes` that are due: the ends of the first lines, then each half as far
    /// again as the one before, so there are at most a hundred for any size.
    fn sample(&mut self, bytes: &[u8]) {
        loop {
            let last = self.samples.last().map_or(0, |mark| mark.at);
            let due = if self.samples.len() < MARKED_LINES {
                let from = (last.saturating_sub(self.offset) as usize).min(bytes.len());
                let newline = memchr::memchr(b'\n', &bytes[from..]);
                newline.map(|at| self.offset + (from + at) as u64 + 1)
            } else {
                Some((last + last / 2 + 64).max(self.offset + 1))
            };
            let behind =
                due.and_then(|due| Some((due, bytes.get(..(due - self.offset) as usize)?)));
            let Some((due, behind)) = behind else {
                return;
            };
            let sample = if behind.len() >= SAMPLE_BYTES {
                behind[behind.len() - SAMPLE_BYTES..].to_vec()
            } else {
                let before = self.tail.len().min(SAMPLE_BYTES - behind.len());
                [&self.tail[self.tail.len() - before..], behind].concat()
            };
            self.samples.push(Mark {
                at: due,
                len: sample.len() as u32,
                hash: hash(&sample),
            });
        }
    }

    /// Goes back in a file that has lost its end and has `size` bytes now: to where a line begins that the
    /// last mark within it still knows. What stands behind that may have been written since.
    pub fn go_back(&mut self, file: &File, size: u64) -> io::Result<()> {
        let mut offset = 0;
        let mut marks: Vec<Mark> = self.marks().filter(|mark| mark.at <= size).collect();
        marks.sort_unstable_by_key(|mark| mark.at);
        for mark in marks {
            if !mark.stands(file)? {
                break;
            }
            let start = mark.at - u64::from(mark.len);
            let bytes = read_range(file, start, mark.len as usize)?;
            if let Some(newline) = memchr::memrchr(b'\n', &bytes) {
                offset = start + newline as u64 + 1;
            }
        }
        self.samples.retain(|mark| mark.at <= offset);
        self.recent.retain(|mark| mark.at <= offset);
        self.offset = offset;
        self.mid_line = false;
        self.end = None;
        self.tail.clear();
        Ok(())
    }

    /// Puts down the hashes of the bytes before the offset, for the state file.
    pub fn seal(&mut self) {
        if self.end.is_some() {
            return; // nothing was read since
        }
        if let Some(mark) = self.mark() {
            self.end = Some(mark);
            self.recent = self.last_lines();
        }
    }

    /// The ends of the last lines in the bytes that are known, but for the offset itself.
    fn last_lines(&self) -> Vec<Mark> {
        let start = self.offset - self.tail.len() as u64;
        let ends = memchr::memrchr_iter(b'\n', &self.tail).map(|newline| newline + 1);
        ends.filter(|end| *end < self.tail.len())
            .take(MARKED_LINES)
            .map(|end| Mark {
                at: start + end as u64,
                len: end as u32,
                hash: hash(&self.tail[..end]),
            })
            .collect()
    }

    fn mark(&self) -> Option<Mark> {
        (!self.tail.is_empty()).then(|| Mark {
            at: self.offset,
            len: self.tail.len() as u32,
            hash: hash(&self.tail),
        })
    }

    fn marks(&self) -> impl Iterator<Item = Mark> + '_ {
        let end = self.mark().or(self.end);
        let recent = if self.tail.is_empty() {
            self.recent.clone()
        } else {
            self.last_lines()
        };
        self.samples.iter().copied().chain(recent).chain(end)
    }

    /// Whether more is known than how the file begins. Many files begin alike.
    pub fn knows_more_than(&self, head: Option<Head>) -> bool {
        self.marks()
            .any(|mark| head.is_none_or(|head| mark.at > u64::from(head.len)))
    }

    /// Measures a file of `size` bytes. The marks decide; a file that was not read yet is told by its
    /// head alone.
    pub fn compare(&self, head: Option<Head>, file: &File, size: u64) -> io::Result<Likeness> {
        if !self.holds_as_far_as_it_goes(head, file, size)? {
            return Ok(Likeness::Other);
        }
        let within = |mark: &Mark| mark.at <= size;
        let marked = self.marks().any(|mark| within(&mark));
        let beyond_head = self
            .marks()
            .filter(within)
            .any(|mark| head.is_none_or(|head| mark.at > u64::from(head.len)));
        Ok(if size >= self.offset {
            // Nothing read, nothing known: not even a head to go by.
            if marked || head.is_some() {
                Likeness::Same
            } else {
                Likeness::Other
            }
        } else if beyond_head {
            Likeness::Shorter
        } else {
            Likeness::Other
        })
    }

    /// Whether something is known of what stands before this offset.
    pub fn is_marked(&self, offset: u64) -> bool {
        self.marks().any(|mark| mark.at == offset)
    }

    /// Whether a file of `size` bytes begins with the head, and each mark that it reaches stands in it.
    pub fn holds_as_far_as_it_goes(
        &self,
        head: Option<Head>,
        file: &File,
        size: u64,
    ) -> io::Result<bool> {
        if let Some(head) = head
            && !head.begins(&read_range(file, 0, head.len as usize)?)
        {
            return Ok(false);
        }
        for mark in self.marks().filter(|mark| mark.at <= size) {
            if !mark.stands(file)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Reads the bytes before the offset from a file that was found to be the same.
    pub fn load_tail(&mut self, file: &File) -> io::Result<()> {
        let len = self.offset.min(SAMPLE_BYTES as u64);
        self.tail = read_range(file, self.offset - len, len as usize)?;
        Ok(())
    }
}
