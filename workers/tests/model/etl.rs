//! ETL workers on one partition, its checkpoint and the store. Workers take over from each other and go
//! on when they should be gone; swaps and puts get lost, or come through after their sender gave up;
//! batches are cut anywhere, and two plans route the records differently. [`Checkpoint`] and
//! [`ObjectName`] are the real ones.

use std::cell::RefCell;
use std::collections::BTreeMap;

use logpipe_api::PlanHash;
use logpipe_workers::checkpoint::{Anchor, Batch, BatchFile, Checkpoint, Empty};
use logpipe_workers::etl::name::ObjectName;
use logpipe_workers::etl::receive::Producers;
use logpipe_workers::log::Identity;

use crate::explore::Model;

mod audit;
mod rebuild;
mod state;

use state::{Cache, Id, Interned, Phase, Request, Rows, State, Step, Store, Worker};

/// The record without rows: a fence. A range of nothing else joins the next batch.
const ROWLESS: u8 = 1;

/// What is tried, and how far.
pub(crate) struct Partition {
    /// How many records the log holds.
    records: u8,
    /// How many workers live at one time.
    workers: usize,
    /// How often a worker takes over.
    takeovers: u8,
    /// How often a sender stops waiting for the answer to a request, which may still come through.
    timeouts: u8,
    /// How often the checkpoint is lost.
    losses: u8,
    /// The plans that workers start with.
    started: &'static [u8],
    fault: Fault,
    plans: [PlanHash; 2],
    values: Interned<Checkpoint>,
    names: Interned<ObjectName>,
    /// The names of `(plan, folder, start, end)`, once they were made.
    named: Cache<(u8, &'static str, u8, u8), Id>,
    /// From which checkpoints and stores a worker was seen to finish alone.
    checked: Cache<(Id, Store), ()>,
}

/// A variant of the protocol.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The protocol as it is.
    None,
    /// No intent; a file is named by where its batch starts, and overwritten.
    OverwriteByStart,
    /// No intent; a file is named by where its batch starts, and one that exists is taken for done.
    ExistsByStart,
    /// Who takes over a pending batch plans its end again.
    ReplannedEnd,
    /// Who takes over a pending batch finishes it by its own plan.
    OtherPlan,
    /// Files of finished batches are merged into others and deleted.
    Compaction,
    /// A lost checkpoint is made to stand behind the newest file, whether or not its batch is whole.
    RebuiltBehind,
    /// A lost checkpoint is made to stand before a batch that is not whole, and the batch is forgotten.
    RebuiltBefore,
    /// A lost checkpoint is made while a put is under way.
    RebuiltEarly,
    /// A lost checkpoint is made while a worker lives.
    RebuiltBeside,
}

impl Partition {
    pub(crate) fn new(records: u8, workers: usize, takeovers: u8, timeouts: u8) -> Self {
        let plan = |digit: &str| {
            serde_json::from_value(digit.repeat(64).into()).expect("a hash is a string")
        };
        Self {
            records,
            workers,
            takeovers,
            timeouts,
            losses: 0,
            started: &[0, 1],
            fault: Fault::None,
            plans: [plan("a"), plan("b")],
            values: Interned::new(),
            names: Interned::new(),
            named: RefCell::default(),
            checked: RefCell::default(),
        }
    }

    pub(crate) fn with(mut self, fault: Fault) -> Self {
        self.fault = fault;
        self
    }

    /// Every worker has the plan with a single folder.
    pub(crate) fn with_one_folder(mut self) -> Self {
        self.started = &[1];
        self
    }

    pub(crate) fn with_losses(mut self, losses: u8) -> Self {
        self.losses = losses;
        self
    }

    fn intends(&self) -> bool {
        !matches!(self.fault, Fault::OverwriteByStart | Fault::ExistsByStart)
    }

    /// The files of a range: plan 0 has a folder for even and one for odd offsets, plan 1 only one.
    fn files(plan: u8, start: u8, end: u8) -> Vec<(&'static str, Rows)> {
        let mut files = BTreeMap::new();
        for offset in (start..end).filter(|&offset| offset != ROWLESS) {
            let dir = match (plan, offset % 2) {
                (0, 0) => "dt=2026-01-31/hour=07",
                (0, _) => "dt=2026-01-31/hour=08",
                _ => "dt=2026-01-31",
            };
            *files.entry(dir).or_insert(0) |= 1 << offset;
        }
        files.into_iter().collect()
    }

