//! From the settings that a worker is started with to the options of its role. Pure.

use std::path::PathBuf;
use std::time::Duration;

use logpipe_api::quantity::QuantityError;
use logpipe_api::settings::{EtlSettings, GeneratorSettings, ProducerSettings};

use crate::etl::EtlOptions;
use crate::etl::partition::Limits;
use crate::generate::{GeneratorOptions, Rolled};
use crate::produce::ProducerOptions;

/// Bytes of app.log before it is rolled: small enough that the reader removes it soon after.
const ROLL_BYTES: u64 = 32 * 1024 * 1024;

/// Rolled files that may wait for the reader before the generator waits for it.
const ROLLED_AT_MOST: usize = 3;

/// Bytes that batches may hold in memory.
const BATCH_MEMORY: usize = 96 * 1024 * 1024;

impl From<&GeneratorSettings> for GeneratorOptions {
    fn from(settings: &GeneratorSettings) -> Self {
        Self {
            producer: settings.name.clone(),
            dir: PathBuf::from(&settings.dir),
            events_per_second: settings.events_per_second,
            max_events: settings.max_events,
            format: settings.format,
            seed: settings.seed,
            malformed_percent: settings.malformed_percent,
            roll_bytes: ROLL_BYTES,
            rolled: Rolled::WaitForReader {
                at_most: ROLLED_AT_MOST,
            },
        }
    }
}

impl From<&ProducerSettings> for ProducerOptions {
    fn from(settings: &ProducerSettings) -> Self {
        Self {
            name: settings.name.clone(),
            paths: settings.paths.clone(),
            start_at: settings.start_at,
            framing: settings.framing,
            linger: Duration::from_millis(settings.linger_ms),
            save_every: Duration::from_secs(settings.save_every_seconds),
            state_dir: PathBuf::from(&settings.state_dir),
            delete_finished: settings.delete_finished,
        }
    }
}

impl EtlOptions {
    /// `owns_log`: nobody but this pipeline trims the log, and only what is committed.
    pub fn new(settings: &EtlSettings, owns_log: bool) -> Result<Self, QuantityError> {
        let rotation = &settings.rotation;
        Ok(Self {
            owner: settings.owner.clone(),
            threads: settings.threads,
            transform: settings.transform.clone(),
            granularity: settings.granularity,
            parquet: settings.parquet.clone(),
            limits: Limits {
                max_bytes: rotation.max_bytes()? as usize,
                max_rows: rotation.max_rows as u64,
                interval: Duration::from_secs(rotation.interval_seconds as u64),
                idle: Duration::from_secs(rotation.idle_seconds as u64),
            },
            memory: BATCH_MEMORY,
            owns_log,
        })
    }
}
