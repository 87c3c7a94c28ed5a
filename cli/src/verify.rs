//! `logpipe verify`: proves from the object names and the rows that each line is there exactly once. Touches the
//! disk or the network; never writes.

use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};

use crate::output::{self, Format};
use crate::place::PlaceArgs;

mod audit;
mod names;
mod numbers;
mod report;
mod rows;
mod runs;

pub(crate) use rows::Kind;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    place: PlaceArgs,
    /// How to print the report
    #[arg(short = 'o', long, value_enum, default_value_t)]
    output: Format,
    /// The pipeline runs or was stopped midway: generated lines that are not there yet are not lost
    #[arg(long)]
    running: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let place = args.place.open()?;
    let options = audit::Options {
        running: args.running,
    };
    let report = audit::audit(&place, options, &progress())?;
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
