//! Each way to break the promise is put into a small folder, and must be found.

use std::fs;

use super::audit::{Options, audit};
use super::fixture::Tree;
use super::report::{Kind, Report};
use super::*;
use crate::place::Place;

fn check(tree: &Tree) -> Report {
    audit(
        &tree.place(),
        Options::default(),
        None,
        &ProgressBar::hidden(),
    )
    .unwrap()
}

/// The report of a tree that breaks the promise in just these ways.
fn broken(tree: &Tree, kinds: &[Kind]) -> Report {
    let report = check(tree);
    let found: Vec<Kind> = report.faults.counts.keys().copied().collect();
    assert_eq!(found, kinds, "{:#?}", report.faults.told);
    assert!(!report.exactly_once);
    assert!(report.text().contains("NOT exactly once"));
    report
}

#[test]
fn a_good_folder_keeps_the_promise() {
    let report = check(&Tree::good());
    assert!(report.exactly_once, "{:#?}", report.faults.told);
    assert_eq!(
        (report.lines, report.lost, report.twice, report.pending),
        (60, 0, 0, 0)
    );
    let [first, second] = &report.partitions[..] else {
        panic!("{:#?}", report.partitions)
    };
    assert_eq!(
        (first.files, first.ranges, first.rows, first.dead),
        (5, 3, 28, 2)
    );
    assert_eq!(
        (second.files, second.ranges, second.rows, second.dead),
        (4, 3, 30, 0)
    );
    assert_eq!((first.start, first.end, first.next), (0, 11, Some(11)));
    assert_eq!(report.producers.len(), 2);
    assert_eq!(
        (report.generators[0].lines, report.generators[0].end),
        (60, 60)
    );
    assert_eq!(report.generators[0].bad_checksums, Some(0));
    let text = report.text();
    let text = console::strip_ansi_codes(&text);
    assert!(
        text.ends_with("exactly once: 60 lines, 0 lost, 0 twice\n"),
        "{text}"
    );
}

#[test]
fn a_file_that_is_missing_in_the_middle_is_a_gap_and_its_lines_are_lost() {
    let mut tree = Tree::good();
    tree.remove(1, 4, "hour=07");
    tree.remove(1, 4, "hour=08");
    let report = broken(&tree, &[Kind::Gap, Kind::MissingLines, Kind::Totals]);
    assert_eq!((report.lost, report.twice), (9, 0));
    assert!(report.faults.told[0].contains("demo partition 1: no file holds the offsets [4, 8)"));
}

#[test]
fn one_missing_folder_of_a_batch_is_found_by_its_lines() {
    let mut tree = Tree::good();
    tree.remove(0, 4, "hour=08");
    tree.checkpoints.clear();
    let report = broken(&tree, &[Kind::MissingLines]);
    assert_eq!(report.lost, 5);
}

#[test]
fn a_missing_last_file_is_found_by_the_checkpoint() {
    let mut tree = Tree::good();
    tree.remove(1, 8, "hour=08");
    let report = broken(&tree, &[Kind::Gap, Kind::MissingLines, Kind::Totals]);
    assert_eq!(report.lost, 9);
    assert!(report.faults.told[0].contains("[8, 11) are committed, but no file holds them"));
}

#[test]
fn a_range_that_lies_over_another_is_found() {
    let mut tree = Tree::good();
    tree.file(1, 8, "hour=08").name.start = 7;
    let report = broken(&tree, &[Kind::Overlap]);
    assert_eq!(report.partitions[1].overlaps, 1);
}

#[test]
fn lines_that_one_producer_wrote_through_two_logs_are_not_proven() {
    let mut tree = Tree::good();
    let mut copies: Vec<_> = tree
        .files
        .iter()
        .filter(|file| file.name.partition == 1)
        .cloned()
        .collect();
    for copy in &mut copies {
        copy.name.topic_id8 = "00000000".to_owned();
    }
    tree.files.extend(copies);
    let report = broken(&tree, &[Kind::Twice, Kind::TwoLogs]);
    assert!(
        report
            .faults
            .told
            .iter()
            .any(|told| told.contains("through more than one log")),
        "{:#?}",
        report.faults.told
    );
}

#[test]
fn a_batch_that_was_written_under_two_plans_is_found_by_name_and_rows() {
    let mut tree = Tree::good();
    let mut copy = tree.file(0, 0, "hour=07").clone();
    copy.name.plan8 = "00000000".to_owned();
    tree.files.push(copy);
    let report = broken(&tree, &[Kind::Overlap, Kind::Twice, Kind::Totals]);
    assert_eq!((report.lost, report.twice), (0, 12));
    assert_eq!(report.partitions[0].twice, 12);
}

