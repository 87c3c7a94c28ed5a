//! `logpipe worker`: one role of a pipeline in a process of its own, as containers run it. Everything is set by
//! environment variables (`logpipe_api::settings`); secrets are files. SIGTERM and SIGINT drain.
//!
//! Its logs and its exit codes are for what runs containers, and so not those of the other commands.

use std::process::ExitCode;

use clap::Subcommand;

mod ends;
mod etl;
mod exit;
mod generate;
mod probe;
mod produce;
mod progress;
mod serve;
mod signals;
mod survey;
mod topic;

/// What `--help` says after the roles.
pub(crate) const HELP: &str = "\
Environment variables of all roles, beside those named above:
  LOGPIPE_LOG             what is logged: error, warn, info (the default), debug, or a filter
  LOGPIPE_LOG_FORMAT      json: a JSON object a line; plain text otherwise
  LOGPIPE_METRICS_LISTEN  address:port of /metrics and /readyz; without it, no port is opened

Every variable, with examples: docs/reference/worker.md";

#[derive(Subcommand)]
pub(crate) enum Role {
    /// Write seeded lines to a rolling app.log (`LOGPIPE_GENERATOR_*`)
    Generate(generate::Args),
    /// Follow files and write their lines into the topic (`LOGPIPE_PRODUCER_*`, `LOGPIPE_KAFKA_*`)
    Produce,
    /// Turn the topic's lines into Parquet (`LOGPIPE_ETL_*`, `LOGPIPE_KAFKA_*`, `LOGPIPE_S3_*`)
    Etl,
    /// Make the topic, or bring it to what is wanted, and end (`LOGPIPE_TOPIC_*`, `LOGPIPE_KAFKA_*`)
    Topic,
    /// Say what topic and bucket hold, for `logpipe checkpoint` (`LOGPIPE_KAFKA_*`, `LOGPIPE_S3_*`), and end
    Survey,
    /// Try Kafka and the bucket as the other roles would, say what is found, and end
    Probe,
}

pub(crate) fn run(role: &Role) -> ExitCode {
    start_logging();
    let result = match role {
        Role::Generate(args) => generate::run(args),
        Role::Produce => produce::run(),
        Role::Etl => etl::run(),
        Role::Topic => topic::run(),
        Role::Survey => survey::run(),
        Role::Probe => probe::run(),
    };
    exit::code(result)
}

/// Lines on standard error, JSON where `LOGPIPE_LOG_FORMAT` says so; `LOGPIPE_LOG` sets the level.
fn start_logging() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("LOGPIPE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_writer(std::io::stderr);
    if std::env::var("LOGPIPE_LOG_FORMAT").is_ok_and(|format| format == "json") {
        logs.json().init();
    } else {
        logs.with_ansi(false).init();
    }
}
