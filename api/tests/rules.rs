//! The CEL rules of the CRD, run as the API server runs them: a good and a bad case for each.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod support;

use kube_cel::Validator;
use logpipe_api::pipeline::metadata_version;
use serde_json::{Value, json};

/// A manifest that every rule accepts.
fn good() -> Value {
    json!({
        "apiVersion": "logpipe.dev/v1alpha1",
        "kind": "LogPipeline",
        "metadata": {"name": "shop"},
        "spec": {
            "source": {"generator": {}},
            "sink": {"s3": {"bucket": "logs", "prefix": "shop/"}},
        },
    })
}

/// The good manifest with the value at `pointer` put in or replaced; `Null` takes it out.
fn with(pointer: &str, value: Value) -> Value {
    let mut object = good();
    let (parents, last) = pointer.rsplit_once('/').unwrap();
    let mut node = &mut object;
    for name in parents.split('/').skip(1) {
        node = node
            .as_object_mut()
            .unwrap()
            .entry(name)
            .or_insert_with(|| json!({}));
    }
    let fields = node.as_object_mut().unwrap();
    if value.is_null() {
        fields.remove(last);
    } else {
        fields.insert(last.to_owned(), value);
    }
    object
}

/// What the rules say, as `path: message`.
fn said(object: &Value, old: Option<&Value>) -> Vec<String> {
    let faults = Validator::new()
        .validate(&support::schema(), object, old)
        .err();
    let faults = faults
        .map(kube_cel::ValidationErrors::into_vec)
        .unwrap_or_default();
    faults.iter().map(ToString::to_string).collect()
}

#[track_caller]
fn accepts(object: &Value) {
    assert_eq!(said(object, None), Vec::<String>::new());
}

#[track_caller]
fn refuses(object: &Value, message: &str) {
    let said = said(object, None);
    assert!(
        matches!(said.as_slice(), [only] if only.contains(message)),
        "{said:?}"
    );
}

#[track_caller]
fn accepts_change(old: &Value, new: &Value) {
    assert_eq!(said(new, Some(old)), Vec::<String>::new());
}

#[track_caller]
fn refuses_change(old: &Value, new: &Value, message: &str) {
    let said = said(new, Some(old));
    assert!(
        matches!(said.as_slice(), [only] if only.contains(message)),
        "{said:?}"
    );
}

#[test]
fn the_smallest_manifest_is_good() {
    accepts(&good());
}

#[test]
fn a_name_is_a_label_of_at_most_52() {
    for name in ["a", "shop-2", &"a".repeat(52)] {
        accepts(&with("/metadata/name", json!(name)));
    }
    for name in [
        "",
        "-shop",
        "shop-",
        "Shop",
        "2026-shop",
        "shop.eu",
        &"a".repeat(53),
    ] {
        refuses(
            &with("/metadata/name", json!(name)),
            "metadata.name must be at most 52",
        );
    }
}

#[test]
fn a_source_is_exactly_one() {
    accepts(&with(
        "/spec/source",
        json!({"files": {"paths": ["app.log"]}}),
    ));
    refuses(
        &with("/spec/source", json!({})),
        "exactly one of generator, files and topic",
    );
    let both = json!({"generator": {}, "files": {"paths": ["app.log"]}});
    refuses(
        &with("/spec/source", both),
        "exactly one of generator, files and topic",
    );
}

#[test]
fn a_source_keeps_its_kind() {
    let files = with("/spec/source", json!({"files": {"paths": ["app.log"]}}));
    let faster = with(
        "/spec/source",
        json!({"generator": {"eventsPerSecond": 5000}}),
    );
    accepts_change(&good(), &faster);
    accepts_change(&files, &files);
    refuses_change(&good(), &files, "must keep its kind");
    refuses_change(&files, &good(), "must keep its kind");
}

#[test]
fn a_topic_keeps_its_name() {
    let named = with("/spec/kafka/topic/name", json!("lines"));
    accepts_change(&named, &named);
    refuses_change(
        &named,
        &with("/spec/kafka/topic/name", json!("rows")),
        "name must not change",
    );
    refuses_change(&named, &good(), "name must not change");
    refuses_change(&good(), &named, "name must not change");
}

