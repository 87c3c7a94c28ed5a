//! Finds the files that the paths and globs of a pipeline mean, with their rotated siblings. It lists
//! folders and asks for metadata; it opens no file.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs;
use std::io;
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::identity::Place;
use super::names::{Age, is_compressed, rotated};

/// A file that may be followed.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Its path now.
    pub path: PathBuf,
    /// Where it is on the disk.
    pub place: Place,
    /// Its size in bytes.
    pub size: u64,
    /// When its content, size or name changed last, as seconds and nanoseconds since 1970.
    pub changed: (i64, i64),
    /// The log it belongs to: its own path, or that of the log it was rotated away from.
    pub base: PathBuf,
    /// A path or glob names it, and it is not a rotated sibling.
    pub live: bool,
}

/// What was found at one moment.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Files that may be followed, each once; within a log the oldest first, the live one last.
    pub candidates: Vec<Candidate>,
    /// Every name in the folders of the logs, by device and inode.
    pub names: HashMap<(u64, u64), PathBuf>,
    /// The folders that could be listed.
    pub folders: HashSet<PathBuf>,
    /// Compressed rotated files, each with the log it belongs to. They are never followed.
    pub compressed: Vec<(PathBuf, PathBuf)>,
    /// The paths and globs for which nothing was found.
    pub missing: Vec<String>,
    /// What cannot be looked at.
    pub faults: Vec<DiscoverError>,
}

/// Why files cannot be looked for.
#[derive(Debug, thiserror::Error)]
pub enum DiscoverError {
    /// The glob is malformed.
    #[error("path {pattern:?} is not a valid glob: correct it in spec.source.files.paths")]
    Pattern {
        /// The glob.
        pattern: String,
        /// What is wrong.
        #[source]
        source: glob::PatternError,
    },
    /// A folder was given.
    #[error("path {path:?} is a folder: name its files, for example with {path}/*.log")]
    Folder {
        /// The folder.
        path: String,
    },
    /// A device, pipe or socket was given.
    #[error(
        "path {path:?} is not a regular file, so there is no place in it to remember: name a file"
    )]
    NotAFile {
        /// The path.
        path: String,
    },
    /// A path cannot be looked at.
    #[error(
        "cannot read {path:?}: give this user the right to read the file and to enter its folder, or take the path out"
    )]
    Unreadable {
        /// The path.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl DiscoverError {
    /// What it is about.
    pub fn path(&self) -> &str {
        match self {
            Self::Pattern { pattern, .. } => pattern,
            Self::Folder { path } | Self::NotAFile { path } | Self::Unreadable { path, .. } => path,
        }
    }
}

/// Expands `patterns`. What cannot be looked at does not hide the rest.
pub fn discover(patterns: &[String]) -> Result<Snapshot, DiscoverError> {
    let mut snapshot = Snapshot::default();
    let mut bases: Bases<'_> = BTreeMap::new();
    for pattern in patterns {
        for (path, metadata) in expand(pattern, &mut snapshot.faults)? {
            let entry = bases.entry(path).or_insert((metadata, Vec::new()));
            entry.1.push(pattern.as_str());
        }
    }
    let siblings = siblings(&mut bases, &mut snapshot);
    let mut matched = HashSet::new();
    let mut seen = HashSet::new();
    let mut groups: BTreeMap<PathBuf, Vec<(Age, Candidate)>> = BTreeMap::new();
    for (path, (metadata, patterns)) in &bases {
        let Some(metadata) = metadata else { continue };
        matched.extend(patterns.iter().copied());
        let place = Place::of(metadata);
        // Two names of one file (links, overlapping globs) are one file.
        if seen.insert(place) {
            let candidate = candidate(path.clone(), metadata, path, true);
            groups
                .entry(path.clone())
                .or_default()
                .push((Age::Live, candidate));
        }
    }
    for (path, base, age) in siblings {
        let Ok(metadata) = fs::metadata(&path) else {
            continue; // gone since the folder was listed
        };
        if let Some((_, patterns)) = bases.get(&base) {
            matched.extend(patterns.iter().copied());
        }
        if metadata.is_file() && seen.insert(Place::of(&metadata)) {
            let candidate = candidate(path, &metadata, &base, false);
            groups.entry(base).or_default().push((age, candidate));
        }
    }
    for (_, mut group) in groups {
        group.sort_by(|a, b| a.0.cmp(&b.0));
        snapshot
            .candidates
            .extend(group.into_iter().map(|(_, candidate)| candidate));
    }
    let missing = patterns
        .iter()
        .filter(|pattern| !matched.contains(pattern.as_str()));
    snapshot.missing = missing.cloned().collect();
    Ok(snapshot)
}

