//! `logpipe checkpoint` on a data folder: what is gone is made again or put back, and then every line is there once.

use std::fs;

use serde_json::Value;

use super::{World, lines, messages};

const PLACE: &str = "logpipe-data/p";

/// Lines of so many hours, ten each.
fn hours(hours: u32) -> String {
    let line = |n: u32| format!("2026-01-31 {:02}:00:00,000 INFO line {n:05}\n", n / 10);
    (0..hours * 10).map(line).collect()
}

fn lose_all(world: &World) {
    fs::remove_dir_all(world.data("checkpoints")).unwrap();
}

/// The partitions as `rebuild` and `import` tell them.
fn report(world: &World, arguments: &[&str]) -> Vec<Value> {
    let arguments = [&["checkpoint"], arguments, &["-o", "json"]].concat();
    let outcome = world.logpipe(&arguments).ends_with(0);
    let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
    report["partitions"].as_array().unwrap().clone()
}

/// The rest comes, and all is there once.
#[track_caller]
fn goes_on(world: &World, all: u32) {
    world.run().ends_with(0);
    let mut expected = messages(0..all);
    expected.sort();
    assert_eq!(world.messages(), expected);
    assert_eq!(world.verify()["lines"], all);
}

#[test]
fn a_checkpoint_that_is_gone_is_made_again_from_the_files() {
    let world = World::of_file(lines(0..10));
    world.run().ends_with(0);
    world.append("app.log", lines(10..20));
    world.run().ends_with(0);
    let before = world.parquet();
    lose_all(&world);
    world.append("app.log", lines(20..25));
    world
        .run()
        .ends_with(1)
        .says(&["`logpipe checkpoint rebuild logpipe-data/p`"]);
    assert_eq!(world.parquet(), before);
    let dry = world.logpipe(&["checkpoint", "rebuild", PLACE, "--dry-run"]);
    assert!(
        dry.ends_with(0)
            .stdout
            .contains("can be restored; nothing was written")
    );
    let made = report(&world, &["rebuild", PLACE]);
    assert_eq!(made[0]["action"], "Written");
    assert_eq!(made[0]["pending"], Value::Null);
    assert_eq!(report(&world, &["rebuild", PLACE])[0]["action"], "Kept");
    goes_on(&world, 25);
}

#[test]
fn a_batch_of_which_some_files_are_missing_is_finished_as_it_was_announced() {
    for gone in 0..3 {
        let world = World::of_file(hours(3));
        world.run().ends_with(0);
        let whole = world.parquet();
        assert_eq!(whole.len(), 3);
        // The crash came between two puts, and then the checkpoint was lost, and the plan with it.
        fs::remove_file(&whole[gone].0).unwrap();
        lose_all(&world);
        let made = report(&world, &["rebuild", PLACE]);
        assert_eq!(
            (&made[0]["next"], made[0]["pending"].is_array()),
            (&0.into(), true)
        );
        goes_on(&world, 30);
        assert_eq!(world.parquet(), whole);
    }
}

#[test]
fn a_damaged_checkpoint_is_set_aside_and_made_again() {
    let world = World::of_file(lines(0..10));
    world.run().ends_with(0);
    fs::write(world.data("checkpoints/p00000.checkpoint"), "damaged").unwrap();
    assert_eq!(report(&world, &["rebuild", PLACE])[0]["action"], "Written");
    let aside = world.data("checkpoints/p00000.checkpoint.damaged");
    assert_eq!(fs::read(aside).unwrap(), b"damaged");
    goes_on(&world, 10);
}

#[test]
fn an_older_copy_is_replaced() {
    let world = World::of_file(lines(0..10));
    world.run().ends_with(0);
    let older = fs::read(world.data("checkpoints/p00000.checkpoint")).unwrap();
    world.append("app.log", lines(10..20));
    world.run().ends_with(0);
    fs::write(world.data("checkpoints/p00000.checkpoint"), older).unwrap();
    world
        .run()
        .ends_with(1)
        .says(&["`logpipe checkpoint rebuild logpipe-data/p`"]);
    assert_eq!(report(&world, &["rebuild", PLACE])[0]["action"], "Written");
    goes_on(&world, 20);
}

