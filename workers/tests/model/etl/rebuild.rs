//! The checkpoint is lost, and made again from the names and footers of the files, by the product's own code.

use logpipe_workers::checkpoint::rebuild::{newest, rebuild};
use logpipe_workers::checkpoint::survey::{FileSeen, LogSeen, Newest, PartitionSeen, Sink};
use logpipe_workers::checkpoint::{Batch, Checkpoint};

use super::state::{Id, Request, State};
use super::{Fault, Partition, log};

impl Partition {
    /// The footer's copy of the checkpoint, written and read.
    pub(super) fn imprint(&self, checkpoint: &Checkpoint, batch: &Batch) -> Id {
        let text = checkpoint.imprint(batch);
        let read = Checkpoint::decode(text.as_bytes()).expect("what was written can be read");
        self.values.id(read)
    }

    /// Every worker is stopped and no put is under way; swaps may be.
    pub(super) fn rebuild(&self, state: &State) -> Option<State> {
        let is_put = |request: &Request| matches!(request, Request::Put { .. });
        if self.fault != Fault::RebuiltEarly && state.in_flight.iter().any(is_put) {
            return None;
        }
        let mut next = state.clone();
        next.losses += 1;
        if self.fault != Fault::RebuiltBeside {
            next.workers.clear();
        }
        // No worker ever had this name, so a swap that is under way expects another value.
        let owner = format!("rebuild-{}", next.losses);
        let seen = self.seen(state);
        let Ok(rebuilt) = rebuild(&seen, &LogSeen::of(&log()), &owner, false) else {
            next.conflict = true;
            return Some(next);
        };
        let mut rebuilt = rebuilt.unwrap_or_else(|| Checkpoint::new(&log(), 0, 0, &owner));
        if self.fault == Fault::RebuiltBehind && rebuilt.pending.is_some() {
            rebuilt = rebuilt.commit().expect("a batch is pending");
        }
        if self.fault == Fault::RebuiltBefore {
            rebuilt.pending = None;
        }
        next.checkpoint = self.values.id(rebuilt);
        Some(next)
    }

    fn seen(&self, state: &State) -> PartitionSeen {
        let names = state.store.iter().map(|&(id, ..)| self.names.get(id));
        let found = newest(names.map(|name| (*name).clone()).collect());
        let sink = match found {
            Err(what) => Sink::Broken(what),
            Ok(files) if files.is_empty() => Sink::Empty,
            Ok(files) => Sink::Newest(Newest {
                start: files[0].start,
                end: files[0].end,
                files: files
                    .into_iter()
                    .map(|name| {
                        let held = |id| *self.names.get(id) == name;
                        let mut store = state.store.iter();
                        let file = store.find(|&&(id, ..)| held(id));
                        let &(_, rows, imprint) = file.expect("it was found there");
                        FileSeen {
                            object: name.to_string(),
                            dir: name.dir,
                            digest: Some(format!("{rows:02x}")),
                            imprint: Some((*self.values.get(imprint)).clone()),
                        }
                    })
                    .collect(),
            }),
        };
        PartitionSeen {
            partition: 0,
            log: 0..u64::from(self.records),
            sink,
        }
    }
}
