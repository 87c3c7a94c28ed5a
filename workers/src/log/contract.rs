//! What every [`Log`] must do, as a suite that every implementation runs in its tests: [`all`], or its
//! parts one by one. Touches only the log it is given.
//!
//! A part takes a factory of new, empty topics with [`PARTITIONS`] partitions, and panics where the log
//! breaks its contract. The idea is `object_store`'s `integration` module.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Log, LogError, NewRecord, Offset, Record, Source};

/// How many partitions the factory's topics have.
pub const PARTITIONS: u32 = 2;

/// Makes a new, empty topic.
pub type Factory<'a> = &'a dyn Fn() -> Arc<dyn Log>;

/// Long enough for a slow disk or broker; nothing waits for it unless the log is broken.
const PATIENCE: Duration = Duration::from_secs(30);

/// A record that was read, copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// See [`Record::partition`].
    pub partition: u32,
    /// See [`Record::offset`].
    pub offset: Offset,
    /// See [`Record::timestamp`].
    pub timestamp: i64,
    /// See [`Record::key`].
    pub key: Vec<u8>,
    /// See [`Record::value`].
    pub value: Vec<u8>,
}

impl From<Record<'_>> for Read {
    fn from(record: Record<'_>) -> Self {
        Self {
            partition: record.partition,
            offset: record.offset,
            timestamp: record.timestamp,
            key: record.key.to_vec(),
            value: record.value.to_vec(),
        }
    }
}

/// The whole suite.
pub fn all(factory: Factory<'_>) {
    a_new_topic_is_empty(factory);
    each_topic_has_ids_of_its_own(factory);
    records_come_back_in_order_and_verbatim(factory);
    values_of_any_size_come_back(factory);
    what_is_flushed_is_acknowledged_and_there(factory);
    sinks_of_one_partition_take_turns(factory);
    reading_resumes_at_an_offset(factory);
    a_paused_partition_keeps_its_place(factory);
    a_partition_paused_at_its_end_misses_nothing(factory);
    pausing_again_and_again_changes_nothing(factory);
    a_released_partition_is_read_no_more(factory);
    a_position_tells_what_comes_next(factory);
    only_assigned_partitions_are_read(factory);
    full_partitions_take_turns(factory);
    one_poll_hands_out_about_a_mebibyte(factory);
    sources_do_not_disturb_each_other(factory);
    an_offset_behind_the_end_is_out_of_range(factory);
    a_partition_that_is_not_there_is_refused(factory);
    a_waiting_reader_is_woken(factory);
}

/// `count` records, each with another key, value and time.
pub fn records(count: usize) -> Vec<NewRecord> {
    (0..count)
        .map(|n| NewRecord {
            // Whole milliseconds, because Kafka knows no others.
            timestamp: 1_700_000_000_000_000 + 1_000 * n as i64,
            key: Bytes::from(format!("key {n}")),
            value: Bytes::from(format!("line {n} of the test\n")),
        })
        .collect()
}

/// Writes records to a partition and waits until they are durable.
pub fn write(log: &dyn Log, partition: u32, records: &[NewRecord]) {
    let mut sink = log.sink(partition).expect("a sink of the partition");
    for record in records {
        sink.send(record.clone()).expect("a record is taken");
    }
    sink.flush().expect("records become durable");
    let acknowledged = sink.acknowledged().expect("the sink works");
    assert_eq!(acknowledged, records.len() as u64);
}

/// Reads until `count` records came.
pub fn read(source: &mut dyn Source, count: usize) -> Vec<Read> {
    let begun = Instant::now();
    let mut all = Vec::new();
    while all.len() < count {
        assert!(
            begun.elapsed() < PATIENCE,
            "{} of {count} records came",
            all.len()
        );
        let before = all.len();
        let handed = source
            .poll(Duration::from_millis(100), &mut |record| {
                all.push(Read::from(record));
            })
            .expect("the log can be read");
        assert_eq!(handed, all.len() - before, "poll counts what it hands out");
    }
    all
}

/// Reads a whole partition with a source of its own.
pub fn read_partition(log: &dyn Log, partition: u32) -> Vec<Read> {
    let mut source = log.source().expect("a source");
    let bounds = source.bounds(partition).expect("the partition's bounds");
    source.assign(partition, bounds.start).expect("assigned");
    read(&mut *source, (bounds.end - bounds.start) as usize)
}

fn assert_same(read: &[Read], written: &[NewRecord]) {
    assert_eq!(read.len(), written.len());
    for (read, written) in read.iter().zip(written) {
        assert_eq!(read.timestamp, written.timestamp);
        assert_eq!(read.key, written.key);
        // Not assert_eq: a value may have a mebibyte.
        assert!(read.value == written.value, "at offset {}", read.offset);
    }
}

