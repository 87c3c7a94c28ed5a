//! The roles of a pipeline as threads of one process: generator, file producer and ETL, around the embedded
//! log. The containers run the same roles.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use logpipe_api::LogPipeline;
use logpipe_api::pipeline::{Generator, Suspend};
use logpipe_api::settings::{
    CheckpointPlace, EtlSettings, GeneratorSettings, ProducerSettings, TopicSettings,
};
use logpipe_workers::checkpoint::CheckpointStore;
use logpipe_workers::checkpoint::file::FileStore;
use logpipe_workers::counters::Counters;
use logpipe_workers::etl::{self, EtlOptions, Parts};
use logpipe_workers::generate::{self, GeneratorOptions};
use logpipe_workers::log::embedded::EmbeddedLog;
use logpipe_workers::log::kafka::{self, KafkaLog, KafkaOptions};
use logpipe_workers::log::{Log, Source};
use logpipe_workers::produce::{self, ProducerOptions};
use logpipe_workers::store::Store;
use tokio::runtime::Runtime;

use super::data_dir::DataDir;
use crate::modes::{KafkaMode, Modes, SinkMode};
use crate::runtime;

/// Bytes of lines that the ETL may be behind, before the producer waits: the log on the disk stays bounded. The
/// lines compress to about a quarter.
const UNREAD_BYTES: u64 = 1024 * 1024 * 1024;

/// How often a Kafka is asked where its partitions end.
const LAG_EVERY: Duration = Duration::from_secs(1);

/// A running pipeline.
pub(super) struct Roles {
    pub(super) counters: Arc<Counters>,
    log: Arc<dyn Log>,
    /// The log, where it is ours to trim and to hold back.
    embedded: Option<EmbeddedLog>,
    reader: Box<dyn Source>,
    lag: (Instant, u64),
    /// The ETL has seen a line, now or in a run before.
    planned: Arc<AtomicBool>,
    partitions: u32,
    stop_generator: Arc<AtomicBool>,
    producer_control: Arc<produce::Control>,
    etl_control: Arc<etl::Control>,
    generator: Option<JoinHandle<anyhow::Result<()>>>,
    producer: Option<JoinHandle<anyhow::Result<()>>>,
    etl: Option<JoinHandle<anyhow::Result<()>>>,
    checkpoints: Arc<dyn CheckpointStore>,
    runtime: Arc<Runtime>,
    sources: Sources,
    failures: Vec<anyhow::Error>,
}

/// What fills the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sources {
    /// A generator or files, read by this run.
    Ours,
    /// Others, for as long as the run goes on.
    Others,
    /// Nothing: what the log holds is brought to its end.
    Nothing,
}

impl Sources {
    fn of(pipeline: &LogPipeline, once: bool) -> Self {
        let spec = &pipeline.spec;
        match (spec.suspend, &spec.source.topic) {
            (Suspend::Sources | Suspend::All, _) => Self::Nothing,
            (Suspend::None, None) => Self::Ours,
            (Suspend::None, Some(_)) if once => Self::Nothing,
            (Suspend::None, Some(_)) => Self::Others,
        }
    }
}

/// What the ETL found out about the lines.
pub(super) type OnPlan = Box<dyn Fn(&etl::plans::Frozen) + Send>;

/// What the user says about a run.
pub(super) struct Wanted<'a> {
    pub(super) pipeline: &'a LogPipeline,
    pub(super) name: &'a str,
    /// Where relative paths begin.
    pub(super) folder: &'a Path,
    /// Read what is there, and end.
    pub(super) once: bool,
    pub(super) modes: &'a Modes,
    pub(super) dir: &'a DataDir,
    /// Hears what was done to the topic.
    pub(super) on_topic: &'a dyn Fn(&kafka::topic::TopicReport),
}