fn candidate(path: PathBuf, metadata: &fs::Metadata, base: &Path, live: bool) -> Candidate {
    Candidate {
        path,
        place: Place::of(metadata),
        size: metadata.len(),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
        base: base.to_owned(),
        live,
    }
}

type Found = Vec<(PathBuf, Option<fs::Metadata>)>;

/// The files that one pattern names. A plain path is there even when its file is missing, because its
/// rotated siblings may not be.
fn expand(pattern: &str, faults: &mut Vec<DiscoverError>) -> Result<Found, DiscoverError> {
    let path = PathBuf::from(pattern);
    let plain = !pattern.contains(['*', '?', '[']);
    match fs::metadata(&path) {
        Ok(metadata) if metadata.is_dir() => {
            faults.push(DiscoverError::Folder {
                path: pattern.trim_end_matches('/').to_owned(),
            });
            return Ok(Vec::new());
        }
        Ok(metadata) if metadata.is_file() => return Ok(vec![(path, Some(metadata))]),
        Ok(_) => {
            faults.push(DiscoverError::NotAFile {
                path: pattern.to_owned(),
            });
            return Ok(Vec::new());
        }
        Err(error) if plain && error.kind() == io::ErrorKind::NotFound => {
            return Ok(vec![(path, None)]);
        }
        Err(source) if plain => {
            faults.push(DiscoverError::Unreadable {
                path: pattern.to_owned(),
                source,
            });
            return Ok(vec![(path, None)]);
        }
        Err(_) => {}
    }
    let paths = glob::glob(pattern).map_err(|source| DiscoverError::Pattern {
        pattern: pattern.to_owned(),
        source,
    })?;
    let mut found = Vec::new();
    for path in paths {
        let path = match path {
            Ok(path) => path,
            Err(error) => {
                let path = error.path().display().to_string();
                faults.extend(unlisted(path, error.into()));
                continue;
            }
        };
        let compressed = path
            .file_name()
            .is_some_and(|n| is_compressed(&n.to_string_lossy()));
        if compressed {
            continue;
        }
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => found.push((path, Some(metadata))),
            _ => {} // a folder, or gone since
        }
    }
    Ok(found)
}

/// A folder that could not be listed. One that went while the glob was expanded is no fault.
fn unlisted(path: String, source: io::Error) -> Option<DiscoverError> {
    let gone = matches!(
        source.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    );
    (!gone).then_some(DiscoverError::Unreadable { path, source })
}

/// Whether nothing is at a path any more that led to a file on this device. Where the folder is not mounted
/// yet, the nearest one above it is on another.
pub fn is_deleted(path: &Path, device: u64) -> bool {
    const MOST_LINKS: u32 = 40;
    let absent = |error: &io::Error| {
        matches!(
            error.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
        )
    };
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        let Ok(target) = fs::read_link(&path) else {
            break;
        };
        path = path.parent().unwrap_or(Path::new("")).join(target);
    }
    if !fs::symlink_metadata(&path).is_err_and(|error| absent(&error)) {
        return false;
    }
    let above = path.ancestors().skip(1).map(or_current);
    let nearest = above
        .map(fs::metadata)
        .find(|found| !found.as_ref().is_err_and(absent));
    nearest.is_some_and(|found| found.is_ok_and(|folder| folder.dev() == device))
}

fn or_current(folder: &Path) -> &Path {
    if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    }
}

type Bases<'a> = BTreeMap<PathBuf, (Option<fs::Metadata>, Vec<&'a str>)>;

