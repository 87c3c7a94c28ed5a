//! A pipeline where something of its name is there already: it is taken over, waited for, or left alone.

use logpipe_api::pipeline::Keep;
use serde_json::{Value, json};

use crate::fake::FakeApi;
use crate::server::{Server, same};
use crate::{
    PIPELINE, condition, converge, edit, install, is_ready, look, pod, quickstart, stored,
};

fn keeps(volumes: Keep) -> Value {
    let mut spec = quickstart();
    spec["deletionPolicy"] = json!({ "volumes": volumes });
    spec
}

/// Kubernetes sees to a claim only together with its pod.
#[tokio::test]
async fn what_becomes_of_a_volume_can_be_changed_while_its_pod_is_held_back() {
    let held_back = |volumes| {
        let mut spec = keeps(volumes);
        spec["suspend"] = json!("Sources");
        spec
    };
    let api = install(&held_back(Keep::Retain));
    converge(&api).await;
    api.settle_claims();
    api.put("pods/demo-kafka-0", pod("kafka"));
    // With no replicas the fake makes no claim.
    let mut claim = api.get("persistentvolumeclaims/data-demo-kafka-0").unwrap();
    let other = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "x"});
    for name in [
        "data-demo-source-0",
        "data-demo-kafka-3",
        "data-demo-source-0-1",
    ] {
        claim["metadata"]["name"] = json!(name);
        claim["metadata"]["ownerReferences"] = json!([other]);
        api.put(&format!("persistentvolumeclaims/{name}"), claim.clone());
    }
    let owners = |name: &str| {
        let claim = api.get(&format!("persistentvolumeclaims/{name}")).unwrap();
        let owners = claim["metadata"]["ownerReferences"].as_array();
        let owners = owners.into_iter().flatten();
        let names: Vec<Value> = owners.map(|owner| owner["name"].clone()).collect();
        json!(names)
    };
    for (keep, source, broker) in [
        (
            Keep::Delete,
            json!(["x", "demo-source"]),
            json!(["x", "demo-kafka"]),
        ),
        (Keep::Retain, json!(["x"]), json!(["x"])),
    ] {
        edit(&api, &held_back(keep));
        converge(&api).await;
        assert_eq!(owners("data-demo-source-0"), source);
        assert_eq!(
            owners("data-demo-kafka-3"),
            broker,
            "of one that was taken away"
        );
        assert_eq!(owners("data-demo-kafka-0"), json!([]), "its pod is there");
        assert_eq!(
            owners("data-demo-source-0-1"),
            json!(["x"]),
            "somebody else's"
        );
    }
}

/// As `kubectl replace --force` does it: another pipeline of the same name, before the collector has come.
async fn made_again(spec: &Value) -> FakeApi {
    let api = install(spec);
    converge(&api).await;
    api.settle_claims();
    let set = api.get("statefulsets/demo-kafka").unwrap();
    let key = "persistentvolumeclaims/data-demo-kafka-0";
    let mut claim = api.get(key).unwrap();
    if spec["deletionPolicy"]["volumes"] == "Delete" {
        let owner = json!([{
            "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "demo-kafka", "uid": set["metadata"]["uid"],
        }]);
        claim["metadata"]["ownerReferences"] = owner;
    }
    api.put(key, claim);
    let mut next = stored(spec);
    next["metadata"]["uid"] = json!("uid-next");
    api.put(PIPELINE, next);
    api
}

/// What the collector does: what goes with the pipeline that is gone, and then what goes with that.
fn collect(api: &FakeApi) {
    for _ in 0..2 {
        let objects: Vec<Value> = api.keys().iter().filter_map(|key| api.get(key)).collect();
        let uids: Vec<&Value> = objects
            .iter()
            .map(|object| &object["metadata"]["uid"])
            .collect();
        for (key, object) in api.keys().iter().zip(&objects) {
            let owners = object["metadata"]["ownerReferences"].as_array();
            let mut owners = owners.into_iter().flatten();
            if owners.any(|owner| !uids.contains(&&owner["uid"])) {
                api.remove(key);
            }
        }
    }
}

#[tokio::test]
async fn nothing_that_goes_with_an_earlier_pipeline_is_taken_over() {
    let api = made_again(&keeps(Keep::Delete)).await;
    let fresh = install(&keeps(Keep::Delete));
    converge(&fresh).await;
    let server = Server::fake(&api);
    for key in api.keys() {
        let is_one = key.starts_with("configmaps/") || key.starts_with("statefulsets/");
        if is_one && key != "configmaps/demo-kafka-bootstrapped" {
            api.remove(&key);
        }
    }
    server.look().await.unwrap();
    let (_, reason, message) = condition(&api, "Reconciling");
    assert_eq!(reason, "Waiting");
    assert_eq!(
        message,
        "ConfigMap demo-kafka-bootstrapped is being deleted: waiting until it is gone"
    );
    let path = "/apis/logpipe.dev/v1alpha1/namespaces/data/logpipelines/demo";
    assert_eq!(
        server.wire.writes(),
        [format!("PATCH {path}"), format!("PATCH {path}/status")]
    );
    collect(&api);
    converge(&api).await;
    is_ready(&api, "True", "Running");
    same(
        &server.essence().await,
        &Server::fake(&fresh).essence().await,
        "again",
    );
}

