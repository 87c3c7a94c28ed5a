//! `logpipe run`: the manifest that `kubectl apply` takes, in one process, with an embedded log and a local
//! folder.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use logpipe_api::LogPipeline;
use logpipe_api::pipeline::Suspend;
use logpipe_api::settings::S3Settings;
use logpipe_workers::etl::plans::Frozen;
use logpipe_workers::log::kafka::topic::TopicReport;

use crate::manifest;
use crate::modes::{KafkaMode, Modes, SinkMode};
use crate::output::{self, Format, Paint};

pub(crate) mod data_dir;
mod display;
mod rate;
mod roles;
mod summary;

use data_dir::DataDir;
use display::Display;
use roles::{Roles, Wanted};
use summary::{Table, quoted};

/// How often roles and display move on.
const STEP: Duration = Duration::from_millis(50);

/// What `--help` says after the options.
const HELP: &str = "\
Environment variables:
  LOGPIPE_LOG  what is logged: error, warn (the default), info, debug, or a filter such as
               logpipe_workers::produce=debug

Exit codes:
  0    everything that was read is committed, also after Ctrl-C
  1    the manifest is invalid, or the run failed
  2    wrong usage
  130  left at once by a second Ctrl-C; nothing is lost, and the next start has more to look at";

/// Run a LogPipeline manifest in this process.
///
/// The generator, the file producer, an embedded log and the ETL run as threads; Parquet goes to a local
/// folder. With `--kafka manifest` and `--sink manifest` it is the manifest's own Kafka and bucket. The run
/// ends when the source is finished and everything is committed, or at Ctrl-C. Started again it goes on where
/// it was: nothing lost, nothing twice.
#[derive(clap::Args)]
#[command(after_long_help = HELP)]
pub(crate) struct Args {
    /// The manifest, with one LogPipeline
    manifest: PathBuf,
    /// The folder for the log, the checkpoints and the Parquet files [default: ./logpipe-data/<name>]
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Read the files, or the topic, to their end, commit, and stop, instead of following them
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    modes: Modes,
    /// How to print progress and summary
    #[arg(short, long, default_value = "text")]
    output: Format,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let paint = Paint::stderr();
    let loaded = match manifest::load(&args.manifest) {
        Ok(loaded) => loaded,
        Err(faults) => {
            output::note(&faults.render(paint));
            return Ok(ExitCode::FAILURE);
        }
    };
    output::note(&loaded.warnings(paint));
    for other in loaded.skipped() {
        output::note(&format!(
            "{} {} is not a LogPipeline and is left alone\n",
            other.kind, other.name
        ));
    }
    let pipelines = &loaded.pipelines;
    let [pipeline] = pipelines.as_slice() else {
        bail!(
            "{} holds {} LogPipelines, and run takes one: give it a manifest with one",
            args.manifest.display(),
            pipelines.len()
        );
    };
    let name = pipeline
        .metadata
        .name
        .clone()
        .context("the manifest has no metadata.name")?;
    if pipeline.spec.suspend == Suspend::All {
        output::note(&format!(
            "{name} is suspended (spec.suspend: All); set it to None to run it\n"
        ));
        return Ok(ExitCode::SUCCESS);
    }
    run_pipeline(args, pipeline, &name)
}

fn run_pipeline(args: &Args, pipeline: &LogPipeline, name: &str) -> anyhow::Result<ExitCode> {
    let shown_dir = args
        .data_dir
        .clone()
        .unwrap_or_else(|| Path::new("logpipe-data").join(name));
    // First: the folder would belong to a run that never was.
    args.modes.check_secrets(pipeline)?;
    let dir = DataDir::open(&shown_dir, pipeline, name, &args.modes)?;
    let display = Display::new(args.output, pipeline);
    display.start_logging();
    let interrupts = count_interrupts(&display)?;
    let plan: Arc<Mutex<Option<Frozen>>> = Arc::default();
    // Of the manifest, not of its parent: that of `pipeline.yaml` is empty, which has no absolute path.
    let manifest =
        std::path::absolute(&args.manifest).context("cannot find the manifest's folder")?;
    display.begin(name, &shown_dir, &places(args, pipeline, &shown_dir));
    let started = Instant::now();
    let wanted = Wanted {
        pipeline,
        name,
        folder: manifest.parent().unwrap_or(Path::new("/")),
        once: args.once,
        modes: &args.modes,
        dir: &dir,
        on_topic: &|report: &TopicReport| display.topic(report),
    };
    let mut roles = Roles::start(&wanted, keep_plan(&plan, &display))?;
    let interrupted = follow(&mut roles, &display, &interrupts, started);

    let totals = summary::Totals::read(&roles);
    let counters = roles.counters.clone();
    let failures = roles.into_failures();
    if !failures.is_empty() {
        tell_failures(&failures, args, &shown_dir);
        return Ok(ExitCode::FAILURE);
    }
    let frozen = plan.lock().unwrap_or_else(PoisonError::into_inner).take();
    summary::Summary {
        name,
        dir: &shown_dir,
        table: table(args, pipeline, &dir, &shown_dir),
        counters: &counters,
        totals: totals?,
        plan: frozen,
        elapsed: started.elapsed(),
        interrupted,
        generated: pipeline.spec.source.generator.is_some(),
    }
    .print(args.output)?;
    Ok(ExitCode::SUCCESS)
}

