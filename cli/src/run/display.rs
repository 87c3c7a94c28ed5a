//! The live display of a run: bars on a terminal, plain lines elsewhere, JSON lines for scripts. Everything
//! goes to standard error, save JSON, so that standard output holds the summary alone.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use logpipe_api::LogPipeline;
use logpipe_workers::counters::Counters;
use logpipe_workers::etl::plans::Frozen;
use logpipe_workers::log::kafka::topic::TopicReport;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::rate::Rate;
use crate::output::Format;
use crate::table::{count, size, things};

/// How often plain and JSON lines are written.
const LINE_EVERY: Duration = Duration::from_secs(1);

/// Shows how a run goes. Clones share the display.
#[derive(Clone)]
pub(super) struct Display {
    kind: Kind,
    /// Whether the lines are made here.
    generator: bool,
    /// Milliseconds since the start at which the last plain line was written.
    last_line: Arc<AtomicU64>,
    rates: Arc<Mutex<Rates>>,
}

#[derive(Clone)]
enum Kind {
    Bars(Bars),
    Lines,
    Json,
}

#[derive(Clone)]
struct Bars {
    all: MultiProgress,
    /// How many lines there are to be, over all runs; 0 where nobody knows.
    total: u64,
    generated: Option<ProgressBar>,
    produced: ProgressBar,
    committed: ProgressBar,
    tail: ProgressBar,
}

#[derive(Default)]
struct Rates {
    generated: Rate,
    produced: Rate,
    committed: Rate,
}

impl Display {
    /// Bars if standard error is a terminal.
    pub(super) fn new(format: Format, pipeline: &LogPipeline) -> Self {
        let kind = match format {
            Format::Json => Kind::Json,
            Format::Text if std::io::stderr().is_terminal() => Kind::Bars(Bars::new(pipeline)),
            Format::Text => Kind::Lines,
        };
        Self {
            kind,
            generator: pipeline.spec.source.generator.is_some(),
            last_line: Arc::default(),
            rates: Arc::default(),
        }
    }

