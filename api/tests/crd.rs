//! `crds/logpipelines.yaml` is what the types say, and the schema keeps the rules of the house.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod support;

use serde_json::Value;

/// Where the file comes from, before the generated part.
const HEADER: &str = "# Generated from api/src/pipeline.rs. To renew:\n\
                      #   LOGPIPE_BLESS=1 cargo test -p logpipe-api --test crd\n";

#[test]
fn the_crd_in_the_repository_is_what_the_types_say() {
    let yaml = serde_yaml::to_string(&support::crd()).unwrap();
    support::assert_is_current("crds/logpipelines.yaml", &format!("{HEADER}{yaml}"), "crd");
}

#[test]
fn every_string_list_and_number_is_bounded() {
    let mut unbounded = Vec::new();
    each_field(&support::schema(), "", &mut |path, schema| {
        // The operator writes the status, and no rule reads it.
        if path.starts_with("status") {
            return;
        }
        let needed: &[&str] = match schema["type"].as_str() {
            Some("string") if schema.get("enum").is_some() => &[],
            Some("string") => &["minLength", "maxLength"],
            Some("integer" | "number") => &["minimum", "maximum"],
            Some("array") => &["maxItems"],
            Some("boolean" | "object") => &[],
            other => panic!("{path} has type {other:?}"),
        };
        let missing = needed.iter().filter(|bound| schema.get(**bound).is_none());
        unbounded.extend(missing.map(|bound| format!("{path} has no {bound}")));
    });
    assert_eq!(unbounded, Vec::<String>::new());
}

#[test]
fn every_field_says_what_it_is() {
    each_field(&support::schema(), "", &mut |path, schema| {
        let text = schema["description"].as_str().unwrap_or_default();
        // The items of a list of strings are described by the list.
        let told = path.ends_with("[]") || text.ends_with('.') || text.contains("\n- `");
        assert!(told, "{path} is described as {text:?}");
        assert!(
            !text.contains("Auto-generated"),
            "{path} has no words of ours"
        );
    });
}

#[test]
fn every_optional_value_has_its_default_in_the_schema() {
    // What is derived from other fields, or means something by its absence.
    let without = [
        "spec.podTemplate",
        "spec.etl.groupId",
        "spec.etl.podTemplate",
        "spec.etl.resources",
        "spec.etl.serviceAccountName",
        "spec.etl.resources.limits",
        "spec.etl.resources.requests",
        "spec.etl.resources.limits.cpu",
        "spec.etl.resources.limits.memory",
        "spec.etl.resources.requests.cpu",
        "spec.etl.resources.requests.memory",
        "spec.images.kafka",
        "spec.images.pullSecrets",
        "spec.images.worker",
        "spec.images.kafka.digest",
        "spec.images.kafka.tag",
        "spec.images.worker.digest",
        "spec.images.worker.tag",
        "spec.kafka.external",
        "spec.kafka.managed",
        "spec.kafka.external.sasl",
        "spec.kafka.external.tls",
        "spec.kafka.external.tls.caSecretRef",
        "spec.kafka.external.tls.clientCertSecretRef",
        "spec.kafka.managed.config",
        "spec.kafka.managed.metadataVersion",
        "spec.kafka.managed.podTemplate",
        "spec.kafka.managed.rack",
        "spec.kafka.managed.resources",
        "spec.kafka.managed.resources.limits",
        "spec.kafka.managed.resources.requests",
        "spec.kafka.managed.resources.limits.cpu",
        "spec.kafka.managed.resources.limits.memory",
        "spec.kafka.managed.resources.requests.cpu",
        "spec.kafka.managed.resources.requests.memory",
        "spec.kafka.managed.storage.className",
        "spec.kafka.topic.config",
        "spec.kafka.topic.name",
        "spec.kafka.topic.replicationFactor",
        "spec.scheduling.nodeSelector",
        "spec.scheduling.priorityClassName",
        "spec.scheduling.tolerations",
        "spec.scheduling.tolerations[].effect",
        "spec.scheduling.tolerations[].key",
        "spec.scheduling.tolerations[].value",
        "spec.sink.s3.addressing",
        "spec.sink.s3.credentials",
        "spec.sink.s3.endpoint",
        "spec.sink.s3.prefix",
        "spec.sink.s3.sse",
        "spec.sink.s3.tls",
        "spec.sink.s3.sse.kmsKeyId",
        "spec.source.files",
        "spec.source.generator",
        "spec.source.podTemplate",
        "spec.source.topic",
        "spec.source.files.volume",
        "spec.source.producer.resources",
        "spec.source.producer.resources.limits",
        "spec.source.producer.resources.requests",
        "spec.source.producer.resources.limits.cpu",
        "spec.source.producer.resources.limits.memory",
        "spec.source.producer.resources.requests.cpu",
        "spec.source.producer.resources.requests.memory",
        "spec.source.storage.className",
        "spec.transform.parser.pattern",
        "spec.transform.schema.fields",
        "spec.transform.schema.fields[].from",
    ];
    let mut found = Vec::new();
    each_object(&support::schema(), "", &mut |path, schema| {
        // A template has nothing that would be so if it were not said.
        if path.is_empty() || path.starts_with("status") || path.contains("podTemplate") {
            return;
        }
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        for (name, field) in schema["properties"].as_object().unwrap() {
            if !required.iter().any(|r| r == name) && field.get("default").is_none() {
                found.push(format!("{path}.{name}").trim_start_matches('.').to_owned());
            }
        }
    });
    assert_eq!(found, without);
}

#[test]
fn each_default_of_an_object_is_that_of_its_fields() {
    each_field(&support::schema(), "", &mut |path, schema| {
        let (Some(default), Some(_)) = (schema.get("default"), schema.get("properties")) else {
            return;
        };
        let empty = Value::Object(serde_json::Map::new());
        assert_eq!(default, &kube_cel::apply_defaults(schema, &empty), "{path}");
    });
}

#[test]
fn no_field_takes_null() {
    each_field(&support::schema(), "", &mut |path, schema| {
        // `status` itself is written by the derive.
        if path != "status" {
            assert_eq!(schema.get("nullable"), None, "{path}");
        }
    });
}

#[test]
fn every_list_says_how_it_is_merged() {
    each_field(&support::schema(), "", &mut |path, schema| {
        if schema["type"] == "array" {
            assert!(schema.get("x-kubernetes-list-type").is_some(), "{path}");
        }
    });
}

#[test]
fn every_value_of_an_enum_is_explained() {
    each_field(&support::schema(), "", &mut |path, schema| {
        let values = schema
            .get("enum")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        let text = schema["description"].as_str().unwrap_or_default();
        for value in values {
            let entry = format!("\n- `{}`: ", value.as_str().unwrap());
            assert!(text.contains(&entry), "{path} does not explain {value}");
        }
    });
}

/// Calls `see` for each schema below `schema`, with its path.
fn each_field(schema: &Value, path: &str, see: &mut dyn FnMut(&str, &Value)) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        see(&path, field);
        each_field(field, &path, see);
    }
    if let Some(items) = schema.get("items") {
        let path = format!("{path}[]");
        see(&path, items);
        each_field(items, &path, see);
    }
}

/// Calls `see` for each object with named fields below `schema`, and for itself.
fn each_object(schema: &Value, path: &str, see: &mut dyn FnMut(&str, &Value)) {
    if schema.get("properties").is_some() {
        see(path, schema);
    }
    each_field(schema, path, &mut |path, field| {
        if field.get("properties").is_some() {
            see(path, field);
        }
    });
}
