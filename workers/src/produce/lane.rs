//! A lane: the part of a producer that writes one partition, with a sequence and a state file of its own.
//! It reads its files, sends blocks, and saves how far it has come once that is durable in the log.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use super::followed::{BUFFER_BYTES, Followed, Standing};
use super::outbox::{Durable, Outbox};
use super::recover::{Recovered, recover};
use super::state::StateFile;
use super::turns::Turns;
use super::{Control, ProduceError, ProducerOptions, Summary, Tuning};
use crate::counters::Counters;
use crate::log::Log;
use crate::tail::identity::FileId;
use crate::tail::{FileState, Note, Order};

mod orders;
mod reading;
mod saving;
mod unpack;

use orders::report_lost;

/// How often in a row the log may fail before the producer does.
const MOST_FAILURES: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// What a lane needs from outside.
#[derive(Clone, Copy)]
pub(super) struct Shared<'a> {
    pub(super) options: &'a ProducerOptions,
    pub(super) tuning: Tuning,
    /// Which start of the machine this is.
    pub(super) boot_id: Option<&'a str>,
    pub(super) log: &'a dyn Log,
    pub(super) control: &'a Control,
    pub(super) counters: &'a Counters,
    pub(super) turns: &'a Turns,
}

impl Shared<'_> {
    /// Claims a partition when it is its turn; `None` when told to stop before that is done.
    fn recover(
        &self,
        index: u32,
        producer: &str,
        state_file: &StateFile,
    ) -> Result<Option<Recovered>, ProduceError> {
        let Some(turn) = self.turns.take(self.control) else {
            return Ok(None);
        };
        let recovered = recover(self.log, index, producer, state_file, self.control);
        drop(turn);
        recovered
    }

    /// Whether the machine was started again since `saved`. Where nobody knows, it was not: then a file that
    /// is shorter than it was is read from its beginning.
    fn is_after_reboot(&self, saved: Option<&str>) -> bool {
        matches!((saved, self.boot_id), (Some(saved), Some(now)) if saved != now)
    }
}

/// See the module.
// Each flag is a fact of its own; no two of them make one state.
#[allow(clippy::struct_excessive_bools)]
pub(super) struct Lane<'a> {
    shared: Shared<'a>,
    index: u32,
    producer: String,
    state_file: StateFile,
    files: BTreeMap<FileId, Followed>,
    order: Vec<FileId>,
    outbox: Outbox,
    unsaved_bytes: u64,
    dirty: bool,
    /// When it saved last, or saw that there was nothing to save.
    saved_at: Instant,
    orders: Receiver<Order>,
    orders_done: u64,
    at_end_told: Option<u64>,
    notes: Sender<Note>,
    finishing: bool,
    ending: bool,
    /// The log failed.
    failed: bool,
    last_sent: Instant,
    buffer: Vec<u8>,
    summary: Summary,
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// There may be more at once.
    Busy,
    /// Nothing to do for so long, unless an order comes.
    Idle(Duration),
    /// Everything is flushed and saved.
    Ended,
}

impl<'a> Lane<'a> {
    /// Claims the partition; `None` when told to stop before that is done.
    pub(super) fn start(
        shared: Shared<'a>,
        index: u32,
        orders: Receiver<Order>,
        notes: Sender<Note>,
    ) -> Result<Option<Self>, ProduceError> {
        let producer = format!("{}-{index}", shared.options.name);
        let state_file = StateFile::open(&shared.options.state_dir, &producer)?;
        let Some(recovered) = shared.recover(index, &producer, &state_file)? else {
            return Ok(None);
        };
        let now = Instant::now();
        let mut lane = Self {
            shared,
            index,
            producer,
            state_file,
            files: BTreeMap::new(),
            order: Vec::new(),
            outbox: recovered.outbox,
            unsaved_bytes: 0,
            dirty: true,
            saved_at: now,
            orders,
            orders_done: 0,
            at_end_told: None,
            notes,
            finishing: false,
            ending: false,
            failed: false,
            last_sent: now,
            buffer: vec![0; BUFFER_BYTES],
            summary: Summary::default(),
        };
        let rebooted = shared.is_after_reboot(recovered.boot_id.as_deref());
        let files: Vec<FileState> = recovered.files.into_values().collect();
        for file in &files {
            lane.files
                .insert(file.id, Followed::known(file.clone(), now));
        }
        lane.tell(Note::Known {
            lane: index,
            files,
            fresh: recovered.fresh,
            rebooted,
        });
        Ok(Some(lane))
    }

    fn tell(&self, note: Note) {
        // Nobody listens once the producer is being stopped; then there is nothing to decide either.
        drop(self.notes.send(note));
    }

    /// Steps until told to stop. After an error of the log it begins anew from what the log holds.
    pub(super) fn run(mut self) -> Result<Summary, ProduceError> {
        let mut failures = 0;
        loop {
            let lines = self.summary.lines;
            match self.work() {
                Ok(true) => return Ok(self.summary),
                Ok(false) => {}
                Err(error) if error.may_pass_at_once() && failures < MOST_FAILURES => {
                    failures += 1;
                    self.failed = true;
                    self.shared.counters.log_failures.add(1);
                    let lane = &self.producer;
                    tracing::warn!(%lane, failures, error = &error as &dyn std::error::Error, "the log failed; going on from what it holds");
                    self.shared.control.wait(FIRST_PAUSE * (1 << failures));
                }
                Err(error) => return Err(error),
            }
            if self.summary.lines > lines {
                failures = 0;
            }
        }
    }

