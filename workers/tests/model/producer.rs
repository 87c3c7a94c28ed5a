//! One lane of a producer, its partition and the receiver. The lane reads several files, and which file's
//! line comes next differs from start to start; starts overlap, records land late, and what is saved may
//! be old or lost. [`Claim`] and [`Progress`] are the real ones.

use std::cell::RefCell;

use logpipe_workers::etl::receive::{Claim, Progress, Scan, Verdict};

use crate::explore::Model;

mod receiver;
mod state;

use state::{Checked, FILES, KEY, Places, Record, Saved, Start, State, Step, fence};

/// What is tried, and how far.
pub(crate) struct Lane {
    /// How many lines each file has.
    pub(crate) files: Places,
    /// The most lines in one record.
    pub(crate) block: u8,
    /// How often a producer starts.
    pub(crate) starts: usize,
    /// How many of these find the earlier ones alive, which go on beside it.
    pub(crate) overlaps: usize,
    /// How many different places are saved; a start loads any of them, or none.
    pub(crate) saves: usize,
    /// How many records the client gives up on, while those behind it may still land.
    pub(crate) losses: usize,
    pub(crate) fault: Fault,
    /// From which logs and places a producer was seen to finish alone.
    pub(crate) checked: RefCell<Checked>,
}

impl Default for Lane {
    fn default() -> Self {
        Self {
            files: [1, 1],
            block: 2,
            starts: 2,
            overlaps: 1,
            saves: 1,
            losses: 0,
            fault: Fault::None,
            checked: RefCell::default(),
        }
    }
}

/// A variant of the protocol.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The protocol as it is.
    None,
    /// No fence; a start goes on after the last contiguous line it finds.
    NoFence,
    /// No fence; a start goes on after the last record it finds.
    AfterLastRecord,
    /// A start takes any fence of its generation for its own.
    NoNonce,
    /// A start does not look whether another had its generation before.
    UncheckedFence,
    /// A producer that was fenced goes on saving its place.
    FencedSave,
    /// The place to scan from is read after the acknowledgements it is saved with.
    LatePlace,
    /// The producer goes on after a delivery error.
    IgnoredError,
    /// The receiver takes whatever lies above the highest line it has seen.
    HighWaterMark,
    /// No fence, and the receiver takes only records that begin exactly at the next line.
    ExactBorder,
}

impl State {
    /// Forgets what can no longer decide anything, so that fewer states differ.
    fn forget_notes(&mut self, lane: &Lane) {
        for index in 0..self.starts.len() {
            if !lane.may_save(self, index) {
                self.starts[index].noted = None;
            }
        }
    }
}

impl Lane {
    fn nonces(&self) -> bool {
        self.fault != Fault::NoNonce
    }

    fn fences(&self) -> bool {
        !matches!(
            self.fault,
            Fault::NoFence | Fault::AfterLastRecord | Fault::ExactBorder
        )
    }

    fn begin(&self, state: &State, loaded: Option<Saved>, alone: bool) -> State {
        let mut state = state.clone();
        if alone {
            for start in &mut state.starts {
                *start = Start {
                    dead: true,
                    in_flight: std::mem::take(&mut start.in_flight),
                    ..Start::default()
                };
            }
        }
        let by = state.starts.len() as u8;
        let nonce = if self.nonces() { u64::from(by) + 1 } else { 0 };
        let progress = loaded.map_or(Progress::default(), |saved| Progress {
            generation: saved.generation,
            next: saved.next,
            ..Progress::default()
        });
        let claim = Claim::new(progress, nonce);
        let mut start = Start {
            scanned: loaded.map_or(0, |saved| saved.from),
            generation: progress.generation,
            next: progress.next,
            places: loaded.map_or([0; FILES], |saved| saved.places),
            locked: alone,
            ..Start::default()
        };
        if self.fences() {
            start.in_flight.push(fence(by, &claim));
            start.claim = Some(claim);
        } else {
            self.resume_without_fence(&mut start, &state.log);
            start.acknowledged = (start.next, start.places);
        }
        state.starts.push(start);
        state.overlaps += usize::from(!alone);
        state.forget_notes(self);
        state
    }

    /// The variants that only look at the log and go on.
    fn resume_without_fence(&self, start: &mut Start, log: &[Record]) {
        let mut progress = Progress {
            generation: 0,
            next: start.next,
            ..Progress::default()
        };
        for record in &log[start.scanned..] {
            if self.fault == Fault::AfterLastRecord {
                progress.next = progress.next.max(u64::from(record.first + record.lines));
                let place = &mut start.places[usize::from(record.file)];
                *place = (*place).max(record.place + record.lines);
            } else if let Verdict::Take(_) = self.receive(&mut progress, record) {
                start.places[usize::from(record.file)] = record.place + record.lines;
            }
        }
        start.next = progress.next;
    }

    /// Reads up to the start's own fence, which is in the log.
    fn claim(&self, state: &State, index: usize) -> State {
        let mut state = state.clone();
        let start = &mut state.starts[index];
        let mut claim = start.claim.take().expect("only a start that claims reads");
        for (offset, record) in state.log.iter().enumerate().skip(start.scanned) {
            let generation = claim.fence(KEY).generation;
            match claim.read(&record.key(self.nonces())) {
                Scan::Record(Verdict::Take(_)) => {
                    start.places[usize::from(record.file)] = record.place + record.lines;
                }
                Scan::Record(_) => {}
                Scan::Outrun if self.fault != Fault::UncheckedFence => {
                    start.scanned = offset + 1;
                    start.in_flight.push(fence(index as u8, &claim));
                    start.claim = Some(claim);
                    return state;
                }
                Scan::Claimed | Scan::Outrun => {
                    start.scanned = 0;
                    start.generation = generation;
                    start.next = claim.progress().next;
                    start.acknowledged = (start.next, start.places);
                    start.noted = Some((offset + 1, start.next, start.places));
                    state.forget_notes(self);
                    return state;
                }
            }
        }
        unreachable!("the fence is in the log")
    }