/// Lists the folders of the logs and returns the rotated siblings (path, base, age). A file that a glob
/// names although it is a rotated sibling of another is taken out of `bases`.
fn siblings(bases: &mut Bases<'_>, snapshot: &mut Snapshot) -> Vec<(PathBuf, PathBuf, Age)> {
    // The folder and name under which siblings stand: those of the file itself where the path is a link.
    let mut folders: BTreeMap<PathBuf, HashMap<String, PathBuf>> = BTreeMap::new();
    let mut with_links: BTreeSet<&Path> = BTreeSet::new();
    for path in bases.keys() {
        let linked = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink());
        if linked {
            with_links.extend(path.parent());
        }
        let real = if linked {
            fs::canonicalize(path).ok()
        } else {
            None
        };
        let real = real.as_ref().unwrap_or(path);
        let (Some(folder), Some(name)) = (real.parent(), real.file_name()) else {
            continue;
        };
        folders
            .entry(folder.to_owned())
            .or_default()
            .insert(name.to_string_lossy().into_owned(), path.clone());
    }
    let can_be_listed = |folder: &&Path| fs::read_dir(or_current(folder)).is_ok();
    let listed = with_links.into_iter().filter(can_be_listed);
    snapshot.folders.extend(listed.map(Path::to_owned));
    let mut found = Vec::new();
    for (folder, logs) in folders {
        let listed = or_current(&folder);
        let (Ok(entries), Ok(metadata)) = (fs::read_dir(listed), fs::metadata(listed)) else {
            continue;
        };
        for entry in entries.flatten() {
            let path = folder.join(entry.file_name());
            let name = entry.file_name().to_string_lossy().into_owned();
            if is_compressed(&name) {
                let log = name.strip_suffix(".gz").and_then(|name| {
                    let rotated = rotated(name).map(|(log, _)| log);
                    rotated.chain([name]).find_map(|log| logs.get(log))
                });
                snapshot
                    .compressed
                    .extend(log.map(|base| (path, base.clone())));
                continue;
            }
            if let Some((base, age)) = rotated(&name).find_map(|(log, age)| {
                let base = logs.get(log)?;
                Some((base.clone(), age))
            }) {
                let named = bases.remove(&path).map(|(_, patterns)| patterns);
                if let Some((_, patterns)) = bases.get_mut(&base) {
                    patterns.extend(named.into_iter().flatten());
                }
                found.push((path.clone(), base, age));
            }
            snapshot.names.insert((metadata.dev(), entry.ino()), path);
        }
        snapshot.folders.insert(folder);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_mounted_or_cannot_be_looked_at_is_not_deleted() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("jobs/7/out.log");
        let device = fs::metadata(folder.path()).unwrap().dev();
        assert!(is_deleted(&path, device));
        assert!(!is_deleted(&path, device + 1));
        let link = folder.path().join("link.log");
        std::os::unix::fs::symlink("jobs/7/out.log", &link).unwrap();
        assert!(is_deleted(&link, device));
        // It leads to itself: nobody can look at what is below.
        let circle = folder.path().join("circle");
        std::os::unix::fs::symlink(&circle, &circle).unwrap();
        assert!(!is_deleted(&circle.join("out.log"), device));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        assert!(is_deleted(&path, device));
        fs::write(&path, "").unwrap();
        assert!(!is_deleted(&path, device) && !is_deleted(&link, device));
    }

    #[test]
    fn the_folder_of_a_link_is_listed_beside_that_of_its_file() {
        let folder = tempfile::TempDir::new().unwrap();
        let [links, data] = ["links", "data"].map(|name| folder.path().join(name));
        for folder in [&links, &data] {
            fs::create_dir(folder).unwrap();
        }
        fs::write(data.join("a.log"), "").unwrap();
        std::os::unix::fs::symlink(data.join("a.log"), links.join("a.log")).unwrap();
        let pattern = links.join("*.log").display().to_string();
        let snapshot = discover(&[pattern]).unwrap();
        let data = fs::canonicalize(data).unwrap();
        assert_eq!(snapshot.folders, HashSet::from([links, data]));
    }

    #[test]
    fn a_folder_that_went_while_it_was_listed_is_no_fault() {
        let fault = |kind: io::ErrorKind| unlisted("jobs/7".to_owned(), kind.into());
        assert!(fault(io::ErrorKind::NotFound).is_none());
        assert!(fault(io::ErrorKind::NotADirectory).is_none());
        let fault = fault(io::ErrorKind::PermissionDenied).unwrap();
        assert_eq!(fault.path(), "jobs/7");
    }
}
