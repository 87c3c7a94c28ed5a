//! A sink: what one partition sends through a producer that it shares with others. Touches that producer.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::context::{Trouble, lock};
use super::outage::Outage;
use super::producers::{Deliveries, Seat, deliveries};
use super::{Shared, code, explain};
use crate::log::{LogError, NewRecord, Sink};

/// How long one wait may be while the queue is full or a flush goes on.
const WAIT: Duration = Duration::from_millis(5);
/// Longer than any record may take: librdkafka gives each up after `delivery.timeout.ms`.
const LONGEST_FLUSH: Duration = Duration::from_secs(150);

/// See the module.
pub(super) struct KafkaSink {
    shared: Arc<Shared>,
    producer: Arc<BaseProducer<Deliveries>>,
    seat: Seat,
    partition: u32,
    sent: u64,
    /// As many are known to be in this very topic.
    checked: u64,
    outage: Outage,
    /// Why nothing is sent any more.
    failed: Option<String>,
}

impl KafkaSink {
    pub(super) fn new(shared: Arc<Shared>, partition: u32) -> Result<Self, LogError> {
        let (producer, seat) = shared.producers.join(&shared, partition)?;
        Ok(Self {
            outage: Outage::new(&shared.settings),
            shared,
            producer,
            seat,
            partition,
            sent: 0,
            checked: 0,
            failed: None,
        })
    }

    /// Learns what was delivered, for so long, and fails if something was not.
    fn serve(&mut self, wait: Duration) -> Result<(), LogError> {
        if let Some(reason) = &self.failed {
            return Err(LogError::Closed {
                place: explain::place(&self.shared.settings),
                reason: Some(reason.clone()),
            });
        }
        self.producer.poll(wait);
        let error = lock(&self.seat.account.first_error).clone();
        if let Some(error) = error {
            return Err(self.fail(&error));
        }
        for trouble in self.seat.account.troubles.take() {
            if trouble.code == Code::Fatal {
                return Err(self.fail(&self.fatal(trouble)));
            }
            if let Err(error) = self.outage.note(&self.shared, trouble) {
                self.close(&error.to_string());
                return Err(error);
            }
        }
        Ok(())
    }

    fn fatal(&self, trouble: Trouble) -> Trouble {
        match self.producer.client().fatal_error() {
            Some((code, reason)) => Trouble { code, reason },
            None => trouble,
        }
    }

    /// The sink is of no use any more. What it sent last may still land, behind the fence of whoever goes on.
    fn fail(&mut self, trouble: &Trouble) -> LogError {
        let error = match trouble.code {
            Code::MessageTimedOut => self.shared.failed(
                "write records",
                "no broker took them within two minutes".to_owned(),
            ),
            Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition => self
                .shared
                .explain_final(Code::UnknownTopicOrPartition, &trouble.reason),
            code => self.shared.explain(code, &trouble.reason),
        };
        let source = std::error::Error::source(&error).map(|s| format!(": {s}"));
        self.close(&format!("{error}{}", source.unwrap_or_default()));
        error
    }

    fn close(&mut self, reason: &str) {
        self.failed = Some(reason.to_owned());
        deliveries(&self.producer).close();
    }

    fn note_progress(&mut self) -> u64 {
        let acknowledged = self.seat.account.acknowledged.load(Ordering::Relaxed);
        if acknowledged == self.sent {
            self.outage.heard();
        }
        acknowledged
    }
}

impl Sink for KafkaSink {
    fn send(&mut self, record: NewRecord) -> Result<(), LogError> {
        self.serve(Duration::ZERO)?;
        let shared = Arc::clone(&self.shared);
        loop {
            let topic = &shared.identity().topic;
            let native = BaseRecord::with_opaque_to(topic, self.seat.mark(self.sent))
                .partition(self.partition as i32)
                .timestamp(millis(record.timestamp))
                .key(&record.key[..])
                .payload(&record.value[..]);
            match self.producer.send(native) {
                Ok(()) => {
                    self.sent += 1;
                    return Ok(());
                }
                Err((error, _)) if code(&error) == Code::QueueFull => self.serve(WAIT)?,
                Err((error, _)) => {
                    return Err(self.fail(&Trouble {
                        code: code(&error),
                        reason: format!("{} bytes", record.value.len() + record.key.len()),
                    }));
                }
            }
        }
    }

    fn acknowledged(&mut self) -> Result<u64, LogError> {
        self.serve(Duration::ZERO)?;
        Ok(self.note_progress())
    }

    fn flush(&mut self) -> Result<(), LogError> {
        let begun = Instant::now();
        self.serve(Duration::ZERO)?;
        while self.note_progress() < self.sent {
            self.serve(WAIT)?;
            if begun.elapsed() > LONGEST_FLUSH {
                return Err(self.fail(&Trouble {
                    code: Code::MessageTimedOut,
                    reason: String::new(),
                }));
            }
        }
        if self.checked == self.sent {
            return Ok(());
        }
        // An id never comes back: what was acknowledged before this answer is in this very topic.
        if let Err(error) = self.shared.check_identity() {
            self.close(&error.to_string());
            return Err(error);
        }
        self.checked = self.sent;
        Ok(())
    }
}

/// Kafka counts milliseconds. To librdkafka 0 is now, and less is no time.
fn millis(micros: i64) -> i64 {
    match micros.div_euclid(1000) {
        ..0 => -1,
        0 => 1,
        millis => millis,
    }
}
