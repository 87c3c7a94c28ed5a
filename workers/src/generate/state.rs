//! `.app.log.generator.json`, next to `app.log`: with which settings, and from which time on, the lines are
//! written. Replaced atomically at each start and before each roll. Touches the disk.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use logpipe_api::pipeline::GeneratorFormat;
use serde::{Deserialize, Serialize};

use super::line::Lines;
use super::{GenerateError, GeneratorOptions};
use crate::durable::replace;

const VERSION: u32 = 1;

/// How far apart lines are when nobody paces them and their number is known: a million lines cover 2 h 46 min.
const UNPACED_MILLIS: u64 = 10;

/// What is needed to write any line from `epoch.n` on again, to the byte.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct State {
    version: u32,
    pub(super) producer: String,
    format: GeneratorFormat,
    seed: u64,
    malformed_percent: u8,
    max_events: u64,
    pub(super) epoch: Epoch,
    /// The next line when `app.log` is empty or missing: a reader may have removed all rolled files.
    pub(super) next: u64,
}

/// The times of the lines from `n` on: `lines` lines every `millis` milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Epoch {
    pub(super) n: u64,
    pub(super) start_millis: u64,
    lines: u64,
    millis: u64,
}

impl Epoch {
    /// The time of line `n` in milliseconds since 1970.
    pub(super) fn millis_of(&self, n: u64) -> u64 {
        let lines = n.saturating_sub(self.n);
        self.start_millis
            .saturating_add(lines.saturating_mul(self.millis) / self.lines.max(1))
    }

    /// The times from line `next` on, of a generator that starts at `now`.
    fn new(options: &GeneratorOptions, next: u64, now: u64) -> Self {
        let (lines, millis) = match options.events_per_second {
            // Nothing tells how fast lines will come. A million a second is near enough.
            0 if options.max_events == 0 => (1000, 1),
            0 => (1, UNPACED_MILLIS),
            rate => (rate, 1000),
        };
        let mut start_millis = now;
        if options.events_per_second == 0 {
            let lines = options.max_events.saturating_sub(next);
            start_millis = now.saturating_sub(lines.saturating_mul(UNPACED_MILLIS));
        }
        Self {
            n: next,
            start_millis,
            lines,
            millis,
        }
    }
}

impl State {
    /// The state of a generator that goes on with line `next` at `now`. The times of a known number of
    /// lines that nobody paces go on where they were.
    pub(super) fn start(
        before: Option<&Self>,
        options: &GeneratorOptions,
        next: u64,
        now: u64,
    ) -> Self {
        let fresh = Epoch::new(options, next, now);
        let goes_on = options.events_per_second == 0 && options.max_events > 0;
        let epoch = before
            .filter(|state| goes_on && state.max_events == options.max_events)
            .map(|state| state.epoch)
            .filter(|epoch| (epoch.lines, epoch.millis) == (fresh.lines, fresh.millis))
            .unwrap_or(fresh);
        Self {
            version: VERSION,
            producer: options.producer.clone(),
            format: options.format,
            seed: options.seed,
            malformed_percent: options.malformed_percent,
            max_events: options.max_events,
            epoch,
            next,
        }
    }

    /// A writer of the lines of this state.
    pub(super) fn lines(&self) -> Lines {
        Lines::new(
            &self.producer,
            self.format,
            self.seed,
            self.malformed_percent,
        )
    }

    /// Reads the state of `dir`, if there is one.
    pub(super) fn load(dir: &Path) -> Result<Option<Self>, GenerateError> {
        let path = path(dir);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(GenerateError::io("read", &path, error)),
        };
        let corrupt = |source| GenerateError::State {
            path: path.clone(),
            source,
        };
        let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(corrupt)?;
        let found = value["version"].as_u64().unwrap_or(0);
        if found > u64::from(VERSION) {
            return Err(GenerateError::NewerState { path, found });
        }
        serde_json::from_value(value).map(Some).map_err(corrupt)
    }

    /// Replaces the state of `dir`, as a whole or not at all.
    pub(super) fn save(&self, dir: &Path) -> Result<(), GenerateError> {
        let path = path(dir);
        let text = serde_json::to_vec(self).expect("the state holds nothing that JSON cannot");
        replace(&path, &text).map_err(|error| GenerateError::io("write", &path, error))
    }
}

fn path(dir: &Path) -> PathBuf {
    dir.join(".app.log.generator.json")
}

/// Keeps a second generator out of `dir` for as long as the file is open.
pub(super) fn lock(dir: &Path) -> Result<File, GenerateError> {
    let path = dir.join(".app.log.generator.lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|error| GenerateError::io("open", &path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(GenerateError::Busy {
            dir: dir.to_owned(),
        }),
        Err(fs::TryLockError::Error(error)) => Err(GenerateError::io("lock", &path, error)),
    }
}