fn offsets(read: &[Read]) -> Vec<Offset> {
    read.iter().map(|record| record.offset).collect()
}

fn nothing_comes(source: &mut dyn Source) {
    let count = source.poll(Duration::from_millis(5), &mut |_| {});
    assert_eq!(count.expect("the log can be read"), 0);
}

/// It can be read at its end, and there is nothing.
pub fn a_new_topic_is_empty(factory: Factory<'_>) {
    let log = factory();
    let mut source = log.source().expect("a source");
    for partition in 0..PARTITIONS {
        let bounds = source.bounds(partition).expect("bounds");
        assert_eq!(bounds, 0..0);
        source.assign(partition, 0).expect("assigned");
    }
    nothing_comes(&mut *source);
}

/// A topic made anew is another topic.
pub fn each_topic_has_ids_of_its_own(factory: Factory<'_>) {
    let (one, two) = (factory(), factory());
    assert_eq!(one.identity(), one.identity());
    assert_eq!(one.identity().partitions, PARTITIONS);
    assert_ne!(one.identity().topic_id, two.identity().topic_id);
}

/// Offsets grow, and nothing is changed.
pub fn records_come_back_in_order_and_verbatim(factory: Factory<'_>) {
    let log = factory();
    let mut written = records(1000);
    written[3].key = Bytes::new();
    written[4].value = Bytes::from_static(b"\0\xff\r\n\xf0not text");
    written[5].timestamp = -1;
    write(&*log, 1, &written);
    let read = read_partition(&*log, 1);
    assert_same(&read, &written);
    assert!(read.iter().all(|record| record.partition == 1));
    assert!(read.windows(2).all(|two| two[0].offset < two[1].offset));
    assert!(read_partition(&*log, 0).is_empty());
}

/// Nothing, blocks as our producer makes them, and ones ten times as large; with and without a pattern.
pub fn values_of_any_size_come_back(factory: Factory<'_>) {
    let log = factory();
    let mut noise = 1_u32;
    let mut written = Vec::new();
    for size in [0, 1, 100, 4_000, 61_440, 65_536, 65_537, 600_000] {
        let random = std::iter::repeat_with(|| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (noise >> 24) as u8
        });
        for value in [vec![b'a'; size], random.take(size).collect()] {
            written.push(NewRecord {
                timestamp: 1_000,
                key: Bytes::from(vec![b'k'; size.min(1000)]),
                value: Bytes::from(value),
            });
        }
    }
    write(&*log, 0, &written);
    assert_same(&read_partition(&*log, 0), &written);
}

/// And what was not sent is not acknowledged.
pub fn what_is_flushed_is_acknowledged_and_there(factory: Factory<'_>) {
    let log = factory();
    let mut sink = log.sink(0).expect("a sink");
    assert_eq!(sink.acknowledged().expect("the sink works"), 0);
    sink.flush().expect("nothing to wait for");
    for (n, record) in records(50).into_iter().enumerate() {
        sink.send(record).expect("taken");
        let acknowledged = sink.acknowledged().expect("the sink works");
        assert!(acknowledged <= n as u64 + 1);
        let mut source = log.source().expect("a source");
        let end = source.bounds(0).expect("bounds").end;
        assert!(end >= acknowledged, "acknowledged, but not there");
    }
    sink.flush().expect("durable");
    assert_eq!(sink.acknowledged().expect("the sink works"), 50);
    assert_same(&read_partition(&*log, 0), &records(50));
}

/// Each has its own count, and each one's records stay in order.
pub fn sinks_of_one_partition_take_turns(factory: Factory<'_>) {
    let log = factory();
    let written = records(300);
    std::thread::scope(|scope| {
        for lane in 0..3 {
            let (log, written) = (&log, &written);
            scope.spawn(move || write(&**log, 0, &written[lane * 100..(lane + 1) * 100]));
        }
    });
    let read = read_partition(&*log, 0);
    assert_eq!(read.len(), 300);
    for lane in 0..3 {
        let lane = &written[lane * 100..(lane + 1) * 100];
        let keys: Vec<&Bytes> = lane.iter().map(|record| &record.key).collect();
        let in_lane = read
            .iter()
            .filter(|record| keys.contains(&&Bytes::from(record.key.clone())));
        assert_same(&in_lane.cloned().collect::<Vec<_>>(), lane);
    }
}

/// The record at the offset comes first, also when the source was elsewhere.
pub fn reading_resumes_at_an_offset(factory: Factory<'_>) {
    let log = factory();
    write(&*log, 0, &records(20));
    let all = read_partition(&*log, 0);
    let mut source = log.source().expect("a source");
    for from in [7, 19, 0, 12] {
        source.assign(0, all[from].offset).expect("assigned");
        assert_eq!(read(&mut *source, 20 - from), all[from..]);
    }
    write(&*log, 0, &records(5));
    assert_same(&read(&mut *source, 5), &records(5));
}

