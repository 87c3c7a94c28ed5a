//! Damaged and newer files in the data folder: the error names the file and what to do, and when that is done
//! the run goes on, with every line exactly once.

use std::fs;

use super::{World, lines, messages};

const CHECKPOINT: &str = "checkpoints/p00000.checkpoint";
const PLAN: &str = "checkpoints/plan.checkpoint";
const STATE: &str = "producer/p-0.state";

/// A pipeline that has run twice, so that there are previous copies, and that has five lines to go.
fn begun() -> World {
    let world = World::of_file(lines(0..10));
    world.run().ends_with(0);
    world.append("app.log", lines(10..20));
    world.run().ends_with(0);
    world.append("app.log", lines(20..25));
    world
}

/// The rest must come, and all must be there once.
#[track_caller]
fn goes_on(world: &World) {
    world.run().ends_with(0);
    assert_eq!(world.messages(), messages(0..25));
    assert_eq!(world.verify()["lines"], 25);
}

/// Changes a byte near the end. The copy beside it may be the same file under another name.
fn damage(world: &World, name: &str) {
    let path = world.data(name);
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.len() - 5;
    bytes[at] ^= 1;
    fs::remove_file(&path).unwrap();
    fs::write(&path, bytes).unwrap();
}

/// Says that a newer release wrote a file, until `mend` puts back what it returns.
fn make_newer(world: &World, name: &str) -> Vec<u8> {
    let path = world.data(name);
    let good = fs::read(&path).unwrap();
    let text = String::from_utf8(good.clone()).unwrap();
    assert!(text.contains(" v1 "), "{text}");
    fs::remove_file(&path).unwrap();
    fs::write(&path, text.replacen(" v1 ", " v2 ", 1)).unwrap();
    good
}

#[test]
fn a_damaged_checkpoint_names_itself_and_its_previous_copy() {
    let world = begun();
    let before = world.parquet();
    damage(&world, CHECKPOINT);
    world.run().ends_with(1).says(&[
        "/checkpoints/p00000.checkpoint is damaged",
        "p00000.checkpoint.previous holds the value of one step before",
        "What is committed stays as it is: mend this and run the same command again",
    ]);
    assert_eq!(world.parquet(), before);
    world
        .logpipe(&["verify", "logpipe-data/p"])
        .ends_with(1)
        .says(&["p00000.checkpoint", "it is damaged"]);
    let previous = format!("{CHECKPOINT}.previous");
    fs::rename(world.data(&previous), world.data(CHECKPOINT)).unwrap();
    goes_on(&world);
}

#[test]
fn a_newer_checkpoint_asks_for_the_newer_release() {
    let world = begun();
    let before = world.parquet();
    let good = make_newer(&world, CHECKPOINT);
    let words = [
        "p00000.checkpoint",
        "format version 2, and this release reads version 1: run the newer release",
    ];
    world.run().ends_with(1).says(&words);
    world
        .logpipe(&["verify", "logpipe-data/p"])
        .ends_with(1)
        .says(&words);
    assert_eq!(world.parquet(), before);
    fs::write(world.data(CHECKPOINT), good).unwrap();
    goes_on(&world);
}

#[test]
fn a_checkpoint_that_is_gone_does_not_make_lines_come_twice() {
    let world = begun();
    let before = world.parquet();
    let away = world.path("away");
    fs::rename(world.data(CHECKPOINT), &away).unwrap();
    world.run().ends_with(1).says(&["checkpoint"]);
    assert_eq!(world.parquet(), before);
    fs::rename(&away, world.data(CHECKPOINT)).unwrap();
    goes_on(&world);
}

#[test]
fn a_damaged_state_of_the_producer_gives_way_to_its_previous_copy() {
    let world = begun();
    damage(&world, STATE);
    world
        .run()
        .ends_with(0)
        .says(&["state file unusable; using its previous copy", "p-0.state"]);
    goes_on(&world);
}

