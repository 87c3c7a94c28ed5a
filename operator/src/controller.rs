//! Watches pipelines and what they made, and reconciles each when something changed. Touches the client.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::{FutureExt, StreamExt, future, stream};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api, Patch, PatchParams};
use kube::core::DeserializeGuard;
use kube::runtime::controller::{self, Action, Controller};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Client, Resource, ResourceExt};
use logpipe_api::LogPipeline;
use logpipe_api::pipeline::{LogPipelineStatus, Progress};
use serde_json::json;
use tokio::sync::OnceCell;

use crate::apply::{self, Stage};
use crate::brokers::level::{self, Level};
use crate::brokers::{self, decommission, roll};
use crate::config::Config;
use crate::desired::names::{COMPONENT, Component, MANAGED_BY, Names, OPERATOR, PIPELINE};
use crate::memory::Memory;
use crate::metrics::Metrics;
use crate::object::Kind;
use crate::observe::{self, Live, ObserveError};
use crate::rivals;
use crate::shutdown;
use crate::status::{self, Applied, Invalid, Outcome};
use crate::validate::{Facts, Fault, Pipeline, validate};
use crate::{desired, identity, lock, progress, volumes};

/// How often a pipeline is looked at when nothing tells of a change: progress, and configuration that somebody
/// edited.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// How often a pipeline is looked at that waits for the end of an earlier one.
const ENDING: Duration = Duration::from_secs(2);

/// Several changes within this time are one.
const DEBOUNCE: Duration = Duration::from_millis(300);

/// The longest look: of a thousand objects at a slow API server.
const LONGEST_LOOK: Duration = Duration::from_mins(2);

/// How long the first lists of all namespaces may take.
const LISTS_TAKE: Duration = Duration::from_secs(30);

const LONGEST_BACKOFF: Duration = Duration::from_mins(5);

/// What every reconciliation needs.
pub struct Context {
    client: Client,
    config: Config,
    recorder: Recorder,
    metrics: Arc<Metrics>,
    /// Every namespace was listed once.
    listed: OnceCell<()>,
    /// By UID, for what must not happen too often.
    memory: Mutex<HashMap<String, Memory>>,
}

/// Why a reconciliation did not come to its end. All of it is tried again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The pipeline's objects could not be listed.
    #[error(transparent)]
    Observe(#[from] ObserveError),
    /// An object could not be made, changed or removed.
    #[error(transparent)]
    Apply(#[from] apply::ApplyError),
    /// The status could not be written.
    #[error("failed to write the status")]
    Status(#[source] kube::Error),
    /// The finalizer could not be set or removed.
    #[error("failed to change the finalizer")]
    Finalizer(#[source] kube::Error),
    /// A look took too long.
    #[error(
        "not done after {0:?}: the API server does not answer, or slowly; what was done stays, and the rest is tried again"
    )]
    Late(Duration),
}

impl Context {
    /// A context that reports as the operator's own pod.
    pub fn new(client: Client, config: Config) -> Self {
        let reporter = Reporter {
            controller: OPERATOR.to_owned(),
            instance: Some(config.own_name.clone()),
        };
        Self {
            recorder: Recorder::new(client.clone(), reporter),
            client,
            config,
            metrics: Arc::default(),
            listed: OnceCell::new(),
            memory: Mutex::default(),
        }
    }

    /// Counts there, and lets it see the pipelines.
    #[must_use]
    pub fn observed_by(mut self, metrics: Arc<Metrics>) -> Self {
        self.metrics = metrics;
        self
    }

    /// What the pipelines that were there before do not leave to this one.
    fn rivalry(&self, object: &LogPipeline) -> Vec<Fault> {
        let all = self.metrics.pipelines();
        rivals::faults(object, all.iter().filter_map(|guard| guard.0.as_ref().ok()))
    }

    fn remember<T>(&self, object: &impl Resource, change: impl FnOnce(&mut Memory) -> T) -> T {
        let uid = object.meta().uid.clone().unwrap_or_default();
        change(lock(&self.memory).entry(uid).or_default())
    }

    fn forget(&self, object: &impl Resource) {
        let uid = object.meta().uid.clone().unwrap_or_default();
        lock(&self.memory).remove(&uid);
    }
}

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
    stream::select_all(runs)
        .for_each(|outcome| {
            if let Err(error) = outcome {
                report(&error);
            }
            future::ready(())
        })
        .await;
}

