//! `logpipe generate`: synthetic log lines into a rolling `app.log`, without a pipeline. Touches the disk, and
//! the terminal for its progress.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressState, ProgressStyle};
use logpipe_api::pipeline::GeneratorFormat;
use logpipe_api::quantity;
use logpipe_workers::counters::Counters;
use logpipe_workers::generate::{self, Generated, GeneratorOptions, Rolled};

use crate::output;
use crate::table::things;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The folder of app.log and its rolled files
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Lines a second; 0 is as fast as possible
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(..=100_000_000))]
    rate: u64,
    /// Stop after this many lines, over all runs in the folder; 0 never stops
    #[arg(long, default_value_t = 0)]
    max_events: u64,
    /// What the lines look like: Text, Json, Logfmt, Nginx, Syslog or Cri
    #[arg(long, default_value = "Text", value_parser = format)]
    format: GeneratorFormat,
    /// The same seed writes the same messages
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// The name each line carries in its tail
    #[arg(long, default_value = "generate")]
    producer: String,
    /// How many lines in a hundred are broken on purpose
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(..=100))]
    malformed_percent: u8,
    /// app.log is renamed to app.log.N when it is this long: bytes, or Ki, Mi, Gi
    #[arg(long, default_value = "64Mi", value_parser = bytes)]
    roll_bytes: u64,
    /// How many rolled files stay
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    keep: u32,
}

fn format(text: &str) -> Result<GeneratorFormat, String> {
    match text.to_ascii_lowercase().as_str() {
        "text" => Ok(GeneratorFormat::Text),
        "json" => Ok(GeneratorFormat::Json),
        "logfmt" => Ok(GeneratorFormat::Logfmt),
        "nginx" => Ok(GeneratorFormat::Nginx),
        "syslog" => Ok(GeneratorFormat::Syslog),
        "cri" => Ok(GeneratorFormat::Cri),
        _ => Err("it must be Text, Json, Logfmt, Nginx, Syslog or Cri".to_owned()),
    }
}

fn bytes(text: &str) -> Result<u64, String> {
    match quantity::bytes(text) {
        Ok(0) => Err("it must be above 0".to_owned()),
        Ok(bytes) => Ok(bytes),
        Err(error) => Err(error.to_string()),
    }
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let options = GeneratorOptions {
        producer: args.producer,
        dir: args.dir,
        events_per_second: args.rate,
        max_events: args.max_events,
        format: args.format,
        seed: args.seed,
        malformed_percent: args.malformed_percent,
        roll_bytes: args.roll_bytes,
        rolled: Rolled::DeleteOldest {
            keep: args.keep as usize,
        },
    };
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    ctrlc::set_handler(move || stopped.store(true, Ordering::Relaxed))
        .context("failed to listen for Ctrl-C")?;

    let begin = Instant::now();
    let counters = Counters::default();
    let done = AtomicBool::new(false);
    let generated = std::thread::scope(|scope| {
        // It only shows; the guard ends it however the generator ends.
        let _guard = Done(&done);
        scope.spawn(|| show_progress(args.max_events, &done, &counters));
        generate::run(&options, &stop, &counters)
    })?;
    print_summary(&options, generated, begin.elapsed())?;
    Ok(ExitCode::SUCCESS)
}

struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn show_progress(max_events: u64, done: &AtomicBool, counters: &Counters) {
    let bar = if max_events > 0 {
        ProgressBar::new(max_events)
    } else {
        ProgressBar::no_length()
    };
    let template = if max_events > 0 {
        "{bar:30.green/dim} {human_pos} of {human_len} lines  {rate} a second  {eta} left"
    } else {
        "{spinner:.green} {human_pos} lines  {rate} a second  {elapsed}"
    };
    bar.set_style(
        ProgressStyle::with_template(template)
            .expect("the template is well-formed")
            .with_key(
                "rate",
                |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                    // Only a display: what cannot be written is not seen.
                    let rate = HumanCount(state.per_sec() as u64).to_string();
                    out.write_str(&rate).unwrap_or(());
                },
            )
            .progress_chars("━━─"),
    );
    while !done.load(Ordering::Relaxed) {
        if max_events > 0 {
            let before = counters.generated_before.get();
            bar.set_length(max_events.saturating_sub(before));
        }
        bar.set_position(counters.generated.get());
        std::thread::sleep(Duration::from_millis(50));
    }
    bar.finish_and_clear();
}

fn print_summary(
    options: &GeneratorOptions,
    generated: Generated,
    took: Duration,
) -> anyhow::Result<()> {
    let log = options.dir.join("app.log");
    let size = std::fs::metadata(&log).map_or(0, |file| file.len());
    let rate = generated.written as f64 / took.as_secs_f64().max(0.001);
    let mut text = format!(
        "{} in {:.1} s ({} a second)\n",
        things(generated.written, "line"),
        took.as_secs_f64(),
        HumanCount(rate as u64)
    );
    let end = format!(
        "{} ({}) ends with line {}\n",
        log.display(),
        HumanBytes(size),
        HumanCount(generated.total)
    );
    text.push_str(&end);
    if !generated.finished {
        text.push_str("The same command goes on with the next line.\n");
    }
    output::print(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_units() {
        assert_eq!(bytes("64Mi"), Ok(64 << 20));
        assert_eq!(bytes("1500"), Ok(1500));
        assert_eq!(bytes("2k"), Ok(2000));
        for wrong in ["", "0", "Mi", "1.5Mi", "64MB", "99999999999Gi", "-1"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }
}
