//! Makes what is there what it should be: applies in order, then removes what is ours and no longer wanted.
//! Touches the client.
//!
//! An object that is what it should be is left alone: without a change there is no write. Whether it is can be
//! known without memory: it carries the hash of what was applied last, and still holds all of that.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{
    Api, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions, PropagationPolicy,
};
use kube::{Client, ResourceExt};
use logpipe_api::quantity;
use serde_json::Value;

use crate::desired::names::{APPLIED, COMPONENT, Component, MANAGED_BY, OPERATOR, PIPELINE, hash8};
use crate::object::{Kind, Object};
use crate::observe::Live;

/// How far a new pipeline has come. What exists already is always applied; what does not waits for its turn, so
/// that no pod starts only to fail for want of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Kafka may be made.
    Kafka,
    /// And the topic, with the checkpoints of its partitions.
    Topic,
    /// And all the rest.
    Workers,
}

/// What could not be done to an object.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Made or changed.
    #[error("failed to apply {kind} {name}")]
    Apply {
        /// The object's kind.
        kind: String,
        /// Its name.
        name: String,
        /// What the API server said.
        #[source]
        source: kube::Error,
    },
    /// Somebody else's object has the name.
    #[error(
        "{kind} {name} exists and is not ours: choose another name for the pipeline, or remove it if nobody needs it"
    )]
    Taken {
        /// The object's kind.
        kind: String,
        /// Its name.
        name: String,
    },
    /// Removed.
    #[error("failed to remove {kind} {name}")]
    Remove {
        /// The object's kind.
        kind: String,
        /// Its name.
        name: String,
        /// What the API server said.
        #[source]
        source: kube::Error,
    },
}

impl ApplyError {
    /// What the API server said.
    pub fn cause(&self) -> Option<&kube::Error> {
        match self {
            Self::Apply { source, .. } | Self::Remove { source, .. } => Some(source),
            Self::Taken { .. } => None,
        }
    }
}

/// Applies and prunes. `live` becomes what is there afterwards.
pub async fn apply(
    client: &Client,
    namespace: &str,
    desired: &[Object],
    stage: Stage,
    live: &mut Live,
) -> Result<(), ApplyError> {
    for object in desired {
        let current = live.find(object.kind, object.name());
        if current.is_none() && stage_of(object) > stage {
            continue;
        }
        let stamped = stamped(object);
        if current.is_some_and(|current| is_applied(&stamped, current)) {
            continue;
        }
        if current.is_none() {
            is_free(client, namespace, object).await?;
            remove_other_jobs(client, namespace, object, live).await?;
        }
        let value = write(client, namespace, &stamped).await?;
        live.put(Object {
            kind: object.kind,
            value,
        });
    }
    for object in surplus(desired, live) {
        if object.kind == Kind::ServiceAccount && is_used(object.name(), desired) {
            disown(client, namespace, &object).await?;
        } else {
            remove(client, namespace, &object).await?;
        }
        live.objects.retain(|old| old != &object);
    }
    Ok(())
}

/// One that did its work stands for the topic as it is. It must not stand there any more when another one has changed
/// that, or nothing would change it back.
async fn remove_other_jobs(
    client: &Client,
    namespace: &str,
    job: &Object,
    live: &mut Live,
) -> Result<(), ApplyError> {
    if job.kind != Kind::Job {
        return Ok(());
    }
    let is_other =
        |old: &Object| old.kind == Kind::Job && old.label(COMPONENT) == job.label(COMPONENT);
    while let Some(place) = live.objects.iter().position(is_other) {
        remove(client, namespace, &live.objects[place]).await?;
        live.objects.remove(place);
    }
    Ok(())
}

fn stage_of(object: &Object) -> Stage {
    let component = object.label(COMPONENT);
    let is = |one: Component| component == Some(one.as_str());
    if is(Component::Kafka) {
        Stage::Kafka
    } else if is(Component::Checkpoint) || is(Component::Topic) {
        Stage::Topic
    } else {
        Stage::Workers
    }
}

