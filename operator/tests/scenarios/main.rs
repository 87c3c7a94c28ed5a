//! The whole operator against an API server in memory: what it writes, what it leaves alone, and that every
//! crash and every edit ends where a fresh install does.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod again;
mod brokers;
mod crashes;
mod decommission;
mod edits;
mod fake;
mod metadata_version;
mod real;
mod server;
mod volumes;
mod wire;

use std::sync::OnceLock;

use fake::FakeApi;
use kube::CustomResourceExt;
use logpipe_api::LogPipeline;
use logpipe_operator::config::Config;
use logpipe_operator::error::Error;
use serde_json::{Value, json};
use server::Server;

const PIPELINE: &str = "logpipelines/demo";

pub(crate) fn config() -> Config {
    Config {
        worker_image: "worker:1".to_owned(),
        kafka_image: "kafka:4".to_owned(),
        namespaces: Vec::new(),
        cluster_domain: "cluster.local".to_owned(),
        own_namespace: "logpipe-system".to_owned(),
        own_name: "operator-0".to_owned(),
        listen: "127.0.0.1:0".to_owned(),
    }
}

/// The schema of the API server's CRD.
pub(crate) fn schema() -> &'static Value {
    static SCHEMA: OnceLock<Value> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let crd = serde_json::to_value(LogPipeline::crd()).unwrap();
        crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
    })
}

/// As the API server would store it. The cluster id is in the status, so that it is the same everywhere.
pub(crate) fn stored(spec: &Value) -> Value {
    let object = json!({
        "apiVersion": "logpipe.dev/v1alpha1",
        "kind": "LogPipeline",
        "metadata": {"name": "demo", "namespace": "data", "uid": "uid-demo", "generation": 1},
        "spec": spec,
        "status": {"kafka": {"mode": "Managed", "clusterId": "3Nv0H-7HNJ5tXg7-W7zKMA", "bootstrapServers": "x"}},
    });
    kube_cel::apply_defaults(schema(), &object)
}

pub(crate) fn quickstart() -> Value {
    json!({
        "source": {"generator": {}},
        "kafka": {"managed": {"replicas": 1}},
        "sink": {"s3": {"bucket": "logs"}},
    })
}

pub(crate) fn install(spec: &Value) -> FakeApi {
    let api = FakeApi::default();
    api.put(PIPELINE, stored(spec));
    api
}

/// Stores another spec, as an edit does.
fn edit(api: &FakeApi, spec: &Value) {
    let mut object = api.get(PIPELINE).unwrap();
    object["spec"] = stored(spec)["spec"].clone();
    let generation = object["metadata"]["generation"].as_i64().unwrap();
    object["metadata"]["generation"] = json!(generation + 1);
    api.put(PIPELINE, object);
}

/// As `kubectl delete` does: its finalizer still holds it.
fn delete(api: &FakeApi) {
    let mut object = api.get(PIPELINE).unwrap();
    object["metadata"]["deletionTimestamp"] = json!(jiff::Timestamp::now().to_string());
    api.put(PIPELINE, object);
}

/// As it is after a deletion that leaves it behind.
fn disown(object: &mut Value) {
    let metadata = object["metadata"].as_object_mut().unwrap();
    metadata.remove("ownerReferences");
}

async fn look(api: &FakeApi) -> Result<(), Error> {
    Server::fake(api).look().await
}

async fn converge(api: &FakeApi) {
    Server::fake(api).converge().await;
}

async fn settle(api: &FakeApi) {
    Server::fake(api).settle().await;
}

fn condition(api: &FakeApi, kind: &str) -> (String, String, String) {
    let object = api.get(PIPELINE).unwrap();
    let conditions = object["status"]["conditions"].as_array().unwrap();
    let found = conditions
        .iter()
        .find(|condition| condition["type"] == kind)
        .unwrap();
    let text = |field: &str| found[field].as_str().unwrap().to_owned();
    (text("status"), text("reason"), text("message"))
}

fn ready(api: &FakeApi) -> (String, String) {
    let (status, reason, _) = condition(api, "Ready");
    (status, reason)
}

#[track_caller]
fn is_ready(api: &FakeApi, status: &str, reason: &str) {
    assert_eq!(ready(api), (status.to_owned(), reason.to_owned()));
}