impl Roles {
    /// Starts every role.
    pub(super) fn start(wanted: &Wanted<'_>, on_plan: OnPlan) -> anyhow::Result<Self> {
        let dir = wanted.dir;
        let runtime = runtime::start()?;
        let (log, embedded) = open_log(wanted)?;
        let store = open_store(wanted, &runtime)?;
        let partitions = log.identity().partitions;
        let checkpoints: Arc<dyn CheckpointStore> = Arc::new(FileStore::open(&dir.checkpoints())?);
        let mut roles = Self {
            counters: Arc::default(),
            reader: log.source()?,
            lag: (Instant::now(), 0),
            planned: Arc::default(),
            log,
            embedded,
            partitions,
            stop_generator: Arc::default(),
            producer_control: Arc::new(produce::Control::new()),
            etl_control: Arc::new(etl::Control::new(partitions)),
            generator: None,
            producer: None,
            etl: None,
            checkpoints,
            runtime: Arc::new(runtime),
            sources: Sources::of(wanted.pipeline, wanted.once),
            failures: Vec::new(),
        };
        match roles.sources {
            Sources::Ours => roles.start_sources(wanted)?,
            Sources::Others => {}
            Sources::Nothing => roles.etl_control.drain(),
        }
        roles.start_etl(wanted, store, on_plan)?;
        Ok(roles)
    }

