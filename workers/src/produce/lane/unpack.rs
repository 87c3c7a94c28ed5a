//! The rest of a file that was compressed before it was read to its end. Reads the compressed file, and
//! writes a file without a name into the state folder: what was read must be compared, so places in it
//! must be reached in any order.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use crate::tail::identity::{Head, SAMPLE_BYTES};
use crate::tail::position::{Likeness, Position};

const STEP: usize = 64 * 1024;

/// Whose fault it is.
enum Failed {
    /// The compressed file cannot be read.
    Packed(io::Error),
    /// The state folder cannot take what is in it.
    Space(io::Error),
}

/// Unpacks the gzip file at `path` if it has this head and holds everything before `position`; returns
/// the content as an open file, and its size. `space` is the path where it stands for a moment. A file
/// that is gone, cannot be read, or is no whole gzip file is `None`: it cannot tell what it held. A state
/// folder that fails or is full is an error, which may pass.
pub(super) fn unpack(
    path: &Path,
    space: &Path,
    head: Option<Head>,
    position: &Position,
) -> io::Result<Option<(File, u64)>> {
    match unpack_file(path, space, head, position) {
        Ok(unpacked) => Ok(unpacked),
        Err(Failed::Space(error)) => Err(error),
        Err(Failed::Packed(error)) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(Failed::Packed(error)) => {
            let path = path.display();
            tracing::warn!(%path, %error, "a compressed file cannot be read; it cannot tell what it held");
            Ok(None)
        }
    }
}

fn unpack_file(
    path: &Path,
    space: &Path,
    head: Option<Head>,
    position: &Position,
) -> Result<Option<(File, u64)>, Failed> {
    let packed = File::open(path).map_err(Failed::Packed)?;
    let mut content = MultiGzDecoder::new(packed);
    let mut start = Vec::with_capacity(SAMPLE_BYTES);
    Read::by_ref(&mut content)
        .take(SAMPLE_BYTES as u64)
        .read_to_end(&mut start)
        .map_err(Failed::Packed)?;
    if head.is_some_and(|head| !head.begins(&start)) {
        return Ok(None);
    }
    let mut unpacked = make_space(space).map_err(Failed::Space)?;
    let mut content = start.as_slice().chain(content);
    let size = copy(&mut content, &mut unpacked)?;
    let likeness = position.compare(head, &unpacked, size);
    let likeness = likeness.map_err(Failed::Space)?;
    Ok((likeness == Likeness::Same).then_some((unpacked, size)))
}

fn make_space(path: &Path) -> io::Result<File> {
    let file = File::options()
        .create(true)
        .truncate(true)
        .read(true)
        .write(true)
        .open(path)?;
    fs::remove_file(path)?;
    Ok(file)
}

/// Copies everything, and tells which side failed.
fn copy(from: &mut impl Read, to: &mut File) -> Result<u64, Failed> {
    let mut buffer = vec![0; STEP];
    let mut size = 0;
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => return Ok(size),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(Failed::Packed(error)),
        };
        to.write_all(&buffer[..read]).map_err(Failed::Space)?;
        size += read as u64;
    }
}
