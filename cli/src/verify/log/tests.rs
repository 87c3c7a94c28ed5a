//! A folder and the log it came from: what one has and the other has not must be found.

use indicatif::ProgressBar;
use logpipe_workers::log::key::Chunk;
use logpipe_workers::log::memory::MemoryLog;
use logpipe_workers::log::{Log, NewRecord};

use super::super::audit::{Options, audit};
use super::super::fixture::{Tree, TreeRow};
use super::super::report::Report;
use super::*;

const FENCE_AT: u64 = 5;

/// The log that a good tree was made of; where no record is, it has a fence.
fn log_of(tree: &Tree) -> MemoryLog {
    let log = MemoryLog::new("demo", 2);
    for partition in 0..2 {
        for offset in 0..11 {
            let rows = rows_at(tree, partition, offset);
            append(&log, partition, 1, &rows);
        }
        // Behind the committed offset, so nobody has to find it.
        append(&log, partition, 1, &[]);
    }
    log
}

fn rows_at(tree: &Tree, partition: u32, offset: u64) -> Vec<TreeRow> {
    let files = tree
        .files
        .iter()
        .filter(|file| file.name.partition == partition);
    let rows = files.flat_map(|file| &file.rows);
    let mut rows: Vec<TreeRow> = rows
        .filter(|row| row.offset as u64 == offset)
        .cloned()
        .collect();
    rows.sort_by_key(|row| row.line);
    rows
}

fn append(log: &MemoryLog, partition: u32, generation: u32, rows: &[TreeRow]) {
    let producer = format!("demo-{partition}");
    let first = rows.first().map_or(0, |row| row.sequence as u64);
    append_block(
        log,
        partition,
        &producer,
        generation,
        first,
        &messages(rows),
    );
}

fn messages(rows: &[TreeRow]) -> Vec<&str> {
    rows.iter().map(|row| row.message.as_str()).collect()
}

fn append_block(
    log: &MemoryLog,
    partition: u32,
    producer: &str,
    generation: u32,
    first: u64,
    lines: &[&str],
) {
    let mut key = Vec::new();
    BlockKey {
        producer,
        generation,
        first,
        lines: lines.len() as u32,
        file_id: 1,
        file_offset: 0,
        path: "app.log",
        chunk: Chunk::Whole,
    }
    .encode(&mut key);
    let mut value = lines.join("\n");
    value.push_str(if lines.is_empty() { "" } else { "\n" });
    append_raw(log, partition, key, value);
}

fn append_raw(log: &MemoryLog, partition: u32, key: Vec<u8>, value: String) {
    let record = NewRecord {
        timestamp: 0,
        key: key.into(),
        value: value.into(),
    };
    log.append(partition, record);
}

/// The log under the name and ids that the tree's checkpoints have.
fn identity() -> Identity {
    Identity {
        cluster: "embedded".to_owned(),
        topic: "demo".to_owned(),
        topic_id: "made-today".to_owned(),
        partitions: 2,
    }
}

fn audit_against(tree: &Tree, log: &MemoryLog, identity: &Identity) -> anyhow::Result<Report> {
    let mut source = log.source().unwrap();
    let witness = Witness {
        source: source.as_mut(),
        identity,
    };
    let hidden = ProgressBar::hidden();
    audit(&tree.place(), Options::default(), Some(witness), &hidden)
}

fn check(tree: &Tree, log: &MemoryLog) -> Report {
    audit_against(tree, log, &identity()).unwrap()
}

/// What is told of the log.
fn told(report: &Report) -> Vec<&str> {
    let about = |told: &&String| {
        told.contains(" of the record at offset ")
            || told.contains("which the record")
            || told.contains("where the log")
    };
    report
        .faults
        .told
        .iter()
        .filter(about)
        .map(String::as_str)
        .collect()
}

#[test]
fn a_folder_and_its_log_agree() {
    let tree = Tree::good();
    let report = check(&tree, &log_of(&tree));
    assert!(report.exactly_once, "{:#?}", report.faults.told);
    let [first, second] = &report.log[..] else {
        panic!("{:#?}", report.log)
    };
    assert_eq!((first.partition, first.start, first.end), (0, 0, 11));
    assert_eq!((first.records, first.lines, first.gone), (11, 30, 0));
    assert_eq!((second.missing, second.extra), (0, 0));
    let text = report.text();
    let text = console::strip_ansi_codes(&text);
    assert!(
        text.contains("log   partition  compared  records  lines  missing  extra"),
        "{text}"
    );
}

