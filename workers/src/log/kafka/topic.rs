//! Makes a topic and brings it to what is wanted, as often as one likes. Never removes anything. Talks to the
//! brokers.

use std::fmt;
use std::time::{Duration, Instant};

use logpipe_api::pipeline::ManagementPolicy;
use logpipe_api::settings::{KafkaSettings, TopicSettings};
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::RDKafkaErrorCode as Code;

use super::connect::{self, Talk};
use super::context::Events;
use super::native::{Description, Failure};
use super::{KafkaOptions, explain};
use crate::log::LogError;

/// How long brokers may take until a topic is ready.
const READY_PATIENCE: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_millis(100);

/// What was found and done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicReport {
    /// The topic.
    pub topic: String,
    /// How many partitions it has now.
    pub partitions: u32,
    /// What was done, in order. Nothing when everything was as wanted.
    pub done: Vec<Done>,
    /// What is not as wanted, and stays so.
    pub differs: Vec<Difference>,
}

/// A change that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// The topic was made.
    Made {
        /// With so many partitions.
        partitions: u32,
        /// With so many replicas of each.
        replicas: u32,
    },
    /// Partitions were added.
    Grown {
        /// How many there were.
        from: u32,
        /// How many there are.
        to: u32,
    },
    /// A setting was changed.
    Set {
        /// Which.
        name: String,
        /// What it was; `None` when the brokers do not tell.
        from: Option<String>,
        /// What it is.
        to: String,
    },
}

/// Something that is not as wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// More or fewer partitions than wanted. More are fine: partitions are never removed.
    Partitions {
        /// How many are wanted.
        wanted: u32,
        /// How many there are.
        found: u32,
    },
    /// A record lies on another number of brokers than wanted. That can only be changed with Kafka's own tool for
    /// moving partitions.
    Replicas {
        /// How many are wanted.
        wanted: u32,
        /// How many there are.
        found: u32,
    },
    /// A setting has another value.
    Config {
        /// Which.
        name: String,
        /// What is wanted.
        wanted: String,
        /// What there is; `None` when the brokers do not know it.
        found: Option<String>,
    },
}

/// Makes the topic what is wanted, as far as the policy allows and Kafka can, and waits until each partition has a
/// leader. Doing it again changes nothing.
pub fn ensure(settings: &KafkaSettings, wanted: &TopicSettings) -> Result<TopicReport, LogError> {
    let asker = connect::asker(settings, "logpipe-topic")?;
    let mut job = Job {
        settings,
        wanted,
        asker: &asker,
        patience: KafkaOptions::default().patience,
        report: TopicReport {
            topic: settings.topic.clone(),
            partitions: 0,
            done: Vec::new(),
            differs: Vec::new(),
        },
    };
    job.run()?;
    Ok(job.report)
}

struct Job<'a> {
    settings: &'a KafkaSettings,
    wanted: &'a TopicSettings,
    asker: &'a BaseConsumer<Events>,
    patience: Duration,
    report: TopicReport,
}

