//! Members of a consumer group that come and go.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use logpipe_api::settings::KafkaSettings;
use logpipe_workers::log::kafka::{Group, KafkaLog, KafkaOptions};
use logpipe_workers::log::{Changes, Log, Member, Offset, contract};
use rdkafka::ClientConfig;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::support::{kafka, new_topic, open, undisturbed};

const PATIENCE: Duration = Duration::from_mins(1);
const PARTITIONS: u32 = 12;

fn grouped(settings: &KafkaSettings, instance: &str) -> Arc<dyn Log> {
    let options = KafkaOptions {
        group: Some(Group::Member {
            id: format!("group-of-{}", settings.topic),
            instance: instance.to_owned(),
        }),
        ..KafkaOptions::default()
    };
    Arc::new(KafkaLog::open(settings, options).unwrap())
}

/// Polls a member until its changes say something.
fn next_changes(member: &mut dyn Member) -> Changes {
    let begun = Instant::now();
    loop {
        let changes = member.changes().unwrap();
        if changes != Changes::default() {
            return changes;
        }
        assert!(begun.elapsed() < PATIENCE, "nothing changed");
        let wait = Duration::from_millis(20);
        member.source().poll(wait, &mut |_| {}).unwrap();
    }
}

/// Where each partition is, as a checkpoint has it, and who read what.
#[derive(Default)]
struct Truth {
    next: BTreeMap<u32, Offset>,
    read: BTreeMap<u32, Vec<Vec<u8>>>,
    owners: BTreeMap<u32, String>,
}

/// A worker that commits after each poll, and only what is its own.
fn work(log: &dyn Log, name: &str, truth: &Mutex<Truth>, stop: &AtomicBool) {
    let mut member = log.member(0, 1).unwrap();
    assert!(member.is_shared());
    let mut late = false;
    while !stop.load(Ordering::Relaxed) {
        let changes = member.changes().unwrap();
        // A machine that has more to do than it can makes a member late.
        late |= !changes.lost.is_empty();
        if !changes.revoked.is_empty() {
            let mut truth = truth.lock().unwrap();
            for partition in &changes.revoked {
                let ours = truth
                    .owners
                    .get(partition)
                    .is_some_and(|owner| owner == name);
                assert!(ours || late, "{partition} was ours");
                if ours {
                    truth.owners.remove(partition);
                }
            }
            drop(truth);
            member.give_back(&changes.revoked).unwrap();
        }
        if !changes.assigned.is_empty() {
            let mut truth = truth.lock().unwrap();
            let mut starts = Vec::new();
            for &partition in &changes.assigned {
                truth.owners.insert(partition, name.to_owned());
                starts.push((partition, truth.next.get(&partition).copied().unwrap_or(0)));
            }
            drop(truth);
            member.accept(&starts).unwrap();
        }
        let mut records = Vec::new();
        let wait = Duration::from_millis(20);
        let handed = member.source().poll(wait, &mut |record| {
            records.push((record.partition, record.offset, record.value.to_vec()));
        });
        handed.unwrap();
        let mut truth = truth.lock().unwrap();
        for (partition, offset, value) in records {
            let ours = truth
                .owners
                .get(&partition)
                .is_some_and(|owner| owner == name);
            assert!(ours || late, "{partition} is ours");
            if !ours {
                continue; // Another one has taken it over: as the checkpoint's owner would be.
            }
            let next = truth.next.entry(partition).or_default();
            assert_eq!(*next, offset, "of partition {partition}");
            *next = offset + 1;
            truth.read.entry(partition).or_default().push(value);
            member.note_committed(partition, offset + 1);
        }
    }
    // Its partitions go to others once it is missed.
    let mut truth = truth.lock().unwrap();
    truth.owners.retain(|_, owner| owner != name);
}

