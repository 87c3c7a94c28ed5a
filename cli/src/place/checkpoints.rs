//! The checkpoints of a run's data folder, read without a trace: the store itself makes its folder and a lock,
//! and an audit must leave what it looks at as it is. Touches the disk; never writes.

use std::fs;
use std::path::Path;

use anyhow::Context;
use logpipe_api::settings::partition_of_key;
use logpipe_workers::checkpoint::{Checkpoint, file};

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
        let value = file::decode(&bytes).with_context(failed)?;
        Checkpoint::decode(value).with_context(failed)
    };
    names.iter().map(read).collect()
}

/// `p00003.checkpoint`: not the copy of the value before, nor one that is being written.
fn is_checkpoint(name: &str) -> bool {
    let key = name.strip_suffix(".checkpoint");
    key.is_some_and(|key| partition_of_key(key).is_some())
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
        let place = tree.place();
        let path = tree.path().join("checkpoints/p00001.checkpoint");
        let good = fs::read(&path).unwrap();
        let mut flipped = good.clone();
        *flipped.last_mut().unwrap() ^= 1;
        for (bytes, why) in [
            (&flipped[..], "it is damaged"),
            (&good[..good.len() - 1], "it is damaged"),
            (b"", "it is damaged"),
            (b"{}\n{}", "it is damaged"),
            (
                b"logpipe checkpoint v2 anything\n{}",
                "run the newer release",
            ),
        ] {
            fs::write(&path, bytes).unwrap();
            let error = place.checkpoints().unwrap_err();
            let text = format!("{error:#}");
            assert!(
                text.contains("p00001.checkpoint") && text.contains(why),
                "{text}"
            );
        }
    }
}
