//! `logpipe worker generate`. Touches the disk below its folder.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::Context;
use logpipe_api::settings::{GeneratorSettings, Settings};
use logpipe_workers::counters::Counters;
use logpipe_workers::generate::{self, GeneratorOptions};
use logpipe_workers::metrics::Role;

use super::{serve, signals};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// When all lines are written, wait for the signal to stop, as a pod does that must not be started again
    #[arg(long)]
    stay: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let settings = GeneratorSettings::from_env(std::env::vars())?;
    let options = GeneratorOptions::from(&settings);
    std::fs::create_dir_all(&options.dir)
        .with_context(|| format!("cannot make the folder {}", options.dir.display()))?;
    let stop = signals::stop_flag()?;
    let counters = Arc::new(Counters::default());
    serve::start(Role::Generate, counters.clone())?;
    generate::run(&options, &stop, &counters)?;
    tracing::info!(lines = counters.generated.get(), "generated");
    while args.stay && !stop.load(Ordering::Acquire) {
        std::thread::sleep(signals::STEP);
    }
    Ok(())
}
