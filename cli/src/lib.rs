//! `logpipe`: the pipeline on a laptop, the tools around it, and the roles of a pipeline in containers.
//!
//! A library, so that cargo compiles it beside the workers: a program has to wait until they are done.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod checkpoint;
mod generate;
mod head;
mod manifest;
mod modes;
mod output;
mod place;
mod run;
mod runtime;
mod schema;
mod table;
mod validate;
mod verify;
mod worker;

/// What `--help` says after the commands.
const HELP: &str = "\
Exit codes:
  0    good
  1    the input is invalid, the promise is broken or the run failed
  2    wrong usage
  130  `run` was left at once by a second Ctrl-C

Examples:
  logpipe run examples/quickstart.yaml
  logpipe verify logpipe-data/quickstart";

/// Log lines in, queryable Parquet out, each line exactly once, with the proof.
#[derive(Parser)]
#[command(name = "logpipe", version, max_term_width = 100, after_help = HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    // Without a text of its own it has the longer one of its arguments.
    Run(run::Args),
    /// Check manifests as the API server would, and say every fault at once
    Validate(validate::Args),
    /// Audit what a pipeline wrote: is each line there exactly once?
    Verify(verify::Args),
    /// Show, save, restore or rebuild what a pipeline has committed
    #[command(subcommand)]
    Checkpoint(checkpoint::Command),
    /// Print the first rows as a table
    Head(head::Args),
    /// Print the columns
    Schema(schema::Args),
    /// Write synthetic log lines to a rolling app.log
    Generate(generate::Args),
    /// One role of a pipeline, set by environment variables, as containers run it
    ///
    /// Exit codes: 0 done; 1 failed, and starting again may help; 2 wrong usage or variables; 3 a person must mend
    /// something first.
    #[command(subcommand, after_help = worker::HELP)]
    Worker(worker::Role),
}

/// Parses the arguments, does what they say, and returns the exit code.
pub fn main() -> ExitCode {
    // An error only says that it is installed already.
    drop(rustls::crypto::ring::default_provider().install_default());
    let result = match Cli::parse().command {
        Command::Run(args) => run::run(&args),
        Command::Validate(args) => validate::run(args),
        Command::Verify(args) => verify::run(&args),
        Command::Checkpoint(command) => checkpoint::run(&command),
        Command::Head(args) => head::run(&args),
        Command::Schema(args) => schema::run(&args),
        Command::Generate(args) => generate::run(args),
        Command::Worker(role) => return worker::run(&role),
    };
    result.unwrap_or_else(|error| {
        output::print_error(&error);
        ExitCode::FAILURE
    })
}