    /// Sends warnings above the bars. `LOGPIPE_LOG` sets the level, as in `LOGPIPE_LOG=debug`.
    pub(super) fn start_logging(&self) {
        let filter =
            EnvFilter::try_from_env("LOGPIPE_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
        let logs = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_target(false)
            .with_writer(self.clone());
        // A second display in one process keeps the first one's logs.
        drop(logs.with_ansi(console::colors_enabled_stderr()).try_init());
    }

    /// `places` says in words what is where.
    pub(super) fn begin(&self, name: &str, dir: &Path, places: &str) {
        match self.kind {
            Kind::Json => json(&serde_json::json!({
                "event": "started", "pipeline": name, "dataDir": dir.display().to_string(),
            })),
            _ => self.say(&format!("{name}: {places}")),
        }
    }

    pub(super) fn topic(&self, report: &TopicReport) {
        match self.kind {
            Kind::Json => json(&serde_json::json!({
                "event": "topic", "topic": report.topic, "partitions": report.partitions,
                "report": report.to_string(),
            })),
            _ => self.say(&report.to_string()),
        }
    }

    pub(super) fn plan(&self, frozen: &Frozen) {
        match self.kind {
            Kind::Json => json(&serde_json::json!({
                "event": "plan", "parser": frozen.plan.parser, "why": frozen.why,
                "hash": frozen.plan.hash(),
            })),
            _ => self.say(&format!("parser: {}", frozen.why)),
        }
    }

    pub(super) fn stopping(&self) {
        match self.kind {
            Kind::Json => json(&serde_json::json!({"event": "stopping"})),
            _ => {
                self.say("stopping: committing what was read; press Ctrl-C again to leave at once");
            }
        }
    }

    /// Shows how far this run is. To be called often; it decides itself how often to draw.
    pub(super) fn progress(&self, counters: &Counters, lag: u64, elapsed: Duration) {
        let (generated, produced) = (counters.generated.get(), counters.produced.get());
        let committed = counters.rows.get() + counters.dead.get();
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        rates.generated.note(elapsed, generated);
        rates.produced.note(elapsed, produced);
        rates.committed.note(elapsed, committed);
        match &self.kind {
            Kind::Bars(bars) => bars.draw(counters, lag, &rates),
            Kind::Lines if self.line_is_due(elapsed) => {
                let generated = if self.generator {
                    format!("generated {}  ", count(generated))
                } else {
                    String::new()
                };
                self.say(&format!(
                    "{:6.1}s  {generated}produced {}  committed {}  {}/s  {}  lag {}",
                    elapsed.as_secs_f64(),
                    count(produced),
                    count(committed),
                    count(rates.committed.per_second()),
                    things(counters.files.get(), "file"),
                    things(lag, "record"),
                ));
            }
            Kind::Json if self.line_is_due(elapsed) => json(&serde_json::json!({
                "event": "progress",
                "seconds": (elapsed.as_secs_f64() * 1000.0).round() / 1000.0,
                "generated": generated,
                "produced": produced,
                "committedRows": counters.rows.get(),
                "committedDead": counters.dead.get(),
                "files": counters.files.get(),
                "fileBytes": counters.file_bytes.get(),
                "lagRecords": lag,
            })),
            _ => {}
        }
    }

    fn line_is_due(&self, elapsed: Duration) -> bool {
        let now = elapsed.as_millis() as u64;
        let due = now >= self.last_line.load(Ordering::Relaxed) + LINE_EVERY.as_millis() as u64;
        if due {
            self.last_line.store(now, Ordering::Relaxed);
        }
        due
    }

    /// Leaves the last state of the bars on the screen.
    pub(super) fn end(&self) {
        if let Kind::Bars(bars) = &self.kind {
            for bar in bars
                .generated
                .iter()
                .chain([&bars.produced, &bars.committed])
            {
                bar.abandon();
            }
            bars.tail.finish_and_clear();
        }
    }

    fn say(&self, text: &str) {
        match &self.kind {
            // A terminal that is gone has nobody to tell.
            Kind::Bars(bars) => drop(bars.all.println(text)),
            Kind::Lines | Kind::Json => drop(writeln!(std::io::stderr().lock(), "{text}")),
        }
    }
}

impl Bars {
    fn new(pipeline: &LogPipeline) -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        let generator = pipeline.spec.source.generator.as_ref();
        let total = generator.map_or(0, |generator| generator.max_events as u64);
        let bar = |name: &'static str| {
            let (bar, style) = if total > 0 {
                (
                    ProgressBar::new(total),
                    "{prefix:>10.bold} {bar:32.cyan/dim} {msg}",
                )
            } else {
                (
                    ProgressBar::new_spinner(),
                    "{prefix:>10.bold} {spinner:.cyan} {msg}",
                )
            };
            let style = ProgressStyle::with_template(style)
                .expect("the template is right")
                .progress_chars("━╸─");
            all.add(bar.with_prefix(name).with_style(style))
        };
        let generated = generator.map(|_| bar("generated"));
        let produced = bar("produced");
        let committed = bar("committed");
        let tail = all.add(ProgressBar::new_spinner().with_style(
            ProgressStyle::with_template("           {msg:.dim}").expect("the template is right"),
        ));
        Self {
            all,
            total,
            generated,
            produced,
            committed,
            tail,
        }
    }

    fn draw(&self, counters: &Counters, lag: u64, rates: &Rates) {
        // What is left of all lines to be made; some that are made may still have to be sent.
        let left = self.total.saturating_sub(counters.generated_before.get());
        let show = |bar: &ProgressBar, lines: u64, rate: &Rate| {
            if self.total > 0 {
                bar.set_length(left.max(lines));
            }
            bar.set_position(lines);
            bar.set_message(format!(
                "{:>13}  {:>9}/s",
                count(lines),
                count(rate.per_second())
            ));
        };
        if let Some(bar) = &self.generated {
            show(bar, counters.generated.get(), &rates.generated);
        }
        show(&self.produced, counters.produced.get(), &rates.produced);
        let committed = counters.rows.get() + counters.dead.get();
        show(&self.committed, committed, &rates.committed);
        self.tail.set_message(format!(
            "{}, {}, {} quarantined, lag {}",
            things(counters.files.get(), "file"),
            size(counters.file_bytes.get()),
            count(counters.dead.get()),
            things(lag, "record"),
        ));
    }
}

fn json(value: &serde_json::Value) {
    // A pipe that is closed has nobody to tell.
    drop(writeln!(std::io::stdout().lock(), "{value}"));
}

impl<'a> MakeWriter<'a> for Display {
    type Writer = LogWriter<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        LogWriter {
            display: self,
            line: Vec::new(),
        }
    }
}

/// One log line, shown when it is complete.
pub(super) struct LogWriter<'a> {
    display: &'a Display,
    line: Vec<u8>,
}

impl Write for LogWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.line.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Drop for LogWriter<'_> {
    fn drop(&mut self) {
        if !self.line.is_empty() {
            self.display
                .say(String::from_utf8_lossy(&self.line).trim_end());
        }
    }
}
