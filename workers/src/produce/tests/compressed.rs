//! Files that were compressed before they were read to their end.

use flate2::Compression;
use flate2::write::GzEncoder;

use super::fake_log::Fault;
use super::*;

pub(super) fn gzip(world: &World, from: &str, to: &str) {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed
        .write_all(&fs::read(world.path(from)).unwrap())
        .unwrap();
    fs::write(world.path(to), packed.finish().unwrap()).unwrap();
}

/// Lines 5 and 6 were written and compressed while nobody looked.
fn rotated_while_down() -> World {
    let world = World::new(2, &["app.log"]);
    world.append("app.log", numbered(0..5));
    world.finish();
    world.append("app.log", numbered(5..7));
    gzip(&world, "app.log", "app.log.1.gz");
    fs::remove_file(world.path("app.log")).unwrap();
    world.append("app.log", numbered(7..9));
    world
}

#[test]
fn a_file_that_was_compressed_while_nobody_looked_is_finished_from_the_copy() {
    let world = rotated_while_down();
    world.finish();
    world.finish();
    assert_eq!(world.sorted_lines().concat(), numbered(0..9));
    assert_eq!(world.counters.lost_bytes.get(), 0);
    assert_eq!(world.counters.produced.get(), 9);
    let left = fs::read_dir(world.path("state")).unwrap();
    let left = left.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(left.into_iter().all(|name| !name.contains("unpacked")));
}

#[test]
fn a_file_that_was_compressed_and_truncated_in_place_is_finished_from_the_copy() {
    let world = World::new(1, &["app.log"]);
    world.append("app.log", numbered(0..5));
    let control = Control::new();
    let mut producer = Running::start(&world, &control).unwrap();
    producer.settle();
    world.append("app.log", numbered(5..7));
    gzip(&world, "app.log", "app.log.1.gz");
    world.write("app.log", &numbered(7..9));
    producer.finish();
    world.finish();
    assert_eq!(world.sorted_lines().concat(), numbered(0..9));
    assert_eq!(world.counters.lost_bytes.get(), 0);
}

#[test]
fn a_failure_of_the_log_while_a_compressed_file_is_read_neither_loses_nor_doubles() {
    for after in 0..5 {
        let mut world = rotated_while_down();
        world.options.framing = Framing::Line;
        let control = Control::new();
        let running = Running::start(&world, &control).unwrap();
        let written = after % 2 == 0;
        (0..2).for_each(|lane| world.log.fail(lane, Fault { after, written }));
        running.finish();
        world.log.heal();
        world.finish();
        assert_eq!(world.sorted_lines().concat(), numbered(0..9), "{after}");
    }
}

#[test]
fn a_compressed_file_that_was_read_before_is_not_taken_for_another_that_begins_like_it() {
    let world = World::new(1, &["app.log"]);
    world.append("app.log", format!("# header\n{}", numbered(0..5)));
    world.finish();
    gzip(&world, "app.log", "app.log.1.gz");
    // The next one has its header, but nothing else was read when it goes.
    fs::remove_file(world.path("app.log")).unwrap();
    world.append("app.log", "# header\n");
    world.finish();
    fs::remove_file(world.path("app.log")).unwrap();
    world.append("app.log", format!("# header\n{}", numbered(5..7)));
    world.finish();
    // This one had other lines behind it.
    fs::remove_file(world.path("app.log")).unwrap();
    world.append("app.log", numbered(7..9));
    world.finish();
    world.finish();
    let lines = world.sorted_lines();
    let (headers, lines) = lines.split_at(3);
    assert_eq!(headers, ["# header\n"; 3]);
    assert_eq!(lines.concat(), numbered(0..9));
}

#[test]
fn a_damaged_compressed_file_stops_nobody() {
    for cut in [0, 5, 30] {
        let world = rotated_while_down();
        let packed = fs::read(world.path("app.log.1.gz")).unwrap();
        fs::write(world.path("app.log.1.gz"), &packed[..cut]).unwrap();
        world.finish();
        world.finish();
        let expected = [numbered(0..5), numbered(7..9)].concat();
        assert_eq!(world.sorted_lines().concat(), expected, "{cut} bytes");
    }
}

#[test]
fn a_file_that_comes_back_while_its_rest_is_unpacked_is_not_read_twice() {
    for saved in [true, false] {
        let mut world = World::new(1, &["app.log"]);
        world.append("app.log", numbered(0..5));
        world.finish();
        if !saved {
            // Known from the log alone, it has no place.
            fs::remove_dir_all(world.path("state")).unwrap();
        }
        world.options.save_every = Duration::from_hours(1);
        world.append("app.log", numbered(5..7));
        gzip(&world, "app.log", "app.log.1.gz");
        fs::create_dir(world.path("away")).unwrap();
        world.rename("app.log", "away/app.log");
        world.append("app.log", numbered(7..9));
        let control = Control::new();
        let mut producer = Running::start(&world, &control).unwrap();
        producer.settle();
        world.rename("app.log", "app.log.2");
        world.rename("away/app.log", "app.log");
        producer.coordinator.step().unwrap();
        producer.settle();
        world.append("app.log", numbered(9..11));
        producer.finish();
        world.finish();
        assert_eq!(
            world.sorted_lines().concat(),
            numbered(0..11),
            "saved: {saved}"
        );
    }
}

#[test]
fn a_compressed_file_that_cannot_be_read_stops_nobody() {
    for kind in ["a link to itself", "a folder"] {
        let world = rotated_while_down();
        let packed = world.path("app.log.1.gz");
        fs::rename(&packed, world.path("app.log.2.gz")).unwrap();
        match kind {
            "a folder" => fs::create_dir(&packed).unwrap(),
            _ => std::os::unix::fs::symlink(&packed, &packed).unwrap(),
        }
        world.finish();
        // The other one has it.
        assert_eq!(world.sorted_lines().concat(), numbered(0..9), "{kind}");
    }
    let world = rotated_while_down();
    fs::remove_file(world.path("app.log.1.gz")).unwrap();
    fs::create_dir(world.path("app.log.1.gz")).unwrap();
    world.finish();
    let expected = [numbered(0..5), numbered(7..9)].concat();
    assert_eq!(world.sorted_lines().concat(), expected);
}

#[test]
fn a_state_folder_without_room_for_a_compressed_file_puts_it_off_and_loses_nothing() {
    let world = rotated_while_down();
    let space = world.path("state").join("test-0.unpacked");
    fs::create_dir(&space).unwrap();
    let other = world.path("state").join("test-1.unpacked");
    fs::create_dir(&other).unwrap();
    let control = Control::new();
    let mut producer = Running::start(&world, &control).unwrap();
    producer.settle();
    let others = [numbered(0..5), numbered(7..9)].concat();
    assert_eq!(world.sorted_lines().concat(), others);
    assert_eq!(world.counters.lost_bytes.get(), 0);
    drop(producer);
    // Who is to finish cannot wait for room, and says where it is missing.
    let error = world.try_finish().unwrap_err().to_string();
    let named = ["app.log.1.gz", "state"];
    assert!(named.iter().all(|name| error.contains(name)), "{error}");
    let control = Control::new();
    let mut producer = Running::start(&world, &control).unwrap();
    producer.settle();
    fs::remove_dir(&space).unwrap();
    fs::remove_dir(&other).unwrap();
    producer.finish();
    world.finish();
    assert_eq!(world.sorted_lines().concat(), numbered(0..9));
    assert_eq!(world.counters.lost_bytes.get(), 0);
}
