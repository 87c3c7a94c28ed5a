//! Kafka does not say whether the topic is still the same: what was read waits, and reading with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use logpipe_workers::counters::Counters;
use logpipe_workers::etl::{Control, EtlError};
use logpipe_workers::log::memory::MemoryLog;
use logpipe_workers::log::{Identity, Log, LogError, Sink, Source};

use crate::support::{Fuse, StopOnDrop, World, lines, until};

struct SilentLog {
    log: MemoryLog,
    asked: AtomicBool,
}

impl Log for SilentLog {
    fn identity(&self) -> Identity {
        self.log.identity()
    }

    fn source(&self) -> Result<Box<dyn Source>, LogError> {
        self.log.source()
    }

    fn sink(&self, partition: u32) -> Result<Box<dyn Sink>, LogError> {
        self.log.sink(partition)
    }

    fn check_identity(&self) -> Result<(), LogError> {
        self.asked.store(true, Ordering::SeqCst);
        Err(LogError::Failed {
            place: "kafka".to_owned(),
            action: "ask for the topic",
            source: "nobody answers".into(),
        })
    }
}

#[test]
fn while_nothing_can_be_handed_over_nothing_more_is_read_and_a_stop_ends_all_the_same() {
    let mut world = World::new(1);
    world.options.limits.max_rows = 1;
    // Each is more than one poll hands out.
    let text = lines(0..1, |_| 7)[0].clone() + &"x".repeat(2 << 20);
    world.block(0, "demo-0", 0, std::slice::from_ref(&text));
    let log = SilentLog {
        log: world.log.clone(),
        asked: AtomicBool::new(false),
    };
    let control = Arc::new(Control::new(1));
    let counters = Arc::new(Counters::default());
    let error = std::thread::scope(|scope| {
        let stop = StopOnDrop(&control);
        let worker = scope.spawn(|| world.serve_log(&log, &Fuse::never(), &control, &counters));
        until("the topic's identity is asked for", || {
            log.asked.load(Ordering::SeqCst)
        });
        for first in 1..5 {
            world.block(0, "demo-0", first, std::slice::from_ref(&text));
        }
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(counters.received.get(), 1);
        drop(stop);
        worker.join().unwrap().err().unwrap()
    });
    assert!(
        matches!(error, EtlError::Log(LogError::Failed { .. })),
        "{error}"
    );
    assert!(world.rows().is_empty());
    assert_eq!(world.checkpoint(0).unwrap().next, 0);
    world.run(&Fuse::never()).unwrap();
    assert_eq!(world.rows().len(), 5);
}
