//! Where to go on after the last run, which may have been killed in the middle of a line: reads the end of
//! `app.log` and completes a torn line to the byte. Touches the disk.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::check::{Checked, check};
use super::roll::rolled;
use super::state::State;
use super::{GenerateError, GeneratorOptions};

/// More than the longest line, and than any line a person would add.
const END_BYTES: u64 = 64 * 1024;

/// Completes a torn last line of `app.log`, and returns the number of the next line.
pub(super) fn resume(
    options: &GeneratorOptions,
    state: Option<&State>,
) -> Result<u64, GenerateError> {
    if let Some(state) = state
        && state.producer != options.producer
    {
        return Err(other_producer(options, &state.producer));
    }
    // Above what stands in `app.log`, if anything does: the state is written before each roll.
    let newest = rolled(&options.dir)?.last().copied();
    let floor = state.map_or(0, |state| state.next).max(newest.unwrap_or(0));

    let path = options.dir.join("app.log");
    let (end, whole) = match read_end(&path) {
        Ok(read) => read,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(floor),
        Err(error) => return Err(GenerateError::io("read", &path, error)),
    };
    let foreign = || GenerateError::Foreign { path: path.clone() };
    let (last, torn) = split_end(&end);
    let next = match last {
        Some(line) => match check(line) {
            Checked::Good { producer, n } if producer == options.producer => n + 1,
            Checked::Good { producer, .. } => return Err(other_producer(options, producer)),
            Checked::Bad { .. } | Checked::Absent => return Err(foreign()),
        },
        None if whole => floor,
        None => return Err(foreign()),
    };
    if torn.is_empty() {
        return Ok(next);
    }

    let state = state.ok_or_else(foreign)?;
    let mut line = Vec::new();
    state
        .lines()
        .push(&mut line, next, state.epoch.millis_of(next));
    let rest = line.strip_prefix(torn).ok_or_else(foreign)?;
    let mut file = File::options()
        .append(true)
        .open(&path)
        .map_err(|error| GenerateError::io("open", &path, error))?;
    file.write_all(rest)
        .map_err(|error| GenerateError::io("write", &path, error))?;
    Ok(next + 1)
}

fn other_producer(options: &GeneratorOptions, found: &str) -> GenerateError {
    GenerateError::OtherProducer {
        dir: options.dir.clone(),
        found: found.to_owned(),
        wanted: options.producer.clone(),
    }
}

/// The last bytes of a file, and whether these are all.
fn read_end(path: &Path) -> std::io::Result<(Vec<u8>, bool)> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    let start = size.saturating_sub(END_BYTES);
    file.seek(SeekFrom::Start(start))?;
    let mut end = Vec::new();
    file.take(END_BYTES).read_to_end(&mut end)?;
    Ok((end, start == 0))
}

/// The last complete line without its newline, if there is one, and what comes after it.
fn split_end(end: &[u8]) -> (Option<&[u8]>, &[u8]) {
    let Some(newline) = memchr::memrchr(b'\n', end) else {
        return (None, end);
    };
    let lines = &end[..newline];
    let begin = memchr::memrchr(b'\n', lines).map_or(0, |at| at + 1);
    (Some(&lines[begin..]), &end[newline + 1..])
}
