//! Restarts, failures of the log, and damaged state files.

use super::fake_log::Fault;
use super::*;
use crate::log::NewRecord;

/// A world in which 10 lines were sent and saved.
fn ten_lines() -> World {
    let world = World::new(1, &["app.log"]);
    world.append("app.log", numbered(0..10));
    world.finish();
    world
}

#[test]
fn records_of_an_older_start_that_land_behind_the_fence_do_not_count() {
    let mut world = World::new(1, &["a.log", "b.log"]);
    world.options.save_every = Duration::from_hours(1);
    world.append("a.log", numbered(0..3));
    let control = Control::new();
    let mut first = Running::start(&world, &control).unwrap();
    first.settle();
    drop(first);
    // The older start has sent the lines of the other file as well, but they are still under way.
    let sent = world.log.records(0).pop().unwrap();
    let key = BlockKey::decode(&sent.key).unwrap();
    let mut bytes = Vec::new();
    BlockKey {
        first: key.end(),
        lines: 2,
        file_id: key.file_id + 1,
        file_offset: 0,
        ..key
    }
    .encode(&mut bytes);
    let late = NewRecord {
        key: bytes.into(),
        value: numbered(8..10).into(),
        ..sent
    };
    world.append("b.log", numbered(8..10));
    // The newer one gives their numbers to lines that were written since.
    world.append("a.log", numbered(3..8));
    let control = Control::new();
    let second = Running::start(&world, &control).unwrap();
    world.log.append(0, late);
    second.finish();
    assert_eq!(world.lines().concat(), numbered(0..10));
}

#[test]
fn a_failed_send_is_neither_lost_nor_doubled_whether_or_not_it_was_written() {
    for written in [true, false] {
        for after in 0..3 {
            let mut world = World::new(1, &["app.log"]);
            world.options.framing = Framing::Line;
            world.append("app.log", numbered(0..10));
            let control = Control::new();
            let running = Running::start(&world, &control).unwrap();
            world.log.fail(0, Fault { after, written });
            running.finish();
            assert_eq!(world.lines().concat(), numbered(0..10));
        }
    }
}

#[test]
fn without_its_state_the_log_tells_what_was_sent() {
    let world = ten_lines();
    fs::remove_dir_all(world.path("state")).unwrap();
    world.append("app.log", numbered(10..12));
    world.finish();
    assert_eq!(world.lines().concat(), numbered(0..12));
}

#[test]
fn of_two_starts_that_choose_the_same_generation_each_knows_its_own_fence() {
    let world = World::new(1, &["a.log", "b.log"]);
    world.append("a.log", numbered(0..3));
    world.append("b.log", numbered(3..6));
    world.finish();
    world.append("b.log", numbered(6..8));
    // Another process starts from a copy of the state while our fence is on its way, and is done before.
    let mut other = world.options.clone();
    other.state_dir = world.path("copy");
    fs::create_dir(&other.state_dir).unwrap();
    fs::copy(world.state(0), world.path("copy/test-0.state")).unwrap();
    let (log, path) = (world.log.clone(), world.path("a.log"));
    world.log.meanwhile(move || {
        let control = Control::new();
        control.finish_at_end();
        let summary = run(&other, &log, &control, &Counters::default()).unwrap();
        assert_eq!(summary.lines, 2);
        append(&path, numbered(8..10).as_bytes());
    });
    world.finish();
    let fences = world.log.records(0).into_iter().filter_map(|record| {
        let (generation, _) = BlockKey::decode(&record.key)?.fence_of()?;
        Some(generation)
    });
    assert_eq!(fences.collect::<Vec<_>>(), [1, 2, 2, 3]);
    assert_eq!(world.sorted_lines().concat(), numbered(0..10));
}

#[test]
fn a_record_of_the_highest_generation_is_an_error_and_not_a_race_without_end() {
    let world = ten_lines();
    let last = world.log.records(0).pop().unwrap();
    let mut key = Vec::new();
    BlockKey::fence("test-0", u32::MAX, 1).encode(&mut key);
    let key = key.into();
    world.log.append(0, NewRecord { key, ..last });
    let error = world.try_finish().unwrap_err();
    let expected = matches!(error, ProduceError::GenerationsUsedUp { .. });
    assert!(expected, "{error}");
}

fn refuses_to_guess(world: &World) {
    let before = world.log.records(0).len();
    let error = world.try_finish().unwrap_err();
    let expected = matches!(error, ProduceError::StateGone { .. });
    assert!(expected, "{error}");
    for named in ["test-0.state", "test-0.begin", "lines", "put back"] {
        assert!(error.to_string().contains(named), "{named} in {error}");
    }
    // Not even a fence: it could end the start that has the state.
    assert_eq!(world.log.records(0).len(), before);
}