fn wait_for(truth: &Mutex<Truth>, what: &str, is_so: impl Fn(&Truth) -> bool) {
    let begun = Instant::now();
    while !is_so(&truth.lock().unwrap()) {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn spread(truth: &Truth) -> Vec<usize> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for owner in truth.owners.values() {
        *counts.entry(owner).or_default() += 1;
    }
    counts.into_values().collect()
}

#[test]
fn members_that_come_and_go_read_each_record_once() {
    let _quiet = undisturbed();
    let Some(kafka) = kafka() else { return };
    let settings = new_topic(&kafka, PARTITIONS);
    let truth = Mutex::new(Truth::default());
    let stops: Vec<AtomicBool> = (0..4).map(|_| AtomicBool::new(false)).collect();
    let written = AtomicBool::new(false);
    let count = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let log = open(&settings);
            let mut sinks: Vec<_> = (0..PARTITIONS).map(|p| log.sink(p).unwrap()).collect();
            let mut count = 0;
            while !written.load(Ordering::Relaxed) {
                for sink in &mut sinks {
                    for record in contract::records(10) {
                        sink.send(record).unwrap();
                    }
                }
                count += 10;
                std::thread::sleep(Duration::from_millis(20));
            }
            for sink in &mut sinks {
                sink.flush().unwrap();
            }
            count
        });
        let start = |index: usize| {
            let (settings, truth, stop) = (&settings, &truth, &stops[index]);
            scope.spawn(move || {
                let name = format!("worker-{index}");
                work(&*grouped(settings, &name), &name, truth, stop);
            });
        };
        let stop = |index: usize| stops[index].store(true, Ordering::Relaxed);
        (0..2).for_each(start);
        wait_for(&truth, "two share", |truth| spread(truth) == [6, 6]);
        (2..4).for_each(start);
        wait_for(&truth, "four share", |truth| spread(truth) == [3, 3, 3, 3]);
        stop(0);
        stop(2);
        wait_for(&truth, "two share again", |truth| spread(truth) == [6, 6]);
        written.store(true, Ordering::Relaxed);
        let count: usize = writer.join().unwrap();
        wait_for(&truth, "everything is read", |truth| {
            (0..PARTITIONS).all(|p| truth.next.get(&p) == Some(&(count as u64)))
        });
        (0..4).for_each(stop);
        count
    });
    let truth = truth.lock().unwrap();
    for values in truth.read.values() {
        let expected = contract::records(10).into_iter().cycle().take(count);
        assert!(
            values
                .iter()
                .cloned()
                .eq(expected.map(|r| r.value.to_vec())),
            "in order"
        );
    }
}

#[test]
fn a_member_that_comes_back_has_its_partitions_again_and_the_others_notice_nothing() {
    let _quiet = undisturbed();
    let Some(kafka) = kafka() else { return };
    let settings = new_topic(&kafka, 2);
    let (one, two) = (grouped(&settings, "one"), grouped(&settings, "two"));
    let mut first = one.member(0, 1).unwrap();
    assert_eq!(next_changes(&mut *first).assigned, [0, 1]);
    first.accept(&[(0, 0), (1, 0)]).unwrap();
    let mut second = two.member(0, 1).unwrap();
    let begun = Instant::now();
    let mut taken = Vec::new();
    while taken.is_empty() {
        assert!(begun.elapsed() < PATIENCE, "the second gets nothing");
        let changes = first.changes().unwrap();
        if !changes.revoked.is_empty() {
            first.give_back(&changes.revoked).unwrap();
        }
        first
            .source()
            .poll(Duration::from_millis(20), &mut |_| {})
            .unwrap();
        taken = second.changes().unwrap().assigned;
        second
            .source()
            .poll(Duration::from_millis(20), &mut |_| {})
            .unwrap();
    }
    assert_eq!(taken.len(), 1);
    second.accept(&[(taken[0], 0)]).unwrap();

    let begun = Instant::now();
    drop(second);
    assert!(begun.elapsed() < Duration::from_secs(5), "leaving is quick");
    let mut again = two.member(0, 1).unwrap();
    assert_eq!(next_changes(&mut *again).assigned, taken);
    again.accept(&[(taken[0], 0)]).unwrap();
    assert_eq!(first.changes().unwrap(), Changes::default());
}

#[test]
fn one_instance_twice_is_an_error_that_says_so() {
    let _quiet = undisturbed();
    let Some(kafka) = kafka() else { return };
    let settings = new_topic(&kafka, 1);
    let (one, two) = (grouped(&settings, "same"), grouped(&settings, "same"));
    let mut first = one.member(0, 1).unwrap();
    assert_eq!(next_changes(&mut *first).assigned, [0]);
    first.accept(&[(0, 0)]).unwrap();
    let mut second = two.member(0, 1).unwrap();
    let begun = Instant::now();
    let turn = |member: &mut Box<dyn Member>| {
        let changes = member.changes()?;
        if !changes.assigned.is_empty() {
            member.accept(&[(0, 0)])?;
        }
        if !changes.revoked.is_empty() {
            member.give_back(&changes.revoked)?;
        }
        let wait = Duration::from_millis(20);
        member.source().poll(wait, &mut |_| {})
    };
    let error = loop {
        assert!(begun.elapsed() < PATIENCE, "both go on");
        if let Err(error) = turn(&mut first).and_then(|_| turn(&mut second)) {
            break error.to_string();
        }
    };
    assert!(error.contains("same instance id"), "{error}");
}

