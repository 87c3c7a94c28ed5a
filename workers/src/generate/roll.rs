//! Rolled files, `app.log.<n>` where `n` is the line that came next, and who takes them away. Touches the
//! disk.

use std::fs;
use std::path::{Path, PathBuf};

use super::{GenerateError, Rolled};

/// The name under which `app.log` is put away before line `next` is written.
pub(super) fn rolled_path(dir: &Path, next: u64) -> PathBuf {
    dir.join(format!("app.log.{next:012}"))
}

/// The rolled files in `dir` by number, oldest first.
pub(super) fn rolled(dir: &Path) -> Result<Vec<u64>, GenerateError> {
    let failed = |error| GenerateError::io("list", dir, error);
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        numbers.extend(name.to_str().and_then(number));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("app.log.")?;
    let ours = digits.len() >= 12 && digits.bytes().all(|byte| byte.is_ascii_digit());
    ours.then(|| digits.parse().ok())?
}

/// Makes room for one more rolled file. `pause` waits a little, and says `false` when it is time to stop;
/// so does this function then.
pub(super) fn make_room(
    dir: &Path,
    mode: Rolled,
    pause: &mut dyn FnMut() -> bool,
) -> Result<bool, GenerateError> {
    match mode {
        Rolled::DeleteOldest { keep } => {
            let numbers = rolled(dir)?;
            let room = keep.max(1) - 1;
            for &number in &numbers[..numbers.len().saturating_sub(room)] {
                let path = rolled_path(dir, number);
                fs::remove_file(&path)
                    .map_err(|error| GenerateError::io("remove", &path, error))?;
            }
            Ok(true)
        }
        Rolled::WaitForReader { at_most } => {
            while rolled(dir)?.len() >= at_most.max(1) {
                if !pause() {
                    return Ok(false);
                }
            }
            Ok(true)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(numbers: &[u64]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for &number in numbers {
            fs::write(rolled_path(dir.path(), number), "").unwrap();
        }
        fs::write(dir.path().join("app.log"), "").unwrap();
        fs::write(dir.path().join("app.log.1"), "").unwrap();
        dir
    }

    #[test]
    fn only_names_of_ours_count() {
        let dir = folder(&[7, 1_000_000_000_000, 30]);
        assert_eq!(rolled(dir.path()).unwrap(), [7, 30, 1_000_000_000_000]);
    }

    #[test]
    fn the_oldest_make_room() {
        let dir = folder(&[10, 20, 30]);
        let mut never = || panic!("nothing to wait for");
        assert!(make_room(dir.path(), Rolled::DeleteOldest { keep: 2 }, &mut never).unwrap());
        assert_eq!(rolled(dir.path()).unwrap(), [30]);
    }

    #[test]
    fn the_generator_waits_until_the_reader_has_removed_a_file() {
        let dir = folder(&[10, 20]);
        let mut pauses = 0;
        let mut pause = || {
            pauses += 1;
            if pauses == 3 {
                fs::remove_file(rolled_path(dir.path(), 10)).unwrap();
            }
            true
        };
        assert!(make_room(dir.path(), Rolled::WaitForReader { at_most: 2 }, &mut pause).unwrap());
        assert_eq!(pauses, 3);
        assert_eq!(rolled(dir.path()).unwrap(), [20]);
    }

    #[test]
    fn waiting_ends_when_it_is_time_to_stop() {
        let dir = folder(&[10]);
        let mode = Rolled::WaitForReader { at_most: 1 };
        assert!(!make_room(dir.path(), mode, &mut || false).unwrap());
        assert_eq!(rolled(dir.path()).unwrap(), [10]);
    }
}
