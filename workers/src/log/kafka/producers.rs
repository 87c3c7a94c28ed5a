//! The idempotent producers of a process: a few, however many partitions there are, because each has threads,
//! connections and memory of its own. Sinks share them. Touches the brokers through them.
//!
//! What a producer complains about, each of its sinks is told. When a sink fails, its producer takes no new sink: the
//! records that it still holds may land late, and those of the next sink must not wait behind them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, Producer, ProducerContext};

use super::context::{Trouble, Troubles, lock, log};
use super::{Shared, code, config, connect};
use crate::log::LogError;

/// As many as can be of use: each compresses on a thread of its own for each broker.
const MOST: usize = 4;

/// A record's number within its sink has so many bits of the word that comes back with it; the rest is the sink's.
const RECORD_BITS: u32 = 40;
const _: () = assert!(usize::BITS >= RECORD_BITS + 24, "a 64-bit machine");

/// See the module.
#[derive(Default)]
pub(super) struct Producers([Mutex<Weak<BaseProducer<Deliveries>>>; MOST]);

impl Producers {
    /// The producer for a partition, and what it will tell the partition's new sink.
    pub(super) fn join(
        &self,
        shared: &Shared,
        partition: u32,
    ) -> Result<(Arc<BaseProducer<Deliveries>>, Seat), LogError> {
        let mut place = lock(&self.0[partition as usize % MOST]);
        let producer = match place.upgrade() {
            Some(producer) if !deliveries(&producer).is_closed() => producer,
            _ => {
                let made = Arc::new(make(shared)?);
                *place = Arc::downgrade(&made);
                made
            }
        };
        let seat = deliveries(&producer).seat();
        Ok((producer, seat))
    }
}

fn make(shared: &Shared) -> Result<BaseProducer<Deliveries>, LogError> {
    let mut config = config::client(&shared.settings, &shared.options.client_id)?;
    config::write_records(&mut config, shared.options.compression);
    config
        .create_with_context(Deliveries::default())
        .map_err(|error| connect::refused(&shared.settings, &error))
}

pub(super) fn deliveries(producer: &BaseProducer<Deliveries>) -> &Deliveries {
    producer.client().context()
}

/// What became of the records, by sink.
#[derive(Default)]
pub(super) struct Deliveries {
    sinks: Mutex<Vec<Weak<Account>>>,
    closed: AtomicBool,
}

/// What became of the records of one sink.
#[derive(Default)]
pub(super) struct Account {
    /// The first so many are durable.
    pub(super) acknowledged: AtomicU64,
    pub(super) first_error: Mutex<Option<Trouble>>,
    pub(super) troubles: Troubles,
}

/// A sink's part of its producer.
pub(super) struct Seat {
    number: usize,
    pub(super) account: Arc<Account>,
}

impl Seat {
    /// What is to come back with a record.
    pub(super) fn mark(&self, record: u64) -> usize {
        (self.number << RECORD_BITS) | record as usize
    }
}

impl Deliveries {
    fn seat(&self) -> Seat {
        let mut sinks = lock(&self.sinks);
        let account = Arc::new(Account::default());
        sinks.push(Arc::downgrade(&account));
        Seat {
            number: sinks.len() - 1,
            account,
        }
    }

    /// Takes no new sink from now on.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    fn tell_all(&self, tell: impl Fn(&Troubles)) {
        for account in lock(&self.sinks).iter().filter_map(Weak::upgrade) {
            tell(&account.troubles);
        }
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.tell_all(|troubles| troubles.note_written(facility, text));
        log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.tell_all(|troubles| troubles.note(&error, reason));
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, mark: usize) {
        let account = lock(&self.sinks)
            .get(mark >> RECORD_BITS)
            .and_then(Weak::upgrade);
        if let Some(account) = account {
            let record = (mark & ((1 << RECORD_BITS) - 1)) as u64;
            let failed = match result {
                Ok(message) => lost_track(message.offset()),
                Err((error, _)) => Some((code(error), "")),
            };
            account.note(failed, record);
        }
    }
}

/// Nobody has said that this record is written: librdkafka infers it from the answer to a later one. A broker that has
/// forgotten its producer takes the later one all the same.
fn lost_track(offset: i64) -> Option<(Code, &'static str)> {
    let reason = "no broker has said where a record is";
    (offset < 0).then_some((Code::OutOfOrderSequenceNumber, reason))
}

impl Account {
    fn note(&self, failed: Option<(Code, &str)>, record: u64) {
        let mut first_error = lock(&self.first_error);
        if first_error.is_some() {
            return;
        }
        let (code, reason) = match failed {
            Some(failed) => failed,
            None if record == self.acknowledged.load(Ordering::Relaxed) => {
                self.acknowledged.fetch_add(1, Ordering::Relaxed);
                return;
            }
            None => (
                Code::OutOfOrderSequenceNumber,
                "an earlier record is missing",
            ),
        };
        *first_error = Some(Trouble {
            code,
            reason: reason.to_owned(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sink_learns_of_its_own_records_in_order() {
        let deliveries = Deliveries::default();
        let (one, two) = (deliveries.seat(), deliveries.seat());
        let last = (1 << RECORD_BITS) - 1;
        assert_eq!((one.mark(7), two.mark(0)), (7, 1 << RECORD_BITS));
        assert_eq!(two.mark(last) >> RECORD_BITS, 1);
        one.account.note(None, 0);
        two.account.note(None, 0);
        one.account.note(None, 1);
        let acknowledged = |seat: &Seat| seat.account.acknowledged.load(Ordering::Relaxed);
        assert_eq!((acknowledged(&one), acknowledged(&two)), (2, 1));
    }

    #[test]
    fn nothing_behind_a_failed_or_missing_record_counts() {
        let timed_out = Some((Code::MessageTimedOut, ""));
        for (failed, record) in [(timed_out, 0), (None, 1), (lost_track(-1001), 0)] {
            let account = Account::default();
            account.note(failed, record);
            account.note(None, 0);
            account.note(None, 1);
            assert_eq!(account.acknowledged.load(Ordering::Relaxed), 0);
            assert!(lock(&account.first_error).is_some());
        }
        assert_eq!(lost_track(0), None);
    }

    #[test]
    fn every_sink_is_told_what_its_producer_complains_about() {
        let deliveries = Deliveries::default();
        let (one, two) = (deliveries.seat(), deliveries.seat());
        deliveries.error(KafkaError::Global(Code::AllBrokersDown), "down");
        for seat in [one, two] {
            assert_eq!(seat.account.troubles.take().len(), 1);
        }
    }
}
