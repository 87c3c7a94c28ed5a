//! What Kafka does to its clients: it goes away, removes records, gets another topic under the same name.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use logpipe_api::settings::KafkaSettings;
use logpipe_workers::log::kafka::topic::ensure;
use logpipe_workers::log::kafka::{Group, KafkaLog, KafkaOptions};
use logpipe_workers::log::{Changes, Log, LogError, NewRecord, Source, contract};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::support::{alone, kafka, new_topic, open, parts, undisturbed, wanted};

const PATIENCE: Duration = Duration::from_mins(1);

fn client(settings: &KafkaSettings) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", settings.bootstrap_servers.join(","));
    config
}

fn admin(settings: &KafkaSettings) -> AdminClient<DefaultClientContext> {
    client(settings).create().unwrap()
}

fn delete_topic(settings: &KafkaSettings) {
    let deleted = admin(settings).delete_topics(&[&settings.topic], &AdminOptions::new());
    let deleted = futures::executor::block_on(deleted);
    assert!(deleted.unwrap()[0].is_ok());
}

fn make_anew(settings: &KafkaSettings, partitions: u32) {
    delete_topic(settings);
    let begun = Instant::now();
    while ensure(settings, &wanted(partitions)).is_err() {
        assert!(begun.elapsed() < PATIENCE, "the topic cannot be made anew");
    }
}

/// `count` records, each with its number. They are of now: a broker that comes back knows no producer any more whose
/// last record says that it is older than a day, and so cannot tell what it sends again.
fn numbered(from: usize, count: usize) -> Vec<NewRecord> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let mut records = contract::records(count);
    for (n, record) in records.iter_mut().enumerate() {
        record.value = format!("{}\n", from + n).into();
        record.timestamp = now.as_millis() as i64 * 1000;
    }
    records
}

fn numbers(source: &mut dyn Source, most: Duration, read: &mut Vec<usize>) {
    let polled = source.poll(most, &mut |record| {
        let text = std::str::from_utf8(record.value).unwrap();
        read.push(text.trim_end().parse().unwrap());
    });
    polled.expect("a broker that is away is no error");
}

#[test]
fn a_broker_that_is_killed_costs_no_error_and_no_record() {
    let Some(kafka) = kafka() else { return };
    let _alone = alone();
    let settings = new_topic(&kafka, 1);
    let log = open(&settings);
    let done = AtomicBool::new(false);
    let mut read = Vec::new();
    let sent = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut sink = log.sink(0).unwrap();
            let mut sent = 0;
            while !done.load(Ordering::Relaxed) {
                for record in numbered(sent, 20) {
                    sink.send(record).expect("taken");
                }
                sent += 20;
                std::thread::sleep(Duration::from_millis(5));
            }
            sink.flush().expect("a broker that comes back is no error");
            assert_eq!(sink.acknowledged().unwrap(), sent as u64);
            sent
        });
        let reader = scope.spawn(|| {
            let mut source = log.source().unwrap();
            source.assign(0, 0).unwrap();
            let mut read = Vec::new();
            while !done.load(Ordering::Relaxed) {
                numbers(&mut *source, Duration::from_millis(50), &mut read);
            }
            (source, read)
        });
        for _ in 0..2 {
            std::thread::sleep(Duration::from_millis(500));
            parts(&["kafka", "kill"]);
            std::thread::sleep(Duration::from_secs(1));
            parts(&["kafka", "start"]);
        }
        done.store(true, Ordering::Relaxed);
        let sent = writer.join().unwrap();
        let (mut source, already) = reader.join().unwrap();
        read = already;
        let begun = Instant::now();
        while read.len() < sent {
            assert!(begun.elapsed() < PATIENCE, "{} of {sent} came", read.len());
            numbers(&mut *source, Duration::from_millis(50), &mut read);
        }
        sent
    });
    let wrong = read
        .iter()
        .zip(0..)
        .position(|(found, wanted)| *found != wanted);
    let end = log.source().unwrap().bounds(0).unwrap().end;
    // A batch has some 200 records.
    let around = wrong.map(|at| &read[at.saturating_sub(300)..(at + 300).min(read.len())]);
    assert!(
        end == sent as u64 && read.len() == sent && wrong.is_none(),
        "once, and in order: {} of {sent} read of {end} in the topic, wrong from {wrong:?} on: {around:?}",
        read.len()
    );
}

