//! Which files are meant by the `-f` of the command line. Reads folders.

use std::path::{Path, PathBuf};

use crate::manifest::{Checked, unreadable};

/// A file to check, or the reason why there is none.
pub(super) enum Source {
    /// It was named.
    Named(PathBuf),
    /// It is in a folder that was named.
    Found(PathBuf),
    Unusable(Checked),
}

/// The files in the order they are named; those of a folder in the order of their names.
pub(super) fn expand(named: Vec<PathBuf>) -> Vec<Source> {
    let mut sources = Vec::new();
    for path in named {
        if !path.is_dir() {
            sources.push(Source::Named(path));
            continue;
        }
        let before = sources.len();
        add_folder(&path, &mut sources);
        if sources.len() == before {
            let message = format!("there is no *.yaml, *.yml or *.json in {}", path.display());
            sources.push(unusable(&path, message));
        }
    }
    sources
}

/// Hidden entries are left out, and links to folders are not followed, so that no link makes a circle.
fn add_folder(folder: &Path, sources: &mut Vec<Source>) {
    let entries = std::fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let mut entries = match entries {
        Ok(entries) => entries,
        Err(error) => {
            sources.push(unusable(
                folder,
                format!("the folder {} cannot be read: {error}", folder.display()),
            ));
            return;
        }
    };
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        let folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if hidden {
            continue;
        }
        if folder {
            add_folder(&path, sources);
        } else if is_manifest(&path) && !path.is_dir() {
            sources.push(Source::Found(path));
        }
    }
}

fn is_manifest(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("yaml" | "yml" | "json"))
}

fn unusable(path: &Path, message: String) -> Source {
    Source::Unusable(unreadable(
        path.display().to_string(),
        String::new(),
        0,
        message,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(sources: &[Source]) -> Vec<String> {
        let name = |source: &Source| match source {
            Source::Named(path) | Source::Found(path) => {
                path.file_name().unwrap_or_default().display().to_string()
            }
            Source::Unusable(checked) => format!("! {}", checked.faults[0].message),
        };
        sources.iter().map(name).collect()
    }

    #[test]
    fn a_folder_stands_for_the_manifests_below_it() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("b/deep")).unwrap();
        std::fs::create_dir_all(folder.path().join(".git")).unwrap();
        for file in [
            "c.yml",
            "a.yaml",
            "b/deep/b.json",
            "notes.txt",
            ".hidden.yaml",
            ".git/x.yaml",
        ] {
            std::fs::write(folder.path().join(file), "").unwrap();
        }
        let sources = expand(vec![folder.path().to_owned()]);
        assert_eq!(names(&sources), ["a.yaml", "b.json", "c.yml"]);
    }

    #[test]
    fn a_folder_without_manifests_is_not_valid() {
        let folder = tempfile::tempdir().unwrap();
        let sources = expand(vec![folder.path().to_owned()]);
        assert!(names(&sources)[0].starts_with("! there is no *.yaml"));
    }

    #[test]
    fn a_named_file_is_taken_whatever_its_name() {
        let sources = expand(vec![PathBuf::from("-"), PathBuf::from("manifest.txt")]);
        assert_eq!(names(&sources), ["-", "manifest.txt"]);
    }
}
