//! A producer, driven step by step on real files against a log in memory.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;

use tempfile::TempDir;

use self::fake_log::FakeLog;
use super::coordinator::Coordinator;
use super::lane::Step;
use super::*;
use crate::etl::receive::{Producers, Verdict};
use crate::log::key::{BlockKey, Chunk};

mod compressed;
mod fake_log;
mod files;
mod folders;
mod random;
mod recovery;
mod rotation;
mod stopping;
mod warnings;

/// One producer's world: a folder of files, a state folder and a log. It outlives restarts.
struct World {
    folder: TempDir,
    log: FakeLog,
    options: ProducerOptions,
    counters: Counters,
    turns: Turns,
    boot_id: String,
    tuning: Tuning,
}

impl World {
    fn new(partitions: u32, paths: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let paths = paths.iter().map(|path| {
            let path = folder.path().join(path);
            path.to_str().unwrap().to_owned()
        });
        let options = ProducerOptions {
            name: "test".to_owned(),
            paths: paths.collect(),
            start_at: StartAt::Beginning,
            framing: Framing::Block,
            linger: Duration::ZERO,
            save_every: Duration::ZERO,
            state_dir: folder.path().join("state"),
            delete_finished: false,
        };
        Self {
            log: FakeLog::new(partitions),
            options,
            counters: Counters::default(),
            turns: Turns::default(),
            boot_id: "first".to_owned(),
            tuning: Tuning {
                grace: Duration::ZERO,
                look_every: Duration::ZERO,
                catch_up_every: Duration::from_hours(1),
            },
            folder,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn append(&self, name: &str, text: impl AsRef<[u8]>) {
        append(&self.path(name), text.as_ref());
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    fn state(&self, lane: u32) -> PathBuf {
        self.path("state").join(format!("test-{lane}.state"))
    }

    /// Runs a new producer until everything is read.
    fn finish(&self) {
        let control = Control::new();
        Running::start(self, &control).unwrap().finish();
    }

    fn try_finish(&self) -> Result<(), ProduceError> {
        let control = Control::new();
        Running::start(self, &control)?.try_finish()
    }

    /// What stands in the records of the first partition from this one on, whether it counts or not.
    fn text_from(&self, record: usize) -> String {
        let records = self.log.records(0);
        let bytes = records[record..]
            .iter()
            .flat_map(|record| &record.value[..]);
        String::from_utf8(bytes.copied().collect()).unwrap()
    }

    /// The lines that count, by the receiver's rule, in the order of each partition.
    fn lines(&self) -> Vec<String> {
        let pieces = self.pieces();
        let text = |piece: Piece| String::from_utf8(piece.line).unwrap();
        pieces.into_iter().map(text).collect()
    }

    fn sorted_lines(&self) -> Vec<String> {
        let mut lines = self.lines();
        lines.sort();
        lines
    }

    fn pieces(&self) -> Vec<Piece> {
        let mut pieces = Vec::new();
        for partition in 0..self.log.partitions() {
            let mut producers = Producers::new();
            for record in self.log.records(partition) {
                let key = BlockKey::decode(&record.key).unwrap();
                let progress = producers.entry(key.producer.to_owned()).or_default();
                let verdict = progress.receive(key.generation, key.first, key.lines);
                let Verdict::Take(skip) = verdict else {
                    continue;
                };
                let lines: Vec<_> = if key.chunk == Chunk::Whole {
                    crate::tail::split::lines(&record.value).collect()
                } else {
                    std::iter::once(0..record.value.len()).collect()
                };
                assert_eq!(lines.len(), key.lines as usize);
                pieces.extend(lines[skip as usize..].iter().map(|line| Piece {
                    file_id: key.file_id,
                    offset: key.file_offset + line.start as u64,
                    chunk: key.chunk,
                    line: record.value[line.clone()].to_vec(),
                }));
            }
        }
        pieces
    }
}

/// A line, or a chunk of one, that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Piece {
    file_id: u64,
    offset: u64,
    chunk: Chunk,
    line: Vec<u8>,
}

/// Runs a test as a user whom permissions bind: root reads everything. In a thread of its own, whose user is not
/// that of the process, and without another process, which would hold the locks of tests beside it for a moment.
fn as_nobody(test: impl FnOnce() + Send) {
    let as_nobody = || {
        #[cfg(target_os = "linux")]
        if nix::unistd::geteuid().is_root() {
            nix::unistd::setfsuid(nix::unistd::Uid::from_raw(65534));
        }
        test();
    };
    let outcome = std::thread::scope(|scope| scope.spawn(as_nobody).join());
    outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

fn append(path: &Path, text: &[u8]) {
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .unwrap();
    file.write_all(text).unwrap();
}

/// A producer at work. Dropping it is a crash: nothing is flushed or saved.
struct Running<'a> {
    control: &'a Control,
    coordinator: Coordinator<'a>,
    lanes: Vec<Option<Lane<'a>>>,
}

impl<'a> Running<'a> {
    fn start(world: &'a World, control: &'a Control) -> Result<Self, ProduceError> {
        let tuning = world.tuning;
        let shared = Shared {
            options: &world.options,
            tuning,
            boot_id: Some(&world.boot_id),
            log: &world.log,
            control,
            counters: &world.counters,
            turns: &world.turns,
        };
        let (note, notes) = channel();
        let mut orders = Vec::new();
        let mut lanes = Vec::new();
        for index in 0..world.log.partitions() {
            let (order, received) = channel();
            orders.push(order);
            let lane = Lane::start(shared, index, received, note.clone())?;
            lanes.push(Some(lane.expect("nobody says to stop")));
        }
        let (options, counters) = (&world.options, &world.counters);
        Ok(Self {
            control,
            coordinator: Coordinator::new(
                options,
                tuning,
                control,
                counters,
                orders,
                notes,
                world.log.identity().topic_id,
            ),
            lanes,
        })
    }

    fn step_lane(&mut self, index: usize) -> Result<(), ProduceError> {
        let Some(lane) = &mut self.lanes[index] else {
            return Ok(());
        };
        match lane.step_or_recover() {
            Ok(Step::Ended) => self.lanes[index] = None,
            Ok(Step::Busy | Step::Idle(_)) => {}
            Err(error) if error.may_pass() => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// One step of everybody.
    fn try_round(&mut self) -> Result<(), ProduceError> {
        self.coordinator.step()?;
        (0..self.lanes.len()).try_for_each(|lane| self.step_lane(lane))
    }

    /// Until the files that are there are surely found and read.
    fn settle(&mut self) {
        (0..6).for_each(|_| self.try_round().unwrap());
    }

    fn try_finish(mut self) -> Result<(), ProduceError> {
        self.control.finish_at_end();
        for _ in 0..1000 {
            self.try_round()?;
            if self.lanes.iter().all(Option::is_none) {
                return Ok(());
            }
        }
        panic!("the producer does not come to an end");
    }

    fn finish(self) {
        self.try_finish().unwrap();
    }
}

fn numbered(range: std::ops::Range<u32>) -> String {
    let lines: Vec<String> = range.map(|n| format!("line {n:06}\n")).collect();
    lines.concat()
}
