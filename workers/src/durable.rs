//! Making changes to files and folders survive a power cut. Touches the disk.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Makes a folder and those above it that are missing, each durably.
pub(crate) fn create_dir_all(dir: &Path) -> io::Result<()> {
    if dir.is_dir() || dir.as_os_str().is_empty() {
        return Ok(());
    }
    let parent = dir.parent().unwrap_or(dir);
    create_dir_all(parent)?;
    match fs::create_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => {}
        outcome => outcome?,
    }
    sync_dir(parent)
}

/// Replaces a file, whole or not at all, and waits until that is on the disk.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    put_into_place(&write_beside(path, bytes)?, path)
}

/// The first half of [`replace`]: writes the new content beside the file, and returns where that is.
pub(crate) fn write_beside(path: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    let mut file = File::create(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(new)
}

/// The other half: from now on the new content is the file's.
pub(crate) fn put_into_place(new: &Path, path: &Path) -> io::Result<()> {
    fs::rename(new, path)?;
    sync_dir(path.parent().unwrap_or(path))
}

/// Makes durable which files a folder has under which names.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    // The parent of a relative name is the current folder.
    let dir = if dir.as_os_str().is_empty() {
        Path::new(".")
    } else {
        dir
    };
    // Elsewhere a folder cannot be opened as a file, and its entries are journalled.
    if cfg!(unix) {
        File::open(dir)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_folders_are_made() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b/c");
        create_dir_all(&deep).unwrap();
        create_dir_all(&deep).unwrap();
        assert!(deep.is_dir());
    }

    #[test]
    fn a_file_is_replaced_and_nothing_is_left_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.json");
        for content in ["longer", "new"] {
            replace(&file, content.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), content);
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_cannot_be_replaced_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a");
        fs::write(&file, "old").unwrap();
        fs::create_dir(dir.path().join("a.new")).unwrap();
        assert!(replace(&file, b"new").is_err());
        assert_eq!(fs::read_to_string(&file).unwrap(), "old");
    }

    #[test]
    fn a_file_in_the_way_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a");
        fs::write(&file, "").unwrap();
        assert!(create_dir_all(&file).is_err());
        assert!(create_dir_all(&file.join("b")).is_err());
    }
}