impl Job<'_> {
    fn run(&mut self) -> Result<(), LogError> {
        let topic = match self.look()? {
            Some(topic) => topic,
            None => self.make()?,
        };
        self.compare_partitions(&topic)?;
        self.compare_replicas(&topic);
        self.compare_configs()?;
        self.wait_until_ready()
    }

    fn may_change(&self) -> bool {
        self.wanted.management_policy == ManagementPolicy::CreateOrUpdate
    }

    fn talk(&self) -> Talk<'_> {
        Talk::first(self.settings, self.asker, self.patience).making()
    }

    fn look(&self) -> Result<Option<Description>, LogError> {
        let name = &self.settings.topic;
        self.talk().ask(|request| match request.topic(name) {
            Ok(topic) => Ok(Some(topic)),
            Err(failure) if failure.code == Code::UnknownTopicOrPartition => Ok(None),
            Err(failure) => Err(failure),
        })
    }

    fn make(&mut self) -> Result<Description, LogError> {
        let name = &self.settings.topic;
        if !self.may_change() {
            let what = explain::text(self.settings, Code::UnknownTopicOrPartition, "");
            return Err(LogError::Refused {
                what: format!("{what} (kafka.topic.managementPolicy is ObserveOnly)"),
            });
        }
        let configs: Vec<_> = self.wanted.config.clone().into_iter().collect();
        let (partitions, replicas) = (self.wanted.partitions, self.wanted.replication_factor);
        let made = self.talk().ask(|request| {
            let made = request.create_topic(name, partitions, replicas, &configs);
            match made {
                Ok(()) => Ok(true),
                // Another one was faster, or the answer to an earlier try was lost.
                Err(failure) if failure.code == Code::TopicAlreadyExists => Ok(false),
                Err(failure) => Err(failure),
            }
        })?;
        let topic = self.seen(|topic| !topic.partitions.is_empty())?;
        if made {
            self.report.done.push(Done::Made {
                partitions: topic.partitions.len() as u32,
                replicas: replicas_of(&topic),
            });
        }
        Ok(topic)
    }

    fn compare_partitions(&mut self, topic: &Description) -> Result<(), LogError> {
        let (found, wanted) = (topic.partitions.len() as u32, self.wanted.partitions);
        self.report.partitions = found;
        if found > wanted || (found < wanted && !self.may_change()) {
            let differs = Difference::Partitions { wanted, found };
            self.report.differs.push(differs);
        } else if found < wanted {
            let name = &self.settings.topic;
            self.talk()
                .ask(|request| request.grow_topic(name, wanted))?;
            self.report.done.push(Done::Grown {
                from: found,
                to: wanted,
            });
            self.report.partitions = wanted;
        }
        Ok(())
    }

    fn compare_replicas(&mut self, topic: &Description) {
        let found = replicas_of(topic);
        if let Some(wanted) = self.wanted.replication_factor.filter(|w| *w != found) {
            self.report
                .differs
                .push(Difference::Replicas { wanted, found });
        }
    }

    fn compare_configs(&mut self) -> Result<(), LogError> {
        if self.wanted.config.is_empty() {
            return Ok(());
        }
        let name = &self.settings.topic;
        let found = self.talk().ask(|request| request.configs(name))?;
        let mut changes = Vec::new();
        for (key, wanted) in &self.wanted.config {
            let found = found.iter().find(|(name, _)| name == key);
            let found = found.map(|(_, value)| value.clone());
            if found.as_ref() == Some(wanted) {
                continue;
            }
            let (name, wanted) = (key.clone(), wanted.clone());
            if self.may_change() {
                changes.push((name, found, wanted));
            } else {
                self.report.differs.push(Difference::Config {
                    name,
                    wanted,
                    found,
                });
            }
        }
        if changes.is_empty() {
            return Ok(());
        }
        let pairs: Vec<_> = changes
            .iter()
            .map(|(name, _, to)| (name.clone(), to.clone()))
            .collect();
        self.talk()
            .ask(|request| request.set_configs(name, &pairs))?;
        self.wait_until_set(&pairs)?;
        let done = changes
            .into_iter()
            .map(|(name, from, to)| Done::Set { name, from, to });
        self.report.done.extend(done);
        Ok(())
    }

    /// A broker may answer for a moment as it was before.
    fn wait_until_set(&self, pairs: &[(String, String)]) -> Result<(), LogError> {
        let deadline = Instant::now() + READY_PATIENCE;
        let name = &self.settings.topic;
        loop {
            let found = self.talk().ask(|request| request.configs(name))?;
            // Some values are written otherwise than they were given; that is for the next time to find.
            if pairs.iter().all(|pair| found.contains(pair)) || Instant::now() > deadline {
                return Ok(());
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn wait_until_ready(&self) -> Result<(), LogError> {
        let partitions = self.report.partitions as usize;
        self.seen(|topic| {
            topic.partitions.len() >= partitions && topic.partitions.iter().all(|p| p.has_leader)
        })?;
        Ok(())
    }

    /// Waits until the brokers tell of the topic what was just done to it.
    fn seen(&self, is_so: impl Fn(&Description) -> bool) -> Result<Description, LogError> {
        let deadline = Instant::now() + READY_PATIENCE;
        loop {
            let topic = self.look()?;
            if let Some(topic) = topic.filter(|topic| is_so(topic)) {
                return Ok(topic);
            }
            if Instant::now() > deadline {
                let Failure { code, text } = Failure {
                    code: Code::LeaderNotAvailable,
                    text: format!(
                        "a partition of topic {} has no leader after {} s: look at the brokers",
                        self.settings.topic,
                        READY_PATIENCE.as_secs()
                    ),
                };
                return Err(explain::error(self.settings, code, &text));
            }
            std::thread::sleep(PAUSE);
        }
    }
}

/// On how many brokers its partitions lie, at least.
fn replicas_of(topic: &Description) -> u32 {
    let replicas = topic.partitions.iter().map(|p| p.replicas);
    replicas.min().unwrap_or(0) as u32
}

impl fmt::Display for TopicReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "topic {}: ", self.topic)?;
        if self.done.is_empty() && self.differs.is_empty() {
            return write!(f, "as wanted, with {} partitions", self.partitions);
        }
        let done = self.done.iter().map(Done::to_string);
        let differs = self.differs.iter().map(Difference::to_string);
        f.write_str(&done.chain(differs).collect::<Vec<_>>().join("; "))
    }
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Made {
                partitions,
                replicas,
            } => write!(
                f,
                "made with {partitions} partitions, replication factor {replicas}"
            ),
            Self::Grown { from, to } => write!(f, "grown from {from} to {to} partitions"),
            Self::Set { name, from, to } => {
                let from = from.as_deref().unwrap_or("unknown");
                write!(f, "{name} changed from {from} to {to}")
            }
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Partitions { wanted, found } if found > wanted => write!(
                f,
                "it has {found} partitions, more than the {wanted} that are wanted: they stay, partitions are \
                 never removed"
            ),
            Self::Partitions { wanted, found } => write!(
                f,
                "it has {found} partitions, and {wanted} are wanted: add them, or let us \
                 (kafka.topic.managementPolicy: CreateOrUpdate)"
            ),
            Self::Replicas { wanted, found } => write!(
                f,
                "each partition lies on {found} brokers, and {wanted} are wanted: move them with \
                 kafka-reassign-partitions"
            ),
            Self::Config {
                name,
                wanted,
                found,
            } => {
                let found = found.as_deref().unwrap_or("unknown to the brokers");
                write!(f, "{name} is {found}, and {wanted} is wanted")
            }
        }
    }
}
