//! The algebra and the format.

use super::*;
use crate::etl::receive::Progress;

fn fresh() -> Checkpoint {
    let log = Identity {
        cluster: "c1".to_owned(),
        topic: "logs".to_owned(),
        topic_id: "t1".to_owned(),
        partitions: 4,
    };
    Checkpoint::new(&log, 3, 10, "a")
}

fn file(dir: &str, rows: u64, dead: bool) -> BatchFile {
    BatchFile {
        dir: dir.to_owned(),
        rows,
        digest: "0123456789abcdef0123456789abcdef".to_owned(),
        dead,
    }
}

fn batch(start: Offset, end: Offset) -> Batch {
    Batch {
        start,
        end,
        plan: serde_json::from_value("9f3c".repeat(16).into()).unwrap(),
        anchor: Anchor {
            offset: end.saturating_sub(1),
            sha: "fedcba9876543210fedcba9876543210".to_owned(),
        },
        producers_after: Producers::from([(
            "demo-3".to_owned(),
            Progress {
                generation: 2,
                next: end * 100,
                ..Progress::default()
            },
        )]),
        files: vec![
            file("_dead/dt=2026-01-31/hour=07", 1, true),
            file("dt=2026-01-31/hour=07", 900, false),
        ],
    }
}

fn malformed(batch: Batch) -> &'static str {
    match fresh().announce(batch) {
        Err(TransitionError::Malformed { reason }) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_partition_starts_with_nothing_committed() {
    let checkpoint = fresh();
    assert_eq!((checkpoint.begin, checkpoint.next), (10, 10));
    assert_eq!((checkpoint.epoch, checkpoint.n), (1, 1));
    assert_eq!(checkpoint.pending, None);
    assert_eq!(checkpoint.totals, Totals::default());
}

#[test]
fn a_take_over_keeps_the_pending_batch_and_changes_owner_and_epoch_only() {
    let announced = fresh().announce(batch(10, 20)).unwrap();
    let taken = announced.take_over("b");
    let expected = Checkpoint {
        owner: "b".to_owned(),
        epoch: 2,
        n: 3,
        ..announced
    };
    assert_eq!(taken, expected);
}

#[test]
fn an_announcement_commits_nothing() {
    let announced = fresh().announce(batch(10, 20)).unwrap();
    let expected = Checkpoint {
        n: 2,
        pending: Some(batch(10, 20)),
        ..fresh()
    };
    assert_eq!(announced, expected);
}

#[test]
fn a_commit_moves_everything_to_the_end_of_the_batch() {
    let committed = fresh().announce(batch(10, 20)).unwrap().commit().unwrap();
    let expected = Checkpoint {
        n: 3,
        next: 20,
        anchor: Some(batch(10, 20).anchor),
        producers: batch(10, 20).producers_after,
        totals: Totals {
            rows: 900,
            dead: 1,
            files: 2,
        },
        ..fresh()
    };
    assert_eq!(committed, expected);
}

#[test]
fn totals_add_up_from_batch_to_batch() {
    let first = fresh().announce(batch(10, 20)).unwrap();
    let second = first.commit_and_announce(batch(20, 25)).unwrap();
    assert_eq!(
        second.commit().unwrap().totals,
        Totals {
            rows: 1800,
            dead: 2,
            files: 4
        }
    );
}

#[test]
fn commit_and_announcement_in_one_write_differ_from_two_only_in_the_count_of_writes() {
    let announced = fresh().announce(batch(10, 20)).unwrap();
    let one = announced.commit_and_announce(batch(20, 25)).unwrap();
    let two = announced.commit().unwrap().announce(batch(20, 25)).unwrap();
    assert_eq!(one.n, announced.n + 1);
    assert_eq!(Checkpoint { n: two.n, ..one }, two);
}

#[test]
fn every_write_differs_from_the_one_before() {
    let mut written = vec![fresh()];
    written.push(written[0].take_over("a"));
    written.push(written[1].announce(batch(10, 20)).unwrap());
    written.push(written[2].commit_and_announce(batch(20, 25)).unwrap());
    written.push(written[3].commit().unwrap());
    let numbers: Vec<u64> = written.iter().map(|checkpoint| checkpoint.n).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
}

#[test]
fn a_second_batch_waits_for_the_first() {
    let announced = fresh().announce(batch(10, 20)).unwrap();
    assert_eq!(
        announced.announce(batch(20, 25)),
        Err(TransitionError::Pending { start: 10 })
    );
}

#[test]
fn without_a_batch_there_is_nothing_to_commit() {
    let nothing = Err(TransitionError::NothingPending);
    assert_eq!(fresh().commit(), nothing);
    assert_eq!(fresh().commit_and_announce(batch(10, 20)), nothing);
}

#[test]
fn a_batch_carries_the_same_whoever_finishes_it_and_whatever_the_commit_before_it_saw() {
    let seen = Some(Seen {
        at: 1_790_000_000_000,
        end: None,
    });
    let another = Checkpoint { seen, ..fresh() }.take_over("b");
    let batch = batch(10, 20);
    assert_eq!(another.imprint(&batch), fresh().imprint(&batch));
}

fn empty(until: Offset) -> Empty {
    let producers = batch(10, until).producers_after;
    Empty { until, producers }
}

#[test]
fn what_gave_no_row_moves_where_reading_goes_on_and_not_where_the_next_batch_begins() {
    let noted = fresh().note_empty(empty(12)).unwrap();
    assert_eq!(noted.next, 10);
    assert_eq!(noted.resume(), (12, &empty(12).producers));
    assert_eq!(noted.take_over("b").empty, Some(empty(12)));
    let announced = noted.announce(batch(10, 20)).unwrap();
    assert_eq!(announced.resume(), noted.resume());
    let plain = fresh().announce(batch(10, 20)).unwrap().commit().unwrap();
    assert_eq!(announced.commit().unwrap(), Checkpoint { n: 4, ..plain });
}

#[test]
fn what_gave_no_row_is_noted_once_and_not_beside_a_batch() {
    let noted = fresh().note_empty(empty(12)).unwrap();
    let error = TransitionError::NotBehind {
        until: 12,
        from: 12,
    };
    assert_eq!(noted.note_empty(empty(12)), Err(error));
    let announced = fresh().announce(batch(10, 20)).unwrap();
    assert_eq!(
        announced.note_empty(empty(12)),
        Err(TransitionError::Pending { start: 10 })
    );
}

#[test]
fn a_batch_carries_the_same_whether_or_not_something_was_noted_before_it() {
    let noted = fresh().note_empty(empty(12)).unwrap();
    let batch = batch(10, 20);
    assert_eq!(noted.imprint(&batch), fresh().imprint(&batch));
}

#[test]
fn earlier_releases_are_told_that_a_note_is_of_a_newer_one_and_read_everything_else() {
    let noted = fresh().note_empty(empty(12)).unwrap();
    let text = String::from_utf8(noted.encode()).unwrap();
    assert!(text.starts_with(r#"{"v":2,"#), "{text}");
    assert_eq!(Checkpoint::decode(text.as_bytes()).unwrap(), noted);
    let text = String::from_utf8(fresh().encode()).unwrap();
    assert!(text.starts_with(r#"{"v":1,"#), "{text}");
    assert!(!text.contains("empty"), "{text}");
}

#[test]
fn what_a_commit_saw_stays_until_the_next_one_and_may_be_missing() {
    let seen = Some(Seen {
        at: 1_790_000_000_000,
        end: Some(31),
    });
    let told = Checkpoint { seen, ..fresh() };
    assert_eq!(Checkpoint::decode(&told.encode()).unwrap(), told);
    assert!(
        !String::from_utf8(fresh().encode())
            .unwrap()
            .contains("seen")
    );
    let announced = told.take_over("b").announce(batch(10, 20)).unwrap();
    assert_eq!(announced.seen, seen);
    assert_eq!(announced.commit().unwrap().seen, None);
}

#[test]
fn a_batch_begins_where_the_last_one_ended() {
    for start in [9, 11] {
        assert_eq!(
            fresh().announce(batch(start, 20)),
            Err(TransitionError::NotNext { start, next: 10 })
        );
    }
    let announced = fresh().announce(batch(10, 20)).unwrap();
    assert_eq!(
        announced.commit_and_announce(batch(21, 25)),
        Err(TransitionError::NotNext {
            start: 21,
            next: 20
        })
    );
}

#[test]
fn a_batch_has_a_range_files_and_rows() {
    assert_eq!(malformed(batch(10, 10)), "its range is empty");

    for offset in [9, 20] {
        let mut outside = batch(10, 20);
        outside.anchor.offset = offset;
        assert_eq!(malformed(outside), "its anchor lies outside its range");
    }

    let mut empty = batch(10, 20);
    empty.files.clear();
    assert_eq!(malformed(empty), "it has no file");

    let mut rowless = batch(10, 20);
    rowless.files[1].rows = 0;
    assert_eq!(malformed(rowless), "a file has no row");

    let mut twice = batch(10, 20);
    twice.files.push(twice.files[0].clone());
    assert_eq!(malformed(twice), "a folder stands twice");
}

/// The largest batch: as many files as are allowed, each in the quarantine, whose folder has the longest
/// name that a manifest may give it.
fn largest() -> Batch {
    let mut largest = batch(10, 20);
    largest.end = u64::MAX;
    largest.anchor.offset = u64::MAX - 1;
    largest.files = (0..MAX_FILES)
        .map(|hour| {
            let prefix = "_".repeat(127);
            let dir = format!(
                "{prefix}/dt=2026-01-{:02}/hour={:02}",
                hour / 24 + 1,
                hour % 24
            );
            file(&dir, 100_000_000, true)
        })
        .collect();
    largest.producers_after = Producers::from([(
        "k".repeat(255),
        Progress {
            generation: u32::MAX,
            next: u64::MAX,
            ..Progress::default()
        },
    )]);
    largest
}

#[test]
fn a_batch_has_at_most_64_files() {
    let mut most = largest();
    assert!(fresh().announce(most.clone()).is_ok());
    most.files.push(file("one/more", 1, false));
    assert_eq!(malformed(most), "it has more than 64 files");
}

#[test]
fn the_largest_batch_fits_into_a_checkpoint() {
    let mut checkpoint = fresh();
    checkpoint.producers = largest().producers_after;
    let size = checkpoint.announce(largest()).unwrap().encode().len();
    assert!(size <= MAX_BYTES, "{size} bytes");
}

/// If this fails, checkpoints that were written before can no longer be read as they were meant: raise the
/// version, and read both.
#[test]
fn the_format_stays_as_it_is() {
    let first = fresh().announce(batch(10, 20)).unwrap();
    let checkpoint = first.commit_and_announce(batch(20, 25)).unwrap();
    let golden = concat!(
        r#"{"v":1,"cluster":"c1","topicId":"t1","partition":3,"begin":10,"epoch":1,"owner":"a","n":3,"next":20,"#,
        r#""anchor":{"offset":19,"sha":"fedcba9876543210fedcba9876543210"},"#,
        r#""producers":{"demo-3":{"gen":2,"next":2000}},"#,
        r#""pending":{"start":20,"end":25,"#,
        r#""plan":"9f3c9f3c9f3c9f3c9f3c9f3c9f3c9f3c9f3c9f3c9f3c9f3c9f3c9f3c9f3c9f3c","#,
        r#""anchor":{"offset":24,"sha":"fedcba9876543210fedcba9876543210"},"#,
        r#""producersAfter":{"demo-3":{"gen":2,"next":2500}},"files":["#,
        r#"{"dir":"_dead/dt=2026-01-31/hour=07","rows":1,"digest":"0123456789abcdef0123456789abcdef","dead":true},"#,
        r#"{"dir":"dt=2026-01-31/hour=07","rows":900,"digest":"0123456789abcdef0123456789abcdef"}]},"#,
        r#""totals":{"rows":900,"dead":1,"files":2}}"#,
    );
    assert_eq!(String::from_utf8(checkpoint.encode()).unwrap(), golden);
    assert_eq!(Checkpoint::decode(golden.as_bytes()).unwrap(), checkpoint);
}

#[test]
fn a_newer_version_is_told_from_damage_whatever_else_it_holds() {
    let newer = br#"{"v":3,"shards":[1,2,3]}"#;
    assert!(matches!(
        Checkpoint::decode(newer),
        Err(DecodeError::Newer { found: 3 })
    ));
}

#[test]
fn anything_that_is_damaged_is_refused() {
    let whole = fresh().announce(batch(10, 20)).unwrap().encode();
    for length in 0..whole.len() {
        let cut = Checkpoint::decode(&whole[..length]);
        assert!(matches!(cut, Err(DecodeError::Corrupt(_))), "{length}");
    }
    assert!(matches!(
        Checkpoint::decode(br#"{"v":0}"#),
        Err(DecodeError::Corrupt(_))
    ));
    let text = String::from_utf8(whole).unwrap();
    for (from, to) in [
        (r#""next":10,"#, ""),
        (r#""next":10,"#, r#""next":10,"extra":1,"#),
        (r#""next":10"#, r#""next":-1"#),
        (r#""rows":900"#, r#""rows":"900""#),
        (r#"{"v":1"#, r#"{"v":-1"#),
        (r#"{"v":1"#, r#"{"v":0"#),
    ] {
        let damaged = text.replacen(from, to, 1);
        assert_ne!(damaged, text, "{from}");
        let decoded = Checkpoint::decode(damaged.as_bytes());
        assert!(matches!(decoded, Err(DecodeError::Corrupt(_))), "{to}");
    }
}
