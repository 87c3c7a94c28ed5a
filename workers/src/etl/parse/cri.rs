//! Lines of container runtimes: `2026-01-31T07:00:00.123456789Z stdout F message`. Pure.

use super::slots::{self, LEVEL, MESSAGE, Slots, TIMESTAMP};
use super::time::{Clock, TimeFault};
use crate::etl::row::Reject;

/// The fields, by slot. The tag `P` says that the message goes on in the next line of the same stream.
pub(super) const FIELDS: [&str; 5] = ["timestamp", "level", "message", "stream", "tag"];
const STREAM: usize = LEVEL + 2;
const TAG: usize = STREAM + 1;

/// Reads a line. The message is kept to the byte, white space too: it is another program's line.
pub(super) fn read(line: &str, clock: &mut Clock, slots: &mut Slots) -> Result<(), Reject> {
    let (instant, end) = clock.any(line.as_bytes()).map_err(|fault| match fault {
        TimeFault::Absent => slots::missing("timestamp", line, 0),
        TimeFault::Invalid(why) => slots::no_such_time(why, line, 0),
    })?;
    slots.time = Some(instant);
    slots.set(TIMESTAMP, 0, end);
    let stream = end + 1;
    let rest = line.get(end..).unwrap_or_default();
    let after = [" stdout ", " stderr "]
        .iter()
        .find_map(|stream| rest.strip_prefix(stream));
    let after = after.ok_or_else(|| slots::missing("stream (stdout, stderr)", line, stream))?;
    let tag = stream + "stdout ".len();
    slots.set(STREAM, stream, tag - 1);
    let length = after.find(' ').unwrap_or(after.len());
    let flag = after[..length].split(':').next();
    if !matches!(flag, Some("F" | "P")) {
        return Err(slots::missing("tag (F, P)", line, tag));
    }
    slots.set(TAG, tag, tag + length);
    slots.set(MESSAGE, (tag + length + 1).min(line.len()), line.len());
    Ok(())
}