#[test]
fn without_its_state_and_the_first_records_it_refuses_to_guess() {
    let world = ten_lines();
    world.append("app.log", numbered(10..12));
    world.finish();
    fs::remove_dir_all(world.path("state")).unwrap();
    let end = world.log.records(0).len() as u64;
    // The records are: fence, lines, fence, lines. Lines, a fence, or nothing may be left.
    for start in 1..=end {
        world.log.trim(0, start);
        refuses_to_guess(&world);
    }
}

#[test]
fn a_late_copy_of_the_first_lines_does_not_stand_for_those_that_were_lost() {
    let world = ten_lines();
    let late = world.log.records(0)[1].clone();
    world.append("app.log", numbered(10..12));
    world.finish();
    world.log.append(0, late);
    fs::remove_dir_all(world.path("state")).unwrap();
    let end = world.log.records(0).len() as u64;
    world.log.trim(0, end - 1);
    refuses_to_guess(&world);
}

#[test]
fn lines_whose_numbers_do_not_begin_at_0_show_that_a_name_is_not_new() {
    let world = ten_lines();
    // The start without a state writes a fence of the first generation, which does not count.
    let kept = world.log.records(0).len() as u64;
    fs::remove_dir_all(world.path("state")).unwrap();
    world.append("app.log", numbered(10..12));
    world.finish();
    world.log.trim(0, kept);
    fs::remove_dir_all(world.path("state")).unwrap();
    fs::create_dir(world.path("state")).unwrap();
    fs::write(world.path("state").join("test-0.begin"), "").unwrap();
    refuses_to_guess(&world);
}

#[test]
fn without_its_state_it_goes_on_where_only_records_of_others_were_lost() {
    let world = World::new(1, &["app.log"]);
    let other = NewRecord {
        timestamp: 0,
        key: "not ours".into(),
        value: "x\n".into(),
    };
    world.log.append(0, other);
    world.append("app.log", numbered(0..10));
    let control = Control::new();
    Running::start(&world, &control).unwrap().finish();
    world.append("app.log", numbered(10..12));
    world.finish();
    fs::remove_dir_all(world.path("state")).unwrap();
    world.log.trim(0, 1);
    world.append("app.log", numbered(12..14));
    world.finish();
    assert_eq!(world.text_from(1), numbered(0..14));
}

#[test]
fn an_idle_lane_keeps_up_with_what_others_write_and_saves_nothing_otherwise() {
    let mut world = World::new(1, &["app.log"]);
    world.tuning.catch_up_every = Duration::ZERO;
    world.append("app.log", numbered(0..10));
    let control = Control::new();
    let mut running = Running::start(&world, &control).unwrap();
    running.settle();
    fs::remove_file(world.state(0)).unwrap();
    running.settle();
    assert!(!world.state(0).exists());
    for _ in 0..3 {
        let other = NewRecord {
            timestamp: 0,
            key: "not ours".into(),
            value: "x\n".into(),
        };
        world.log.append(0, other);
    }
    running.settle();
    drop(running);
    world.log.trim(0, world.log.records(0).len() as u64);
    world.append("app.log", numbered(10..12));
    let before = world.log.records(0).len();
    world.finish();
    assert_eq!(world.text_from(before), numbered(10..12));
}

#[test]
fn a_new_name_in_an_old_log_begins_when_somebody_says_that_it_is_new() {
    let world = World::new(1, &["app.log"]);
    world.append("app.log", numbered(0..10));
    let other = NewRecord {
        timestamp: 0,
        key: "not ours".into(),
        value: "x\n".into(),
    };
    world.log.append(0, other);
    world.log.trim(0, 1);
    refuses_to_guess(&world);
    let begin = world.path("state").join("test-0.begin");
    fs::write(&begin, "").unwrap();
    world.finish();
    assert!(!begin.exists(), "it must not allow a second first start");
    world.append("app.log", numbered(10..12));
    world.finish();
    assert_eq!(world.text_from(1), numbered(0..12));
    // The log knows better.
    fs::remove_dir_all(world.path("state")).unwrap();
    fs::create_dir(world.path("state")).unwrap();
    fs::write(&begin, "").unwrap();
    let end = world.log.records(0).len() as u64;
    world.log.trim(0, end - 1);
    refuses_to_guess(&world);
}

