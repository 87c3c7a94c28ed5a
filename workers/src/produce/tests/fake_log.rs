//! A log in memory that can lose answers, refuse records and let them land late.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use super::*;
use crate::log::{Identity, LogError, NewRecord, Offset, Record, Sink, Source};

#[derive(Clone)]
pub(super) struct FakeLog {
    partitions: Arc<Vec<Mutex<Partition>>>,
    meanwhile: Arc<Mutex<Option<Meanwhile>>>,
    silent: Arc<AtomicBool>,
    topic_id: u64,
}

type Meanwhile = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Partition {
    start: usize,
    records: Vec<NewRecord>,
    fault: Option<Fault>,
    fail_flush: bool,
}

/// What happens to the record that is sent after `after` more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) after: u32,
    pub(super) written: bool,
}

impl FakeLog {
    pub(super) fn new(partitions: u32) -> Self {
        let partitions = (0..partitions).map(|_| Mutex::default()).collect();
        Self {
            partitions: Arc::new(partitions),
            meanwhile: Arc::default(),
            silent: Arc::default(),
            topic_id: getrandom::u64().unwrap(),
        }
    }

    /// From now on no record can be read.
    pub(super) fn silence(&self) {
        self.silent.store(true, Ordering::Release);
    }

    /// From now on records can be read again.
    pub(super) fn speak(&self) {
        self.silent.store(false, Ordering::Release);
    }

    /// What others do while the next record is on its way.
    pub(super) fn meanwhile(&self, act: impl FnOnce() + Send + 'static) {
        *self.meanwhile.lock().unwrap() = Some(Box::new(act));
    }

    pub(super) fn partitions(&self) -> u32 {
        self.partitions.len() as u32
    }

    fn with<T>(&self, partition: u32, act: impl FnOnce(&mut Partition) -> T) -> T {
        act(&mut self.partitions[partition as usize].lock().unwrap())
    }

    pub(super) fn records(&self, partition: u32) -> Vec<NewRecord> {
        self.with(partition, |p| p.records.clone())
    }

    pub(super) fn append(&self, partition: u32, record: NewRecord) {
        self.with(partition, |p| p.records.push(record));
    }

    pub(super) fn fail(&self, partition: u32, fault: Fault) {
        self.with(partition, |p| p.fault = Some(fault));
    }

    /// The next wait for what was sent fails.
    pub(super) fn fail_flush(&self, partition: u32) {
        self.with(partition, |p| p.fail_flush = true);
    }

    /// From now on nothing fails.
    pub(super) fn heal(&self) {
        (0..self.partitions()).for_each(|partition| self.with(partition, |p| p.fault = None));
    }

    pub(super) fn truncate(&self, partition: u32, end: Offset) {
        self.with(partition, |p| p.records.truncate(end as usize));
    }

    pub(super) fn trim(&self, partition: u32, start: Offset) {
        self.with(partition, |p| p.start = start as usize);
    }
}

impl Log for FakeLog {
    fn identity(&self) -> Identity {
        Identity {
            cluster: "fake".to_owned(),
            topic: "lines".to_owned(),
            topic_id: self.topic_id.to_string(),
            partitions: self.partitions(),
        }
    }

    fn source(&self) -> Result<Box<dyn Source>, LogError> {
        Ok(Box::new(FakeSource {
            log: self.clone(),
            assigned: None,
        }))
    }

    fn sink(&self, partition: u32) -> Result<Box<dyn Sink>, LogError> {
        Ok(Box::new(FakeSink {
            log: self.clone(),
            partition,
            sent: 0,
            failed: false,
        }))
    }
}

struct FakeSource {
    log: FakeLog,
    assigned: Option<(u32, usize)>,
}

impl Source for FakeSource {
    fn assign(&mut self, partition: u32, offset: Offset) -> Result<(), LogError> {
        self.assigned = Some((partition, offset as usize));
        Ok(())
    }

    fn release(&mut self, _partition: u32) -> Result<(), LogError> {
        self.assigned = None;
        Ok(())
    }

    fn position(&self, _partition: u32) -> Offset {
        self.assigned.map_or(0, |(_, next)| next as u64)
    }

    fn pause(&mut self, _partition: u32, _paused: bool) {}

    fn poll(
        &mut self,
        timeout: Duration,
        each: &mut dyn FnMut(Record<'_>),
    ) -> Result<usize, LogError> {
        let Some((partition, next)) = &mut self.assigned else {
            return Ok(0);
        };
        if self.log.silent.load(Ordering::Acquire) {
            thread::sleep(timeout);
            return Ok(0);
        }
        let records = self.log.records(*partition);
        for (offset, record) in records.iter().enumerate().skip(*next) {
            each(Record {
                partition: *partition,
                offset: offset as u64,
                timestamp: record.timestamp,
                key: &record.key,
                value: &record.value,
            });
        }
        let read = records.len() - *next;
        *next = records.len();
        Ok(read)
    }

    fn bounds(&mut self, partition: u32) -> Result<Range<Offset>, LogError> {
        Ok(self
            .log
            .with(partition, |p| p.start as u64..p.records.len() as u64))
    }
}

struct FakeSink {
    log: FakeLog,
    partition: u32,
    sent: u64,
    failed: bool,
}

impl FakeSink {
    fn check(&self) -> Result<(), LogError> {
        if !self.failed {
            return Ok(());
        }
        Err(LogError::Failed {
            place: "fake".to_owned(),
            action: "write",
            source: "told to fail".into(),
        })
    }
}

impl Sink for FakeSink {
    fn send(&mut self, record: NewRecord) -> Result<(), LogError> {
        self.check()?;
        let meanwhile = self.log.meanwhile.lock().unwrap().take();
        if let Some(act) = meanwhile {
            act();
        }
        let (written, failed) = self.log.with(self.partition, |p| {
            let due = p.fault.filter(|fault| fault.after == 0);
            if let Some(fault) = &mut p.fault {
                fault.after = fault.after.saturating_sub(1);
            }
            if due.is_some() {
                p.fault = None;
            }
            let written = due.is_none_or(|fault| fault.written);
            if written {
                p.records.push(record);
            }
            (written, due.is_some())
        });
        self.failed = failed;
        self.sent += u64::from(written && !failed);
        self.check()
    }

    fn acknowledged(&mut self) -> Result<u64, LogError> {
        self.check()?;
        Ok(self.sent)
    }

    fn flush(&mut self) -> Result<(), LogError> {
        let fails = |p: &mut Partition| std::mem::take(&mut p.fail_flush);
        self.failed |= self.log.with(self.partition, fails);
        self.check()
    }
}
