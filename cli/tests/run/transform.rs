//! Parsers and what becomes of a manifest that changes.

use super::{World, lines};

#[test]
fn json_lines_become_typed_columns() {
    let world = World::of_file(
        r#"{"time":"2026-01-31T07:00:00Z","level":"info","status":200,"ms":1.5,"ok":true,"user":"ada"}
{"time":"2026-01-31T07:00:01Z","level":"warn","status":404,"ms":2,"ok":false,"user":"bob"}
"#,
    );
    world.run().ends_with(0).says(&[]);
    let rows = world.rows();
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert_eq!(rows[0]["status"], 200, "{}", rows[0]);
    assert_eq!(rows[0]["ms"], 1.5, "{}", rows[0]);
    assert_eq!(rows[1]["ok"], false, "{}", rows[1]);
    assert_eq!(rows[1]["user"], "bob", "{}", rows[1]);
    world.verify();
}

#[test]
fn a_regular_expression_names_the_columns() {
    let world = World::of_file("GET /a 200\nnot one of them\nPUT /b 503\n");
    world.manifest(
        "{files: {paths: [app.log]}}",
        r"  transform: {parser: {type: Regex, pattern: '^(?P<method>[A-Z]+) (?P<path>/\S*) (?P<status>\d+)$'}}",
    );
    let summary = world.run().ends_with(0).summary();
    assert_eq!(summary["committedRows"], 2, "{summary}");
    assert_eq!(summary["committedDead"], 1, "{summary}");
    let rows = world.rows();
    assert_eq!(rows[1]["method"], "PUT", "{}", rows[1]);
    assert_eq!(rows[1]["path"], "/b", "{}", rows[1]);
    assert_eq!(world.verify()["lines"], 3);
}

#[test]
fn a_pending_batch_is_finished_under_the_plan_it_was_announced_with() {
    let world = World::of_file(lines(0..10));
    world.run().ends_with(0);
    // One step back: the batch is announced and not committed, as after a crash between the two.
    let checkpoint = world.data("checkpoints/p00000.checkpoint");
    std::fs::rename(
        world.data("checkpoints/p00000.checkpoint.previous"),
        &checkpoint,
    )
    .unwrap();
    let pending = std::fs::read_to_string(&checkpoint).unwrap();
    assert!(!pending.contains(r#""pending":null"#), "{pending}");
    let before = world.parquet();

    world.manifest(
        "{files: {paths: [app.log]}}",
        "  transform: {schema: {mode: Raw}}",
    );
    world.append("app.log", lines(10..15));
    world.run().ends_with(0);
    assert_eq!(world.verify()["lines"], 15);
    let after = world.parquet();
    assert_eq!(after.len(), before.len() + 1);
    assert!(before.iter().all(|file| after.contains(file)));
    // Under the new plan a line is kept whole.
    let mut kept = world.messages();
    kept.retain(|message| message.starts_with("2026-01-31 "));
    assert_eq!(kept.len(), 5, "{kept:?}");
}

#[test]
fn a_suspended_pipeline_does_nothing() {
    let world = World::of_file(lines(0..10));
    world.manifest("{files: {paths: [app.log]}}", "  suspend: All");
    world
        .run()
        .ends_with(0)
        .says(&["p is suspended (spec.suspend: All); set it to None to run it"]);
    assert!(!world.path("logpipe-data").exists());
}

#[test]
fn with_suspended_sources_only_what_is_in_the_log_is_committed() {
    let world = World::of_file(lines(0..10));
    world.run().ends_with(0);
    world.append("app.log", lines(10..20));
    world.manifest("{files: {paths: [app.log]}}", "  suspend: Sources");
    let summary = world.run().ends_with(0).summary();
    assert_eq!(summary["produced"], 0, "{summary}");
    assert_eq!(summary["totalRows"], 10, "{summary}");
    world.manifest("{files: {paths: [app.log]}}", "");
    world.run().ends_with(0);
    assert_eq!(world.verify()["lines"], 20);
}