/// And goes on there.
pub fn a_paused_partition_keeps_its_place(factory: Factory<'_>) {
    let log = factory();
    write(&*log, 0, &records(10));
    write(&*log, 1, &records(10));
    let mut source = log.source().expect("a source");
    source.assign(0, 0).expect("assigned");
    source.assign(1, 0).expect("assigned");
    source.pause(0, true);
    let other = read(&mut *source, 10);
    assert!(other.iter().all(|record| record.partition == 1));
    nothing_comes(&mut *source);
    write(&*log, 0, &records(2));
    nothing_comes(&mut *source);
    source.pause(0, false);
    let paused = read(&mut *source, 12);
    assert_same(&paused[..10], &records(10));
    assert_same(&paused[10..], &records(2));
}

/// Where a reader waits for more, it must not be taken to be further than it is.
pub fn a_partition_paused_at_its_end_misses_nothing(factory: Factory<'_>) {
    let log = factory();
    write(&*log, 0, &records(3));
    let mut source = log.source().expect("a source");
    source.assign(0, 0).expect("assigned");
    assert_eq!(read(&mut *source, 3).len(), 3);
    for _ in 0..3 {
        nothing_comes(&mut *source);
        source.pause(0, true);
        write(&*log, 0, &records(1));
        nothing_comes(&mut *source);
        source.pause(0, false);
        assert_same(&read(&mut *source, 1), &records(1));
    }
}

/// Each record comes once and in order, wherever the pauses fall.
pub fn pausing_again_and_again_changes_nothing(factory: Factory<'_>) {
    let log = factory();
    let written = blocks(120);
    write(&*log, 0, &written);
    write(&*log, 1, &written);
    let mut source = log.source().expect("a source");
    source.assign(0, 0).expect("assigned");
    source.assign(1, 0).expect("assigned");
    let mut all = Vec::new();
    let begun = Instant::now();
    let mut round = 0;
    while all.len() < 240 {
        assert!(begun.elapsed() < PATIENCE, "{} records came", all.len());
        let paused = round % (PARTITIONS + 1);
        for partition in 0..PARTITIONS {
            source.pause(partition, partition == paused);
        }
        round += 1;
        source
            .poll(Duration::from_millis(20), &mut |record| {
                assert_ne!(record.partition, paused, "it is paused");
                all.push(Read::from(record));
            })
            .expect("the log can be read");
    }
    for partition in 0..PARTITIONS {
        let own = all.iter().filter(|record| record.partition == partition);
        assert_same(&own.cloned().collect::<Vec<_>>(), &written);
    }
}

/// Not even what the source had read ahead; and it can be assigned anew, elsewhere.
pub fn a_released_partition_is_read_no_more(factory: Factory<'_>) {
    let log = factory();
    write(&*log, 0, &blocks(80));
    write(&*log, 1, &records(3));
    let mut source = log.source().expect("a source");
    source.release(0).expect("it was never assigned");
    source.assign(0, 0).expect("assigned");
    assert!(read(&mut *source, 1).len() < 80);
    source.release(0).expect("released");
    assert_eq!(source.position(0), 0);
    nothing_comes(&mut *source);
    source.assign(1, 0).expect("assigned");
    let other = read(&mut *source, 3);
    assert!(other.iter().all(|record| record.partition == 1));
    source.assign(0, 50).expect("assigned");
    let again = read(&mut *source, 30);
    assert_eq!(offsets(&again), (50..80).collect::<Vec<_>>());
    source.pause(0, true);
    source.release(0).expect("released");
    source.assign(0, 79).expect("assigned");
    assert_eq!(offsets(&read(&mut *source, 1)), [79]);
}

/// Of an assigned partition: its start, and then the offset behind the last record; at the end, the end.
pub fn a_position_tells_what_comes_next(factory: Factory<'_>) {
    let log = factory();
    write(&*log, 0, &blocks(40));
    let mut source = log.source().expect("a source");
    assert_eq!(source.position(0), 0);
    source.assign(0, 5).expect("assigned");
    assert_eq!(source.position(0), 5);
    assert_eq!(source.position(1), 0);
    let mut next = 5;
    while next < 40 {
        for record in read(&mut *source, 1) {
            assert_eq!(record.offset, next);
            next = record.offset + 1;
        }
        assert_eq!(source.position(0), next);
    }
    nothing_comes(&mut *source);
    let end = source.bounds(0).expect("bounds").end;
    assert_eq!(source.position(0), end);
}

