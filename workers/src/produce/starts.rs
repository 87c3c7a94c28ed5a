//! Where a producer that is to begin at the ends of its files began in those that were there at its very
//! first start. This is on the disk, for all lanes at once, before the first of them reads: a start that
//! is cut off before every lane has saved its own state must not end in reading what nobody wanted.
//! Writes and reads one file.

use std::fs;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::ProducerOptions;
use super::state::StateError;
use crate::durable::replace;
use crate::tail::Starts;

/// See the module.
pub(super) struct StartsFile {
    path: PathBuf,
    topic_id: String,
}

const VERSION: u32 = 1;

#[derive(Deserialize)]
struct Version {
    v: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Content {
    v: u32,
    /// Another log is another first start.
    topic_id: String,
    files: Starts,
}

impl StartsFile {
    /// The file of a producer. Its lanes hold the locks of the folder.
    pub(super) fn of(options: &ProducerOptions, topic_id: String) -> Self {
        let path = options.state_dir.join(format!("{}.starts", options.name));
        Self { path, topic_id }
    }

    /// `None`: there was no first start yet.
    pub(super) fn load(&self) -> Result<Option<Starts>, StateError> {
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failed("read it", error)),
        };
        let damaged = |error: serde_json::Error| self.failed("understand it", error.into());
        let Version { v } = serde_json::from_slice(&bytes).map_err(damaged)?;
        if v > VERSION {
            return Err(StateError::Newer {
                path: self.path.display().to_string(),
                found: v,
            });
        }
        let content: Content = serde_json::from_slice(&bytes).map_err(damaged)?;
        Ok((content.topic_id == self.topic_id).then_some(content.files))
    }

    /// Writes it, whole or not at all, and waits until it is on the disk.
    pub(super) fn save(&self, files: Starts) -> Result<(), StateError> {
        let content = Content {
            v: VERSION,
            topic_id: self.topic_id.clone(),
            files,
        };
        let bytes = serde_json::to_vec(&content).expect("it holds nothing that JSON cannot");
        replace(&self.path, &bytes).map_err(|error| self.failed("write it", error))
    }

    fn failed(&self, action: &'static str, source: io::Error) -> StateError {
        StateError::Io {
            path: self.path.display().to_string(),
            action,
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tail::position::Position;

    #[test]
    fn the_starts_of_another_log_are_none_and_those_of_a_newer_release_are_refused() {
        let folder = tempfile::TempDir::new().unwrap();
        let of = |topic: &str| StartsFile {
            path: folder.path().join("test.starts"),
            topic_id: topic.to_owned(),
        };
        let starts = Starts::from([(7, Position::at(3))]);
        assert_eq!(of("a").load().unwrap(), None);
        of("a").save(starts.clone()).unwrap();
        assert_eq!(of("a").load().unwrap(), Some(starts));
        assert_eq!(of("b").load().unwrap(), None);
        fs::write(&of("a").path, r#"{"v":2,"other":[]}"#).unwrap();
        let error = of("a").load().unwrap_err();
        assert!(matches!(error, StateError::Newer { found: 2, .. }));
    }
}
