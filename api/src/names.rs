//! Names and labels of a pipeline's objects in a cluster, made in one place and proven to fit. Pure.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::hex;

/// The label with the pipeline's name.
pub const PIPELINE: &str = "logpipe.dev/pipeline";
/// The label with the part of the pipeline.
pub const COMPONENT: &str = "logpipe.dev/component";
/// The label that says who made an object.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Its value, and the field manager's name.
pub const OPERATOR: &str = "logpipe-operator";
/// The annotation with the hash of what was applied.
pub const APPLIED: &str = "logpipe.dev/applied";
/// The annotation of a pod with the hash of the configuration it started with.
pub const CONFIG: &str = "logpipe.dev/config";

/// A StatefulSet's name stands in a label of its pods together with a hyphen and a hash of 10.
const STATEFUL_SET_MAX: usize = 63 - 11;
const LONGEST_SUFFIX: usize = "-source".len();
const BASE_MAX: usize = STATEFUL_SET_MAX - LONGEST_SUFFIX;
const HASH: usize = 8;
const _: () = assert!(
    BASE_MAX + "-kafka-nodes".len() <= 63,
    "a Service's name is a label"
);
const _: () = assert!(
    BASE_MAX + "-topic-".len() + HASH <= 63,
    "a Job's name is a label"
);

/// A key that is always there in the ConfigMap of a checkpoint, so that a worker's patch finds a map to add its own
/// to.
pub const CHECKPOINT_DATA_KEY: &str = "about";
/// Its value, for people.
pub const CHECKPOINT_ABOUT: &str = "made empty by the operator, written by the ETL workers; do not edit or delete it while the pipeline is there";

/// A part of a pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Component {
    /// The brokers.
    Kafka,
    /// What makes the topic.
    Topic,
    /// Generator and producer.
    Source,
    /// What the ETL workers have written.
    Checkpoint,
    /// The ETL workers.
    Etl,
}

impl Component {
    /// The value of its label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kafka => "kafka",
            Self::Topic => "topic",
            Self::Source => "source",
            Self::Checkpoint => "checkpoint",
            Self::Etl => "etl",
        }
    }
}

/// The names of a pipeline's objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    base: String,
}

impl Names {
    /// Of the pipeline `name`. A long one is cut, and told from others by a hash.
    pub fn new(name: &str) -> Self {
        if name.len() <= BASE_MAX {
            return Self {
                base: name.to_owned(),
            };
        }
        let head = name.get(..BASE_MAX - HASH - 1).unwrap_or_default();
        Self {
            base: format!("{}-{}", head.trim_end_matches('-'), hash8(name.as_bytes())),
        }
    }

    /// The brokers, and the Service that finds one that is ready.
    pub fn kafka(&self) -> String {
        format!("{}-kafka", self.base)
    }

    /// The Service with a name for each broker.
    pub fn kafka_nodes(&self) -> String {
        format!("{}-kafka-nodes", self.base)
    }

    /// The files of the brokers.
    pub fn kafka_config(&self) -> String {
        format!("{}-kafka-config", self.base)
    }

    /// The cluster id.
    pub fn kafka_identity(&self) -> String {
        format!("{}-kafka-identity", self.base)
    }

    /// That a quorum was seen.
    pub fn kafka_bootstrapped(&self) -> String {
        format!("{}-kafka-bootstrapped", self.base)
    }

    /// What makes the topic, in the version `hash`.
    pub fn topic(&self, hash: &str) -> String {
        format!("{}-topic-{hash}", self.base)
    }

    /// Generator and producer.
    pub fn source(&self) -> String {
        format!("{}-source", self.base)
    }

    /// The ETL workers, their Service, account and role.
    pub fn etl(&self) -> String {
        format!("{}-etl", self.base)
    }

    /// What the names of the pods begin with that look at the sink for a command.
    pub fn survey(&self) -> String {
        format!("{}-survey-", self.base)
    }

    /// What the names of the checkpoints begin with.
    pub fn checkpoint(&self) -> String {
        format!("{}-checkpoint", self.base)
    }
}

/// The first 8 hex digits of a hash.
pub fn hash8(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes)[..HASH / 2])
}

/// The labels that select the pods of a part. They never change: a StatefulSet's selector cannot.
pub fn selector(pipeline: &str, component: Component) -> BTreeMap<String, String> {
    let pairs = [(PIPELINE, pipeline), (COMPONENT, component.as_str())];
    pairs
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

/// The same as text.
pub fn selector_text(pipeline: &str, component: Component) -> String {
    format!("{PIPELINE}={pipeline},{COMPONENT}={}", component.as_str())
}

/// The labels of an object.
pub fn labels(pipeline: &str, component: Component) -> BTreeMap<String, String> {
    let mut labels = selector(pipeline, component);
    let pairs = [
        ("app.kubernetes.io/name", "logpipe"),
        ("app.kubernetes.io/instance", pipeline),
        ("app.kubernetes.io/component", component.as_str()),
        (MANAGED_BY, OPERATOR),
    ];
    labels.extend(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())));
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_named_after_their_pipeline() {
        assert_eq!(Names::new("shop").etl(), "shop-etl");
    }

    #[test]
    fn a_hash_is_the_same_in_every_release() {
        assert_eq!(hash8(b"shop"), "8d9001d3");
    }

    #[test]
    fn the_longest_names_fit_and_differ() {
        let (one, other) = ("a".repeat(51) + "b", "a".repeat(52));
        let (one, other) = (Names::new(&one), Names::new(&other));
        assert!(one.source().len() <= STATEFUL_SET_MAX, "{}", one.source());
        assert!(one.topic("12345678").len() <= 63);
        assert_ne!(one, other);
    }

    #[test]
    fn a_cut_name_does_not_end_in_two_hyphens() {
        let name = "a".repeat(35) + "-" + &"b".repeat(16);
        assert!(!Names::new(&name).etl().contains("--"));
    }
}
