//! Tells once that Kafka cannot be reached and once that it is back, and gives up where that cannot help. Asks
//! its consumer, and keeps it from having no broker to ask.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use logpipe_api::settings::KafkaSettings;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;

use super::Shared;
use super::connect;
use super::context::{Events, Trouble};
use super::explain::{self, Hope};
use crate::log::LogError;

/// How often it is looked whether Kafka is back, and how long that may take.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const LOOK_FOR: Duration = Duration::from_millis(300);
/// How often it is looked when nothing comes and nothing is wrong: a client that has no broker left says nothing.
const LOOK_WHEN_QUIET: Duration = Duration::from_secs(15);
/// How long what was sent before may take to be handed out.
const UNDER_WAY: Duration = Duration::from_secs(3);

/// See the module.
pub(super) struct Outage {
    place: String,
    begun: Option<Begun>,
    /// When it was looked last, or first seen that nothing comes; `None` when something came since.
    quiet: Option<Instant>,
}

struct Begun {
    at: Instant,
    looked: Instant,
    told: BTreeSet<&'static str>,
}

impl Outage {
    pub(super) fn new(settings: &KafkaSettings) -> Self {
        Self {
            place: explain::place(settings),
            begun: None,
            quiet: None,
        }
    }

    /// Takes note of a complaint; an error when waiting is in vain.
    pub(super) fn note(&mut self, shared: &Shared, trouble: Trouble) -> Result<(), LogError> {
        let Trouble { code, reason } = &explain::of_known_server(trouble);
        let hope = explain::hope(*code, reason);
        if hope == Hope::None {
            return Err(shared.explain_final(*code, reason));
        }
        let Some(kind) = kind(*code) else {
            tracing::info!("{}", explain::text(&shared.settings, *code, reason));
            return Ok(());
        };
        let now = Instant::now();
        let begun = self.begun.get_or_insert_with(|| Begun {
            at: now,
            looked: now,
            told: BTreeSet::new(),
        });
        if hope == Hope::Connection && begun.at.elapsed() > shared.options.patience {
            return Err(shared.explain(*code, reason));
        }
        // That all brokers are down was said of each of them.
        if *code == RDKafkaErrorCode::AllBrokersDown {
            return Ok(());
        }
        if begun.told.insert(kind) {
            let why = explain::text(&shared.settings, *code, reason);
            tracing::warn!("{why}; trying again until it answers");
        }
        Ok(())
    }

    /// Something came from Kafka; right after the beginning that was still under way.
    pub(super) fn heard(&mut self) {
        self.quiet = None;
        if self
            .begun
            .as_ref()
            .is_some_and(|b| b.at.elapsed() > UNDER_WAY)
        {
            self.over();
        }
    }

    fn over(&mut self) {
        if let Some(begun) = self.begun.take() {
            let seconds = begun.at.elapsed().as_secs();
            tracing::warn!(seconds, "kafka {}: it answers again", self.place);
        }
    }

    /// Asks now and then whether Kafka is there, while nothing comes.
    pub(super) fn look(&mut self, consumer: &BaseConsumer<Events>, settings: &KafkaSettings) {
        let (looked, every) = match &mut self.begun {
            Some(begun) => (&mut begun.looked, LOOK_EVERY),
            None => (self.quiet.get_or_insert_with(Instant::now), LOOK_WHEN_QUIET),
        };
        if looked.elapsed() < every {
            return;
        }
        *looked = Instant::now();
        if connect::learn(settings, consumer.client(), LOOK_FOR).is_ok() {
            self.over();
        }
    }
}

/// What keeps brokers from being reached; `None` when it is something else.
fn kind(code: RDKafkaErrorCode) -> Option<&'static str> {
    use RDKafkaErrorCode as Code;
    match code {
        Code::SSL => Some("tls"),
        Code::Authentication | Code::SaslAuthenticationFailed => Some("login"),
        Code::Resolve => Some("name"),
        Code::BrokerTransportFailure | Code::AllBrokersDown => Some("connection"),
        Code::OperationTimedOut | Code::RequestTimedOut => Some("time"),
        _ => None,
    }
}
