//! Looks at the disk again and again, and tells the lanes what to read. It waits for no log.

use std::collections::HashSet;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use logpipe_api::pipeline::StartAt;

use super::starts::StartsFile;
use super::{Control, ProduceError, ProducerOptions, Tuning};
use crate::counters::Counters;
use crate::tail::registry::Registry;
use crate::tail::{Note, Order};

/// See the module.
// Each flag is a fact of its own; no two of them make one state.
#[allow(clippy::struct_excessive_bools)]
pub(super) struct Coordinator<'a> {
    tuning: Tuning,
    control: &'a Control,
    counters: &'a Counters,
    registry: Registry,
    /// Kept where files begin at their ends.
    starts: Option<StartsFile>,
    lanes: Vec<LaneEnd>,
    notes: Receiver<Note>,
    started: HashSet<u32>,
    last_look: Option<Instant>,
    urgent: bool,
    undecided: bool,
    finishing: bool,
    warned: bool,
}

/// What the coordinator knows about a lane.
struct LaneEnd {
    orders: Sender<Order>,
    sent: u64,
    at_end_after: Option<u64>,
}

impl<'a> Coordinator<'a> {
    pub(super) fn new(
        options: &ProducerOptions,
        tuning: Tuning,
        control: &'a Control,
        counters: &'a Counters,
        orders: Vec<Sender<Order>>,
        notes: Receiver<Note>,
        topic_id: String,
    ) -> Self {
        let lanes = orders.into_iter().map(|orders| LaneEnd {
            orders,
            sent: 0,
            at_end_after: None,
        });
        let lanes: Vec<LaneEnd> = lanes.collect();
        let patterns = options.paths.clone();
        Self {
            starts: (options.start_at == StartAt::End).then(|| StartsFile::of(options, topic_id)),
            registry: Registry::new(patterns, options.start_at, lanes.len() as u32),
            tuning,
            control,
            counters,
            lanes,
            notes,
            started: HashSet::new(),
            last_look: None,
            urgent: false,
            undecided: false,
            finishing: false,
            warned: false,
        }
    }

    /// Waits for a note or for the time of the next look, at most `longest`.
    pub(super) fn wait(&mut self, longest: Duration) {
        match self.notes.recv_timeout(longest) {
            Ok(note) => self.note(note),
            Err(RecvTimeoutError::Timeout) => {}
            // The lanes have ended; why, they say themselves.
            Err(RecvTimeoutError::Disconnected) => self.control.wait(longest),
        }
    }

    /// Takes the notes, and looks if it is time. `true` when every lane was told to end.
    pub(super) fn step(&mut self) -> Result<bool, ProduceError> {
        while let Ok(note) = self.notes.try_recv() {
            self.note(note);
        }
        if self.started.len() < self.lanes.len() {
            return Ok(false);
        }
        let begin_to_finish = self.control.is_finishing() && !self.finishing;
        if begin_to_finish {
            self.finishing = true;
            self.registry.finish();
        }
        let all_read = self.finishing && self.is_everything_read();
        let due = self
            .last_look
            .is_none_or(|last| last.elapsed() >= self.tuning.look_every);
        if !(due || self.urgent || begin_to_finish || all_read) {
            return Ok(false);
        }
        let told = self.look()?;
        if begin_to_finish {
            (0..self.lanes.len()).for_each(|lane| self.send(lane, Order::Finish));
            return Ok(false);
        }
        if !all_read || told || self.undecided {
            return Ok(false);
        }
        (0..self.lanes.len()).for_each(|lane| self.send(lane, Order::End));
        Ok(true)
    }

    fn note(&mut self, note: Note) {
        match &note {
            Note::AtEnd { lane, orders } => {
                if let Some(lane) = self.lanes.get_mut(*lane as usize) {
                    lane.at_end_after = Some(*orders);
                }
            }
            Note::Known { lane, .. } => {
                self.started.insert(*lane);
                self.urgent = true;
            }
            Note::Broken(_) | Note::Intact(_) | Note::Closed(_) => self.urgent = true,
            Note::Removed(_) | Note::Later(_) => {}
        }
        self.registry.note(note);
    }

    fn is_everything_read(&self) -> bool {
        let at_end = |lane: &LaneEnd| lane.at_end_after == Some(lane.sent);
        self.lanes.iter().all(at_end)
    }

    /// Looks at the disk; returns whether any lane was told something.
    fn look(&mut self) -> Result<bool, ProduceError> {
        self.urgent = false;
        if self.last_look.is_none()
            && let Some(file) = &self.starts
            && let Some(starts) = file.load()?
        {
            self.registry.began(starts);
        }
        let look = self.registry.look()?;
        if let (Some(file), Some(starts)) = (&self.starts, look.starts) {
            file.save(starts)?;
        }
        self.last_look = Some(Instant::now());
        self.counters.following.set(self.registry.following());
        self.undecided = look.undecided;
        if let Some(path) = look.missing.first() {
            if self.finishing && !self.control.is_stopped() {
                return Err(ProduceError::Missing { path: path.clone() });
            }
            if !self.warned {
                let paths = look.missing.join(", ");
                tracing::warn!(%paths, "no file there; waiting for one (check the path if this is not expected)");
            }
        }
        self.warned = true;
        let told = !look.orders.is_empty();
        for (lane, order) in look.orders {
            self.send(lane as usize, order);
        }
        Ok(told)
    }

    fn send(&mut self, lane: usize, order: Order) {
        // A lane whose number of partitions was reduced has no thread; its files stay as they are.
        let Some(lane) = self.lanes.get_mut(lane) else {
            return;
        };
        lane.sent += 1;
        // A lane that has ended says why itself.
        drop(lane.orders.send(order));
    }
}
