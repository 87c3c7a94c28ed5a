use super::*;
use crate::log::contract::{self, PARTITIONS, read_partition, records, write};

fn open(dir: &Path) -> EmbeddedLog {
    EmbeddedLog::open(dir, "app", PARTITIONS).unwrap()
}

#[test]
fn it_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    let count = std::cell::Cell::new(0);
    contract::all(&|| {
        count.set(count.get() + 1);
        Arc::new(open(&dir.path().join(count.get().to_string())))
    });
}

#[test]
fn reopening_keeps_everything() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let identity = log.identity();
    write(&log, 1, &records(100));
    let written = read_partition(&log, 1);
    drop(log);
    let log = open(dir.path());
    assert_eq!(log.identity(), identity);
    assert_eq!(read_partition(&log, 1), written);
}