    fn batch(&self, plan: u8, start: u8, end: u8) -> Batch {
        let files = Self::files(plan, start, end).into_iter();
        Batch {
            start: start.into(),
            end: end.into(),
            plan: self.plans[usize::from(plan)].clone(),
            anchor: Anchor {
                offset: u64::from(end) - 1,
                sha: String::new(),
            },
            producers_after: Producers::new(),
            files: files
                .map(|(dir, rows)| BatchFile {
                    dir: dir.to_owned(),
                    rows: rows.count_ones().into(),
                    digest: format!("{rows:02x}"),
                    dead: false,
                })
                .collect(),
        }
    }

    fn name(&self, plan: u8, dir: &'static str, start: u8, end: u8) -> Id {
        let plan8 = self.plans[usize::from(plan)].short();
        // Without an intent, nobody else knows the end.
        let end = if self.intends() { end } else { start + 1 };
        let mut named = self.named.borrow_mut();
        *named
            .entry((plan, dir, start, end))
            .or_insert_with(|| self.names.id(name(dir, start, end, plan8)))
    }

    /// Where a batch that begins at `start` can end: it must have a row.
    fn ends(&self, start: u8) -> impl Iterator<Item = u8> + use<> {
        let first = if start == ROWLESS {
            start + 2
        } else {
            start + 1
        };
        first..=self.records
    }

    fn begin(&self, state: &State, plan: u8, instead: Option<usize>) -> (Step, State) {
        let mut next = state.clone();
        let owner = next.takeovers;
        next.takeovers += 1;
        if let Some(crashed) = instead {
            next.workers.remove(crashed);
        }
        let taken = self
            .values
            .get(state.checkpoint)
            .take_over(&owner.to_string());
        next.workers.push(Worker {
            owner,
            plan,
            phase: Phase::Swap {
                expected: state.checkpoint,
                new: self.values.id(taken),
            },
        });
        (Step::Begin { owner, plan }, next)
    }

    /// What a worker does that has just made `value` stand, or has seen that it stands.
    fn owning(&self, worker: Worker, value: Id) -> Phase {
        let checkpoint = self.values.get(value);
        let Some(batch) = &checkpoint.pending else {
            return Phase::Cut { value };
        };
        let pinned = self.plans.iter().position(|plan| *plan == batch.plan);
        let pinned = pinned.expect("the plan is stored with the checkpoint") as u8;
        let announced = Self::announced_by(&checkpoint);
        match self.fault {
            Fault::ReplannedEnd if announced != worker.owner => Phase::Cut { value },
            fault => Phase::Put {
                value,
                end: batch.end as u8,
                plan: if fault == Fault::OtherPlan {
                    worker.plan
                } else {
                    pinned
                },
                file: 0,
            },
        }
    }

    /// Who announced the pending batch: the variants write it where the protocol has the anchor's hash.
    fn announced_by(checkpoint: &Checkpoint) -> u8 {
        let batch = checkpoint.pending.as_ref();
        batch
            .and_then(|batch| batch.anchor.sha.parse().ok())
            .unwrap_or(u8::MAX)
    }

    /// The checkpoint that announces a batch.
    fn announcement(&self, worker: Worker, value: &Checkpoint, end: u8) -> Checkpoint {
        let mut batch = self.batch(worker.plan, value.next as u8, end);
        if self.fault != Fault::ReplannedEnd {
            return value.announce(batch).expect("nothing is pending");
        }
        batch.anchor.sha = worker.owner.to_string();
        let mut forgotten = value.clone();
        forgotten.pending = None;
        forgotten.announce(batch).expect("nothing is pending")
    }

    /// The checkpoint that notes the record without rows, where it is the next one.
    fn noted(&self, value: &Checkpoint) -> Option<Checkpoint> {
        let until = u64::from(ROWLESS) + 1;
        let producers = Producers::new();
        if !self.intends() || value.next != u64::from(ROWLESS) || value.empty.is_some() {
            return None;
        }
        let noted = value.note_empty(Empty { until, producers });
        Some(noted.expect("nothing is pending"))
    }

    fn cut(&self, state: &State, index: usize, value: Id, end: u8) -> State {
        let mut next = state.clone();
        let worker = &mut next.workers[index];
        worker.phase = if self.intends() {
            let announced = self.announcement(*worker, &self.values.get(value), end);
            Phase::Swap {
                expected: value,
                new: self.values.id(announced),
            }
        } else {
            Phase::Put {
                value,
                end,
                plan: worker.plan,
                file: 0,
            }
        };
        next
    }

