//! Reads assigned partitions from one queue in batches, and knows by itself how far each of them is read: what
//! the source without a group and the member of a group share. Touches its consumer.
//!
//! librdkafka's own idea of a position is only used for what it is right about. Its batch call takes an error for
//! a record when it moves that position, so a partition that had an error is begun anew where its last record
//! was; and after a pause some records may come twice, which is why each must be at or behind the place.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::Offset as RdOffset;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{TopicPartitionList, TopicPartitionListElem};

use super::native::{Batch, Feed, Item};
use super::outage::Outage;
use super::{Shared, explain};
use crate::log::{LogError, Offset, Record};

/// As much as one poll hands out, in bytes of values.
const POLL_BYTES: usize = 1 << 20;
/// As many records as one call takes off the queue.
const MOST_RECORDS: usize = 8192;
const FEWEST_RECORDS: usize = 16;
/// How long one wait may keep events waiting.
const LONGEST_WAIT: Duration = Duration::from_millis(100);
/// How often places are moved past control records while there are others.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long a partition may take to be begun anew.
const SEEK_PATIENCE: Duration = Duration::from_secs(10);
const SEEK_PAUSE: Duration = Duration::from_millis(20);

/// How partitions are begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// One by one, by this reader alone.
    Alone,
    /// By the group's assignments.
    Group,
}

/// See the module.
pub(super) struct Reader {
    shared: Arc<Shared>,
    mode: Mode,
    slots: Vec<Option<Slot>>,
    batch: Batch,
    /// How many records a call should take off the queue to come to a poll's share.
    most: usize,
    looked_at: Instant,
    outage: Outage,
    /// The group knows this client no more.
    fenced: bool,
    feed: Arc<Feed>,
}

/// An assigned partition.
struct Slot {
    /// What is handed out next.
    next: Offset,
    /// What comes off the queue next.
    taken: Offset,
    paused: bool,
    /// It must be begun anew.
    failed: bool,
    /// Taken off the queue while it was paused.
    kept: Batch,
}

/// What one poll may still hand out, and to whom.
struct Share<'a, 'b> {
    each: &'a mut (dyn FnMut(Record<'_>) + 'b),
    left: usize,
    count: usize,
}