/// With the hash of itself.
fn stamped(object: &Object) -> Object {
    let text = serde_json::to_vec(&object.value).expect("an object is JSON");
    let mut stamped = object.clone();
    let annotations = stamped.value.metadata.annotations.get_or_insert_default();
    annotations.insert(APPLIED.to_owned(), hash8(&text));
    stamped
}

fn is_applied(stamped: &Object, current: &Object) -> bool {
    let as_json = |object: &Object| serde_json::to_value(&object.value).expect("an object is JSON");
    holds(&as_json(current), &as_json(stamped))
}

/// The fields that are amounts.
const AMOUNTS: [&str; 5] = ["cpu", "ephemeral-storage", "memory", "sizeLimit", "storage"];

/// Whether `whole` has everything that `part` has. The API server adds defaults, and writes amounts in its own way:
/// `1000m` as `1`.
fn holds(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => part.iter().all(|(key, part)| {
            let whole = whole.get(key);
            let is_amount = AMOUNTS.contains(&key.as_str());
            whole.is_some_and(|whole| holds(whole, part) || (is_amount && is_as_much(whole, part)))
        }),
        (Value::Array(whole), Value::Array(part)) => {
            whole.len() == part.len()
                && whole
                    .iter()
                    .zip(part)
                    .all(|(whole, part)| holds(whole, part))
        }
        _ => whole == part,
    }
}

fn is_as_much(one: &Value, other: &Value) -> bool {
    let amount = |value: &Value| value.as_str().and_then(quantity::nanos);
    amount(one).is_some_and(|one| amount(other) == Some(one))
}

/// Whether nobody else has made an object of this name. What carries our labels, or our pipeline's UID where these were
/// taken off, is ours.
async fn is_free(client: &Client, namespace: &str, object: &Object) -> Result<(), ApplyError> {
    let kind = object.kind.resource();
    let name = object.name();
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &kind);
    let found = api.get_metadata_opt(name).await;
    let found = found.map_err(|source| ApplyError::Apply {
        kind: kind.kind.clone(),
        name: name.to_owned(),
        source,
    })?;
    let Some(found) = found else { return Ok(()) };
    let has = |label: &str| found.labels().get(label).map(String::as_str) == object.label(label);
    let owners = object.value.owner_references();
    let mut theirs = found.owner_references().iter();
    if (has(MANAGED_BY) && has(PIPELINE)) || theirs.any(|owner| owners.contains(owner)) {
        return Ok(());
    }
    Err(ApplyError::Taken {
        kind: kind.kind,
        name: name.to_owned(),
    })
}

async fn write(
    client: &Client,
    namespace: &str,
    object: &Object,
) -> Result<DynamicObject, ApplyError> {
    let resource = object.kind.resource();
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    // Forced: these objects are ours, and whoever changed a field of ours is overruled.
    let params = PatchParams::apply(OPERATOR).force();
    let outcome = api
        .patch(object.name(), &params, &Patch::Apply(&object.value))
        .await;
    tracing::info!(kind = %resource.kind, namespace, name = object.name(), ok = outcome.is_ok(), "applied");
    outcome.map_err(|source| ApplyError::Apply {
        kind: resource.kind,
        name: object.name().to_owned(),
        source,
    })
}

/// What is ours and no longer wanted. A checkpoint always stays: it says what was written, and only a person
/// can know that nobody will ask again.
fn surplus(desired: &[Object], live: &Live) -> Vec<Object> {
    let wanted = |object: &Object| {
        desired
            .iter()
            .any(|wanted| wanted.kind == object.kind && wanted.name() == object.name())
    };
    let is_checkpoint = |object: &Object| {
        object.kind == Kind::ConfigMap
            && object.label(COMPONENT) == Some(Component::Checkpoint.as_str())
    };
    let surplus = live
        .objects
        .iter()
        .filter(|object| !wanted(object) && !is_checkpoint(object) && !is_mounted(object, live));
    surplus.cloned().collect()
}