#[tokio::test]
async fn a_claim_that_goes_with_a_set_that_is_gone_is_waited_for() {
    let api = made_again(&keeps(Keep::Delete)).await;
    for key in api.keys() {
        if !key.starts_with("persistent") && key != PIPELINE {
            api.remove(&key);
        }
    }
    look(&api).await.unwrap();
    let (_, _, message) = condition(&api, "Reconciling");
    assert!(
        message.starts_with("PersistentVolumeClaim data-demo-kafka-0 "),
        "{message}"
    );
    collect(&api);
    converge(&api).await;
    is_ready(&api, "True", "Running");
}

#[tokio::test]
async fn what_was_kept_on_purpose_is_taken_over() {
    let api = made_again(&keeps(Keep::Retain)).await;
    let key = "configmaps/demo-checkpoint-p00001";
    let before = api.get(key).unwrap()["metadata"]["uid"].clone();
    collect(&api);
    converge(&api).await;
    is_ready(&api, "True", "Running");
    assert_eq!(api.get(key).unwrap()["metadata"]["uid"], before);
}

/// A Service of somebody's chart: with another selector its clients would find our brokers, and it would go with us.
#[tokio::test]
async fn an_object_of_somebody_else_is_left_alone() {
    let api = install(&quickstart());
    let key = "services/demo-kafka";
    let mut theirs = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "demo-kafka", "namespace": "data", "generation": 1,
            "labels": {"app.kubernetes.io/managed-by": "Helm"}},
        "spec": {"selector": {"app": "theirs"}},
    });
    api.put(key, theirs.clone());
    theirs = api.get(key).unwrap();
    look(&api).await.unwrap_err();
    assert_eq!(api.get(key).unwrap(), theirs);
    is_ready(&api, "False", "ApplyFailed");
    let (stalled, _, message) = condition(&api, "Stalled");
    assert_eq!(stalled, "True");
    assert_eq!(
        message,
        "Service demo-kafka exists and is not ours: choose another name for the pipeline, or remove it if nobody needs it"
    );
    api.remove(key);
    converge(&api).await;
    is_ready(&api, "True", "Running");
}

#[tokio::test]
async fn an_object_of_ours_without_its_labels_gets_them_back() {
    let api = install(&quickstart());
    converge(&api).await;
    let key = "services/demo-kafka";
    let whole = api.get(key).unwrap();
    let mut bare = whole.clone();
    bare["metadata"].as_object_mut().unwrap().remove("labels");
    api.put(key, bare);
    converge(&api).await;
    assert_eq!(
        api.get(key).unwrap()["metadata"]["labels"],
        whole["metadata"]["labels"]
    );
}

fn producer(api: &FakeApi) -> Value {
    let set = api.get("statefulsets/demo-source").unwrap();
    let containers = set["spec"]["template"]["spec"]["containers"].as_array();
    let variables = containers.into_iter().flatten();
    let mut variables = variables.flat_map(|container| container["env"].as_array().unwrap());
    let name = variables.find(|variable| variable["name"] == "LOGPIPE_PRODUCER_NAME");
    name.unwrap()["value"].clone()
}

/// Two of one name in two namespaces may write into one topic.
#[tokio::test]
async fn a_producer_is_named_after_its_namespace_too() {
    let api = made_again(&keeps(Keep::Retain)).await;
    assert_eq!(producer(&api), "data.demo");
    api.remove("statefulsets/demo-source");
    // As a backup brings it back elsewhere.
    let key = "persistentvolumeclaims/data-demo-source-0";
    let mut claim = api.get(key).unwrap();
    claim["metadata"]["annotations"]["logpipe.dev/producer"] = json!("other.demo");
    api.put(key, claim);
    collect(&api);
    converge(&api).await;
    assert_eq!(producer(&api), "other.demo");
}

/// Under another name it would find no saved offset, and read every file again.
#[tokio::test]
async fn a_producer_whose_offsets_have_the_name_of_an_earlier_release_keeps_it() {
    let api = install(&keeps(Keep::Retain));
    converge(&api).await;
    let key = "statefulsets/demo-source";
    let text = api.get(key).unwrap().to_string();
    let by_hand = text.replace(r#""value":"data.demo""#, r#""value":"x""#);
    assert_ne!(by_hand, text);
    api.put(key, serde_json::from_str(&by_hand).unwrap());
    converge(&api).await;
    assert_eq!(producer(&api), "data.demo");
    let mut set: Value = serde_json::from_str(&text.replace("data.demo", "demo")).unwrap();
    let template = &mut set["spec"]["volumeClaimTemplates"][0];
    template["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("annotations");
    api.put(key, set);
    converge(&api).await;
    assert_eq!(producer(&api), "demo");
    api.settle_claims();
    api.remove(key);
    converge(&api).await;
    assert_eq!(producer(&api), "demo");
}
