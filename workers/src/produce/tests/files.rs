//! What becomes of the bytes of a file.

use super::fake_log::Fault;
use super::*;

#[test]
fn a_growing_file_is_followed_across_restarts() {
    let world = World::new(1, &["app.log"]);
    world.append("app.log", numbered(0..10));
    let control = Control::new();
    let mut running = Running::start(&world, &control).unwrap();
    running.settle();
    assert_eq!(world.lines().concat(), numbered(0..10));
    world.append("app.log", numbered(10..20));
    running.settle();
    drop(running);
    world.append("app.log", numbered(20..30));
    let control = Control::new();
    let mut running = Running::start(&world, &control).unwrap();
    running.settle();
    assert_eq!(world.lines().concat(), numbered(0..30));
    running.finish();
    assert_eq!(world.lines().concat(), numbered(0..30));
}

#[test]
fn bytes_that_are_no_text_pass_through_as_they_are() {
    let world = World::new(1, &["app.log"]);
    let odd: &[u8] = b"\xef\xbb\xbfwith a mark\n\xff\xfe\0\n\rone\rtwo\r\n\n\nlast";
    world.append("app.log", odd);
    world.finish();
    let bytes: Vec<u8> = world.pieces().into_iter().flat_map(|p| p.line).collect();
    assert_eq!(bytes, odd);
    assert_eq!(world.pieces().len(), 6);
}

#[test]
fn a_line_without_a_newline_waits_until_the_end_is_known() {
    let world = World::new(1, &["app.log"]);
    world.append("app.log", "one\ntw");
    let control = Control::new();
    let mut running = Running::start(&world, &control).unwrap();
    running.settle();
    assert_eq!(world.lines(), ["one\n"]);
    world.append("app.log", "o\nthr");
    running.settle();
    assert_eq!(world.lines(), ["one\n", "two\n"]);
    running.finish();
    assert_eq!(world.lines(), ["one\n", "two\n", "thr"]);
    world.finish();
    world.append("app.log", "ee\nfour\n");
    world.finish();
    assert_eq!(world.lines(), ["one\n", "two\n", "thr", "ee\n", "four\n"]);
}

#[test]
fn a_very_long_line_becomes_chunks_that_a_restart_goes_on_with() {
    let world = World::new(1, &["app.log"]);
    let long = vec![b'x'; 5 << 20];
    world.append("app.log", &long);
    let control = Control::new();
    let mut running = Running::start(&world, &control).unwrap();
    running.settle();
    drop(running);
    world.append("app.log", "end\nnext\n");
    world.finish();
    let pieces = world.pieces();
    let bytes: Vec<u8> = pieces.iter().flat_map(|p| p.line.clone()).collect();
    assert_eq!(bytes, [&long[..], b"end\nnext\n"].concat());
    let (next, chunks) = pieces.split_last().unwrap();
    let (last, chunks) = chunks.split_last().unwrap();
    assert_eq!((next.chunk, last.chunk), (Chunk::Whole, Chunk::Last));
    assert!(chunks.iter().all(|p| p.chunk == Chunk::Continues));
    let limit = crate::tail::split::BLOCK_BYTES;
    assert!(chunks.iter().all(|p| p.line.len() == limit));
}

#[test]
fn a_file_that_lost_its_end_with_the_machine_goes_on_where_it_is_known() {
    let mut world = World::new(1, &["app.log"]);
    world.append("app.log", numbered(0..10));
    world.finish();
    cut(&world, numbered(0..5).len());
    "second".clone_into(&mut world.boot_id);
    world.finish();
    world.append("app.log", numbered(10..12));
    world.finish();
    assert_eq!(world.lines().concat(), numbered(0..12));
}

#[test]
fn what_nobody_knows_of_a_file_that_lost_its_end_is_read_again() {
    let mut world = World::new(1, &["app.log"]);
    world.append("app.log", numbered(0..100));
    world.finish();
    // Within a line, and behind a mark that is within another.
    cut(&world, 606);
    world.append("app.log", " torn\n");
    world.append("app.log", numbered(100..101));
    "second".clone_into(&mut world.boot_id);
    world.finish();
    world.finish();
    let read = world.lines().concat();
    let again = read.strip_prefix(&numbered(0..100)).unwrap();
    let expected = [&numbered(31..50), "line 0 torn\n", &numbered(100..101)];
    assert_eq!(again, expected.concat());
}

