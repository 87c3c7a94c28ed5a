//! Generated lines: they carry their number and checksum, so the audit proves them one by one.

use super::World;

const MANY: &str = "{generator: {maxEvents: 20000, eventsPerSecond: 0, malformedPercent: 0}}";

/// The audit must find exactly `0..count` from the generator.
#[track_caller]
fn all_there(world: &World, count: u64) {
    let report = world.verify();
    assert_eq!(report["lines"], count, "{report:#}");
    assert_eq!(report["generators"][0]["first"], 0, "{report:#}");
    assert_eq!(report["generators"][0]["end"], count, "{report:#}");
    assert_eq!(report["generators"][0]["badChecksums"], 0, "{report:#}");
}

#[test]
fn every_generated_line_is_committed_and_a_second_run_writes_nothing() {
    let world = World::new(MANY, "");
    let summary = world.run().ends_with(0).summary();
    assert_eq!(summary["generated"], 20_000, "{summary}");
    assert_eq!(summary["produced"], 20_000, "{summary}");
    assert_eq!(summary["committedRows"], 20_000, "{summary}");
    all_there(&world, 20_000);

    let before = world.parquet();
    let summary = world.run().ends_with(0).summary();
    assert_eq!(summary["generated"], 0, "{summary}");
    assert_eq!(summary["produced"], 0, "{summary}");
    assert_eq!(summary["files"], 0, "{summary}");
    assert_eq!(summary["totalRows"], 20_000, "{summary}");
    assert_eq!(world.parquet(), before);
}

#[test]
fn a_person_sees_counts_rows_and_the_next_commands() {
    let world = World::new("{generator: {maxEvents: 500, eventsPerSecond: 0}}", "");
    let printed = world.logpipe(&["run", "p.yaml"]).ends_with(0).stdout;
    for text in [
        "p: done after",
        "everything that was read is committed",
        "committed              500 rows",
        "timestamp                 level  message",
        " verify logpipe-data/p\n",
        "duckdb -c \"SELECT level, count(*) FROM 'logpipe-data/p/parquet/p/dt=*/**/*.parquet'",
    ] {
        assert!(printed.contains(text), "{text:?} is not in:\n{printed}");
    }
}

#[test]
fn a_run_that_is_killed_again_and_again_goes_on_where_it_was() {
    let world = World::new("{generator: {maxEvents: 60000, eventsPerSecond: 5000}}", "");
    for kills in 1..=3 {
        let mut running = world.follow();
        running.until("another file is there", |world| {
            world.parquet().len() >= kills
        });
        running.kill();
    }
    world.manifest("{generator: {maxEvents: 60000, eventsPerSecond: 0}}", "");
    world.run().ends_with(0);
    all_there(&world, 60_000);
}

#[test]
fn ctrl_c_commits_what_was_read_and_the_next_run_makes_the_rest() {
    let world = World::new("{generator: {maxEvents: 0, eventsPerSecond: 5000}}", "");
    let mut running = world.follow();
    running.until_committed(1000);
    running.interrupt();
    let summary = running.wait().ends_with(0).summary();
    assert_eq!(summary["interrupted"], true, "{summary}");
    assert_eq!(summary["committedRows"], summary["produced"], "{summary}");
    let made = summary["generated"].as_u64().unwrap();
    world
        .logpipe(&["verify", "logpipe-data/p", "--running"])
        .ends_with(0);

    let more = made + 5000;
    world.manifest(
        &format!("{{generator: {{maxEvents: {more}, eventsPerSecond: 0}}}}"),
        "",
    );
    world.run().ends_with(0);
    all_there(&world, more);
}

#[test]
fn malformed_lines_are_quarantined_and_counted() {
    let source = "{generator: {maxEvents: 3000, eventsPerSecond: 0, malformedPercent: 20}}";
    let world = World::new(source, "");
    let summary = world.run().ends_with(0).summary();
    let dead = summary["committedDead"].as_u64().unwrap();
    let rows = summary["committedRows"].as_u64().unwrap();
    assert_eq!(rows + dead, 3000, "{summary}");
    assert!((300..900).contains(&dead), "{summary}");
    let report = world.verify();
    assert_eq!(report["lines"], 3000, "{report:#}");
    assert_eq!(report["partitions"][0]["dead"], dead, "{report:#}");
    let quarantined = world.quarantined();
    assert_eq!(quarantined.len() as u64, dead);
    for row in quarantined {
        assert!(
            row["error"].is_string() && row["parser"].is_string(),
            "{row}"
        );
    }
}

#[test]
fn a_reader_who_goes_away_is_no_failure() {
    let world = World::new("{generator: {maxEvents: 500, eventsPerSecond: 0}}", "");
    for arguments in [
        &["run", "p.yaml"][..],
        &["run", "p.yaml", "-o", "json"],
        &["head", "logpipe-data/p", "-n", "500"],
        &["schema", "logpipe-data/p"],
        &["verify", "logpipe-data/p"],
        &["validate", "-f", "p.yaml"],
    ] {
        world.without_reader(arguments).ends_with(0);
    }
}