#[test]
fn nothing_is_made_while_a_run_uses_the_folder() {
    let world = World::of_file(lines(0..10));
    let mut run = world.follow();
    run.until_committed(10);
    let outcome = world
        .logpipe(&["checkpoint", "rebuild", PLACE])
        .ends_with(1);
    outcome.says(&["is in use by another run", "stop that one first"]);
    // Looking is always allowed.
    let shown = world.logpipe(&["checkpoint", "show", PLACE]).ends_with(0);
    assert!(shown.stdout.contains("p-0: 10 (gen 1)"), "{}", shown.stdout);
}

#[test]
fn a_file_that_is_gone_in_between_is_not_hidden() {
    let world = World::of_file(lines(0..10));
    for next in 1..4 {
        world.run().ends_with(0);
        world.append("app.log", lines(next * 10..next * 10 + 10));
    }
    let files = world.parquet();
    let (middle, bytes) = &files[1];
    fs::remove_file(middle).unwrap();
    lose_all(&world);
    let outcome = world
        .logpipe(&["checkpoint", "rebuild", PLACE])
        .ends_with(1);
    assert!(
        outcome.stdout.contains("no file covers the offsets"),
        "{}",
        outcome.stdout
    );
    assert!(
        outcome.stdout.contains("nothing was written"),
        "{}",
        outcome.stdout
    );
    assert!(!world.data("checkpoints/p00000.checkpoint").exists());
    fs::write(middle, bytes).unwrap();
    report(&world, &["rebuild", PLACE]);
    goes_on(&world, 40);
}

#[test]
fn what_was_exported_is_put_back_unless_it_is_old() {
    let world = World::of_file(lines(0..10));
    world.run().ends_with(0);
    let export = |to: &str| world.logpipe(&["checkpoint", "export", PLACE, "--to", to]);
    export("old.json").ends_with(0);
    export("old.json")
        .ends_with(1)
        .says(&["name one that is not there yet"]);
    world.append("app.log", lines(10..20));
    world.run().ends_with(0);
    export("new.json").ends_with(0);
    lose_all(&world);
    let old = world.logpipe(&["checkpoint", "import", PLACE, "--from", "old.json"]);
    let old = old.ends_with(1);
    assert!(
        old.stdout.contains("would write these rows twice"),
        "{}",
        old.stdout
    );
    let edited = fs::read_to_string(world.path("new.json")).unwrap();
    world.write("edited.json", edited.replace("p-0", "p-1"));
    let edited = world.logpipe(&["checkpoint", "import", PLACE, "--from", "edited.json"]);
    edited.ends_with(1).says(&["damaged or was edited"]);
    assert_eq!(
        report(&world, &["import", PLACE, "--from", "new.json"])[0]["action"],
        "Written"
    );
    world.append("app.log", lines(20..25));
    goes_on(&world, 25);
}

#[test]
fn a_file_of_another_pipeline_is_refused() {
    let world = World::of_file(lines(0..10));
    world.run().ends_with(0);
    world
        .logpipe(&["checkpoint", "export", PLACE, "--to", "p.json"])
        .ends_with(0);
    world
        .logpipe(&["run", "p.yaml", "--once", "--data-dir", "other"])
        .ends_with(0);
    fs::remove_dir_all(world.path("other/checkpoints")).unwrap();
    let outcome = world.logpipe(&["checkpoint", "import", "other", "--from", "p.json"]);
    let outcome = outcome.ends_with(1);
    assert!(
        outcome.stdout.contains("it says nothing about this log"),
        "{}",
        outcome.stdout
    );
    world
        .logpipe(&["checkpoint", "show", "nowhere"])
        .ends_with(1)
        .says(&["is not the data folder of a run"]);
}