#[test]
fn a_line_of_the_log_that_is_no_row_is_named_by_its_offset() {
    let tree = Tree::good();
    let log = log_of(&tree);
    let mut broken = Tree::good();
    broken.file(1, 0, "hour=07").rows.remove(5);
    let report = check(&broken, &log);
    assert_eq!(
        told(&report),
        ["demo partition 1: 1 line of the record at offset 1 not there"]
    );
    assert_eq!((report.lost, report.log[1].missing), (1, 1));
    assert!(!report.exactly_once);
}

#[test]
fn a_lost_file_is_found_without_sequences_generated_lines_and_totals() {
    // A topic of others: its records have no key of ours.
    let mut tree = Tree::good();
    let log = MemoryLog::new("demo", 2);
    for partition in 0..2 {
        for offset in 0..11 {
            let rows = rows_at(&tree, partition, offset);
            let value = messages(&rows).join("\n");
            append_raw(&log, partition, b"a key of others".to_vec(), value);
        }
    }
    assert_eq!(check(&tree, &log).log[0].lines, 30);
    for file in &mut tree.files {
        for row in &mut file.rows {
            row.message = "a line of a real log".to_owned();
            row.sequence = -1; // None of ours.
        }
    }
    tree.checkpoints
        .iter_mut()
        .for_each(|found| found.producers.clear());
    tree.remove(1, 8, "hour=08");
    tree.checkpoints[1].totals.rows -= 9;
    tree.checkpoints[1].totals.files -= 1;
    let report = check(&tree, &log);
    assert_eq!((report.log[0].missing, report.log[1].missing), (0, 9));
    assert_eq!(told(&report).len(), 3);
}

#[test]
fn rows_that_no_record_gives_are_named() {
    let tree = Tree::good();
    let log = log_of(&tree);
    let mut broken = Tree::good();
    let rows = &mut broken.file(0, 4, "hour=07").rows;
    let at = rows.iter().position(|row| row.offset > 4).unwrap();
    let mut more = [rows[at].clone(), rows[at].clone()];
    (more[0].offset, more[0].line) = (4, 3);
    (more[1].offset, more[1].line) = (FENCE_AT as i64, 0);
    rows.splice(at..at, more);
    let report = check(&broken, &log);
    assert_eq!(
        told(&report),
        [
            "demo partition 0: 1 row of offset 4, which the record there does not give",
            "demo partition 0: 1 row of offset 5, which the record there does not give",
        ]
    );
    assert_eq!(report.log[0].extra, 2);
    // Where offsets leave a gap, there is no record at all.
    let gap = MemoryLog::new("demo", 2);
    for (offset, record) in log.records(0) {
        if offset == FENCE_AT {
            gap.skip(0, 1);
        } else {
            gap.append(0, record);
        }
    }
    for (_, record) in log.records(1) {
        gap.append(1, record);
    }
    assert!(check(&tree, &gap).exactly_once);
    let report = check(&broken, &gap);
    assert!(told(&report)[1].ends_with("of offset 5, where the log holds no record"));
}

#[test]
fn what_the_receiver_drops_is_no_row() {
    let tree = Tree::good();
    let log = MemoryLog::new("demo", 2);
    for partition in 0..2 {
        for offset in 0..11 {
            let rows = rows_at(&tree, partition, offset);
            if offset == FENCE_AT {
                // In the fence's place the block before once more, as after a lost acknowledgement.
                append(&log, partition, 1, &rows_at(&tree, partition, 4));
            } else {
                append(&log, partition, 1, &rows);
            }
        }
    }
    assert!(check(&tree, &log).exactly_once);
    // Who takes them all the same writes rows that should not be there.
    let mut broken = Tree::good();
    let mut rows = rows_at(&tree, 0, 4);
    for row in &mut rows {
        row.offset = FENCE_AT as i64;
    }
    let file = broken.file(0, 4, "hour=07");
    let at = file.rows.iter().position(|row| row.offset > 4).unwrap();
    file.rows.splice(at..at, rows);
    let report = check(&broken, &log);
    assert_eq!((report.twice, report.log[0].extra), (3, 3));
    assert_eq!(
        told(&report),
        ["demo partition 0: 3 rows of offset 5, which the record there does not give"]
    );
}

#[test]
fn of_a_block_that_begins_before_the_next_line_only_the_new_lines_are_rows() {
    let mut tree = Tree::good();
    let log = MemoryLog::new("demo", 2);
    for partition in 0..2 {
        for offset in 0..11 {
            let mut rows = rows_at(&tree, partition, offset);
            if offset == 3 {
                rows.splice(0..0, rows_at(&tree, partition, 2).into_iter().skip(1));
            }
            append(&log, partition, 1, &rows);
        }
        for row in &mut tree.file(partition, 0, "hour=07").rows {
            row.line += if row.offset == 3 { 2 } else { 0 };
        }
    }
    assert!(check(&tree, &log).exactly_once);
    // The same lines as if nothing had been skipped.
    assert_eq!(told(&check(&Tree::good(), &log)).len(), 4);
}

