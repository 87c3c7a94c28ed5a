//! What librdkafka tells beside the records: errors of connections, and which partitions a group gives and takes.
//! It is only noted here; whoever polls the client asks for it afterwards.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, TopicPartitionList};

use super::explain::closed_early;

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
        self.push(code, reason);
    }

    fn push(&self, code: RDKafkaErrorCode, reason: &str) {
        let mut troubles = lock(&self.0);
        if troubles.len() == MOST_TROUBLES {
            troubles.pop_front();
        }
        troubles.push_back(Trouble {
            code,
            reason: reason.to_owned(),
        });
    }

    /// A connection that was closed before anything was said on it is written only.
    pub(super) fn note_written(&self, facility: &str, text: &str) {
        if facility == "FAIL" && closed_early(text) {
            self.push(RDKafkaErrorCode::BrokerTransportFailure, text);
        }
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

impl Rebalance {
    /// Answers so that nothing is assigned afterwards.
    pub(super) fn decline(&self, consumer: &BaseConsumer<Events>, topic: &str) {
        let mut list = TopicPartitionList::new();
        let answer = match self {
            Self::Assign(_) => consumer.incremental_assign(&list),
            Self::Revoke(partitions) | Self::Lose(partitions) => {
                for &partition in partitions {
                    list.add_partition(topic, partition);
                }
                consumer.incremental_unassign(&list)
            }
        };
        // Of partitions that were never read there is nothing to take away, but any answer will do then.
        if let Err(error) = answer.or_else(|_| consumer.unassign()) {
            tracing::debug!(%error, "partitions could not be given back");
        }
    }
}

/// The context of a consumer.
#[derive(Default)]
pub(super) struct Events {
    pub(super) troubles: Troubles,
    rebalances: Mutex<VecDeque<Rebalance>>,
    count: AtomicU64,
    /// Nobody answers any more: answer at once, so that the client can be closed.
    closing: AtomicBool,
    commit_failed: AtomicBool,
}

impl Events {
    /// How many events came so far: whether a poll served one.
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    pub(super) fn next_rebalance(&self) -> Option<Rebalance> {
        lock(&self.rebalances).pop_front()
    }

    /// Whether the group did not take offsets since the last call.
    pub(super) fn take_commit_failed(&self) -> bool {
        self.commit_failed.swap(false, Ordering::Relaxed)
    }

    /// From now on nobody answers: changes are declined as they come.
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
        self.troubles.note_written(facility, text);
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
        let elements = list.elements();
        let partitions = elements.iter().map(TopicPartitionListElem::partition);
        let partitions = partitions.collect();
        let assigned = kind == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        let rebalance = match assigned {
            true => Rebalance::Assign(partitions),
            false if consumer.assignment_lost() => Rebalance::Lose(partitions),
            false => Rebalance::Revoke(partitions),
        };
        tracing::debug!(?rebalance, "the group was rebalanced");
        if self.closing.load(Ordering::Relaxed) {
            let topic = elements.first().map(|e| e.topic().to_owned());
            rebalance.decline(consumer, &topic.unwrap_or_default());
            return;
        }
        lock(&self.rebalances).push_back(rebalance);
    }

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        self.counted();
        if let Err(error) = result {
            self.commit_failed.store(true, Ordering::Relaxed);
            tracing::debug!(%error, "the group does not know how far this member is; the checkpoint does");
        }
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