#[test]
fn records_that_the_state_needs_and_the_log_has_lost_are_an_error() {
    let world = ten_lines();
    let old = fs::read(world.state(0)).unwrap();
    world.append("app.log", numbered(10..20));
    world.finish();
    let end = world.log.records(0).len() as u64;
    world.log.trim(0, end);
    fs::write(world.state(0), old).unwrap();
    let error = world.try_finish().unwrap_err();
    assert!(matches!(error, ProduceError::RecordsGone { .. }), "{error}");
}

#[test]
fn a_state_of_another_log_or_of_one_that_lost_its_end_is_an_error() {
    let belongs_elsewhere = |world: &World| {
        let before = world.log.records(0).len();
        let error = world.try_finish().unwrap_err();
        let expected = matches!(error, ProduceError::OtherLog { .. });
        assert!(expected, "{error}");
        assert!(error.to_string().contains("test-0.state"), "{error}");
        assert_eq!(world.log.records(0).len(), before);
    };
    let mut world = ten_lines();
    world.log.truncate(0, 1);
    belongs_elsewhere(&world);
    // As long as the former one, so that only its id tells.
    let former = std::mem::replace(&mut world.log, FakeLog::new(1));
    (0..5).for_each(|_| {
        let key = "not ours".into();
        let record = former.records(0)[0].clone();
        world.log.append(0, NewRecord { key, ..record });
    });
    belongs_elsewhere(&world);
}

#[test]
fn a_torn_state_file_gives_way_to_its_previous_copy() {
    let world = ten_lines();
    world.append("app.log", numbered(10..20));
    world.finish();
    let state = fs::read(world.state(0)).unwrap();
    for torn in [&state[..state.len() / 2], &[0; 100][..], b""] {
        fs::write(world.state(0), torn).unwrap();
        world.finish();
        assert_eq!(world.lines().concat(), numbered(0..20));
    }
}

#[test]
fn two_damaged_copies_are_an_error_that_names_the_file() {
    let world = ten_lines();
    fs::write(world.state(0), "nonsense\n").unwrap();
    fs::write(world.state(0).with_extension("state.previous"), "").unwrap();
    let error = world.try_finish().unwrap_err().to_string();
    assert!(
        error.contains("test-0.state") && error.contains("damaged"),
        "{error}"
    );
}

#[test]
fn a_state_file_of_a_newer_release_is_left_alone() {
    let world = ten_lines();
    let newer = "logpipe producer state v2 something=else\n";
    fs::write(world.state(0), newer).unwrap();
    let error = world.try_finish().unwrap_err();
    assert!(matches!(
        error,
        ProduceError::State(StateError::Newer { found: 2, .. })
    ));
    assert_eq!(fs::read_to_string(world.state(0)).unwrap(), newer);
}

#[test]
fn two_producers_never_share_a_state_file() {
    let world = ten_lines();
    let control = Control::new();
    let running = Running::start(&world, &control).unwrap();
    let error = world.try_finish().unwrap_err();
    assert!(matches!(
        error,
        ProduceError::State(StateError::InUse { .. })
    ));
    drop(running);
    world.finish();
}

#[test]
fn a_state_file_that_is_damaged_while_the_log_fails_gives_way_to_its_previous_copy() {
    let world = World::new(1, &["app.log"]);
    let control = Control::new();
    let mut running = Running::start(&world, &control).unwrap();
    for n in 0..3 {
        world.append("app.log", numbered(10 * n..10 * n + 10));
        running.settle();
    }
    fs::write(world.state(0), "torn").unwrap();
    let fault = Fault {
        after: 0,
        written: false,
    };
    world.log.fail(0, fault);
    world.append("app.log", numbered(30..40));
    running.settle();
    drop(running);
    // The copy that it went on from is still there, and the log has what that needs.
    world.log.trim(0, control.saved(0));
    fs::write(world.state(0), "torn").unwrap();
    world.append("app.log", numbered(40..50));
    world.finish();
    assert_eq!(world.lines().concat(), numbered(0..50));
}

#[test]
fn what_the_previous_state_needs_is_kept_in_the_log() {
    let world = World::new(1, &["app.log"]);
    let control = Control::new();
    world.append("app.log", numbered(0..10));
    let mut running = Running::start(&world, &control).unwrap();
    running.settle();
    assert_eq!(control.saved(0), 0);
    world.append("app.log", numbered(10..20));
    running.settle();
    world.append("app.log", numbered(20..30));
    running.finish();
    let saved = control.saved(0);
    assert!(saved > 0);
    world.log.trim(0, saved);
    fs::write(world.state(0), "torn").unwrap();
    world.append("app.log", numbered(30..40));
    let before = world.log.records(0).len();
    world.finish();
    assert_eq!(world.text_from(before), numbered(30..40));
}
