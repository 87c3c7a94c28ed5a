//! One look at one pipeline: what is there, what should be, what was done about it, and what is told. Touches the client.

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
use crate::brokers::level::{self, Level};
use crate::brokers::{self, decommission, roll};
use crate::context::Context;
use crate::desired::names::{COMPONENT, Component, Names, OPERATOR};
use crate::error::Error;
use crate::object::Kind;
use crate::observe::{self, Live, facts, is_complete, ready_replicas};
use crate::status::{self, Applied, Invalid, Outcome};
use crate::validate::{Pipeline, validate};
use crate::{chain, desired, lock, namespaces, progress, shutdown, volumes};

/// How often a pipeline is looked at when nothing tells of a change: progress, and configuration that somebody
/// edited.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// How often a pipeline is looked at that waits for the end of an earlier one.
const ENDING: Duration = Duration::from_secs(2);

/// The longest look: of a thousand objects at a slow API server.
const LONGEST_LOOK: Duration = Duration::from_mins(2);

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
    if lock(&context.ending).contains(&namespace) {
        return Ok(Action::requeue(namespaces::LOOK_AGAIN));
    }
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
        _ => Level::default(),
    };
    let outcome = Outcome::Applied(Applied {
        pipeline: &pipeline,
        live: &live,
        lost: &lost,
        error: applied.as_ref().err(),
        leaving: leaving.as_ref(),
        restarts: restarts.as_ref(),
        level: &level,
        growing: &growing,
        lacking: &lacking,
        progress: fresh_progress(object, &live, context),
        now: Timestamp::now(),
    });
    tell(object, &outcome, context).await?;
    applied?;
    // Claims and copies are not watched.
    let mut pending = leaving.iter().chain(&restarts).chain(growing.values());
    let soon = pending.any(|pending| !pending.stalled);
    let again = if soon {
        brokers::LOOK_AGAIN
    } else {
        LOOK_AGAIN
    };
    Ok(Action::requeue(again))
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

/// Kafka's `metadata.version`, raised where it may be. What was found is remembered by this process alone: Kafka knows it
/// best, and each start of the operator asks once.
async fn level_of(
    object: &LogPipeline,
    pipeline: &Pipeline,
    live: &Live,
    context: &Context,
) -> Level {
    let mut found = context.remember(object, |memory| memory.level.clone());
    let level = level::step(pipeline, live, &mut found).await;
    context.remember(object, |memory| memory.level = found);
    level
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
    use std::future;

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
}
