use bytes::Bytes;

use super::*;
use crate::log::contract;

fn record(value: &'static str) -> NewRecord {
    NewRecord {
        timestamp: 1,
        key: Bytes::new(),
        value: Bytes::from_static(value.as_bytes()),
    }
}

fn offsets(source: &mut dyn Source) -> Result<Vec<Offset>, LogError> {
    let mut offsets = Vec::new();
    source.poll(Duration::ZERO, &mut |record| offsets.push(record.offset))?;
    Ok(offsets)
}

#[test]
fn it_keeps_the_contract() {
    contract::all(&|| Arc::new(MemoryLog::new("app", contract::PARTITIONS)));
}

#[test]
fn a_reader_crosses_gaps() {
    let log = MemoryLog::new("app", 1);
    log.append(0, record("a"));
    log.skip(0, 3);
    log.append(0, record("b"));
    log.skip(0, 1);
    let mut source = log.source().unwrap();
    source.assign(0, 0).unwrap();
    assert_eq!(offsets(&mut *source).unwrap(), [0, 4]);
    assert_eq!(source.position(0), 6);
    assert_eq!(source.bounds(0).unwrap(), 0..6);
    source.assign(0, 2).unwrap();
    assert_eq!(offsets(&mut *source).unwrap(), [4]);
}

#[test]
fn what_retention_removed_is_out_of_range() {
    let log = MemoryLog::new("app", 1);
    for _ in 0..3 {
        log.append(0, record("a"));
    }
    log.trim(0, 2);
    let mut source = log.source().unwrap();
    assert_eq!(source.bounds(0).unwrap(), 2..3);
    source.assign(0, 1).unwrap();
    assert!(matches!(
        offsets(&mut *source),
        Err(LogError::OutOfRange {
            offset: 1,
            start: 2,
            end: 3,
            ..
        })
    ));
    source.assign(0, 2).unwrap();
    assert_eq!(offsets(&mut *source).unwrap(), [2]);
}

#[test]
fn an_empty_log_can_begin_above_0() {
    let log = MemoryLog::new("app", 1);
    log.trim(0, 7);
    assert_eq!(log.append(0, record("a")), 7);
    assert_eq!(log.source().unwrap().bounds(0).unwrap(), 7..8);
}

#[test]
fn a_log_that_lost_its_end_is_out_of_range() {
    let log = MemoryLog::new("app", 1);
    log.append(0, record("a"));
    log.append(0, record("b"));
    let mut source = log.source().unwrap();
    source.assign(0, 0).unwrap();
    assert_eq!(offsets(&mut *source).unwrap(), [0, 1]);
    log.truncate(0, 1);
    assert!(matches!(
        offsets(&mut *source),
        Err(LogError::OutOfRange {
            offset: 2,
            end: 1,
            ..
        })
    ));
}

#[test]
fn a_failed_send_leaves_the_sink_failed() {
    for (fault, written) in [(SendFault::BeforeWrite, 1), (SendFault::AfterWrite, 2)] {
        let log = MemoryLog::new("app", 1);
        let mut sink = log.sink(0).unwrap();
        sink.send(record("a")).unwrap();
        log.fail_next_send(fault);
        assert!(sink.send(record("b")).is_err());
        assert!(sink.send(record("c")).is_err());
        assert!(sink.acknowledged().is_err());
        assert!(sink.flush().is_err());
        assert_eq!(log.records(0).len(), written);
        log.sink(0).unwrap().send(record("b")).unwrap();
    }
}

#[test]
fn a_withheld_acknowledgement_comes_later() {
    let log = MemoryLog::new("app", 1);
    let mut sink = log.sink(0).unwrap();
    sink.send(record("a")).unwrap();
    assert_eq!(sink.acknowledged().unwrap(), 1);
    log.withhold_acknowledgements(true);
    sink.send(record("b")).unwrap();
    assert_eq!(sink.acknowledged().unwrap(), 1);
    assert_eq!(log.records(0).len(), 2);
    log.withhold_acknowledgements(false);
    assert_eq!(sink.acknowledged().unwrap(), 2);
}

#[test]
fn a_closed_log_fails_everywhere() {
    let log = MemoryLog::new("app", 1);
    let (mut source, mut sink) = (log.source().unwrap(), log.sink(0).unwrap());
    log.close("the test is over");
    let closed = sink.send(record("a")).unwrap_err().to_string();
    assert_eq!(closed, "log app is closed: the test is over");
    assert!(offsets(&mut *source).is_err());
    assert!(log.source().is_err());
}
