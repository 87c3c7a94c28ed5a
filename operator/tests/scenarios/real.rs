//! The same against a real API server, which `LOGPIPE_TEST_KUBECONFIG` names and `hack/test-operator` brings up. The
//! operator has the rights of namespaced mode, as the chart gives them, and none that is missing may be asked for.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config, Resource};
use logpipe_operator::config::Config as OperatorConfig;
use logpipe_operator::context::Context;
use logpipe_operator::controller;
use logpipe_operator::leader::Leadership;
use serde::Serialize;
use serde::de::{Deserialize, DeserializeOwned};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::server::{Server, same};
use crate::wire::Wire;
use crate::{config, crashes, edits, quickstart};

/// The namespace of the operator itself.
const SYSTEM: &str = "logpipe-system";
const OPERATOR: &str = "logpipe-operator";

/// Runs a test whose operator may do all that it wants.
async fn allowed(name: &str, test: impl AsyncFnOnce(&Server)) {
    let Some(server) = server(name).await else {
        return;
    };
    test(&server).await;
    assert_eq!(server.wire.forbidden(), Vec::<String>::new());
}

#[tokio::test]
async fn a_crash_after_any_write_ends_where_a_fresh_install_does() {
    allowed("crash-install", crashes::of_an_install).await;
}

#[tokio::test]
async fn a_crash_amid_an_edit_ends_where_a_fresh_install_does() {
    allowed("crash-edit", crashes::of_an_edit).await;
}

#[tokio::test]
async fn a_crash_amid_a_deletion_leaves_nothing_that_holds_it() {
    allowed("crash-deletion", crashes::of_a_deletion).await;
}

#[tokio::test]
async fn random_edits_end_where_a_fresh_install_does() {
    allowed("edits", edits::random).await;
}

#[tokio::test]
async fn an_account_of_ours_that_the_manifest_names_becomes_the_users() {
    allowed("account", edits::to_an_account_of_our_name).await;
}

/// The number of workers has a default, because an autoscaler does nothing without a number; it must not be set back.
#[tokio::test]
async fn an_apply_without_replicas_leaves_what_a_scaler_set() {
    let Some(server) = server("scaler").await else {
        return;
    };
    let api = server.pipelines();
    for replicas in [None, Some(1)] {
        let mut spec = quickstart();
        if let Some(replicas) = replicas {
            spec["etl"] = json!({ "replicas": replicas });
        }
        let apply = async |spec: &Value| {
            let params = PatchParams::apply("kubectl");
            let patch = Patch::Apply(server.manifest(spec));
            let object = api.patch("demo", &params, &patch).await.unwrap();
            object.data["spec"]["etl"]["replicas"].clone()
        };
        assert_eq!(apply(&spec).await, 1);
        let scale = Patch::Merge(json!({"spec": {"replicas": 5}}));
        api.patch_scale("demo", &PatchParams::default(), &scale)
            .await
            .unwrap();
        let mut edited = quickstart();
        edited["sink"]["rotation"] = json!({"intervalSeconds": 7});
        assert_eq!(apply(&edited).await, 5);
        server.wipe().await;
    }
}

/// Lease, watches and all: edits come while earlier ones are carried out, and what it sees of them is old.
#[tokio::test(flavor = "multi_thread")]
async fn the_whole_operator_lives_on_roles_alone() {
    let Some(server) = server("whole").await else {
        return;
    };
    let server = Arc::new(server);
    let config = OperatorConfig {
        namespaces: vec![server.namespace.clone()],
        own_namespace: SYSTEM.to_owned(),
        ..config()
    };
    let mut leadership = Leadership::ask(server.operator.clone(), &config)
        .await
        .unwrap();
    leadership.won().await;
    let (stop, stopped) = oneshot::channel::<()>();
    let context = Arc::new(Context::new(server.operator.clone(), config));
    let stopped = async { drop(stopped.await) };
    let operator = tokio::spawn(async move { controller::run(context, stopped).await });
    let cluster = tokio::spawn({
        let server = Arc::clone(&server);
        async move {
            loop {
                server.settle().await;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    });
    server.install(&quickstart()).await;
    until_ready(&server).await;
    let mut chain = edits::Chain::new(edits::first_seed());
    for _ in 0..40 {
        chain.step(&server).await;
    }
    let spec = chain.mended(&server).await;
    until_ready(&server).await;
    let edited = server.essence().await;
    let pipelines = server.pipelines();
    pipelines
        .delete("demo", &DeleteParams::default())
        .await
        .unwrap();
    until("the pipeline is gone", async || {
        pipelines.get_opt("demo").await.unwrap().is_none()
    })
    .await;
    // What the cluster's garbage collector would remove.
    server.wipe().await;
    server.install(&spec).await;
    until_ready(&server).await;
    same(&edited, &server.essence().await, &spec.to_string());
    stop.send(()).unwrap();
    operator.await.unwrap();
    leadership.release().await;
    cluster.abort();
    assert_eq!(server.wire.forbidden(), Vec::<String>::new());
    println!(
        "{} writes by the whole operator",
        server.wire.writes().len()
    );
}

/// Kubernetes would delete the Role and the pipeline in any order, five seconds after it marked the namespace.
#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_is_deleted_is_not_held_up_by_its_pipelines() {
    let Some(server) = server("ending").await else {
        return;
    };
    let config = OperatorConfig {
        namespaces: vec![server.namespace.clone()],
        own_namespace: SYSTEM.to_owned(),
        ..config()
    };
    let context = Arc::new(Context::new(server.operator.clone(), config));
    let operator = tokio::spawn(controller::run(context, std::future::pending()));
    server.install(&quickstart()).await;
    let pipelines = server.pipelines();
    let held = async || {
        let object = pipelines.get("demo").await.unwrap();
        object.metadata.finalizers.is_some()
    };
    until("the pipeline is held", held).await;
    let namespaces: Api<Namespace> = Api::all(server.admin.clone());
    let begun = Instant::now();
    namespaces
        .delete(&server.namespace, &DeleteParams::default())
        .await
        .unwrap();
    until("it is let go of", async || !held().await).await;
    assert!(begun.elapsed() < Duration::from_secs(5));
    // An edit has it looked at, and it must not be held again.
    let mut spec = quickstart();
    spec["suspend"] = json!("All");
    server.edit(&spec).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!held().await);
    operator.abort();
    // Nothing can be made any more in such a namespace, whoever asks.
    let mut forbidden = server.wire.forbidden();
    forbidden.retain(|what| what.starts_with("GET"));
    assert_eq!(forbidden, Vec::<String>::new());
}