    /// What the worker puts next, if a file is left.
    fn next_file(&self, phase: Phase) -> Option<(Id, Rows, Id)> {
        let Phase::Put {
            value,
            end,
            plan,
            file,
        } = phase
        else {
            return None;
        };
        let checkpoint = self.values.get(value);
        let start = checkpoint.next as u8;
        let (dir, rows) = *Self::files(plan, start, end).get(usize::from(file))?;
        let imprint = match &checkpoint.pending {
            Some(batch) if self.losses > 0 => self.imprint(&checkpoint, batch),
            _ => value_of_none(),
        };
        Some((self.name(plan, dir, start, end), rows, imprint))
    }

    /// What the store does with a put; whether the name held other rows.
    fn put(&self, store: &mut Store, name: Id, rows: Rows, imprint: Id) -> bool {
        match store.binary_search_by_key(&name, |&(name, ..)| name) {
            Err(at) => store.insert(at, (name, rows, imprint)),
            Ok(at) if self.fault == Fault::OverwriteByStart => store[at].1 = rows,
            Ok(at) => return store[at].1 != rows && self.fault != Fault::ExistsByStart,
        }
        false
    }

    /// The swap that follows the last file.
    fn committing(&self, worker: Worker, announce: Option<u8>) -> Phase {
        let Phase::Put {
            value, end, plan, ..
        } = worker.phase
        else {
            unreachable!("it has put its files");
        };
        let checkpoint = self.values.get(value);
        let start = checkpoint.next as u8;
        let announced = if self.intends() {
            Checkpoint::clone(&checkpoint)
        } else {
            let batch = self.batch(plan, start, end);
            checkpoint.announce(batch).expect("nothing is pending")
        };
        let new = match announce {
            None => announced.commit(),
            Some(behind) => announced.commit_and_announce(self.batch(worker.plan, end, behind)),
        };
        Phase::Swap {
            expected: value,
            new: self
                .values
                .id(new.expect("the batch behind starts at its end")),
        }
    }

    fn read_again(&self, state: &State, index: usize, expected: Id, new: Id) -> State {
        let mut next = state.clone();
        let worker = next.workers[index];
        let owned = self.values.get(expected).owner == worker.owner.to_string();
        next.workers[index].phase = if state.checkpoint == new {
            self.owning(worker, new)
        } else if state.checkpoint != expected {
            next.workers.remove(index);
            return next;
        } else if owned {
            // It may decide otherwise than before, although its swap is still under way.
            self.owning(worker, expected)
        } else {
            Phase::Swap { expected, new }
        };
        next
    }

    fn land(&self, state: &State, index: usize) -> State {
        let mut next = state.clone();
        match next.in_flight.remove(index) {
            Request::Swap { expected, new } if next.checkpoint == expected => {
                next.checkpoint = new;
            }
            Request::Swap { .. } => {}
            Request::Put {
                name,
                rows,
                imprint,
            } => {
                self.put(&mut next.store, name, rows, imprint);
            }
        }
        next
    }

    fn time_out(&self, state: &State, index: usize) -> Option<State> {
        let mut next = state.clone();
        let worker = &mut next.workers[index];
        let request = if let Phase::Swap { expected, new } = worker.phase {
            worker.phase = Phase::Doubt { expected, new };
            Request::Swap { expected, new }
        } else {
            let (name, rows, imprint) = self.next_file(worker.phase)?;
            Request::Put {
                name,
                rows,
                imprint,
            }
        };
        next.in_flight.push(request);
        next.in_flight.sort_unstable();
        next.timeouts += 1;
        Some(next)
    }