    /// One step and the pause behind it; `true` when the lane is done.
    fn work(&mut self) -> Result<bool, ProduceError> {
        if self.shared.control.is_stopped() {
            // After a failure of the log nothing can be saved; the older state and the log tell the rest.
            if !self.failed {
                self.save(true)?;
            }
            return Ok(true);
        }
        match self.step_or_recover()? {
            Step::Busy => Ok(false),
            Step::Ended => Ok(true),
            Step::Idle(wait) => {
                match self.orders.recv_timeout(wait) {
                    Ok(order) => self.carry_out(order)?,
                    Err(RecvTimeoutError::Timeout) => {}
                    // The registry failed, and the producer is being stopped.
                    Err(RecvTimeoutError::Disconnected) => self.shared.control.wait(wait),
                }
                Ok(false)
            }
        }
    }

    /// A step, as [`Lane::run`] takes it.
    pub(super) fn step_or_recover(&mut self) -> Result<Step, ProduceError> {
        if self.failed && !self.begin_anew()? {
            return Ok(Step::Busy); // told to stop
        }
        self.step()
    }

    /// Carries out the orders, reads every file that is due, and saves when it is time.
    fn step(&mut self) -> Result<Step, ProduceError> {
        let result = self.try_step();
        self.failed |= result.is_err();
        result
    }

    fn try_step(&mut self) -> Result<Step, ProduceError> {
        while let Ok(order) = self.orders.try_recv() {
            self.carry_out(order)?;
        }
        if self.ending {
            self.save(true)?;
            return Ok(Step::Ended);
        }
        let now = Instant::now();
        let busy = self.read_round(now)?;
        self.settle()?;
        let closing = self.has_done_with_nameless(now);
        self.dirty |= closing || self.falls_behind(now);
        self.shared.counters.unsaved.note(self.index, self.dirty);
        // Who finishes does not wait longer than a disk that fails needs.
        let soon = now.saturating_duration_since(self.saved_at) >= self.shared.tuning.look_every;
        let at_once = closing && self.finishing && soon;
        if self.dirty && (at_once || self.is_time_to_save(busy, now)) {
            self.save(false)?;
            self.shared.counters.unsaved.note(self.index, self.dirty);
        }
        self.tell_at_end();
        if busy {
            return Ok(Step::Busy);
        }
        let reads = self.files.values().filter(|file| file.is_read());
        let next = reads.map(|file| file.next_read).min();
        let wait = next.map_or(LONGEST_PAUSE, |next| next.saturating_duration_since(now));
        Ok(Step::Idle(wait.clamp(SHORTEST_PAUSE, LONGEST_PAUSE)))
    }

    /// Learns from the log what counts, after that failed; `false` when told to stop before
    /// that is done.
    fn begin_anew(&mut self) -> Result<bool, ProduceError> {
        let shared = self.shared;
        let recovered = shared.recover(self.index, &self.producer, &self.state_file)?;
        let Some(recovered) = recovered else {
            return Ok(false);
        };
        self.outbox = recovered.outbox;
        self.unsaved_bytes = 0;
        self.dirty = true;
        self.failed = false;
        let rebooted = shared.is_after_reboot(recovered.boot_id.as_deref());
        self.rewind(recovered.files, rebooted);
        Ok(true)
    }

    fn rewind(&mut self, mut recovered: BTreeMap<FileId, FileState>, rebooted: bool) {
        let now = Instant::now();
        let mut lost = 0;
        for (id, file) in &mut self.files {
            let before = file.state.position.offset;
            let position = recovered.remove(id).map(|file| file.position);
            file.rewind(position, now);
            if file.standing == Standing::Overwritten {
                drop(self.notes.send(Note::Broken(file.sealed())));
            } else if file.state.gone && file.state.position.offset < before {
                // Sent, but not durable, and not there to be read again.
                lost += report_lost(&file.state, before - file.state.position.offset);
            }
        }
        self.lose(lost);
        let files: Vec<FileState> = recovered.into_values().collect();
        for file in &files {
            let known = Followed::known(file.clone(), now);
            self.files.insert(file.id, known);
        }
        self.tell(Note::Known {
            lane: self.index,
            files,
            fresh: false,
            rebooted,
        });
    }

    fn lose(&mut self, bytes: u64) {
        self.summary.lost_bytes += bytes;
        self.shared.counters.lost_bytes.add(bytes);
    }

    fn unreadable(&self, id: FileId, source: std::io::Error) -> ProduceError {
        let path = self.files.get(&id).map(|file| file.state.path.clone());
        ProduceError::File {
            path: path.unwrap_or_default().display().to_string(),
            source,
        }
    }

    /// Counts what has become durable.
    fn settle(&mut self) -> Result<(), ProduceError> {
        let Durable { lines, bytes } = self.outbox.settle()?;
        self.summary.lines += lines;
        self.summary.bytes += bytes;
        self.shared.counters.produced.add(lines);
        self.shared.counters.produced_bytes.add(bytes);
        Ok(())
    }

    /// Says once, after the orders so far, that nothing is left to read.
    fn tell_at_end(&mut self) {
        if !self.finishing || self.at_end_told == Some(self.orders_done) {
            return;
        }
        let at_end = |file: &Followed| match file.standing {
            Standing::Nowhere => true,
            Standing::Named | Standing::Nameless => file.at_end,
            Standing::Overwritten => false,
        };
        if self.files.values().all(at_end) {
            self.at_end_told = Some(self.orders_done);
            self.tell(Note::AtEnd {
                lane: self.index,
                orders: self.orders_done,
            });
        }
    }
}
