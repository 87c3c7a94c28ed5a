//! Rotation in all its kinds, first one at a time, then at random against an oracle.

use super::*;

/// Runs `change` while the producer is running, between files that are read to their end before and
/// after; then the same while it is down. `change` gets what the producer has read already.
fn both_ways(name: &str, change: impl Fn(&World), expected: &[&str]) {
    for running in [true, false] {
        let world = World::new(2, &["app.log"]);
        world.append("app.log", "first\nsecond\n");
        let control = Control::new();
        let mut producer = Running::start(&world, &control).unwrap();
        producer.settle();
        if running {
            change(&world);
            producer.finish();
        } else {
            drop(producer);
            change(&world);
            world.finish();
        }
        world.finish();
        let mut expected: Vec<String> = expected.iter().map(|l| format!("{l}\n")).collect();
        expected.sort();
        assert_eq!(world.sorted_lines(), expected, "{name}, running: {running}");
    }
}

#[test]
fn a_renamed_file_is_finished_and_its_successor_read() {
    both_ways(
        "rename",
        |world| {
            world.append("app.log", "third\n");
            world.rename("app.log", "app.log.1");
            world.append("app.log.1", "fourth\n");
            world.append("app.log", "fifth\n");
        },
        &["first", "second", "third", "fourth", "fifth"],
    );
}

#[test]
fn several_rotations_while_nobody_looks_lose_nothing() {
    both_ways(
        "rename twice",
        |world| {
            world.append("app.log", "third\n");
            world.rename("app.log", "app.log.1");
            world.append("app.log", "fourth\n");
            world.rename("app.log.1", "app.log.2");
            world.rename("app.log", "app.log.1");
            world.append("app.log", "fifth\n");
        },
        &["first", "second", "third", "fourth", "fifth"],
    );
}

#[test]
fn a_truncated_file_is_finished_from_its_copy() {
    both_ways(
        "copytruncate",
        |world| {
            world.append("app.log", "third\n");
            fs::copy(world.path("app.log"), world.path("app.log.1")).unwrap();
            world.write("app.log", "");
            world.append("app.log", "fourth\n");
        },
        &["first", "second", "third", "fourth"],
    );
}

#[test]
fn content_that_was_rewritten_beyond_the_offset_is_new() {
    both_ways(
        "truncate and rewrite",
        |world| world.write("app.log", "first\nSECOND\nthird\nfourth\n"),
        // The same first line: only what stands before the offset tells.
        &["first", "second", "first", "SECOND", "third", "fourth"],
    );
}

/// What a program writes whenever it starts: eight lines of 40 bytes.
fn banner() -> String {
    let lines = (0..8).map(|n| format!("{:-<39}\n", format!("starting, step {n} ")));
    lines.collect()
}

#[test]
fn a_file_that_was_truncated_and_begins_as_before_is_new_content() {
    for running in [true, false] {
        let world = World::new(1, &["app.log"]);
        let before = [banner(), numbered(0..400)].concat();
        let after = [banner(), numbered(400..405)].concat();
        world.append("app.log", &before);
        let control = Control::new();
        let mut producer = Running::start(&world, &control).unwrap();
        producer.settle();
        if running {
            world.write("app.log", &after);
            producer.settle();
            producer.finish();
        } else {
            producer.finish();
            world.write("app.log", &after);
            world.finish();
        }
        world.finish();
        let read = world.lines().concat();
        assert_eq!(read, [before, after].concat(), "running: {running}");
        assert_eq!(world.counters.lost_bytes.get(), 0);
    }
}

#[test]
fn a_sibling_that_begins_like_a_longer_file_that_is_gone_is_read() {
    let world = World::new(1, &["app.log", "other.log"]);
    world.append("other.log", "");
    let before = [banner(), numbered(0..400)].concat();
    world.append("app.log", &before);
    world.append("other.log", "");
    let control = Control::new();
    let mut producer = Running::start(&world, &control).unwrap();
    producer.settle();
    fs::remove_file(world.path("app.log")).unwrap();
    producer.settle();
    drop(producer);
    let after = [banner(), numbered(400..405)].concat();
    world.append("app.log.1", &after);
    world.finish();
    world.finish();
    assert_eq!(world.lines().concat(), [before, after].concat());
}

#[test]
fn what_was_taken_for_a_copy_and_grows_is_read() {
    let world = World::new(1, &["app.log*"]);
    let before = [banner(), numbered(0..400)].concat();
    world.append("app.log", &before);
    let control = Control::new();
    let mut producer = Running::start(&world, &control).unwrap();
    producer.settle();
    fs::remove_file(world.path("app.log")).unwrap();
    producer.settle();
    // It ends where the eighth line of the file did that was read.
    world.append("app.log.1", banner());
    producer.settle();
    assert_eq!(world.lines().concat(), before);
    world.append("app.log.1", numbered(400..405));
    producer.finish();
    world.finish();
    let after = [banner(), numbered(400..405)].concat();
    assert_eq!(world.lines().concat(), [before, after].concat());
}

