//! An operator that drops dead after any one of its writes leaves nothing that the next one cannot mend.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use serde_json::{Value, json};

use crate::server::{Server, same};
use crate::{pod, quickstart};

/// Looks while each operator dies by its `writes`-th write; whether one did.
async fn die(server: &Server, writes: usize) -> bool {
    let mut died = false;
    for _ in 0..4 {
        server.wire.crash_after(writes);
        // It may fail: that is the crash.
        server.look().await.ok();
        died |= server.wire.revive();
        server.settle().await;
    }
    died
}

/// A larger pipeline with another topic, where objects are added, changed and removed.
fn edited() -> Value {
    json!({
        "source": {"generator": {"eventsPerSecond": 5}},
        "kafka": {
            "managed": {"replicas": 3, "config": {"log.retention.hours": "1"}},
            "topic": {"partitions": 6},
        },
        "etl": {"replicas": 2, "serviceAccountName": "mine"},
        "sink": {"s3": {"bucket": "logs", "credentials": {"secretRef": {"name": "keys"}}}},
    })
}

pub(crate) async fn of_an_install(server: &Server) {
    server.install(&quickstart()).await;
    server.converge().await;
    let fresh = server.essence().await;
    let survived = each_write(server, &fresh, async || {
        server.install(&quickstart()).await;
    })
    .await;
    println!("an install survived a crash after each of {survived} writes");
    assert!(survived > 6);
}

pub(crate) async fn of_an_edit(server: &Server) {
    server.install(&edited()).await;
    server.converge().await;
    let fresh = server.essence().await;
    let survived = each_write(server, &fresh, async || {
        server.install(&quickstart()).await;
        server.converge().await;
        server.edit(&edited()).await.unwrap();
    })
    .await;
    println!("an edit survived a crash after each of {survived} writes");
    assert!(survived > 9);
}

/// Dies by each write that follows `begin`, and wants the end to be `fresh`; how many writes there were.
async fn each_write(
    server: &Server,
    fresh: &BTreeMap<String, Value>,
    begin: impl AsyncFn(),
) -> usize {
    for writes in 1.. {
        server.wipe().await;
        begin().await;
        let died = die(server, writes).await;
        server.converge().await;
        same(&server.essence().await, fresh, &format!("{writes} writes"));
        if !died {
            return writes - 1;
        }
    }
    unreachable!("writes come to an end")
}

pub(crate) async fn of_a_deletion(server: &Server) {
    for writes in 1..=4 {
        server.wipe().await;
        server.install(&quickstart()).await;
        server.converge().await;
        let pods: Api<Pod> = Api::namespaced(server.admin.clone(), &server.namespace);
        for component in ["source", "etl"] {
            let mut pod = pod(component);
            pod["metadata"]["namespace"] = json!(server.namespace);
            pod["spec"] = json!({"containers": [{"name": "c", "image": "i"}]});
            let pod = serde_json::from_value(pod).unwrap();
            pods.create(&PostParams::default(), &pod).await.unwrap();
        }
        let pipelines = server.pipelines();
        pipelines
            .delete("demo", &DeleteParams::default())
            .await
            .unwrap();
        die(server, writes).await;
        for _ in 0..4 {
            server.look().await.unwrap();
            server.settle().await;
        }
        assert!(pipelines.get_opt("demo").await.unwrap().is_none());
        assert_eq!(pods.list(&ListParams::default()).await.unwrap().items, []);
    }
}
