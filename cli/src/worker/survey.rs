//! `logpipe worker survey`: what the topic and the bucket hold, for `logpipe checkpoint`, which may reach neither.
//! Reads both; writes nothing.

use logpipe_api::settings::{KafkaSettings, S3Settings, Settings};
use logpipe_workers::checkpoint::survey;
use logpipe_workers::log::kafka::{KafkaLog, KafkaOptions};
use logpipe_workers::store::Store;

use crate::runtime;

pub(super) fn run() -> anyhow::Result<()> {
    let kafka = KafkaSettings::from_env(std::env::vars())?;
    let s3 = S3Settings::from_env(std::env::vars())?;
    let log = KafkaLog::open(&kafka, KafkaOptions::default())?;
    let store = Store::s3_reader(&s3)?;
    let survey = runtime::start()?.block_on(survey::take(&store, &log, survey::QUIET))?;
    // One line, told from the lines of the log, which come out beside it.
    println!("{}{}", survey::MARK, serde_json::to_string(&survey)?);
    Ok(())
}
