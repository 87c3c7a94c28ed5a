//! Real files: read once, followed, rotated.

use std::fs;

use super::{World, lines, messages};

#[test]
fn lines_that_end_with_carriage_return_and_newline_are_read_once() {
    let world = World::of_file(lines(0..50).replace('\n', "\r\n"));
    let summary = world.run().ends_with(0).summary();
    assert_eq!(summary["committedRows"], 50, "{summary}");
    assert_eq!(world.messages(), messages(0..50));
    assert_eq!(world.verify()["lines"], 50);

    world.append("app.log", lines(50..60).replace('\n', "\r\n"));
    let summary = world.run().ends_with(0).summary();
    assert_eq!(summary["committedRows"], 10, "{summary}");
    assert_eq!(world.messages(), messages(0..60));
}

#[test]
fn every_file_of_a_glob_is_read() {
    let world = World::new("{files: {paths: ['logs/**/*.log']}}", "");
    for (file, first) in [
        ("logs/a.log", 0),
        ("logs/b.log", 10),
        ("logs/deep/c.log", 20),
    ] {
        world.write(file, lines(first..first + 10));
    }
    world.write("logs/not.txt", lines(900..910));
    world.run().ends_with(0);
    assert_eq!(world.messages(), messages(0..30));
    world.verify();
}

#[test]
fn a_file_is_followed_through_rotation_by_rename_and_ctrl_c_commits_what_was_read() {
    let world = World::of_file(lines(0..20));
    let mut running = world.follow();
    running.until_committed(20);
    world.append("app.log", lines(20..40));
    running.until_committed(40);
    // The last lines of the old file come at the same moment as the rotation.
    world.append("app.log", lines(40..50));
    fs::rename(world.path("app.log"), world.path("app.log.1")).unwrap();
    world.write("app.log", lines(50..70));
    running.until_committed(70);
    fs::rename(world.path("app.log.1"), world.path("app.log.2")).unwrap();
    fs::rename(world.path("app.log"), world.path("app.log.1")).unwrap();
    world.write("app.log", lines(70..80));
    running.until_committed(80);
    running.interrupt();
    let summary = running.wait().ends_with(0).summary();
    assert_eq!(summary["interrupted"], true, "{summary}");
    assert_eq!(summary["lostBytes"], 0, "{summary}");
    assert_eq!(world.messages(), messages(0..80));
    world.verify();
}

#[test]
fn a_file_is_followed_through_copytruncate() {
    let world = World::of_file(lines(0..20));
    let mut running = world.follow();
    running.until_committed(20);
    fs::copy(world.path("app.log"), world.path("app.log.1")).unwrap();
    // The same file, made empty, as logrotate does it.
    world.write("app.log", "");
    world.append("app.log", lines(20..30));
    running.until_committed(30);
    running.interrupt();
    running.wait().ends_with(0);
    assert_eq!(world.messages(), messages(0..30));
    world.verify();
}

#[test]
fn a_file_that_shrinks_between_two_runs_is_read_from_its_new_beginning() {
    let world = World::of_file(lines(0..100));
    world.run().ends_with(0);
    world.write("app.log", lines(100..110));
    let outcome = world.run().ends_with(0);
    assert_eq!(outcome.summary()["committedRows"], 10);
    assert_eq!(world.messages(), messages(0..110));
    world.verify();
}

#[test]
fn a_rotation_while_nothing_runs_is_found_again() {
    let world = World::of_file(lines(0..30));
    world.run().ends_with(0);
    world.append("app.log", lines(30..40));
    fs::rename(world.path("app.log"), world.path("app.log.1")).unwrap();
    world.write("app.log", lines(40..60));
    world.run().ends_with(0);
    assert_eq!(world.messages(), messages(0..60));
    world.verify();
}

#[test]
fn half_a_line_waits_for_its_end_while_a_file_is_followed() {
    let world = World::of_file(lines(0..10));
    let mut running = world.follow();
    running.until_committed(10);
    let line = lines(10..11);
    let (head, tail) = line.split_at(20);
    world.append("app.log", head);
    running.interrupt();
    let summary = running.wait().ends_with(0).summary();
    assert_eq!(summary["committedRows"], 10, "{summary}");
    world.append("app.log", tail);
    world.run().ends_with(0);
    assert_eq!(world.messages(), messages(0..11));
}

#[test]
fn a_folder_given_elsewhere_holds_everything() {
    let world = World::of_file(lines(0..10));
    world
        .logpipe(&["run", "p.yaml", "--once", "--data-dir", "else/where"])
        .ends_with(0);
    world.logpipe(&["verify", "else/where"]).ends_with(0);
    assert!(!world.path("logpipe-data").exists());
}

#[test]
fn without_a_line_there_is_no_lag() {
    let world = World::of_file("");
    let mut running = world.start(&["run", "p.yaml"]);
    running.until_says("  lag ");
    running.interrupt();
    let told = running.wait().ends_with(0).stderr;
    let lags: Vec<&str> = told
        .lines()
        .filter_map(|line| Some(line.split_once("  lag ")?.1))
        .collect();
    assert!(lags.iter().all(|lag| *lag == "0 records"), "{told}");
}
