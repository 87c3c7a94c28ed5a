//! What a run says when it is over: counts, the first rows, and what to do next.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use logpipe_api::settings::S3Settings;
use logpipe_workers::checkpoint::{Checkpoint, partition_key};
use logpipe_workers::counters::Counters;
use logpipe_workers::etl::plans::Frozen;

use super::roles::Roles;
use crate::head;
use crate::output::{self, Format};
use crate::place::Place;
use crate::table::{count, terminal_width};

/// Rows that are shown.
const ROWS: usize = 5;

const GROWS: &str = "a string takes what it is given";

/// What all runs in this data folder have committed together, from the checkpoints.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    rows: u64,
    dead: u64,
    files: u64,
}

impl Totals {
    pub(super) fn read(roles: &Roles) -> anyhow::Result<Self> {
        let (store, runtime) = roles.checkpoints();
        let mut totals = Self::default();
        for partition in 0..roles.partitions() {
            let key = partition_key(partition);
            let Some(bytes) = runtime.block_on(store.read(&key))? else {
                continue;
            };
            let checkpoint = Checkpoint::decode(&bytes)
                .with_context(|| format!("cannot read the checkpoint {key}"))?;
            totals.rows += checkpoint.totals.rows;
            totals.dead += checkpoint.totals.dead;
            totals.files += checkpoint.totals.files;
        }
        Ok(totals)
    }
}

/// Where the rows are.
pub(super) enum Table<'a> {
    /// In the data folder, with the pipeline's folder below it.
    Local { parquet: PathBuf, prefix: String },
    /// In the manifest's bucket.
    Bucket {
        settings: S3Settings,
        /// The words behind `logpipe verify` and `logpipe head` that lead there.
        flags: String,
        checkpoints: PathBuf,
        manifest: &'a Path,
    },
}

impl Table<'_> {
    fn shown(&self) -> String {
        match self {
            Self::Local { parquet, prefix } => parquet.join(prefix).display().to_string(),
            Self::Bucket { settings, .. } => {
                format!("s3://{}/{}", settings.bucket, settings.prefix)
            }
        }
    }
}

/// Everything that is said at the end.
pub(super) struct Summary<'a> {
    pub(super) name: &'a str,
    pub(super) dir: &'a Path,
    pub(super) table: Table<'a>,
    pub(super) counters: &'a Counters,
    pub(super) totals: Totals,
    pub(super) plan: Option<Frozen>,
    pub(super) elapsed: Duration,
    pub(super) interrupted: bool,
    pub(super) generated: bool,
}

impl Summary<'_> {
    pub(super) fn print(&self, format: Format) -> anyhow::Result<()> {
        let text = match format {
            Format::Json => format!("{}\n", self.json()),
            Format::Text => {
                let mut text = String::new();
                self.counts(&mut text).expect(GROWS);
                self.first_rows(&mut text)?;
                self.next(&mut text).expect(GROWS);
                text
            }
        };
        output::print(&text)
    }

    fn json(&self) -> serde_json::Value {
        let counters = self.counters;
        serde_json::json!({
            "event": "summary",
            "pipeline": self.name,
            "interrupted": self.interrupted,
            "seconds": self.elapsed.as_secs_f64(),
            "generated": counters.generated.get(),
            "produced": counters.produced.get(),
            "committedRows": counters.rows.get(),
            "committedDead": counters.dead.get(),
            "files": counters.files.get(),
            "fileBytes": counters.file_bytes.get(),
            "dropped": counters.dropped.get(),
            "lostBytes": counters.lost_bytes.get(),
            "totalRows": self.totals.rows,
            "totalDead": self.totals.dead,
            "totalFiles": self.totals.files,
            "parquet": self.table.shown(),
        })
    }

    fn counts(&self, text: &mut String) -> std::fmt::Result {
        let counters = self.counters;
        let committed = counters.rows.get() + counters.dead.get();
        let seconds = self.elapsed.as_secs_f64();
        let end = if self.interrupted { "stopped" } else { "done" };
        writeln!(text)?;
        let outcome = if self.plan.is_some() {
            "everything that was read is committed"
        } else {
            "there were no lines yet, or only blank ones, which wait in the log for the first others"
        };
        writeln!(text, "{}: {end} after {seconds:.1} s, {outcome}", self.name)?;
        writeln!(text)?;
        if self.generated {
            writeln!(
                text,
                "  generated    {:>13} lines",
                count(counters.generated.get())
            )?;
        }
        writeln!(
            text,
            "  produced     {:>13} lines",
            count(counters.produced.get())
        )?;
        writeln!(
            text,
            "  committed    {:>13} rows in {} files ({:.1} MiB), {} lines/s",
            count(counters.rows.get()),
            count(counters.files.get()),
            counters.file_bytes.get() as f64 / 1_048_576.0,
            count((committed as f64 / seconds.max(0.001)) as u64),
        )?;
        writeln!(
            text,
            "  quarantined  {:>13} lines",
            count(counters.dead.get())
        )?;
        if counters.lost_bytes.get() > 0 {
            writeln!(
                text,
                "  lost         {:>13} bytes, destroyed before they could be read (see the warnings)",
                count(counters.lost_bytes.get())
            )?;
        }
        if self.totals.rows + self.totals.dead != committed {
            writeln!(
                text,
                "  all runs     {:>13} rows and {} quarantined in {} files",
                count(self.totals.rows),
                count(self.totals.dead),
                count(self.totals.files),
            )?;
        }
        if let Some(plan) = &self.plan {
            writeln!(text, "  parser       {}", plan.why)?;
        }
        writeln!(text)
    }

    fn first_rows(&self, text: &mut String) -> anyhow::Result<()> {
        if self.totals.rows > 0 {
            let place = match &self.table {
                Table::Local { .. } => Place::open(&self.dir.to_string_lossy())?,
                Table::Bucket {
                    settings,
                    checkpoints,
                    ..
                } => Place::bucket(settings)?.with_checkpoints(checkpoints.clone()),
            };
            match head::first_rows(&place, ROWS, head::Wanted::default()) {
                Ok(rows) => text.push_str(&rows.text(terminal_width())),
                // The run itself went well; an older file did not stay as it was.
                Err(error) => {
                    writeln!(text, "The first rows cannot be shown: {error:#}").expect(GROWS);
                }
            }
            text.push('\n');
        }
        Ok(())
    }

    fn next(&self, text: &mut String) -> std::fmt::Result {
        let logpipe = std::env::args()
            .next()
            .unwrap_or_else(|| "logpipe".to_owned());
        writeln!(text, "Next:")?;
        match &self.table {
            Table::Local { prefix, .. } => {
                let table = self
                    .dir
                    .join("parquet")
                    .join(prefix)
                    .join("dt=*/**/*.parquet");
                writeln!(text, "  {logpipe} verify {}", self.dir.display())?;
                writeln!(
                    text,
                    "  duckdb -c \"SELECT level, count(*) FROM '{}' GROUP BY ALL\"",
                    table.display()
                )?;
            }
            Table::Bucket {
                flags, manifest, ..
            } => {
                let manifest = manifest.display();
                writeln!(text, "  {logpipe} verify -f {manifest} {flags}")?;
                writeln!(text, "  {logpipe} head -f {manifest} {flags}")?;
            }
        }
        writeln!(
            text,
            "  {logpipe} run examples/files.yaml    # then edit `paths` to follow your own files"
        )
    }
}