/// The others are left alone, and pausing one of them does nothing.
pub fn only_assigned_partitions_are_read(factory: Factory<'_>) {
    let log = factory();
    write(&*log, 0, &records(3));
    write(&*log, 1, &records(3));
    let mut source = log.source().expect("a source");
    nothing_comes(&mut *source);
    source.pause(0, false);
    source.assign(1, 0).expect("assigned");
    let read = read(&mut *source, 3);
    assert!(read.iter().all(|record| record.partition == 1));
    nothing_comes(&mut *source);
}

/// `count` records of 60 KB each, that shrink no more than text does: a log may count packed bytes.
fn blocks(count: usize) -> Vec<NewRecord> {
    let mut noise = 1_u32;
    let mut digit = || {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        b"0123456789abcdef"[(noise >> 28) as usize]
    };
    let mut blocks = records(count);
    for block in &mut blocks {
        block.value = (0..60_000).map(|_| digit()).collect();
    }
    blocks
}

/// A full one does not keep another waiting.
pub fn full_partitions_take_turns(factory: Factory<'_>) {
    let log = factory();
    write(&*log, 0, &blocks(80));
    write(&*log, 1, &blocks(80));
    let mut source = log.source().expect("a source");
    source.assign(0, 0).expect("assigned");
    source.assign(1, 0).expect("assigned");
    let all = read(&mut *source, 160);
    for partition in 0..PARTITIONS {
        let first = all.iter().position(|record| record.partition == partition);
        let first = first.expect("each partition is read");
        assert!(first < 80, "partition {partition} came {first}th");
        let own: Vec<Read> = all
            .iter()
            .filter(|record| record.partition == partition)
            .cloned()
            .collect();
        assert_same(&own, &blocks(80));
    }
}

/// So that its caller can stop, pause, and bound its memory.
pub fn one_poll_hands_out_about_a_mebibyte(factory: Factory<'_>) {
    let log = factory();
    write(&*log, 0, &blocks(80));
    let mut source = log.source().expect("a source");
    source.assign(0, 0).expect("assigned");
    let mut left = 80;
    while left > 0 {
        let mut bytes = 0;
        left -= source
            .poll(PATIENCE, &mut |record| bytes += record.value.len())
            .expect("the log can be read");
        assert!(bytes < 3 << 19, "{bytes} bytes in one poll");
    }
}

/// Each has its own place.
pub fn sources_do_not_disturb_each_other(factory: Factory<'_>) {
    let log = factory();
    write(&*log, 0, &records(10));
    let mut one = log.source().expect("a source");
    let mut two = log.source().expect("a source");
    one.assign(0, 0).expect("assigned");
    two.assign(0, 5).expect("assigned");
    one.pause(0, true);
    assert_eq!(offsets(&read(&mut *two, 5)), [5, 6, 7, 8, 9]);
    one.pause(0, false);
    assert_eq!(read(&mut *one, 10).len(), 10);
}

/// And says what is there; the end itself is where one waits. The source can be assigned anew.
pub fn an_offset_behind_the_end_is_out_of_range(factory: Factory<'_>) {
    let log = factory();
    write(&*log, 0, &records(3));
    let mut source = log.source().expect("a source");
    let end = source.bounds(0).expect("bounds").end;
    source.assign(0, end + 1).expect("assigned");
    let begun = Instant::now();
    let error = loop {
        match source.poll(Duration::from_millis(100), &mut |_| {}) {
            Err(error) => break error,
            Ok(count) => assert!(count == 0 && begun.elapsed() < PATIENCE),
        }
    };
    match error {
        LogError::OutOfRange {
            partition: 0,
            offset,
            start: 0,
            end: shown,
        } => assert_eq!((offset, shown), (end + 1, end)),
        other => panic!("{other:?}"),
    }
    source.assign(0, end).expect("assigned");
    nothing_comes(&mut *source);
}

/// For reading and for writing.
pub fn a_partition_that_is_not_there_is_refused(factory: Factory<'_>) {
    let log = factory();
    let mut source = log.source().expect("a source");
    assert!(source.assign(PARTITIONS, 0).is_err());
    assert!(source.bounds(PARTITIONS).is_err());
    assert!(log.sink(PARTITIONS).is_err());
}

/// At once, long before its timeout.
pub fn a_waiting_reader_is_woken(factory: Factory<'_>) {
    let log = factory();
    let mut source = log.source().expect("a source");
    source.assign(0, 0).expect("assigned");
    let begun = Instant::now();
    let writer = std::thread::spawn(move || write(&*log, 0, &records(1)));
    let mut count = 0;
    while count == 0 {
        assert!(begun.elapsed() < PATIENCE, "the record never came");
        count = source
            .poll(PATIENCE * 2, &mut |_| {})
            .expect("the log can be read");
    }
    assert!(begun.elapsed() < PATIENCE, "the reader slept on");
    writer.join().expect("the writer works");
}
