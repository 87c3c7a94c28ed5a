//! Brokers that the manifest no longer asks for are emptied, taken away one at a time, and forgotten.

use logpipe_operator::context::Context;
use serde_json::json;

use crate::brokers::{Brokers, look, put_pods, with_brokers};
use crate::fake::FakeApi;
use crate::server::Server;
use crate::{condition, config, converge, delete, edit, install, is_ready, pod};

const SET: &str = "statefulsets/demo-kafka";

/// Five brokers that run.
async fn five() -> (FakeApi, Brokers) {
    let brokers = Brokers::start(5).await;
    let api = install(&with_brokers(5));
    converge(&api).await;
    brokers.seen().finalised = 30;
    brokers.put_pods(&api, 5, 5);
    (api, brokers)
}

fn wanted(api: &FakeApi) -> i64 {
    api.get(SET).unwrap()["spec"]["replicas"].as_i64().unwrap()
}

fn told(api: &FakeApi) -> String {
    condition(api, "KafkaReady").2
}

#[tokio::test]
async fn brokers_are_emptied_taken_away_one_at_a_time_and_forgotten() {
    let (api, brokers) = five().await;
    brokers.seen().replicas = vec![vec![4, 0, 1], vec![0, 1], vec![3, 4], vec![3]];
    let context = Context::new(Server::fake(&api).operator, config());
    look(&api, &context).await;
    is_ready(&api, "True", "Running");
    edit(&api, &with_brokers(3));
    look(&api, &context).await;
    is_ready(&api, "False", "BrokersLeaving");
    assert!(
        told(&api).starts_with("3 partitions are moved"),
        "{}",
        told(&api)
    );
    // What is on its way is at both places.
    look(&api, &context).await;
    assert_eq!(wanted(&api), 5);
    is_ready(&api, "False", "BrokersLeaving");
    let replicas = vec![vec![2, 0, 1], vec![0, 1], vec![2, 0], vec![1]];
    assert_eq!(brokers.seen().replicas, replicas);
    look(&api, &context).await;
    assert_eq!(wanted(&api), 4);
    // Its controller has seen it, and the pod still ends.
    brokers.put_pods(&api, 5, 5);
    look(&api, &context).await;
    assert_eq!(told(&api), "waiting for the end of demo-kafka-4");
    assert_eq!(wanted(&api), 4);
    brokers.put_pods(&api, 4, 4);
    look(&api, &context).await;
    assert_eq!(wanted(&api), 3);
    brokers.put_pods(&api, 4, 4);
    look(&api, &context).await;
    assert_eq!(told(&api), "waiting for the end of demo-kafka-3");
    brokers.put_pods(&api, 3, 3);
    // Kafka has not missed it yet.
    brokers.seen().alive = vec![0, 1, 2, 3];
    brokers.seen().fenced = vec![4];
    look(&api, &context).await;
    is_ready(&api, "False", "BrokersLeaving");
    brokers.seen().alive = vec![0, 1, 2];
    brokers.seen().fenced = vec![3, 4];
    look(&api, &context).await;
    assert_eq!(brokers.seen().fenced, [0; 0]);
    look(&api, &context).await;
    is_ready(&api, "True", "Running");
    brokers.asked();
    look(&api, &context).await;
    assert_eq!(brokers.asked(), [0; 0]);
}

#[tokio::test]
async fn an_operator_that_starts_anew_goes_on_at_every_step() {
    let (api, brokers) = five().await;
    brokers.seen().replicas = vec![vec![4], vec![3]];
    edit(&api, &with_brokers(3));
    let mut steps = Vec::new();
    for _ in 0..4 {
        crate::look(&api).await.unwrap();
        let count = wanted(&api);
        steps.push(count);
        brokers.put_pods(&api, count as usize, count as usize);
    }
    assert_eq!(steps, [5, 5, 4, 3]);
    brokers.seen().alive = vec![0, 1, 2];
    // A topic was made in the moment before a broker went.
    brokers.seen().fenced = vec![3, 4];
    brokers.seen().replicas = vec![vec![0, 4]];
    for _ in 0..3 {
        crate::look(&api).await.unwrap();
        is_ready(&api, "False", "BrokersLeaving");
    }
    crate::look(&api).await.unwrap();
    is_ready(&api, "True", "Running");
    let seen = brokers.seen();
    assert_eq!((&seen.replicas, &seen.fenced), (&vec![vec![0, 1]], &vec![]));
}

