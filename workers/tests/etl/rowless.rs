//! Records without a row, which retention takes before any row follows them: fences, duplicates, the markers of
//! transactions. Nothing was lost, so nothing may stop.

use std::sync::Arc;
use std::time::Duration;

use logpipe_api::settings::PLAN_KEY;
use logpipe_workers::checkpoint::memory::MemoryStore;
use logpipe_workers::checkpoint::{Anchor, Batch, BatchFile, CheckpointStore, Empty};
use logpipe_workers::etl::batch::EncodedBatch;
use logpipe_workers::etl::receive::{Producers, Progress};
use logpipe_workers::etl::{Control, EtlError};
use logpipe_workers::log::key::BlockKey;

use crate::support::{Fuse, StopOnDrop, World, lines, until};

/// A partition with ten lines.
fn world() -> World {
    let world = World::new(1);
    world.block(0, "demo-0", 0, &lines(0..10, |_| 7));
    world
}

fn fence(world: &World, generation: u32) {
    let mut key = Vec::new();
    BlockKey::fence("demo-0", generation, 7).encode(&mut key);
    world.raw(0, key, Vec::new());
}

fn numbers(count: u64) -> Vec<String> {
    (0..count).map(|n| format!("line {n:05}")).collect()
}

#[test]
fn a_fence_that_retention_took_is_no_data_loss() {
    let world = world();
    world.run(&Fuse::never()).unwrap();
    fence(&world, 2);
    world.run(&Fuse::never()).unwrap();
    world.log.trim(0, 2);
    world.run(&Fuse::never()).unwrap();
    let checkpoint = world.checkpoint(0).unwrap();
    assert_eq!(
        checkpoint.next, 1,
        "the next batch begins where the last ended"
    );
    // What the fence said is known.
    world.block(0, "demo-0", 10, &lines(90..100, |_| 7));
    world.run(&Fuse::never()).unwrap();
    assert_eq!(world.messages(), numbers(10));
}

#[test]
fn a_batch_that_is_pending_behind_a_fence_is_finished_without_the_fence() {
    let (whole, cut) = (world(), world());
    for world in [&whole, &cut] {
        world.run(&Fuse::never()).unwrap();
        world.block(0, "demo-0", 0, &lines(0..10, |_| 7));
        world.run(&Fuse::never()).unwrap();
        world.block(0, "demo-0", 10, &lines(10..20, |_| 7));
        // A take-over and an announcement; then it dies at its put.
        assert!(world.run(&Fuse::at(2, false)).is_err());
        let pending = world.checkpoint(0).unwrap().pending.unwrap();
        assert_eq!((pending.start, pending.end), (1, 3));
    }
    cut.log.trim(0, 2);
    for world in [&whole, &cut] {
        world.run(&Fuse::never()).unwrap();
        assert_eq!(world.messages(), numbers(20));
        let checkpoint = world.checkpoint(0).unwrap();
        assert_eq!((checkpoint.next, checkpoint.empty), (3, None));
    }
}

#[test]
fn the_markers_of_transactions_at_the_end_of_a_log_are_no_data_loss() {
    let world = world();
    world.log.skip(0, 1);
    world.run(&Fuse::never()).unwrap();
    world.log.trim(0, 2);
    world.run(&Fuse::never()).unwrap();
}

#[test]
fn a_record_that_was_never_read_is_data_loss_behind_a_fence_too() {
    let world = world();
    world.run(&Fuse::never()).unwrap();
    fence(&world, 2);
    world.run(&Fuse::never()).unwrap();
    fence(&world, 3);
    world.log.trim(0, 3);
    let error = world.run(&Fuse::never()).err().unwrap();
    assert!(
        matches!(
            error,
            EtlError::DataLoss {
                next: 2,
                start: 3,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn a_fence_is_noted_once_while_the_worker_runs() {
    let mut world = world();
    world.run(&Fuse::never()).unwrap();
    fence(&world, 2);
    world.options.limits.idle = Duration::from_millis(20);
    let control = Arc::new(Control::new(1));
    let noted = || world.checkpoint(0).filter(|c| c.empty.is_some());
    let first = std::thread::scope(|scope| {
        let _stop = StopOnDrop(&control);
        scope.spawn(|| world.serve(&Fuse::never(), &control).unwrap());
        until("the fence is noted", || noted().is_some());
        let first = noted().unwrap();
        std::thread::sleep(Duration::from_millis(200));
        first
    });
    assert_eq!((first.next, first.empty.as_ref().unwrap().until), (1, 2));
    assert_eq!(noted().unwrap(), first);
}

#[test]
fn behind_a_data_loss_a_partition_whose_checkpoint_is_removed_begins_where_the_log_does() {
    let mut world = world();
    world.run(&Fuse::never()).unwrap();
    for first in [10, 20, 30] {
        world.block(0, "demo-0", first, &lines(first..first + 10, |_| 7));
    }
    world.log.trim(0, 3);
    let error = world.run(&Fuse::never()).err().unwrap();
    assert!(matches!(error, EtlError::DataLoss { .. }), "{error}");
    world.checkpoints = futures::executor::block_on(async {
        let plan = world.checkpoints.read(PLAN_KEY).await.unwrap().unwrap();
        let checkpoints = MemoryStore::new();
        checkpoints.swap(PLAN_KEY, None, &plan).await.unwrap();
        checkpoints
    });
    world.run(&Fuse::never()).unwrap();
    let checkpoint = world.checkpoint(0).unwrap();
    assert_eq!((checkpoint.begin, checkpoint.next), (3, 4));
    let mut left = numbers(40);
    left.drain(10..30);
    assert_eq!(world.messages(), left);
}

fn producers(count: u32) -> Producers {
    let name = |number| (format!("producer-{number:05}"), Progress::default());
    (0..count).map(name).collect()
}

#[test]
fn a_note_that_does_not_fit_is_left_out_and_one_that_an_announcement_does_not_fit_beside_gives_way()
{
    let world = world();
    let empty = |count| Empty {
        until: 1,
        producers: producers(count),
    };
    let batch = Batch {
        start: 0,
        end: 2,
        plan: serde_json::from_value("9f3c".repeat(16).into()).unwrap(),
        anchor: Anchor {
            offset: 1,
            sha: String::new(),
        },
        producers_after: producers(250),
        files: vec![BatchFile {
            dir: "dt=2026-01-31".to_owned(),
            rows: 1,
            digest: String::new(),
            dead: false,
        }],
    };
    futures::executor::block_on(async {
        let mut committer = world.take_over("worker").await;
        committer.note_empty(empty(1000)).await.unwrap();
        assert_eq!(committer.checkpoint().empty, None);
        committer.note_empty(empty(250)).await.unwrap();
        assert_eq!(committer.checkpoint().empty, Some(empty(250)));
        let objects = Vec::new();
        let announced = EncodedBatch { batch, objects };
        committer.announce(&announced).await.unwrap();
        let checkpoint = committer.checkpoint();
        assert_eq!(checkpoint.empty, None);
        assert_eq!(checkpoint.pending, Some(announced.batch));
    });
}
