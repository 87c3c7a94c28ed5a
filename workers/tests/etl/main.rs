//! The real ETL over a log, checkpoints and a bucket in memory: each line becomes a row once, whatever dies.

mod group;
mod listing;
mod rowless;
mod support;
mod unanswered;

use std::collections::BTreeMap;
use std::sync::Arc;

use logpipe_workers::checkpoint::memory::{Fault, MemoryStore};
use logpipe_workers::checkpoint::{CheckpointStore, Seen, Swap};
use logpipe_workers::etl::commit::CommitError;
use logpipe_workers::etl::name::ObjectName;
use logpipe_workers::etl::{Control, EtlError};
use logpipe_workers::log::Log;
use logpipe_workers::store::PutError;
use object_store::ObjectStoreExt;
use object_store::path::Path;

use support::{Fuse, World, lines};

/// Two partitions, 120 lines in 12 blocks of 3 hours, batches of 20 rows.
fn busy_world() -> World {
    let mut world = World::new(2);
    world.options.limits.max_rows = 20;
    for partition in 0..2_u64 {
        let producer = format!("demo-{partition}");
        for block in 0..6 {
            let first = partition * 1000 + block * 10;
            let texts = lines(first..first + 10, |n| n % 3);
            world.block(partition as u32, &producer, block * 10, &texts);
        }
    }
    world
}

fn expected() -> Vec<String> {
    (0..60)
        .chain(1000..1060)
        .map(|n| format!("line {n:05}"))
        .collect()
}

fn commit_error(error: &EtlError) -> Option<&CommitError> {
    match error {
        EtlError::Commit(error) => Some(error),
        _ => None,
    }
}

#[test]
fn each_line_becomes_one_row_in_the_folder_of_its_hour() {
    let world = busy_world();
    world.run(&Fuse::never()).unwrap();
    assert_eq!(world.messages(), expected());
    for (path, bytes) in world.objects() {
        let name = ObjectName::parse(path.strip_prefix("logs/").unwrap()).unwrap();
        for (text, partition, offset, _) in support::rows_of(&bytes) {
            let n: u64 = text.trim_start_matches("line ").parse().unwrap();
            assert_eq!(name.dir, format!("dt=2026-01-31/hour={:02}", n % 3));
            assert_eq!(partition as u32, name.partition);
            assert!(
                name.range().contains(&(offset as u64)),
                "{path} holds offset {offset}"
            );
        }
    }
}

#[test]
fn a_second_run_writes_nothing() {
    let world = busy_world();
    world.run(&Fuse::never()).unwrap();
    let objects = world.objects();
    world.run(&Fuse::never()).unwrap();
    assert_eq!(world.objects(), objects);
}

#[test]
fn two_worlds_with_the_same_log_hold_the_same_bytes() {
    let (one, mut two) = (busy_world(), busy_world());
    two.log = one.log.clone();
    one.run(&Fuse::never()).unwrap();
    two.run(&Fuse::never()).unwrap();
    assert_eq!(one.objects(), two.objects());
}

#[test]
fn whatever_write_the_worker_dies_at_the_next_one_finishes_exactly() {
    // Each crash point on a thread of its own: most of the time is waiting for retries to give up.
    let crashes: Vec<_> = (0..)
        .flat_map(|write| [(write, false), (write, true)])
        .take(90)
        .map(|(write, applied)| {
            std::thread::spawn(move || {
                let world = busy_world();
                let fuse = Fuse::at(write, applied);
                let died = world.run(&fuse).is_err();
                assert_eq!(died, fuse.burnt(), "write {write}");
                assert_once(&world, &format!("after write {write}, applied {applied}"));
                // The next worker cuts elsewhere: only what was announced is pinned.
                let mut next = world.clone();
                next.options.limits.max_rows = 33;
                next.run(&Fuse::never()).unwrap();
                assert_eq!(
                    next.messages(),
                    expected(),
                    "write {write}, applied {applied}"
                );
                died
            })
        })
        .collect();
    let died = crashes
        .into_iter()
        .map(|crash| crash.join().unwrap())
        .filter(|died| *died)
        .count();
    assert!(died > 40, "only {died} crash points were reached");
}

/// At every instant: nothing twice, and all that is committed is there.
fn assert_once(world: &World, when: &str) {
    let mut seen = BTreeMap::new();
    for row in world.rows() {
        *seen.entry((row.1, row.2, row.3)).or_insert(0) += 1;
    }
    assert!(
        seen.values().all(|count| *count == 1),
        "{when}: a row stands twice"
    );
    for partition in 0..2 {
        let Some(checkpoint) = world.checkpoint(partition) else {
            continue;
        };
        for offset in 0..checkpoint.next {
            for line in 0..10 {
                let row = (partition as i32, offset as i64, line);
                assert!(
                    seen.contains_key(&row),
                    "{when}: {row:?} is committed and not there"
                );
            }
        }
    }
}

