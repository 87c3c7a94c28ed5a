//! `metadata.version` follows the image, or is held.

use logpipe_operator::context::Context;
use serde_json::{Value, json};

use crate::brokers::{Brokers, look, put_pods, with_brokers};
use crate::fake::FakeApi;
use crate::server::Server;
use crate::{PIPELINE, condition, config, converge, edit, install, is_ready};

fn three(metadata_version: Option<&str>) -> Value {
    let mut spec = with_brokers(3);
    if let Some(version) = metadata_version {
        spec["kafka"]["managed"]["metadataVersion"] = json!(version);
    }
    spec
}

fn told(api: &FakeApi) -> Value {
    api.get(PIPELINE).unwrap()["status"]["kafka"]["metadataVersion"].clone()
}

#[tokio::test]
async fn metadata_version_follows_the_image_and_is_asked_for_once() {
    let brokers = Brokers::start(3).await;
    let api = install(&three(None));
    converge(&api).await;
    let server = Server::fake(&api);
    let context = Context::new(server.operator.clone(), config());
    brokers.put_pods(&api, 3, 3);
    look(&api, &context).await;
    assert_eq!(brokers.asked(), [60, 18, 18, 18, 55, 3, 57]);
    assert_eq!(told(&api), "4.3-IV0");
    is_ready(&api, "True", "Running");
    server.wire.writes();
    look(&api, &context).await;
    assert_eq!(brokers.asked(), [0; 0]);
    assert_eq!(server.wire.writes(), Vec::<String>::new());
    // Another operator asks, and writes nothing.
    crate::look(&api).await.unwrap();
    assert_eq!(brokers.asked(), [60, 18, 18, 18]);
    assert_eq!(told(&api), "4.3-IV0");
}

#[tokio::test]
async fn nothing_is_raised_while_a_broker_has_the_old_image() {
    let brokers = Brokers::start(3).await;
    let api = install(&three(None));
    converge(&api).await;
    brokers.put_pods(&api, 3, 2);
    crate::look(&api).await.unwrap();
    assert!(!brokers.asked().contains(&57));
    is_ready(&api, "False", "BrokersRestarting");
}

#[tokio::test]
async fn nothing_is_raised_while_a_broker_is_not_in_the_cluster() {
    let brokers = Brokers::start(3).await;
    brokers.seen().alive = vec![0, 1];
    let api = install(&three(None));
    converge(&api).await;
    brokers.put_pods(&api, 3, 3);
    crate::look(&api).await.unwrap();
    assert_eq!(brokers.asked(), [60, 18, 18, 18, 55, 3]);
    let (ready, _, message) = condition(&api, "KafkaReady");
    assert_eq!(ready, "True");
    assert!(
        message.contains("demo-kafka-2 is not in the cluster yet"),
        "{message}"
    );
    brokers.seen().alive = vec![0, 1, 2];
    crate::look(&api).await.unwrap();
    assert_eq!(told(&api), "4.3-IV0");
}

#[tokio::test]
async fn metadata_version_is_held_where_the_manifest_says_and_never_lowered() {
    let brokers = Brokers::start(3).await;
    let api = install(&three(Some("4.2")));
    converge(&api).await;
    let context = Context::new(Server::fake(&api).operator, config());
    brokers.put_pods(&api, 3, 3);
    look(&api, &context).await;
    assert_eq!(brokers.asked(), [60, 18, 18, 18]);
    assert_eq!(told(&api), "4.2-IV1");
    is_ready(&api, "True", "Running");
    edit(&api, &three(Some("4.3")));
    look(&api, &context).await;
    assert_eq!(told(&api), "4.3-IV0");
    edit(&api, &three(Some("4.2")));
    for _ in 0..2 {
        look(&api, &context).await;
        is_ready(&api, "False", "MetadataVersionRefused");
        let (stalled, _, message) = condition(&api, "Stalled");
        assert_eq!(stalled, "True");
        assert!(message.contains("already has 4.3-IV0"), "{message}");
    }
    edit(&api, &three(None));
    look(&api, &context).await;
    is_ready(&api, "True", "Running");
}

#[tokio::test]
async fn brokers_that_do_not_answer_are_no_reason_not_to_be_ready() {
    let api = install(&three(None));
    converge(&api).await;
    // Nobody listens there.
    put_pods(&api, "127.255.255.254", 3, 3);
    crate::look(&api).await.unwrap();
    is_ready(&api, "True", "Running");
    let (_, _, message) = condition(&api, "KafkaReady");
    assert!(
        message.contains("metadata.version is not looked at yet"),
        "{message}"
    );
}

#[tokio::test]
async fn a_metadata_version_of_a_newer_operator_is_told() {
    let api = install(&three(Some("9.9")));
    crate::look(&api).await.unwrap();
    is_ready(&api, "False", "InvalidSpec");
    let (_, _, message) = condition(&api, "Stalled");
    assert!(
        message.contains("metadataVersion is not known to this operator"),
        "{message}"
    );
}