/// On a path that has gone silent nothing says that the lease is somebody else's meanwhile.
#[tokio::test]
async fn a_leader_that_cannot_renew_its_lease_ends_before_another_one_begins() {
    let Some(server) = server("leader").await else {
        return;
    };
    let config = OperatorConfig {
        own_namespace: SYSTEM.to_owned(),
        ..config()
    };
    let mut leadership = Leadership::ask(server.operator.clone(), &config)
        .await
        .unwrap();
    leadership.won().await;
    let lost = leadership.lost();
    tokio::pin!(lost);
    let while_it_renews = tokio::time::timeout(Duration::from_secs(17), &mut lost).await;
    assert!(while_it_renews.is_err());
    server.wire.crash_after(0);
    let silent = tokio::time::timeout(Duration::from_secs(15), lost).await;
    assert!(silent.is_ok());
    server.wire.revive();
    leadership.release().await;
}

/// Until the operator has told that all of the manifest as it is now runs, and writes no more.
async fn until_ready(server: &Server) {
    let api = server.pipelines();
    until("the pipeline is ready", async || {
        let object = api.get("demo").await.unwrap();
        let conditions = object.data["status"]["conditions"].as_array();
        let ready = conditions
            .into_iter()
            .flatten()
            .find(|condition| condition["type"] == "Ready");
        ready.is_some_and(|ready| {
            ready["status"] == "True"
                && ready["observedGeneration"] == json!(object.metadata.generation)
        })
    })
    .await;
}

async fn until(what: &str, mut is: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !is().await {
        assert!(
            begun.elapsed() < Duration::from_mins(1),
            "not in time: {what}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A namespace of its own on the real API server, and an operator that may do there what the chart lets it.
async fn server(name: &str) -> Option<Server> {
    let Some(path) = std::env::var_os("LOGPIPE_TEST_KUBECONFIG") else {
        println!(
            "not available: LOGPIPE_TEST_KUBECONFIG names no API server. Run: hack/test-operator"
        );
        return None;
    };
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    let admin = client(Path::new(&path), None).await;
    let roots: Api<ConfigMap> = Api::namespaced(admin.clone(), "default");
    assert!(
        roots.get_opt("kube-root-ca.crt").await.unwrap().is_none(),
        "this cluster has controllers, whose part the tests play. Run: hack/test-operator"
    );
    let namespace = format!("{name}-{}", std::process::id());
    for (namespace, role) in [(&*namespace, OPERATOR), (SYSTEM, "logpipe-operator-lease")] {
        let wanted = object::<Namespace>(namespace, &json!({}));
        // The operator's own is there already for the second test.
        Api::<Namespace>::all(admin.clone())
            .create(&PostParams::default(), &wanted)
            .await
            .ok();
        grant(&admin, namespace, role).await;
    }
    let wire = Wire::default();
    let operator = client(
        Path::new(&path),
        Some(&format!("system:serviceaccount:{SYSTEM}:{OPERATOR}")),
    )
    .await;
    Some(Server {
        operator: wire.client(&operator, &namespace),
        admin,
        namespace,
        wire,
    })
}

async fn client(path: &Path, impersonate: Option<&str>) -> Client {
    let mut kubeconfig = Kubeconfig::read_from(path).unwrap();
    for user in &mut kubeconfig.auth_infos {
        let info = user.auth_info.get_or_insert_default();
        info.impersonate = impersonate.map(str::to_owned);
    }
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
    Client::try_from(config.unwrap()).unwrap()
}

fn object<K: DeserializeOwned>(name: &str, fields: &Value) -> K {
    let mut object = json!({"metadata": {"name": name}});
    object
        .as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    serde_json::from_value(object).unwrap()
}

/// The rules of `role` as the chart has them, bound to the operator in one namespace. `hack/test-chart` sees that
/// the rules of both modes are the same.
async fn grant(admin: &Client, namespace: &str, role: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../hack/operator.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    let rules = serde_yaml::Deserializer::from_str(&text)
        .map(|document| Value::deserialize(document).unwrap())
        .find(|object| {
            object["kind"]
                .as_str()
                .unwrap_or_default()
                .ends_with("Role")
                && object["metadata"]["name"] == role
        })
        .unwrap()["rules"]
        .clone();
    let account = json!({"kind": "ServiceAccount", "name": OPERATOR, "namespace": SYSTEM});
    let reference = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role});
    make::<Role>(admin, namespace, object(role, &json!({"rules": rules}))).await;
    let binding = json!({"roleRef": reference, "subjects": [account]});
    make::<RoleBinding>(admin, namespace, object(role, &binding)).await;
}

async fn make<K>(admin: &Client, namespace: &str, object: K)
where
    K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + Serialize
        + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(admin.clone(), namespace);
    match api.create(&PostParams::default(), &object).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 409 => {}
        Err(error) => panic!("{error}"),
    }
}
