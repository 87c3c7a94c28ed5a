//! The first talk with the brokers: who they are and what the topic is. Waits for those that do not answer yet.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use logpipe_api::settings::KafkaSettings;
use rdkafka::client::{Client, ClientContext};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};

use super::context::{Events, Trouble};
use super::explain::{self, Hope};
use super::native::{self, Failure, PartitionState, Request};
use super::{code, config};
use crate::log::LogError;

/// How long to wait before asking again.
const PAUSE: Duration = Duration::from_millis(200);
/// How long brokers that are just starting may refuse connections that they take later.
const GRACE: Duration = Duration::from_secs(2);
/// How long one try of a question may take: librdkafka asks the broker that it remembers as the controller, and
/// waits for that one, whoever else is there.
const TRY: Duration = Duration::from_secs(4);

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
    let code = if reason.to_lowercase().contains("ssl") {
        Code::SSL
    } else {
        Code::InvalidArgument
    };
    LogError::Refused {
        what: explain::text(settings, code, &reason),
    }
}

/// Asks for cluster and topic for the first time, until they answer.
pub(super) fn find(
    settings: &KafkaSettings,
    asker: &BaseConsumer<Events>,
    patience: Duration,
) -> Result<Found, LogError> {
    find_by(&Talk::first(settings, asker, patience))
}

/// The same where an earlier answer came: a connection that is refused may be taken again.
pub(super) fn find_again(
    settings: &KafkaSettings,
    asker: &BaseConsumer<Events>,
    patience: Duration,
) -> Result<Found, LogError> {
    find_by(&Talk {
        grace: patience,
        known: true,
        ..Talk::first(settings, asker, patience)
    })
}

fn find_by(talk: &Talk<'_>) -> Result<Found, LogError> {
    let settings = talk.settings;
    let topic = talk.ask(|request| request.topic(&settings.topic))?;
    if topic.topic_id.trim_matches('A').is_empty() {
        let Failure { code, text } = unsupported("the brokers give topics no ids");
        return Err(explain::error(settings, code, &text));
    }
    // It came with the answer about the topic. librdkafka 2.12 has a question of its own for it (DescribeCluster),
    // but aborts the process when it reaches a broker that is just starting and knows of no broker yet.
    let Some(cluster) = talk.asker.client().fetch_cluster_id(Duration::ZERO) else {
        let Failure { code, text } = unsupported("the brokers have no cluster id");
        return Err(explain::error(settings, code, &text));
    };
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

/// Has a client ask any broker who the others are, and where the topic's partitions are.
///
/// A broker that its controllers have given up says that there are none. librdkafka then drops all that it knows, those of
/// the settings, too, and may never look for one again (its issue 5301). So they are named to it once more.
pub(super) fn learn<C: ClientContext>(
    settings: &KafkaSettings,
    client: &Client<C>,
    patience: Duration,
) -> KafkaResult<()> {
    let found = client.fetch_metadata(Some(&settings.topic), patience);
    let none_left = match &found {
        Ok(metadata) => metadata.brokers().is_empty(),
        Err(error) => code(error) == Code::BrokerTransportFailure,
    };
    if none_left {
        native::add_brokers(client, &settings.bootstrap_servers.join(","));
    }
    found.map(drop)
}

/// Questions that are asked again while there is hope, and until patience is at its end.
pub(super) struct Talk<'a> {
    settings: &'a KafkaSettings,
    asker: &'a BaseConsumer<Events>,
    patience: Duration,
    /// It is about making a topic, which takes other rights.
    makes: bool,
    /// The brokers have answered this process before.
    known: bool,
    /// How long connections may be refused.
    grace: Duration,
    deadline: Instant,
    /// What connections suffer from, and since when there is little hope.
    last: RefCell<Option<Trouble>>,
    refused_since: Cell<Option<Instant>>,
    told: RefCell<Vec<String>>,
}

impl<'a> Talk<'a> {
    pub(super) fn first(
        settings: &'a KafkaSettings,
        asker: &'a BaseConsumer<Events>,
        patience: Duration,
    ) -> Self {
        Self {
            settings,
            asker,
            patience,
            makes: false,
            known: false,
            grace: GRACE,
            deadline: Instant::now() + patience,
            refused_since: Cell::new(None),
            last: RefCell::new(None),
            told: RefCell::new(Vec::new()),
        }
    }

    /// The same for making and changing a topic.
    pub(super) fn making(self) -> Self {
        Self {
            makes: true,
            ..self
        }
    }

    pub(super) fn ask<T>(
        &self,
        question: impl Fn(&Request<'_>) -> Result<T, Failure>,
    ) -> Result<T, LogError> {
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            let request = Request {
                consumer: self.asker,
                // A change is not asked for twice while the first answer may still come.
                patience: if self.makes { left } else { left.min(TRY) },
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
            let left = self.deadline.saturating_duration_since(Instant::now());
            if hopeless || left < PAUSE {
                return Err(self.explain(&failure));
            }
            self.tell(failure.code, &failure.text);
            self.learn(left);
            std::thread::sleep(PAUSE);
        }
    }

    /// Asks any broker that is there who the others are, so that the next try does not wait for one that is gone.
    fn learn(&self, left: Duration) {
        // What is wrong, the next try says.
        learn(self.settings, self.asker.client(), left.min(TRY)).ok();
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
        for mut trouble in context.troubles.take() {
            if self.known {
                trouble = explain::of_known_server(trouble);
            }
            match explain::hope(trouble.code, &trouble.reason) {
                Hope::None => return Some(trouble),
                // That all brokers are down was said of each of them.
                Hope::Passing if trouble.code == Code::AllBrokersDown => continue,
                Hope::Passing => self.refused_since.set(None),
                Hope::Connection if self.refused_since.get().is_some() => {}
                Hope::Connection => self.refused_since.set(Some(Instant::now())),
            }
            self.tell(trouble.code, &trouble.reason);
            *self.last.borrow_mut() = Some(trouble);
        }
        let since = self.refused_since.get()?;
        (since.elapsed() >= self.grace).then(|| self.last.borrow().clone())?
    }

    /// Says each kind once.
    fn tell(&self, code: Code, reason: &str) {
        let text = explain::text(self.settings, code, reason);
        let mut told = self.told.borrow_mut();
        if told.len() < 8 && !told.contains(&text) {
            tracing::warn!("{text}; trying again for {} s", self.patience.as_secs());
            told.push(text);
        }
    }

    /// That nobody answered in time says less than why.
    fn explain(&self, failure: &Failure) -> LogError {
        let forbidden = matches!(
            failure.code,
            Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed
        );
        if forbidden && self.makes {
            return explain::making_forbidden(self.settings);
        }
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
