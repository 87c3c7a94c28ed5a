//! A store with so many objects that listing them takes long: the group must not take the worker for dead.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use logpipe_workers::etl::commit::CommitError;
use logpipe_workers::etl::{Control, EtlError};
use logpipe_workers::log::memory::MemoryLog;
use logpipe_workers::log::{Changes, Identity, Log, LogError, Member, Offset, Sink, Source};

use crate::support::{Fuse, Lists, StopOnDrop, World, lines, until};

/// The group's `max.poll.interval.ms`.
const LIMIT: Duration = Duration::from_millis(1500);

/// A log whose member notes when it was not polled for too long.
#[derive(Clone)]
struct StrictLog {
    log: MemoryLog,
    late: Arc<AtomicBool>,
}

struct StrictMember {
    member: Box<dyn Member>,
    late: Arc<AtomicBool>,
    polled: Instant,
}

impl StrictMember {
    fn touch(&mut self) {
        let last = std::mem::replace(&mut self.polled, Instant::now());
        if last.elapsed() > LIMIT {
            self.late.store(true, Ordering::SeqCst);
        }
    }
}

impl Log for StrictLog {
    fn identity(&self) -> Identity {
        self.log.identity()
    }

    fn source(&self) -> Result<Box<dyn Source>, LogError> {
        self.log.source()
    }

    fn sink(&self, partition: u32) -> Result<Box<dyn Sink>, LogError> {
        self.log.sink(partition)
    }

    fn member(&self, index: u32, count: u32) -> Result<Box<dyn Member>, LogError> {
        Ok(Box::new(StrictMember {
            member: self.log.member(index, count)?,
            late: self.late.clone(),
            polled: Instant::now(),
        }))
    }
}

impl Member for StrictMember {
    fn source(&mut self) -> &mut dyn Source {
        self.touch();
        self.member.source()
    }

    fn changes(&mut self) -> Result<Changes, LogError> {
        self.member.changes()
    }

    fn accept(&mut self, starts: &[(u32, Offset)]) -> Result<(), LogError> {
        self.touch();
        self.member.accept(starts)
    }

    fn give_back(&mut self, partitions: &[u32]) -> Result<(), LogError> {
        self.member.give_back(partitions)
    }

    fn note_committed(&mut self, partition: u32, next: Offset) {
        self.member.note_committed(partition, next);
    }

    fn is_shared(&self) -> bool {
        self.member.is_shared()
    }
}

fn filled(partitions: u32) -> World {
    let world = World::new(partitions);
    for partition in 0..partitions {
        world.block(partition, "demo-0", 0, &lines(0..10, |_| 7));
    }
    world
}

fn is_committed(world: &World, partitions: u32) -> bool {
    (0..partitions).all(|p| world.checkpoint(p).is_some_and(|c| c.next == 1))
}

#[test]
fn a_member_is_polled_while_the_store_is_listed() {
    let mut world = filled(1);
    world.options.limits.interval = Duration::from_millis(10);
    let log = StrictLog {
        log: world.log.clone(),
        late: Arc::default(),
    };
    let control = Arc::new(Control::new(1));
    world.lists.close();
    std::thread::scope(|scope| {
        let _stop = StopOnDrop(&control);
        scope.spawn(|| {
            world
                .serve_log(&log, &Fuse::never(), &control, &Arc::default())
                .unwrap();
        });
        until("the store is listed", || world.lists.count() > 0);
        std::thread::sleep(LIMIT * 2);
        assert!(world.rows().is_empty());
        world.lists.open();
        until("all is committed", || is_committed(&world, 1));
    });
    assert!(!log.late.load(Ordering::SeqCst));
}

#[test]
fn a_worker_can_be_stopped_while_the_store_is_listed() {
    let world = filled(1);
    let control = Arc::new(Control::new(1));
    world.lists.close();
    std::thread::scope(|scope| {
        let stop = StopOnDrop(&control);
        let worker = scope.spawn(|| world.serve(&Fuse::never(), &control));
        until("the store is listed", || world.lists.count() > 0);
        drop(stop);
        worker.join().unwrap().unwrap();
    });
    assert!(world.rows().is_empty());
}

#[test]
fn threads_share_a_listing() {
    const PARTITIONS: u32 = 6;
    let mut world = filled(PARTITIONS);
    world.options.threads = PARTITIONS;
    world.options.limits.interval = Duration::from_millis(10);
    let control = Arc::new(Control::new(PARTITIONS));
    world.lists.close();
    std::thread::scope(|scope| {
        let _stop = StopOnDrop(&control);
        scope.spawn(|| world.serve(&Fuse::never(), &control).unwrap());
        let taken = || (0..PARTITIONS).all(|p| world.checkpoint(p).is_some());
        until("all are taken over", taken);
        // Those that were taken over behind the first listing wait for the second.
        std::thread::sleep(Duration::from_millis(300));
        world.lists.open();
        until("all is committed", || is_committed(&world, PARTITIONS));
    });
    assert!(world.lists.count() <= 2, "{} listings", world.lists.count());
}

#[test]
fn files_of_a_worker_that_took_over_during_the_listing_are_not_ahead_of_the_checkpoint() {
    let world = filled(1);
    let mut other = world.clone();
    other.lists = Lists::default();
    let control = Arc::new(Control::new(1));
    world.lists.close();
    let error = std::thread::scope(|scope| {
        let _stop = StopOnDrop(&control);
        let worker = scope.spawn(|| world.run_with(&Fuse::never(), &control));
        until("the store is listed", || world.lists.count() > 0);
        other.run(&Fuse::never()).unwrap();
        world.lists.open();
        worker.join().unwrap().err().unwrap()
    });
    assert!(
        matches!(&error, EtlError::Commit(error) if matches!(**error, CommitError::Fenced { .. })),
        "{error}"
    );
    assert_eq!(world.rows().len(), 10);
}
