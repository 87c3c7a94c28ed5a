//! Power that is cut, and disks that are full. A process that is killed is in `tests/killed.rs`.

use std::io::{self, Read as _};
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

/// A disk that is full when it is told so.
#[derive(Debug)]
struct FullDisk {
    file: FileBackend,
    full: Arc<AtomicBool>,
}

impl FullDisk {
    fn check(&self) -> io::Result<()> {
        if self.full.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl StorageBackend for FullDisk {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check()?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.check()?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check()?;
        self.file.write(offset, data)
    }
}

#[test]
fn a_full_disk_closes_the_log_and_says_so_to_everybody() {
    let dir = tempfile::tempdir().unwrap();
    let full = Arc::new(AtomicBool::new(false));
    let log = EmbeddedLog::open_on(dir.path(), "app", PARTITIONS, &|file| {
        Ok(FullDisk {
            file: FileBackend::new(file)?,
            full: Arc::clone(&full),
        })
    })
    .unwrap();
    let (mut one, mut two) = (log.sink(0).unwrap(), log.sink(1).unwrap());
    one.send(records(1).remove(0)).unwrap();
    one.flush().unwrap();
    full.store(true, Ordering::Relaxed);
    // More than fits the queue: whoever waits for room is told too.
    let sent = noise(400)
        .into_iter()
        .try_for_each(|record| one.send(record));
    let error = sent.and_then(|()| one.flush()).unwrap_err().to_string();
    assert!(error.contains(&dir.path().display().to_string()), "{error}");
    assert!(error.contains("free some space on its disk"), "{error}");
    assert!(one.acknowledged().is_err());
    assert!(two.send(records(1).remove(0)).is_err());
    assert!(two.flush().is_err());
    assert!(log.sink(0).is_err());
    assert!(log.source().is_err());
    drop((log, one, two));
    // What was acknowledged is there, and the log works again.
    let log = open(dir.path());
    assert_eq!(read_partition(&log, 0)[0].value, records(1)[0].value);
    write(&log, 0, &records(1));
}

/// What a disk was told, in order.
#[derive(Clone, Debug)]
enum Step {
    Write(u64, Vec<u8>),
    SetLen(u64),
    Sync,
}

/// A disk that remembers each step, so that the power can be cut between any two of them.
#[derive(Clone, Debug, Default)]
struct Disk {
    state: Arc<Mutex<(Vec<u8>, Vec<Step>)>>,
}

impl Disk {
    fn step(&self, step: Step) {
        let mut state = self.state.lock().unwrap();
        apply(&mut state.0, &step);
        state.1.push(step);
    }

    fn steps(&self) -> usize {
        self.state.lock().unwrap().1.len()
    }

    /// What is on the disk when the power goes before step `cut`: all that was synced, and of what was
    /// not whatever `chance` says, because a disk writes in the order it likes.
    fn cut(&self, mut image: Vec<u8>, cut: usize, chance: &mut impl FnMut() -> bool) -> Vec<u8> {
        let state = self.state.lock().unwrap();
        let steps = &state.1[..cut];
        let synced = steps.iter().rposition(|step| matches!(step, Step::Sync));
        for (at, step) in steps.iter().enumerate() {
            if synced.is_some_and(|synced| at < synced) || chance() {
                apply(&mut image, step);
            }
        }
        image
    }
}

fn apply(image: &mut Vec<u8>, step: &Step) {
    match step {
        Step::Write(offset, data) => {
            let range = *offset as usize..*offset as usize + data.len();
            if image.len() < range.end {
                image.resize(range.end, 0);
            }
            image[range].copy_from_slice(data);
        }
        Step::SetLen(len) => image.resize(*len as usize, 0),
        Step::Sync => {}
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state.lock().unwrap().0.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let offset = offset as usize;
        out.copy_from_slice(&self.state.lock().unwrap().0[offset..offset + out.len()]);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.step(Step::SetLen(len));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.step(Step::Sync);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.step(Step::Write(offset, data.to_vec()));
        Ok(())
    }
}

#[test]
fn a_power_cut_at_any_moment_keeps_what_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let identity = open(dir.path()).identity();
    let path = dir.path().join("log.redb");
    let before = std::fs::read(&path).unwrap();
    let disk = Disk::default();
    let log = EmbeddedLog::open_on(dir.path(), "app", PARTITIONS, &|mut file| {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        disk.state.lock().unwrap().0 = bytes;
        Ok(disk.clone())
    })
    .unwrap();
    let written = records(30);
    // The disk's steps when so many records were acknowledged.
    let mut acknowledged = vec![disk.steps()];
    for (at, record) in written.iter().enumerate() {
        write(&log, 0, std::slice::from_ref(record));
        acknowledged.push(disk.steps());
        if at == 20 {
            log.trim(0, 10).unwrap();
        }
    }
    drop(log);

    let mut random = 7_u64;
    for cut in (0..disk.steps()).step_by(5) {
        let image = disk.cut(before.clone(), cut, &mut || {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            random >> 63 == 1
        });
        std::fs::write(&path, image).unwrap();
        let log = open(dir.path());
        assert_eq!(log.identity(), identity);
        let durable = acknowledged
            .partition_point(|steps| *steps <= cut)
            .saturating_sub(1);
        let found = read_partition(&log, 0);
        let end = log.source().unwrap().bounds(0).unwrap().end as usize;
        assert!(
            end >= durable,
            "{durable} acknowledged before step {cut}, {end} found"
        );
        for record in found {
            assert_eq!(record.value, written[record.offset as usize].value);
        }
    }
}
