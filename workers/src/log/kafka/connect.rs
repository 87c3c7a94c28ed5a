//! The first talk with the brokers: who they are and what the topic is. Waits for those that do not answer yet.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use logpipe_api::settings::KafkaSettings;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use super::context::{Events, Trouble};
use super::explain::{self, Hope};
use super::native::{Failure, PartitionState, Request};
use super::{PATIENCE, config};
use crate::log::LogError;

/// How long to wait before asking again.
const PAUSE: Duration = Duration::from_millis(200);

/// What was found.
pub(super) struct Found {
    pub(super) cluster: String,
    pub(super) topic_id: String,
    pub(super) partitions: Vec<PartitionState>,
}

/// A client that asks questions; it belongs to no group and reads nothing.
pub(super) fn asker(
    settings: &KafkaSettings,
    client_id: &str,
) -> Result<BaseConsumer<Events>, LogError> {
    config::client(settings, client_id)?
        .create_with_context(Events::default())
        .map_err(|error| refused(settings, &error))
}

/// A client that cannot be made: its settings are wrong.
pub(super) fn refused(settings: &KafkaSettings, error: &KafkaError) -> LogError {
    let reason = match error {
        KafkaError::ClientCreation(reason) => reason.clone(),
        other => other.to_string(),
    };
    // Certificates and keys are read when a client is made.
    let code = match reason.to_lowercase().contains("ssl") {
        true => Code::SSL,
        false => Code::InvalidArgument,
    };
    LogError::Refused {
        what: explain::text(settings, code, &reason),
    }
}

/// Asks for cluster and topic until they answer.
pub(super) fn find(
    settings: &KafkaSettings,
    asker: &BaseConsumer<Events>,
) -> Result<Found, LogError> {
    let mut talk = Talk::new(settings, asker);
    let cluster = talk.ask(|request| {
        let id = request.cluster_id()?;
        if id.is_empty() {
            return Err(unsupported("the brokers have no cluster id"));
        }
        Ok(id)
    })?;
    let topic = talk.ask(|request| request.topic(&settings.topic))?;
    if topic.topic_id.trim_matches('A').is_empty() {
        let Failure { code, text } = unsupported("the brokers give topics no ids");
        return Err(explain::error(settings, code, &text));
    }
    Ok(Found {
        cluster,
        topic_id: topic.topic_id,
        partitions: topic.partitions,
    })
}

fn unsupported(text: &str) -> Failure {
    Failure {
        code: Code::UnsupportedVersion,
        text: text.to_owned(),
    }
}

/// Questions that are asked again while there is hope, and until patience is at its end.
pub(super) struct Talk<'a> {
    settings: &'a KafkaSettings,
    asker: &'a BaseConsumer<Events>,
    deadline: Instant,
    /// What connections suffer from.
    last: RefCell<Option<Trouble>>,
    told: RefCell<Vec<String>>,
}

impl<'a> Talk<'a> {
    pub(super) fn new(settings: &'a KafkaSettings, asker: &'a BaseConsumer<Events>) -> Self {
        Self {
            settings,
            asker,
            deadline: Instant::now() + PATIENCE,
            last: RefCell::new(None),
            told: RefCell::new(Vec::new()),
        }
    }

    pub(super) fn ask<T>(
        &mut self,
        question: impl Fn(&Request<'_>) -> Result<T, Failure>,
    ) -> Result<T, LogError> {
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            let request = Request {
                consumer: self.asker,
                patience: left,
                go_on: &|| self.listen().is_none(),
            };
            let failure = match question(&request) {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            if let Some(trouble) = self.listen() {
                return Err(explain::error(self.settings, trouble.code, &trouble.reason));
            }
            let hopeless = explain::hope(failure.code, &failure.text) == Hope::None;
            if hopeless || left.is_zero() {
                return Err(self.explain(&failure));
            }
            self.tell(failure.code, &failure.text);
            std::thread::sleep(PAUSE.min(left));
        }
    }

    /// Serves the client; a complaint with which there is nothing to wait for.
    fn listen(&self) -> Option<Trouble> {
        let context = self.asker.context();
        loop {
            let events = context.count();
            self.asker.poll(Duration::ZERO);
            if context.count() == events {
                break;
            }
        }
        for trouble in context.troubles.take() {
            let hope = explain::hope(trouble.code, &trouble.reason);
            if hope != Hope::Passing {
                return Some(trouble);
            }
            if trouble.code != Code::AllBrokersDown {
                self.tell(trouble.code, &trouble.reason);
                *self.last.borrow_mut() = Some(trouble);
            }
        }
        None
    }

    /// Says each kind once.
    fn tell(&self, code: Code, reason: &str) {
        let text = explain::text(self.settings, code, reason);
        let mut told = self.told.borrow_mut();
        if told.len() < 8 && !told.contains(&text) {
            tracing::warn!("{text}; trying again for {} s", PATIENCE.as_secs());
            told.push(text);
        }
    }

    /// That nobody answered in time says less than why.
    fn explain(&self, failure: &Failure) -> LogError {
        let timed_out = matches!(
            failure.code,
            Code::OperationTimedOut | Code::RequestTimedOut | Code::BrokerTransportFailure
        );
        match &*self.last.borrow() {
            Some(trouble) if timed_out => {
                explain::error(self.settings, trouble.code, &trouble.reason)
            }
            _ => explain::error(self.settings, failure.code, &failure.text),
        }
    }
}
