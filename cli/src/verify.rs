//! `logpipe verify`: proves from the object names and the rows that each line is there exactly once. Touches the
//! disk or the network; never writes.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::ensure;
use indicatif::{ProgressBar, ProgressStyle};
use logpipe_workers::log::Log;
use logpipe_workers::log::kafka::{KafkaLog, KafkaOptions};

use crate::modes::{KafkaMode, Modes};
use crate::output::{self, Format};
use crate::place::{self, Place, PlaceArgs};

mod audit;
mod log;
mod names;
mod numbers;
mod report;
mod rows;
mod runs;

use report::Report;
pub(crate) use rows::Kind;

/// The next partition waits so long, because the broker still answers for the end of the one before.
const FETCH_WAIT: Duration = Duration::from_millis(10);

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    place: PlaceArgs,
    /// The folder of the checkpoints, where they are not in the data folder
    #[arg(long, value_name = "DIR")]
    checkpoints: Option<PathBuf>,
    /// With `manifest`, reads the manifest's topic again, record by record, and compares
    #[arg(long, value_enum, default_value_t, conflicts_with = "place")]
    kafka: KafkaMode,
    /// How to print the report
    #[arg(short = 'o', long, value_enum, default_value_t)]
    output: Format,
    /// The pipeline runs or was stopped midway: generated lines that are not there yet are not lost
    #[arg(long)]
    running: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let report = audit(args)?;
    match args.output {
        Format::Text => output::print(&report.text())?,
        Format::Json => output::print(&format!("{}\n", serde_json::to_string_pretty(&report)?))?,
    }
    Ok(if report.exactly_once {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn audit(args: &Args) -> anyhow::Result<Report> {
    let mut place = args.place.open()?;
    if let Some(dir) = &args.checkpoints {
        ensure!(
            dir.is_dir(),
            "the folder {} of --checkpoints is not there",
            dir.display()
        );
        place = place.with_checkpoints(dir.clone());
    }
    let options = audit::Options {
        running: args.running,
    };
    match (args.kafka, &args.place.filename) {
        (KafkaMode::Manifest, Some(manifest)) => against_kafka(args, manifest, &place, options),
        _ => audit::audit(&place, options, None, &progress()),
    }
}

/// The audit, with the manifest's topic as its witness.
fn against_kafka(
    args: &Args,
    manifest: &Path,
    place: &Place,
    options: audit::Options,
) -> anyhow::Result<Report> {
    let modes = Modes {
        kafka: args.kafka,
        sink: args.place.sink,
        secrets: args.place.secrets.clone(),
    };
    let settings = modes.kafka_settings(&place::load(manifest)?)?;
    let kafka = KafkaOptions {
        fetch_wait: FETCH_WAIT,
        ..KafkaOptions::default()
    };
    let log = KafkaLog::open(&settings, kafka)?;
    let mut source = log.source()?;
    let witness = log::Witness {
        source: source.as_mut(),
        identity: &log.identity(),
    };
    audit::audit(place, options, Some(witness), &progress())
}

/// A bar over the bytes of all files, on standard error and only on a terminal.
fn progress() -> ProgressBar {
    let style = ProgressStyle::with_template(
        "{bar:30.green/dim} {bytes} of {total_bytes} read  {bytes_per_sec}  {eta} left",
    )
    .expect("the template is well-formed");
    ProgressBar::new(0).with_style(style.progress_chars("━━─"))
}

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
