//! `logpipe worker topic`: idempotent. Touches Kafka.

use logpipe_api::settings::{KafkaSettings, Settings, TopicSettings};
use logpipe_workers::log::kafka::topic;

pub(super) fn run() -> anyhow::Result<()> {
    let kafka = KafkaSettings::from_env(std::env::vars())?;
    let wanted = TopicSettings::from_env(std::env::vars())?;
    let report = topic::ensure(&kafka, &wanted)?;
    println!("{report}");
    Ok(())
}
