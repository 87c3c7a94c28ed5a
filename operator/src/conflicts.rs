//! Two pipelines that would write over each other. No rule of the CRD can see a second object. Pure.

use logpipe_api::LogPipeline;
use logpipe_probe::wire::CLIENT_PORT;

use crate::desired::names::Names;
use crate::validate::Fault;

/// What `object` cannot have, because a pipeline that was there before has it. The younger one gives way.
pub fn faults<'a>(
    object: &LogPipeline,
    others: impl IntoIterator<Item = &'a LogPipeline>,
) -> Vec<Fault> {
    let mut faults = Vec::new();
    for other in others {
        if age(other) >= age(object) {
            continue;
        }
        let name = other.metadata.name.as_deref().unwrap_or_default();
        let namespace = other.metadata.namespace.as_deref().unwrap_or_default();
        if share_place(object, other) {
            faults.push(Fault {
                field: "spec.sink.s3".to_owned(),
                reason: format!(
                    "is where pipeline {name} in namespace {namespace} writes: make this one anew with another prefix"
                ),
            });
        }
        if share_topic(object, other) {
            faults.push(Fault {
                field: "spec.kafka.topic".to_owned(),
                reason: format!(
                    "is written by pipeline {name} in namespace {namespace}: make this one anew with another topic, \
                     or with source.topic to read it"
                ),
            });
        }
        if share_group(object, other) {
            faults.push(Fault {
                field: "spec.etl.groupId".to_owned(),
                reason: format!(
                    "is that of pipeline {name} in namespace {namespace}, which reads the same topic, and each would get \
                     a part of it: choose another one, or leave it out"
                ),
            });
        }
    }
    faults
}

/// Older is less.
fn age(object: &LogPipeline) -> (Option<jiff::Timestamp>, Option<&str>) {
    let created = object.metadata.creation_timestamp.as_ref();
    (created.map(|time| time.0), object.metadata.uid.as_deref())
}

/// The same folder, or one within the other: a reader of the outer one would find the lines of both.
fn share_place(one: &LogPipeline, other: &LogPipeline) -> bool {
    let (s3, s3_other) = (&one.spec.sink.s3, &other.spec.sink.s3);
    let server = |endpoint: &Option<String>| {
        let text = endpoint.as_deref().unwrap_or_default();
        text.trim_end_matches('/').to_owned()
    };
    let (prefix, prefix_other) = (one.prefix(), other.prefix());
    s3.bucket == s3_other.bucket
        && server(&s3.endpoint) == server(&s3_other.endpoint)
        && (prefix.starts_with(&prefix_other) || prefix_other.starts_with(&prefix))
}

/// Both write one topic of one Kafka.
fn share_topic(one: &LogPipeline, other: &LogPipeline) -> bool {
    let writes = |object: &LogPipeline| object.spec.source.topic.is_none();
    share_kafka(one, other)
        && writes(one)
        && writes(other)
        && one.topic_name() == other.topic_name()
}

/// Both read one topic as one group.
fn share_group(one: &LogPipeline, other: &LogPipeline) -> bool {
    share_kafka(one, other)
        && one.topic_name() == other.topic_name()
        && one.group_id() == other.group_id()
}

/// One Kafka, as far as addresses tell.
fn share_kafka(one: &LogPipeline, other: &LogPipeline) -> bool {
    let theirs = servers(other);
    servers(one).iter().any(|server| theirs.contains(server))
}

/// Where its Kafka is. A Service of the cluster has many names, and here it has one.
fn servers(object: &LogPipeline) -> Vec<String> {
    let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
    let Some(external) = &object.spec.kafka.external else {
        let names = Names::new(object.metadata.name.as_deref().unwrap_or_default());
        let services = [names.kafka(), names.kafka_nodes()];
        return services
            .map(|service| format!("{service}.{namespace}:{CLIENT_PORT}"))
            .into();
    };
    let servers = external.bootstrap_servers.iter();
    servers.map(|server| one_name(server, namespace)).collect()
}