/// Whether a pod has it among its files, and would not start again without it; or such a pod may be made still, because
/// the StatefulSet's controller has not seen the set as it is now.
fn is_mounted(object: &Object, live: &Live) -> bool {
    if object.kind != Kind::ConfigMap {
        return false;
    }
    let mounts = |pod: &Pod| {
        let volumes = pod
            .spec
            .iter()
            .flat_map(|spec| spec.volumes.iter().flatten());
        let sources = volumes.filter_map(|volume| volume.projected.as_ref()?.sources.as_ref());
        let mut maps = sources
            .flatten()
            .filter_map(|source| source.config_map.as_ref());
        maps.any(|map| map.name == object.name())
    };
    let part = object.label(COMPONENT);
    let mut sets = live
        .objects
        .iter()
        .filter(|set| set.kind == Kind::StatefulSet);
    let set = sets.find(|set| set.label(COMPONENT) == part);
    let is_unseen = |set: &Object| {
        let seen = set.value.data.pointer("/status/observedGeneration");
        seen.and_then(Value::as_i64) < set.value.metadata.generation
    };
    live.pods.iter().any(mounts) || set.is_some_and(is_unseen)
}

/// Whether pods run as this account.
fn is_used(account: &str, desired: &[Object]) -> bool {
    desired.iter().any(|object| {
        let used = object
            .value
            .data
            .pointer("/spec/template/spec/serviceAccountName");
        used.is_some_and(|used| used == account)
    })
}

/// Makes an object that was ours the user's, who names it in the manifest: what we wrote is taken out of it.
async fn disown(client: &Client, namespace: &str, object: &Object) -> Result<(), ApplyError> {
    let mut bare = object.clone();
    bare.value.data = Value::Null;
    bare.value.metadata = ObjectMeta {
        name: object.value.metadata.name.clone(),
        // What has the name meanwhile may be another object.
        uid: object.value.metadata.uid.clone(),
        ..ObjectMeta::default()
    };
    write(client, namespace, &bare).await.map(drop)
}

async fn remove(client: &Client, namespace: &str, object: &Object) -> Result<(), ApplyError> {
    let resource = object.kind.resource();
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let params = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Background),
        // What has the name meanwhile may be another object.
        preconditions: Some(Preconditions {
            uid: object.value.metadata.uid.clone(),
            ..Preconditions::default()
        }),
        ..DeleteParams::default()
    };
    match api.delete(object.name(), &params).await {
        Ok(_) => {
            tracing::info!(kind = %resource.kind, namespace, name = object.name(), "removed");
            Ok(())
        }
        Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => Ok(()),
        Err(source) => Err(ApplyError::Remove {
            kind: resource.kind,
            name: object.name().to_owned(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn defaults_of_the_server_are_no_difference() {
        let part = json!({"spec": {"ports": [{"port": 1}]}});
        let whole = json!({"spec": {"ports": [{"port": 1, "protocol": "TCP"}], "type": "ClusterIP"}, "status": {}});
        assert!(holds(&whole, &part));
    }

    #[test]
    fn an_amount_that_the_server_writes_in_its_own_way_is_no_difference() {
        let of = |cpu: &str, memory: &str| json!({"limits": {"cpu": cpu, "memory": memory}, "env": [{"value": memory}]});
        let same = |one: &str, other: &str| {
            holds(
                &json!({"limits": {"memory": one}}),
                &json!({"limits": {"memory": other}}),
            )
        };
        assert!(same("1Gi", "1024Mi") && same("2", "2000m") && same("1536Mi", "1.5Gi"));
        assert!(same("107374182400m", "0.1Gi") && same("8589934592", "8Gi"));
        assert!(!same("1G", "1Gi") && !same("1Gi", "1025Mi") && !same("x", "y") && same("x", "x"));
        assert!(
            !holds(&of("1", "1Gi"), &of("1000m", "1024Mi")),
            "a variable is to the letter"
        );
    }

    #[test]
    fn what_was_changed_or_taken_away_is() {
        let part = json!({"data": {"a": "1"}, "list": [1, 2]});
        for whole in [
            json!({"data": {"a": "2"}, "list": [1, 2]}),
            json!({"data": {}, "list": [1, 2]}),
            json!({"data": {"a": "1"}, "list": [1]}),
            json!({"data": {"a": "1"}, "list": [1, 2, 3]}),
        ] {
            assert!(!holds(&whole, &part), "{whole}");
        }
    }
}
