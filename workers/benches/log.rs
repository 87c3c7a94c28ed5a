//! How fast the embedded log writes and reads, alone and both at once with its space used again, and how
//! long it takes to open after a crash. Prints megabytes (10⁶) and lines a second; a line has about 115
//! bytes.
//!
//! `cargo bench -p logpipe-workers --bench log -- [MILLIONS OF LINES] [FOLDER]` (4, the temporary folder)

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use logpipe_workers::log::embedded::EmbeddedLog;
use logpipe_workers::log::{Log, LogError, NewRecord};

const PARTITIONS: u32 = 2;
const BLOCK_BYTES: usize = 60_000;

/// Blocks of lines like a web server's. The values vary as they do in life, so that they compress as
/// they do in life.
struct Blocks {
    random: u64,
    line: u64,
}

impl Blocks {
    fn next(&mut self) -> (Bytes, u64) {
        let mut block = String::with_capacity(BLOCK_BYTES + 200);
        let mut lines = 0;
        while block.len() < BLOCK_BYTES {
            self.push_line(&mut block);
            lines += 1;
        }
        (Bytes::from(block), lines)
    }

    fn push_line(&mut self, block: &mut String) {
        use std::fmt::Write as _;
        const LEVELS: [&str; 5] = ["INFO ", "INFO ", "INFO ", "WARN ", "DEBUG"];
        const PATHS: [&str; 4] = ["orders", "customers", "articles", "sessions"];
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let random = self.random >> 33;
        let second = self.line / 20_000;
        writeln!(
            block,
            "2026-10-26 07:{:02}:{:02},{:03} {} [exec-{}] c.a.http.AccessFilter - GET /api/v1/{}/{} status={} bytes={} took={}ms",
            second / 60 % 60,
            second % 60,
            self.line / 20 % 1000,
            LEVELS[random as usize % 5],
            random % 97,
            PATHS[random as usize / 7 % 4],
            random % 1_000_003,
            [200, 200, 200, 404][random as usize / 11 % 4],
            random % 50_021,
            random % 331,
        )
        .expect("a string takes what it is given");
        self.line += 1;
    }
}

/// Writes `lines` lines through one sink for each partition, each on its own thread.
fn write(log: &EmbeddedLog, lines: u64) -> Result<u64, LogError> {
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..PARTITIONS)
            .map(|partition| {
                scope.spawn(move || write_partition(log, partition, lines / u64::from(PARTITIONS)))
            })
            .collect();
        let mut bytes = 0;
        for writer in writers {
            bytes += writer.join().expect("a writer does not panic")?;
        }
        Ok(bytes)
    })
}

fn write_partition(log: &EmbeddedLog, partition: u32, lines: u64) -> Result<u64, LogError> {
    let mut sink = log.sink(partition)?;
    let mut blocks = Blocks {
        random: u64::from(partition),
        line: 0,
    };
    // Made beforehand and used in turn: making lines is not what is measured.
    let blocks: Vec<_> = (0..200).map(|_| blocks.next()).collect();
    let (mut bytes, mut sent) = (0, 0);
    for (value, count) in blocks.iter().cycle() {
        if sent >= lines {
            break;
        }
        bytes += value.len() as u64;
        sent += count;
        sink.send(NewRecord {
            timestamp: sent as i64,
            key: Bytes::from_static(&[7; 60]),
            value: value.clone(),
        })?;
    }
    sink.flush()?;
    Ok(bytes)
}

/// Reads until `done` and nothing more comes; removes what was read if `trim`.
fn read(log: &EmbeddedLog, done: &AtomicBool, trim: bool) -> Result<u64, LogError> {
    let mut source = log.source()?;
    for partition in 0..PARTITIONS {
        let start = source.bounds(partition)?.start;
        source.assign(partition, start)?;
    }
    let mut bytes = 0;
    let mut next = [0; PARTITIONS as usize];
    loop {
        let finished = done.load(Ordering::Acquire);
        let count = source.poll(Duration::from_millis(20), &mut |record| {
            bytes += record.value.len() as u64;
            next[record.partition as usize] = record.offset + 1;
        })?;
        if count == 0 && finished {
            return Ok(bytes);
        }
        if trim {
            for partition in 0..PARTITIONS {
                log.trim(partition, next[partition as usize])?;
            }
        }
    }
}

fn print(what: &str, bytes: u64, took: Duration) {
    let rate = bytes as f64 / took.as_secs_f64() / 1e6;
    let lines = rate / 115.0;
    println!("{what:<28} {rate:7.0} MB/s  {lines:5.2} M lines/s  in {took:.1?}");
}

fn print_size(log: &EmbeddedLog, bytes: u64) -> Result<(), LogError> {
    let size = log.size_on_disk()?;
    println!(
        "  {} MB on the disk for {} MB of lines",
        size / 1_000_000,
        bytes / 1_000_000
    );
    Ok(())
}

fn run(dir: &Path, lines: u64) -> Result<(), Box<dyn std::error::Error>> {
    let log = EmbeddedLog::open(&dir.join("one"), "bench", PARTITIONS)?;
    let begun = Instant::now();
    let bytes = write(&log, lines)?;
    print("write", bytes, begun.elapsed());
    print_size(&log, bytes)?;

    let begun = Instant::now();
    let bytes = read(&log, &AtomicBool::new(true), false)?;
    print("read", bytes, begun.elapsed());

    // A copy of an open file is what a killed process leaves.
    std::fs::create_dir_all(dir.join("crashed"))?;
    let copy = dir.join("crashed/log.redb");
    std::fs::copy(dir.join("one/log.redb"), &copy)?;
    // Otherwise the first commit would pay for writing the copy.
    std::fs::OpenOptions::new()
        .write(true)
        .open(&copy)?
        .sync_all()?;
    drop(log);
    let begun = Instant::now();
    drop(EmbeddedLog::open(
        &dir.join("crashed"),
        "bench",
        PARTITIONS,
    )?);
    println!("{:<28} {:.1?}", "open after a crash", begun.elapsed());

    let log = EmbeddedLog::open(&dir.join("both"), "bench", PARTITIONS)?;
    let done = Arc::new(AtomicBool::new(false));
    let begun = Instant::now();
    let bytes = std::thread::scope(|scope| {
        let reader = scope.spawn(|| read(&log, &done, true));
        let bytes = write(&log, lines);
        done.store(true, Ordering::Release);
        reader.join().expect("the reader does not panic")?;
        bytes
    })?;
    print("write, read and trim", bytes, begun.elapsed());
    print_size(&log, bytes)?;

    let begun = Instant::now();
    let mut sink = log.sink(0)?;
    for _ in 0..50 {
        sink.send(NewRecord {
            timestamp: 0,
            key: Bytes::new(),
            value: Bytes::from_static(b"one line\n"),
        })?;
        sink.flush()?;
    }
    println!("{:<28} {:.1?}", "one durable line", begun.elapsed() / 50);
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench");
    let millions: u64 = match arguments.next() {
        Some(text) => text.parse()?,
        None => 4,
    };
    let parent = arguments.next().map_or_else(std::env::temp_dir, Into::into);
    let dir = parent.join(format!("logpipe-bench-{}", std::process::id()));
    let outcome = run(&dir, millions * 1_000_000);
    std::fs::remove_dir_all(&dir)?;
    outcome
}