#[test]
fn a_file_that_is_deleted_and_made_again_is_new() {
    both_ways(
        "delete and recreate",
        |world| {
            fs::remove_file(world.path("app.log")).unwrap();
            world.write("app.log", "first\nother\nthird\n");
        },
        &["first", "second", "first", "other", "third"],
    );
}

#[test]
fn a_copy_that_is_made_before_the_truncation_is_never_read() {
    let world = World::new(1, &["app.log*"]);
    world.append("app.log", numbered(0..5));
    let control = Control::new();
    let mut producer = Running::start(&world, &control).unwrap();
    producer.settle();
    fs::copy(world.path("app.log"), world.path("app.log.1")).unwrap();
    producer.settle();
    world.append("app.log", numbered(5..7));
    producer.settle();
    world.write("app.log", "");
    producer.settle();
    world.append("app.log", numbered(7..9));
    producer.settle();
    drop(producer);
    world.finish();
    assert_eq!(world.lines().concat(), numbered(0..9));
}

#[test]
fn a_copy_of_content_that_nobody_has_seen_yet_is_never_read_beside_it() {
    let world = World::new(1, &["app.log"]);
    world.append("app.log", numbered(0..2));
    let control = Control::new();
    let mut producer = Running::start(&world, &control).unwrap();
    producer.settle();
    // The file is truncated, written anew and copied before its lane looks at it again.
    world.write("app.log", &numbered(2..5));
    fs::copy(world.path("app.log"), world.path("app.log.1")).unwrap();
    producer.coordinator.step().unwrap();
    producer.settle();
    world.write("app.log", "");
    producer.settle();
    world.append("app.log", numbered(5..7));
    producer.finish();
    assert_eq!(world.sorted_lines().concat(), numbered(0..7));
}

#[test]
fn a_removed_file_does_not_hold_back_for_ever_another_that_begins_like_it() {
    let mut world = World::new(1, &["app.log"]);
    world.options.save_every = Duration::from_hours(1);
    world.append("app.log", "# header\nfirst\n");
    world.finish();
    let control = Control::new();
    let mut producer = Running::start(&world, &control).unwrap();
    producer.settle();
    producer.lanes[0].as_mut().unwrap().save(false).unwrap();
    fs::remove_file(world.path("app.log")).unwrap();
    world.append("app.log.1", "# header\nsecond\n");
    producer.finish();
    let lines = ["# header\n", "first\n", "# header\n", "second\n"];
    assert_eq!(world.lines(), lines);
}

#[test]
fn siblings_with_the_same_first_line_are_not_taken_for_copies() {
    let world = World::new(2, &["app.log"]);
    for (name, n) in [("app.log.2", 0), ("app.log.1", 10), ("app.log", 20)] {
        world.append(name, "# header\n");
        world.append(name, numbered(n..n + 5));
    }
    world.finish();
    world.finish();
    assert_eq!(world.lines().len(), 18);
}

#[test]
fn files_rotated_before_the_first_start_are_read_oldest_first() {
    let world = World::new(1, &["app.log"]);
    world.append("app.log.000000000010", numbered(0..10));
    world.append("app.log.000000000020", numbered(10..20));
    world.append("app.log", numbered(20..30));
    world.append("app.log.3.gz", "compressed\n");
    world.append("app.logs", "another\n");
    world.finish();
    assert_eq!(world.lines().concat(), numbered(0..30));
}

#[test]
fn finished_files_are_removed_only_when_told_so_and_never_the_live_one() {
    let mut world = World::new(2, &["app.log"]);
    world.append("app.log.000000000010", numbered(0..10));
    world.append("app.log", numbered(10..20));
    world.finish();
    assert!(world.path("app.log.000000000010").exists());
    world.options.delete_finished = true;
    world.finish();
    assert!(!world.path("app.log.000000000010").exists());
    assert!(world.path("app.log").exists());
    world.rename("app.log", "app.log.000000000020");
    world.append("app.log", numbered(20..30));
    world.finish();
    assert!(!world.path("app.log.000000000020").exists());
    assert_eq!(world.sorted_lines().concat(), numbered(0..30));
}

#[test]
fn bytes_that_were_seen_and_destroyed_are_counted() {
    let world = World::new(1, &["app.log"]);
    world.append("app.log", "first\npartial");
    let control = Control::new();
    let mut producer = Running::start(&world, &control).unwrap();
    producer.settle();
    world.write("app.log", "other\n");
    producer.finish();
    assert_eq!(world.lines(), ["first\n", "other\n"]);
    assert_eq!(world.counters.lost_bytes.get(), 7);
}