fn report(error: &controller::Error<Error, watcher::Error>) {
    match error {
        // `error_policy` has told it, or it is the trace of an object that was just removed.
        controller::Error::ReconcilerFailed(..) | controller::Error::ObjectNotFound(_) => {}
        other => tracing::warn!(error = %chain(other), "watching failed, trying again"),
    }
}

/// An error with its causes.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
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

/// A rival may be in a namespace that is not listed yet. One that cannot be listed must not hold up all the others.
async fn all_listed(context: &Context) {
    let told = tokio::time::timeout(LISTS_TAKE, context.metrics.all_told()).await;
    if told.is_err() {
        tracing::warn!(
            "not every namespace could be listed: a pipeline there that shares a place with another is not seen"
        );
    }
}

/// One object that cannot be read must not stop the others: it is told, and left alone until it changes.
async fn guarded(
    object: Arc<DeserializeGuard<LogPipeline>>,
    context: Arc<Context>,
) -> Result<Action, Error> {
    match &object.0 {
        Ok(pipeline) => {
            context.listed.get_or_init(|| all_listed(&context)).await;
            let start = Instant::now();
            let action = reconcile(pipeline, &context).await;
            context.metrics.reconciled(start, action.is_ok());
            let action = action?;
            if pipeline.metadata.deletion_timestamp.is_none() {
                context.remember(pipeline, |memory| memory.failures = 0);
            }
            Ok(action)
        }
        Err(invalid) => {
            let name = object.name_any();
            let namespace = object.namespace().unwrap_or_default();
            tracing::error!(namespace, name, error = %invalid.error, "this LogPipeline cannot be read: is its CRD of this release?");
            Ok(Action::await_change())
        }
    }
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

/// One look at one pipeline: list, validate, build, apply, tell.
pub async fn reconcile(object: &LogPipeline, context: &Context) -> Result<Action, Error> {
    within(LONGEST_LOOK, Box::pin(look(object, context))).await
}

/// A request has no time limit of its own: on a path that has gone silent it would wait for a quarter of an hour.
async fn within(
    limit: Duration,
    look: impl Future<Output = Result<Action, Error>>,
) -> Result<Action, Error> {
    let outcome = tokio::time::timeout(limit, look).await;
    outcome.unwrap_or(Err(Error::Late(limit)))
}

async fn look(object: &LogPipeline, context: &Context) -> Result<Action, Error> {
    let namespace = object.namespace().unwrap_or_default();
    let name = object.name_any();
    if object.metadata.deletion_timestamp.is_some() {
        let action = shutdown::step(object, &context.client, &context.config).await?;
        context.forget(object);
        return Ok(action);
    }
    shutdown::hold(object, &context.client).await?;
    let mut live = observe::live(&context.client, &namespace, &name).await?;
    if let Some(ending) = live.ending(object.metadata.uid.as_deref().unwrap_or_default()) {
        tell(object, &Outcome::Ending(&ending), context).await?;
        return Ok(Action::requeue(ENDING));
    }
    let facts = facts(object, &live);
    let lost = lost(object, &live);
    let mut faults = context.rivalry(object);
    let valid = validate(object, &context.config, &facts).map_err(|found| faults.extend(found));
    let Some(pipeline) = valid.ok().filter(|_| faults.is_empty()) else {
        let outcome = Outcome::Invalid(Invalid {
            faults: &faults,
            live: &live,
            lost: &lost,
            progress: fresh_progress(object, &live, context),
        });
        tell(object, &outcome, context).await?;
        // What runs goes on, and nothing tells when a rival is gone.
        return Ok(Action::requeue(LOOK_AGAIN));
    };
    let mut objects = desired::objects(&pipeline);
    // An empty one would say that nothing was written.
    objects.retain(|object| {
        let is_checkpoint = object.label(COMPONENT) == Some(Component::Checkpoint.as_str());
        !is_checkpoint || !lost.iter().any(|lost| lost == object.name())
    });
    let mut forgotten = context.remember(object, |memory| memory.forgotten);
    let leaving = decommission::step(&pipeline, &mut objects, &live, &mut forgotten).await;
    context.remember(object, |memory| memory.forgotten = forgotten);
    let growing = volumes::step(
        &context.client,
        &namespace,
        &mut objects,
        &mut live,
        leaving.is_some(),
    )
    .await;
    let applied = apply::apply(
        &context.client,
        &namespace,
        &objects,
        stage(&pipeline, &live),
        &mut live,
    )
    .await;
    let restarts = if applied.is_ok() {
        roll::step(&context.client, &pipeline, &live).await
    } else {
        None
    };
    let lacking = context.remember(object, |memory| memory.lacking(&live, Instant::now()));
    let level = match (&applied, &leaving, &restarts) {
        (Ok(()), None, None) => level_of(object, &pipeline, &live, context).await,
        _ => None,
    };
    let outcome = Outcome::Applied(Applied {
        pipeline: &pipeline,
        live: &live,
        lost: &lost,
        error: applied.as_ref().err(),
        leaving: leaving.as_ref(),
        restarts: restarts.as_deref(),
        level: level.as_ref(),
        growing: &growing,
        lacking: &lacking,
        progress: fresh_progress(object, &live, context),
        now: Timestamp::now(),
    });
    tell(object, &outcome, context).await?;
    applied?;
    // Claims and copies are not watched.
    let soon = restarts.is_some()
        || leaving.is_some_and(|leaving| !leaving.stalled)
        || growing.iter().any(|growth| !growth.stalled);
    let again = if soon {
        brokers::LOOK_AGAIN
    } else {
        LOOK_AGAIN
    };
    Ok(Action::requeue(again))
}

/// What the spec cannot say.
pub(crate) fn facts(object: &LogPipeline, live: &Live) -> Facts {
    let names = Names::new(object.metadata.name.as_deref().unwrap_or_default());
    let map: Option<ConfigMap> = live.typed(Kind::ConfigMap, &names.kafka_identity());
    let stored = map.and_then(|map| map.data?.get("clusterId").cloned());
    let told = object
        .status
        .as_ref()
        .and_then(|status| status.kafka.as_ref()?.cluster_id.clone());
    let brokers: Option<StatefulSet> = live.typed(Kind::StatefulSet, &names.kafka());
    let quorum = brokers.is_some_and(|set| status::ready_replicas(&set) > 0);
    Facts {
        // One that was lost is taken from the status: another would be refused by every disk.
        cluster_id: stored.or(told).unwrap_or_else(identity::draw),
        bootstrapped: quorum
            || live
                .find(Kind::ConfigMap, &names.kafka_bootstrapped())
                .is_some(),
    }
}

/// How far the pipeline has come.
fn stage(pipeline: &Pipeline, live: &Live) -> Stage {
    if let Some(kafka) = &pipeline.kafka {
        let brokers: Option<StatefulSet> = live.typed(Kind::StatefulSet, &pipeline.names.kafka());
        if brokers.is_none_or(|set| status::ready_replicas(&set) < kafka.replicas) {
            return Stage::Kafka;
        }
    }
    let job: Option<Job> = live.typed(Kind::Job, &desired::topic_name(pipeline));
    if job.is_some_and(|job| status::is_complete(&job)) {
        Stage::Workers
    } else {
        Stage::Topic
    }
}

/// The checkpoints that were made once and are gone.
fn lost(object: &LogPipeline, live: &Live) -> Vec<String> {
    let made = object
        .status
        .as_ref()
        .and_then(|status| status.checkpoints.as_ref());
    let made = made.map_or(0, |checkpoints| checkpoints.partitions.max(0) as u32);
    if made == 0 {
        return Vec::new();
    }
    let prefix = Names::new(object.metadata.name.as_deref().unwrap_or_default()).checkpoint();
    let names = desired::checkpoint_names(&prefix, made);
    let gone = |name: &String| live.find(Kind::ConfigMap, name).is_none();
    names.into_iter().filter(gone).collect()
}

/// Kafka's `metadata.version`, raised where it may be. What was found is remembered by this process alone: Kafka knows it
/// best, and each start of the operator asks once.
async fn level_of(
    object: &LogPipeline,
    pipeline: &Pipeline,
    live: &Live,
    context: &Context,
) -> Option<Result<Level, String>> {
    let known = context.remember(object, |memory| memory.level.clone());
    let found = level::step(pipeline, live, known.as_ref()).await?;
    if let Ok(found) = &found {
        context.remember(object, |memory| memory.level = Some(found.clone()));
    }
    Some(found.map(|found| found.level))
}

/// The progress, unless it was told a moment ago: it changes all the time.
fn fresh_progress(object: &LogPipeline, live: &Live, context: &Context) -> Option<Progress> {
    let progress = progress::of(live)?;
    context.remember(object, |memory| {
        let due = memory
            .progress
            .is_none_or(|told| told.elapsed() >= LOOK_AGAIN);
        due.then(|| {
            memory.progress = Some(Instant::now());
            progress
        })
    })
}

/// Writes the status, if it is not what it was.
async fn tell(object: &LogPipeline, outcome: &Outcome<'_>, context: &Context) -> Result<(), Error> {
    let new = status::of(object, outcome, Timestamp::now());
    let old = object.status.clone().unwrap_or_default();
    if new == old {
        return Ok(());
    }
    let namespace = object.namespace().unwrap_or_default();
    let api: Api<LogPipeline> = Api::namespaced(context.client.clone(), &namespace);
    let patch = json!({
        "apiVersion": LogPipeline::api_version(&()),
        "kind": LogPipeline::kind(&()),
        "status": new,
    });
    let params = PatchParams::apply(OPERATOR).force();
    let patched = api
        .patch_status(&object.name_any(), &params, &Patch::Apply(&patch))
        .await;
    patched.map_err(Error::Status)?;
    announce(object, &old, &new, context).await;
    Ok(())
}

/// An event when `Ready` has another reason. Whether it arrives changes nothing, so that a failure is only told.
async fn announce(
    object: &LogPipeline,
    old: &LogPipelineStatus,
    new: &LogPipelineStatus,
    context: &Context,
) {
    let ready = |status: &LogPipelineStatus| {
        status
            .conditions
            .iter()
            .find(|condition| condition.kind == "Ready")
            .cloned()
    };
    let (Some(now), before) = (ready(new), ready(old)) else {
        return;
    };
    if before.is_some_and(|before| before.reason == now.reason && before.status == now.status) {
        return;
    }
    let stalled = new
        .conditions
        .iter()
        .any(|condition| condition.kind == "Stalled" && condition.status == "True");
    let mut note = now.message;
    note.truncate(note.floor_char_boundary(1000));
    let event = Event {
        type_: if stalled {
            EventType::Warning
        } else {
            EventType::Normal
        },
        reason: now.reason,
        note: Some(note),
        action: "Reconcile".to_owned(),
        secondary: None,
    };
    if let Err(error) = context
        .recorder
        .publish(&event, &object.object_ref(&()))
        .await
    {
        tracing::warn!(error = %chain(&error), "an event was not taken");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_that_does_not_answer_is_given_up() {
        let error = within(Duration::from_millis(5), future::pending()).await;
        let text = error.unwrap_err().to_string();
        assert!(
            text.starts_with("not done after 5ms: the API server"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn a_pipeline_that_is_gone_is_forgotten() {
        let gone = tower::service_fn(async |_: http::Request<kube::client::Body>| {
            let status = json!({"kind": "Status", "status": "Failure", "code": 404}).to_string();
            let response = http::Response::builder().status(404);
            response.body(kube::client::Body::from(status.into_bytes()))
        });
        let variables = ["WORKER_IMAGE", "KAFKA_IMAGE", "POD_NAMESPACE", "POD_NAME"];
        let variables = variables.map(|name| (format!("LOGPIPE_{name}"), "x".to_owned()));
        let config = Config::from_env(variables).unwrap();
        let context = Arc::new(Context::new(Client::new(gone, "data"), config));
        let object: LogPipeline = serde_json::from_value(json!({
            "apiVersion": "logpipe.dev/v1alpha1", "kind": "LogPipeline",
            "metadata": {"name": "shop", "namespace": "data", "uid": "1", "deletionTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"source": {"generator": {}}, "sink": {"s3": {"bucket": "logs"}}},
        }))
        .unwrap();
        context.remember(&object, |memory| memory.failures = 1);
        let object = Arc::new(DeserializeGuard(Ok(object)));
        guarded(object, Arc::clone(&context)).await.unwrap();
        assert_eq!(lock(&context.memory).len(), 0);
    }
}
