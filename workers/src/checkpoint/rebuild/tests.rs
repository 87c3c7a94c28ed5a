use proptest::prelude::*;

use super::*;
use crate::checkpoint::survey::FileSeen;
use crate::checkpoint::{Anchor, Batch, BatchFile};
use crate::etl::receive::Progress;
use crate::log::Identity;

fn log() -> Identity {
    Identity {
        cluster: "cluster".to_owned(),
        topic: "shop".to_owned(),
        topic_id: "topic".to_owned(),
        partitions: 1,
    }
}

fn seen_log() -> LogSeen {
    LogSeen::of(&log())
}

/// The batch `[start, end)` in as many folders.
fn batch(start: Offset, end: Offset, folders: usize) -> Batch {
    let file = |hour| BatchFile {
        dir: format!("dt=2026-01-31/hour={hour:02}"),
        rows: 3,
        digest: format!("{start:016x}{hour:016x}"),
        dead: false,
    };
    Batch {
        start,
        end,
        plan: serde_json::from_value("a".repeat(64).into()).unwrap(),
        anchor: Anchor {
            offset: end - 1,
            sha: end.to_string(),
        },
        producers_after: [(
            "shop-0".to_owned(),
            Progress {
                generation: 2,
                next: end * 3,
                ..Progress::default()
            },
        )]
        .into(),
        files: (0..folders).map(file).collect(),
    }
}

/// What a worker held when it was about to put the second of two batches.
fn announced() -> Checkpoint {
    let begun = Checkpoint::new(&log(), 0, 5, "worker");
    let first = begun.announce(batch(5, 10, 2)).unwrap();
    first.commit_and_announce(batch(10, 20, 3)).unwrap()
}

/// The files of the pending batch whose numbers are `there`, as a survey finds them.
fn seen(checkpoint: &Checkpoint, there: &[usize]) -> PartitionSeen {
    let batch = checkpoint.pending.as_ref().unwrap();
    let imprint = Checkpoint::decode(checkpoint.imprint(batch).as_bytes()).unwrap();
    let file = |&at: &usize| FileSeen {
        object: format!("{}/file", batch.files[at].dir),
        dir: batch.files[at].dir.clone(),
        digest: Some(batch.files[at].digest.clone()),
        imprint: Some(imprint.clone()),
    };
    PartitionSeen {
        partition: 0,
        log: 7..30,
        sink: Sink::Newest(Newest {
            start: batch.start,
            end: batch.end,
            files: there.iter().map(file).collect(),
        }),
    }
}

fn files(seen: &mut PartitionSeen) -> &mut Vec<FileSeen> {
    let Sink::Newest(newest) = &mut seen.sink else {
        panic!("there are files");
    };
    &mut newest.files
}

/// But for who wrote it and how often.
fn same(one: &Checkpoint, other: &Checkpoint) -> bool {
    let bare = |of: &Checkpoint| Checkpoint {
        epoch: 0,
        owner: String::new(),
        n: 0,
        ..of.clone()
    };
    bare(one) == bare(other)
}

fn made(seen: &PartitionSeen) -> Checkpoint {
    let made = rebuild(seen, &seen_log(), "rebuild-1", false).unwrap();
    made.unwrap()
}

fn refusal(seen: &PartitionSeen) -> Refusal {
    rebuild(seen, &seen_log(), "rebuild-1", false).unwrap_err()
}

#[test]
fn a_whole_batch_is_committed() {
    let lost = announced();
    let made = made(&seen(&lost, &[0, 1, 2]));
    assert!(same(&made, &lost.commit().unwrap()), "{made:#?}");
    assert_eq!(made.owner, "rebuild-1");
    assert_eq!((made.begin, made.totals.files), (5, 5));
}

#[test]
fn a_part_of_a_batch_is_pending_as_it_was_announced() {
    let lost = announced();
    for there in [&[0][..], &[2], &[0, 2]] {
        let made = made(&seen(&lost, there));
        assert!(same(&made, &lost), "{made:#?}");
    }
}

#[test]
fn the_rest_of_a_batch_must_still_be_in_the_log() {
    let mut found = seen(&announced(), &[0, 1]);
    found.log.start = 11;
    let refused = refusal(&found);
    assert!(
        matches!(
            refused,
            Refusal::RestGone {
                have: 2,
                all: 3,
                log: 11,
                ..
            }
        ),
        "{refused}"
    );
    // A whole one needs nothing of the log.
    let mut whole = seen(&announced(), &[0, 1, 2]);
    whole.log.start = 25;
    assert_eq!(made(&whole).next, 20);
}

#[test]
fn a_partition_without_a_file_was_never_written_if_the_log_still_has_its_first_record() {
    let mut empty = seen(&announced(), &[0]);
    empty.sink = Sink::Empty;
    assert!(matches!(refusal(&empty), Refusal::Unknown { log: 7, .. }));
    let told = rebuild(&empty, &seen_log(), "rebuild-1", true);
    assert_eq!(told, Ok(None));
    empty.log.start = 0;
    assert_eq!(rebuild(&empty, &seen_log(), "rebuild-1", false), Ok(None));
}

#[test]
fn files_that_are_not_what_they_say_are_refused() {
    let good = seen(&announced(), &[0, 1]);
    let spoil = |spoil: &dyn Fn(&mut FileSeen)| {
        let mut found = good.clone();
        spoil(&mut files(&mut found)[1]);
        refusal(&found)
    };
    let foreign = |refused| matches!(refused, Refusal::Foreign { .. });
    assert!(matches!(
        spoil(&|file| file.imprint = None),
        Refusal::NoImprint { .. }
    ));
    assert!(foreign(spoil(&|file| file.digest = Some("0".repeat(32)))));
    assert!(foreign(spoil(&|file| file.digest = None)));
    assert!(foreign(spoil(
        &|file| "dt=1970-01-01".clone_into(&mut file.dir)
    )));
    assert!(foreign(spoil(&|file| {
        file.imprint.as_mut().unwrap().totals.rows += 1;
    })));
    assert!(foreign(spoil(&|file| {
        file.imprint.as_mut().unwrap().pending = None;
    })));
    assert!(matches!(
        spoil(&|file| "other".clone_into(&mut file.imprint.as_mut().unwrap().topic_id)),
        Refusal::OtherLog { .. }
    ));
}

