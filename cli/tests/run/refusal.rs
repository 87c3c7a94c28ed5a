//! What a run refuses: each with what is wrong, where, and what to do; and nothing is harmed.

use std::fs;

use super::{World, lines, messages};

#[test]
fn a_missing_file_is_named() {
    let world = World::new("{files: {paths: [nowhere.log]}}", "");
    world.run().ends_with(1).says(&[
        "error: the file producer stopped\n  because: path \"/",
        "/nowhere.log\" leads to no file: correct it, or leave it out",
    ]);
}

#[test]
fn a_missing_file_is_waited_for_when_it_is_followed() {
    let world = World::new("{files: {paths: [later.log]}}", "");
    let mut running = world.follow();
    running.until_says("no file there; waiting for one");
    world.write("later.log", lines(0..5));
    running.until_committed(5);
    running.interrupt();
    running.wait().ends_with(0);
    assert_eq!(world.messages(), messages(0..5));
}

#[test]
fn a_folder_given_as_a_file_is_named() {
    let world = World::new("{files: {paths: [logs]}}", "");
    fs::create_dir(world.path("logs")).unwrap();
    world.run().ends_with(1).says(&[
        "/logs\" is a folder: name its files, for example with /",
        "/logs/*.log",
    ]);
}

#[cfg(unix)]
#[test]
fn an_unreadable_file_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::of_file(lines(0..5));
    let path = world.path("app.log");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::File::open(&path).is_ok() {
        return; // Nothing is unreadable for this user, who may be root.
    }
    world
        .run()
        .ends_with(1)
        .says(&["app.log", "Permission denied"]);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    world.run().ends_with(0);
    assert_eq!(world.messages(), messages(0..5));
}

#[test]
fn a_faulty_manifest_is_told_as_validate_tells_it() {
    let world = World::new("{generator: {maxEvnts: 5}}", "");
    let run = world.run().ends_with(1).says(&[
        "error: spec.source.generator.maxEvnts: there is no such field\n --> p.yaml:5:24",
        "did you mean `maxEvents`?",
    ]);
    let validated = world.logpipe(&["validate", "-f", "p.yaml"]).ends_with(1);
    assert!(
        validated.stdout.starts_with(&run.stderr),
        "{}",
        validated.stdout
    );
    assert!(!world.path("logpipe-data").exists());

    world
        .logpipe(&["run", "no.yaml"])
        .ends_with(1)
        .says(&["no.yaml", "cannot be read"]);
    world.logpipe(&["run"]).ends_with(2);
    world
        .logpipe(&["run", "p.yaml", "--no-such-flag"])
        .ends_with(2);
}

#[test]
fn two_pipelines_in_a_manifest_are_refused() {
    let world = World::of_file("");
    let one = fs::read_to_string(world.path("p.yaml")).unwrap();
    let other = one.replace("name: p", "name: q");
    world.write("p.yaml", format!("{one}---\n{other}"));
    world
        .run()
        .ends_with(1)
        .says(&["p.yaml holds 2 LogPipelines, and run takes one"]);
}

#[test]
fn a_data_folder_in_use_names_the_process_that_uses_it() {
    let world = World::of_file(lines(0..10));
    let mut running = world.follow();
    running.until_committed(10);
    world.run().ends_with(1).says(&[
        "is in use by another run",
        &format!("(pid {})", running.pid()),
        "stop that one first, or give this one its own --data-dir",
    ]);
    // The audit only reads.
    world.verify();
    running.interrupt();
    running.wait().ends_with(0);
    world.run().ends_with(0);
}

#[test]
fn the_data_folder_of_another_manifest_is_left_alone() {
    let world = World::of_file(lines(0..10));
    world.run().ends_with(0);
    let before = world.parquet();
    let manifest = fs::read_to_string(world.path("p.yaml")).unwrap();
    for (field, other) in [
        ("metadata.name", manifest.replace("name: p", "name: q")),
        (
            "spec.sink.s3.bucket",
            manifest.replace("bucket: logs", "bucket: other"),
        ),
        (
            "spec.source",
            manifest.replace("{files: {paths: [app.log]}}", "{generator: {maxEvents: 5}}"),
        ),
    ] {
        assert_ne!(manifest, other);
        world.write("q.yaml", other);
        world
            .logpipe(&["run", "q.yaml", "--once", "--data-dir", "logpipe-data/p"])
            .ends_with(1)
            .says(&[
                &format!("belongs to another pipeline: {field} is "),
                "Give this one its own --data-dir",
            ]);
    }
    assert_eq!(world.parquet(), before);
}

#[test]
fn a_data_folder_that_cannot_be_one_is_named() {
    let world = World::of_file(lines(0..10));
    world.write("taken", "");
    for path in ["taken", "taken/below"] {
        world
            .logpipe(&["run", "p.yaml", "--once", "--data-dir", path])
            .ends_with(1)
            .says(&[
                &format!("cannot make the data folder {path}: taken is a file"),
                "name another folder with --data-dir",
            ]);
    }
}

#[cfg(unix)]
#[test]
fn a_data_folder_that_cannot_be_written_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::of_file(lines(0..10));
    let dir = world.path("sealed");
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o555)).unwrap();
    if fs::File::create(dir.join("probe")).is_ok() {
        return; // Nothing is sealed for this user, who may be root.
    }
    for path in ["sealed", "sealed/below"] {
        world
            .logpipe(&["run", "p.yaml", "--once", "--data-dir", path])
            .ends_with(1)
            .says(&["make it writable, or name another one with --data-dir"]);
    }
}

#[test]
fn a_folder_without_parquet_says_what_to_do() {
    let world = World::of_file("");
    fs::create_dir(world.path("empty")).unwrap();
    for command in ["verify", "head", "schema"] {
        world
            .logpipe(&[command, "empty"])
            .ends_with(1)
            .says(&["empty holds no Parquet yet: run a pipeline first"]);
    }
}