/// A good tree's log, with what another producer wrote in the fence's place, of which there is no row.
fn log_with(tree: &Tree, generation: u32, first: u64) -> MemoryLog {
    let log = MemoryLog::new("demo", 2);
    for partition in 0..2 {
        for offset in 0..11 {
            if (partition, offset) == (0, FENCE_AT) {
                append_block(&log, 0, "late-0", generation, first, &["one", "two"]);
            } else {
                append(&log, partition, 1, &rows_at(tree, partition, offset));
            }
        }
    }
    log
}

#[test]
fn lines_of_a_producer_of_which_none_was_taken_are_told() {
    let tree = Tree::good();
    let report = check(&tree, &log_with(&tree, 2, 500));
    assert_eq!((report.lost, report.log[0].missing), (2, 2));
    assert_eq!(
        report.faults.told,
        [
            "demo partition 0: 2 lines of producer late-0 not there: the lines before them never came"
        ]
    );
}

#[test]
fn lines_that_were_dropped_behind_a_fence_in_a_log_cut_off_in_front_are_told() {
    let mut tree = Tree::good();
    let log = log_with(&tree, 2, 500);
    // Where the log was cut off, late-0 has only a fence left. What stood there came with the record before.
    let cut = MemoryLog::new("demo", 2);
    for partition in 0..2 {
        for (offset, record) in log.records(partition) {
            if (partition, offset) == (0, FENCE_AT - 1) {
                append_block(&cut, 0, "late-0", 2, 0, &[]);
            } else {
                cut.append(partition, record);
            }
        }
    }
    cut.trim(0, FENCE_AT - 1);
    let checkpoint = &mut tree.checkpoints[0];
    let damaged = Progress {
        generation: 2,
        ..Progress::default()
    };
    checkpoint.producers.insert("late-0".to_owned(), damaged);
    for row in &mut tree.file(0, 4, "hour=07").rows {
        row.offset -= i64::from(row.offset == 4);
    }
    let report = check(&tree, &cut);
    assert_eq!(report.log[0].missing, 2);
    assert_eq!(
        told(&report),
        ["demo partition 0: 2 lines of the record at offset 5 not there"]
    );
}

#[test]
fn below_what_the_log_still_holds_nothing_is_compared_and_that_is_said() {
    let tree = Tree::good();
    let log = log_of(&tree);
    log.trim(0, 2);
    log.trim(1, 9);
    let report = check(&tree, &log);
    assert!(report.exactly_once, "{:#?}", report.faults.told);
    let (first, second) = (&report.log[0], &report.log[1]);
    assert_eq!((first.gone, first.start, first.lines), (2, 2, 24));
    assert_eq!((second.gone, second.start, second.lines), (9, 9, 6));
    assert!(
        report
            .text()
            .contains("11 committed offsets below what the log still holds")
    );
    // A line behind the cut that is lost is found, and the first one behind it too.
    for row in [6, 7] {
        let mut broken = Tree::good();
        broken.file(0, 0, "hour=07").rows.remove(row);
        assert_eq!(told(&check(&broken, &log)).len(), 1);
    }
    log.trim(0, 12);
    let report = check(&tree, &log);
    assert!(report.exactly_once, "{:#?}", report.faults.told);
    assert_eq!((report.log[0].start, report.log[0].gone), (11, 11));
}

#[test]
fn behind_a_cut_an_old_generation_that_lands_late_is_no_loss_but_a_lost_record_is() {
    let tree = Tree::good();
    let log = MemoryLog::new("demo", 2);
    for offset in 0..11 {
        let rows = rows_at(&tree, 0, offset);
        let generation = if offset < 3 { 1 } else { 2 };
        append(&log, 0, generation, &rows);
        append(&log, 1, 1, &rows_at(&tree, 1, offset));
    }
    // In the fence's place, what generation 1 sent before it was fenced: the next lines.
    let late = MemoryLog::new("demo", 2);
    for (offset, record) in log.records(0) {
        if offset == FENCE_AT {
            append(&late, 0, 1, &rows_at(&tree, 0, 6));
        } else {
            late.append(0, record);
        }
    }
    for (_, record) in log.records(1) {
        late.append(1, record);
    }
    for cut in 0..11 {
        late.trim(0, cut);
        let report = check(&tree, &late);
        assert!(
            report.exactly_once,
            "cut at {cut}: {:#?}",
            report.faults.told
        );
    }
    log.trim(0, 6);
    let mut broken = Tree::good();
    for file in &mut broken.files {
        file.rows
            .retain(|row| row.partition == 1 || row.offset != 6);
    }
    assert!(!told(&check(&broken, &log)).is_empty());
    // Once the generation is known, it is that record that is told.
    let mut broken = Tree::good();
    for file in &mut broken.files {
        file.rows
            .retain(|row| row.partition == 1 || row.offset != 9);
    }
    let report = check(&broken, &log);
    assert_eq!(
        told(&report),
        ["demo partition 0: 3 lines of the record at offset 9 not there"]
    );
    assert_eq!((report.log[0].missing, report.log[0].extra), (3, 0));
}