#[test]
fn partitions_only_grow() {
    let six = with("/spec/kafka/topic/partitions", json!(6));
    accepts_change(&good(), &six);
    accepts_change(&six, &six);
    // The default of 3 counts, too.
    refuses_change(&six, &good(), "partitions must not shrink");
}

#[test]
fn a_pattern_belongs_to_regex() {
    accepts(&with(
        "/spec/transform/parser",
        json!({"type": "Regex", "pattern": "(?<message>.*)"}),
    ));
    accepts(&with("/spec/transform/parser", json!({"type": "Json"})));
    let message = "pattern must be set for type Regex";
    refuses(
        &with("/spec/transform/parser", json!({"type": "Regex"})),
        message,
    );
    refuses(
        &with(
            "/spec/transform/parser",
            json!({"type": "Json", "pattern": ".*"}),
        ),
        message,
    );
    // `Auto` is the default, and the default counts.
    refuses(
        &with("/spec/transform/parser", json!({"pattern": ".*"})),
        message,
    );
}

#[test]
fn fields_belong_to_declared() {
    let fields = json!([{"name": "level", "type": "String"}]);
    accepts(&with(
        "/spec/transform/schema",
        json!({"mode": "Declared", "fields": fields}),
    ));
    accepts(&with(
        "/spec/transform/schema",
        json!({"mode": "Infer", "fields": []}),
    ));
    let message = "fields must be set for mode Declared";
    refuses(
        &with("/spec/transform/schema", json!({"mode": "Declared"})),
        message,
    );
    refuses(
        &with(
            "/spec/transform/schema",
            json!({"mode": "Declared", "fields": []}),
        ),
        message,
    );
    refuses(
        &with(
            "/spec/transform/schema",
            json!({"mode": "Raw", "fields": fields}),
        ),
        message,
    );
    refuses(
        &with("/spec/transform/schema", json!({"fields": fields})),
        message,
    );
}

#[test]
fn a_column_does_not_take_the_name_of_a_folder() {
    let declared = |name: &str| {
        let fields = json!([{"name": name, "type": "String"}]);
        with(
            "/spec/transform/schema",
            json!({"mode": "Declared", "fields": fields}),
        )
    };
    accepts(&declared("day"));
    refuses(&declared("dt"), "name must not be dt or hour");
    refuses(&declared("hour"), "name must not be dt or hour");
}

#[test]
fn a_pipeline_keeps_its_place_in_the_bucket() {
    let message = "must keep its bucket and prefix";
    accepts_change(&good(), &with("/spec/etl/replicas", json!(2)));
    refuses_change(
        &good(),
        &with("/spec/sink/s3/bucket", json!("other")),
        message,
    );
    refuses_change(
        &good(),
        &with("/spec/sink/s3/prefix", json!("other/")),
        message,
    );
    refuses_change(&good(), &with("/spec/sink/s3/prefix", Value::Null), message);
    refuses_change(&with("/spec/sink/s3/prefix", Value::Null), &good(), message);
}

#[test]
fn a_file_is_between_1_mi_and_512_mi() {
    for size in ["1Mi", "1048576", "64Mi", "512Mi", "536870912"] {
        accepts(&with("/spec/sink/rotation/maxBytes", json!(size)));
    }
    for size in ["1", "1M", "1048575", "513Mi", "1Gi", "536870913"] {
        let object = with("/spec/sink/rotation/maxBytes", json!(size));
        refuses(&object, "maxBytes must be between 1Mi and 512Mi");
    }
}

#[test]
fn the_depth_of_the_folders_never_changes() {
    let daily = with("/spec/sink/partitionBy/time/granularity", json!("Day"));
    let hourly = with("/spec/sink/partitionBy/time/granularity", json!("Hour"));
    accepts_change(&daily, &daily);
    accepts_change(&good(), &hourly);
    refuses_change(&hourly, &daily, "granularity must not change");
    refuses_change(&good(), &daily, "granularity must not change");
}

