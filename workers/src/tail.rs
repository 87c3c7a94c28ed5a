//! Follows files: which file is which, through every kind of rotation, and how its bytes become lines.
//!
//! [`registry`] decides, for all lanes of a producer, which file on the disk continues which known file;
//! the lanes ([`crate::produce`]) read them. The two talk in [`Order`]s and [`Note`]s, so that a slow sink
//! never holds up the discovery of a rotation. This module reads files and lists folders; it writes
//! nothing and knows nothing of the log.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub mod discover;
pub mod identity;
pub mod names;
pub mod position;
pub mod registry;
pub mod split;

use identity::{FileId, Head, Place};
use position::Position;

/// Where files begin that are not read from their beginning.
pub type Starts = BTreeMap<FileId, Position>;

/// A file as it is remembered across restarts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileState {
    /// Its id, as in record keys.
    pub id: FileId,
    /// The path under which it was seen last.
    pub path: PathBuf,
    /// Where it was; unknown for a file that is known from the log only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// How it begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<Head>,
    /// How far it was read.
    pub position: Position,
    /// Copies of it, which must not be read again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copies: Vec<Place>,
    /// Its end was reached, or its rest was lost, and it is not there any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gone: bool,
}

/// What a lane is told about one of its files, or about all of them.
#[derive(Clone, Debug)]
pub enum Order {
    /// Read this file.
    Follow(Box<Follow>),
    /// It has another path now, or is (not) the live one any more.
    Moved {
        /// The file.
        id: FileId,
        /// Its path.
        path: PathBuf,
        /// It has not been rotated away.
        live: bool,
    },
    /// It has no name any more: finish what the open handle still reaches.
    Vanished(FileId),
    /// It has a new size: look at once.
    Touched(FileId),
    /// Answer whether it still holds what was read.
    Check(FileId),
    /// Nothing on the disk continues it, but one of these compressed files may hold its unread rest.
    Unpack {
        /// The file.
        id: FileId,
        /// The compressed files.
        from: Vec<PathBuf>,
    },
    /// Its unread rest is lost: nothing on the disk continues it.
    GiveUp(FileId),
    /// This is a copy of it.
    Copied {
        /// The file.
        id: FileId,
        /// Where the copy is.
        place: Place,
    },
    /// What was a copy of it is another file by now.
    NotCopied {
        /// The file.
        id: FileId,
        /// Where the copy was.
        place: Place,
    },
    /// From now on, a partial line at the end of a file is a line; say when everything is read.
    Finish,
    /// Flush, save and return.
    End,
}

/// Begin or go on with a file.
#[derive(Clone, Debug)]
pub struct Follow {
    /// Its id.
    pub id: FileId,
    /// Its path.
    pub path: PathBuf,
    /// Where it is on the disk.
    pub place: Place,
    /// How it begins.
    pub head: Option<Head>,
    /// It has not been rotated away.
    pub live: bool,
    /// Files of the same group are read one after the other, in order of their rank.
    pub group: u64,
    /// See `group`.
    pub rank: u64,
    /// Where to begin, instead of where the lane knows it to be.
    pub position: Option<Position>,
}

/// What a lane tells about its files.
#[derive(Debug)]
pub enum Note {
    /// The lane knows these files from its state or its partition, and follows none of them.
    Known {
        /// The lane.
        lane: u32,
        /// Its files.
        files: Vec<FileState>,
        /// It has neither state nor records: it was never started before.
        fresh: bool,
        /// The machine was started again since the state was saved, so files may have lost their ends.
        rebooted: bool,
    },
    /// The file does not hold any more what was read from it.
    Broken(FileState),
    /// A [`Order::Check`] found the file as it should be.
    Intact(FileId),
    /// The file has no name, was read to its end and is closed.
    Closed(FileState),
    /// The compressed files of an [`Order::Unpack`] can be read, but not unpacked now.
    Later(FileState),
    /// The file was removed by the lane, and is forgotten.
    Removed(FileId),
    /// Every file was read to its end, and this many orders were carried out until then.
    AtEnd {
        /// The lane.
        lane: u32,
        /// How many orders.
        orders: u64,
    },
}
