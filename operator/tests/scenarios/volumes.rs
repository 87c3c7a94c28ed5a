//! Volumes grow: claims first, then the StatefulSet is made again around its pods.

use serde_json::{Value, json};

use crate::fake::FakeApi;
use crate::server::{Server, same};
use crate::{PIPELINE, condition, delete, disown, edit, install, is_ready, look, pod, quickstart};

fn three(size: &str) -> Value {
    let mut spec = quickstart();
    spec["kafka"]["managed"] = json!({"replicas": 3, "storage": {"size": size}});
    spec["source"]["storage"] = json!({"size": size});
    spec
}

async fn settle(api: &FakeApi) {
    api.settle_claims();
    crate::settle(api).await;
}

/// Until the claims and all the rest are at rest.
async fn converge(api: &FakeApi) {
    for _ in 0..8 {
        look(api).await.unwrap();
        settle(api).await;
    }
    crate::converge(api).await;
}

#[track_caller]
fn is_same(is: &FakeApi, fresh: &FakeApi, when: &str) -> impl Future<Output = ()> {
    let (is, fresh) = (Server::fake(is), Server::fake(fresh));
    let when = when.to_owned();
    async move { same(&is.essence().await, &fresh.essence().await, &when) }
}

fn requested(api: &FakeApi, claim: &str) -> Value {
    let claim = api.get(&format!("persistentvolumeclaims/{claim}")).unwrap();
    claim["spec"]["resources"]["requests"]["storage"].clone()
}

fn uid(api: &FakeApi, key: &str) -> Value {
    api.get(key).unwrap()["metadata"]["uid"].clone()
}

#[tokio::test]
async fn a_larger_size_ends_where_a_fresh_install_does_and_says_what_it_waits_for() {
    let api = install(&three("8Gi"));
    converge(&api).await;
    let before = uid(&api, "statefulsets/demo-kafka");
    edit(&api, &three("10Gi"));
    look(&api).await.unwrap();
    for claim in [
        "data-demo-kafka-0",
        "data-demo-kafka-1",
        "data-demo-kafka-2",
        "data-demo-source-0",
    ] {
        assert_eq!(requested(&api, claim), "10Gi", "{claim}");
    }
    is_ready(&api, "False", "VolumesGrowing");
    look(&api).await.unwrap();
    let (_, _, message) = condition(&api, "KafkaReady");
    assert_eq!(message, "claim data-demo-kafka-0 grows from 8Gi to 10Gi");
    assert_eq!(
        uid(&api, "statefulsets/demo-kafka"),
        before,
        "not before the claims have grown"
    );
    settle(&api).await;
    look(&api).await.unwrap();
    let (_, _, message) = condition(&api, "KafkaReady");
    assert!(message.contains("its pods run on"), "{message}");
    // While the collector is at work nothing may be written; the fake server would panic.
    look(&api).await.unwrap();
    is_ready(&api, "False", "VolumesGrowing");
    converge(&api).await;
    assert_ne!(uid(&api, "statefulsets/demo-kafka"), before);
    let fresh = install(&three("10Gi"));
    converge(&fresh).await;
    is_same(&api, &fresh, "grown").await;
    is_ready(&api, "True", "Running");
}

#[tokio::test]
async fn a_crash_after_any_write_of_a_growth_ends_where_a_fresh_install_does() {
    let fresh = install(&three("10Gi"));
    converge(&fresh).await;
    for writes in 1..=12 {
        for settled in [false, true] {
            let api = install(&three("8Gi"));
            converge(&api).await;
            edit(&api, &three("10Gi"));
            let server = Server::fake(&api);
            for _ in 0..4 {
                server.wire.crash_after(writes);
                // It may fail: that is the crash.
                server.look().await.ok();
                server.wire.revive();
                if settled {
                    settle(&api).await;
                }
            }
            converge(&api).await;
            is_same(&api, &fresh, &format!("after {writes} writes")).await;
            assert_eq!(requested(&api, "data-demo-kafka-2"), "10Gi");
            is_ready(&api, "True", "Running");
        }
    }
}

