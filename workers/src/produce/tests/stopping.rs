//! The real threads: a producer that is told to stop or to finish does so soon, whatever it waits for.

use super::fake_log::Fault;
use super::*;

/// Runs a producer in a thread of its own until `control` ends it, which must not take long.
fn run_until(world: &World, end: impl FnOnce(&Control)) -> Result<Summary, ProduceError> {
    const LONG: Duration = Duration::from_secs(10);
    let control = Control::new();
    let (result, results) = channel();
    thread::scope(|scope| {
        let control = &control;
        scope.spawn(move || {
            let done = run(&world.options, &world.log, control, &world.counters);
            drop(result.send(done));
        });
        // Every lane has written its fence.
        while (0..world.log.partitions()).any(|index| world.log.records(index).is_empty()) {
            thread::yield_now();
        }
        end(control);
        let Ok(done) = results.recv_timeout(LONG) else {
            control.stop();
            panic!("the producer goes on");
        };
        done
    })
}

#[test]
fn the_real_threads_finish_and_stop() {
    let world = World::new(3, &["*.log"]);
    for name in ["a.log", "b.log", "c.log"] {
        world.append(name, numbered(0..100));
    }
    let control = Control::new();
    control.finish_at_end();
    let summary = run(&world.options, &world.log, &control, &world.counters).unwrap();
    assert_eq!((summary.lines, summary.lost_bytes), (300, 0));
    assert_eq!(world.lines().len(), 300);
    let control = Control::new();
    control.stop();
    let summary = run(&world.options, &world.log, &control, &world.counters).unwrap();
    assert_eq!(summary.lines, 0);
}

#[test]
fn a_producer_that_waits_for_its_files_stops_when_told_so() {
    let world = World::new(2, &["missing.log", "*.missing"]);
    let summary = run_until(&world, Control::stop).unwrap();
    assert_eq!(summary.lines, 0);
}

#[test]
fn a_producer_that_waits_for_its_files_says_which_when_told_to_finish() {
    let world = World::new(2, &["missing.log"]);
    let error = run_until(&world, Control::finish_at_end).unwrap_err();
    assert!(matches!(error, ProduceError::Missing { .. }), "{error}");
}

#[test]
fn a_producer_that_waits_for_its_fence_stops_when_told_so() {
    let world = World::new(1, &["app.log"]);
    world.append("app.log", numbered(0..3));
    world.log.silence();
    let summary = run_until(&world, Control::stop).unwrap();
    assert_eq!(summary.lines, 0);
}

#[test]
fn a_producer_whose_log_fails_stops_when_told_so_and_a_later_one_goes_on() {
    let world = World::new(1, &["app.log"]);
    world.append("app.log", numbered(0..3));
    let log = world.log.clone();
    // The fence succeeds, the first lines do not, and then the log says nothing any more.
    world.log.meanwhile(move || {
        let fault = Fault {
            after: 1,
            written: true,
        };
        log.fail(0, fault);
    });
    let (log, counted) = (world.log.clone(), world.log.clone());
    let summary = run_until(&world, move |control| {
        while counted.records(0).len() < 2 {
            thread::yield_now();
        }
        log.silence();
        control.stop();
    });
    assert_eq!(summary.unwrap().lines, 0);
    world.log.speak();
    world.finish();
    assert_eq!(world.lines().concat(), numbered(0..3));
}