/// `kafka`, `kafka.data.svc` and `broker-0.kafka.data.svc.cluster.local` are `kafka.data`.
fn one_name(server: &str, namespace: &str) -> String {
    let server = server.to_ascii_lowercase();
    let Some((host, port)) = server.rsplit_once(':') else {
        return server;
    };
    let host = host.trim_end_matches('.');
    let labels: Vec<&str> = host.split('.').collect();
    let service = labels.iter().position(|label| *label == "svc");
    match (&labels[..], service) {
        ([service], _) => format!("{service}.{namespace}:{port}"),
        (_, Some(end)) if end >= 2 => format!("{}.{}:{port}", labels[end - 2], labels[end - 1]),
        _ => format!("{host}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pipeline(name: &str, created: &str, spec: &Value) -> LogPipeline {
        let object = json!({
            "apiVersion": "logpipe.dev/v1alpha1", "kind": "LogPipeline",
            "metadata": {"name": name, "namespace": "data", "uid": name, "creationTimestamp": created},
            "spec": spec,
        });
        serde_json::from_value(object).unwrap()
    }

    fn at(prefix: &str) -> Value {
        json!({"source": {"generator": {}}, "sink": {"s3": {"bucket": "logs", "prefix": prefix}}})
    }

    const MORNING: &str = "2026-01-01T08:00:00Z";
    const NOON: &str = "2026-01-01T12:00:00Z";

    #[test]
    fn the_younger_of_two_at_one_place_gives_way() {
        let old = pipeline("old", MORNING, &at("shop/"));
        for prefix in ["shop/", "shop/eu/"] {
            let young = pipeline("young", NOON, &at(prefix));
            let found = faults(&young, [&old, &young]);
            assert_eq!(found.len(), 1, "{prefix}");
            assert!(found[0].reason.contains("pipeline old in namespace data"));
            assert_eq!(faults(&old, [&old, &young]), Vec::new());
        }
    }

    #[test]
    fn names_that_begin_alike_are_other_folders() {
        let old = pipeline("old", MORNING, &at("shop/"));
        let young = pipeline("young", NOON, &at("shop-eu/"));
        assert_eq!(faults(&young, [&old]), Vec::new());
    }

    #[test]
    fn one_topic_has_one_writer_and_many_readers() {
        let spec = |source: Value, prefix: &str| {
            json!({
                "source": source,
                "kafka": {"external": {"bootstrapServers": ["a:9092"]}, "topic": {"name": "lines"}},
                "sink": {"s3": {"bucket": "logs", "prefix": prefix}},
            })
        };
        let old = pipeline("old", MORNING, &spec(json!({"generator": {}}), "old/"));
        let writer = pipeline("writer", NOON, &spec(json!({"generator": {}}), "writer/"));
        let reader = pipeline("reader", NOON, &spec(json!({"topic": {}}), "reader/"));
        assert_eq!(faults(&writer, [&old]).len(), 1);
        assert_eq!(faults(&reader, [&old]), Vec::new());
    }

    #[test]
    fn readers_of_one_topic_are_groups_of_their_own() {
        let reads = |name: &str, created, topic: &str, group: Option<&str>| {
            let spec = json!({
                "source": {"topic": {}},
                "kafka": {"external": {"bootstrapServers": ["a:9092"]}, "topic": {"name": topic}},
                "sink": {"s3": {"bucket": "logs", "prefix": format!("{name}/")}},
                "etl": {"groupId": group},
            });
            pipeline(name, created, &spec)
        };
        let old = reads("old", MORNING, "lines", Some("mine"));
        let found = faults(&reads("young", NOON, "lines", Some("mine")), [&old]);
        assert_eq!(found[0].field, "spec.etl.groupId");
        for (topic, group) in [
            ("lines", Some("other")),
            ("lines", None),
            ("more", Some("mine")),
        ] {
            assert_eq!(faults(&reads("young", NOON, topic, group), [&old]), []);
        }
        // As the group of the first one is called when it says nothing.
        let usual = reads("old", MORNING, "lines", None);
        let young = reads("young", NOON, "lines", Some("data.old"));
        assert_eq!(faults(&young, [&usual]).len(), 1);
    }

    #[test]
    fn one_kafka_under_many_names_is_one() {
        let writes = |name: &str, created, kafka: Value| {
            let spec = json!({
                "source": {"generator": {}}, "kafka": kafka,
                "sink": {"s3": {"bucket": "logs", "prefix": format!("{name}/")}},
            });
            pipeline(name, created, &spec)
        };
        let external = |server: &str| json!({"external": {"bootstrapServers": [server]}, "topic": {"name": "shop"}});
        let found = |old: &LogPipeline, server: &str| {
            faults(&writes("young", NOON, external(server)), [old]).len()
        };
        let managed = writes("shop", MORNING, json!({}));
        for server in [
            "shop-kafka:9092",
            "shop-kafka.data:9092",
            "shop-kafka.data.svc:9092",
            "Shop-Kafka.data.svc.cluster.local.:9092",
            "shop-kafka-1.shop-kafka-nodes.data.svc.cluster.local:9092",
        ] {
            assert_eq!(found(&managed, server), 1, "{server}");
        }
        let theirs = writes("old", MORNING, external("kafka.example.com:9092"));
        assert_eq!(found(&theirs, "KAFKA.example.com:9092"), 1);
        for server in [
            "shop-kafka.other.svc:9092",
            "kafka.example.org:9092",
            "kafka:9092",
        ] {
            assert_eq!(found(&managed, server), 0, "{server}");
            assert_eq!(found(&theirs, server), 0, "{server}");
        }
    }
}
