//! Apache Kafka behind the traits of [`log`](super): a thin adapter over librdkafka, through rdkafka. Talks to
//! the brokers, and reads the files with certificates and the password.
//!
//! ```no_run
//! # use logpipe_workers::log::{Log, kafka::{KafkaLog, KafkaOptions}};
//! # fn example(settings: &logpipe_api::settings::KafkaSettings) -> Result<(), logpipe_workers::log::LogError> {
//! let log = KafkaLog::open(settings, KafkaOptions::default())?;
//! let bounds = log.source()?.bounds(0)?;
//! # Ok(())
//! # }
//! ```
//!
//! * [`KafkaLog::open`] waits for brokers that do not answer yet; what a person must mend is
//!   [`LogError::Refused`] at once.
//! * Without [`KafkaOptions::group`], members have a fixed share of the partitions, as in the other logs. With it,
//!   [`Log::member`] joins the consumer group, and others may have partitions at any time.
//! * Whoever makes a sink, asks for bounds, or flushes learns whether the topic was made anew meanwhile
//!   ([`LogError::OtherTopic`]).
//! * Kafka counts time in milliseconds: the timestamps of records lose what is below.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use logpipe_api::pipeline::RecordCompression;
use logpipe_api::settings::KafkaSettings;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};

use super::{Fixed, Identity, Log, LogError, Member, Offset, Sink, Source};

mod alone;
mod bounded;
mod config;
mod connect;
mod context;
mod explain;
mod member;
mod native;
mod notes;
mod outage;
mod producers;
mod reader;
mod sink;
mod source;
pub mod topic;

use alone::Alone;
use connect::Found;
use context::Events;
use member::GroupMember;
use producers::Producers;
use sink::KafkaSink;
use source::KafkaSource;

/// How this process uses Kafka.
#[derive(Clone, Debug)]
pub struct KafkaOptions {
    /// What the brokers' logs and quotas call it.
    pub client_id: String,
    /// How sinks compress.
    pub compression: RecordCompression,
    /// The consumer group that shares the partitions, or is told how far they are committed.
    pub group: Option<Group>,
    /// How long brokers may be silent before it is an error.
    pub patience: Duration,
    /// How long a broker may wait for new records before it says that there are none. Who reads partitions one after
    /// the other waits so long at the end of each.
    pub fetch_wait: Duration,
}

impl Default for KafkaOptions {
    fn default() -> Self {
        Self {
            client_id: "logpipe".to_owned(),
            compression: RecordCompression::default(),
            group: None,
            patience: Duration::from_secs(30),
            fetch_wait: Duration::from_millis(500),
        }
    }
}

/// A consumer group, and what this process is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Group {
    /// It shares the partitions among its members.
    Member {
        /// The group's id.
        id: String,
        /// This process, the same at each start; thread `n` is the static member `<instance>-<n>`.
        instance: String,
    },
    /// This process has all partitions, and only tells the group how far they are committed, for tools that show
    /// lag.
    Told {
        /// The group's id.
        id: String,
    },
}

impl Group {
    /// The group's id.
    pub fn id(&self) -> &str {
        match self {
            Self::Member { id, .. } | Self::Told { id } => id,
        }
    }
}

/// A topic of Kafka.
pub struct KafkaLog {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for KafkaLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("KafkaLog").field(&self.identity()).finish()
    }
}

/// What all clients of a log share.
struct Shared {
    settings: KafkaSettings,
    options: KafkaOptions,
    identity: Identity,
    /// They may grow.
    partitions: AtomicU32,
    /// Asks the brokers what is not about records.
    asker: BaseConsumer<Events>,
    /// What sinks write through.
    producers: Producers,
}

impl KafkaLog {
    /// Finds the topic. Waits for brokers that do not answer yet as long as the options say.
    pub fn open(settings: &KafkaSettings, options: KafkaOptions) -> Result<Self, LogError> {
        let asker = connect::asker(settings, &options.client_id)?;
        let Found {
            cluster,
            topic_id,
            partitions,
        } = connect::find(settings, &asker, options.patience)?;
        let partitions = partitions.len() as u32;
        let identity = Identity {
            cluster,
            topic: settings.topic.clone(),
            topic_id,
            partitions,
        };
        Ok(Self {
            shared: Arc::new(Shared {
                settings: settings.clone(),
                options,
                identity,
                partitions: AtomicU32::new(partitions),
                asker,
                producers: Producers::default(),
            }),
        })
    }
}

impl Log for KafkaLog {
    fn identity(&self) -> Identity {
        let mut identity = self.shared.identity.clone();
        identity.partitions = self.shared.partitions();
        identity
    }

    fn source(&self) -> Result<Box<dyn Source>, LogError> {
        Ok(Box::new(KafkaSource::new(Arc::clone(&self.shared))?))
    }

    fn sink(&self, partition: u32) -> Result<Box<dyn Sink>, LogError> {
        self.shared.check_partition("write", partition)?;
        self.shared.check_identity()?;
        Ok(Box::new(KafkaSink::new(
            Arc::clone(&self.shared),
            partition,
        )?))
    }

    fn member(&self, index: u32, count: u32) -> Result<Box<dyn Member>, LogError> {
        let shared = Arc::clone(&self.shared);
        let fixed = |source| Fixed::new(source, shared.partitions(), index, count);
        match &self.shared.options.group {
            None => Ok(Box::new(fixed(self.source()?))),
            Some(Group::Told { id }) => {
                let teller = shared.consumer(&[("group.id", id)])?;
                let topic = &shared.identity().topic;
                Ok(Box::new(Alone::new(fixed(self.source()?), teller, topic)))
            }
            Some(Group::Member { id, instance }) => {
                shared.check_identity()?;
                let instance = format!("{instance}-{index}");
                Ok(Box::new(GroupMember::join(shared, id, instance)?))
            }
        }
    }