#[tokio::test]
async fn a_pipeline_comes_up_in_its_order() {
    let api = install(&quickstart());
    look(&api).await.unwrap();
    is_ready(&api, "False", "BrokersStarting");
    assert!(api.keys().contains(&"statefulsets/demo-kafka".to_owned()));
    assert!(!api.keys().iter().any(|key| key.starts_with("jobs/")));
    settle(&api).await;
    look(&api).await.unwrap();
    is_ready(&api, "False", "TopicPending");
    assert!(!api.keys().contains(&"statefulsets/demo-etl".to_owned()));
    settle(&api).await;
    look(&api).await.unwrap();
    is_ready(&api, "False", "SourceStarting");
    assert!(
        api.keys()
            .contains(&"configmaps/demo-checkpoint-p00002".to_owned())
    );
    settle(&api).await;
    look(&api).await.unwrap();
    is_ready(&api, "True", "Running");
    assert_eq!(condition(&api, "Stalled").0, "False");
}

#[tokio::test]
async fn nothing_is_written_when_nothing_changed() {
    let api = install(&quickstart());
    let server = Server::fake(&api);
    server.converge().await;
    for _ in 0..3 {
        server.look().await.unwrap();
    }
    assert_eq!(server.wire.writes(), Vec::<String>::new());
}

#[tokio::test]
async fn a_crash_after_any_write_ends_where_a_fresh_install_does() {
    crashes::of_an_install(&Server::fake(&FakeApi::default())).await;
}

#[tokio::test]
async fn a_crash_amid_an_edit_ends_where_a_fresh_install_does() {
    crashes::of_an_edit(&Server::fake(&FakeApi::default())).await;
}

#[tokio::test]
async fn a_crash_amid_a_deletion_leaves_nothing_that_holds_it() {
    crashes::of_a_deletion(&Server::fake(&FakeApi::default())).await;
}

#[tokio::test]
async fn random_edits_end_where_a_fresh_install_does() {
    edits::random(&Server::fake(&FakeApi::default())).await;
}

#[tokio::test]
async fn what_somebody_changed_is_put_back() {
    let api = install(&quickstart());
    converge(&api).await;
    let key = "statefulsets/demo-etl";
    let mut set = api.get(key).unwrap();
    set["spec"]["replicas"] = json!(5);
    api.put(key, set);
    look(&api).await.unwrap();
    assert_eq!(api.get(key).unwrap()["spec"]["replicas"], 1);
}

#[tokio::test]
async fn an_account_of_ours_that_the_manifest_names_becomes_the_users() {
    edits::to_an_account_of_our_name(&Server::fake(&FakeApi::default())).await;
}

/// A quota that counts limits takes no pod with a container that has none.
#[tokio::test]
async fn a_manifest_can_give_each_container_a_cpu_limit() {
    let mut spec = quickstart();
    let limit = json!({"limits": {"cpu": "2"}});
    spec["kafka"]["managed"]["resources"] = limit.clone();
    spec["source"]["producer"] = json!({"resources": limit});
    spec["etl"] = json!({"resources": limit});
    let api = install(&spec);
    converge(&api).await;
    let mut seen = 0;
    for key in api.keys() {
        let object = api.get(&key).unwrap();
        for list in ["initContainers", "containers"] {
            let containers = object["spec"]["template"]["spec"][list].as_array();
            for container in containers.into_iter().flatten() {
                let limit = &container["resources"]["limits"]["cpu"];
                assert_eq!(limit, "2", "{key} {}", container["name"]);
                seen += 1;
            }
        }
    }
    assert_eq!(seen, 6, "probe, kafka, topic, generate, produce, etl");
}

#[tokio::test]
async fn another_topic_is_another_job_and_the_old_one_goes() {
    let api = install(&quickstart());
    converge(&api).await;
    let mut spec = quickstart();
    spec["kafka"]["topic"] = json!({"partitions": 6});
    edit(&api, &spec);
    converge(&api).await;
    let jobs = api
        .keys()
        .into_iter()
        .filter(|key| key.starts_with("jobs/"));
    assert_eq!(jobs.count(), 1);
    assert!(
        api.keys()
            .contains(&"configmaps/demo-checkpoint-p00005".to_owned())
    );
}

/// A worker that finds a partition before its checkpoint ends with an error.
#[tokio::test]
async fn new_partitions_have_their_checkpoints_before_the_topic_has_them() {
    let api = install(&quickstart());
    converge(&api).await;
    let mut spec = quickstart();
    spec["kafka"]["topic"] = json!({"partitions": 6});
    edit(&api, &spec);
    look(&api).await.unwrap();
    is_ready(&api, "False", "TopicPending");
    assert!(
        api.keys()
            .contains(&"configmaps/demo-checkpoint-p00005".to_owned())
    );
}

