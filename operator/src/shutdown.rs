//! The end of a pipeline, in order: the source, then the ETL workers, then the brokers, then all the rest. Touches the
//! client.
//!
//! The finalizer only buys that order. It never blocks for ever, and nothing depends on it: what is gone before
//! its turn is what a crash would have taken, and every part survives crashes.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::{Client, Resource, ResourceExt};
use logpipe_api::LogPipeline;
use logpipe_api::pipeline::Suspend;
use serde_json::json;

use crate::apply::{self, Stage};
use crate::brokers::{decommission, end};
use crate::chain;
use crate::config::Config;
use crate::desired;
use crate::desired::names::{COMPONENT, Component};
use crate::error::Error;
use crate::object::{Kind, Object};
use crate::observe::{self, Live, facts};
use crate::validate::validate;
use crate::volumes;

/// Holds the resource until its parts have ended.
pub const FINALIZER: &str = "logpipe.dev/cleanup";

/// All of it: the grace periods of source and ETL, and some.
const DEADLINE: Duration = Duration::from_mins(5);

/// How often the pods are listed again, where no watch reports a change.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

/// Sets the finalizer, once.
pub(crate) async fn add_finalizer(object: &LogPipeline, client: &Client) -> Result<(), Error> {
    if has_finalizer(object) {
        return Ok(());
    }
    let mut finalizers = object.finalizers().to_vec();
    finalizers.push(FINALIZER.to_owned());
    set_finalizers(object, client, &finalizers).await
}

/// Whether the finalizer is set.
pub(crate) fn has_finalizer(object: &impl Resource) -> bool {
    let mut finalizers = object.finalizers().iter();
    finalizers.any(|finalizer| finalizer == FINALIZER)
}

/// Ends what runs, and lets the resource go when nothing does.
pub(crate) async fn step(
    object: &LogPipeline,
    client: &Client,
    config: &Config,
) -> Result<Action, Error> {
    let since = object
        .metadata
        .deletion_timestamp
        .as_ref()
        .map(|time| time.0);
    let late =
        since.is_none_or(|since| Timestamp::now().duration_since(since).unsigned_abs() > DEADLINE);
    if late || !stop_next(object, client, config).await? {
        remove_finalizer(object, client).await?;
        return Ok(Action::await_change());
    }
    Ok(Action::requeue(POLL_INTERVAL))
}

/// Stops the first part that has pods; whether there was one.
async fn stop_next(object: &LogPipeline, client: &Client, config: &Config) -> Result<bool, Error> {
    let namespace = object.namespace().unwrap_or_default();
    let mut live = observe::live(client, &namespace, &object.name_any()).await?;
    let has = |component| live.pods(component).next().is_some();
    let (suspend, end_brokers) = if has(Component::Source) {
        (Suspend::Sources, false)
    } else if has(Component::Etl) {
        (Suspend::All, false)
    } else if has(Component::Kafka) {
        (Suspend::All, true)
    } else {
        return Ok(false);
    };
    let mut stopping = object.clone();
    stopping.spec.suspend = suspend;
    let facts = facts(object, &live);
    let Ok(pipeline) = validate(&stopping, config, &facts) else {
        // What runs was made by another spec; it goes with its owner.
        return Ok(false);
    };
    let mut objects = desired::objects(&pipeline);
    objects.retain(|object| object.kind == Kind::StatefulSet && runs(object, &live));
    if end_brokers {
        end::scale_to_zero(&pipeline, &mut objects);
        end::shorten_grace(client, &namespace, &live).await;
    } else {
        decommission::keep_replicas(&pipeline, &mut objects, &live);
    }
    volumes::keep_claims(&mut objects, &live);
    volumes::skip_terminating(&mut objects, &mut live);
    let mut sets = Live {
        objects: live
            .objects
            .extract_if(.., |object| object.kind == Kind::StatefulSet)
            .collect(),
        ..Live::default()
    };
    if let Err(error) = apply::apply(client, &namespace, &objects, Stage::Workers, &mut sets).await
    {
        tracing::warn!(namespace, name = object.name_any(), error = %chain(&error), "a part could not be stopped in its turn");
    }
    Ok(true)
}

/// Whether a StatefulSet is there, or pods of it that belong to nobody. Where the collector has removed it, it has seen
/// to the pods, too, and would only remove it again.
fn runs(set: &Object, live: &Live) -> bool {
    let is_of = |pod: &Pod| pod.labels().get(COMPONENT).map(String::as_str) == set.label(COMPONENT);
    let is_left = |pod: &Pod| is_of(pod) && pod.owner_references().is_empty();
    live.find(set.kind, set.name()).is_some() || live.pods.iter().any(is_left)
}

/// Removes the finalizer.
pub(crate) async fn remove_finalizer(object: &impl Resource, client: &Client) -> Result<(), Error> {
    let mut finalizers = object.finalizers().to_vec();
    finalizers.retain(|finalizer| finalizer != FINALIZER);
    match set_finalizers(object, client, &finalizers).await {
        Err(Error::Finalizer(kube::Error::Api(status))) if status.code == 404 => Ok(()),
        outcome => outcome,
    }
}

async fn set_finalizers(
    object: &impl Resource,
    client: &Client,
    finalizers: &[String],
) -> Result<(), Error> {
    let namespace = object.namespace().unwrap_or_default();
    let api: Api<LogPipeline> = Api::namespaced(client.clone(), &namespace);
    // With the version: finalizers are of others, too, and a list is written whole.
    let patch = json!({
        "apiVersion": LogPipeline::api_version(&()),
        "kind": LogPipeline::kind(&()),
        "metadata": {"resourceVersion": object.resource_version(), "finalizers": finalizers},
    });
    // Of one that cannot be read the answer could not be either.
    let patched = api
        .patch_metadata(
            &object.name_any(),
            &PatchParams::default(),
            &Patch::Merge(&patch),
        )
        .await;
    patched.map(drop).map_err(Error::Finalizer)
}