#[test]
fn a_file_that_is_moved_away_and_back_goes_on_where_it_was() {
    // The second time its lane hears of both moves at once.
    for heard in [true, false] {
        let mut world = World::new(2, &["app.log"]);
        world.options.save_every = Duration::from_hours(1);
        fs::create_dir(world.path("away")).unwrap();
        world.append("app.log", numbered(0..5));
        let control = Control::new();
        let mut producer = Running::start(&world, &control).unwrap();
        producer.settle();
        world.rename("app.log", "away/app.log");
        producer.coordinator.step().unwrap();
        if heard {
            producer.settle();
        }
        world.append("away/app.log", numbered(5..7));
        world.rename("away/app.log", "app.log");
        producer.coordinator.step().unwrap();
        // It is the live one again: its last line may still grow.
        world.append("app.log", "line 000");
        producer.settle();
        world.append("app.log", "007\n");
        producer.finish();
        world.finish();
        assert_eq!(world.lines().concat(), numbered(0..8), "heard: {heard}");
    }
}

#[test]
fn a_copy_stays_one_while_its_log_is_moved_away() {
    let mut world = World::new(1, &["app.log*"]);
    world.options.save_every = Duration::from_hours(1);
    fs::create_dir(world.path("away")).unwrap();
    world.append("app.log", numbered(0..5));
    let control = Control::new();
    let mut producer = Running::start(&world, &control).unwrap();
    producer.settle();
    fs::copy(world.path("app.log"), world.path("app.log.1")).unwrap();
    producer.settle();
    world.rename("app.log", "away/app.log");
    producer.settle();
    world.rename("away/app.log", "app.log");
    world.append("app.log", numbered(5..7));
    producer.finish();
    world.finish();
    assert_eq!(world.lines().concat(), numbered(0..7));
}

#[test]
fn a_file_that_two_globs_missed_on_its_way_goes_on_where_it_was() {
    let mut world = World::new(2, &["done/*.log", "in/*.log"]);
    world.options.save_every = Duration::from_hours(1);
    for folder in ["done", "in", "away"] {
        fs::create_dir(world.path(folder)).unwrap();
    }
    world.append("in/a.log", numbered(0..5));
    world.append("in/b.log", numbered(5..7));
    let control = Control::new();
    let mut producer = Running::start(&world, &control).unwrap();
    producer.settle();
    world.rename("in/a.log", "away/a.log");
    producer.coordinator.step().unwrap();
    world.rename("away/a.log", "done/a.log");
    producer.coordinator.step().unwrap();
    producer.settle();
    world.append("done/a.log", numbered(7..9));
    // A copy of it is known for what it is at its new place too.
    producer.settle();
    fs::copy(world.path("done/a.log"), world.path("done/a.log.1")).unwrap();
    producer.finish();
    world.finish();
    assert_eq!(world.sorted_lines().concat(), numbered(0..9));
}

#[test]
fn a_copy_that_is_written_over_while_its_log_is_truncated_is_no_copy_any_more() {
    let world = World::new(1, &["app.log"]);
    let before = ["# header\n", &numbered(0..5)].concat();
    let after = ["# header\n", &numbered(5..7)].concat();
    world.append("app.log", &before);
    let control = Control::new();
    let mut producer = Running::start(&world, &control).unwrap();
    producer.settle();
    fs::copy(world.path("app.log"), world.path("app.log.1")).unwrap();
    producer.settle();
    world.write("app.log.1", &after);
    world.write("app.log", "");
    producer.settle();
    world.append("app.log", numbered(7..9));
    producer.finish();
    let expected = [before, after, numbered(7..9)];
    assert_eq!(world.lines().concat(), expected.concat());
}

#[test]
fn a_new_file_in_the_place_of_a_copy_is_read() {
    for header in ["", "# header\n"] {
        let world = World::new(1, &["app.log"]);
        world.append("app.log", [header, &numbered(0..5)].concat());
        let control = Control::new();
        let mut producer = Running::start(&world, &control).unwrap();
        producer.settle();
        fs::copy(world.path("app.log"), world.path("app.log.1")).unwrap();
        producer.settle();
        // What the copy lacks was read: it is remembered as a copy.
        world.append("app.log", numbered(5..7));
        producer.settle();
        world.write("app.log", "");
        producer.settle();
        drop(producer);
        world.finish();
        assert_eq!(world.lines().concat(), [header, &numbered(0..7)].concat());
        // Written over, it has the inode and the birth time that it had.
        world.write("app.log.1", &[header, &numbered(7..9)].concat());
        world.finish();
        world.finish();
        let expected = [header, &numbered(0..7), header, &numbered(7..9)].concat();
        assert_eq!(world.lines().concat(), expected);
    }
}