/// Takes the end of `app.log` away, as a machine does that stops before it is on the disk.
fn cut(world: &World, size: usize) {
    let file = File::options().write(true).open(world.path("app.log"));
    file.unwrap().set_len(size as u64).unwrap();
}

#[test]
fn one_line_a_record_when_told_so() {
    let mut world = World::new(1, &["app.log"]);
    world.options.framing = Framing::Line;
    world.append("app.log", numbered(0..5));
    world.finish();
    assert_eq!(world.lines().concat(), numbered(0..5));
    let values = world.log.records(0).into_iter().map(|r| r.value);
    assert_eq!(values.filter(|value| !value.is_empty()).count(), 5);
}

#[test]
fn at_the_end_means_behind_the_last_line_of_the_very_first_start() {
    let mut world = World::new(2, &["*.log"]);
    world.options.start_at = StartAt::End;
    world.append("app.log", "old\nhal");
    let control = Control::new();
    let mut running = Running::start(&world, &control).unwrap();
    running.settle();
    drop(running);
    world.append("app.log", "f\nnew\n");
    world.append("later.log", "from its beginning\n");
    world.finish();
    assert_eq!(
        world.sorted_lines(),
        ["from its beginning\n", "half\n", "new\n"]
    );
}

/// Files of which only what is written now is wanted; both lanes have some.
fn with_history() -> World {
    let mut world = World::new(2, &["*.log"]);
    world.options.start_at = StartAt::End;
    for n in 0..16 {
        world.append(&format!("{n}.log"), format!("{n} old\n"));
    }
    world
}

fn append_to_all(world: &World, word: &str) {
    (0..16).for_each(|n| world.append(&format!("{n}.log"), format!("{n} {word}\n")));
}

fn all(words: &[&str]) -> Vec<String> {
    let mut lines: Vec<String> = (0..16)
        .flat_map(|n| words.iter().map(move |word| format!("{n} {word}\n")))
        .collect();
    lines.sort();
    lines
}

#[test]
fn at_the_end_stays_there_when_the_log_fails_before_the_first_save() {
    for written in [true, false] {
        let world = with_history();
        let control = Control::new();
        let mut running = Running::start(&world, &control).unwrap();
        for lane in 0..2 {
            world.log.fail_flush(lane);
            world.log.fail(lane, Fault { after: 2, written });
        }
        running.coordinator.step().unwrap();
        append_to_all(&world, "new");
        running.finish();
        world.log.heal();
        world.finish();
        assert_eq!(world.sorted_lines(), all(&["new"]), "{written}");
    }
}

#[test]
fn at_the_end_stays_there_when_a_start_is_killed_between_the_first_saves_of_its_lanes() {
    for steps in 0..4 {
        let world = with_history();
        let control = Control::new();
        let mut running = Running::start(&world, &control).unwrap();
        running.coordinator.step().unwrap();
        append_to_all(&world, "new");
        (0..steps).for_each(|_| running.step_lane(0).unwrap());
        drop(running);
        append_to_all(&world, "newer");
        world.append("later.log", "from its beginning\n");
        world.finish();
        let mut expected = all(&["new", "newer"]);
        expected.push("from its beginning\n".to_owned());
        assert_eq!(world.sorted_lines(), expected, "{steps} steps");
    }
}

#[test]
fn at_the_end_is_not_taken_for_the_end_of_another_file_that_begins_alike() {
    let world = with_history();
    let control = Control::new();
    let mut running = Running::start(&world, &control).unwrap();
    running.coordinator.step().unwrap();
    drop(running);
    // In place, so that it has the same id.
    world.write("3.log", "3 old\n3 other\n3 lines\n");
    world.write("4.log", "4 old");
    world.write("4.log", "4 odd\n4 new\n");
    world.finish();
    let expected = ["3 lines\n", "3 other\n", "4 new\n", "4 odd\n"];
    assert_eq!(world.sorted_lines(), expected);
}

#[test]
fn many_files_are_followed_with_few_handles() {
    let world = World::new(1, &["**/*.log"]);
    for n in 0..400 {
        world.append(&format!("{n}.log"), format!("{n} first\n"));
    }
    let control = Control::new();
    let mut running = Running::start(&world, &control).unwrap();
    running.settle();
    assert!(running.lanes[0].as_ref().unwrap().open_files() <= 256);
    for n in 0..400 {
        world.append(&format!("{n}.log"), format!("{n} second\n"));
    }
    running.finish();
    assert_eq!(world.lines().len(), 800);
}

