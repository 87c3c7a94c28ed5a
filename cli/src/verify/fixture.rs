//! A small data folder as a run leaves it, for the tests of every command that reads one: two partitions, three
//! batches each, the second with two folders, and two quarantined lines. Tests change it before it is written.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arrow::array::{
    ArrayRef, BinaryArray, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use logpipe_api::pipeline::GeneratorFormat;
use logpipe_workers::checkpoint::Checkpoint;
use logpipe_workers::checkpoint::file;
use logpipe_workers::counters::Counters;
use logpipe_workers::etl::name::ObjectName;
use logpipe_workers::etl::receive::Progress;
use logpipe_workers::generate::{GeneratorOptions, Rolled, run};
use logpipe_workers::log::Identity;
use parquet::arrow::ArrowWriter;

use crate::place::Place;

/// 2026-01-31 07:00:00 UTC in microseconds.
const BEGIN: i64 = 1_769_842_800_000_000;
const LINES: u64 = 60;

pub(crate) struct Tree {
    dir: tempfile::TempDir,
    pub(crate) files: Vec<TreeFile>,
    pub(crate) checkpoints: Vec<Checkpoint>,
}

#[derive(Clone)]
pub(crate) struct TreeFile {
    pub(crate) name: ObjectName,
    pub(crate) dead: bool,
    pub(crate) rows: Vec<TreeRow>,
    /// So many bytes are cut off its end.
    pub(crate) torn: usize,
}

#[derive(Clone)]
pub(crate) struct TreeRow {
    pub(crate) message: String,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) line: i32,
    pub(crate) producer: String,
    pub(crate) sequence: i64,
}

impl Tree {
    /// A folder that keeps the promise.
    pub(crate) fn good() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let messages = messages(&dir.path().join("source"));
        let identity = Identity {
            cluster: "embedded".to_owned(),
            topic: "demo".to_owned(),
            topic_id: "made-today".to_owned(),
            partitions: 2,
        };
        let mut tree = Self {
            dir,
            files: Vec::new(),
            checkpoints: Vec::new(),
        };
        for partition in 0..2 {
            tree.partition(&identity, partition, &messages);
        }
        tree
    }

    /// Every second line, three to a record; the log has no record at offset 5.
    fn partition(&mut self, identity: &Identity, partition: u32, messages: &[String]) {
        let lane = messages.iter().skip(partition as usize).step_by(2);
        let rows: Vec<TreeRow> = lane
            .enumerate()
            .map(|(sequence, message)| TreeRow {
                message: message.clone(),
                partition: partition as i32,
                offset: (sequence / 3 + usize::from(sequence / 3 >= 5)) as i64,
                line: (sequence % 3) as i32,
                producer: format!("demo-{partition}"),
                sequence: sequence as i64,
            })
            .collect();
        let mut checkpoint = Checkpoint::new(identity, partition, 0, "test");
        for (start, end) in [(0, 4), (4, 8), (8, 11)] {
            let within = |row: &&TreeRow| (start..end).contains(&row.offset);
            let rows: Vec<TreeRow> = rows.iter().filter(within).cloned().collect();
            for (dir, dead, rows) in folders(partition, start, rows) {
                let name = ObjectName {
                    dir,
                    topic: identity.topic.clone(),
                    topic_id8: identity.topic_id8(),
                    partition,
                    start: start as u64,
                    end: end as u64,
                    plan8: "9f3c0a1b".to_owned(),
                };
                checkpoint.totals.files += 1;
                let total = if dead {
                    &mut checkpoint.totals.dead
                } else {
                    &mut checkpoint.totals.rows
                };
                *total += rows.len() as u64;
                self.files.push(TreeFile {
                    name,
                    dead,
                    rows,
                    torn: 0,
                });
            }
        }
        checkpoint.next = 11;
        let next = rows.len() as u64;
        let progress = Progress {
            generation: 1,
            next,
            ..Progress::default()
        };
        checkpoint
            .producers
            .insert(format!("demo-{partition}"), progress);
        self.checkpoints.push(checkpoint);
    }

    /// The file of `partition` that begins at `start`, in the folder `hour=07`, say, or `_dead`.
    pub(crate) fn file(&mut self, partition: u32, start: u64, dir: &str) -> &mut TreeFile {
        let at = self.position(partition, start, dir);
        &mut self.files[at]
    }

    pub(crate) fn remove(&mut self, partition: u32, start: u64, dir: &str) {
        let at = self.position(partition, start, dir);
        self.files.remove(at);
    }

    fn position(&self, partition: u32, start: u64, dir: &str) -> usize {
        let wanted = |file: &TreeFile| {
            let (name, hour) = (&file.name, format!("dt=2026-01-31/{dir}"));
            let here = name.dir == hour || (file.dead && name.dir.starts_with(dir));
            name.partition == partition && name.start == start && here
        };
        self.files.iter().position(wanted).unwrap()
    }

    /// Where it is written to.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Writes everything and opens it.
    pub(crate) fn place(&self) -> Place {
        drop(fs::remove_dir_all(self.dir.path().join("parquet")));
        for file in &self.files {
            file.write(&self.dir.path().join("parquet/demo"));
        }
        let dir = self.dir.path().join("checkpoints");
        fs::create_dir_all(&dir).unwrap();
        for checkpoint in &self.checkpoints {
            let name = format!("p{:05}.checkpoint", checkpoint.partition);
            fs::write(dir.join(name), file::encode(&checkpoint.encode())).unwrap();
        }
        Place::open(self.dir.path().to_str().unwrap()).unwrap()
    }
}

