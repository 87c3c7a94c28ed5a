//! A topic that is made and brought to what is wanted.

use logpipe_api::pipeline::ManagementPolicy;
use logpipe_api::settings::TopicSettings;
use logpipe_workers::log::LogError;
use logpipe_workers::log::kafka::topic::{Difference, Done, ensure};

use super::support::{kafka, undisturbed, wanted};

fn with(settings: &TopicSettings, name: &str, value: &str) -> TopicSettings {
    let mut settings = settings.clone();
    settings.config.insert(name.to_owned(), value.to_owned());
    settings
}

#[test]
fn a_topic_is_made_once_and_changed_as_far_as_needed() {
    let Some(kafka) = kafka() else { return };
    let _quiet = undisturbed();
    let first = with(&wanted(2), "retention.ms", "3600000");
    let first = with(&first, "max.message.bytes", "200000");
    let report = ensure(&kafka, &first).unwrap();
    let made = Done::Made {
        partitions: 2,
        replicas: 1,
    };
    assert_eq!(report.done, [made]);
    assert_eq!((report.differs.len(), report.partitions), (0, 2));

    let report = ensure(&kafka, &first).unwrap();
    assert_eq!((report.done.len(), report.differs.len()), (0, 0));
    assert!(report.to_string().ends_with("as wanted, with 2 partitions"));

    let second = with(&first, "retention.ms", "7200000");
    let second = TopicSettings {
        partitions: 5,
        ..second
    };
    let report = ensure(&kafka, &second).unwrap();
    let set = Done::Set {
        name: "retention.ms".to_owned(),
        from: Some("3600000".to_owned()),
        to: "7200000".to_owned(),
    };
    assert_eq!(report.done, [Done::Grown { from: 2, to: 5 }, set]);
    assert_eq!(report.partitions, 5);

    // What is not mentioned any more stays as it is.
    let observed = TopicSettings {
        management_policy: ManagementPolicy::ObserveOnly,
        ..second
    };
    let report = ensure(&kafka, &observed).unwrap();
    assert_eq!((report.done.len(), report.differs.len()), (0, 0));
}

#[test]
fn what_cannot_be_changed_is_said() {
    let Some(kafka) = kafka() else { return };
    let _quiet = undisturbed();
    ensure(&kafka, &wanted(3)).unwrap();
    let other = TopicSettings {
        replication_factor: Some(3),
        ..wanted(2)
    };
    let report = ensure(&kafka, &other).unwrap();
    let partitions = Difference::Partitions {
        wanted: 2,
        found: 3,
    };
    let replicas = Difference::Replicas {
        wanted: 3,
        found: 1,
    };
    assert_eq!(report.done, []);
    assert_eq!(report.differs, [partitions, replicas]);
    assert_eq!(report.partitions, 3);
    assert!(report.to_string().contains("partitions are never removed"));
}

#[test]
fn a_topic_that_is_only_observed_is_not_touched() {
    let Some(kafka) = kafka() else { return };
    let _quiet = undisturbed();
    let observed = |partitions| TopicSettings {
        management_policy: ManagementPolicy::ObserveOnly,
        ..with(&wanted(partitions), "retention.ms", "1000000")
    };
    match ensure(&kafka, &observed(1)) {
        Err(LogError::Refused { what }) => {
            assert!(
                what.contains(&format!("there is no topic {}", kafka.topic)),
                "{what}"
            );
        }
        other => panic!("{other:?}"),
    }
    ensure(&kafka, &wanted(1)).unwrap();
    for _ in 0..2 {
        let report = ensure(&kafka, &observed(4)).unwrap();
        let partitions = Difference::Partitions {
            wanted: 4,
            found: 1,
        };
        let retention = Difference::Config {
            name: "retention.ms".to_owned(),
            wanted: "1000000".to_owned(),
            found: Some("-1".to_owned()),
        };
        assert_eq!(report.done, []);
        assert_eq!(report.differs, [partitions, retention]);
    }
}

#[test]
fn settings_that_kafka_does_not_take_are_named() {
    let Some(kafka) = kafka() else { return };
    let _quiet = undisturbed();
    let unknown = with(&wanted(1), "retention.minutes", "5");
    let text = ensure(&kafka, &unknown).unwrap_err().to_string();
    assert!(text.contains("retention.minutes"), "{text}");
    ensure(&kafka, &wanted(1)).unwrap();
    let text = ensure(&kafka, &unknown).unwrap_err().to_string();
    assert!(text.contains("retention.minutes"), "{text}");
    let wrong = with(&wanted(1), "retention.ms", "a day");
    let text = ensure(&kafka, &wrong).unwrap_err().to_string();
    assert!(text.contains("a day"), "{text}");
    let replicas = TopicSettings {
        replication_factor: Some(3),
        ..wanted(1)
    };
    let settings = logpipe_api::settings::KafkaSettings {
        topic: super::support::new_name(),
        ..kafka
    };
    let text = ensure(&settings, &replicas).unwrap_err().to_string();
    assert!(text.contains("replication factor"), "{text}");
}
