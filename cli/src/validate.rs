//! `logpipe validate`: every fault of every manifest at once, as the API server would find it, with its
//! place and its remedy. It reads files and folders and writes the standard output.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::manifest::{self, Checked};
use crate::output::{self, Format, Paint};

mod report;
mod sources;

use sources::Source;

/// What `--help` says after the options.
const HELP: &str = "\
The schema, the defaults and the rules (CEL) are those of the CRD, and beyond them the operator's, so
what is valid here is taken by `kubectl apply` and by the operator. Regular expressions and globs are
compiled and time zones looked up. What only a cluster needs, such as a volume for files, is a warning.
Objects of other kinds are left alone; in a folder, so is all whose apiVersion is not logpipe.dev/….

Exit codes:
  0  every manifest is valid; warnings are allowed
  1  a manifest is invalid, a file is missing or cannot be read, or there is no LogPipeline at all
  2  wrong usage

Examples:
  logpipe validate -f pipeline.yaml
  logpipe validate -f deploy/ -f extra.yaml -o json
  helm template . | logpipe validate -f -";

#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// A manifest, a folder (every *.yaml, *.yml and *.json below it), or - for standard input;
    /// may be given several times
    #[arg(short, long = "filename", value_name = "FILE|DIR|-", required = true)]
    filename: Vec<PathBuf>,
    /// How to print the result
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args {
        filename,
        output: format,
    } = args;
    let mut checked: Vec<Checked> = Vec::new();
    let mut others = 0;
    for source in sources::expand(filename) {
        match source {
            Source::Named(path) => checked.push(manifest::read(&path)),
            Source::Found(path) => match manifest::read_of_folder(&path) {
                Some(found) => checked.push(found),
                None => others += 1,
            },
            Source::Unusable(reason) => checked.push(reason),
        }
    }
    let text = match format {
        Format::Text => report::text(&checked, others, Paint::stdout()),
        Format::Json => report::json(&checked, others)?,
    };
    output::print(&text)?;
    Ok(if report::is_valid(&checked) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
