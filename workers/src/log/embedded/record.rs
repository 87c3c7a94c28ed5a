//! A record as the embedded log stores it. Pure.
//!
//! | bytes | content (integers little-endian) |
//! |---|---|
//! | 4 | CRC32C of everything behind it |
//! | 1 | 0: the value as it is; 1: an LZ4 block |
//! | 8 | timestamp |
//! | 4 | length of the key |
//! | 4 | length of the value, not compressed |
//! | n | the key |
//! | n | the value |
//!
//! The checksum is there because redb verifies its own only when it repairs a file.

use super::super::NewRecord;

/// The largest value that is taken and handed out: a length beyond it is damage, not a reason to
/// allocate.
pub(super) const MAX_VALUE_BYTES: usize = 16 << 20;

/// The largest key.
pub(super) const MAX_KEY_BYTES: usize = 1 << 20;

const HEADER: usize = 4 + 1 + 8 + 4 + 4;
const PLAIN: u8 = 0;
const LZ4: u8 = 1;

/// Turns records into what is stored. It belongs to one sink, so that compressing happens on the threads
/// of those who write and not on the one that commits.
#[derive(Default)]
pub(super) struct Encoder {
    compressed: Vec<u8>,
}

impl Encoder {
    /// The stored bytes of a record whose key and value are within their limits.
    pub(super) fn encode(&mut self, record: &NewRecord) -> Vec<u8> {
        let (kind, value) = self.compress(&record.value);
        let mut stored = Vec::with_capacity(HEADER + record.key.len() + value.len());
        stored.extend_from_slice(&[0; 4]);
        stored.push(kind);
        stored.extend_from_slice(&record.timestamp.to_le_bytes());
        stored.extend_from_slice(&(record.key.len() as u32).to_le_bytes());
        stored.extend_from_slice(&(record.value.len() as u32).to_le_bytes());
        stored.extend_from_slice(&record.key);
        stored.extend_from_slice(value);
        let checksum = crc32c::crc32c(&stored[4..]);
        stored[..4].copy_from_slice(&checksum.to_le_bytes());
        stored
    }

    /// The smaller of the value and its LZ4 block.
    fn compress<'a>(&'a mut self, value: &'a [u8]) -> (u8, &'a [u8]) {
        let room = lz4_flex::block::get_maximum_output_size(value.len());
        if self.compressed.len() < room {
            self.compressed.resize(room, 0);
        }
        match lz4_flex::block::compress_into(value, &mut self.compressed) {
            Ok(length) if length < value.len() => (LZ4, &self.compressed[..length]),
            _ => (PLAIN, value),
        }
    }
}

/// A stored record, its key and value borrowed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Decoded<'a> {
    pub(super) timestamp: i64,
    pub(super) key: &'a [u8],
    pub(super) value: &'a [u8],
}

/// Why stored bytes are not a record.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Damage {
    #[error("it is cut short")]
    Short,
    #[error("its checksum is wrong")]
    Checksum,
    #[error("its value cannot be decompressed")]
    Value,
}

/// Reads a stored record; `buffer` is where its value is decompressed.
pub(super) fn decode<'a>(stored: &'a [u8], buffer: &'a mut Vec<u8>) -> Result<Decoded<'a>, Damage> {
    let (checksum, rest) = stored.split_first_chunk().ok_or(Damage::Short)?;
    if crc32c::crc32c(rest) != u32::from_le_bytes(*checksum) {
        return Err(Damage::Checksum);
    }
    let (&kind, rest) = rest.split_first().ok_or(Damage::Short)?;
    let (timestamp, rest) = rest.split_first_chunk().ok_or(Damage::Short)?;
    let (key_length, rest) = rest.split_first_chunk().ok_or(Damage::Short)?;
    let (value_length, rest) = rest.split_first_chunk().ok_or(Damage::Short)?;
    let key_length = u32::from_le_bytes(*key_length) as usize;
    let value_length = u32::from_le_bytes(*value_length) as usize;
    let (key, value) = rest.split_at_checked(key_length).ok_or(Damage::Short)?;
    Ok(Decoded {
        timestamp: i64::from_le_bytes(*timestamp),
        key,
        value: decode_value(kind, value, value_length, buffer)?,
    })
}

fn decode_value<'a>(
    kind: u8,
    value: &'a [u8],
    length: usize,
    buffer: &'a mut Vec<u8>,
) -> Result<&'a [u8], Damage> {
    match kind {
        PLAIN if value.len() == length => return Ok(value),
        LZ4 if length <= MAX_VALUE_BYTES => {}
        _ => return Err(Damage::Value),
    }
    if buffer.len() < length {
        buffer.resize(length, 0);
    }
    match lz4_flex::block::decompress_into(value, &mut buffer[..length]) {
        Ok(decompressed) if decompressed == length => Ok(&buffer[..length]),
        _ => Err(Damage::Value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn record(value: Vec<u8>) -> NewRecord {
        NewRecord {
            timestamp: -7,
            key: Bytes::from_static(b"key"),
            value: Bytes::from(value),
        }
    }

    #[test]
    fn text_is_compressed_and_comes_back() {
        let record = record(b"2026-10-26 INFO GET /api\n".repeat(2000));
        let stored = Encoder::default().encode(&record);
        assert!(stored.len() * 3 < record.value.len());
        let decoded = Decoded {
            timestamp: -7,
            key: b"key",
            value: &record.value,
        };
        assert_eq!(decode(&stored, &mut Vec::new()), Ok(decoded));
    }

    #[test]
    fn what_cannot_be_compressed_stays_as_it_is() {
        let record = record((0..=255).collect());
        let stored = Encoder::default().encode(&record);
        assert_eq!(stored.len(), HEADER + 3 + 256);
        let mut buffer = Vec::new();
        assert_eq!(decode(&stored, &mut buffer).unwrap().value, record.value);
    }

    #[test]
    fn a_buffer_that_held_a_longer_value_does_no_harm() {
        let mut encoder = Encoder::default();
        let long = encoder.encode(&record(vec![b'a'; 9000]));
        let short = encoder.encode(&record(vec![b'b'; 900]));
        let mut buffer = Vec::new();
        assert_eq!(decode(&long, &mut buffer).unwrap().value.len(), 9000);
        assert_eq!(decode(&short, &mut buffer).unwrap().value, [b'b'; 900]);
    }

    #[test]
    fn every_changed_byte_and_every_cut_is_seen() {
        let stored = Encoder::default().encode(&record(b"lines\n".repeat(20)));
        let mut buffer = Vec::new();
        for at in 0..stored.len() {
            assert!(decode(&stored[..at], &mut buffer).is_err(), "cut at {at}");
            let mut changed = stored.clone();
            changed[at] ^= 1;
            assert_eq!(decode(&changed, &mut buffer), Err(Damage::Checksum));
        }
    }

    #[test]
    fn a_lie_behind_a_right_checksum_is_refused() {
        let stored = Encoder::default().encode(&record(b"lines\n".repeat(20)));
        for (at, byte) in [(4, 9), (4, PLAIN), (13, 255), (16, 255), (17, 1), (20, 255)] {
            let mut lie = stored.clone();
            lie[at] = byte;
            let checksum = crc32c::crc32c(&lie[4..]);
            lie[..4].copy_from_slice(&checksum.to_le_bytes());
            assert!(decode(&lie, &mut Vec::new()).is_err(), "byte {at}");
        }
    }
}