#[test]
fn a_folder_and_a_missing_path_are_clear_errors() {
    let world = World::new(1, &[""]);
    let error = world.try_finish().unwrap_err().to_string();
    assert!(
        error.contains("is a folder") && error.contains("/*.log"),
        "{error}"
    );
    let world = World::new(1, &["missing.log"]);
    let error = world.try_finish().unwrap_err().to_string();
    assert!(error.contains("missing.log"), "{error}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_that_cannot_be_read_is_an_error_at_the_start() {
    let world = World::new(1, &["app.log"]);
    // A regular file whose first page nobody can read, whatever the rights.
    std::os::unix::fs::symlink("/proc/self/mem", world.path("app.log")).unwrap();
    let error = world.try_finish().unwrap_err().to_string();
    assert!(
        error.contains("app.log") && error.contains("right"),
        "{error}"
    );
}

#[test]
fn two_names_of_one_file_are_one_file() {
    let world = World::new(1, &["app.log", "*.log"]);
    world.append("app.log", numbered(0..3));
    fs::hard_link(world.path("app.log"), world.path("link.log")).unwrap();
    world.finish();
    assert_eq!(world.lines().concat(), numbered(0..3));
}

#[test]
fn a_path_that_cannot_be_looked_at_any_more_stops_no_other() {
    let world = World::new(1, &["a.log", "b.log"]);
    world.append("a.log", numbered(0..2));
    world.append("b.log", numbered(2..4));
    let control = Control::new();
    let mut running = Running::start(&world, &control).unwrap();
    running.settle();
    fs::remove_file(world.path("b.log")).unwrap();
    // A link to itself leads nowhere, whoever looks.
    std::os::unix::fs::symlink(world.path("b.log"), world.path("b.log")).unwrap();
    running.settle();
    world.append("a.log", numbered(4..6));
    running.settle();
    assert_eq!(world.lines().len(), 6);
    drop(running);
    // Nor the next start.
    world.append("a.log", numbered(6..8));
    let control = Control::new();
    let mut running = Running::start(&world, &control).unwrap();
    running.settle();
    assert_eq!(world.lines().len(), 8);
    fs::remove_file(world.path("b.log")).unwrap();
    world.append("b.log", numbered(8..10));
    running.finish();
    assert_eq!(world.sorted_lines().concat(), numbered(0..10));
}

#[test]
fn a_path_that_cannot_be_looked_at_is_an_error_at_the_very_first_start() {
    let world = World::new(1, &["a.log", "b.log"]);
    world.append("a.log", numbered(0..2));
    std::os::unix::fs::symlink(world.path("b.log"), world.path("b.log")).unwrap();
    let error = world.try_finish().unwrap_err().to_string();
    assert!(error.contains("b.log"), "{error}");
}

#[test]
fn a_folder_that_cannot_be_listed_stops_neither_the_others_nor_the_next_start() {
    as_nobody(|| {
        use std::os::unix::fs::PermissionsExt;
        let world = World::new(1, &["jobs/**/*.log"]);
        let allow = |name: &str, mode| {
            let mode = fs::Permissions::from_mode(mode);
            fs::set_permissions(world.path(name), mode).unwrap();
        };
        fs::create_dir_all(world.path("jobs/1")).unwrap();
        world.append("jobs/1/a.log", numbered(0..2));
        let control = Control::new();
        let mut running = Running::start(&world, &control).unwrap();
        running.settle();
        fs::create_dir_all(world.path("jobs/2")).unwrap();
        world.append("jobs/2/b.log", numbered(2..4));
        world.append("jobs/1/c.log", numbered(4..6));
        allow("jobs/2", 0o000);
        allow("jobs/1/c.log", 0o000);
        running.settle();
        world.append("jobs/1/a.log", numbered(6..8));
        running.finish();
        world.append("jobs/1/a.log", numbered(8..10));
        world.finish();
        assert_eq!(world.lines().len(), 6);
        allow("jobs/2", 0o700);
        allow("jobs/1/c.log", 0o600);
        world.finish();
        assert_eq!(world.sorted_lines().concat(), numbered(0..10));
    });
}