#[test]
fn the_group_learns_how_far_a_partition_is_committed() {
    let _quiet = undisturbed();
    let Some(kafka) = kafka() else { return };
    let settings = new_topic(&kafka, 1);
    contract::write(&*open(&settings), 0, &contract::records(5));
    let log = grouped(&settings, "one");
    let mut member = log.member(0, 1).unwrap();
    assert_eq!(next_changes(&mut *member).assigned, [0]);
    member.accept(&[(0, 2)]).unwrap();
    let read = contract::read(member.source(), 3);
    assert_eq!(read[0].offset, 2);
    member.note_committed(0, 5);
    let group = format!("group-of-{}", settings.topic);
    let begun = Instant::now();
    loop {
        assert!(begun.elapsed() < PATIENCE, "the group never learns it");
        member.changes().unwrap();
        member
            .source()
            .poll(Duration::from_millis(20), &mut |_| {})
            .unwrap();
        if committed(&settings, &group, 0) == rdkafka::Offset::Offset(5) {
            return;
        }
    }
}

#[test]
fn a_partition_of_ours_can_be_given_up_and_read_from_elsewhere() {
    let Some(kafka) = kafka() else { return };
    let _quiet = undisturbed();
    let settings = new_topic(&kafka, 2);
    contract::write(&*open(&settings), 0, &contract::records(10));
    let log = grouped(&settings, "one");
    let mut member = log.member(0, 1).unwrap();
    assert_eq!(next_changes(&mut *member).assigned, [0, 1]);
    assert!(
        member.source().assign(0, 0).is_err(),
        "it is not accepted yet"
    );
    assert!(member.accept(&[(0, 0)]).is_err(), "where does 1 begin?");
    member.accept(&[(0, 0), (1, 0)]).unwrap();
    assert!(member.accept(&[(0, 0), (1, 0)]).is_err(), "it was answered");
    assert!(member.give_back(&[0]).is_err(), "nothing was revoked");
    // Before anything of it was fetched, and afterwards.
    for start in [5, 2, 9, 0] {
        member.source().assign(0, start).unwrap();
        let read = contract::read(member.source(), 10 - start as usize);
        assert_eq!(read[0].offset, start);
        assert_eq!(member.source().position(0), 10);
        member.source().release(0).unwrap();
        assert_eq!(member.source().position(0), 0);
    }
    contract::write(&*open(&settings), 0, &contract::records(1));
    contract::write(&*open(&settings), 1, &contract::records(1));
    let read = contract::read(member.source(), 1);
    assert_eq!(read[0].partition, 1);
    member.source().assign(0, 10).unwrap();
    assert_eq!(contract::read(member.source(), 1)[0].offset, 10);
}

#[test]
fn a_process_alone_tells_the_group_without_joining_it() {
    let _quiet = undisturbed();
    let Some(kafka) = kafka() else { return };
    let settings = new_topic(&kafka, 2);
    contract::write(&*open(&settings), 1, &contract::records(5));
    let group = format!("group-of-{}", settings.topic);
    let options = KafkaOptions {
        group: Some(Group::Told { id: group.clone() }),
        ..KafkaOptions::default()
    };
    let log = KafkaLog::open(&settings, options).unwrap();
    let mut member = log.member(0, 1).unwrap();
    assert_eq!(member.changes().unwrap().assigned, [0, 1]);
    member.accept(&[(0, 0), (1, 2)]).unwrap();
    assert_eq!(contract::read(member.source(), 3)[0].offset, 2);
    member.note_committed(1, 5);
    drop(member);
    assert_eq!(committed(&settings, &group, 1), rdkafka::Offset::Offset(5));
}

/// What the group was told, read by a plain client.
fn committed(settings: &KafkaSettings, group: &str, partition: i32) -> rdkafka::Offset {
    let tool: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", settings.bootstrap_servers.join(","))
        .set("group.id", group)
        .create()
        .unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition(&settings.topic, partition);
    let committed = tool.committed_offsets(list, PATIENCE).unwrap();
    committed.elements()[0].offset()
}