    fn start_sources(&mut self, wanted: &Wanted<'_>) -> anyhow::Result<()> {
        let (pipeline, dir) = (wanted.pipeline, wanted.dir);
        let source = &pipeline.spec.source;
        let paths = match (&source.generator, &source.files) {
            (Some(generator), _) => {
                self.start_generator(generator, wanted.name, dir)?;
                vec![dir.source().join("app.log").to_string_lossy().into_owned()]
            }
            (None, Some(files)) => {
                let paths = files.paths.iter();
                paths.map(|path| below(wanted.folder, path)).collect()
            }
            (None, None) => unreachable!("a source of ours is a generator or files"),
        };
        let state = dir.producer().to_string_lossy().into_owned();
        let settings = ProducerSettings::new(pipeline, wanted.name, paths, &state);
        let options = ProducerOptions::from(&settings);
        if wanted.once && source.files.is_some() {
            self.producer_control.finish_at_end();
        }
        let (log, control) = (self.log.clone(), self.producer_control.clone());
        let counters = self.counters.clone();
        self.producer = Some(spawn("produce", move || {
            produce::run(&options, log.as_ref(), &control, &counters)?;
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
        let folder = dir.source().to_string_lossy().into_owned();
        let options = GeneratorOptions::from(&GeneratorSettings::new(generator, name, &folder));
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
        wanted: &Wanted<'_>,
        store: Store,
        on_plan: OnPlan,
    ) -> anyhow::Result<()> {
        let place = wanted.dir.checkpoints().to_string_lossy().into_owned();
        let owner = format!("pid-{}", std::process::id());
        let settings = EtlSettings {
            // Each replica of the manifest is a thread here.
            threads: wanted.pipeline.spec.etl.replicas as u32,
            ..EtlSettings::new(wanted.pipeline, &owner, &owner, CheckpointPlace::Dir(place))
        };
        let options = EtlOptions::new(&settings, self.embedded.is_some())?;
        let (log, checkpoints) = (self.log.clone(), self.checkpoints.clone());
        let (control, counters) = (self.etl_control.clone(), self.counters.clone());
        let runtime = self.runtime.handle().clone();
        let planned = self.planned.clone();
        let on_plan = move |frozen: &etl::plans::Frozen| {
            planned.store(true, Ordering::Release);
            on_plan(frozen);
        };
        self.etl = Some(spawn("etl", move || {
            let parts = Parts {
                log: log.as_ref(),
                checkpoints,
                store,
                control: &control,
                counters: &counters,
                runtime: &runtime,
            };
            let run = etl::run(&options, parts, &on_plan);
            run.map_err(anyhow::Error::from)
        })?);
        Ok(())
    }

    /// Asks the sources to stop; what they have read is still committed. Of a topic that others go on to write,
    /// what was read is.
    pub(super) fn stop(&self) {
        self.stop_generator.store(true, Ordering::Release);
        self.producer_control.stop();
        if self.sources == Sources::Others {
            self.etl_control.stop();
        }
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
        let sources_ended = self.generator.is_none() && self.producer.is_none();
        if sources_ended && self.sources != Sources::Others {
            self.etl_control.drain();
        }
        if let Some(result) = take_finished(&mut self.etl) {
            self.stop();
            self.note(result, "the ETL stopped");
        }
        if let Some(log) = &self.embedded {
            self.trim(log);
            let counters = &self.counters;
            let unread = counters
                .produced_bytes
                .get()
                .saturating_sub(counters.received_bytes.get());
            // Nobody reads any more when the ETL has ended: who writes must not wait for it.
            log.pause_sinks(self.etl.is_some() && unread > UNREAD_BYTES);
        }
        self.generator.is_none() && self.producer.is_none() && self.etl.is_none()
    }

    fn note(&mut self, result: anyhow::Result<()>, what: &'static str) {
        if let Err(error) = result {
            self.failures.push(error.context(what));
        }
    }

    /// Removes from the log what neither the ETL nor the producer needs to find its place.
    /// A log that cannot be written only keeps what it has; who has to write to it says why it cannot.
    fn trim(&self, log: &EmbeddedLog) {
        for partition in 0..self.partitions {
            let mut before = self.etl_control.needed(partition);
            if self.sources == Sources::Ours {
                before = before.min(self.producer_control.saved(partition));
            }
            if before > 0 {
                drop(log.trim(partition, before));
            }
        }
    }

    /// Records in the log whose lines are not committed.
    pub(super) fn lag(&mut self) -> u64 {
        let no_lines = self.counters.produced.get() == 0 && !self.planned.load(Ordering::Acquire);
        if self.sources == Sources::Ours && no_lines {
            // What the log holds are the producers' own records, which the ETL passes when it knows the lines.
            return 0;
        }
        let (at, lag) = self.lag;
        if self.embedded.is_none() && at.elapsed() < LAG_EVERY {
            return lag;
        }
        let lag = (0..self.partitions)
            .map(|partition| {
                let end = self.reader.bounds(partition).map_or(0, |bounds| bounds.end);
                end.saturating_sub(self.etl_control.done(partition))
            })
            .sum();
        self.lag = (Instant::now(), lag);
        lag
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

fn open_log(wanted: &Wanted<'_>) -> anyhow::Result<(Arc<dyn Log>, Option<EmbeddedLog>)> {
    let (pipeline, modes) = (wanted.pipeline, wanted.modes);
    if modes.kafka == KafkaMode::Embedded {
        if pipeline.spec.source.topic.is_some() {
            bail!(
                "spec.source.topic: others write this topic, and nobody else can write the embedded log: run it \
                 with --kafka manifest"
            );
        }
        let partitions = pipeline.spec.kafka.topic.partitions as u32;
        let log = EmbeddedLog::open(&wanted.dir.log(), &pipeline.topic_name(), partitions)?;
        return Ok((Arc::new(log.clone()), Some(log)));
    }
    let settings = modes.kafka_settings(pipeline)?;
    let report = kafka::topic::ensure(&settings, &TopicSettings::new(pipeline))?;
    (wanted.on_topic)(&report);
    let options = KafkaOptions {
        compression: pipeline.spec.source.producer.compression,
        group: Some(kafka::Group::Told {
            id: pipeline.group_id(),
        }),
        ..KafkaOptions::default()
    };
    Ok((Arc::new(KafkaLog::open(&settings, options)?), None))
}

fn open_store(wanted: &Wanted<'_>, runtime: &Runtime) -> anyhow::Result<Store> {
    let (pipeline, modes, dir) = (wanted.pipeline, wanted.modes, wanted.dir);
    if modes.sink == SinkMode::Local {
        return Store::local(&dir.parquet(), &pipeline.prefix())
            .with_context(|| format!("cannot use the folder {}", dir.parquet().display()));
    }
    let mut store = Store::s3(&modes.s3_settings(pipeline)?)?;
    runtime.block_on(store.probe())?;
    Ok(store)
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
