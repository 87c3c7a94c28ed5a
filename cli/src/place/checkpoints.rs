//! The checkpoints of a run's data folder, read without a trace: the store itself makes its folder and a lock,
//! and an audit must leave what it looks at as it is. Touches the disk; never writes.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use logpipe_api::settings::partition_of_key;
use logpipe_workers::checkpoint::Checkpoint;

/// The first words of a checkpoint's file, and the version that is read here.
const MAGIC: &str = "logpipe checkpoint v";
const VERSION: u32 = 1;

/// The checkpoints in `dir`, by partition.
pub(super) fn read_all(dir: &Path) -> anyhow::Result<Vec<Checkpoint>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("failed to list {}", dir.display()))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if is_checkpoint(&name) {
            names.push(name);
        }
    }
    names.sort();
    let read = |name: &String| {
        let path = dir.join(name);
        let failed = || format!("failed to read the checkpoint {}", path.display());
        let bytes = fs::read(&path).with_context(failed)?;
        let value = value(&bytes).with_context(failed)?;
        Checkpoint::decode(value).with_context(failed)
    };
    names.iter().map(read).collect()
}

/// `p00003.checkpoint`: not the copy of the value before, nor one that is being written.
fn is_checkpoint(name: &str) -> bool {
    let key = name.strip_suffix(".checkpoint");
    key.is_some_and(|key| partition_of_key(key).is_some())
}

/// The value behind the first line, `logpipe checkpoint v1 crc32c=… length=…`.
pub(crate) fn value(bytes: &[u8]) -> anyhow::Result<&[u8]> {
    const DAMAGED: &str = "it is damaged: its first line is not that of a checkpoint";
    let end = bytes
        .iter()
        .position(|&byte| byte == b'\n')
        .context(DAMAGED)?;
    let (line, value) = (&bytes[..end], &bytes[end + 1..]);
    let line = std::str::from_utf8(line).context(DAMAGED)?;
    let mut words = line.strip_prefix(MAGIC).context(DAMAGED)?.split(' ');
    let version: u32 = words
        .next()
        .and_then(|word| word.parse().ok())
        .context(DAMAGED)?;
    if version > VERSION {
        bail!(
            "it has format version {version}, and this release reads version {VERSION}: run the newer release"
        );
    }
    let checksum = words.next().and_then(|word| word.strip_prefix("crc32c="));
    let checksum = checksum.and_then(|word| u32::from_str_radix(word, 16).ok());
    ensure!(
        checksum == Some(crc32c::crc32c(value)),
        "it is damaged: its checksum is not what its first line says"
    );
    Ok(value)
}

#[cfg(test)]
pub(crate) fn encode(checkpoint: &Checkpoint) -> Vec<u8> {
    let value = checkpoint.encode();
    let (checksum, length) = (crc32c::crc32c(&value), value.len());
    let line = format!("{MAGIC}{VERSION} crc32c={checksum:08x} length={length}\n");
    [line.into_bytes(), value].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::fixture::Tree;

    #[test]
    fn only_current_values_are_read() {
        let tree = Tree::good();
        assert_eq!(tree.place().checkpoints().unwrap(), tree.checkpoints);
        assert!(is_checkpoint("p00003.checkpoint"));
        for other in [
            "p00003.checkpoint.previous",
            "p00003.checkpoint.next",
            "p3.checkpoint",
            "p00003",
        ] {
            assert!(!is_checkpoint(other), "{other}");
        }
    }

    #[test]
    fn a_damaged_or_newer_checkpoint_is_an_error() {
        let tree = Tree::good();
        let good = encode(&tree.checkpoints[0]);
        assert_eq!(value(&good).unwrap(), tree.checkpoints[0].encode());
        let mut flipped = good.clone();
        *flipped.last_mut().unwrap() ^= 1;
        for bytes in [&flipped[..], &good[..good.len() - 1], b"", b"{}\n{}"] {
            assert!(
                value(bytes)
                    .unwrap_err()
                    .to_string()
                    .starts_with("it is damaged")
            );
        }
        let newer = value(b"logpipe checkpoint v2 anything\n{}").unwrap_err();
        assert!(newer.to_string().contains("run the newer release"));
    }
}
