//! The key of a record written by our producer: who wrote it, which lines it holds and where in which
//! file they stand. It is the only thing the go-back-N receiver looks at. Pure.
//!
//! | bytes | content (integers big-endian) |
//! |---|---|
//! | 1 | `0xB1`, layout version 1 |
//! | 1 | flags: bit 0, the record holds one chunk of a line that is longer than the limit; bit 1, it is the last chunk of that line |
//! | 4 | generation |
//! | 8 | sequence of the first line |
//! | 4 | number of lines; 0 in a fence |
//! | 8 | file id; in a fence the nonce of the start that wrote it |
//! | 8 | byte offset of the first line in the file |
//! | 1 + n | length and text of the producer key |
//! | 2 + n | length and text of the file's path |

/// The first byte of every key of ours.
const VERSION: u8 = 0xB1;
const FLAG_CHUNK: u8 = 1;
const FLAG_LAST_CHUNK: u8 = 2;
const FIXED: usize = 1 + 1 + 4 + 8 + 4 + 8 + 8;

/// What a record's key says. A record without lines is a *fence*: whatever an older generation writes
/// behind it does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockKey<'a> {
    /// The producer key: one lane of one producer, pinned to one partition. At most 255 bytes.
    pub producer: &'a str,
    /// Grows with each start of the producer.
    pub generation: u32,
    /// The sequence of the first line; each line counts one.
    pub first: u64,
    /// How many lines the record holds.
    pub lines: u32,
    /// The id of the file the lines stand in; in a fence the nonce of the start that wrote it.
    pub file_id: u64,
    /// The byte offset of the first line in that file.
    pub file_offset: u64,
    /// The path under which the file was opened. At most 65,535 bytes.
    pub path: &'a str,
    /// The record is a piece of a line that is longer than the limit.
    pub chunk: Chunk,
}

/// Whether a record holds whole lines or a piece of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Chunk {
    /// Whole lines.
    #[default]
    Whole,
    /// A piece of a line that goes on in the next record.
    Continues,
    /// The last piece of a line.
    Last,
}

impl<'a> BlockKey<'a> {
    /// The key of a fence. By `nonce`, a number drawn at random, a producer knows its own fence from
    /// one of the same generation that another start has written.
    pub fn fence(producer: &'a str, generation: u32, nonce: u64) -> Self {
        Self {
            producer,
            generation,
            first: 0,
            lines: 0,
            file_id: nonce,
            file_offset: 0,
            path: "",
            chunk: Chunk::Whole,
        }
    }

    /// Generation and nonce of a fence; `None` where the record holds lines.
    pub fn fence_of(&self) -> Option<(u32, u64)> {
        (self.lines == 0).then_some((self.generation, self.file_id))
    }

    /// Appends the key's bytes to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        out.push(match self.chunk {
            Chunk::Whole => 0,
            Chunk::Continues => FLAG_CHUNK,
            Chunk::Last => FLAG_CHUNK | FLAG_LAST_CHUNK,
        });
        out.extend_from_slice(&self.generation.to_be_bytes());
        out.extend_from_slice(&self.first.to_be_bytes());
        out.extend_from_slice(&self.lines.to_be_bytes());
        out.extend_from_slice(&self.file_id.to_be_bytes());
        out.extend_from_slice(&self.file_offset.to_be_bytes());
        let producer = truncated(self.producer, usize::from(u8::MAX));
        out.push(producer.len() as u8);
        out.extend_from_slice(producer.as_bytes());
        let path = truncated(self.path, usize::from(u16::MAX));
        out.extend_from_slice(&(path.len() as u16).to_be_bytes());
        out.extend_from_slice(path.as_bytes());
    }

    /// Reads a key; `None` where the bytes are not a key of ours.
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        if bytes.len() < FIXED || bytes[0] != VERSION {
            return None;
        }
        let chunk = match bytes[1] {
            0 => Chunk::Whole,
            FLAG_CHUNK => Chunk::Continues,
            3 => Chunk::Last,
            _ => return None,
        };
        let u32_at = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let u64_at = |at: usize| Some(u64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let rest = &bytes[FIXED..];
        let (&length, rest) = rest.split_first()?;
        let (producer, rest) = rest.split_at_checked(usize::from(length))?;
        let (length, rest) = rest.split_at_checked(2)?;
        let length = usize::from(u16::from_be_bytes(length.try_into().ok()?));
        if rest.len() != length {
            return None;
        }
        let (first, lines) = (u64_at(6)?, u32_at(14)?);
        // Anyone may write into a topic: past this check the sum cannot overflow.
        first.checked_add(u64::from(lines))?;
        Some(Self {
            producer: std::str::from_utf8(producer).ok()?,
            generation: u32_at(2)?,
            first,
            lines,
            file_id: u64_at(18)?,
            file_offset: u64_at(26)?,
            path: std::str::from_utf8(rest).ok()?,
            chunk,
        })
    }

    /// One after the sequence of the last line.
    pub fn end(&self) -> u64 {
        self.first.saturating_add(u64::from(self.lines))
    }
}

/// The longest prefix of `text` with at most `limit` bytes.
fn truncated(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: BlockKey<'_> = BlockKey {
        producer: "demo-0",
        generation: 7,
        first: 41,
        lines: 3,
        file_id: 0x0102_0304_0506_0708,
        file_offset: 9_000_000_000,
        path: "/var/log/app.log",
        chunk: Chunk::Last,
    };

    #[test]
    fn a_key_survives_the_round_trip() {
        let mut bytes = Vec::new();
        KEY.encode(&mut bytes);
        assert_eq!(BlockKey::decode(&bytes), Some(KEY));
    }

    #[test]
    fn a_fence_is_known_by_generation_and_nonce() {
        let mut bytes = Vec::new();
        BlockKey::fence("demo-0", 7, 99).encode(&mut bytes);
        let fence = BlockKey::decode(&bytes).unwrap();
        assert_eq!(fence.fence_of(), Some((7, 99)));
        assert_eq!(KEY.fence_of(), None);
    }

    #[test]
    fn a_sequence_beyond_64_bits_is_not_a_key() {
        let mut bytes = Vec::new();
        let last = BlockKey {
            first: u64::MAX - 3,
            ..KEY
        };
        last.encode(&mut bytes);
        assert_eq!(BlockKey::decode(&bytes), Some(last));
        bytes.clear();
        BlockKey {
            first: u64::MAX - 2,
            ..KEY
        }
        .encode(&mut bytes);
        assert_eq!(BlockKey::decode(&bytes), None);
    }

    #[test]
    fn anything_cut_or_longer_is_not_a_key() {
        let mut bytes = Vec::new();
        KEY.encode(&mut bytes);
        for length in 0..bytes.len() {
            assert_eq!(BlockKey::decode(&bytes[..length]), None, "{length} bytes");
        }
        bytes.push(0);
        assert_eq!(BlockKey::decode(&bytes), None);
        assert_eq!(BlockKey::decode(b"user-key"), None);
    }
}
