//! `logpipe worker produce`. Touches the files, the folder of its saved offsets, and Kafka.

use std::sync::Arc;

use logpipe_api::settings::{KafkaSettings, ProducerSettings, Settings};
use logpipe_workers::counters::Counters;
use logpipe_workers::log::kafka::{KafkaLog, KafkaOptions};
use logpipe_workers::metrics::Role;
use logpipe_workers::produce::{self, Control, ProducerOptions};

use super::{progress, serve, signals};

pub(super) fn run() -> anyhow::Result<()> {
    let settings = ProducerSettings::from_env(std::env::vars())?;
    let kafka = KafkaSettings::from_env(std::env::vars())?;
    let stop = signals::stop_flag()?;
    let kafka_options = KafkaOptions {
        compression: settings.compression,
        ..KafkaOptions::default()
    };
    let log = KafkaLog::open(&kafka, kafka_options)?;
    let options = ProducerOptions::from(&settings);
    let (control, counters) = (Control::new(), Arc::new(Counters::default()));
    serve::start(Role::Produce, counters.clone())?;
    progress::watched(
        "produced",
        &stop,
        || control.stop(),
        || (counters.produced.get(), 0),
        || produce::run(&options, &log, &control, &counters),
    )?;
    Ok(())
}
