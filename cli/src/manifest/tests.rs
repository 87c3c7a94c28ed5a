//! The manifest as `logpipe run` takes it, and input that nobody means well.

use std::fmt::Write;

use super::*;

const HEAD: &str = "apiVersion: logpipe.dev/v1alpha1\nkind: LogPipeline\nmetadata: {name: shop}\n";
const SPEC: &str = "spec: {source: {generator: {}}, sink: {s3: {bucket: logs}}}\n";

fn checked(text: &str) -> Checked {
    check("m.yaml".to_owned(), text.to_owned(), Scope::Named)
}

fn messages(text: &str) -> Vec<String> {
    checked(text)
        .faults
        .iter()
        .map(|fault| fault.message.clone())
        .collect()
}

fn file(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.yaml");
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

#[test]
fn a_loaded_pipeline_has_its_defaults() {
    let (_folder, path) = file(&format!("{HEAD}{SPEC}"));
    let loaded = load(&path).unwrap();
    assert_eq!(loaded.warnings(Paint::Plain), "");
    assert_eq!(loaded.skipped(), []);
    let [pipeline] = loaded.pipelines.as_slice() else {
        panic!("{loaded:?}")
    };
    assert_eq!(pipeline.topic_name(), "shop");
    assert_eq!(pipeline.spec.kafka.topic.partitions, 3);
    assert_eq!(pipeline.spec.transform.parser.timezone, "UTC");
    let generator = pipeline.spec.source.generator.as_ref().unwrap();
    assert_eq!(generator.events_per_second, 200);
}

#[test]
fn a_run_is_not_told_what_only_a_cluster_needs() {
    let files = "spec: {source: {files: {paths: [a.log]}}, sink: {s3: {bucket: logs}}}\n";
    let (_folder, path) = file(&format!("{HEAD}{files}"));
    let [fault] = read(&path).faults.try_into().unwrap();
    assert_eq!(
        (fault.severity, fault.kind),
        (Severity::Warning, Kind::Cluster)
    );
    assert_eq!(load(&path).unwrap().warnings(Paint::Plain), "");
}

#[test]
fn a_refused_manifest_says_why() {
    let (_folder, path) = file(&format!(
        "{HEAD}spec: {{source: {{}}, sink: {{s3: {{bucket: logs}}}}}}\n"
    ));
    let faults = load(&path).unwrap_err().to_string();
    assert!(
        faults.contains("m.yaml is not valid\n\nerror: spec.source: must have"),
        "{faults}"
    );
}

#[test]
fn a_manifest_without_a_pipeline_is_refused() {
    let (_folder, path) = file("apiVersion: v1\nkind: Secret\nmetadata: {name: s3}\n");
    let faults = load(&path).unwrap_err().to_string();
    assert!(faults.contains("there is no LogPipeline in"), "{faults}");
}

#[test]
fn one_bad_pipeline_refuses_the_manifest() {
    let (_folder, path) = file(&format!("{HEAD}{SPEC}---\n{HEAD}spec: {{}}\n"));
    assert!(load(&path).is_err());
}

#[test]
fn a_key_that_is_there_twice_refuses_only_its_own_pipeline() {
    let other = HEAD.replace("shop", "other");
    let text = format!(
        "{HEAD}{SPEC}---\n{other}{}",
        SPEC.replace("logs", "logs, bucket: rows")
    );
    let checked = checked(&text);
    assert_eq!((checked.found, checked.pipelines.len()), (2, 1));
}

#[test]
fn merge_keys_bring_what_a_map_does_not_say_itself() {
    let text = format!(
        "{HEAD}spec:\n  etl: &few {{replicas: 2}}\n  source:\n    generator:\n      \
         <<: [{{seed: 1, maxEvents: 5}}, {{maxEvents: 6, malformedPercent: 7}}]\n      \
         seed: 2\n  sink: {{s3: {{bucket: logs}}}}\n  kafka: {{topic: {{partitions: &n 4}}}}\n  \
         checkpoint: {{intervalSeconds: *n}}\n"
    );
    let checked = checked(&text);
    assert_eq!(checked.faults, []);
    let spec = &checked.pipelines[0].spec;
    let generator = spec.source.generator.as_ref().unwrap();
    assert_eq!(
        (
            generator.seed,
            generator.max_events,
            generator.malformed_percent
        ),
        (2, 5, 7)
    );
    assert_eq!(spec.checkpoint.interval_seconds, 4);
}

#[test]
fn a_field_with_nothing_after_it_takes_its_default() {
    let text = format!(
        "{HEAD}{}",
        SPEC.replace("}}}\n", "}}, etl: , suspend: null}\n")
    );
    let checked = checked(&text);
    assert_eq!(checked.faults, []);
    assert_eq!(checked.pipelines[0].spec.etl.replicas, 1);
}

#[test]
fn words_and_quotes_mean_what_they_mean_to_kubectl() {
    let text = format!(
        "{HEAD}{}",
        SPEC.replace("{}", "{seed: 0x10, maxEvents: 1_000_000}")
    );
    let whole = checked(&text);
    assert_eq!(whole.faults, []);
    let generator = whole.pipelines[0].spec.source.generator.clone().unwrap();
    assert_eq!((generator.seed, generator.max_events), (16, 1_000_000));
    let tagged = format!(
        "{HEAD}{}",
        SPEC.replace("{}", "{seed: !!int \"7\", format: !!str Json}")
    );
    assert_eq!(checked(&tagged).faults, []);
}

#[test]
fn a_file_that_is_too_large_is_not_read_to_its_end() {
    let (_folder, path) = file(&"#".repeat(MAX_FILE_BYTES as usize + 1));
    let faults = load(&path).unwrap_err().to_string();
    assert!(faults.contains("m.yaml is larger than 4 MiB"), "{faults}");
}

#[test]
fn nesting_is_bounded_with_aliases_unfolded() {
    let mut text = "a0: &a0 [x]\n".to_owned();
    for level in 1..10_000 {
        writeln!(text, "a{level}: &a{level} [*a{}]", level - 1).unwrap();
    }
    assert_eq!(
        messages(&text),
        ["more than 64 lists and maps within each other"]
    );
    let brackets = "[".repeat(100_000);
    assert_eq!(messages(&brackets).len(), 1);
}

#[test]
fn ten_thousand_faults_are_told_in_part() {
    let mut text = HEAD.to_owned();
    for field in 0..10_000 {
        writeln!(text, "field{field}: 1").unwrap();
    }
    let messages = messages(&text);
    assert_eq!(messages.len(), MAX_FAULTS + 1);
    assert_eq!(
        messages.last().unwrap(),
        "and 9501 more faults, which are not shown"
    );
}

#[test]
fn no_beginning_of_a_manifest_panics() {
    let text = include_str!("../../tests/validate/thirty-faults.yaml");
    for end in (0..text.len())
        .step_by(29)
        .filter(|end| text.is_char_boundary(*end))
    {
        let beginning = &text[..end];
        let checked = checked(beginning);
        drop(render(&checked, Paint::Coloured));
        for fault in &checked.faults {
            assert!(beginning.get(fault.span.clone()).is_some(), "{fault:?}");
        }
    }
}

#[test]
fn every_pattern_of_the_schema_compiles() {
    fn patterns(schema: &Json, found: &mut Vec<String>) {
        match schema {
            Json::Object(object) => {
                found.extend(
                    object
                        .get("pattern")
                        .and_then(Json::as_str)
                        .map(str::to_owned),
                );
                object.values().for_each(|value| patterns(value, found));
            }
            Json::Array(items) => items.iter().for_each(|item| patterns(item, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    patterns(&SCHEMA, &mut found);
    assert!(found.len() >= 7, "{found:?}");
    for pattern in found {
        assert!(regex::Regex::new(&pattern).is_ok(), "{pattern}");
    }
}
