//! Several ETL workers share one topic, and their partitions move all the time, politely and not: each line
//! becomes a row once.

// A helper of tests fails as a test does.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use logpipe_workers::checkpoint::CheckpointStore;
use logpipe_workers::etl::{self, Control, Parts};
use logpipe_workers::log::memory::MemoryLog;
use logpipe_workers::log::{Changes, Identity, Log, LogError, Member, Offset, Sink, Source};
use logpipe_workers::store::Store;

use crate::support::{StopOnDrop, World, lines, until};

const PARTITIONS: u32 = 4;
const WORKERS: usize = 3;
const LINES: u64 = 600;

/// What the coordinator and a member tell each other.
#[derive(Default)]
struct Inbox {
    changes: Changes,
    given_back: BTreeSet<u32>,
    committed: [Offset; PARTITIONS as usize],
}

/// The topic as one worker sees it.
#[derive(Clone)]
struct SharedLog {
    log: MemoryLog,
    inbox: Arc<Mutex<Inbox>>,
}

struct SharedMember {
    source: Box<dyn Source>,
    inbox: Arc<Mutex<Inbox>>,
}

impl Log for SharedLog {
    fn identity(&self) -> Identity {
        self.log.identity()
    }

    fn source(&self) -> Result<Box<dyn Source>, LogError> {
        self.log.source()
    }

    fn sink(&self, partition: u32) -> Result<Box<dyn Sink>, LogError> {
        self.log.sink(partition)
    }

    fn member(&self, _: u32, _: u32) -> Result<Box<dyn Member>, LogError> {
        Ok(Box::new(SharedMember {
            source: self.log.source()?,
            inbox: self.inbox.clone(),
        }))
    }
}

impl Member for SharedMember {
    fn source(&mut self) -> &mut dyn Source {
        self.source.as_mut()
    }

    fn changes(&mut self) -> Result<Changes, LogError> {
        let changes = std::mem::take(&mut self.inbox.lock().unwrap().changes);
        for &partition in &changes.lost {
            self.source.release(partition)?;
        }
        Ok(changes)
    }

    fn accept(&mut self, starts: &[(u32, Offset)]) -> Result<(), LogError> {
        for &(partition, offset) in starts {
            self.source.assign(partition, offset)?;
            self.source.pause(partition, false);
        }
        Ok(())
    }

    fn give_back(&mut self, partitions: &[u32]) -> Result<(), LogError> {
        for &partition in partitions {
            self.source.release(partition)?;
        }
        self.inbox.lock().unwrap().given_back.extend(partitions);
        Ok(())
    }

    fn note_committed(&mut self, partition: u32, next: Offset) {
        self.inbox.lock().unwrap().committed[partition as usize] = next;
    }

    fn is_shared(&self) -> bool {
        true
    }
}

/// A seeded sequence.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}

/// The group's coordinator: who has which partition.
struct Coordinator<'a> {
    world: &'a World,
    inboxes: Vec<Arc<Mutex<Inbox>>>,
    owners: Vec<usize>,
    chance: Chance,
}

impl Coordinator<'_> {
    fn assign(&mut self, partition: u32, worker: usize) {
        let mut inbox = self.inboxes[worker].lock().unwrap();
        inbox.given_back.remove(&partition);
        inbox.changes.assigned.push(partition);
        drop(inbox);
        self.owners[partition as usize] = worker;
    }

    /// The old owner commits what it has read; then the new one begins.
    fn move_politely(&mut self, partition: u32, worker: usize) {
        let old = &self.inboxes[self.owners[partition as usize]];
        old.lock().unwrap().changes.revoked.push(partition);
        until("a partition is given back", || {
            old.lock().unwrap().given_back.contains(&partition)
        });
        self.assign(partition, worker);
    }

    /// The old owner is taken for dead, and goes on for a while.
    fn steal(&mut self, partition: u32, worker: usize) {
        // One that took over behind the new owner would fence it, and both would have to start anew.
        let owner = format!("worker-{}", self.owners[partition as usize]);
        until("the old owner has taken over", || {
            let checkpoint = self.world.checkpoint(partition);
            checkpoint.is_some_and(|checkpoint| checkpoint.owner == owner)
        });
        let old = self.inboxes[self.owners[partition as usize]].clone();
        self.assign(partition, worker);
        std::thread::sleep(Duration::from_millis(self.chance.below(40) as u64));
        // As Kafka does it: nothing is lost before its assignment was taken.
        until("an assignment is noticed", || {
            !old.lock().unwrap().changes.assigned.contains(&partition)
        });
        old.lock().unwrap().changes.lost.push(partition);
        until("the loss is noticed", || {
            old.lock().unwrap().changes.lost.is_empty()
        });
    }

    fn step(&mut self) {
        let partition = self.chance.below(PARTITIONS as usize) as u32;
        let old = self.owners[partition as usize];
        let worker = (old + 1 + self.chance.below(WORKERS - 1)) % WORKERS;
        if self.chance.below(2) == 0 {
            self.move_politely(partition, worker);
        } else {
            self.steal(partition, worker);
        }
    }
}