/// The messages of a generator, in order.
fn messages(dir: &Path) -> Vec<String> {
    let options = GeneratorOptions {
        producer: "demo".to_owned(),
        dir: dir.to_owned(),
        events_per_second: 0,
        max_events: LINES,
        format: GeneratorFormat::Text,
        seed: 1,
        malformed_percent: 0,
        roll_bytes: 1 << 30,
        rolled: Rolled::DeleteOldest { keep: 1 },
    };
    run(&options, &AtomicBool::new(false), &Counters::default()).unwrap();
    let text = fs::read_to_string(dir.join("app.log")).unwrap();
    text.lines()
        .map(|line| line.splitn(4, ' ').nth(3).unwrap().to_owned())
        .collect()
}

/// Into which folders the rows of a batch go.
fn folders(
    partition: u32,
    start: i64,
    mut rows: Vec<TreeRow>,
) -> Vec<(String, bool, Vec<TreeRow>)> {
    let hour = |hour: u32| format!("dt=2026-01-31/hour={hour:02}");
    match start {
        0 => vec![(hour(7), false, rows)],
        4 => {
            let late = rows.split_off(rows.len() / 2);
            vec![(hour(7), false, rows), (hour(8), false, late)]
        }
        _ if partition == 0 => {
            let rest = rows.split_off(2);
            vec![
                (format!("_dead/{}", hour(8)), true, rows),
                (hour(8), false, rest),
            ]
        }
        _ => vec![(hour(8), false, rows)],
    }
}

impl TreeFile {
    fn write(&self, root: &Path) {
        let path: PathBuf = root.join(self.name.to_string());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let batch = RecordBatch::try_from_iter_with_nullable(self.columns()).unwrap();
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        bytes.truncate(bytes.len() - self.torn);
        fs::write(path, bytes).unwrap();
    }

    fn columns(&self) -> Vec<(&'static str, ArrayRef, bool)> {
        let mut columns = if self.dead {
            self.quarantined()
        } else {
            self.parsed()
        };
        let rows = &self.rows;
        let longs = |of: fn(&TreeRow) -> i64| -> ArrayRef {
            Arc::new(Int64Array::from_iter_values(rows.iter().map(of)))
        };
        let integers = |of: fn(&TreeRow) -> i32| -> ArrayRef {
            Arc::new(Int32Array::from_iter_values(rows.iter().map(of)))
        };
        columns.push(("_partition", integers(|row| row.partition), false));
        columns.push(("_offset", longs(|row| row.offset), false));
        columns.push(("_line", integers(|row| row.line), false));
        columns.push((
            "_producer",
            text(rows.iter().map(|row| row.producer.as_str())),
            true,
        ));
        columns.push(("_seq", longs(|row| row.sequence), true));
        columns.push(("_file", text(rows.iter().map(|_| "/var/log/app.log")), true));
        columns.push(("_file_offset", longs(|row| row.sequence * 115), true));
        columns.push(("_ingested_at", times(rows.iter().map(|_| BEGIN)), false));
        columns
    }

    fn parsed(&self) -> Vec<(&'static str, ArrayRef, bool)> {
        let rows = &self.rows;
        let seconds = rows.iter().map(|row| BEGIN + row.sequence * 1_000_000);
        vec![
            ("timestamp", times(seconds), false),
            ("level", text(rows.iter().map(|_| "INFO")), true),
            (
                "message",
                text(rows.iter().map(|row| row.message.as_str())),
                true,
            ),
        ]
    }

    fn quarantined(&self) -> Vec<(&'static str, ArrayRef, bool)> {
        let rows = &self.rows;
        let raw = rows.iter().map(|row| row.message.as_bytes());
        vec![
            ("raw", Arc::new(BinaryArray::from_iter_values(raw)), false),
            ("error", text(rows.iter().map(|_| "Malformed")), false),
            (
                "detail",
                text(rows.iter().map(|_| "no timestamp (byte 0)")),
                false,
            ),
            ("parser", text(rows.iter().map(|_| "Text")), false),
        ]
    }
}

fn text<'a>(values: impl Iterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn times(values: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter_values(values).with_timezone("UTC"))
}