    fn worker_steps(&self, state: &State, index: usize, each: &mut dyn FnMut(Step, State)) {
        let worker = state.workers[index];
        let owner = worker.owner;
        match worker.phase {
            Phase::Cut { value } => {
                if let Some(noted) = self.noted(&self.values.get(value)) {
                    let mut next = state.clone();
                    next.workers[index].phase = Phase::Swap {
                        expected: value,
                        new: self.values.id(noted),
                    };
                    each(Step::Note { owner }, next);
                }
                for end in self.ends(self.values.get(value).next as u8) {
                    each(Step::Cut { owner, end }, self.cut(state, index, value, end));
                }
            }
            Phase::Put { end, file, .. } => {
                let mut next = state.clone();
                if let Some((name, rows, imprint)) = self.next_file(worker.phase) {
                    next.conflict |= self.put(&mut next.store, name, rows, imprint);
                    if let Phase::Put { file, .. } = &mut next.workers[index].phase {
                        *file += 1;
                    }
                    each(Step::Put { owner, file }, next);
                    return;
                }
                let behind = self.ends(end).filter(|_| self.fault == Fault::None);
                for and_announce in behind.map(Some).chain([None]) {
                    let mut next = state.clone();
                    next.workers[index].phase = self.committing(worker, and_announce);
                    each(
                        Step::Commit {
                            owner,
                            and_announce,
                        },
                        next,
                    );
                }
            }
            Phase::Swap { expected, new } => {
                let mut next = state.clone();
                let done = state.checkpoint == expected;
                next.workers[index].phase = if done {
                    next.checkpoint = new;
                    self.owning(worker, new)
                } else {
                    Phase::Doubt { expected, new }
                };
                each(Step::Swap { owner, done }, next);
            }
            Phase::Doubt { expected, new } => {
                let next = self.read_again(state, index, expected, new);
                each(Step::ReadAgain { owner }, next);
            }
        }
    }

    fn compact(&self, state: &State, each: &mut dyn FnMut(Step, State)) {
        let next = self.values.get(state.checkpoint).next;
        for (at, &(id, rows, imprint)) in state.store.iter().enumerate() {
            let small = self.names.get(id);
            if small.end > next || small.dir == "merged" {
                continue;
            }
            let merged = name("merged", small.start as u8, small.end as u8, "00000000");
            let mut after = state.clone();
            after.store.remove(at);
            self.put(&mut after.store, self.names.id(merged), rows, imprint);
            each(Step::Compact { name: id }, after);
        }
    }
}

/// Where no checkpoint is ever lost, nobody reads a footer.
fn value_of_none() -> Id {
    0
}

/// The name as a reader finds it: written and parsed.
fn name(dir: &str, start: u8, end: u8, plan8: &str) -> ObjectName {
    let name = ObjectName {
        dir: dir.to_owned(),
        topic: "logs".to_owned(),
        topic_id8: "01234567".to_owned(),
        partition: 0,
        start: start.into(),
        end: end.into(),
        plan8: plan8.to_owned(),
    };
    ObjectName::parse(&name.to_string()).expect("it is a name of ours")
}

fn log() -> Identity {
    Identity {
        cluster: String::new(),
        topic: "logs".to_owned(),
        topic_id: String::new(),
        partitions: 1,
    }
}

impl Model for Partition {
    type State = State;
    type Step = Step;

    fn start(&self) -> State {
        State {
            checkpoint: self.values.id(Checkpoint::new(&log(), 0, 0, "")),
            store: Vec::new(),
            workers: Vec::new(),
            in_flight: Vec::new(),
            takeovers: 0,
            timeouts: 0,
            losses: 0,
            conflict: false,
        }
    }

    fn steps(&self, state: &State, each: &mut dyn FnMut(Step, State)) {
        if state.takeovers < self.takeovers {
            for &plan in self.started {
                if state.workers.len() < self.workers {
                    let (step, next) = self.begin(state, plan, None);
                    each(step, next);
                    continue;
                }
                for crashed in 0..state.workers.len() {
                    let (step, next) = self.begin(state, plan, Some(crashed));
                    each(step, next);
                }
            }
        }
        for (index, worker) in state.workers.iter().enumerate() {
            self.worker_steps(state, index, each);
            if state.timeouts < self.timeouts
                && let Some(next) = self.time_out(state, index)
            {
                let owner = worker.owner;
                each(Step::TimeOut { owner }, next);
            }
        }
        for (index, &request) in state.in_flight.iter().enumerate() {
            each(Step::Land { request }, self.land(state, index));
        }
        if state.losses < self.losses
            && let Some(next) = self.rebuild(state)
        {
            each(Step::Rebuild, next);
        }
        if self.fault == Fault::Compaction {
            self.compact(state, each);
        }
    }

    fn check(&self, state: &State) -> Result<(), String> {
        self.check_readers(state)?;
        if self.fault != Fault::None {
            return Ok(());
        }
        if state.conflict {
            return Err("a file of the name of its own has other rows".to_owned());
        }
        // It depends on these two alone, which many states share.
        let case = (state.checkpoint, state.store.clone());
        if !self.checked.borrow().contains_key(&case) {
            self.check_alone(state, 0)?;
            self.check_alone(state, 1)?;
            self.checked.borrow_mut().insert(case, ());
        }
        Ok(())
    }
}