fn name(start: Offset, end: Offset, hour: u32) -> ObjectName {
    ObjectName {
        dir: format!("dt=2026-01-31/hour={hour:02}"),
        topic: "shop".to_owned(),
        topic_id8: "01234567".to_owned(),
        partition: 3,
        start,
        end,
        plan8: "aaaaaaaa".to_owned(),
    }
}

#[test]
fn the_newest_files_are_those_of_the_last_range() {
    let names = vec![name(10, 20, 7), name(0, 10, 7), name(10, 20, 6)];
    assert_eq!(newest(names).unwrap(), [name(10, 20, 6), name(10, 20, 7)]);
    assert_eq!(newest(Vec::new()).unwrap(), []);
    // Old files may have been removed in front.
    assert_eq!(newest(vec![name(90, 95, 7)]).unwrap().len(), 1);
}

#[test]
fn a_gap_and_an_overlap_are_named() {
    let gap = newest(vec![name(0, 10, 7), name(12, 20, 7)]).unwrap_err();
    assert!(
        gap.starts_with("no file covers the offsets [10, 12) of p00003"),
        "{gap}"
    );
    let overlap = newest(vec![name(0, 10, 7), name(8, 20, 7)]).unwrap_err();
    assert!(
        overlap.starts_with("two files cover the offsets [8, 10) of p00003"),
        "{overlap}"
    );
    let inside = newest(vec![name(0, 10, 7), name(0, 5, 8)]).unwrap_err();
    assert!(inside.starts_with("two files cover"), "{inside}");
}

#[test]
fn a_checkpoint_fits_its_own_files_and_no_others() {
    let pending = announced();
    let committed = pending.commit().unwrap();
    let found = seen(&pending, &[0, 1, 2]);
    let log = seen_log();
    for good in [&pending, &committed] {
        assert_eq!(fits(good, &found, &log, true), Ok(()));
    }
    // Announced, and nothing put yet.
    let next = committed.announce(batch(20, 25, 1)).unwrap();
    assert_eq!(fits(&next, &found, &log, true), Ok(()));
    let older = Checkpoint::new(&log_of(), 0, 5, "worker");
    let behind = fits(&older, &found, &log, true);
    assert!(matches!(
        behind,
        Err(Refusal::Behind {
            next: 5,
            end: 20,
            ..
        })
    ));
    let other_batch = older.announce(batch(5, 12, 1)).unwrap();
    let behind = fits(&other_batch, &found, &log, true);
    assert!(matches!(behind, Err(Refusal::Behind { .. })));
    let newer = next.commit().unwrap();
    let ahead = fits(&newer, &found, &log, true);
    assert!(matches!(
        ahead,
        Err(Refusal::Ahead {
            next: 25,
            end: 20,
            ..
        })
    ));
}

fn log_of() -> Identity {
    log()
}

#[test]
fn a_checkpoint_fits_an_empty_sink_only_where_nothing_was_written_or_files_were_removed() {
    let mut empty = seen(&announced(), &[0]);
    empty.sink = Sink::Empty;
    let log = seen_log();
    let committed = announced().commit().unwrap();
    let ahead = fits(&committed, &empty, &log, false);
    assert!(matches!(ahead, Err(Refusal::Ahead { end: 0, .. })));
    assert_eq!(fits(&committed, &empty, &log, true), Ok(()));
    let fresh = Checkpoint::new(&log_of(), 0, 0, "worker");
    assert_eq!(fits(&fresh, &empty, &log, false), Ok(()));
}

proptest! {
    /// Whatever was cut before, and whichever files of the last batch were put when the checkpoint was lost: what is
    /// made again is what stood there.
    #[test]
    fn what_is_made_again_is_what_was_lost(
        cuts in proptest::collection::vec((1_u64..50, 1_usize..5), 1..8),
        there in proptest::collection::vec(any::<bool>(), 5),
        begin in 0_u64..100,
    ) {
        let mut checkpoint = Checkpoint::new(&log(), 0, begin, "worker");
        let mut names = Vec::new();
        for (at, &(length, folders)) in cuts.iter().enumerate() {
            if at > 0 {
                checkpoint = checkpoint.commit().unwrap();
            }
            let (start, end) = (checkpoint.next, checkpoint.next + length);
            checkpoint = checkpoint.announce(batch(start, end, folders)).unwrap();
            names.extend((0..folders as u32).map(|hour| name(start, end, hour)));
        }
        let folders = cuts.last().unwrap().1;
        let there: Vec<usize> = (0..folders).filter(|&at| there[at]).collect();
        prop_assume!(!there.is_empty());
        let mut found = seen(&checkpoint, &there);
        found.log = begin..checkpoint.next + 100;
        let last = newest(names).unwrap();
        prop_assert_eq!(last.len(), folders);
        let lost = if there.len() == folders { checkpoint.commit().unwrap() } else { checkpoint };
        let again = made(&found);
        prop_assert!(same(&again, &lost));
        prop_assert_eq!(fits(&again, &found, &seen_log(), true), Ok(()));
        let older = Checkpoint::new(&log(), 0, begin, "worker");
        prop_assert!(older.next == again.next || fits(&older, &found, &seen_log(), true).is_err());
    }
}
