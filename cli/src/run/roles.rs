//! The roles of a pipeline as threads of one process: generator, file producer and ETL, around the embedded
//! log. The containers run the same roles.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use logpipe_api::LogPipeline;
use logpipe_api::pipeline::{Generator, Suspend};
use logpipe_workers::checkpoint::CheckpointStore;
use logpipe_workers::checkpoint::file::FileStore;
use logpipe_workers::counters::Counters;
use logpipe_workers::etl::partition::Limits;
use logpipe_workers::etl::{self, EtlOptions};
use logpipe_workers::generate::{self, GeneratorOptions, Rolled};
use logpipe_workers::log::embedded::EmbeddedLog;
use logpipe_workers::log::{Log, Source};
use logpipe_workers::produce::{self, ProducerOptions};
use logpipe_workers::store::Store;
use tokio::runtime::Runtime;

use super::data_dir::DataDir;

/// Bytes of app.log before it is rolled: small enough that the reader removes it soon after.
const ROLL_BYTES: u64 = 32 * 1024 * 1024;

/// Rolled files that may wait for the reader before the generator waits for it.
const ROLLED_AT_MOST: usize = 3;

/// Bytes that batches may hold in memory.
const BATCH_MEMORY: usize = 96 * 1024 * 1024;

/// Bytes of lines that the ETL may be behind, before the producer waits: the log on the disk stays bounded. The
/// lines compress to about a quarter.
const UNREAD_BYTES: u64 = 1024 * 1024 * 1024;

/// A running pipeline.
pub(super) struct Roles {
    pub(super) counters: Arc<Counters>,
    log: EmbeddedLog,
    reader: Box<dyn Source>,
    partitions: u32,
    stop_generator: Arc<AtomicBool>,
    producer_control: Arc<produce::Control>,
    etl_control: Arc<etl::Control>,
    generator: Option<JoinHandle<anyhow::Result<()>>>,
    producer: Option<JoinHandle<anyhow::Result<()>>>,
    etl: Option<JoinHandle<anyhow::Result<()>>>,
    checkpoints: Arc<dyn CheckpointStore>,
    runtime: Arc<Runtime>,
    /// There is or was a source to wait for.
    has_source: bool,
    failures: Vec<anyhow::Error>,
}

/// What the ETL found out about the lines.
pub(super) type OnPlan = Box<dyn Fn(&etl::plans::Frozen) + Send>;

impl Roles {
    /// Starts every role. `folder` is where relative paths begin.
    pub(super) fn start(
        pipeline: &LogPipeline,
        name: &str,
        folder: &Path,
        once: bool,
        dir: &DataDir,
        on_plan: OnPlan,
    ) -> anyhow::Result<Self> {
        let spec = &pipeline.spec;
        let partitions = spec.kafka.topic.partitions as u32;
        let log = EmbeddedLog::open(&dir.log(), &pipeline.topic_name(), partitions)?;
        let reader = log.source()?;
        let checkpoints: Arc<dyn CheckpointStore> = Arc::new(FileStore::open(&dir.checkpoints())?);
        let store = Store::local(&dir.parquet(), &pipeline.prefix())
            .with_context(|| format!("cannot use the folder {}", dir.parquet().display()))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("commit")
            .enable_all()
            .build()
            .context("cannot start the runtime")?;
        let mut roles = Self {
            counters: Arc::default(),
            log,
            reader,
            partitions,
            stop_generator: Arc::default(),
            producer_control: Arc::new(produce::Control::new()),
            etl_control: Arc::new(etl::Control::new(partitions)),
            generator: None,
            producer: None,
            etl: None,
            checkpoints,
            runtime: Arc::new(runtime),
            has_source: spec.suspend == Suspend::None,
            failures: Vec::new(),
        };
        if roles.has_source {
            roles.start_sources(pipeline, name, folder, once, dir)?;
        } else {
            roles.etl_control.drain();
        }
        roles.start_etl(pipeline, store, on_plan)?;
        Ok(roles)
    }