#[test]
fn a_broker_that_its_controller_has_given_up_can_be_asked_when_it_wakes() {
    let Some(kafka) = kafka() else { return };
    let _alone = alone();
    let settings = new_topic(&kafka, 1);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let log = open(&settings);
                while !done.load(Ordering::Relaxed) {
                    log.check_identity().expect("it is still this topic");
                }
            });
        }
        scope.spawn(|| {
            // A client that finds no leader the first time remembers that.
            while !done.load(Ordering::Relaxed) {
                open(&settings).bounds(0).expect("its leader comes back");
            }
        });
        parts(&["kafka", "pause"]);
        // Longer than a broker may be silent: for a moment the cluster then has none.
        std::thread::sleep(Duration::from_secs(12));
        parts(&["kafka", "resume"]);
        std::thread::sleep(Duration::from_secs(3));
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_member_outlives_its_broker_and_leaves_without_one() {
    let Some(kafka) = kafka() else { return };
    let _alone = alone();
    let settings = new_topic(&kafka, 1);
    contract::write(&*open(&settings), 0, &numbered(0, 10));
    let options = KafkaOptions {
        group: Some(Group::Member {
            id: format!("group-of-{}", settings.topic),
            instance: "one".to_owned(),
        }),
        ..KafkaOptions::default()
    };
    let log = KafkaLog::open(&settings, options).unwrap();
    let mut member = log.member(0, 1).unwrap();
    let mut read = Vec::new();
    let mut expect = |count: usize, member: &mut Box<dyn logpipe_workers::log::Member>| {
        let begun = Instant::now();
        while read.len() < count {
            assert!(begun.elapsed() < PATIENCE, "{} of {count} came", read.len());
            let changes = member.changes().expect("a broker that is away is no error");
            let next = read.len() as u64;
            if !changes.assigned.is_empty() {
                member.accept(&[(0, next)]).unwrap();
            }
            if !changes.revoked.is_empty() {
                member.give_back(&changes.revoked).unwrap();
            }
            numbers(member.source(), Duration::from_millis(20), &mut read);
        }
    };
    expect(10, &mut member);
    member.note_committed(0, 10);
    parts(&["kafka", "kill"]);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        assert_eq!(member.changes().unwrap(), Changes::default());
        member
            .source()
            .poll(Duration::from_millis(50), &mut |_| {})
            .unwrap();
    }
    parts(&["kafka", "start"]);
    contract::write(&*open(&settings), 0, &numbered(10, 10));
    expect(20, &mut member);
    // The second one is not told yet when the broker goes.
    member.note_committed(0, 19);
    member.note_committed(0, 20);
    parts(&["kafka", "kill"]);
    let begun = Instant::now();
    drop(member);
    let took = begun.elapsed();
    parts(&["kafka", "start"]);
    eprintln!("leaving took {took:?}");
    assert!(took < Duration::from_secs(15), "leaving took {took:?}");
}

#[test]
fn records_that_were_removed_are_out_of_range() {
    let Some(kafka) = kafka() else { return };
    let _quiet = undisturbed();
    let settings = new_topic(&kafka, 2);
    let log = open(&settings);
    contract::write(&*log, 0, &contract::records(10));
    contract::write(&*log, 1, &contract::records(10));
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&settings.topic, 0, Offset::Offset(7))
        .unwrap();
    let admin = admin(&settings);
    let deleted = admin.delete_records(&list, &AdminOptions::new());
    futures::executor::block_on(deleted).unwrap();

    let mut source = log.source().unwrap();
    assert_eq!(source.bounds(0).unwrap(), 7..10);
    source.assign(0, 3).unwrap();
    source.assign(1, 0).unwrap();
    let begun = Instant::now();
    let mut others = 0;
    for _ in 0..2 {
        let error = loop {
            assert!(begun.elapsed() < PATIENCE, "it is silent");
            let polled = source.poll(Duration::from_millis(100), &mut |record| {
                assert_eq!(record.partition, 1);
                others += 1;
            });
            if let Err(error) = polled {
                break error;
            }
        };
        let text = "offset 3 of partition 0 is not in the log, which holds [7, 10)";
        assert_eq!(error.to_string(), text);
    }
    assert_eq!(others, 10);
    source.assign(0, 7).unwrap();
    assert_eq!(contract::read(&mut *source, 3)[0].offset, 7);
}

#[test]
fn positions_pass_what_transactions_leave_behind() {
    let Some(kafka) = kafka() else { return };
    let _quiet = undisturbed();
    let settings = new_topic(&kafka, 1);
    let producer: BaseProducer = client(&settings)
        .set("transactional.id", &settings.topic)
        .create()
        .unwrap();
    producer.init_transactions(PATIENCE).unwrap();
    for (value, commits) in [("kept", true), ("given up", false)] {
        producer.begin_transaction().unwrap();
        for _ in 0..3 {
            let record: BaseRecord<'_, (), str> = BaseRecord::to(&settings.topic);
            producer.send(record.payload(value)).unwrap();
        }
        producer.flush(PATIENCE).unwrap();
        if commits {
            producer.commit_transaction(PATIENCE).unwrap();
        } else {
            producer.abort_transaction(PATIENCE).unwrap();
        }
    }
    let log = open(&settings);
    let mut source = log.source().unwrap();
    let bounds = source.bounds(0).unwrap();
    assert_eq!(bounds, 0..8, "with a marker behind each transaction");
    source.assign(0, 0).unwrap();
    let read = contract::read(&mut *source, 3);
    assert!(read.iter().all(|record| record.value == b"kept"));
    let begun = Instant::now();
    while source.position(0) < bounds.end {
        assert!(
            begun.elapsed() < PATIENCE,
            "it stays at {}",
            source.position(0)
        );
        let count = source.poll(Duration::from_millis(20), &mut |_| {}).unwrap();
        assert_eq!(count, 0);
    }
    assert_eq!(source.position(0), bounds.end);
}

