use serde_json::json;

use super::*;
use crate::LogPipeline;

/// A manifest that uses every setting there is.
fn pipeline() -> LogPipeline {
    let manifest = json!({
        "apiVersion": "logpipe.dev/v1alpha1",
        "kind": "LogPipeline",
        "metadata": {"name": "shop", "namespace": "data"},
        "spec": {
            "source": {"generator": {"seed": 7, "maxEvents": 10}},
            "kafka": {
                "external": {
                    "bootstrapServers": ["a:9093", "b:9093"],
                    "tls": {"caSecretRef": {"name": "kafka-ca"}, "clientCertSecretRef": {"name": "me"}},
                    "sasl": {
                        "mechanism": "ScramSha512",
                        "username": "123",
                        "passwordSecretKeyRef": {"name": "kafka-login", "key": "password"},
                    },
                },
                "topic": {"partitions": 12, "replicationFactor": 3, "config": {"retention.ms": "1000"}},
            },
            "transform": {"parser": {"type": "Regex", "pattern": "^(?<message>\"{1,2}.*)$"}},
            "sink": {"s3": {
                "bucket": "logs",
                "endpoint": "http://s3:9000",
                "tls": {"caSecretRef": {"name": "s3-ca", "key": "root.pem"}},
                "credentials": {"secretRef": {"name": "s3-key"}},
                "sse": {"type": "KMS", "kmsKeyId": "k"},
            }},
        },
    });
    serde_json::from_value(manifest).unwrap()
}

fn secrets() -> Secrets {
    Secrets("/etc/secrets".to_owned())
}

#[track_caller]
fn survives<T: Settings + PartialEq + std::fmt::Debug>(settings: &T) {
    let mut variables = settings.to_env();
    for name in variables.keys() {
        assert!(name.starts_with(T::PREFIX), "{name}");
    }
    variables.insert("PATH".to_owned(), "/bin".to_owned());
    assert_eq!(&T::from_env(variables).unwrap(), settings);
}

#[test]
fn every_setting_survives_the_environment() {
    let pipeline = pipeline();
    let external = pipeline.spec.kafka.external.as_ref().unwrap();
    survives(&KafkaSettings::external(&pipeline, external, &secrets()));
    survives(&S3Settings::new(&pipeline, &secrets()));
    let generator = pipeline.spec.source.generator.as_ref().unwrap();
    survives(&GeneratorSettings::new(generator, "shop", "/data"));
    let paths = vec!["/data/app.log".to_owned()];
    survives(&ProducerSettings::new(&pipeline, "shop", paths, "/state"));
    let checkpoints = CheckpointPlace::Dir("/checkpoints".to_owned());
    survives(&EtlSettings::new(
        &pipeline,
        "uid",
        "shop-etl-0",
        checkpoints,
    ));
    let checkpoints = CheckpointPlace::ConfigMaps {
        namespace: "data".to_owned(),
        prefix: "shop-checkpoint".to_owned(),
    };
    survives(&EtlSettings::new(&pipeline, "uid", "etl-0", checkpoints));
    survives(&TopicSettings::new(&pipeline));
}

#[test]
fn a_checkpoint_stays_in_its_object_when_the_topic_grows() {
    let object = |key: &str| checkpoint_object("shop-checkpoint", key);
    assert_eq!(object("p00000"), "shop-checkpoint-p00000");
    assert_eq!(object("p00255"), "shop-checkpoint-p00255");
    assert_eq!(object("p00256"), "shop-checkpoint-g00000");
    assert_eq!(object("p00263"), "shop-checkpoint-g00000");
    assert_eq!(object("p00264"), "shop-checkpoint-g00001");
    assert_eq!(object("plan"), "shop-checkpoint-plan");
}

#[test]
fn a_key_is_of_a_partition_or_of_something_else() {
    for partition in [0, 7, 99_999] {
        assert_eq!(partition_of_key(&partition_key(partition)), Some(partition));
    }
    for other in [
        PLAN_KEY,
        "about",
        "p3",
        "p00003.next",
        "p+0003",
        "p0000x",
        "q00003",
    ] {
        assert_eq!(partition_of_key(other), None, "{other}");
    }
}

#[test]
fn text_stands_as_it_is_unless_it_could_be_taken_for_something_else() {
    let settings = S3Settings {
        prefix: "true".to_owned(),
        ..S3Settings::new(&pipeline(), &secrets())
    };
    let variables = settings.to_env();
    assert_eq!(variables["LOGPIPE_S3_BUCKET"], "logs");
    assert_eq!(variables["LOGPIPE_S3_PREFIX"], "\"true\"");
    survives(&settings);
}

#[test]
fn secrets_are_named_by_their_files() {
    let pipeline = pipeline();
    let external = pipeline.spec.kafka.external.as_ref().unwrap();
    let kafka = KafkaSettings::external(&pipeline, external, &secrets());
    let sasl = kafka.sasl.unwrap();
    assert_eq!(sasl.password_file, "/etc/secrets/kafka-login/password");
    let tls = kafka.tls.unwrap();
    assert_eq!(tls.ca_file.as_deref(), Some("/etc/secrets/kafka-ca/ca.crt"));
    assert_eq!(tls.key_file.as_deref(), Some("/etc/secrets/me/tls.key"));
    let s3 = S3Settings::new(&pipeline, &secrets());
    assert_eq!(s3.ca_file.as_deref(), Some("/etc/secrets/s3-ca/root.pem"));
    assert_eq!(s3.credentials_dir.as_deref(), Some("/etc/secrets/s3-key"));
    assert_eq!(s3.addressing, Addressing::Path);
}

#[test]
fn what_is_missing_or_misspelt_is_said_by_its_variable() {
    let mut variables = S3Settings::new(&pipeline(), &secrets()).to_env();
    variables.remove("LOGPIPE_S3_BUCKET");
    let error = S3Settings::from_env(variables.clone()).unwrap_err();
    assert!(error.to_string().contains("(LOGPIPE_S3_BUCKET)"), "{error}");
    variables.insert("LOGPIPE_S3_BUCKET".to_owned(), "logs".to_owned());
    variables.insert("LOGPIPE_S3_BUKET".to_owned(), "logs".to_owned());
    let error = S3Settings::from_env(variables).unwrap_err();
    assert!(error.to_string().contains("(LOGPIPE_S3_BUKET)"), "{error}");
}
