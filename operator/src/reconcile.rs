//! One reconciliation of one pipeline: what is there, what should be, what was done about it, and what is reported.
//! Touches the client.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::runtime::events::{Event, EventType};
use kube::{Resource, ResourceExt};
use logpipe_api::LogPipeline;
use logpipe_api::pipeline::{LogPipelineStatus, Progress};
use serde_json::json;

use crate::apply::{self, Stage};
use crate::brokers::metadata_version::{self, MetadataVersion};
use crate::brokers::{self, decommission, roll};
use crate::context::Context;
use crate::desired::names::{COMPONENT, Component, Names, OPERATOR};
use crate::error::Error;
use crate::object::Kind;
use crate::observe::{self, Live, facts, is_complete, ready_replicas};
use crate::status::{self, Applied, Invalid, Outcome, Steps};
use crate::validate::{Fault, Pipeline, validate};
use crate::{chain, desired, lock, namespaces, progress, shutdown, volumes};

/// How often a pipeline is reconciled when no watch reports a change: progress, and configuration that somebody
/// edited.
const RESYNC: Duration = Duration::from_secs(30);

/// How often a pipeline is reconciled that waits for the end of an earlier one.
const TERMINATING_POLL: Duration = Duration::from_secs(2);

/// The longest reconciliation: of a thousand objects at a slow API server.
const TIMEOUT: Duration = Duration::from_mins(2);

/// Reconciles one pipeline: list, validate, build, apply, report.
pub async fn reconcile(object: &LogPipeline, context: &Context) -> Result<Action, Error> {
    with_timeout(TIMEOUT, Box::pin(reconcile_once(object, context))).await
}

/// A request has no time limit of its own: on a path that has gone silent it would wait for a quarter of an hour.
async fn with_timeout(
    limit: Duration,
    reconciling: impl Future<Output = Result<Action, Error>>,
) -> Result<Action, Error> {
    let outcome = tokio::time::timeout(limit, reconciling).await;
    outcome.unwrap_or(Err(Error::Timeout(limit)))
}

async fn reconcile_once(object: &LogPipeline, context: &Context) -> Result<Action, Error> {
    let namespace = object.namespace().unwrap_or_default();
    if lock(&context.terminating).contains(&namespace) {
        return Ok(Action::requeue(namespaces::POLL_INTERVAL));
    }
    if object.metadata.deletion_timestamp.is_some() {
        let action = shutdown::step(object, &context.client, &context.config).await?;
        context.forget(object);
        return Ok(action);
    }
    shutdown::add_finalizer(object, &context.client).await?;
    let live = observe::live(&context.client, &namespace, &object.name_any()).await?;
    if let Some(terminating) = live.terminating(object.metadata.uid.as_deref().unwrap_or_default())
    {
        patch_status(object, &Outcome::Terminating(&terminating), context).await?;
        return Ok(Action::requeue(TERMINATING_POLL));
    }
    match check(object, &live, context) {
        Ok(pipeline) => carry_out(object, &pipeline, live, context).await,
        Err(faults) => refuse(object, &faults, &live, context).await,
    }
}

/// What the manifest asks for, or all that is wrong with it.
fn check(object: &LogPipeline, live: &Live, context: &Context) -> Result<Pipeline, Vec<Fault>> {
    let mut faults = context.conflicts(object);
    match validate(object, &context.config, &facts(object, live)) {
        Ok(pipeline) if faults.is_empty() => return Ok(pipeline),
        Ok(_) => {}
        Err(found) => faults.extend(found),
    }
    Err(faults)
}

/// Says what is wrong with the manifest. What runs goes on.
async fn refuse(
    object: &LogPipeline,
    faults: &[Fault],
    live: &Live,
    context: &Context,
) -> Result<Action, Error> {
    let outcome = Outcome::Invalid(Invalid {
        faults,
        live,
        lost: &lost(object, live),
        progress: fresh_progress(object, live, context),
    });
    patch_status(object, &outcome, context).await?;
    // No watch reports when a conflicting pipeline is gone.
    Ok(Action::requeue(RESYNC))
}