fn is_other(result: Result<(), LogError>) {
    match result {
        Err(LogError::OtherTopic { .. }) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_topic_made_anew_is_another_one() {
    let Some(kafka) = kafka() else { return };
    let _quiet = undisturbed();
    let settings = new_topic(&kafka, 1);
    let log = open(&settings);
    contract::write(&*log, 0, &numbered(0, 5));
    let mut sink = log.sink(0).unwrap();
    sink.send(numbered(5, 1).remove(0)).unwrap();
    sink.flush().unwrap();
    let mut source = log.source().unwrap();
    log.check_identity().unwrap();

    make_anew(&settings, 1);
    is_other(log.check_identity());
    is_other(log.sink(0).map(drop));
    is_other(source.bounds(0).map(drop));
    // Maybe it is written, but it does not count.
    if sink.send(numbered(6, 1).remove(0)).is_ok() {
        let begun = Instant::now();
        let error = sink.flush().expect_err("the new topic is not ours");
        eprintln!("after {:?}: {error}", begun.elapsed());
    }
    assert!(
        sink.acknowledged().is_err(),
        "a sink that failed stays failed"
    );
    assert_ne!(open(&settings).identity().topic_id, log.identity().topic_id);
}

#[test]
fn a_topic_that_is_gone_is_said_to_be() {
    let Some(kafka) = kafka() else { return };
    let _quiet = undisturbed();
    let settings = new_topic(&kafka, 1);
    let log = open(&settings);
    delete_topic(&settings);
    let error = log.check_identity().unwrap_err().to_string();
    assert!(error.contains("logpipe worker topic"), "{error}");
    let error = KafkaLog::open(&settings, KafkaOptions::default());
    let error = error.unwrap_err().to_string();
    let expected = format!("there is no topic {}", settings.topic);
    assert!(error.contains(&expected), "{error}");
}

#[test]
fn a_record_that_is_too_large_names_the_setting() {
    let Some(kafka) = kafka() else { return };
    let _quiet = undisturbed();
    let mut small = wanted(1);
    small
        .config
        .insert("max.message.bytes".to_owned(), "10000".to_owned());
    let settings = KafkaSettings {
        topic: super::support::new_name(),
        ..kafka
    };
    ensure(&settings, &small).unwrap();
    let log = open(&settings);
    // Too large for the topic, and too large for any.
    for size in [60_000, 2_000_000] {
        let mut record = contract::records(1).remove(0);
        let mut noise = 1_u32;
        let byte = || {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (noise >> 24) as u8
        };
        record.value = std::iter::repeat_with(byte).take(size).collect();
        let mut sink = log.sink(0).unwrap();
        let error = sink.send(record).and_then(|()| sink.flush()).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, LogError::Refused { .. }), "{text}");
        assert!(text.contains("raise max.message.bytes"), "{text}");
        let again = sink.send(contract::records(1).remove(0)).unwrap_err();
        assert!(matches!(again, LogError::Closed { .. }), "{again}");
    }
}

#[test]
fn partitions_that_are_added_can_be_used_at_once() {
    let Some(kafka) = kafka() else { return };
    let _quiet = undisturbed();
    let settings = new_topic(&kafka, 1);
    let log = open(&settings);
    let mut source = log.source().unwrap();
    assert!(source.assign(2, 0).is_err());
    ensure(&settings, &wanted(3)).unwrap();
    source.assign(2, 0).unwrap();
    assert_eq!(log.identity().partitions, 3);
    contract::write(&*log, 2, &contract::records(4));
    assert_eq!(contract::read(&mut *source, 4).len(), 4);
}

#[test]
fn full_queues_wait_and_lose_nothing() {
    let Some(kafka) = kafka() else { return };
    let _alone = alone();
    let settings = new_topic(&kafka, 1);
    let log = open(&settings);
    let mut sink = log.sink(0).unwrap();
    let block: bytes::Bytes = vec![b'x'; 60_000].into();
    // Three times what the queue holds, while the broker stands still.
    parts(&["kafka", "pause"]);
    let sent = std::thread::scope(|scope| {
        let sent = scope.spawn(|| {
            for n in 0..800_u32 {
                let key = n.to_be_bytes().to_vec().into();
                let value = block.clone();
                let timestamp = 1_700_000_000_000_000;
                sink.send(NewRecord {
                    timestamp,
                    key,
                    value,
                })
                .unwrap();
            }
            sink.flush().unwrap();
        });
        std::thread::sleep(Duration::from_secs(2));
        assert!(!sent.is_finished(), "the queue has an end");
        parts(&["kafka", "resume"]);
        sent.join()
    });
    sent.unwrap();
    let read = contract::read_partition(&*log, 0);
    let keys = read
        .iter()
        .map(|r| u32::from_be_bytes(r.key[..].try_into().unwrap()));
    assert!(keys.eq(0..800));
}
