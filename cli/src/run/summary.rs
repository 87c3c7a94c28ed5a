//! What a run says when it is over: counts, the first rows, and what to do next.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use logpipe_workers::checkpoint::{Checkpoint, partition_key};
use logpipe_workers::counters::Counters;
use logpipe_workers::etl::plans::Frozen;

use super::roles::Roles;
use crate::head;
use crate::output::Format;
use crate::place::Place;
use crate::table::{count, terminal_width};

/// Rows that are shown.
const ROWS: usize = 5;

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

/// Everything that is said at the end.
pub(super) struct Summary<'a> {
    pub(super) name: &'a str,
    pub(super) dir: &'a Path,
    pub(super) parquet: PathBuf,
    pub(super) prefix: String,
    pub(super) counters: &'a Counters,
    pub(super) totals: Totals,
    pub(super) plan: Option<Frozen>,
    pub(super) elapsed: Duration,
    pub(super) interrupted: bool,
    pub(super) generated: bool,
}

impl Summary<'_> {
    pub(super) fn print(&self, format: Format) -> anyhow::Result<()> {
        match format {
            Format::Json => {
                self.print_json();
                Ok(())
            }
            Format::Text => self.print_text(),
        }
    }

    fn print_json(&self) {
        let counters = self.counters;
        println!(
            "{}",
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
                "parquet": self.parquet.join(&self.prefix).display().to_string(),
            })
        );
    }

    fn print_text(&self) -> anyhow::Result<()> {
        let counters = self.counters;
        let committed = counters.rows.get() + counters.dead.get();
        let seconds = self.elapsed.as_secs_f64();
        let end = if self.interrupted { "stopped" } else { "done" };
        println!();
        let outcome = if self.plan.is_some() {
            "everything that was read is committed"
        } else {
            "there were no lines yet, or only blank ones, which wait in the log for the first others"
        };
        println!("{}: {end} after {seconds:.1} s, {outcome}", self.name);
        println!();
        if self.generated {
            println!(
                "  generated    {:>13} lines",
                count(counters.generated.get())
            );
        }
        println!(
            "  produced     {:>13} lines",
            count(counters.produced.get())
        );
        println!(
            "  committed    {:>13} rows in {} files ({:.1} MiB), {} lines/s",
            count(counters.rows.get()),
            count(counters.files.get()),
            counters.file_bytes.get() as f64 / 1_048_576.0,
            count((committed as f64 / seconds.max(0.001)) as u64),
        );
        println!("  quarantined  {:>13} lines", count(counters.dead.get()));
        if counters.lost_bytes.get() > 0 {
            println!(
                "  lost         {:>13} bytes, destroyed before they could be read (see the warnings)",
                count(counters.lost_bytes.get())
            );
        }
        if self.totals.rows + self.totals.dead != committed {
            println!(
                "  all runs     {:>13} rows and {} quarantined in {} files",
                count(self.totals.rows),
                count(self.totals.dead),
                count(self.totals.files),
            );
        }
        if let Some(plan) = &self.plan {
            println!("  parser       {}", plan.why);
        }
        println!();
        if self.totals.rows > 0 {
            let place = Place::open(&self.dir.to_string_lossy())?;
            match head::first_rows(&place, ROWS, head::Wanted::default()) {
                Ok(rows) => println!("{}", rows.text(terminal_width())),
                // The run itself went well; an older file did not stay as it was.
                Err(error) => println!("The first rows cannot be shown: {error:#}\n"),
            }
        }
        self.print_next();
        Ok(())
    }

    fn print_next(&self) {
        let logpipe = std::env::args()
            .next()
            .unwrap_or_else(|| "logpipe".to_owned());
        let table = self
            .dir
            .join("parquet")
            .join(&self.prefix)
            .join("dt=*/**/*.parquet");
        println!("Next:");
        println!("  {logpipe} verify {}", self.dir.display());
        println!(
            "  duckdb -c \"SELECT level, count(*) FROM '{}' GROUP BY ALL\"",
            table.display()
        );
        println!(
            "  {logpipe} run examples/files.yaml    # then edit `paths` to follow your own files"
        );
    }
}