#[tokio::test]
async fn a_checkpoint_that_is_gone_is_not_made_again() {
    let api = install(&quickstart());
    converge(&api).await;
    for name in ["p00001", "plan"] {
        let key = format!("configmaps/demo-checkpoint-{name}");
        let before = api.get(&key).unwrap();
        api.remove(&key);
        look(&api).await.unwrap();
        assert_eq!(api.get(&key), None);
        is_ready(&api, "False", "CheckpointMissing");
        assert_eq!(condition(&api, "Stalled").0, "True");
        api.put(&key, before);
        look(&api).await.unwrap();
        is_ready(&api, "True", "Running");
    }
}

/// As `logpipe checkpoint rebuild` makes it: the labels by which we know our own, and the worker's data.
#[tokio::test]
async fn a_checkpoint_that_somebody_made_again_is_taken_as_our_own() {
    let api = install(&quickstart());
    converge(&api).await;
    let key = "configmaps/demo-checkpoint-p00001";
    let first = api.get(key).unwrap();
    api.remove(key);
    look(&api).await.unwrap();
    let (_, _, message) = condition(&api, "Ready");
    assert!(
        message.contains("logpipe checkpoint rebuild demo -n data"),
        "{message}"
    );
    let value = r#"{"v":1,"totals":{"rows":7,"dead":1,"files":2}}"#;
    let made = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {
            "name": "demo-checkpoint-p00001", "namespace": "data", "uid": "made-again", "resourceVersion": "1", "generation": 1,
            "labels": logpipe_api::names::labels("demo", logpipe_api::names::Component::Checkpoint),
        },
        "data": {"p00001": value},
    });
    api.put(key, made);
    converge(&api).await;
    is_ready(&api, "True", "Running");
    let taken = api.get(key).unwrap();
    assert_eq!(taken["data"]["p00001"], value);
    assert_eq!(taken["data"]["about"], first["data"]["about"]);
    assert_eq!(taken["metadata"]["labels"], first["metadata"]["labels"]);
    assert_eq!(
        taken["metadata"]["annotations"],
        first["metadata"]["annotations"]
    );
}

#[tokio::test]
async fn what_a_worker_wrote_is_left_alone_and_told() {
    let api = install(&quickstart());
    converge(&api).await;
    let key = "configmaps/demo-checkpoint-p00001";
    let mut map = api.get(key).unwrap();
    map["data"]["p00001"] = json!(r#"{"v":1,"totals":{"rows":7,"dead":1,"files":2}}"#);
    api.put(key, map.clone());
    look(&api).await.unwrap();
    assert_eq!(api.get(key).unwrap()["data"], map["data"]);
    let progress = api.get(PIPELINE).unwrap()["status"]["progress"].clone();
    assert_eq!(
        progress,
        json!({"committedRows": "7", "filesWritten": "2", "deadLetterRecords": "1"})
    );
}

#[tokio::test]
async fn a_wrong_edit_is_told_and_what_runs_goes_on() {
    let api = install(&quickstart());
    converge(&api).await;
    let before = Server::fake(&api).essence().await;
    let mut spec = quickstart();
    spec["kafka"]["managed"]["config"] = json!({"listeners": "x"});
    edit(&api, &spec);
    look(&api).await.unwrap();
    is_ready(&api, "False", "InvalidSpec");
    let (stalled, _, message) = condition(&api, "Stalled");
    assert_eq!(stalled, "True");
    assert!(
        message.contains("spec.kafka.managed.config[listeners]"),
        "{message}"
    );
    assert_eq!(Server::fake(&api).essence().await, before);
}

#[tokio::test]
async fn what_runs_is_told_while_the_manifest_is_wrong() {
    let api = install(&quickstart());
    converge(&api).await;
    let mut spec = quickstart();
    spec["kafka"]["managed"]["config"] = json!({"listeners": "x"});
    edit(&api, &spec);
    look(&api).await.unwrap();
    let key = "configmaps/demo-checkpoint-p00001";
    let mut map = api.get(key).unwrap();
    map["data"]["p00001"] = json!(r#"{"v":1,"totals":{"rows":7,"dead":1,"files":2}}"#);
    api.put(key, map);
    let mut set = api.get("statefulsets/demo-etl").unwrap();
    set["status"]["readyReplicas"] = json!(0);
    api.put("statefulsets/demo-etl", set);
    api.remove("configmaps/demo-checkpoint-p00002");
    look(&api).await.unwrap();
    is_ready(&api, "False", "InvalidSpec");
    let status = api.get(PIPELINE).unwrap()["status"].clone();
    assert_eq!(status["progress"]["committedRows"], "7");
    assert_eq!(status["etl"]["readyReplicas"], 0);
    assert_eq!(status["kafka"]["readyReplicas"], 1);
    let (_, _, message) = condition(&api, "Stalled");
    assert!(
        message.contains("config[listeners]")
            && message.contains("ConfigMap demo-checkpoint-p00002 is gone"),
        "{message}"
    );
}

#[tokio::test]
async fn what_the_server_refuses_is_told_and_tried_again() {
    let api = install(&quickstart());
    api.refuse(&["statefulsets"]);
    look(&api).await.unwrap_err();
    is_ready(&api, "False", "ApplyFailed");
    let (stalled, _, message) = condition(&api, "Stalled");
    assert_eq!(stalled, "True");
    assert!(
        message.contains("failed to apply StatefulSet demo-kafka: Forbidden"),
        "{message}"
    );
    api.refuse(&[]);
    converge(&api).await;
    is_ready(&api, "True", "Running");
}

/// A pod of the pipeline.
pub(crate) fn pod(component: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": format!("demo-{component}-0"), "namespace": "data", "labels": {
            "logpipe.dev/pipeline": "demo",
            "logpipe.dev/component": component,
            "app.kubernetes.io/managed-by": "logpipe-operator",
        }, "ownerReferences": [{
            "apiVersion": "apps/v1", "kind": "StatefulSet", "name": format!("demo-{component}"), "uid": "x",
        }]},
    })
}

