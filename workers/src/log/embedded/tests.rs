use std::error::Error as _;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::log::NewRecord;
use crate::log::contract::{self, PARTITIONS, read, read_partition, records, write};

mod crash;

fn open(dir: &Path) -> EmbeddedLog {
    EmbeddedLog::open(dir, "app", PARTITIONS).unwrap()
}

/// The message of a refused opening and of its cause.
fn refused(dir: &Path, topic: &str, partitions: u32) -> String {
    let error = EmbeddedLog::open(dir, topic, partitions).unwrap_err();
    format!("{error}: {}", error.source().unwrap())
}

/// `count` records of 60 KB that cannot be compressed.
fn noise(count: usize) -> Vec<NewRecord> {
    let mut noise = 1_u64;
    let mut records = records(count);
    for record in &mut records {
        let bytes = std::iter::repeat_with(|| {
            noise = noise
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (noise >> 40) as u8
        });
        record.value = bytes.take(60_000).collect::<Vec<u8>>().into();
    }
    records
}

/// Waits until a partition starts at `start`.
fn wait_for_start(log: &EmbeddedLog, partition: u32, start: Offset) {
    let mut source = log.source().unwrap();
    while source.bounds(partition).unwrap().start != start {
        source.poll(Duration::from_millis(10), &mut |_| {}).unwrap();
    }
}

#[test]
fn it_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    let count = std::cell::Cell::new(0);
    contract::all(&|| {
        count.set(count.get() + 1);
        Arc::new(open(&dir.path().join(count.get().to_string())))
    });
}

#[test]
fn reopening_keeps_everything() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let identity = log.identity();
    write(&log, 1, &records(100));
    let written = read_partition(&log, 1);
    drop(log);
    let log = open(dir.path());
    assert_eq!(log.identity(), identity);
    assert_eq!(read_partition(&log, 1), written);
    write(&log, 1, &records(1));
    assert_eq!(read_partition(&log, 1).last().unwrap().offset, 100);
}

#[test]
fn the_last_handle_writes_what_was_queued() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let mut sink = log.sink(0).unwrap();
    for record in records(500) {
        sink.send(record).unwrap();
    }
    drop(log);
    assert!(refused(dir.path(), "app", PARTITIONS).contains("another process"));
    drop(sink);
    assert_eq!(read_partition(&open(dir.path()), 0).len(), 500);
}

#[test]
fn a_log_in_use_cannot_be_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let text = refused(dir.path(), "app", PARTITIONS);
    assert!(
        text.contains("another process is using it: stop that one"),
        "{text}"
    );
    drop(log);
    open(dir.path());
}

#[test]
fn another_topic_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let text = refused(dir.path(), "other", PARTITIONS);
    assert!(text.contains("it holds the topic app, not other"), "{text}");
}

#[test]
fn a_topic_grows_but_does_not_shrink() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let identity = log.identity();
    write(&log, 1, &records(3));
    drop(log);
    let log = EmbeddedLog::open(dir.path(), "app", 5).unwrap();
    assert_eq!(log.identity().topic_id, identity.topic_id);
    assert_eq!(log.identity().partitions, 5);
    write(&log, 4, &records(2));
    assert_eq!(read_partition(&log, 4).len(), 2);
    assert_eq!(read_partition(&log, 1).len(), 3);
    drop(log);
    let text = refused(dir.path(), "app", 4);
    assert!(text.contains("it has 5 partitions"), "{text}");
    assert!(text.contains("ask for 5 or more"), "{text}");
    assert_eq!(
        EmbeddedLog::open(dir.path(), "app", 5)
            .unwrap()
            .identity()
            .partitions,
        5
    );
}

#[test]
fn a_newer_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let file = redb::Database::open(dir.path().join("log.redb")).unwrap();
    let transaction = file.begin_write().unwrap();
    let about = redb::TableDefinition::<&str, &str>::new("about");
    transaction
        .open_table(about)
        .unwrap()
        .insert("format", "2")
        .unwrap();
    transaction.commit().unwrap();
    drop(file);
    let text = refused(dir.path(), "app", PARTITIONS);
    assert!(text.contains("its format version is 2"), "{text}");
    assert!(text.contains("run the newer release"), "{text}");
}

#[test]
fn a_file_that_is_none_of_ours_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log.redb");
    std::fs::write(&path, "letters to the editor").unwrap();
    assert!(refused(dir.path(), "app", 1).contains("failed to open it"));
    assert_eq!(std::fs::read(&path).unwrap(), b"letters to the editor");
}

#[test]
fn a_crash_while_it_was_made_does_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("log.redb.new"), [0; 5000]).unwrap();
    write(&open(dir.path()), 0, &records(3));
}

