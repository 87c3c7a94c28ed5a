//! For each folder of `tests/golden`: the objects that `in.yaml` becomes are those of `out.yaml`, or its faults
//! are. `LOGPIPE_BLESS=1 cargo test -p logpipe-operator --test golden` renews them; look at the difference.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use kube::CustomResourceExt;
use logpipe_api::LogPipeline;
use logpipe_operator::config::Config;
use logpipe_operator::desired;
use logpipe_operator::validate::{Facts, validate};

fn config() -> Config {
    Config {
        worker_image: "localhost/logpipe-worker:dev".to_owned(),
        kafka_image: "localhost/kafka:4.3.1".to_owned(),
        namespaces: Vec::new(),
        cluster_domain: "cluster.local".to_owned(),
        own_namespace: "logpipe-system".to_owned(),
        own_name: "operator-0".to_owned(),
        listen: "127.0.0.1:0".to_owned(),
    }
}

/// What the API server would hand out: with its defaults, a namespace and a UID.
fn pipeline(text: &str) -> LogPipeline {
    let manifest: serde_json::Value = serde_yaml::from_str(text).unwrap();
    let crd = serde_json::to_value(LogPipeline::crd()).unwrap();
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let object = kube_cel::apply_defaults(schema, &manifest);
    kube_cel::Validator::new()
        .validate(schema, &object, None)
        .unwrap();
    let mut pipeline: LogPipeline = serde_json::from_value(object).unwrap();
    pipeline
        .metadata
        .namespace
        .get_or_insert_with(|| "data".to_owned());
    pipeline.metadata.uid = Some("11111111-2222-3333-4444-555555555555".to_owned());
    pipeline
}

fn out(text: &str) -> String {
    let facts = Facts {
        cluster_id: "3Nv0H-7HNJ5tXg7-W7zKMA".to_owned(),
        bootstrapped: text.contains("# bootstrapped"),
        producer: None,
    };
    match validate(&pipeline(text), &config(), &facts) {
        Ok(pipeline) => {
            let objects = desired::objects(&pipeline);
            let yaml = objects
                .iter()
                .map(|object| serde_yaml::to_string(&object.value).unwrap());
            yaml.collect::<Vec<_>>().join("---\n")
        }
        Err(faults) => faults.iter().fold(String::new(), |mut text, fault| {
            writeln!(text, "{fault}").unwrap();
            text
        }),
    }
}

#[test]
fn each_manifest_becomes_its_objects() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut cases = 0;
    for case in fs::read_dir(folder).unwrap() {
        let case = case.unwrap().path();
        let made = out(&fs::read_to_string(case.join("in.yaml")).unwrap());
        let file = case.join("out.yaml");
        cases += 1;
        if std::env::var_os("LOGPIPE_BLESS").is_some() {
            fs::write(&file, &made).unwrap();
            continue;
        }
        let kept = fs::read_to_string(&file).unwrap_or_default();
        let same = kept
            .lines()
            .zip(made.lines())
            .take_while(|(a, b)| a == b)
            .count();
        assert!(
            kept == made,
            "{}: line {} is {:?} in the file and {:?} now. To renew it: \
             LOGPIPE_BLESS=1 cargo test -p logpipe-operator --test golden",
            file.display(),
            same + 1,
            kept.lines().nth(same).unwrap_or("(end of file)"),
            made.lines().nth(same).unwrap_or("(end of file)"),
        );
    }
    assert!(cases >= 6, "only {cases} cases were found");
}

/// Without it the script would blame the cluster's DNS after two minutes.
#[test]
fn an_image_without_a_tool_is_told_at_once() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/desired/kafka/start.sh");
    let mut shell = Command::new("/bin/sh");
    shell.arg(script).env_clear().env("PATH", "/nowhere");
    for name in ["LOGPIPE_POD_NAME", "LOGPIPE_POD_IP", "LOGPIPE_NODES"] {
        shell.env(name, "shop-kafka-0");
    }
    let output = shell.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "Kafka's image has no nslookup: name one that has it in spec.images.kafka\n"
    );
}
