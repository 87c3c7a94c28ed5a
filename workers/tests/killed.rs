//! The embedded log in a process that is killed. Alone in its program: a child that is being started has the locks
//! of its parent for a moment, and other tests would find their own files in use.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use logpipe_workers::log::Log as _;
use logpipe_workers::log::contract::{PARTITIONS, read_partition, records};
use logpipe_workers::log::embedded::EmbeddedLog;

fn open(dir: &Path) -> EmbeddedLog {
    EmbeddedLog::open(dir, "app", PARTITIONS).unwrap()
}

const KILLED: &str = "LOGPIPE_TEST_KILLED_WRITER";

/// In the process that is to be killed: writes, and says what is acknowledged.
fn write_until_killed(dir: PathBuf) -> ! {
    let log = open(&dir);
    drop(dir);
    let begin = log.source().unwrap().bounds(0).unwrap().end;
    let mut sink = log.sink(0).unwrap();
    for offset in begin.. {
        let mut record = records(1).remove(0);
        record.value = format!("{offset}\n").repeat(3000).into();
        sink.send(record).unwrap();
        println!("acknowledged {}", begin + sink.acknowledged().unwrap());
    }
    unreachable!("nobody writes 2^64 records")
}

#[test]
fn a_killed_process_keeps_what_it_acknowledged() {
    if let Some(dir) = std::env::var_os(KILLED) {
        write_until_killed(dir.into());
    }
    let dir = tempfile::tempdir().unwrap();
    let mut durable = 0;
    for round in 1..=4 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--nocapture", "--exact"])
            .arg("a_killed_process_keeps_what_it_acknowledged")
            .env(KILLED, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let goal = durable + 50 * round;
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            let Some(count) = line.strip_prefix("acknowledged ") else {
                continue;
            };
            durable = count.parse().unwrap();
            if durable >= goal {
                break;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(durable >= goal, "the child ended at {durable}");
        let log = open(dir.path());
        let found = read_partition(&log, 0);
        assert!(
            found.len() as u64 >= durable,
            "{durable} acknowledged, {} found",
            found.len()
        );
        for (offset, record) in found.iter().enumerate() {
            assert_eq!(
                record.value,
                format!("{offset}\n").repeat(3000).into_bytes()
            );
        }
    }
}