#[test]
fn a_row_in_the_file_of_another_batch_is_misplaced_but_not_missing() {
    let tree = Tree::good();
    let log = log_of(&tree);
    let mut broken = Tree::good();
    let row = broken.file(0, 4, "hour=07").rows.remove(0);
    broken.file(0, 0, "hour=07").rows.push(row);
    let report = check(&broken, &log);
    assert_eq!(report.faults.count(Kind::Misplaced), 1);
    assert!(told(&report).is_empty(), "{:#?}", report.faults.told);
}

#[test]
fn rows_of_an_announced_batch_are_not_compared() {
    let mut tree = Tree::good();
    let log = log_of(&tree);
    for checkpoint in &mut tree.checkpoints {
        checkpoint.next = 8;
        let dead = if checkpoint.partition == 0 { 2 } else { 0 };
        checkpoint.totals.files -= 1 + dead / 2;
        checkpoint.totals.rows -= 9 - dead;
        checkpoint.totals.dead = 0;
        checkpoint.producers.values_mut().next().unwrap().next -= 9;
    }
    tree.remove(0, 8, "hour=08");
    let report = check(&tree, &log);
    assert!(report.exactly_once, "{:#?}", report.faults.told);
    assert_eq!((report.log[0].end, report.log[0].lines), (8, 21));
}

#[test]
fn a_partition_without_a_file_is_compared_too() {
    let mut tree = Tree::good();
    let log = log_of(&tree);
    tree.files.retain(|file| file.name.partition == 0);
    let report = check(&tree, &log);
    assert_eq!((report.lost, report.log[1].missing), (30, 30));
    assert_eq!(report.log[1].partition, 1);
}

#[test]
fn a_file_that_cannot_be_read_makes_no_second_fault() {
    let mut tree = Tree::good();
    let log = log_of(&tree);
    tree.file(1, 4, "hour=08").torn = 100;
    let report = check(&tree, &log);
    assert!(told(&report).is_empty(), "{:#?}", report.faults.told);
    assert_eq!(report.log.len(), 1);
}

#[test]
fn another_log_a_shorter_one_or_no_checkpoints_prove_nothing() {
    let tree = Tree::good();
    let log = log_of(&tree);
    let other = Identity {
        topic_id: "made-tomorrow".to_owned(),
        ..identity()
    };
    let error = audit_against(&tree, &log, &other).unwrap_err().to_string();
    assert!(
        error.contains("the checkpoints are of topic id made-today"),
        "{error}"
    );
    assert!(error.contains("has the id made-tomorrow"), "{error}");
    log.truncate(1, 7);
    let error = audit_against(&tree, &log, &identity())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("demo partition 1: the log ends at offset 7, before the checkpoint's 11"),
        "{error}"
    );
    let mut tree = Tree::good();
    tree.checkpoints.clear();
    let error = audit_against(&tree, &log, &identity())
        .unwrap_err()
        .to_string();
    assert!(error.contains("--checkpoints DIR"), "{error}");
}

#[test]
fn a_log_of_many_polls_is_compared_batch_by_batch() {
    let log = MemoryLog::new("demo", 1);
    let line = "x".repeat(16 << 10);
    for record in 0..300 {
        append_block(&log, 0, "demo-0", 1, record, &[&line]);
    }
    let mut checkpoint = Checkpoint::new(&identity(), 0, 0, "test");
    checkpoint.next = 300;
    let (mut source, mut faults) = (log.source().unwrap(), Faults::default());
    let mut witness = Witness {
        source: source.as_mut(),
        identity: &identity(),
    };
    let mut comparison = Comparison::begin(&mut witness, &checkpoint).unwrap();
    for batch in 0..6 {
        for offset in batch * 50..(batch + 1) * 50 {
            comparison.row(&Row {
                partition: 0,
                offset,
                line: 0,
                sequence: None,
                texts: &[],
            });
        }
        comparison.compare((batch + 1) * 50, &mut faults).unwrap();
        // No more is kept than a poll gives.
        assert!(comparison.noted.len() <= 64 && comparison.rows.is_empty());
    }
    let part = comparison.finish(&mut faults).unwrap();
    assert!(faults.is_empty(), "{:#?}", faults.told);
    assert_eq!((part.records, part.lines), (300, 300));
}
