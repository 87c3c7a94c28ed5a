//! `logpipe checkpoint`: shows, saves, restores and rebuilds the checkpoints of a pipeline, in its data folder or in a
//! cluster. Touches them, and reads sink and log.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use logpipe_api::settings::{PLAN_KEY, partition_of_key};
use logpipe_workers::checkpoint::survey::Survey;

use crate::output::{self, Format};

mod cluster;
mod file;
mod local;
mod place;
mod restore;
mod show;

use place::CheckpointArgs;
use restore::Source;

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Print how far each partition is
    Show(ShowArgs),
    /// Write all checkpoints to one file
    Export(ExportArgs),
    /// Put checkpoints back that are gone, from such a file
    Import(ImportArgs),
    /// Make checkpoints that are gone again, from the files in the sink
    Rebuild(RebuildArgs),
}

#[derive(clap::Args)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    place: CheckpointArgs,
    /// How to print it
    #[arg(short = 'o', long, value_enum, default_value_t)]
    output: Format,
}

#[derive(clap::Args)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    place: CheckpointArgs,
    /// The file; it must not be there yet
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

#[derive(clap::Args)]
pub(crate) struct ImportArgs {
    #[command(flatten)]
    place: CheckpointArgs,
    /// The file that `export` wrote
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    #[command(flatten)]
    how: HowArgs,
}

#[derive(clap::Args)]
pub(crate) struct RebuildArgs {
    #[command(flatten)]
    place: CheckpointArgs,
    /// Treat a partition without files as never written, even though its first records are gone from the log
    #[arg(long)]
    assume_unwritten: bool,
    #[command(flatten)]
    how: HowArgs,
}

#[derive(clap::Args)]
struct HowArgs {
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// How to print what was done
    #[arg(short = 'o', long, value_enum, default_value_t)]
    output: Format,
}

/// What stands under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// A value.
    Value(Vec<u8>),
    /// Something that is none: why.
    Damaged(String),
}

/// All that a place holds.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// By key: those of the partitions, and `plan`.
    stored: BTreeMap<String, Stored>,
    /// When a key was written last, in seconds since 1970.
    changed: BTreeMap<String, i64>,
    /// How many partitions there should be, where that is known.
    partitions: Option<u32>,
}

/// Whether a key of a place is that of a partition or of the plans.
fn is_stored_key(key: &str) -> bool {
    key == PLAN_KEY || partition_of_key(key).is_some()
}

/// One change of a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    key: String,
    old: Option<Stored>,
    /// None: nothing was ever written, and a worker must be able to write it first.
    new: Option<Vec<u8>>,
}

/// Where the checkpoints of one pipeline are. Whoever looks at the sink or writes has it for themselves: no worker
/// runs meanwhile.
pub(crate) trait Checkpoints {
    /// How a person names it.
    fn label(&self) -> String;
    /// The pipeline and its topic.
    fn pipeline(&self) -> (String, String);
    /// What is there.
    fn read(&self) -> anyhow::Result<Found>;
    /// Sink and log; fails where workers may run.
    fn survey(&mut self) -> anyhow::Result<Survey>;
    /// Writes, each partition as a whole; fails where somebody else wrote since.
    fn write(&mut self, changes: &[Change]) -> anyhow::Result<()>;
}

pub(crate) fn run(command: &Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Show(args) => {
            let found = args.place.open()?.read()?;
            output::print(&show::print(&found, args.output)?)?;
        }
        Command::Export(args) => {
            let place = args.place.open()?;
            let saved = file::Saved::new(place.as_ref(), &place.read()?)?;
            saved.write(&args.to)?;
            output::print(&format!(
                "{} checkpoints of {} are in {}\n",
                saved.checkpoints.len(),
                place.label(),
                args.to.display()
            ))?;
        }
        Command::Import(args) => {
            let saved = file::Saved::read(&args.from)?;
            let mut place = args.place.open()?;
            saved.check(place.as_ref())?;
            let source = Source::File(&saved.checkpoints);
            return change(place.as_mut(), &source, &args.how);
        }
        Command::Rebuild(args) => {
            let mut place = args.place.open()?;
            // No worker was ever called so, and no other rebuild.
            let now = jiff::Timestamp::now().as_nanosecond();
            let source = Source::Sink {
                owner: format!("rebuild-{now:x}-{}", std::process::id()),
                assume_unwritten: args.assume_unwritten,
            };
            return change(place.as_mut(), &source, &args.how);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Looks, decides about every partition, and writes all of it or nothing.
fn change(
    place: &mut dyn Checkpoints,
    source: &Source<'_>,
    how: &HowArgs,
) -> anyhow::Result<ExitCode> {
    let survey = place.survey()?;
    let found = place.read()?;
    let plan = restore::plan(&survey, &found.stored, source)?;
    let done = plan.is_possible() && !how.dry_run;
    if done {
        place
            .write(&plan.changes)
            .context("not every checkpoint was written; run the same command again")?;
    }
    output::print(&plan.print(how.output, &place.label(), done)?)?;
    Ok(if plan.is_possible() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
