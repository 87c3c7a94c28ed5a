//! What librdkafka tells beside the records: errors of connections, and which partitions a group gives and takes.
//! It is only noted here; whoever polls the client asks for it afterwards.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, TopicPartitionList};

/// More than these are not kept: they would be of the same kinds.
const MOST_TROUBLES: usize = 32;

/// Something that librdkafka complained about.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    pub(super) code: RDKafkaErrorCode,
    pub(super) reason: String,
}

/// The complaints of a client, oldest first.
#[derive(Default)]
pub(super) struct Troubles(Mutex<VecDeque<Trouble>>);

impl Troubles {
    pub(super) fn note(&self, error: &KafkaError, reason: &str) {
        let Some(code) = error.rdkafka_error_code() else {
            return;
        };
        let mut troubles = lock(&self.0);
        if troubles.len() == MOST_TROUBLES {
            troubles.pop_front();
        }
        troubles.push_back(Trouble {
            code,
            reason: reason.to_owned(),
        });
    }

    /// Those that came since the last call.
    pub(super) fn take(&self) -> VecDeque<Trouble> {
        std::mem::take(&mut *lock(&self.0))
    }
}

/// A change of a group member's partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Rebalance {
    /// To be answered by assigning them.
    Assign(Vec<i32>),
    /// To be answered by unassigning them.
    Revoke(Vec<i32>),
    /// As revoked, but others may have them already.
    Lose(Vec<i32>),
}

/// The context of a consumer.
#[derive(Default)]
pub(super) struct Events {
    pub(super) troubles: Troubles,
    rebalances: Mutex<VecDeque<Rebalance>>,
    count: AtomicU64,
    /// Nobody answers any more: answer at once, so that the client can be closed.
    closing: AtomicBool,
}

impl Events {
    /// How many events came so far: whether a poll served one.
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    pub(super) fn next_rebalance(&self) -> Option<Rebalance> {
        lock(&self.rebalances).pop_front()
    }

    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    fn counted(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
    }
}

impl ClientContext for Events {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.counted();
        log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.counted();
        self.troubles.note(&error, reason);
    }
}

impl ConsumerContext for Events {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        kind: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        self.counted();
        if self.closing.load(Ordering::Relaxed) {
            decline(consumer, kind, list);
            return;
        }
        let partitions = list.elements().iter().map(|e| e.partition()).collect();
        let assigned = kind == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        let rebalance = match assigned {
            true => Rebalance::Assign(partitions),
            false if consumer.assignment_lost() => Rebalance::Lose(partitions),
            false => Rebalance::Revoke(partitions),
        };
        tracing::debug!(?rebalance, "the group was rebalanced");
        lock(&self.rebalances).push_back(rebalance);
    }

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        self.counted();
        if let Err(error) = result {
            tracing::debug!(%error, "the group does not know how far this member is; the checkpoint does");
        }
    }
}

/// Answers so that nothing is assigned afterwards.
fn decline(consumer: &BaseConsumer<Events>, kind: RDKafkaRespErr, list: &TopicPartitionList) {
    let answer = match kind {
        RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
            consumer.incremental_assign(&TopicPartitionList::new())
        }
        _ => consumer.incremental_unassign(list),
    };
    // Once the client is closing it takes any answer for this one.
    if let Err(error) = answer.or_else(|_| consumer.unassign()) {
        tracing::debug!(%error, "partitions could not be given back");
    }
}

/// What librdkafka writes for people comes as an error, too, where it matters.
pub(super) fn log(level: RDKafkaLogLevel, facility: &str, text: &str) {
    tracing::debug!(?level, facility, "{text}");
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing in here is left half changed by a panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
