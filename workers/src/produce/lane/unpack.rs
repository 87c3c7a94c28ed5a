//! The rest of a file that was compressed before it was read to its end. Reads the compressed file, and
//! writes a file without a name into the state folder: what was read must be compared, so places in it
//! must be reached in any order.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use crate::tail::identity::{Head, SAMPLE_BYTES};
use crate::tail::position::{Likeness, Position};

/// Unpacks the gzip file at `path` if it has this head and holds everything before `position`; returns
/// the content as an open file, and its size. `space` is the path where it stands for a moment. A file
/// that is gone, or is no whole gzip file, is `None`; a disk that fails or is full is an error.
pub(super) fn unpack(
    path: &Path,
    space: &Path,
    head: Option<Head>,
    position: &Position,
) -> io::Result<Option<(File, u64)>> {
    let packed = match File::open(path) {
        Ok(packed) => packed,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match unpack_file(packed, space, head, position) {
        Err(error) if is_damage(&error) => {
            let path = path.display();
            tracing::warn!(%path, %error, "a compressed file is damaged; it cannot tell what it held");
            Ok(None)
        }
        result => result,
    }
}

fn is_damage(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::InvalidInput | ErrorKind::InvalidData | ErrorKind::UnexpectedEof
    )
}

fn unpack_file(
    packed: File,
    space: &Path,
    head: Option<Head>,
    position: &Position,
) -> io::Result<Option<(File, u64)>> {
    let mut content = MultiGzDecoder::new(packed);
    let mut start = Vec::with_capacity(SAMPLE_BYTES);
    content
        .by_ref()
        .take(SAMPLE_BYTES as u64)
        .read_to_end(&mut start)?;
    if head.is_some_and(|head| !head.begins(&start)) {
        return Ok(None);
    }
    let mut unpacked = File::options()
        .create(true)
        .truncate(true)
        .read(true)
        .write(true)
        .open(space)?;
    fs::remove_file(space)?;
    let size = io::copy(&mut start.as_slice().chain(content), &mut unpacked)?;
    let likeness = position.compare(head, &unpacked, size)?;
    Ok((likeness == Likeness::Same).then_some((unpacked, size)))
}
