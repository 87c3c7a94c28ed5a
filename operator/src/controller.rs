//! Watches pipelines and what they made, and reconciles each when something changed. Touches the client.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{FutureExt, StreamExt, future, stream};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use kube::core::DeserializeGuard;
use kube::runtime::controller::{self, Action, Controller};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Client, Resource, ResourceExt};
use logpipe_api::LogPipeline;

use crate::context::Context;
use crate::desired::names::{MANAGED_BY, OPERATOR, PIPELINE};
use crate::error::Error;
use crate::reconcile::reconcile;
use crate::{chain, namespaces, shutdown};

/// Several changes within this time are one.
const DEBOUNCE: Duration = Duration::from_millis(300);

/// How long the first lists of all namespaces may take.
const LISTS_TAKE: Duration = Duration::from_secs(30);

const LONGEST_BACKOFF: Duration = Duration::from_mins(5);

/// Reconciles until `stop` comes to its end.
pub async fn run(context: Arc<Context>, stop: impl Future<Output = ()> + Send + 'static) {
    let stop = stop.shared();
    let namespaces = context.config.namespaces.clone();
    let places: Vec<Option<String>> = if namespaces.is_empty() {
        vec![None]
    } else {
        namespaces.into_iter().map(Some).collect()
    };
    let controllers: Vec<_> = places
        .iter()
        .map(|place| controller(&context.client, place.as_deref()))
        .collect();
    for controller in &controllers {
        context.metrics.watch(controller.store());
    }
    let runs = controllers.into_iter().map(|controller| {
        controller
            .graceful_shutdown_on(stop.clone())
            .run(guarded, error_policy, Arc::clone(&context))
            .boxed()
    });
    let reconciling = stream::select_all(runs).for_each(|outcome| {
        if let Err(error) = outcome {
            report(&error);
        }
        future::ready(())
    });
    tokio::select! {
        () = reconciling => {}
        () = namespaces::watch(&context) => {}
    }
}

fn report(error: &controller::Error<Error, watcher::Error>) {
    match error {
        // `error_policy` has logged it, or it is the trace of an object that was just removed.
        controller::Error::ReconcilerFailed(..) | controller::Error::ObjectNotFound(_) => {}
        other => tracing::warn!(error = %chain(other), "watching failed, trying again"),
    }
}

fn controller(
    client: &Client,
    namespace: Option<&str>,
) -> Controller<DeserializeGuard<LogPipeline>> {
    fn api<K>(client: &Client, namespace: Option<&str>) -> Api<K>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        match namespace {
            Some(namespace) => Api::namespaced(client.clone(), namespace),
            None => Api::all(client.clone()),
        }
    }
    let ours = watcher::Config::default().labels(&format!("{MANAGED_BY}={OPERATOR}"));
    Controller::new(
        api::<DeserializeGuard<LogPipeline>>(client, namespace),
        watcher::Config::default(),
    )
    .with_config(controller::Config::default().debounce(DEBOUNCE))
    .owns(api::<StatefulSet>(client, namespace), ours.clone())
    .owns(api::<Job>(client, namespace), ours.clone())
    .watches(api::<Pod>(client, namespace), ours, |pod| {
        let name = pod.labels().get(PIPELINE)?.clone();
        let namespace = pod.namespace()?;
        Some(ObjectRef::new(&name).within(&namespace))
    })
}

/// A conflicting pipeline may be in a namespace that is not listed yet. One that cannot be listed must not hold up all the
/// others.
async fn wait_until_listed(context: &Context) {
    let listed = tokio::time::timeout(LISTS_TAKE, context.metrics.wait_until_listed()).await;
    if listed.is_err() {
        tracing::warn!(
            "not every namespace could be listed: a pipeline there that shares a place with another is not seen"
        );
    }
}

/// One object that cannot be read must not stop the others: it is logged, and left alone until it changes.
async fn guarded(
    object: Arc<DeserializeGuard<LogPipeline>>,
    context: Arc<Context>,
) -> Result<Action, Error> {
    match &object.0 {
        Ok(pipeline) => {
            context
                .listed
                .get_or_init(|| wait_until_listed(&context))
                .await;
            let start = Instant::now();
            let action = contained(reconcile(pipeline, &context)).await;
            context.metrics.reconciled(start, action.is_ok());
            let action = action?;
            context.calm(pipeline);
            Ok(action)
        }
        Err(invalid) => {
            let name = object.name_any();
            let namespace = object.namespace().unwrap_or_default();
            tracing::error!(namespace, name, error = %invalid.error, "this LogPipeline cannot be read: is its CRD of this release?");
            // What it made goes with it, in no order: only its spec would say more.
            if object.meta().deletion_timestamp.is_some() && shutdown::has_finalizer(&*object) {
                shutdown::remove_finalizer(&*object, &context.client).await?;
                context.forget(&*object);
            }
            Ok(Action::await_change())
        }
    }
}

