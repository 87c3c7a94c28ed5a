//! Namespaces that are deleted with pipelines in them. Touches the client.
//!
//! Such a namespace takes the operator's rights in it, or the operator itself: before Kubernetes 1.33 in no order, since
//! then all of its pods first, and all the rest when they have ended. A pipeline that still waits for its finalizer then
//! holds it up for ever. Kubernetes begins to delete five seconds after it has marked a namespace, so the pipelines are
//! let go of before. In all other namespaces a pipeline ends in its order, whoever deletes it.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::core::DeserializeGuard;
use kube::{Api, Resource, ResourceExt};
use logpipe_api::LogPipeline;

use crate::context::Context;
use crate::{chain, lock, shutdown};

/// Twice within the five seconds, `namespaceDeletionGracePeriod` of Kubernetes' controller of namespaces.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// Checks as long as it is polled. Namespaces without a pipeline are not asked for.
pub(crate) async fn watch(context: &Context) {
    let mut warned = HashSet::new();
    loop {
        tokio::time::sleep(POLL_INTERVAL).await;
        for (namespace, pipelines) in by_namespace(context) {
            let check = check(context, &namespace, &pipelines);
            let outcome = tokio::time::timeout(POLL_INTERVAL, check).await;
            match outcome {
                Ok(Err(error)) if warned.insert(namespace.clone()) => tracing::warn!(
                    namespace,
                    error = %chain(&error),
                    "it is not known whether the namespace is being deleted: delete its pipelines before it"
                ),
                Ok(Err(_)) | Err(_) => {}
                Ok(Ok(())) => drop(warned.remove(&namespace)),
            }
        }
    }
}

/// A pipeline as it is watched, whether it can be read or not.
type Watched = Arc<DeserializeGuard<LogPipeline>>;

/// The pipelines whose namespace can take the operator's rights or the operator with it.
fn by_namespace(context: &Context) -> BTreeMap<String, Vec<Watched>> {
    let config = &context.config;
    let mut found: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for pipeline in context.metrics.pipelines() {
        let namespace = pipeline.meta().namespace.as_deref().unwrap_or_default();
        if config.own_namespace == namespace || config.namespaces.iter().any(|one| one == namespace)
        {
            let namespace = namespace.to_owned();
            found.entry(namespace).or_default().push(pipeline);
        }
    }
    found
}

async fn check(context: &Context, namespace: &str, pipelines: &[Watched]) -> kube::Result<()> {
    let api: Api<Namespace> = Api::all(context.client.clone());
    let found = api.get_metadata_opt(namespace).await?;
    let ends = found.is_some_and(|found| found.metadata.deletion_timestamp.is_some());
    // Before its pipelines are let go of, or a reconciliation would add their finalizers again.
    if !ends {
        lock(&context.terminating).remove(namespace);
        return Ok(());
    }
    if lock(&context.terminating).insert(namespace.to_owned()) {
        tracing::info!(
            namespace,
            "the namespace is being deleted: its pipelines are let go of"
        );
    }
    for pipeline in pipelines
        .iter()
        .filter(|pipeline| shutdown::has_finalizer(&***pipeline))
    {
        let name = pipeline.name_any();
        // Another one may have written meanwhile: there is time for a second try.
        match shutdown::remove_finalizer(&**pipeline, &context.client).await {
            Ok(()) => context.forget(&**pipeline),
            Err(error) => {
                tracing::warn!(namespace, name, error = %chain(&error), "a pipeline was not let go of, trying again");
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use kube::Client;
    use kube::client::Body;
    use serde_json::{Value, json};

    use super::*;
    use crate::config::Config;

    /// A context whose API server has the namespace, and the writes that it was asked for.
    fn world(deleted: bool) -> (Context, Arc<Mutex<Vec<Value>>>) {
        let writes = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&writes);
        let server = tower::service_fn(move |request: http::Request<Body>| {
            let seen = Arc::clone(&seen);
            async move {
                let answer = if request.method() == http::Method::GET {
                    assert_eq!(request.uri().path(), "/api/v1/namespaces/data");
                    let mut metadata = json!({"name": "data"});
                    if deleted {
                        metadata["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
                    }
                    json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": metadata})
                } else {
                    let body = request.into_body().collect_bytes().await.unwrap();
                    lock(&seen).push(serde_json::from_slice(&body).unwrap());
                    serde_json::to_value(pipeline()).unwrap()
                };
                http::Response::builder().body(Body::from(answer.to_string().into_bytes()))
            }
        });
        let context = Context::new(Client::new(server, "data"), Config::any());
        (context, writes)
    }

    fn pipeline() -> LogPipeline {
        serde_json::from_value(json!({
            "apiVersion": "logpipe.dev/v1alpha1", "kind": "LogPipeline",
            "metadata": {"name": "shop", "namespace": "data", "uid": "1", "finalizers": [shutdown::FINALIZER, "other"]},
            "spec": {"source": {"generator": {}}, "sink": {"s3": {"bucket": "logs"}}},
        }))
        .unwrap()
    }

    fn watched() -> [Watched; 1] {
        [Arc::new(DeserializeGuard(Ok(pipeline())))]
    }

    #[tokio::test]
    async fn a_namespace_that_is_deleted_is_not_held_up_and_its_pipelines_are_not_held_again() {
        let (context, writes) = world(true);
        context.remember(&pipeline(), |memory| memory.failures = 1);
        check(&context, "data", &watched()).await.unwrap();
        let released = json!(["other"]);
        assert_eq!(lock(&writes)[0]["metadata"]["finalizers"], released);
        assert_eq!(lock(&context.memory).len(), 0);
        let mut free = pipeline();
        free.metadata.finalizers = None;
        crate::reconcile::reconcile(&free, &context).await.unwrap();
        assert_eq!(lock(&writes).len(), 1);
    }

    #[tokio::test]
    async fn a_namespace_that_stays_keeps_its_pipelines_held() {
        let (context, writes) = world(false);
        check(&context, "data", &watched()).await.unwrap();
        assert_eq!(*lock(&writes), Vec::<Value>::new());
        assert!(lock(&context.terminating).is_empty());
    }

    #[tokio::test]
    async fn one_that_cannot_be_read_is_let_go_of_and_other_namespaces_are_not_looked_at() {
        let (mut context, writes) = world(true);
        context.config.namespaces = vec!["data".to_owned()];
        let (store, mut watch) = kube::runtime::reflector::store();
        context.metrics.watch(store);
        for namespace in ["data", "other"] {
            let mut object = serde_json::to_value(pipeline()).unwrap();
            object["metadata"]["namespace"] = json!(namespace);
            object["spec"] = json!("?");
            let object = serde_json::from_value(object).unwrap();
            watch.apply_watcher_event(&kube::runtime::watcher::Event::Apply(object));
        }
        let found = by_namespace(&context);
        assert_eq!(found.keys().collect::<Vec<_>>(), ["data"]);
        check(&context, "data", &found["data"]).await.unwrap();
        assert_eq!(lock(&writes)[0]["metadata"]["finalizers"], json!(["other"]));
    }
}