/// Does what the manifest asks for, as far as that goes now, and says how far it went.
async fn carry_out(
    object: &LogPipeline,
    pipeline: &Pipeline,
    mut live: Live,
    context: &Context,
) -> Result<Action, Error> {
    let lost = lost(object, &live);
    let steps = take_steps(object, pipeline, &lost, &mut live, context).await;
    let outcome = Outcome::Applied(Applied {
        pipeline,
        live: &live,
        lost: &lost,
        steps: &steps,
        lacking: &context.remember(object, |memory| memory.lacking(&live, Instant::now())),
        progress: fresh_progress(object, &live, context),
        now: Timestamp::now(),
    });
    patch_status(object, &outcome, context).await?;
    // Claims and copies are not watched.
    let again = if steps.go_on() {
        brokers::POLL_INTERVAL
    } else {
        RESYNC
    };
    steps.applied?;
    Ok(Action::requeue(again))
}

/// Each step that can be taken now. `live` becomes what is there afterwards.
async fn take_steps(
    object: &LogPipeline,
    pipeline: &Pipeline,
    lost: &[String],
    live: &mut Live,
    context: &Context,
) -> Steps {
    let (client, namespace) = (&context.client, pipeline.namespace.as_str());
    let mut objects = desired::objects(pipeline);
    // An empty one would say that nothing was written.
    objects.retain(|object| {
        let is_checkpoint = object.label(COMPONENT) == Some(Component::Checkpoint.as_str());
        !is_checkpoint || !lost.iter().any(|lost| lost == object.name())
    });
    let mut forgotten = context.remember(object, |memory| memory.forgotten);
    let leaving = decommission::step(pipeline, &mut objects, live, &mut forgotten).await;
    context.remember(object, |memory| memory.forgotten = forgotten);
    let brokers_leave = leaving.is_some();
    let growing = volumes::step(client, namespace, &mut objects, live, brokers_leave).await;
    let stage = stage(pipeline, live);
    let applied = apply::apply(client, namespace, &objects, stage, live).await;
    let restarts = if applied.is_ok() {
        volumes::settle_owners(client, pipeline, live).await;
        roll::step(client, pipeline, live).await
    } else {
        None
    };
    let metadata_version = if applied.is_ok() && leaving.is_none() && restarts.is_none() {
        let mut found = context.remember(object, |memory| memory.metadata_version.clone());
        let metadata_version = metadata_version::step(pipeline, live, &mut found).await;
        context.remember(object, |memory| memory.metadata_version = found);
        metadata_version
    } else {
        MetadataVersion::default()
    };
    Steps {
        leaving,
        growing,
        applied,
        restarts,
        metadata_version,
    }
}

/// How far the pipeline has come.
fn stage(pipeline: &Pipeline, live: &Live) -> Stage {
    if let Some(kafka) = &pipeline.kafka {
        let brokers: Option<StatefulSet> = live.typed(Kind::StatefulSet, &pipeline.names.kafka());
        if brokers.is_none_or(|set| ready_replicas(&set) < kafka.replicas) {
            return Stage::Kafka;
        }
    }
    let job: Option<Job> = live.typed(Kind::Job, &desired::topic_name(pipeline));
    if job.is_some_and(|job| is_complete(&job)) {
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

/// The progress, unless it was written a moment ago: it changes all the time.
fn fresh_progress(object: &LogPipeline, live: &Live, context: &Context) -> Option<Progress> {
    let progress = progress::of(live)?;
    context.remember(object, |memory| {
        let due = memory.progress.is_none_or(|last| last.elapsed() >= RESYNC);
        due.then(|| {
            memory.progress = Some(Instant::now());
            progress
        })
    })
}

/// Writes the status, if it is not what it was.
async fn patch_status(
    object: &LogPipeline,
    outcome: &Outcome<'_>,
    context: &Context,
) -> Result<(), Error> {
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
    publish_event(object, &old, &new, context).await;
    Ok(())
}

/// An event when `Ready` has another reason. Whether it arrives changes nothing, so that a failure is only logged.
async fn publish_event(
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
    use std::future;

    use super::*;

    #[tokio::test]
    async fn a_server_that_does_not_answer_is_given_up() {
        let error = with_timeout(Duration::from_millis(5), future::pending()).await;
        let text = error.unwrap_err().to_string();
        assert!(
            text.starts_with("not done after 5ms: the API server"),
            "{text}"
        );
    }
}