#[test]
fn blocks_that_were_sent_twice_or_with_other_borders_count_once() {
    let world = World::new(1);
    let all = lines(0..30, |_| 7);
    world.block(0, "demo-0", 0, &all[..10]);
    world.block(0, "demo-0", 0, &all[..10]);
    world.block(0, "demo-0", 12, &all[12..20]);
    world.block(0, "demo-0", 5, &all[5..25]);
    world.block(0, "demo-0", 25, &all[25..]);
    world.run(&Fuse::never()).unwrap();
    let expected: Vec<_> = (0..30).map(|n| format!("line {n:05}")).collect();
    assert_eq!(world.messages(), expected);
}

#[test]
fn records_of_others_count_by_offset_alone() {
    let world = World::new(1);
    for n in 0..3 {
        let text = lines(n..n + 1, |_| 7).join("\n");
        world.raw(0, b"user-42".to_vec(), text.into_bytes());
    }
    world.run(&Fuse::never()).unwrap();
    assert_eq!(world.messages(), ["line 00000", "line 00001", "line 00002"]);
}

#[test]
fn a_line_that_is_not_utf8_goes_to_the_quarantine_and_its_neighbours_do_not() {
    let world = World::new(1);
    let mut value = lines(0..2, |_| 7).join("\n").into_bytes();
    value.extend_from_slice(b"\n2026-01-31 07:00:00,000 INFO \xff broken\n");
    value.extend_from_slice(lines(2..3, |_| 7)[0].as_bytes());
    world.raw(0, Vec::new(), value);
    let counters = world.run(&Fuse::never()).unwrap();
    assert_eq!((counters.rows.get(), counters.dead.get()), (3, 1));
    let dead: Vec<_> = world
        .objects()
        .into_keys()
        .filter(|p| p.contains("/_dead/"))
        .collect();
    assert_eq!(dead.len(), 1);
    assert!(
        dead[0].starts_with("logs/_dead/dt=2026-01-31/logs-"),
        "{}",
        dead[0]
    );
}

#[test]
fn a_batch_is_cut_before_it_would_have_more_than_64_files() {
    let world = World::new(1);
    // 40 days in each block: one block fits, two do not.
    let days = |from: u64| -> Vec<String> {
        let day = |n: u64| {
            format!(
                "2026-{:02}-{:02} 07:00:00,000 INFO {n}",
                1 + n / 28,
                1 + n % 28
            )
        };
        (from..from + 40).map(day).collect()
    };
    world.block(0, "demo-0", 0, &days(0));
    world.block(0, "demo-0", 40, &days(40));
    world.run(&Fuse::never()).unwrap();
    let ranges: std::collections::BTreeSet<_> = world
        .objects()
        .keys()
        .map(|path| ObjectName::parse(path.strip_prefix("logs/").unwrap()).unwrap())
        .map(|name| (name.start, name.end))
        .collect();
    assert_eq!(ranges.into_iter().collect::<Vec<_>>(), [(0, 1), (1, 2)]);
    assert_eq!(world.rows().len(), 80);
}

#[test]
fn a_batch_that_was_cut_for_its_folders_remembers_only_its_own_lines() {
    let world = World::new(1);
    let day = |n: u64| {
        format!(
            "2026-{:02}-{:02} 07:00:00,000 INFO {n}",
            1 + n / 28,
            1 + n % 28
        )
    };
    for first in [0, 40, 80] {
        let texts: Vec<String> = (first..first + 40).map(day).collect();
        world.block(0, "demo-0", first, &texts);
    }
    // The plan, a take-over, an announcement, 40 puts, and their commit: then it dies.
    assert!(world.run(&Fuse::at(43, true)).is_err());
    assert_eq!(world.checkpoint(0).unwrap().next, 1);
    world.run(&Fuse::never()).unwrap();
    assert_eq!(world.rows().len(), 120);
}

#[test]
fn a_checkpoint_write_whose_answer_is_lost_is_found_to_be_there() {
    for fault in [Fault::AfterWrite, Fault::BeforeWrite] {
        let world = busy_world();
        world.checkpoints.fail_next(fault);
        world.run(&Fuse::never()).unwrap();
        assert_eq!(world.messages(), expected());

        // The same for the swap of a partition, whose old value does not stand any more.
        futures::executor::block_on(async {
            world.take_over("first").await;
            world.checkpoints.fail_next(fault);
        });
        world.run(&Fuse::never()).unwrap();
    }
}