fn run_worker(world: &World, log: &SharedLog, control: &Arc<Control>, name: usize) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let mut options = world.options.clone();
    options.owner = format!("worker-{name}");
    let checkpoints: Arc<dyn CheckpointStore> = Arc::new(world.checkpoints.clone());
    let parts = Parts {
        log,
        checkpoints,
        store: Store::new(world.bucket.clone(), "memory".to_owned(), "logs/"),
        control,
        counters: &Arc::default(),
        runtime: runtime.handle(),
    };
    let ended = etl::run(&options, parts, &|_| {});
    ended.unwrap_or_else(|error| panic!("worker {name}: {error}"));
}

fn fill(world: &World, range: Range<u64>) {
    for first in range.step_by(5) {
        for partition in 0..PARTITIONS {
            let number = u64::from(partition) * LINES + first;
            let texts = lines(number..number + 5, |n| n % 3);
            world.block(partition, &format!("demo-{partition}"), first, &texts);
        }
    }
}

fn each_line_is_a_row_once_while_partitions_move(seed: u64) {
    let mut world = World::new(PARTITIONS);
    world.options.limits.interval = Duration::from_millis(15);
    world.options.limits.max_rows = 40;
    fill(&world, 0..5);
    let logs: Vec<SharedLog> = (0..WORKERS)
        .map(|_| SharedLog {
            log: world.log.clone(),
            inbox: Arc::default(),
        })
        .collect();
    let controls: Vec<_> = (0..WORKERS)
        .map(|_| Arc::new(Control::new(PARTITIONS)))
        .collect();
    std::thread::scope(|scope| {
        let running: Vec<_> = controls.iter().map(|control| StopOnDrop(control)).collect();
        let workers: Vec<_> = (0..WORKERS)
            .map(|name| {
                let (world, log, control) = (&world, &logs[name], &controls[name]);
                scope.spawn(move || run_worker(world, log, control, name))
            })
            .collect();
        let mut coordinator = Coordinator {
            world: &world,
            inboxes: logs.iter().map(|log| log.inbox.clone()).collect(),
            owners: vec![0; PARTITIONS as usize],
            chance: Chance(seed),
        };
        for partition in 0..PARTITIONS {
            coordinator.assign(partition, partition as usize % WORKERS);
        }
        for first in (5..LINES).step_by(20) {
            fill(&world, first..(first + 20).min(LINES));
            coordinator.step();
        }
        let end = LINES / 5;
        until("all is committed", || {
            (0..PARTITIONS).all(|p| world.checkpoint(p).is_some_and(|c| c.next == end))
        });
        let told = |log: &SharedLog, p: usize| log.inbox.lock().unwrap().committed[p];
        until("the group knows", || {
            (0..PARTITIONS as usize).all(|p| logs.iter().any(|log| told(log, p) == end))
        });
        drop(running);
        for worker in workers {
            worker.join().unwrap();
        }
    });
    let expected: Vec<String> = (0..u64::from(PARTITIONS) * LINES)
        .map(|n| format!("line {n:05}"))
        .collect();
    assert_eq!(world.messages(), expected, "seed {seed}");
}

#[test]
fn each_line_is_a_row_once_with_seed_1() {
    each_line_is_a_row_once_while_partitions_move(1);
}

#[test]
fn each_line_is_a_row_once_with_seed_2() {
    each_line_is_a_row_once_while_partitions_move(2);
}

#[test]
fn each_line_is_a_row_once_with_seed_3() {
    each_line_is_a_row_once_while_partitions_move(3);
}