    fn start_sources(
        &mut self,
        pipeline: &LogPipeline,
        name: &str,
        folder: &Path,
        once: bool,
        dir: &DataDir,
    ) -> anyhow::Result<()> {
        let source = &pipeline.spec.source;
        let paths = match (&source.generator, &source.files) {
            (Some(generator), _) => {
                self.start_generator(generator, name, dir)?;
                vec![dir.source().join("app.log").to_string_lossy().into_owned()]
            }
            (None, Some(files)) => files.paths.iter().map(|path| below(folder, path)).collect(),
            (None, None) => unreachable!("validation accepts exactly one source"),
        };
        let options = ProducerOptions {
            name: name.to_owned(),
            paths,
            start_at: source
                .files
                .as_ref()
                .map(|files| files.start_at)
                .unwrap_or_default(),
            framing: source.producer.framing,
            linger: Duration::from_millis(source.producer.linger_ms as u64),
            save_every: Duration::from_secs(pipeline.spec.checkpoint.interval_seconds as u64),
            state_dir: dir.producer(),
            delete_finished: source.generator.is_some(),
        };
        if once && source.files.is_some() {
            self.producer_control.finish_at_end();
        }
        let (log, control) = (self.log.clone(), self.producer_control.clone());
        let counters = self.counters.clone();
        self.producer = Some(spawn("produce", move || {
            produce::run(&options, &log, &control, &counters)?;
            Ok(())
        })?);
        Ok(())
    }

    fn start_generator(
        &mut self,
        generator: &Generator,
        name: &str,
        dir: &DataDir,
    ) -> anyhow::Result<()> {
        let options = GeneratorOptions {
            producer: name.to_owned(),
            dir: dir.source(),
            events_per_second: generator.events_per_second as u64,
            max_events: generator.max_events as u64,
            format: generator.format,
            seed: generator.seed as u64,
            malformed_percent: generator.malformed_percent as u8,
            roll_bytes: ROLL_BYTES,
            rolled: Rolled::WaitForReader {
                at_most: ROLLED_AT_MOST,
            },
        };
        std::fs::create_dir_all(&options.dir)
            .with_context(|| format!("cannot make the folder {}", options.dir.display()))?;
        let (stop, counters) = (self.stop_generator.clone(), self.counters.clone());
        self.generator = Some(spawn("generate", move || {
            generate::run(&options, &stop, &counters)?;
            Ok(())
        })?);
        Ok(())
    }

    fn start_etl(
        &mut self,
        pipeline: &LogPipeline,
        store: Store,
        on_plan: OnPlan,
    ) -> anyhow::Result<()> {
        let sink = &pipeline.spec.sink;
        let rotation = &sink.rotation;
        let options = EtlOptions {
            owner: format!("pid-{}", std::process::id()),
            threads: pipeline.spec.etl.replicas as u32,
            transform: pipeline.spec.transform.clone(),
            granularity: sink.partition_by.time.granularity,
            parquet: sink.parquet.clone(),
            limits: Limits {
                max_bytes: rotation.max_bytes()? as usize,
                max_rows: rotation.max_rows as u64,
                interval: Duration::from_secs(rotation.interval_seconds as u64),
                idle: Duration::from_secs(rotation.idle_seconds as u64),
            },
            memory: BATCH_MEMORY,
            owns_log: true,
        };
        let (log, checkpoints) = (self.log.clone(), self.checkpoints.clone());
        let (control, counters) = (self.etl_control.clone(), self.counters.clone());
        let runtime = self.runtime.handle().clone();
        self.etl = Some(spawn("etl", move || {
            let run = etl::run(
                &options,
                &log,
                checkpoints,
                store,
                &control,
                &counters,
                &runtime,
                &on_plan,
            );
            run.map_err(anyhow::Error::from)
        })?);
        Ok(())
    }