#[test]
fn every_rule_has_a_message_and_a_case_above() {
    let mut messages = Vec::new();
    collect_messages(&support::schema(), &mut messages);
    messages.sort();
    let begin = [
        "a toleration must have a key for operator Equal",
        "an image must have a tag or a digest",
        "an image must have a tag or a digest",
        "metadata.name must be at most 52",
        "name must not be dt or hour",
        "spec.kafka must have at most one of managed and external",
        "spec.kafka.external must not be added or removed",
        "spec.kafka.managed must not be removed",
        "spec.kafka.managed.metadataVersion must be one that this release knows",
        "spec.kafka.managed.rack.topologyKey must be topology.kubernetes.io/zone",
        "spec.kafka.managed.replicas must be 1, or 3 and more",
        "spec.kafka.managed.replicas must not shrink below 3",
        "spec.kafka.managed.storage must be what the brokers were made with",
        "spec.kafka.topic.name must not change",
        "spec.kafka.topic.partitions must not shrink",
        "spec.sink.partitionBy.time.granularity must not change",
        "spec.sink.rotation.maxBytes must be between",
        "spec.sink.s3 must keep its bucket and prefix",
        "spec.sink.s3.sse.kmsKeyId must be set for type KMS only",
        "spec.source must have exactly one",
        "spec.source must keep its kind",
        "spec.transform.parser.pattern must be set",
        "spec.transform.schema.fields must be set",
        "storage.className must stay what it is",
        "storage.className must stay what it is",
        "storage.size must not shrink",
        "storage.size must not shrink",
    ];
    // A new rule gets a good and a bad case above, and then its place in this list.
    assert_eq!(messages.len(), begin.len(), "{messages:#?}");
    for (message, begin) in messages.iter().zip(begin) {
        assert!(
            message.starts_with(begin),
            "{message} does not begin with {begin}"
        );
    }
}

fn collect_messages(schema: &Value, messages: &mut Vec<String>) {
    match schema {
        Value::Object(object) => {
            let rules = object
                .get("x-kubernetes-validations")
                .and_then(Value::as_array);
            for rule in rules.into_iter().flatten() {
                messages.push(
                    rule["message"]
                        .as_str()
                        .expect("a rule has a message")
                        .to_owned(),
                );
            }
            object
                .values()
                .for_each(|value| collect_messages(value, messages));
        }
        Value::Array(items) => items
            .iter()
            .for_each(|item| collect_messages(item, messages)),
        _ => {}
    }
}

#[test]
fn a_topic_that_others_write_is_a_source_too() {
    accepts(&with("/spec/source", json!({"topic": {}})));
    let both = json!({"topic": {}, "files": {"paths": ["app.log"]}});
    refuses(&with("/spec/source", both), "exactly one of generator");
}

#[test]
fn the_kafka_of_a_pipeline_stays() {
    let external = json!({"external": {"bootstrapServers": ["a:9092"]}});
    let other = json!({"external": {"bootstrapServers": ["b:9092"]}});
    accepts_change(
        &with("/spec/kafka", external.clone()),
        &with("/spec/kafka", other),
    );
    refuses_change(
        &good(),
        &with("/spec/kafka", external),
        "spec.kafka.external must not be added or removed",
    );
}

#[test]
fn a_key_of_the_key_service_needs_its_type() {
    for sse in [
        json!({"type": "S3"}),
        json!({"type": "KMS", "kmsKeyId": "k"}),
    ] {
        accepts(&with("/spec/sink/s3/sse", sse));
    }
    let sse = json!({"type": "S3", "kmsKeyId": "k"});
    refuses(&with("/spec/sink/s3/sse", sse), "for type KMS only");
}

#[test]
fn a_kafka_is_managed_or_external() {
    let external = json!({"bootstrapServers": ["a:9092"]});
    accepts(&with("/spec/kafka", json!({"managed": {}})));
    let both = json!({"managed": {}, "external": external});
    refuses(
        &with("/spec/kafka", both),
        "at most one of managed and external",
    );
}