#[tokio::test]
async fn a_pod_that_ends_is_not_told_as_ready() {
    let api = install(&quickstart());
    converge(&api).await;
    is_ready(&api, "True", "Running");
    for (component, reason) in [
        ("kafka", "BrokersStarting"),
        ("source", "SourceStarting"),
        ("etl", "WorkersStarting"),
    ] {
        let key = format!("pods/demo-{component}-0");
        let mut ending = pod(component);
        ending["status"] = json!({"conditions": [{"type": "Ready", "status": "True"}]});
        api.put(&key, ending.clone());
        look(&api).await.unwrap();
        is_ready(&api, "True", "Running");
        ending["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        api.put(&key, ending);
        look(&api).await.unwrap();
        is_ready(&api, "False", reason);
        api.remove(&key);
    }
}

/// The claims were removed, and the mark of a quorum was kept: the empty disk may not found another one.
#[tokio::test]
async fn brokers_that_find_no_quorum_are_told_with_both_ways_out() {
    let api = install(&quickstart());
    converge(&api).await;
    let mut set = api.get("statefulsets/demo-kafka").unwrap();
    set["status"]["readyReplicas"] = json!(0);
    api.put("statefulsets/demo-kafka", set);
    let mut waiting = pod("kafka");
    for (minutes, told) in [(9, "BrokersStarting"), (11, "QuorumLost")] {
        let since = jiff::Timestamp::now() - jiff::SignedDuration::from_mins(minutes);
        waiting["status"] = json!({"conditions": [
            {"type": "Ready", "status": "False", "lastTransitionTime": since.to_string()},
        ]});
        api.put("pods/demo-kafka-0", waiting.clone());
        look(&api).await.unwrap();
        is_ready(&api, "False", told);
    }
    let (stalled, _, message) = condition(&api, "Stalled");
    assert_eq!(stalled, "True");
    assert!(
        message.contains("bring the claims data-demo-kafka-… back")
            && message
                .contains("kubectl delete pvc,configmap -l logpipe.dev/pipeline=demo -n data"),
        "{message}"
    );
}

#[tokio::test]
async fn a_broker_that_finds_no_node_with_its_rack_says_which_label() {
    let mut spec = quickstart();
    spec["kafka"]["managed"]["rack"] = json!({"topologyKey": "topology.kubernetes.io/zone"});
    let api = install(&spec);
    look(&api).await.unwrap();
    let mut waits = pod("kafka");
    waits["status"] = json!({"conditions": [
        {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available"},
    ]});
    api.put("pods/demo-kafka-0", waits);
    look(&api).await.unwrap();
    is_ready(&api, "False", "PodUnschedulable");
    let (_, _, message) = condition(&api, "KafkaReady");
    let command = "kubectl get nodes -L topology.kubernetes.io/zone";
    assert!(message.ends_with(command), "{message}");
}

#[tokio::test]
async fn ready_says_that_the_manifest_as_it_is_runs() {
    let api = install(&quickstart());
    converge(&api).await;
    for (name, reason) in [("source", "SourceStarting"), ("etl", "WorkersStarting")] {
        let key = format!("statefulsets/demo-{name}");
        let mut rolling = api.get(&key).unwrap();
        let status = rolling["status"].as_object_mut().unwrap();
        status.insert("currentRevision".to_owned(), json!("1"));
        status.insert("updateRevision".to_owned(), json!("2"));
        api.put(&key, rolling.clone());
        look(&api).await.unwrap();
        is_ready(&api, "False", reason);
        let (_, _, message) = condition(&api, "Ready");
        assert!(message.contains("said before"), "{message}");
        rolling["status"]["updatedReplicas"] = json!(1);
        api.put(&key, rolling);
        look(&api).await.unwrap();
        is_ready(&api, "True", "Running");
    }
}

#[tokio::test]
async fn a_pipeline_ends_in_its_order() {
    let api = install(&quickstart());
    converge(&api).await;
    for component in ["source", "etl", "kafka"] {
        api.put(&format!("pods/demo-{component}-0"), pod(component));
    }
    delete(&api);
    let replicas = |name: &str| {
        api.get(&format!("statefulsets/demo-{name}")).unwrap()["spec"]["replicas"].clone()
    };
    look(&api).await.unwrap();
    assert_eq!(
        (replicas("source"), replicas("etl"), replicas("kafka")),
        (json!(0), json!(1), json!(1))
    );
    api.remove("pods/demo-source-0");
    look(&api).await.unwrap();
    assert_eq!((replicas("etl"), replicas("kafka")), (json!(0), json!(1)));
    assert!(api.get(PIPELINE).is_some());
    api.remove("pods/demo-etl-0");
    look(&api).await.unwrap();
    assert_eq!(replicas("kafka"), json!(0));
    assert!(api.get(PIPELINE).is_some());
    api.remove("pods/demo-kafka-0");
    look(&api).await.unwrap();
    assert!(api.get(PIPELINE).is_none());
}

/// In the foreground the collector begins with what belongs to the pipeline.
#[tokio::test]
async fn a_set_that_the_collector_removed_is_not_made_again() {
    let api = install(&quickstart());
    converge(&api).await;
    for component in ["source", "kafka"] {
        api.put(&format!("pods/demo-{component}-0"), pod(component));
        api.remove(&format!("statefulsets/demo-{component}"));
    }
    delete(&api);
    look(&api).await.unwrap();
    assert!(api.get(PIPELINE).is_some(), "its pods still end");
    for component in ["source", "kafka"] {
        assert_eq!(api.get(&format!("statefulsets/demo-{component}")), None);
    }
}

#[tokio::test]
async fn a_pipeline_whose_parts_do_not_end_is_let_go() {
    let api = install(&quickstart());
    converge(&api).await;
    api.put("pods/demo-source-0", pod("source"));
    let mut object = api.get(PIPELINE).unwrap();
    let long_ago = jiff::Timestamp::now() - jiff::SignedDuration::from_mins(6);
    object["metadata"]["deletionTimestamp"] = json!(long_ago.to_string());
    api.put(PIPELINE, object);
    look(&api).await.unwrap();
    assert!(api.get(PIPELINE).is_none());
}

/// The first one's Job is done already: nothing would tell that the topic is another one now.
#[tokio::test]
async fn a_failed_edit_of_the_topic_that_is_taken_back_is_taken_back_there_too() {
    let api = install(&quickstart());
    converge(&api).await;
    let job = |api: &FakeApi| {
        let keys = api.keys().into_iter();
        let jobs: Vec<String> = keys.filter(|key| key.starts_with("jobs/")).collect();
        assert_eq!(jobs.len(), 1, "{jobs:?}");
        (
            jobs[0].clone(),
            api.get(&jobs[0]).unwrap()["metadata"]["uid"].clone(),
        )
    };
    let before = job(&api);
    let mut spec = quickstart();
    spec["kafka"]["topic"] = json!({"config": {"retention.ms": "1000"}});
    spec["etl"] = json!({"replicas": 2});
    edit(&api, &spec);
    api.refuse(&["statefulsets"]);
    look(&api).await.unwrap_err();
    assert_ne!(job(&api).0, before.0);
    settle(&api).await;
    edit(&api, &quickstart());
    look(&api).await.unwrap();
    is_ready(&api, "False", "TopicPending");
    let after = job(&api);
    assert_eq!(after.0, before.0);
    assert_ne!(after.1, before.1, "it runs again");
    api.refuse(&[]);
    converge(&api).await;
    is_ready(&api, "True", "Running");
}

/// A container's limit is its request where that stands alone.
#[tokio::test]
async fn the_heap_fits_a_request_that_stands_alone() {
    for (memory, heap) in [
        ("4Gi", "-Xms2048m -Xmx2048m"),
        ("600Mi", "-Xms300m -Xmx300m"),
    ] {
        let mut spec = quickstart();
        spec["kafka"]["managed"]["resources"] = json!({"requests": {"memory": memory}});
        let api = install(&spec);
        look(&api).await.unwrap();
        let set = api.get("statefulsets/demo-kafka").unwrap();
        let container = &set["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(container["resources"]["limits"]["memory"], memory);
        let variables = container["env"].as_array().unwrap().iter();
        let mut variables = variables.filter(|variable| variable["name"] == "LOGPIPE_HEAP");
        assert_eq!(variables.next().unwrap()["value"], heap);
    }
}

/// Nobody must be told to remove volumes that are good.
#[tokio::test]
async fn fewer_controllers_than_the_volumes_had_are_told_how_many_those_were() {
    let mut spec = quickstart();
    spec["kafka"]["managed"]["replicas"] = json!(3);
    let api = install(&spec);
    converge(&api).await;
    api.settle_claims();
    let again = install(&quickstart());
    for key in api.keys() {
        if key.starts_with("persistentvolumeclaims/") || key.ends_with("-bootstrapped") {
            let mut kept = api.get(&key).unwrap();
            disown(&mut kept);
            again.put(&key, kept);
        }
    }
    look(&again).await.unwrap();
    let since = jiff::Timestamp::now() - jiff::SignedDuration::from_mins(11);
    let mut waiting = pod("kafka");
    waiting["status"] = json!({"conditions": [
        {"type": "Ready", "status": "False", "lastTransitionTime": since.to_string()},
    ]});
    again.put("pods/demo-kafka-0", waiting);
    look(&again).await.unwrap();
    is_ready(&again, "False", "QuorumLost");
    let (_, _, message) = condition(&again, "Stalled");
    assert!(
        message.ends_with("set spec.kafka.managed.replicas to 3 again")
            && !message.contains("delete"),
        "{message}"
    );
}

/// A broker whose process ends starts again in its pod, and may not find settings there that no broker starts with.
#[tokio::test]
async fn a_broker_keeps_the_files_that_its_pod_began_with() {
    let maps = |api: &FakeApi| {
        let mut keys = api.keys();
        keys.retain(|key| key.starts_with("configmaps/demo-kafka-config-"));
        keys
    };
    let broker = |api: &FakeApi| {
        let mut broker = pod("kafka");
        let set = api.get("statefulsets/demo-kafka").unwrap();
        broker["spec"] = set["spec"]["template"]["spec"].clone();
        broker["status"] = json!({"conditions": [{"type": "Ready", "status": "True"}]});
        broker
    };
    let api = install(&quickstart());
    converge(&api).await;
    api.put("pods/demo-kafka-0", broker(&api));
    let old = api.get(&maps(&api)[0]).unwrap();
    let mut spec = quickstart();
    spec["kafka"]["managed"]["config"] = json!({"num.io.threads": "none"});
    edit(&api, &spec);
    converge(&api).await;
    assert_eq!(maps(&api).len(), 2);
    let name = old["metadata"]["name"].as_str().unwrap();
    assert_eq!(api.get(&format!("configmaps/{name}")).unwrap(), old);
    // Its successor may be made by a controller that has not seen the change.
    api.remove("pods/demo-kafka-0");
    let key = "statefulsets/demo-kafka";
    let seen = api.get(key).unwrap();
    let mut unseen = seen.clone();
    unseen["status"]["observedGeneration"] = json!(1);
    api.put(key, unseen);
    look(&api).await.unwrap();
    assert_eq!(maps(&api).len(), 2);
    api.put(key, seen);
    api.put("pods/demo-kafka-0", broker(&api));
    converge(&api).await;
    assert_eq!(maps(&api).len(), 1);
    assert_eq!(api.get(&format!("configmaps/{name}")), None);
}
