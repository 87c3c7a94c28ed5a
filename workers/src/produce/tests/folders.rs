//! What becomes of files whose folders or links go.

use std::os::unix::fs::symlink;

use super::*;

fn assert_let_go(running: &Running<'_>, world: &World, files: usize) {
    let open = running.lanes[0].as_ref().unwrap().open_files();
    let following = world.counters.following.get();
    assert_eq!((open, following), (files, files as u64));
}

#[test]
fn files_whose_folders_are_removed_are_let_go() {
    let world = World::new(1, &["jobs/*/out.log"]);
    for (folder, lines) in [("jobs/1", 0..3), ("jobs/2", 3..5)] {
        fs::create_dir_all(world.path(folder)).unwrap();
        world.append(&format!("{folder}/out.log"), numbered(lines));
    }
    let control = Control::new();
    let mut running = Running::start(&world, &control).unwrap();
    running.settle();
    assert_let_go(&running, &world, 2);
    fs::remove_dir_all(world.path("jobs/1")).unwrap();
    running.settle();
    assert_let_go(&running, &world, 1);
    fs::remove_dir_all(world.path("jobs/2")).unwrap();
    running.settle();
    assert_let_go(&running, &world, 0);
    drop(running);
    assert_eq!(world.sorted_lines().concat(), numbered(0..5));
}

#[test]
fn the_last_file_that_a_glob_matches_is_let_go() {
    let world = World::new(1, &["*.log"]);
    world.append("a.log", numbered(0..3));
    let control = Control::new();
    let mut running = Running::start(&world, &control).unwrap();
    running.settle();
    // What was written behind the last look is still read.
    world.append("a.log", numbered(3..5));
    fs::remove_file(world.path("a.log")).unwrap();
    running.settle();
    assert_let_go(&running, &world, 0);
    assert_eq!(world.lines().concat(), numbered(0..5));
}

#[test]
fn files_behind_links_are_let_go() {
    let world = World::new(1, &["links/*.log"]);
    for folder in ["links", "data"] {
        fs::create_dir(world.path(folder)).unwrap();
    }
    for (name, lines) in [("a.log", 0..3), ("b.log", 3..5)] {
        let real = format!("data/{name}");
        world.append(&real, numbered(lines));
        symlink(world.path(&real), world.path(&format!("links/{name}"))).unwrap();
    }
    let control = Control::new();
    let mut running = Running::start(&world, &control).unwrap();
    running.settle();
    for (left, name) in [(1, "a.log"), (0, "b.log")] {
        fs::remove_file(world.path(&format!("data/{name}"))).unwrap();
        fs::remove_file(world.path(&format!("links/{name}"))).unwrap();
        running.settle();
        assert_let_go(&running, &world, left);
    }
}

#[test]
fn an_open_file_without_a_name_is_let_go_by_its_lane_alone() {
    let world = World::new(1, &["jobs/*/out.log"]);
    fs::create_dir_all(world.path("jobs/1")).unwrap();
    world.append("jobs/1/out.log", numbered(0..3));
    let control = Control::new();
    let mut running = Running::start(&world, &control).unwrap();
    running.settle();
    fs::remove_dir_all(world.path("jobs/1")).unwrap();
    // Nobody looks at the folders.
    (0..6).for_each(|_| running.step_lane(0).unwrap());
    assert_eq!(running.lanes[0].as_ref().unwrap().open_files(), 0);
    running.settle();
    assert_let_go(&running, &world, 0);
}

#[test]
fn files_whose_folder_was_removed_while_nobody_looked_are_forgotten() {
    let world = World::new(1, &["jobs/*/out.log", "app.log"]);
    fs::create_dir_all(world.path("jobs/1")).unwrap();
    world.append("jobs/1/out.log", numbered(0..3));
    world.append("app.log", numbered(3..5));
    world.finish();
    fs::remove_dir_all(world.path("jobs")).unwrap();
    let control = Control::new();
    let mut running = Running::start(&world, &control).unwrap();
    running.settle();
    drop(running);
    let state = fs::read_to_string(world.state(0)).unwrap();
    assert_eq!(state.matches("\"gone\":true").count(), 1, "{state}");
}