    fn send(state: &State, index: usize, file: usize, lines: u8) -> State {
        let mut state = state.clone();
        let start = &mut state.starts[index];
        start.in_flight.push(Record {
            by: 0,
            generation: start.generation,
            first: start.next as u8,
            lines,
            file: file as u8,
            place: start.places[file],
        });
        start.next += u64::from(lines);
        start.places[file] += lines;
        state
    }

    fn land(&self, state: &State, index: usize, lost: bool) -> State {
        let mut state = state.clone();
        let start = &mut state.starts[index];
        let record = start.in_flight.remove(0);
        if lost {
            state.losses += 1;
            let fatal = self.fault != Fault::IgnoredError || record.lines == 0;
            start.failed = fatal && !start.dead;
        } else {
            state.log.push(record);
        }
        if record.lines > 0 && !start.failed && !start.dead {
            start.acknowledged.0 = u64::from(record.first + record.lines);
            start.acknowledged.1[usize::from(record.file)] = record.place + record.lines;
        }
        state
    }

    /// Whether it holds the lock still, and another place may be saved.
    fn may_save(&self, state: &State, index: usize) -> bool {
        let newest = index + 1 == state.starts.len();
        let locked = state.starts[index].locked && newest;
        state.saved.len() < self.saves && (locked || self.fault == Fault::FencedSave)
    }

    /// What the start could save now.
    fn savable(&self, state: &State, index: usize) -> Vec<Saved> {
        let start = &state.starts[index];
        if !self.may_save(state, index) {
            return Vec::new();
        }
        let (next, places) = start.acknowledged;
        let saved = |from, next, places| Saved {
            from,
            generation: start.generation,
            next,
            places,
        };
        match start.noted {
            Some((_, then, places)) if self.fault == Fault::LatePlace => {
                vec![saved(state.log.len(), then, places)]
            }
            Some((from, sent, then)) if next >= sent => {
                vec![saved(from, sent, then), saved(from, next, places)]
            }
            _ => Vec::new(),
        }
    }

    fn save_steps(&self, state: &State, index: usize, each: &mut dyn FnMut(Step, State)) {
        if !self.may_save(state, index) {
            return;
        }
        let start = &state.starts[index];
        let (next, places) = match self.fault {
            Fault::LatePlace => start.acknowledged,
            _ => (start.next, start.places),
        };
        let noted = Some((state.log.len(), next, places));
        if start.noted != noted {
            let mut next = state.clone();
            next.starts[index].noted = noted;
            each(Step::Note { start: index }, next);
        }
        for saved in self.savable(state, index) {
            if !state.saved.contains(&saved) {
                let mut next = state.clone();
                next.saved.push(saved);
                next.saved.sort_unstable();
                next.forget_notes(self);
                each(
                    Step::Save {
                        start: index,
                        saved,
                    },
                    next,
                );
            }
        }
    }
}

impl Model for Lane {
    type State = State;
    type Step = Step;

    fn start(&self) -> State {
        State {
            log: Vec::new(),
            starts: Vec::new(),
            saved: Vec::new(),
            overlaps: 0,
            losses: 0,
        }
    }

    fn steps(&self, state: &State, each: &mut dyn FnMut(Step, State)) {
        if state.starts.len() < self.starts {
            let saved = state.saved.iter().copied().map(Some);
            for loaded in saved.chain([None]) {
                for alone in [true, false] {
                    let beside = state.starts.iter().any(|start| !start.dead);
                    if alone || beside && state.overlaps < self.overlaps {
                        let step = Step::Begin { loaded, alone };
                        each(step, self.begin(state, loaded, alone));
                    }
                }
            }
        }
        for (index, start) in state.starts.iter().enumerate() {
            if !start.in_flight.is_empty() {
                each(Step::Land { start: index }, self.land(state, index, false));
                if state.losses < self.losses {
                    each(Step::Lose { start: index }, self.land(state, index, true));
                }
            }
            if start.failed || start.dead {
                continue;
            }
            if start.claim.is_some() {
                // The fence is durable, so it is somewhere ahead.
                if start.in_flight.is_empty() {
                    each(Step::Claim { start: index }, self.claim(state, index));
                }
                continue;
            }
            for file in 0..FILES {
                let left = self.files[file] - start.places[file];
                for lines in 1..=left.min(self.block) {
                    let step = Step::Send {
                        start: index,
                        file,
                        lines,
                    };
                    each(step, Self::send(state, index, file, lines));
                }
            }
            self.save_steps(state, index, each);
        }
    }

    fn check(&self, state: &State) -> Result<(), String> {
        let (progress, taken) = self.received(&state.log)?;
        for start in &state.starts {
            // One that was fenced may believe that it is done; the one that fenced it does the work.
            let rules = start.generation == progress.generation;
            if rules && self.finished(start) && taken != self.files {
                return Err(format!(
                    "a producer is done, but {taken:?} lines are taken: lost"
                ));
            }
        }
        if self.fault != Fault::None {
            return Ok(());
        }
        for loaded in state.saved.iter().copied().map(Some).chain([None]) {
            // It depends on the log alone, which many states share.
            let case = (state.log.clone(), loaded);
            if !self.checked.borrow().contains(&case) {
                self.check_alone(state, loaded)?;
                self.checked.borrow_mut().insert(case);
            }
        }
        Ok(())
    }
}