#[test]
fn a_record_with_more_folders_than_a_batch_may_have_loses_nothing() {
    let world = World::new(1);
    let text: Vec<String> = (0..100)
        .map(|n| {
            format!(
                "2026-{:02}-{:02} 07:00:00,000 INFO {n}",
                1 + n / 28,
                1 + n % 28
            )
        })
        .collect();
    world.block(0, "demo-0", 0, &text);
    let counters = world.run(&Fuse::never()).unwrap();
    assert_eq!((counters.rows.get(), counters.dead.get()), (63, 37));
    assert_eq!(world.rows().len(), 100);
}

#[test]
fn a_pending_batch_is_finished_by_the_plan_it_was_announced_under() {
    let world = busy_world();
    // The plan, two take-overs and an announcement; then the worker dies at its first put.
    assert!(world.run(&Fuse::at(4, false)).is_err());
    let pending = (0..2)
        .find_map(|p| world.checkpoint(p).unwrap().pending)
        .expect("one is pending");
    let mut next = world.clone();
    next.options.granularity = logpipe_api::pipeline::Granularity::Day;
    next.run(&Fuse::never()).unwrap();
    assert_eq!(next.messages(), expected());
    let hourly = next
        .objects()
        .keys()
        .filter(|path| path.contains("/hour="))
        .count();
    assert_eq!(hourly, pending.files.len());
}

#[test]
fn another_content_under_the_same_name_is_a_conflict_and_is_not_overwritten() {
    let world = busy_world();
    // It dies at its first put; somebody else puts something there.
    assert!(world.run(&Fuse::at(4, false)).is_err());
    let pending = (0..2).find_map(|p| Some((p, world.checkpoint(p)?.pending?)));
    let (partition, pending) = pending.expect("one is pending");
    let log = world.log.identity();
    let name = ObjectName {
        dir: pending.files[0].dir.clone(),
        topic_id8: log.topic_id8(),
        topic: log.topic,
        partition,
        start: pending.start,
        end: pending.end,
        plan8: pending.plan.short().to_owned(),
    };
    let path = Path::from(format!("logs/{name}"));
    futures::executor::block_on(world.bucket.put(&path, "not parquet".into())).unwrap();
    let error = world.run(&Fuse::never()).err().unwrap();
    assert!(
        matches!(
            commit_error(&error),
            Some(CommitError::Put(PutError::Conflict { .. }))
        ),
        "{error}"
    );
    assert_eq!(world.objects()[path.as_ref()], "not parquet");
}

#[test]
fn a_log_that_was_made_anew_is_refused() {
    let world = busy_world();
    world.run(&Fuse::never()).unwrap();
    let mut other = busy_world();
    other.checkpoints = world.checkpoints.clone();
    let error = other.run(&Fuse::never()).err().unwrap();
    assert!(
        matches!(commit_error(&error), Some(CommitError::OtherLog { .. })),
        "{error}"
    );
}

#[test]
fn a_log_that_was_cut_short_is_refused() {
    let world = busy_world();
    world.run(&Fuse::never()).unwrap();
    world.log.truncate(0, 3);
    let error = world.run(&Fuse::never()).err().unwrap();
    assert!(
        matches!(
            error,
            EtlError::LogTruncated {
                partition: 0,
                next: 6,
                end: 3
            }
        ),
        "{error}"
    );
}

#[test]
fn a_log_with_another_record_at_the_anchor_is_refused() {
    let world = busy_world();
    world.run(&Fuse::never()).unwrap();
    world.log.truncate(0, 5);
    world.block(0, "demo-0", 50, &lines(70..80, |n| n % 3));
    let error = world.run(&Fuse::never()).err().unwrap();
    assert!(
        matches!(
            error,
            EtlError::AnchorDiffers {
                partition: 0,
                offset: 5
            }
        ),
        "{error}"
    );
}

#[test]
fn records_that_retention_took_too_early_are_data_loss() {
    let world = busy_world();
    world.run(&Fuse::never()).unwrap();
    for block in 6..9 {
        world.block(
            0,
            "demo-0",
            block * 10,
            &lines(block * 10..block * 10 + 10, |n| n % 3),
        );
    }
    world.log.trim(0, 8);
    let error = world.run(&Fuse::never()).err().unwrap();
    assert!(
        matches!(
            error,
            EtlError::DataLoss {
                partition: 0,
                next: 6,
                start: 8
            }
        ),
        "{error}"
    );
}