#[test]
fn a_row_that_is_there_twice_is_found_in_its_file_and_across_files_and_batches() {
    for (start, dir, double) in [
        (4, "hour=07", (4, "hour=07")),
        (4, "hour=08", (4, "hour=07")),
    ] {
        let mut tree = Tree::good();
        let row = tree.file(0, double.0, double.1).rows[2].clone();
        tree.file(0, start, dir).rows.insert(0, row);
        tree.checkpoints.clear();
        let report = check(&tree);
        assert!(!report.exactly_once);
        assert_eq!(
            (report.lost, report.twice),
            (0, 1),
            "{:#?}",
            report.faults.told
        );
        assert!(report.faults.count(Kind::Twice) > 0);
    }
    // The same line again as a new record, which the offsets cannot tell.
    let mut tree = Tree::good();
    let first = tree.file(0, 0, "hour=07").rows[0].clone();
    let file = tree.file(0, 8, "hour=08");
    let last = file.rows.last().unwrap().clone();
    file.rows.push(super::fixture::TreeRow {
        line: last.line + 1,
        ..first
    });
    file.rows.last_mut().unwrap().offset = last.offset;
    tree.checkpoints.clear();
    let report = broken(&tree, &[Kind::Twice]);
    assert_eq!(report.twice, 1);
}

#[test]
fn a_hole_in_a_producers_sequence_is_a_lost_line() {
    let mut tree = Tree::good();
    tree.file(1, 0, "hour=07").rows.remove(5);
    tree.checkpoints.clear();
    let report = broken(&tree, &[Kind::MissingLines]);
    assert_eq!(report.lost, 1);
    assert!(
        report.faults.told[0].contains("producer demo-1: 1 line missing, the first from 5 to 5")
    );
}

#[test]
fn a_lost_beginning_or_end_is_found_by_the_checkpoint_even_without_generated_lines() {
    for row in [0, 29] {
        let mut tree = Tree::good();
        for file in &mut tree.files {
            file.rows
                .retain(|found| found.partition == 0 || found.sequence != row);
            for row in &mut file.rows {
                row.message = "a line of a real log".to_owned();
            }
        }
        let report = broken(&tree, &[Kind::MissingLines, Kind::Totals]);
        assert_eq!(report.lost, 1);
        assert!(report.generators.is_empty());
    }
}

#[test]
fn a_text_that_is_not_what_was_generated_is_found_in_the_table_and_in_the_quarantine() {
    for (partition, dir) in [(1, "hour=08"), (0, "_dead")] {
        let mut tree = Tree::good();
        let row = &mut tree.file(partition, 8, dir).rows[1];
        row.message.replace_range(2..3, "\u{7f}");
        let report = broken(&tree, &[Kind::BadChecksum]);
        assert_eq!(report.generators[0].bad_checksums, Some(1));
        assert!(
            report.faults.told[0].contains("than was generated, first demo's line "),
            "{:?}",
            report.faults.told
        );
    }
}

#[test]
fn a_file_that_is_cut_off_is_named() {
    let mut tree = Tree::good();
    tree.file(1, 4, "hour=08").torn = 100;
    let report = broken(&tree, &[Kind::Unreadable, Kind::MissingLines]);
    let told = report
        .faults
        .told
        .iter()
        .find(|told| told.contains("cannot be read"))
        .unwrap();
    assert!(
        told.contains("demo/dt=2026-01-31/hour=08/demo-") && told.contains("p00001"),
        "{told}"
    );
}

#[test]
fn a_damaged_page_is_found() {
    let tree = Tree::good();
    let place = tree.place();
    let object = place.list().unwrap().pop().unwrap();
    let path = tree.path().join("parquet").join(object.location.as_ref());
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes
        .windows(5)
        .position(|window| window == b" [gen")
        .unwrap();
    bytes[middle - 3] ^= 1;
    fs::write(&path, bytes).unwrap();
    let report = audit(&place, Options::default(), None, &ProgressBar::hidden()).unwrap();
    assert!(!report.exactly_once);
    assert_eq!(
        report.faults.count(Kind::BadChecksum),
        1,
        "{:#?}",
        report.faults.told
    );
}

#[test]
fn rows_outside_their_name_and_out_of_order_are_found() {
    let mut tree = Tree::good();
    tree.file(0, 0, "hour=07").rows.swap(3, 4);
    tree.file(1, 0, "hour=07").rows[0].partition = 7;
    tree.file(1, 8, "hour=08").rows.last_mut().unwrap().offset = 11;
    let report = broken(&tree, &[Kind::Misplaced, Kind::Disorder]);
    assert_eq!(report.faults.count(Kind::Misplaced), 2);
    assert_eq!(report.faults.count(Kind::Disorder), 1);
}