#[tokio::test]
async fn what_may_not_grow_is_told_and_the_rest_of_an_edit_is_carried_out() {
    let api = install(&three("8Gi"));
    converge(&api).await;
    api.refuse(&["persistentvolumeclaims"]);
    let mut spec = three("10Gi");
    spec["etl"] = json!({"replicas": 3});
    spec["kafka"]["managed"]["config"] = json!({"log.retention.hours": "1"});
    edit(&api, &spec);
    look(&api).await.unwrap();
    is_ready(&api, "False", "VolumesRefused");
    let (stalled, _, message) = condition(&api, "Stalled");
    assert_eq!(stalled, "True");
    assert!(
        message.starts_with("claim data-demo-kafka-0 cannot grow to 10Gi: Forbidden")
            && message.contains("allowVolumeExpansion"),
        "{message}"
    );
    let replicas = api.get("statefulsets/demo-etl").unwrap()["spec"]["replicas"].clone();
    assert_eq!(replicas, 3);
    let mut maps = api.keys().into_iter().filter_map(|key| {
        let map = api.get(&key)?;
        map["data"]["server.properties"].as_str().map(str::to_owned)
    });
    assert!(maps.any(|properties| properties.contains("log.retention.hours=1")));
    // A person mends it.
    api.refuse(&[]);
    converge(&api).await;
    let fresh = install(&spec);
    converge(&fresh).await;
    is_same(&api, &fresh, "mended").await;
    is_ready(&api, "True", "Running");
}

#[tokio::test]
async fn a_claim_that_has_no_volume_yet_is_no_growth() {
    let api = install(&three("8Gi"));
    look(&api).await.unwrap();
    settle(&api).await;
    let key = "persistentvolumeclaims/data-demo-kafka-0";
    let mut claim = api.get(key).unwrap();
    claim["status"] = json!({"phase": "Pending"});
    api.put(key, claim);
    look(&api).await.unwrap();
    let (_, reason, message) = condition(&api, "KafkaReady");
    assert_eq!(reason, "BrokersReady", "{message}");
}

#[tokio::test]
async fn volumes_of_an_earlier_pipeline_grow_to_the_size_of_the_next_one() {
    let api = install(&three("8Gi"));
    converge(&api).await;
    let claims = api.keys();
    let claims = claims.iter().filter(|key| key.starts_with("persistent"));
    let next = install(&three("10Gi"));
    for key in claims {
        next.put(key, api.get(key).unwrap());
    }
    converge(&next).await;
    assert_eq!(requested(&next, "data-demo-kafka-2"), "10Gi");
    is_ready(&next, "True", "Running");
}

#[tokio::test]
async fn a_pipeline_that_ends_while_its_brokers_belong_to_nobody_takes_them_along() {
    let api = install(&three("8Gi"));
    converge(&api).await;
    let key = "statefulsets/demo-kafka";
    api.remove(key);
    let mut left = pod("kafka");
    disown(&mut left);
    api.put("pods/demo-kafka-0", left);
    delete(&api);
    look(&api).await.unwrap();
    assert!(api.get(PIPELINE).is_some());
    assert!(api.get(key).is_some(), "it is there to take them back");
    let set = api.get(key).unwrap();
    assert_eq!(set["spec"]["replicas"], 0, "and to end them");
    api.remove("pods/demo-kafka-0");
    look(&api).await.unwrap();
    assert!(api.get(PIPELINE).is_none(), "the rest goes with its owner");
}

#[tokio::test]
async fn a_pipeline_that_ends_while_its_source_belongs_to_nobody_takes_it_along_first() {
    let api = install(&three("8Gi"));
    converge(&api).await;
    let key = "statefulsets/demo-source";
    api.remove(key);
    let mut left = pod("source");
    disown(&mut left);
    api.put("pods/demo-source-0", left);
    api.put("pods/demo-etl-0", pod("etl"));
    delete(&api);
    look(&api).await.unwrap();
    let set = api.get(key).expect("it is there to take the pod back");
    assert_eq!(set["spec"]["replicas"], 0, "and to end it");
    let etl = api.get("statefulsets/demo-etl").unwrap();
    assert_eq!(etl["spec"]["replicas"], 1, "which is not its turn");
}