#[test]
fn a_checkpoint_that_was_removed_or_set_back_is_noticed_by_the_files_ahead_of_it() {
    let mut world = busy_world();
    // The plan, two take-overs, an announcement, three puts and their commit: then it dies.
    assert!(world.run(&Fuse::at(8, false)).is_err());
    let old = world.checkpoint(0).unwrap().encode();
    world.run(&Fuse::never()).unwrap();
    let (objects, newest) = (world.objects(), world.checkpoint(0).unwrap().encode());

    let swap = world.checkpoints.swap("p00000", Some(&newest), &old);
    assert_eq!(futures::executor::block_on(swap).unwrap(), Swap::Done);
    let error = world.run(&Fuse::never()).err().unwrap();
    assert!(
        matches!(error, EtlError::CheckpointBehind { partition: 0, .. }),
        "{error}"
    );

    world.checkpoints = MemoryStore::new();
    let error = world.run(&Fuse::never()).err().unwrap();
    assert!(
        matches!(
            error,
            EtlError::CheckpointBehind {
                next: 0,
                end: 6,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(world.objects(), objects);
}

#[test]
fn a_missing_checkpoint_is_noticed_where_only_the_pipeline_trims_the_log() {
    let mut world = busy_world();
    world.log.trim(0, 2);
    world.options.owns_log = true;
    let error = world.run(&Fuse::never()).err().unwrap();
    assert!(
        matches!(
            error,
            EtlError::CheckpointMissing {
                partition: 0,
                start: 2
            }
        ),
        "{error}"
    );
    assert!(world.objects().is_empty());
    // It is no less missing at the second try, which finds what the first one wrote.
    let error = world.run(&Fuse::never()).err().unwrap();
    assert!(
        matches!(
            error,
            EtlError::CheckpointMissing {
                partition: 0,
                start: 2
            }
        ),
        "{error}"
    );
}

#[test]
fn the_previous_copy_of_a_checkpoint_is_enough_to_go_on() {
    let world = World::new(1);
    world.block(0, "demo-0", 0, &lines(0..10, |_| 7));
    world.run(&Fuse::never()).unwrap();
    world.block(0, "demo-0", 10, &lines(10..20, |_| 7));
    world.block(0, "demo-0", 20, &lines(20..30, |_| 7));
    // A take-over and an announcement; then it dies at its put.
    assert!(world.run(&Fuse::at(2, false)).is_err());
    let previous = world.checkpoint(0).unwrap();
    assert!(previous.pending.is_some());
    let control = Arc::new(Control::new(1));
    world.run_with(&Fuse::never(), &control).unwrap();
    let (objects, newest) = (world.objects(), world.checkpoint(0).unwrap());
    assert_eq!(newest.next, 3);

    world.log.trim(0, control.needed(0));
    let (newest, previous) = (newest.encode(), previous.encode());
    let swap = world.checkpoints.swap("p00000", Some(&newest), &previous);
    assert_eq!(futures::executor::block_on(swap).unwrap(), Swap::Done);
    world.run(&Fuse::never()).unwrap();
    assert_eq!(world.objects(), objects);
    assert_eq!(world.checkpoint(0).unwrap().next, 3);
}

#[test]
fn a_worker_whose_partition_was_taken_over_stops() {
    let world = busy_world();
    // It dies when its announcement is written.
    assert!(world.run(&Fuse::at(4, false)).is_err());
    futures::executor::block_on(async {
        let mut paused = world.take_over("paused").await;
        let mut other = world.take_over("other").await;
        let error = paused.commit(None, None).await.unwrap_err();
        assert!(
            matches!(&error, CommitError::Fenced { partition: 0, owner } if owner == "other"),
            "{error}"
        );
        // What was known of the log's end is never before what is committed.
        let seen = Seen {
            at: 1_790_000_000_000,
            end: Some(0),
        };
        other.commit(None, Some(seen)).await.unwrap();
        let checkpoint = other.checkpoint();
        let end = Some(checkpoint.next);
        assert_eq!(checkpoint.seen, Some(Seen { end, ..seen }));
    });
}

#[test]
fn a_commit_tells_its_time() {
    let world = busy_world();
    world.run(&Fuse::never()).unwrap();
    for partition in 0..2 {
        let seen = world.checkpoint(partition).unwrap().seen.unwrap();
        assert!(seen.at > 1_700_000_000_000, "{seen:?}");
        assert_eq!(seen.end, None);
    }
}

#[test]
fn a_checkpoint_of_a_newer_release_is_refused() {
    let world = busy_world();
    let newer = br#"{"v":3,"anything":true}"#;
    futures::executor::block_on(world.checkpoints.swap("p00000", None, newer)).unwrap();
    let error = world.run(&Fuse::never()).err().unwrap();
    assert!(
        matches!(
            commit_error(&error),
            Some(CommitError::Unreadable { partition: 0, .. })
        ),
        "{error}"
    );
}