#[tokio::test]
async fn nobody_goes_before_the_topic_has_its_new_partitions() {
    let (api, brokers) = five().await;
    let mut spec = with_brokers(3);
    spec["kafka"]["topic"] = json!({"partitions": 9});
    edit(&api, &spec);
    crate::look(&api).await.unwrap();
    assert!(
        told(&api).contains("goes when the topic is made"),
        "{}",
        told(&api)
    );
    assert_eq!(wanted(&api), 5);
    crate::settle(&api).await;
    brokers.put_pods(&api, 5, 5);
    crate::look(&api).await.unwrap();
    assert_eq!(wanted(&api), 4);
}

#[tokio::test]
async fn the_trouble_of_a_broker_that_stays_is_told() {
    let (api, brokers) = five().await;
    brokers.seen().replicas = vec![vec![4, 0, 1]];
    edit(&api, &with_brokers(3));
    let mut pod = api.get("pods/demo-kafka-1").unwrap();
    pod["status"]["conditions"] = json!([{
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no room",
    }]);
    api.put("pods/demo-kafka-1", pod);
    crate::look(&api).await.unwrap();
    is_ready(&api, "False", "PodUnschedulable");
    assert_eq!(wanted(&api), 5);
}

#[tokio::test]
async fn copies_that_have_no_room_are_for_a_person_and_nobody_goes() {
    let (api, brokers) = five().await;
    brokers.seen().replicas = vec![vec![0, 1, 2, 3]];
    edit(&api, &with_brokers(3));
    // Nothing is on the last one.
    crate::look(&api).await.unwrap();
    is_ready(&api, "False", "BrokersLeavingRefused");
    assert_eq!(condition(&api, "Stalled").0, "True");
    assert_eq!(wanted(&api), 5);
    edit(&api, &with_brokers(5));
    crate::look(&api).await.unwrap();
    is_ready(&api, "True", "Running");
}

/// The last lines of the source and the last batch of the workers are still to go through them.
#[tokio::test]
async fn a_pipeline_that_is_deleted_meanwhile_keeps_its_brokers() {
    let (api, brokers) = five().await;
    brokers.seen().replicas = vec![vec![4, 0, 1]];
    edit(&api, &with_brokers(3));
    crate::look(&api).await.unwrap();
    delete(&api);
    api.put("pods/demo-source-0", pod("source"));
    crate::look(&api).await.unwrap();
    let source = api.get("statefulsets/demo-source").unwrap();
    assert_eq!(source["spec"]["replicas"], 0);
    assert_eq!(wanted(&api), 5);
}

#[tokio::test]
async fn brokers_that_do_not_answer_do_not_go() {
    let (api, _) = five().await;
    // Nobody listens there.
    put_pods(&api, "127.255.255.254", 5, 5);
    edit(&api, &with_brokers(3));
    crate::look(&api).await.unwrap();
    is_ready(&api, "False", "BrokersLeaving");
    assert!(told(&api).contains("cannot be asked"), "{}", told(&api));
    assert_eq!(wanted(&api), 5);
}

#[tokio::test]
async fn a_statefulset_that_is_made_again_keeps_its_brokers() {
    let (api, brokers) = five().await;
    brokers.seen().replicas = vec![vec![3]];
    edit(&api, &with_brokers(3));
    // For volumes that grow, or by somebody's hand: its pods are orphans.
    api.remove(SET);
    crate::look(&api).await.unwrap();
    assert_eq!(wanted(&api), 5);
    assert_eq!(brokers.asked(), [0; 0]);
}