#[test]
fn brokers_are_one_or_three_and_more() {
    let brokers = |n: i32| with("/spec/kafka/managed/replicas", json!(n));
    for n in [1, 3, 4] {
        accepts(&brokers(n));
    }
    refuses(&brokers(2), "replicas must be 1, or 3 and more");
    accepts_change(&brokers(1), &brokers(3));
    accepts_change(&good(), &brokers(3));
    accepts_change(&brokers(5), &brokers(3));
    refuses_change(&brokers(3), &brokers(1), "replicas must not shrink below 3");
    refuses_change(&brokers(3), &good(), "managed must not be removed");
}

#[test]
fn a_volume_may_grow_and_keeps_its_class() {
    for path in ["/spec/source/storage", "/spec/kafka/managed/storage"] {
        let small = with(path, json!({"size": "8Gi"}));
        let large = with(path, json!({"size": "1Ti"}));
        accepts_change(&small, &small);
        accepts_change(&small, &large);
        refuses_change(&large, &small, "storage.size must not shrink");
        let less = with(path, json!({"size": "8191Mi"}));
        refuses_change(&small, &less, "storage.size must not shrink");
        let class = with(path, json!({"size": "8Gi", "className": "fast"}));
        let message = "storage.className must stay what it is";
        refuses_change(&small, &class, message);
        refuses_change(&class, &small, message);
    }
    let written = |storage: Value| with("/spec/kafka/managed/storage", storage);
    accepts_change(&good(), &written(json!({"size": "8Gi"})));
    accepts_change(&good(), &written(json!({"size": "9Gi"})));
    refuses_change(
        &good(),
        &written(json!({"size": "7Gi"})),
        "storage must be what the brokers were made with",
    );
}

#[test]
fn a_rack_is_a_label_that_kubernetes_copies_to_pods() {
    let rack = |key: &str| with("/spec/kafka/managed/rack", json!({"topologyKey": key}));
    for key in [
        "topology.kubernetes.io/zone",
        "topology.kubernetes.io/region",
    ] {
        accepts(&rack(key));
        accepts_change(&good(), &rack(key));
        accepts_change(&rack(key), &with("/spec/kafka/managed", json!({})));
    }
    let message = "Kubernetes copies no other label of a node to its pods";
    refuses(&rack("kubernetes.io/hostname"), message);
}

#[test]
fn a_metadata_version_is_one_that_we_know() {
    let version = |text: &str| with("/spec/kafka/managed/metadataVersion", json!(text));
    for minor in 2..5 {
        let release = format!("4.{minor}");
        let names = (0..3).map(|number| format!("{release}-IV{number}"));
        for text in [release.clone()].into_iter().chain(names) {
            if metadata_version::level(&text).is_some() {
                accepts(&version(&text));
            } else {
                refuses(&version(&text), "it follows the image");
            }
        }
    }
}

#[test]
fn an_image_has_a_tag_or_a_digest() {
    let digest = format!("sha256:{}", "0".repeat(64));
    for image in [
        json!({"repository": "ghcr.io/acme/logpipe", "tag": "1"}),
        json!({"repository": "logpipe", "digest": digest}),
    ] {
        accepts(&with("/spec/images/worker", image));
    }
    refuses(
        &with("/spec/images/worker", json!({"repository": "logpipe"})),
        "a tag or a digest",
    );
}

#[test]
fn a_toleration_has_what_its_operator_needs() {
    let with = |toleration: Value| with("/spec/scheduling/tolerations", json!([toleration]));
    accepts(&with(json!({"operator": "Exists"})));
    accepts(&with(json!({"key": "dedicated", "value": "logs"})));
    let message = "must have a key for operator Equal";
    refuses(&with(json!({"value": "logs"})), message);
    refuses(
        &with(json!({"operator": "Exists", "key": "a", "value": "b"})),
        message,
    );
}
