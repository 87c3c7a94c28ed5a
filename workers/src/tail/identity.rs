//! What makes a file the same file: where it is, how it begins, and what stands before the place that was
//! read last. A name is no identity, and an inode alone is none either: it is used again. Reads files.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// How many bytes a hash covers at most.
pub const SAMPLE_BYTES: usize = 1024;

/// The id of a file, as it stands in record keys.
pub type FileId = u64;

/// Where a file is on the disk, independent of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The device's number. It may change when the machine starts again.
    pub device: u64,
    /// The inode's number. It is used again when the file is gone.
    pub inode: u64,
    /// When the file was made, in nanoseconds since 1970, where the file system knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub birth: Option<u64>,
}

impl Place {
    /// The place of an open file or of what a path leads to.
    pub fn of(metadata: &Metadata) -> Self {
        let birth = metadata.created().ok();
        let birth = birth.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            birth: birth.map(|since| since.as_nanos() as u64),
        }
    }
}

/// Which start of the machine this is; `None` where the system does not tell.
pub fn boot_id() -> Option<String> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned())
}

/// How a file begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Head {
    /// How many bytes: the first line, at most [`SAMPLE_BYTES`].
    pub len: u32,
    /// Their hash.
    pub hash: u64,
}

impl Head {
    /// The head of a file that begins with `bytes`; `None` while its first line is not complete, unless
    /// `complete` says that nothing follows.
    pub fn of(bytes: &[u8], complete: bool) -> Option<Self> {
        let sample = &bytes[..bytes.len().min(SAMPLE_BYTES)];
        let len = match memchr::memchr(b'\n', sample) {
            Some(newline) => newline + 1,
            None if sample.len() == SAMPLE_BYTES || (complete && !sample.is_empty()) => {
                sample.len()
            }
            None => return None,
        };
        Some(Self {
            len: len as u32,
            hash: hash(&sample[..len]),
        })
    }

    /// Whether a file that begins with `bytes` begins like this.
    pub fn begins(self, bytes: &[u8]) -> bool {
        bytes
            .get(..self.len as usize)
            .is_some_and(|head| hash(head) == self.hash)
    }
}

/// The id of a file that has this place and head. `salt` counts the earlier files that had the same: one
/// that was truncated and begins with the same line again, say.
pub fn file_id(place: &Place, head: Head, salt: u32) -> FileId {
    let mut bytes = Vec::with_capacity(48);
    bytes.extend_from_slice(&place.device.to_be_bytes());
    bytes.extend_from_slice(&place.inode.to_be_bytes());
    bytes.extend_from_slice(&place.birth.unwrap_or(0).to_be_bytes());
    bytes.extend_from_slice(&head.len.to_be_bytes());
    bytes.extend_from_slice(&head.hash.to_be_bytes());
    bytes.extend_from_slice(&salt.to_be_bytes());
    hash(&bytes)
}

/// The first 8 bytes of the SHA-256: ids and hashes are stored, so they must never change.
pub fn hash(bytes: &[u8]) -> u64 {
    let digest = Sha256::digest(bytes);
    u64::from_be_bytes(digest[..8].try_into().expect("a digest has 32 bytes"))
}

/// The hash of some bytes at a known place of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The offset behind the bytes.
    pub at: u64,
    /// How many bytes.
    pub len: u32,
    /// Their hash.
    pub hash: u64,
}

impl Mark {
    /// Whether these bytes still stand there.
    pub fn stands(&self, file: &File) -> io::Result<bool> {
        let len = u64::from(self.len);
        let Some(start) = self.at.checked_sub(len) else {
            return Ok(false);
        };
        let bytes = read_range(file, start, self.len as usize)?;
        Ok(bytes.len() == self.len as usize && hash(&bytes) == self.hash)
    }
}

/// Up to `len` bytes of a file from `start` on; fewer only where it ends.
pub fn read_range(file: &File, start: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    let filled = read_full(file, start, &mut bytes)?;
    bytes.truncate(filled);
    Ok(bytes)
}

/// Fills `buffer` from `start` on; returns less than its length only where the file ends.
pub fn read_full(file: &File, start: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], start + filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
