//! The receiver, and the promise as it sees it.

use logpipe_workers::etl::receive::{Progress, Verdict};

use super::state::{FILES, Places, Record, Saved, Start, State};
use super::{Fault, Lane};

impl Lane {
    pub(super) fn receive(&self, progress: &mut Progress, record: &Record) -> Verdict {
        let (first, end) = (
            u64::from(record.first),
            u64::from(record.first + record.lines),
        );
        match self.fault {
            Fault::HighWaterMark
                if record.lines > 0 && record.generation == progress.generation =>
            {
                let known = progress.next;
                progress.next = known.max(end);
                if known >= end {
                    return Verdict::Duplicate;
                }
                Verdict::Take(known.saturating_sub(first) as u32)
            }
            Fault::ExactBorder if first != progress.next => Verdict::Duplicate,
            _ => progress.receive(record.generation, first, u32::from(record.lines)),
        }
    }

    /// How far the receiver is at the end of the log, and how many lines of each file it took. An error
    /// where it took one again, or left one out.
    pub(super) fn received(&self, log: &[Record]) -> Result<(Progress, Places), String> {
        let mut progress = Progress::default();
        let mut taken = [0; FILES];
        for record in log {
            let Verdict::Take(skip) = self.receive(&mut progress, record) else {
                continue;
            };
            for line in record.place + skip as u8..record.place + record.lines {
                let next = &mut taken[usize::from(record.file)];
                if line < *next {
                    return Err(format!("line {line} of file {} taken twice", record.file));
                }
                if line > *next {
                    return Err(format!("line {next} of file {} lost", record.file));
                }
                *next += 1;
            }
        }
        Ok((progress, taken))
    }

    pub(super) fn finished(&self, start: &Start) -> bool {
        start.claim.is_none()
            && !start.failed
            && !start.dead
            && start.in_flight.is_empty()
            && start.places == self.files
    }

    /// A producer that starts now and is left alone finishes, and then every line is there once.
    pub(super) fn check_alone(&self, state: &State, loaded: Option<Saved>) -> Result<(), String> {
        let mut alone = self.begin(state, loaded, true);
        let index = alone.starts.len() - 1;
        while alone.starts[index].claim.is_some() {
            alone = self.land(&alone, index, false);
            alone = self.claim(&alone, index);
        }
        for file in 0..FILES {
            while alone.starts[index].places[file] < self.files[file] {
                alone = Self::send(&alone, index, file, 1);
                alone = self.land(&alone, index, false);
            }
        }
        let (_, taken) = self.received(&alone.log)?;
        if taken != self.files {
            return Err(format!(
                "a start from {loaded:?}, alone, comes to {taken:?}"
            ));
        }
        Ok(())
    }
}