/// Shows the plan, and keeps it for the summary.
fn keep_plan(plan: &Arc<Mutex<Option<Frozen>>>, display: &Display) -> roles::OnPlan {
    let (plan, display) = (plan.clone(), display.clone());
    Box::new(move |frozen: &Frozen| {
        display.plan(frozen);
        *plan.lock().unwrap_or_else(PoisonError::into_inner) = Some(frozen.clone());
    })
}

/// Moves the roles on until all is over, and says whether that was asked for.
fn follow(roles: &mut Roles, display: &Display, interrupts: &AtomicU32, started: Instant) -> bool {
    let mut stopping = false;
    while !roles.step() {
        if !stopping && interrupts.load(Ordering::Acquire) > 0 {
            stopping = true;
            roles.stop();
            display.stopping();
        }
        let lag = roles.lag();
        display.progress(&roles.counters, lag, started.elapsed());
        std::thread::sleep(STEP);
    }
    let lag = roles.lag();
    display.progress(&roles.counters, lag, started.elapsed());
    display.end();
    stopping
}

/// A role does not know by which words a person reaches its checkpoints: they are put in here.
fn tell_failures(failures: &[anyhow::Error], args: &Args, dir: &Path) {
    const REBUILD: &str = "logpipe checkpoint rebuild";
    let dir = quoted(&dir.to_string_lossy());
    let local = args.modes.kafka == KafkaMode::Embedded && args.modes.sink == SinkMode::Local;
    let rebuild = if local {
        format!("`{REBUILD} {dir}`")
    } else {
        let manifest = quoted(&args.manifest.to_string_lossy());
        let secrets = quoted(&args.modes.secrets.to_string_lossy());
        format!("`{REBUILD} -f {manifest} --data-dir {dir} --secrets {secrets}`")
    };
    for failure in failures {
        let text = output::with_causes(failure);
        output::print_failure(&text.replace(&format!("`{REBUILD}`"), &rebuild));
    }
    output::note(
        "What is committed stays as it is: mend this and run the same command again, and it goes on where it was.\n",
    );
}

/// What of this run is where.
fn places(args: &Args, pipeline: &LogPipeline, dir: &Path) -> String {
    let mut here = vec!["checkpoints"];
    let mut elsewhere = Vec::new();
    match args.modes.kafka {
        KafkaMode::Embedded => here.insert(0, "log"),
        KafkaMode::Manifest => {
            elsewhere.push(format!(
                ", lines through the topic {}",
                pipeline.topic_name()
            ));
        }
    }
    match args.modes.sink {
        SinkMode::Local => here.push("Parquet"),
        SinkMode::Manifest => {
            let bucket = &pipeline.spec.sink.s3.bucket;
            elsewhere.push(format!(", Parquet in s3://{bucket}/{}", pipeline.prefix()));
        }
    }
    let here = match here.as_slice() {
        [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        _ => here.concat(),
    };
    format!("{here} in {}{}", dir.display(), elsewhere.concat())
}

fn table<'a>(args: &'a Args, pipeline: &LogPipeline, dir: &DataDir, shown_dir: &Path) -> Table<'a> {
    if args.modes.sink == SinkMode::Local {
        return Table::Local {
            parquet: dir.parquet(),
            prefix: pipeline.prefix(),
        };
    }
    let mut flags = vec!["--sink manifest".to_owned()];
    if pipeline.spec.sink.s3.credentials.is_some() || pipeline.spec.sink.s3.tls.is_some() {
        flags.push(format!(
            "--secrets {}",
            quoted(&args.modes.secrets.to_string_lossy())
        ));
    }
    if args.data_dir.is_some() {
        flags.push(format!(
            "--data-dir {}",
            quoted(&shown_dir.to_string_lossy())
        ));
    }
    Table::Bucket {
        settings: S3Settings::new(pipeline, &args.modes.secrets()),
        flags: flags.join(" "),
        checkpoints: dir.checkpoints(),
        manifest: &args.manifest,
    }
}

/// The first Ctrl-C (or SIGTERM) drains; the second ends at once, which is as safe, only slower to start again.
fn count_interrupts(display: &Display) -> anyhow::Result<Arc<AtomicU32>> {
    let interrupts = Arc::new(AtomicU32::new(0));
    let count = interrupts.clone();
    let display = display.clone();
    ctrlc::set_handler(move || {
        if count.fetch_add(1, Ordering::AcqRel) > 0 {
            display.end();
            std::process::exit(130);
        }
    })
    .context("cannot listen for Ctrl-C")?;
    Ok(interrupts)
}