    /// Asks the sources to stop; what they have read is still committed.
    pub(super) fn stop(&self) {
        self.stop_generator.store(true, Ordering::Release);
        self.producer_control.stop();
    }

    /// Moves on what depends on each other: to be called a few times a second. `true` when all is over.
    pub(super) fn step(&mut self) -> bool {
        if let Some(result) = take_finished(&mut self.generator) {
            if result.is_ok() {
                // Its last lines stand in the file: the producer reads to the end and is done.
                self.producer_control.finish_at_end();
            } else {
                // Half a line may stand at the end, which the next start cuts off: it must not be read.
                self.producer_control.stop();
            }
            self.note(result, "the generator stopped");
        }
        if let Some(result) = take_finished(&mut self.producer) {
            self.stop_generator.store(true, Ordering::Release);
            self.note(result, "the file producer stopped");
        }
        if self.generator.is_none() && self.producer.is_none() {
            self.etl_control.drain();
        }
        if let Some(result) = take_finished(&mut self.etl) {
            self.stop();
            self.note(result, "the ETL stopped");
        }
        self.trim();
        let counters = &self.counters;
        let unread = counters
            .produced_bytes
            .get()
            .saturating_sub(counters.received_bytes.get());
        self.log.pause_sinks(unread > UNREAD_BYTES);
        self.generator.is_none() && self.producer.is_none() && self.etl.is_none()
    }

    fn note(&mut self, result: anyhow::Result<()>, what: &'static str) {
        if let Err(error) = result {
            self.failures.push(error.context(what));
        }
    }

    /// Removes from the log what neither the ETL nor the producer needs to find its place.
    /// A log that cannot be written only keeps what it has; who has to write to it says why it cannot.
    fn trim(&self) {
        for partition in 0..self.partitions {
            let mut before = self.etl_control.needed(partition);
            if self.has_source {
                before = before.min(self.producer_control.saved(partition));
            }
            if before > 0 {
                drop(self.log.trim(partition, before));
            }
        }
    }

    /// Records in the log whose lines are not committed.
    pub(super) fn lag(&mut self) -> u64 {
        (0..self.partitions)
            .map(|partition| {
                let end = self.reader.bounds(partition).map_or(0, |bounds| bounds.end);
                end.saturating_sub(self.etl_control.done(partition))
            })
            .sum()
    }

    /// Every failure of a role, in the order in which they came: the first may have led to the others, or
    /// hide the one that says more.
    pub(super) fn into_failures(self) -> Vec<anyhow::Error> {
        self.failures
    }

    /// The checkpoints, and a runtime to read them with.
    pub(super) fn checkpoints(&self) -> (Arc<dyn CheckpointStore>, Arc<Runtime>) {
        (self.checkpoints.clone(), self.runtime.clone())
    }

    /// How many partitions the topic has.
    pub(super) fn partitions(&self) -> u32 {
        self.partitions
    }
}

/// A path of the manifest, relative to its folder, without the `./` that would stand in every message.
fn below(folder: &Path, path: &str) -> String {
    let path = folder.join(path);
    let clean = std::path::absolute(&path).unwrap_or(path);
    clean.to_string_lossy().into_owned()
}

fn spawn(
    name: &str,
    role: impl FnOnce() -> anyhow::Result<()> + Send + 'static,
) -> anyhow::Result<JoinHandle<anyhow::Result<()>>> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(role)
        .with_context(|| format!("cannot start the thread {name}"))
}

fn take_finished(role: &mut Option<JoinHandle<anyhow::Result<()>>>) -> Option<anyhow::Result<()>> {
    if !role.as_ref()?.is_finished() {
        return None;
    }
    let panicked = |_| {
        Err(anyhow::anyhow!(
            "it panicked; please report the message above"
        ))
    };
    Some(role.take()?.join().unwrap_or_else(panicked))
}