impl Share<'_, '_> {
    fn hand(&mut self, item: &Item<'_>, next: &mut Offset) {
        let offset = item.offset as Offset;
        (self.each)(Record {
            partition: item.partition as u32,
            offset,
            // Kafka counts milliseconds, and says -1 where there is no time.
            timestamp: match item.timestamp {
                ..0 => -1,
                millis => millis.saturating_mul(1000),
            },
            key: item.key,
            value: item.value,
        });
        *next = offset + 1;
        self.left = self.left.saturating_sub(item.value.len().max(1));
        self.count += 1;
    }
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>, feed: Arc<Feed>, mode: Mode) -> Self {
        Self {
            outage: Outage::new(&shared.settings),
            shared,
            mode,
            slots: Vec::new(),
            batch: Batch::new(Arc::clone(&feed)),
            most: FEWEST_RECORDS,
            looked_at: Instant::now(),
            fenced: false,
            feed,
        }
    }

    pub(super) fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Whether this client is of no use to its group any more.
    pub(super) fn is_fenced(&self) -> bool {
        self.fenced
    }

    /// Expects a partition's records from `offset` on. Reading them is begun by the caller.
    pub(super) fn expect(&mut self, partition: u32, offset: Offset) {
        self.forget(partition);
        let at = partition as usize;
        if self.slots.len() <= at {
            self.slots.resize_with(at + 1, || None);
        }
        self.slots[at] = Some(Slot {
            next: offset,
            taken: offset,
            paused: false,
            failed: false,
            kept: Batch::new(Arc::clone(&self.feed)),
        });
    }

    /// Expects nothing of a partition any more; whether something was expected.
    pub(super) fn forget(&mut self, partition: u32) -> bool {
        let slot = self.slots.get_mut(partition as usize);
        let known = slot.is_some_and(|slot| slot.take().is_some());
        self.batch.remove(partition as i32);
        known
    }

    pub(super) fn position(&self, partition: u32) -> Offset {
        self.slot(partition).map_or(0, |slot| slot.next)
    }

    pub(super) fn pause(&mut self, partition: u32, paused: bool) {
        let Some(slot) = self.slots.get_mut(partition as usize) else {
            return;
        };
        let Some(slot) = slot.as_mut().filter(|slot| slot.paused != paused) else {
            return;
        };
        slot.paused = paused;
        self.hold(partition, paused);
    }

    /// Lets the client fetch a partition, or not.
    pub(super) fn hold(&self, partition: u32, held: bool) {
        let list = self.shared.list([partition]);
        let consumer = self.feed.consumer();
        let told = if held {
            consumer.pause(&list)
        } else {
            consumer.resume(&list)
        };
        if let Err(error) = told {
            // Then it fills its queue, and what comes is kept here.
            tracing::debug!(%error, partition, held, "a partition could not be held or let go");
        }
    }

    /// See [`Source::poll`](crate::log::Source::poll).
    pub(super) fn poll(
        &mut self,
        timeout: Duration,
        each: &mut dyn FnMut(Record<'_>),
    ) -> Result<usize, LogError> {
        let deadline = Instant::now() + timeout;
        self.begin_failed_anew()?;
        loop {
            self.serve()?;
            if self.fenced {
                return Ok(0);
            }
            let mut share = Share {
                each,
                left: POLL_BYTES,
                count: 0,
            };
            self.hand_out(&mut share)?;
            let (left, count) = (share.left, share.count);
            if count > 0 {
                self.outage.heard();
                self.look_past_control_records(false);
                self.adapt(POLL_BYTES - left, count);
                return Ok(count);
            }
            self.look_past_control_records(true);
            self.outage
                .look(self.feed.consumer(), &self.shared.settings);
            let now = Instant::now();
            if now >= deadline {
                return Ok(0);
            }
            let wait = (deadline - now).min(LONGEST_WAIT);
            // At least a millisecond, or the last bit of the time is spent turning round.
            let millis = wait.as_millis().max(1) as i32;
            self.feed.fill(&mut self.batch, 1, millis);
        }
    }

    /// Serves what librdkafka tells beside the records; an error is one that a person must mend.
    pub(super) fn serve(&mut self) -> Result<(), LogError> {
        let consumer = self.feed.consumer();
        loop {
            let events = consumer.context().count();
            if let Some(Ok(record)) = consumer.poll(Duration::ZERO) {
                return Err(explain::stray(&record));
            }
            if consumer.context().count() == events {
                break;
            }
        }
        if let Some((code, reason)) = consumer.client().fatal_error() {
            if code == RDKafkaErrorCode::FencedInstanceId {
                self.fenced = true;
                return Ok(());
            }
            return Err(self.shared.explain(code, &reason));
        }
        for trouble in consumer.context().troubles.take() {
            self.outage.note(&self.shared, trouble)?;
        }
        Ok(())
    }

    fn hand_out(&mut self, share: &mut Share<'_, '_>) -> Result<(), LogError> {
        for slot in self.slots.iter_mut().flatten() {
            while !slot.paused && share.left > 0 && !slot.kept.is_empty() {
                let item = slot.kept.first().expect("it is not empty");
                share.hand(&item, &mut slot.next);
                slot.kept.take();
            }
        }
        let mut filled = false;
        while share.left > 0 {
            let Some(item) = self.batch.first() else {
                if filled || self.feed.fill(&mut self.batch, self.most, 0) == 0 {
                    return Ok(());
                }
                filled = true;
                continue;
            };
            let partition = item.partition;
            let slot = usize::try_from(partition).ok();
            let slot = slot.and_then(|at| self.slots.get_mut(at)?.as_mut());
            let Some(slot) = slot.filter(|slot| !slot.failed) else {
                self.batch.take();
                continue;
            };
            if let Some(code) = item.error {
                if share.count > 0 {
                    return Ok(()); // What was read before is handed out first.
                }
                let reason = String::from_utf8_lossy(item.value).into_owned();
                slot.failed = true;
                let next = slot.next;
                self.batch.take();
                return Err(self.failure(partition, next, code, &reason));
            }
            let offset = item.offset as Offset;
            if offset < slot.taken {
                self.batch.take();
                continue;
            }
            slot.taken = offset + 1;
            if slot.paused {
                self.batch.move_to(&mut slot.kept);
                continue;
            }
            share.hand(&item, &mut slot.next);
            self.batch.take();
        }
        Ok(())
    }

    fn slot(&self, partition: u32) -> Option<&Slot> {
        self.slots.get(partition as usize)?.as_ref()
    }

    /// Begins partitions that had an error where their last record was.
    fn begin_failed_anew(&mut self) -> Result<(), LogError> {
        for at in 0..self.slots.len() {
            let Some(slot) = self.slots[at].as_ref().filter(|slot| slot.failed) else {
                continue;
            };
            let (partition, offset, paused) = (at as i32, slot.taken as i64, slot.paused);
            self.begin_anew(partition, offset, paused)
                .map_err(|reason| {
                    self.shared
                        .failed("begin a partition anew", reason.to_string())
                })?;
            self.batch.remove(partition);
            if let Some(slot) = &mut self.slots[at] {
                slot.failed = false;
            }
        }
        Ok(())
    }

    /// Lets a partition's records come from `offset` on, and none of before.
    pub(super) fn begin_anew(
        &self,
        partition: i32,
        offset: i64,
        paused: bool,
    ) -> Result<(), KafkaError> {
        if self.mode == Mode::Group {
            return self.seek(partition, offset);
        }
        // It may have stopped by itself, because of the error.
        self.feed.stop(partition).ok();
        self.feed
            .start(partition, offset)
            .map_err(KafkaError::Global)?;
        if paused {
            let list = self.shared.list([partition as u32]);
            self.feed.consumer().pause(&list)?;
        }
        Ok(())
    }

    /// Of an assigned partition. While librdkafka has not begun to fetch it, it refuses.
    fn seek(&self, partition: i32, offset: i64) -> Result<(), KafkaError> {
        let deadline = Instant::now() + SEEK_PATIENCE;
        loop {
            let mut list = TopicPartitionList::new();
            let topic = &self.shared.identity().topic;
            list.add_partition_offset(topic, partition, RdOffset::Offset(offset))?;
            let list = self.feed.consumer().seek_partitions(list, SEEK_PATIENCE)?;
            let elements = list.elements();
            let sought = elements.iter().try_for_each(TopicPartitionListElem::error);
            if sought.is_ok() || Instant::now() > deadline {
                return sought;
            }
            std::thread::sleep(SEEK_PAUSE);
        }
    }

    /// What an error in the place of a record means.
    fn failure(
        &self,
        partition: i32,
        next: Offset,
        code: RDKafkaErrorCode,
        reason: &str,
    ) -> LogError {
        use RDKafkaErrorCode as Code;
        match code {
            Code::AutoOffsetReset | Code::OffsetOutOfRange => {
                match self.shared.bounds(partition as u32) {
                    Ok(bounds) if !(bounds.start..=bounds.end).contains(&next) => {
                        LogError::OutOfRange {
                            partition: partition as u32,
                            offset: next,
                            start: bounds.start,
                            end: bounds.end,
                        }
                    }
                    Ok(_) => self.shared.failed("read a partition", reason.to_owned()),
                    Err(error) => error,
                }
            }
            Code::UnknownTopicOrPartition
            | Code::UnknownTopic
            | Code::UnknownPartition
            | Code::UnknownTopicId => match self.shared.check_identity() {
                Ok(()) => self.shared.failed("read a partition", reason.to_owned()),
                Err(error) => error,
            },
            _ => self.shared.explain(code, reason),
        }
    }

    /// Moves places past what is never handed out: control records of transactions. Only what librdkafka has
    /// passed counts, when everything in front of that is handed out.
    fn look_past_control_records(&mut self, idle: bool) {
        if !self.batch.is_empty() || (!idle && self.looked_at.elapsed() < LOOK_EVERY) {
            return;
        }
        self.looked_at = Instant::now();
        let slots = self.slots.iter().enumerate();
        let open = slots.filter(|(_, slot)| {
            slot.as_ref()
                .is_some_and(|slot| !slot.failed && slot.kept.is_empty())
        });
        let list = self.shared.list(open.map(|(at, _)| at as u32));
        if list.count() == 0 {
            return;
        }
        self.feed.positions(&list);
        for element in list.elements() {
            let (at, RdOffset::Offset(passed)) = (element.partition() as usize, element.offset())
            else {
                continue;
            };
            if let Some(slot) = &mut self.slots[at] {
                slot.taken = slot.taken.max(passed as Offset);
                slot.next = slot.taken;
            }
        }
    }

    fn adapt(&mut self, bytes: usize, count: usize) {
        let average = (bytes / count).max(1);
        self.most = (POLL_BYTES / average).clamp(FEWEST_RECORDS, MOST_RECORDS);
    }
}