#[test]
fn what_is_trimmed_is_gone_and_stays_gone() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    write(&log, 0, &records(10));
    write(&log, 1, &records(10));
    log.trim(0, 4).unwrap();
    log.trim(0, 2).unwrap();
    wait_for_start(&log, 0, 4);
    let kept = read_partition(&log, 0);
    assert_eq!((kept[0].offset, kept.len()), (4, 6));
    assert_eq!(read_partition(&log, 1).len(), 10);
    let mut source = log.source().unwrap();
    source.assign(0, 3).unwrap();
    let error = source.poll(Duration::ZERO, &mut |_| {}).unwrap_err();
    assert!(matches!(
        error,
        LogError::OutOfRange {
            offset: 3,
            start: 4,
            end: 10,
            ..
        }
    ));
    drop((log, source));
    let log = open(dir.path());
    assert_eq!(read_partition(&log, 0), kept);
}

#[test]
fn offsets_go_on_behind_a_log_that_was_trimmed_whole() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    write(&log, 0, &records(10));
    // There is nothing above the end to remove.
    log.trim(0, 1000).unwrap();
    wait_for_start(&log, 0, 10);
    drop(log);
    let log = open(dir.path());
    assert_eq!(log.source().unwrap().bounds(0).unwrap(), 10..10);
    write(&log, 0, &records(1));
    assert_eq!(read_partition(&log, 0)[0].offset, 10);
}

#[test]
fn a_long_log_is_trimmed_in_steps() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    write(&log, 0, &records(5000));
    log.trim(0, 4999).unwrap();
    wait_for_start(&log, 0, 4999);
    assert_eq!(read_partition(&log, 0).len(), 1);
}

#[test]
fn the_space_of_what_is_trimmed_is_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let block = noise(10);
    for round in 1..=25 {
        write(&log, 0, &block);
        log.trim(0, round * 10).unwrap();
        wait_for_start(&log, 0, round * 10);
    }
    // 15 MB went through.
    let size = log.size_on_disk().unwrap();
    assert!(size < 6 << 20, "{size} bytes");
    assert!(size > 60_000, "{size} bytes");
}

#[test]
fn while_sinks_are_paused_a_send_waits() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    log.pause_sinks(true);
    let mut sink = log.sink(0).unwrap();
    let (sent, hear) = std::sync::mpsc::channel();
    let sender = std::thread::spawn(move || {
        sink.send(records(1).remove(0)).unwrap();
        sink.flush().unwrap();
        sent.send(()).unwrap();
    });
    assert!(hear.recv_timeout(Duration::from_millis(50)).is_err());
    log.pause_sinks(false);
    hear.recv().unwrap();
    sender.join().unwrap();
}

#[test]
fn a_source_may_write_to_its_log() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    write(&log, 0, &records(5));
    let mut source = log.source().unwrap();
    source.assign(0, 0).unwrap();
    source
        .poll(Duration::ZERO, &mut |_| write(&log, 1, &records(1)))
        .unwrap();
    assert_eq!(read_partition(&log, 1).len(), 5);
}

#[test]
fn a_record_that_is_too_large_fails_its_sink_alone() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let mut sink = log.sink(0).unwrap();
    let mut large = records(1).remove(0);
    large.value = Bytes::from(vec![0; (16 << 20) + 1]);
    let error = sink.send(large).unwrap_err();
    assert!(
        error.source().unwrap().to_string().contains("16777216"),
        "{error:?}"
    );
    assert!(sink.send(records(1).remove(0)).is_err());
    assert!(sink.flush().is_err());
    assert!(sink.acknowledged().is_err());
    write(&log, 0, &records(1));
}

#[test]
fn a_damaged_record_is_an_error_and_not_a_record() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let written = noise(3);
    write(&log, 0, &written);
    drop(log);
    let path = dir.path().join("log.redb");
    let mut bytes = std::fs::read(&path).unwrap();
    let needle = &written[1].value[30_000..30_016];
    // An older copy may stand in a page that is free again.
    while let Some(at) = bytes.windows(16).position(|window| window == needle) {
        bytes[at] ^= 1;
    }
    std::fs::write(&path, bytes).unwrap();

    let log = open(dir.path());
    let mut source = log.source().unwrap();
    source.assign(0, 0).unwrap();
    assert_eq!(read(&mut *source, 1).len(), 1);
    let error = source.poll(Duration::ZERO, &mut |_| {}).unwrap_err();
    let cause = error.source().unwrap().to_string();
    assert!(
        cause.contains("offset 1 of partition 0 is damaged"),
        "{cause}"
    );
}
