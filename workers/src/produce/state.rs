//! The state file of a lane: which files it follows and how far it has come. It is a cache of what the
//! log says, so an older one only makes the next scan longer. Writes and reads one folder.
//!
//! One header line, `logpipe producer state v1 crc32c=… length=…`, then JSON. A new one is written beside
//! it and renamed into place; the one before is kept as `….state.previous`.

use std::cell::Cell;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::durable;
use crate::log::Offset;
use crate::tail::FileState;

const TITLE: &str = "logpipe producer state ";
const VERSION: u32 = 1;

/// What a lane remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// The id of the topic whose offsets these are.
    pub topic_id: String,
    /// The generation that wrote it.
    pub generation: u32,
    /// The sequence of the next line.
    pub next: u64,
    /// Records below this offset are accounted for here.
    pub scan_from: Offset,
    /// Which start of the machine it was, where the system tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// The files.
    pub files: Vec<FileState>,
}

/// Why a state file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Both copies are damaged.
    #[error(
        "state file {path}: it and its previous copy are damaged ({reason}): restore one of them from a backup, or begin anew in a new place, with a prefix and a data folder of its own"
    )]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong with the current one.
        reason: &'static str,
    },
    /// A newer release wrote it.
    #[error(
        "state file {path} has version {found}, and this release reads version {VERSION}: run the newer release"
    )]
    Newer {
        /// The file.
        path: String,
        /// Its version.
        found: u32,
    },
    /// Another process uses it.
    #[error(
        "state file {path} is in use by another process: stop that one, or give this one another name or state folder"
    )]
    InUse {
        /// The file.
        path: String,
    },
    /// The disk failed, or is full.
    #[error("state file {path}: failed to {action}; what stood there before is kept")]
    Io {
        /// The file.
        path: String,
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

/// The state file of one producer key, held against other processes while this exists.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
    /// The current copy is good, so it may become the previous one.
    good: Cell<bool>,
    _lock: File,
}

enum Copy {
    Missing,
    Good(State),
    Bad(&'static str),
}

impl StateFile {
    /// Makes the folder where it is missing, and takes the lock.
    pub fn open(folder: &Path, producer: &str) -> Result<Self, StateError> {
        let path = folder.join(format!("{producer}.state"));
        let shown = path.display().to_string();
        let failed = |action| {
            let path = shown.clone();
            move |source| StateError::Io {
                path,
                action,
                source,
            }
        };
        fs::create_dir_all(folder).map_err(failed("make its folder"))?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.with_extension("lock"))
            .map_err(failed("open its lock file"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path,
                good: Cell::new(false),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(StateError::InUse { path: shown }),
            Err(TryLockError::Error(source)) => Err(failed("lock it")(source)),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file by which somebody says that nothing was ever written under this producer key. It is
    /// removed with the first save.
    pub fn begin_path(&self) -> PathBuf {
        self.path.with_extension("begin")
    }

    /// Whether that file is there.
    pub fn may_begin(&self) -> bool {
        self.begin_path().exists()
    }

    fn previous(&self) -> PathBuf {
        self.path.with_extension("state.previous")
    }

    /// The state, or that of the previous copy where the current one is damaged. `None`: there is none.
    pub fn load(&self) -> Result<Option<State>, StateError> {
        self.good.set(false);
        let reason = match self.read(&self.path)? {
            Copy::Good(state) => {
                self.good.set(true);
                return Ok(Some(state));
            }
            Copy::Missing => None,
            Copy::Bad(reason) => Some(reason),
        };
        match (self.read(&self.previous())?, reason) {
            (Copy::Good(state), reason) => {
                let (path, reason) = (self.path.display(), reason.unwrap_or("it is missing"));
                tracing::warn!(%path, reason, "state file unusable; using its previous copy");
                Ok(Some(state))
            }
            (Copy::Missing, None) => Ok(None),
            (Copy::Bad(reason), None) | (_, Some(reason)) => Err(StateError::Damaged {
                path: self.path.display().to_string(),
                reason,
            }),
        }
    }

    fn read(&self, path: &Path) -> Result<Copy, StateError> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Copy::Missing),
            Err(error) => return Err(self.failed("read it")(error)),
        };
        match decode(&bytes) {
            Ok(state) => Ok(Copy::Good(state)),
            Err(Fault::Damaged(reason)) => Ok(Copy::Bad(reason)),
            Err(Fault::Newer(found)) => Err(StateError::Newer {
                path: path.display().to_string(),
                found,
            }),
        }
    }

    /// Replaces the state, whole or not at all, and waits until it is on the disk.
    pub fn save(&self, state: &State) -> Result<(), StateError> {
        let new = durable::write_beside(&self.path, &encode(state))
            .map_err(self.failed("write its new copy"))?;
        if self.good.get() {
            self.keep_previous()
                .map_err(self.failed("keep its previous copy"))?;
        }
        durable::put_into_place(&new, &self.path)
            .map_err(self.failed("put its new copy into place"))?;
        self.good.set(true);
        missing_is_fine(fs::remove_file(self.begin_path()))
            .map_err(self.failed("remove the file that allowed its first start"))
    }

    fn keep_previous(&self) -> io::Result<()> {
        // A second link leaves no moment without a current file.
        missing_is_fine(fs::remove_file(self.previous()))?;
        match fs::hard_link(&self.path, self.previous()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                // Not every file system has links.
                missing_is_fine(fs::rename(&self.path, self.previous()))
            }
            _ => Ok(()),
        }
    }

    fn failed(&self, action: &'static str) -> impl FnOnce(io::Error) -> StateError + use<> {
        let path = self.path.display().to_string();
        move |source| StateError::Io {
            path,
            action,
            source,
        }
    }
}

fn missing_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn encode(state: &State) -> Vec<u8> {
    let json = serde_json::to_vec(state).expect("a state holds nothing that JSON cannot");
    let crc = crc32c::crc32c(&json);
    let header = format!("{TITLE}v{VERSION} crc32c={crc:08x} length={}\n", json.len());
    [header.into_bytes(), json].concat()
}

enum Fault {
    Damaged(&'static str),
    Newer(u32),
}

fn decode(bytes: &[u8]) -> Result<State, Fault> {
    let damaged = Fault::Damaged;
    let newline = memchr::memchr(b'\n', bytes).ok_or(damaged("it has no header line"))?;
    let (header, json) = bytes.split_at(newline);
    let json = &json[1..];
    let header = std::str::from_utf8(header).ok();
    let header = header.and_then(|header| header.strip_prefix(TITLE));
    let header = header.ok_or(damaged("its header is not one of ours"))?;
    let mut fields = header.split(' ');
    let version = fields.next().and_then(|field| field.strip_prefix('v'));
    match version.and_then(|version| version.parse().ok()) {
        Some(VERSION) => {}
        Some(found) if found > VERSION => return Err(Fault::Newer(found)),
        _ => return Err(damaged("its header has no version")),
    }
    let (mut crc, mut length) = (None, None);
    for (name, value) in fields.filter_map(|field| field.split_once('=')) {
        match name {
            "crc32c" => crc = u32::from_str_radix(value, 16).ok(),
            "length" => length = value.parse::<usize>().ok(),
            _ => {}
        }
    }
    if length != Some(json.len()) {
        return Err(damaged("it is cut off"));
    }
    if crc != Some(crc32c::crc32c(json)) {
        return Err(damaged("its checksum is wrong"));
    }
    serde_json::from_slice(json).map_err(|_| damaged("its content is not a state"))
}
