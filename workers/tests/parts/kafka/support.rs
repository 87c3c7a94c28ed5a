//! Where the brokers are, and new topics there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use logpipe_api::pipeline::ManagementPolicy;
use logpipe_api::settings::{KafkaSettings, TopicSettings};
use logpipe_workers::log::Log;
use logpipe_workers::log::kafka::topic::ensure;
use logpipe_workers::log::kafka::{KafkaLog, KafkaOptions};

/// What a variable says; a test without it ends here.
pub(super) fn part(variable: &str) -> Option<String> {
    if let Ok(value) = std::env::var(variable) {
        return Some(value);
    }
    let required = std::env::var("LOGPIPE_REQUIRE_PARTS").is_ok_and(|value| value == "1");
    assert!(!required, "{variable} is not set: run hack/test-parts");
    eprintln!("not available: run hack/test-parts");
    None
}

/// The brokers without TLS or login.
pub(super) fn kafka() -> Option<KafkaSettings> {
    let servers = part("LOGPIPE_TEST_KAFKA")?;
    Some(settings(&servers, &new_name()))
}

pub(super) fn settings(servers: &str, topic: &str) -> KafkaSettings {
    KafkaSettings {
        bootstrap_servers: servers.split(',').map(str::to_owned).collect(),
        topic: topic.to_owned(),
        tls: None,
        sasl: None,
    }
}

/// A topic's name that nobody used before.
pub(super) fn new_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = std::time::SystemTime::now();
    let nanos = now
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_nanos();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("test-{nanos:x}-{}-{count}", std::process::id())
}

pub(super) fn wanted(partitions: u32) -> TopicSettings {
    TopicSettings {
        partitions,
        replication_factor: None,
        management_policy: ManagementPolicy::CreateOrUpdate,
        // The records of the tests are from 2023, and would be gone before they are read.
        config: [("retention.ms".to_owned(), "-1".to_owned())].into(),
    }
}

/// A new topic.
pub(super) fn new_topic(kafka: &KafkaSettings, partitions: u32) -> KafkaSettings {
    let settings = KafkaSettings {
        topic: new_name(),
        ..kafka.clone()
    };
    ensure(&settings, &wanted(partitions)).expect("a topic can be made");
    settings
}

pub(super) fn open(settings: &KafkaSettings) -> Arc<dyn Log> {
    Arc::new(KafkaLog::open(settings, KafkaOptions::default()).expect("the topic is there"))
}

/// Runs `hack/parts`, which the variables of these tests come from.
pub(super) fn parts(arguments: &[&str]) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../hack/parts");
    let done = std::process::Command::new(script).args(arguments).output();
    let done = done.expect("hack/parts can be run");
    let error = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "hack/parts {arguments:?}: {error}");
}
