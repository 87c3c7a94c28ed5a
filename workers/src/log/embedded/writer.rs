//! The one thread that writes an embedded log. Each transaction takes all that waits (*group commit*), so
//! that one fsync serves every sink. Touches the disk.

use std::ops::Range;

use super::super::Offset;
use super::file::{self, LogFile};
use super::queue::{Queue, Work};

/// Writes until no more comes, or until something fails: then the log is closed, and what was not
/// acknowledged is not claimed.
pub(super) fn run(file: &LogFile, queue: &Queue, mut bounds: Vec<Range<Offset>>) {
    // Tells those who wait even if this thread dies of a panic.
    let _guard = FailOnDrop(queue);
    while let Some(mut work) = queue.take() {
        if let Err(error) = commit(file, &mut work, &mut bounds) {
            queue.fail(&explain(&error));
            return;
        }
        queue.commit(&work, &bounds);
    }
}

fn commit(
    file: &LogFile,
    work: &mut Work,
    bounds: &mut [Range<Offset>],
) -> Result<(), redb::Error> {
    let transaction = file.write()?;
    for &(partition, before) in &work.trims {
        file::trim(
            &transaction,
            partition,
            &mut bounds[partition as usize],
            before,
        )?;
    }
    // Stable: the records of one sink stay in order.
    work.records.sort_by_key(|record| record.partition);
    for records in work.records.chunk_by(|a, b| a.partition == b.partition) {
        let partition = records[0].partition;
        let stored = records.iter().map(|record| record.stored.as_slice());
        file::append(
            &transaction,
            partition,
            &mut bounds[partition as usize],
            stored,
        )?;
    }
    transaction.commit()?;
    Ok(())
}

fn explain(error: &redb::Error) -> String {
    let full = matches!(error, redb::Error::Io(io) if io.kind() == std::io::ErrorKind::StorageFull);
    let remedy = if full {
        "free some space on its disk, then start again"
    } else {
        "see to its disk and its permissions, then start again"
    };
    format!("records could not be written: {error}: {remedy}")
}

struct FailOnDrop<'a>(&'a Queue);

impl Drop for FailOnDrop<'_> {
    fn drop(&mut self) {
        self.0.fail("its writer has ended");
    }
}
