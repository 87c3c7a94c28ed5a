//! Cuts the bytes of a file into blocks of lines. Pure: which lines and chunks there are depends on the
//! bytes alone, never on how they were read.

use memchr::{memchr, memchr_iter, memrchr};

use crate::log::key::Chunk;

/// The most bytes of one record's value: with its key, a record fits into one 64 KiB page of the
/// embedded store. A line that is longer, its newline included, is cut into chunks of exactly this size.
pub const BLOCK_BYTES: usize = 60 * 1024;

/// The next piece of a file that becomes a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// How many bytes, at least 1 and at most [`BLOCK_BYTES`].
    pub bytes: usize,
    /// How many lines; 1 for a chunk.
    pub lines: u32,
    /// Whole lines or a piece of one.
    pub chunk: Chunk,
}

/// The first block of `bytes`, or `None` while they hold no complete line. `mid_line`: they go on in a
/// line whose earlier chunks were taken. `complete`: nothing follows them, so what is left after the last
/// newline is a line too.
pub fn next_block(bytes: &[u8], mid_line: bool, complete: bool) -> Option<Block> {
    let window = &bytes[..bytes.len().min(BLOCK_BYTES)];
    let block = |bytes, lines, chunk| {
        Some(Block {
            bytes,
            lines,
            chunk,
        })
    };
    let (newline, ended) = if mid_line {
        (memchr(b'\n', window), Chunk::Last)
    } else {
        (memrchr(b'\n', window), Chunk::Whole)
    };
    if let Some(newline) = newline {
        let lines = match ended {
            Chunk::Whole => memchr_iter(b'\n', &window[..=newline]).count() as u32,
            Chunk::Last | Chunk::Continues => 1,
        };
        return block(newline + 1, lines, ended);
    }
    // One byte more than a chunk must be there: then the last chunk of a line is never empty.
    if bytes.len() > BLOCK_BYTES {
        return block(BLOCK_BYTES, 1, Chunk::Continues);
    }
    if complete && !bytes.is_empty() {
        return block(bytes.len(), 1, ended);
    }
    None
}

/// The lines of a block, newlines included, as half-open ranges.
pub fn lines(block: &[u8]) -> impl Iterator<Item = std::ops::Range<usize>> + '_ {
    let mut start = 0;
    std::iter::from_fn(move || {
        if start == block.len() {
            return None;
        }
        let end = memchr(b'\n', &block[start..]).map_or(block.len(), |at| start + at + 1);
        let line = start..end;
        start = end;
        Some(line)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads `bytes` in pieces that end at `cuts`, as a tailer would: what is not taken is read again.
    fn pieces(bytes: &[u8], cuts: &[usize]) -> Vec<(usize, usize, Chunk)> {
        let mut found = Vec::new();
        let mut at = 0;
        let mut mid_line = false;
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
        ends.sort_unstable();
        ends.push(bytes.len());
        let last = ends.len() - 1;
        for (index, end) in ends.into_iter().enumerate() {
            while at < end {
                let Some(block) = next_block(&bytes[at..end], mid_line, index == last) else {
                    break;
                };
                assert!(block.bytes <= BLOCK_BYTES);
                let value = &bytes[at..at + block.bytes];
                if block.chunk == Chunk::Whole {
                    assert_eq!(lines(value).count(), block.lines as usize);
                    found.extend(lines(value).map(|l| (at + l.start, l.len(), Chunk::Whole)));
                } else {
                    assert_eq!(block.lines, 1);
                    found.push((at, block.bytes, block.chunk));
                }
                mid_line = block.chunk == Chunk::Continues;
                at += block.bytes;
            }
        }
        assert_eq!(at, bytes.len(), "every byte is in a piece");
        found
    }

    fn text() -> impl Strategy<Value = Vec<u8>> {
        let around = (BLOCK_BYTES - 2)..(BLOCK_BYTES + 3);
        let length = prop_oneof![
            8 => 0..200_usize,
            2 => around,
            1 => (2 * BLOCK_BYTES - 2)..(2 * BLOCK_BYTES + 3),
        ];
        (proptest::collection::vec(length, 0..12), any::<bool>()).prop_map(|(lengths, open)| {
            let mut bytes = Vec::new();
            for length in lengths {
                bytes.resize(bytes.len() + length, b'x');
                bytes.push(b'\n');
            }
            if open {
                bytes.pop();
            }
            bytes
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(150))]
        #[test]
        fn the_lines_do_not_depend_on_how_the_bytes_are_read(
            bytes in text(),
            cuts in proptest::collection::vec(any::<usize>(), 0..20),
        ) {
            prop_assert_eq!(pieces(&bytes, &cuts), pieces(&bytes, &[]));
        }
    }

    #[test]
    fn a_line_without_a_newline_waits() {
        assert_eq!(next_block(b"abc", false, false), None);
        assert_eq!(
            next_block(b"abc", false, true).map(|b| (b.bytes, b.chunk)),
            Some((3, Chunk::Whole))
        );
    }

    #[test]
    fn the_last_chunk_of_a_long_line_is_never_empty() {
        let exact = vec![b'x'; BLOCK_BYTES];
        assert_eq!(next_block(&exact, false, false), None);
        let whole = next_block(&exact, false, true).unwrap();
        assert_eq!((whole.bytes, whole.chunk), (BLOCK_BYTES, Chunk::Whole));
        let longer = [&exact[..], b"\n"].concat();
        let first = next_block(&longer, false, false).unwrap();
        assert_eq!((first.bytes, first.chunk), (BLOCK_BYTES, Chunk::Continues));
        let last = next_block(b"\n", true, false).unwrap();
        assert_eq!((last.bytes, last.chunk), (1, Chunk::Last));
    }

    #[test]
    fn only_a_newline_ends_a_line() {
        let block = next_block(b"\xef\xbb\xbfa\rb\0\xff\r\nc", false, false).unwrap();
        assert_eq!((block.bytes, block.lines), (10, 1));
    }
}