/// A reconciliation that panics is one that failed: it must not end those of all the others.
async fn contained(
    reconciling: impl Future<Output = Result<Action, Error>>,
) -> Result<Action, Error> {
    // What is shared is behind `lock`, which does not mind.
    let outcome = AssertUnwindSafe(reconciling).catch_unwind().await;
    outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        Err(Error::Panic(text.unwrap_or_default()))
    })
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "the controller hands out values"
)]
fn error_policy(
    object: Arc<DeserializeGuard<LogPipeline>>,
    error: &Error,
    context: Arc<Context>,
) -> Action {
    let failures = context.remember(&*object, |memory| {
        memory.failures += 1;
        memory.failures
    });
    let backoff = Duration::from_secs(1 << (failures - 1).min(9)).min(LONGEST_BACKOFF);
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    tracing::warn!(namespace, name, failures, backoff = ?backoff, error = %chain(error), "reconciling failed, trying again");
    Action::requeue(backoff)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use serde_json::{Value, json};

    use super::*;
    use crate::config::Config;
    use crate::lock;

    fn context(status: impl Fn() -> u16 + Send + Clone + 'static) -> Arc<Context> {
        let server = tower::service_fn(move |_: http::Request<kube::client::Body>| {
            let status = status.clone();
            async move {
                let code = status();
                let status = json!({"kind": "Status", "status": "Failure", "code": code});
                let response = http::Response::builder().status(code);
                response.body(kube::client::Body::from(status.to_string().into_bytes()))
            }
        });
        Arc::new(Context::new(Client::new(server, "data"), Config::any()))
    }

    fn deleted() -> LogPipeline {
        serde_json::from_value(json!({
            "apiVersion": "logpipe.dev/v1alpha1", "kind": "LogPipeline",
            "metadata": {"name": "shop", "namespace": "data", "uid": "1", "deletionTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"source": {"generator": {}}, "sink": {"s3": {"bucket": "logs"}}},
        }))
        .unwrap()
    }

    #[tokio::test]
    async fn a_pipeline_that_is_gone_is_forgotten() {
        let (context, object) = (context(|| 404), deleted());
        context.remember(&object, |memory| memory.failures = 1);
        let object = Arc::new(DeserializeGuard(Ok(object)));
        guarded(object, Arc::clone(&context)).await.unwrap();
        assert_eq!(lock(&context.memory).len(), 0);
    }

    #[tokio::test]
    async fn a_reconciliation_that_panics_does_not_end_the_operator() {
        let context = context(|| panic!("no leap second"));
        let object = Arc::new(DeserializeGuard(Ok(deleted())));
        let error = guarded(object, context).await.unwrap_err().to_string();
        assert!(error.ends_with("no leap second"), "{error}");
    }

    #[tokio::test]
    async fn a_pipeline_that_cannot_be_read_can_be_deleted() {
        let writes = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&writes);
        let server = tower::service_fn(move |request: http::Request<kube::client::Body>| {
            let seen = Arc::clone(&seen);
            async move {
                let body = request.into_body().collect_bytes().await.unwrap();
                let body: Value = serde_json::from_slice(&body).unwrap();
                lock(&seen).push(body["metadata"]["finalizers"].clone());
                let answer = json!({"metadata": {"name": "shop"}, "spec": {"source": "?"}});
                let answer = answer.to_string().into_bytes();
                http::Response::builder().body(kube::client::Body::from(answer))
            }
        });
        let context = Arc::new(Context::new(Client::new(server, "data"), Config::any()));
        let mut object = json!({
            "apiVersion": "logpipe.dev/v1alpha1", "kind": "LogPipeline",
            "metadata": {"name": "shop", "namespace": "data", "uid": "1", "finalizers": ["x", shutdown::FINALIZER]},
            "spec": {"source": "?"},
        });
        for (written, deleted) in [(0, Value::Null), (1, json!("2026-01-01T00:00:00Z"))] {
            object["metadata"]["deletionTimestamp"] = deleted;
            let unreadable = serde_json::from_value(object.clone()).unwrap();
            guarded(Arc::new(unreadable), Arc::clone(&context))
                .await
                .unwrap();
            assert_eq!(*lock(&writes), vec![json!(["x"]); written]);
        }
    }
}
