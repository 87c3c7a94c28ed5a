//! Seeded synthetic log lines into a rolling `app.log`, at a rate or as fast as the reader takes them. Each
//! line carries its producer, number and checksum, so that the auditor can prove that none is lost or
//! doubled. Touches the disk: `app.log`, its rolled files and two hidden files, all in one folder.
//!
//! A line is a pure function of the settings, its number and its time. So a generator that was killed at
//! any byte completes the torn line and goes on: no number is ever missing or twice.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use logpipe_api::pipeline::GeneratorFormat;

use crate::counters::Counters;

mod body;
mod check;
mod line;
mod random;
mod resume;
mod roll;
mod state;
mod text;

pub use check::{Checked, check, is_producer_name};

use line::Lines;
use state::State;

/// Bytes of one write: large enough that the system call costs nothing a line, small enough that a reader
/// that follows never waits.
const WRITE_BYTES: usize = 64 * 1024;

/// What to write, where, and how fast.
#[derive(Clone, Debug)]
pub struct GeneratorOptions {
    /// The name in each line's tail: 1 to 200 letters, digits, `.`, `_` and `-`.
    pub producer: String,
    /// The folder of `app.log`; made when it is missing.
    pub dir: PathBuf,
    /// Lines a second; 0 is as fast as possible.
    pub events_per_second: u64,
    /// Stop after this many lines, over all runs; 0 never stops.
    pub max_events: u64,
    /// What the lines look like.
    pub format: GeneratorFormat,
    /// The same seed writes the same messages.
    pub seed: u64,
    /// How many lines in a hundred are broken on purpose.
    pub malformed_percent: u8,
    /// `app.log` is put away at the first line that makes it at least this long.
    pub roll_bytes: u64,
    /// Who takes rolled files away.
    pub rolled: Rolled,
}

/// Who takes rolled files away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rolled {
    /// The generator, as logrotate does: whoever reads has to keep up.
    DeleteOldest {
        /// How many rolled files may stand, at least 1.
        keep: usize,
    },
    /// The reader, when it is done with a file. Until then the generator waits: nothing is lost.
    WaitForReader {
        /// How many rolled files may stand, at least 1.
        at_most: usize,
    },
}

/// What a run came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generated {
    /// Lines written by this run and those before it.
    pub total: u64,
    /// Lines written by this run.
    pub written: u64,
    /// All `max_events` lines are written.
    pub finished: bool,
}

/// Why the generator had to stop.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// The producer's name would blur the tail.
    #[error(
        "the producer's name {name:?} must be 1 to 200 letters, digits, '.', '_' and '-': choose another"
    )]
    Producer {
        /// The name.
        name: String,
    },
    /// Two generators would mix their lines.
    #[error("another generator writes to {}: stop it, or choose another folder", dir.display())]
    Busy {
        /// The folder.
        dir: PathBuf,
    },
    /// The lines of two producers would stand in one file.
    #[error(
        "{} holds lines of the generator {found:?}, not of {wanted:?}: choose another folder",
        dir.display()
    )]
    OtherProducer {
        /// The folder.
        dir: PathBuf,
        /// Whose lines it holds.
        found: String,
        /// Who wants to write.
        wanted: String,
    },
    /// The end of `app.log` is not a line of ours.
    #[error(
        "{} does not end in a line of this generator: move the file away, or choose another folder",
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The state is damaged.
    #[error(
        "{} is not the state of a generator: choose another folder, or delete the state and app.log to begin anew",
        path.display()
    )]
    State {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A newer release wrote the state.
    #[error(
        "{} has format version {found}, and this release reads version 1: run the newer release",
        path.display()
    )]
    NewerState {
        /// The file.
        path: PathBuf,
        /// The version it has.
        found: u64,
    },
    /// The disk is full. What was written stays good: the next start completes the last line.
    #[error(
        "the disk is full at {}: free some space and start again, the generator goes on where it stopped",
        path.display()
    )]
    DiskFull {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        #[source]
        source: std::io::Error,
    },
    /// The file system failed.
    #[error("failed to {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
}

impl GenerateError {
    /// Whether starting again may help, without a person who mends something first.
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Busy { .. } | Self::DiskFull { .. } | Self::Io { .. }
        )
    }

    fn io(action: &'static str, path: &Path, source: std::io::Error) -> Self {
        let path = path.to_owned();
        if matches!(
            source.kind(),
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded
        ) {
            return Self::DiskFull { path, source };
        }
        Self::Io {
            action,
            path,
            source,
        }
    }
}