    fn end(&self, partition: u32) -> Result<Offset, LogError> {
        let shared = &self.shared;
        let found = shared.watermarks(partition, Duration::from_secs(5));
        let (_, end) = found.map_err(|error| shared.explain(code(&error), &error.to_string()))?;
        Ok(end as Offset)
    }

    fn bounds(&self, partition: u32) -> Result<Range<Offset>, LogError> {
        self.shared.check_partition("read", partition)?;
        self.shared.bounds(partition)
    }

    fn check_identity(&self) -> Result<(), LogError> {
        self.shared.check_identity()
    }
}

impl Shared {
    /// As it was found; its number of partitions may have grown.
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn partitions(&self) -> u32 {
        self.partitions.load(Ordering::Relaxed)
    }

    /// Asks whether the topic is still the one that was found.
    fn check_identity(&self) -> Result<(), LogError> {
        let found = connect::find_again(&self.settings, &self.asker, self.options.patience)?;
        self.partitions
            .fetch_max(found.partitions.len() as u32, Ordering::Relaxed);
        let expected = &self.identity;
        if found.cluster == expected.cluster && found.topic_id == expected.topic_id {
            return Ok(());
        }
        let mut text = found.topic_id;
        if found.cluster != expected.cluster {
            text = format!("{text} in cluster {}", found.cluster);
        }
        Err(LogError::OtherTopic {
            topic: expected.topic.clone(),
            cluster: expected.cluster.clone(),
            expected: expected.topic_id.clone(),
            found: text,
        })
    }

    /// Refuses a partition that the topic does not have, also when asked again.
    fn check_partition(&self, action: &'static str, partition: u32) -> Result<(), LogError> {
        if partition < self.partitions() {
            return Ok(());
        }
        self.check_identity()?;
        let mut identity = self.identity.clone();
        identity.partitions = self.partitions.load(Ordering::Relaxed);
        identity.check(action, partition)
    }

    /// The offsets that the partition holds, of this very topic. Not by the client that reads it: on a connection
    /// a question waits behind a fetch, which waits for records.
    fn bounds(&self, partition: u32) -> Result<Range<Offset>, LogError> {
        let deadline = Instant::now() + self.options.patience;
        loop {
            let wait = (deadline - Instant::now()).min(Duration::from_secs(5));
            match self.watermarks(partition, wait) {
                Ok((start, end)) => {
                    // Behind the question: an id never comes back, so the answer was about this topic.
                    self.check_identity()?;
                    return Ok(start as Offset..end as Offset);
                }
                Err(error) => {
                    let code = code(&error);
                    let late = Instant::now() + Duration::from_millis(100) >= deadline;
                    if late || explain::hope(code, "") == explain::Hope::None {
                        return Err(self.explain_final(code, &error.to_string()));
                    }
                    tracing::debug!(%error, partition, "the bounds of a partition are asked for again");
                    std::thread::sleep(Duration::from_millis(100));
                }
            }
        }
    }

    /// Where a partition begins and ends. One that had no leader when it was last heard of is remembered so for minutes,
    /// and not asked for again; so what is remembered is made new before the next try.
    fn watermarks(&self, partition: u32, wait: Duration) -> KafkaResult<(i64, i64)> {
        let topic = &self.identity.topic;
        let found = self.asker.fetch_watermarks(topic, partition as i32, wait);
        let without_leader = found.as_ref().is_err_and(|error| {
            use RDKafkaErrorCode as Code;
            matches!(
                code(error),
                Code::UnknownPartition | Code::LeaderNotAvailable
            )
        });
        if without_leader {
            connect::learn(&self.settings, self.asker.client(), wait).ok();
        }
        found
    }

    /// A consumer with more settings than all clients have.
    fn consumer(&self, more: &[(&str, &str)]) -> Result<BaseConsumer<Events>, LogError> {
        let mut config = config::client(&self.settings, &self.options.client_id)?;
        config::read_records(&mut config, self.options.fetch_wait);
        for (key, value) in more {
            config.set(*key, *value);
        }
        config
            .create_with_context(Events::default())
            .map_err(|error| connect::refused(&self.settings, &error))
    }

    /// The partitions as librdkafka wants them.
    fn list(&self, partitions: impl IntoIterator<Item = u32>) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            list.add_partition(&self.identity.topic, partition as i32);
        }
        list
    }

    fn explain(&self, code: RDKafkaErrorCode, reason: &str) -> LogError {
        if let (RDKafkaErrorCode::GroupAuthorizationFailed, Some(group)) =
            (code, &self.options.group)
        {
            return explain::group_forbidden(&self.settings, group.id());
        }
        explain::error(&self.settings, code, reason)
    }

    /// A topic that is gone may also have been made anew.
    fn explain_final(&self, code: RDKafkaErrorCode, reason: &str) -> LogError {
        use RDKafkaErrorCode as Code;
        if matches!(code, Code::UnknownTopicOrPartition | Code::UnknownTopic) {
            // A broker that has just started may not know it yet.
            let other = self.check_identity().err();
            return other.unwrap_or_else(|| self.failed("find the topic", reason.to_owned()));
        }
        self.explain(code, reason)
    }

    fn failed(&self, action: &'static str, reason: String) -> LogError {
        LogError::Failed {
            place: explain::place(&self.settings),
            action,
            source: reason.into(),
        }
    }
}

fn code(error: &KafkaError) -> RDKafkaErrorCode {
    error
        .rdkafka_error_code()
        .unwrap_or(RDKafkaErrorCode::Unknown)
}

#[cfg(test)]
mod tests;
