//! `logpipe worker probe`: what is set is tried, Kafka and the bucket each by itself. Touches both.

use logpipe_api::settings::{KafkaSettings, S3Settings, Settings};
use logpipe_workers::log::Log;
use logpipe_workers::log::kafka::{KafkaLog, KafkaOptions};
use logpipe_workers::store::{CreateOnly, Store};

use crate::runtime;

pub(super) fn run() -> anyhow::Result<()> {
    // Both are tried, whatever the first one comes to.
    let kafka = is_set::<KafkaSettings>().then(probe_kafka);
    let s3 = is_set::<S3Settings>().then(probe_s3);
    if kafka.is_none() && s3.is_none() {
        let prefixes = (KafkaSettings::PREFIX, S3Settings::PREFIX);
        anyhow::bail!(
            "there is nothing to probe: set the variables {}* or {}*",
            prefixes.0,
            prefixes.1
        );
    }
    let kafka = kafka.unwrap_or(Ok(()));
    let s3 = s3.unwrap_or(Ok(()));
    match (kafka, s3) {
        (Err(kafka), Err(s3)) => {
            eprintln!("error: {s3:#}");
            Err(kafka)
        }
        (kafka, s3) => kafka.and(s3),
    }
}

fn is_set<T: Settings>() -> bool {
    std::env::vars().any(|(name, _)| name.starts_with(T::PREFIX))
}

fn probe_kafka() -> anyhow::Result<()> {
    let settings = KafkaSettings::from_env(std::env::vars())?;
    let log = KafkaLog::open(&settings, KafkaOptions::default())?;
    let found = log.identity();
    println!(
        "kafka: topic {} (id {}) with {} partitions in cluster {}",
        found.topic, found.topic_id, found.partitions, found.cluster
    );
    Ok(())
}

fn probe_s3() -> anyhow::Result<()> {
    let settings = S3Settings::from_env(std::env::vars())?;
    let mut store = Store::s3(&settings)?;
    let found = match runtime::start()?.block_on(store.probe())? {
        CreateOnly::Enforced => "and refuses to create one twice",
        CreateOnly::Ignored => "and overwrites what is there",
    };
    println!("s3: {} takes files, {found}", store.place());
    Ok(())
}