/// Writes lines until all are written or `stop` is set. Goes on where the last run in the folder stopped,
/// also when that run was killed.
pub fn run(
    options: &GeneratorOptions,
    stop: &AtomicBool,
    counters: &Counters,
) -> Result<Generated, GenerateError> {
    if !is_producer_name(&options.producer) {
        return Err(GenerateError::Producer {
            name: options.producer.clone(),
        });
    }
    fs::create_dir_all(&options.dir)
        .map_err(|error| GenerateError::io("make", &options.dir, error))?;
    // Held until the end of the run.
    let _lock = state::lock(&options.dir)?;
    let before = State::load(&options.dir)?;
    let next = resume::resume(options, before.as_ref())?;
    let state = State::start(before.as_ref(), options, next, now_millis());
    state.save(&options.dir)?;

    counters.generated_before.set(next);
    let mut writer = Writer::open(options, state)?;
    writer.run(stop, counters)?;
    Ok(Generated {
        total: writer.next,
        written: writer.next - next,
        finished: writer.finished(),
    })
}

fn now_millis() -> u64 {
    // A clock before 1970 gives lines of 1970.
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().as_millis() as u64
}

struct Writer<'a> {
    options: &'a GeneratorOptions,
    state: State,
    lines: Lines,
    path: PathBuf,
    file: File,
    size: u64,
    next: u64,
    buffer: Vec<u8>,
}

impl<'a> Writer<'a> {
    fn open(options: &'a GeneratorOptions, state: State) -> Result<Self, GenerateError> {
        let path = options.dir.join("app.log");
        let (file, size) = open_append(&path)?;
        Ok(Self {
            options,
            lines: state.lines(),
            next: state.next,
            state,
            path,
            file,
            size,
            buffer: Vec::with_capacity(WRITE_BYTES + 1024),
        })
    }

    fn finished(&self) -> bool {
        self.options.max_events > 0 && self.next >= self.options.max_events
    }

    fn run(&mut self, stop: &AtomicBool, counters: &Counters) -> Result<(), GenerateError> {
        let begin = Instant::now();
        while !self.finished() && !stop.load(Ordering::Relaxed) {
            let due = self.due(begin.elapsed());
            if self.next >= due {
                std::thread::sleep(pause(self.options.events_per_second));
                continue;
            }
            if self.size > 0 && self.size >= self.options.roll_bytes && !self.roll(stop)? {
                break;
            }
            let lines = self.fill(due);
            self.file
                .write_all(&self.buffer)
                .map_err(|error| GenerateError::io("write", &self.path, error))?;
            self.size += self.buffer.len() as u64;
            self.next += lines;
            counters.generated.add(lines);
        }
        Ok(())
    }

    /// One after the last line that may be written when this much time has passed.
    fn due(&self, elapsed: Duration) -> u64 {
        let end = match self.options.max_events {
            0 => u64::MAX,
            max => max,
        };
        let rate = self.options.events_per_second;
        if rate == 0 {
            return end;
        }
        let passed = elapsed.as_micros() * u128::from(rate) / 1_000_000;
        end.min(self.state.epoch.n + 1 + passed as u64)
    }

    /// Fills the buffer with lines below `due`, up to the end of a write or of the file; returns how many.
    fn fill(&mut self, due: u64) -> u64 {
        self.buffer.clear();
        let room = self.options.roll_bytes.saturating_sub(self.size);
        let enough = usize::try_from(room).map_or(WRITE_BYTES, |room| room.min(WRITE_BYTES));
        let mut n = self.next;
        loop {
            let millis = self.state.epoch.millis_of(n);
            self.lines.push(&mut self.buffer, n, millis);
            n += 1;
            if n >= due || self.buffer.len() >= enough {
                return n - self.next;
            }
        }
    }

    /// Puts `app.log` away and begins a new one. `false` when it was stopped before there was room.
    fn roll(&mut self, stop: &AtomicBool) -> Result<bool, GenerateError> {
        let mut pause = || {
            std::thread::sleep(Duration::from_millis(5));
            !stop.load(Ordering::Relaxed)
        };
        if !roll::make_room(&self.options.dir, self.options.rolled, &mut pause)? {
            return Ok(false);
        }
        self.state.next = self.next;
        self.state.save(&self.options.dir)?;
        let rolled = roll::rolled_path(&self.options.dir, self.next);
        fs::rename(&self.path, &rolled)
            .map_err(|error| GenerateError::io("rename", &self.path, error))?;
        (self.file, self.size) = open_append(&self.path)?;
        Ok(true)
    }
}

fn open_append(path: &Path) -> Result<(File, u64), GenerateError> {
    let failed = |error| GenerateError::io("open", path, error);
    let file = File::options()
        .create(true)
        .append(true)
        .open(path)
        .map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    Ok((file, size))
}

/// How long to wait for the next lines: until about the next one, between 5 ms (batches) and 100 ms (so that
/// a stop is heard).
fn pause(rate: u64) -> Duration {
    Duration::from_millis((1000 / rate.max(1)).clamp(5, 100))
}

#[cfg(test)]
mod tests;
