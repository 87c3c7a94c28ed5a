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
use crate::table::{count, plural, size, terminal_width, things};

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
            "no lines to commit yet"
        };
        writeln!(text, "{}: {end} after {seconds:.1} s, {outcome}", self.name)?;
        writeln!(text)?;
        let row = |text: &mut String, what: &str, number: u64, rest: &str| {
            writeln!(text, "  {what:<12} {:>13} {rest}", count(number))
        };
        let lines = |number| plural(number, "line");
        if self.generated {
            let generated = counters.generated.get();
            row(text, "generated", generated, &lines(generated))?;
        }
        let (produced, rows) = (counters.produced.get(), counters.rows.get());
        row(text, "produced", produced, &lines(produced))?;
        let rate = (committed as f64 / seconds.max(0.001)) as u64;
        let committed_rows = format!(
            "{} in {}{}, {}/s",
            plural(rows, "row"),
            things(counters.files.get(), "file"),
            match counters.file_bytes.get() {
                0 => String::new(),
                bytes => format!(" ({})", size(bytes)),
            },
            things(rate, "line"),
        );
        row(text, "committed", rows, &committed_rows)?;
        let dead = counters.dead.get();
        row(text, "quarantined", dead, &lines(dead))?;
        if counters.lost_bytes.get() > 0 {
            let lost = counters.lost_bytes.get();
            let what = plural(lost, "byte");
            let what = format!("{what}, destroyed before they could be read (see the warnings)");
            row(text, "lost", lost, &what)?;
        }
        if self.totals.rows + self.totals.dead != committed {
            let totals = self.totals;
            let rest = format!(
                "{} and {} quarantined in {}",
                plural(totals.rows, "row"),
                count(totals.dead),
                things(totals.files, "file"),
            );
            row(text, "all runs", totals.rows, &rest)?;
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

    /// What can be done with what is there.
    fn next(&self, text: &mut String) -> std::fmt::Result {
        let logpipe = std::env::args().next();
        let logpipe = quoted(logpipe.as_deref().unwrap_or("logpipe"));
        let (rows, dead) = (self.totals.rows > 0, self.totals.dead > 0);
        let place = match &self.table {
            Table::Local { .. } => quoted(&self.dir.to_string_lossy()),
            Table::Bucket {
                flags, manifest, ..
            } => format!("-f {} {flags}", quoted(&manifest.to_string_lossy())),
        };
        let mut next = Vec::new();
        if rows || dead {
            next.push(format!("{logpipe} verify {place}"));
        }
        match &self.table {
            _ if !rows => {}
            Table::Local { prefix, .. } => {
                let table = self.dir.join("parquet").join(prefix);
                let files = table.join("dt=*/**/*.parquet");
                let files = files.to_string_lossy().replace('\'', "''");
                let query = format!("SELECT level, count(*) FROM '{files}' GROUP BY ALL");
                next.push(format!("duckdb -c {}", in_double_quotes(&query)));
            }
            Table::Bucket { .. } => next.push(format!("{logpipe} head {place}")),
        }
        if dead {
            next.push(format!(
                "{logpipe} head {place} --dead    # the quarantined lines, and why"
            ));
        }
        if self.generated {
            next.push(
                "cp examples/files.yaml mine.yaml    # then edit `paths` in it to follow your own files"
                    .to_owned(),
            );
        }
        if next.is_empty() {
            return Ok(());
        }
        writeln!(text, "Next:")?;
        next.iter().try_for_each(|line| writeln!(text, "  {line}"))
    }
}

/// A word as a shell takes it.
pub(super) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "_-./:=@%+,~".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A text as a shell takes it, in double quotes.
fn in_double_quotes(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\' | '$' | '`') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(dir: &str, generated: bool, rows: u64, dead: u64) -> String {
        let summary = Summary {
            name: "p",
            dir: Path::new(dir),
            table: Table::Local {
                parquet: PathBuf::new(),
                prefix: "p/".to_owned(),
            },
            counters: &Counters::default(),
            totals: Totals {
                rows,
                dead,
                files: 1,
            },
            plan: None,
            elapsed: Duration::ZERO,
            interrupted: false,
            generated,
        };
        let mut text = String::new();
        summary.next(&mut text).unwrap();
        text
    }

    #[test]
    fn only_what_can_be_done_comes_next() {
        assert_eq!(next("data/p", false, 0, 0), "");
        let all = next("data/p", true, 1, 1);
        for text in [
            " verify data/p\n",
            "duckdb -c \"SELECT level, count(*) FROM 'data/p/parquet/p/dt=*/**/*.parquet' GROUP BY ALL\"",
            " head data/p --dead ",
            "cp examples/files.yaml",
        ] {
            assert!(all.contains(text), "{text:?} is not in:\n{all}");
        }
        let dead = next("data/p", false, 0, 1);
        assert!(
            dead.contains(" verify ") && dead.contains(" --dead"),
            "{dead}"
        );
        assert!(
            !dead.contains("duckdb") && !dead.contains("examples"),
            "{dead}"
        );
        assert!(!next("data/p", false, 1, 0).contains("--dead"));
    }

    #[test]
    fn a_path_is_one_word_to_a_shell() {
        let text = next("my data/it's", false, 1, 0);
        assert!(text.contains(r" verify 'my data/it'\''s'"), "{text}");
        assert!(text.contains("FROM 'my data/it''s/parquet/"), "{text}");
        assert!(next("a$b", false, 1, 0).contains(r"FROM 'a\$b/parquet/"));
    }
}