#[test]
fn a_producer_whose_state_is_damaged_twice_sends_nothing_again() {
    let world = begun();
    let before = world.parquet();
    let (state, previous) = (world.data(STATE), world.data(&format!("{STATE}.previous")));
    let good = fs::read(&state).unwrap();
    damage(&world, STATE);
    damage(&world, &format!("{STATE}.previous"));
    world.run().ends_with(1).says(&[
        "/producer/p-0.state: it and its previous copy are damaged (its checksum is wrong)",
        "restore one of them from a backup",
    ]);
    // Without any state it could only send everything again, and does not.
    fs::remove_file(&state).unwrap();
    fs::remove_file(&previous).unwrap();
    world.run().ends_with(1).says(&["there is no state file"]);
    assert_eq!(world.parquet(), before);
    fs::write(&state, good).unwrap();
    goes_on(&world);
}

#[test]
fn a_newer_state_of_the_producer_asks_for_the_newer_release() {
    let world = begun();
    let good = make_newer(&world, STATE);
    world.run().ends_with(1).says(&[
        "p-0.state has version 2, and this release reads version 1: run the newer release",
    ]);
    fs::write(world.data(STATE), good).unwrap();
    goes_on(&world);
}

#[test]
fn a_damaged_plan_names_itself_and_is_made_anew_when_it_is_moved_away() {
    let world = begun();
    damage(&world, PLAN);
    world.run().ends_with(1).says(&[
        "/checkpoints/plan.checkpoint is damaged",
        "make it from the files of the table: `logpipe checkpoint rebuild logpipe-data/p`",
    ]);
    fs::rename(world.data(PLAN), world.path("away")).unwrap();
    goes_on(&world);
}

#[test]
fn a_damaged_log_names_itself() {
    let world = begun();
    let path = world.data("log/log.redb");
    let good = fs::read(&path).unwrap();
    let noise: Vec<u8> = good.iter().map(|byte| byte ^ 0x55).collect();
    for (what, bytes) in [("noise", noise.as_slice()), ("cut off", &good[..1000])] {
        fs::write(&path, bytes).unwrap();
        let outcome = world.run().ends_with(1);
        assert!(
            outcome
                .stderr
                .contains("log.redb is damaged: restore it from a copy"),
            "{what}: {}",
            outcome.stderr
        );
    }
    fs::write(&path, good).unwrap();
    goes_on(&world);
}

#[test]
fn a_log_that_is_gone_is_not_taken_for_a_new_one() {
    let world = begun();
    let before = world.parquet();
    let (log, away) = (world.data("log"), world.path("away"));
    fs::rename(&log, &away).unwrap();
    world.run().ends_with(1).says(&["partition 0"]);
    assert_eq!(world.parquet(), before);
    fs::remove_dir_all(&log).unwrap();
    fs::rename(&away, &log).unwrap();
    goes_on(&world);
}

#[test]
fn a_damaged_owner_of_the_folder_can_be_removed() {
    let world = begun();
    fs::write(world.data("run.json"), "{").unwrap();
    world
        .run()
        .ends_with(1)
        .says(&["/run.json does not say which pipeline", "remove /"]);
    fs::remove_file(world.data("run.json")).unwrap();
    goes_on(&world);
}

#[test]
fn the_audit_finds_files_that_are_gone_or_damaged() {
    let world = begun();
    goes_on(&world);
    let (path, bytes) = world.parquet().remove(0);
    for content in [&bytes[..bytes.len() / 2], b""] {
        fs::write(&path, content).unwrap();
        let outcome = world.logpipe(&["verify", "logpipe-data/p"]).ends_with(1);
        assert!(
            outcome.stdout.contains("it cannot be read"),
            "{}",
            outcome.stdout
        );
        // What is there already does not keep a run from its work.
        world.run().ends_with(0);
        world.logpipe(&["run", "p.yaml", "--once"]).ends_with(0);
    }
    fs::remove_file(&path).unwrap();
    let outcome = world.logpipe(&["verify", "logpipe-data/p"]).ends_with(1);
    assert!(
        outcome.stdout.contains("NOT exactly once"),
        "{}",
        outcome.stdout
    );
    fs::write(&path, bytes).unwrap();
    world.verify();
}