#[test]
fn rows_of_an_announced_batch_are_told_apart_and_break_nothing() {
    let mut tree = Tree::good();
    // Partition 1 has announced [8, 11), and partition 0 one of the two files of its [8, 11).
    for checkpoint in &mut tree.checkpoints {
        checkpoint.next = 8;
        let dead = if checkpoint.partition == 0 { 2 } else { 0 };
        checkpoint.totals.files -= 1 + dead / 2;
        checkpoint.totals.rows -= 9 - dead;
        checkpoint.totals.dead = 0;
        let progress = checkpoint.producers.values_mut().next().unwrap();
        progress.next -= 9;
    }
    tree.remove(0, 8, "hour=08");
    let report = check(&tree);
    assert!(report.exactly_once, "{:#?}", report.faults.told);
    assert_eq!((report.lines, report.pending), (42, 11));
    // But a line that is committed and announced again is there twice for every reader.
    let committed = tree.file(1, 4, "hour=08").rows[0].clone();
    let pending = &mut tree.file(1, 8, "hour=08").rows[0];
    pending.sequence = committed.sequence;
    let report = broken(&tree, &[Kind::Twice]);
    assert_eq!(report.twice, 1);
}

#[test]
fn a_partition_that_is_behind_is_no_loss_while_the_pipeline_runs() {
    let mut tree = Tree::good();
    tree.remove(1, 8, "hour=08");
    tree.checkpoints.clear();
    let running = Options { running: true };
    let report = audit(&tree.place(), running, None, &ProgressBar::hidden()).unwrap();
    assert!(report.exactly_once, "{:#?}", report.faults.told);
    assert_eq!((report.lines, report.lost), (51, 0));
    // Without that word they are lost, up to the highest number that is there.
    let report = broken(&tree, &[Kind::MissingLines]);
    assert_eq!(report.lost, 8);
}

#[test]
fn nothing_to_check_is_an_error_that_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let name = dir.path().to_str().unwrap();
    let error = |name: &str| {
        let place = Place::open(name);
        let report =
            place.and_then(|place| audit(&place, Options::default(), None, &ProgressBar::hidden()));
        report.unwrap_err().to_string()
    };
    assert!(error(name).contains("holds no Parquet yet: run a pipeline first"));
    assert!(error(&format!("{name}/nowhere")).contains("is not there: name the data folder"));
    fs::write(dir.path().join("other.parquet"), "").unwrap();
    assert!(error(name).contains("none of the 1 Parquet files"));
}

#[test]
fn the_exit_code_says_whether_the_promise_is_kept() {
    let mut tree = Tree::good();
    let code = |tree: &Tree| {
        let place = tree.place();
        let args = <Cli as clap::Parser>::parse_from(["verify", &place.name, "-o", "json"]);
        run(&args.args).unwrap()
    };
    assert_eq!(code(&tree), ExitCode::SUCCESS);
    tree.file(0, 0, "hour=07").rows[0].sequence = 1000;
    assert_eq!(code(&tree), ExitCode::FAILURE);
}

#[test]
fn flags_of_a_manifest_without_one_are_wrong_usage() {
    use clap::Parser as _;
    for flag in [
        "--sink=manifest",
        "--kafka=manifest",
        "--secrets=s",
        "--data-dir=d",
    ] {
        let refused = Cli::try_parse_from(["verify", "somewhere", flag]);
        let error = refused.err().unwrap().to_string();
        assert!(
            error.contains("'[DIR|S3]' cannot be used with '--"),
            "{error}"
        );
        assert!(
            Cli::try_parse_from(["verify", "-f", "m.yaml", flag]).is_ok(),
            "{flag}"
        );
    }
}

#[test]
fn checkpoints_are_taken_from_where_the_user_says() {
    let tree = Tree::good();
    let place = tree.place();
    let elsewhere = tempfile::tempdir().unwrap();
    let code = |place: &str| {
        let dir = elsewhere.path().to_str().unwrap();
        let args = ["verify", place, "--checkpoints", dir];
        run(&<Cli as clap::Parser>::parse_from(args).args)
    };
    let there = tree.path().join("checkpoints/p00001.checkpoint");
    let mut checkpoint = tree.checkpoints[1].clone();
    assert_eq!(code(&place.name).unwrap(), ExitCode::SUCCESS);
    // A checkpoint that says more was committed.
    checkpoint.next += 1;
    let bytes = logpipe_workers::checkpoint::file::encode(&checkpoint.encode());
    fs::write(elsewhere.path().join(there.file_name().unwrap()), bytes).unwrap();
    assert_eq!(code(&place.name).unwrap(), ExitCode::FAILURE);
    drop(fs::remove_dir_all(elsewhere.path()));
    let error = code(&place.name).unwrap_err().to_string();
    assert!(error.contains("of --checkpoints is not there"), "{error}");
}

#[derive(clap::Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}
