//! Makes volumes grow. Touches the client.
//!
//! The claims in a StatefulSet's template can never be changed. So the claims themselves are changed first; when all of
//! them have grown, the StatefulSet is deleted without its pods, and made again with the new template. It takes the
//! pods back as they are: nothing is restarted. Each step is drawn from what is there, so that an operator that
//! was stopped in between goes on.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions, PropagationPolicy};
use kube::{Client, ResourceExt};
use logpipe_api::pipeline::Keep;
use logpipe_api::quantity;
use serde_json::{Value, json};

use crate::desired::names::{COMPONENT, Component};
use crate::error::{is_permanent, server_message};
use crate::object::{Kind, Object};
use crate::observe::{Live, claim_ordinal};
use crate::pending::Pending;
use crate::validate::Pipeline;

const SIZE: &str = "/spec/volumeClaimTemplates/0/spec/resources/requests/storage";

/// Takes the next step of each StatefulSet whose volumes are smaller than they should be; what is still to come, by part.
/// What cannot be applied yet is taken out of `desired`, and what is on its way out is taken out of `live`. While brokers
/// leave, theirs wait: only the StatefulSet knows how many there are.
pub(crate) async fn step(
    client: &Client,
    namespace: &str,
    desired: &mut Vec<Object>,
    live: &mut Live,
    brokers_leave: bool,
) -> BTreeMap<Component, Pending> {
    let wanted: Vec<Volumes> = desired.iter().filter_map(volumes_of).collect();
    let mut growing = BTreeMap::new();
    for volumes in wanted {
        if volumes.component == Component::Kafka && brokers_leave {
            continue;
        }
        let pending = match grow(client, namespace, &volumes, live).await {
            None => replace(client, namespace, &volumes, live).await,
            pending => pending,
        };
        if let Some(pending) = pending {
            growing.insert(volumes.component, pending);
        }
    }
    keep_claims(desired, live);
    skip_terminating(desired, live);
    growing
}

/// Kubernetes has a claim go with its StatefulSet or stay, as the set says, but only when it looks at the claim's pod. What
/// has none, because it is held back or was taken away, is seen to here. What fails is tried again at the next reconciliation.
pub(crate) async fn settle_owners(client: &Client, pipeline: &Pipeline, live: &Live) {
    let api: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &pipeline.namespace);
    for (claim, owners) in with_other_owners(pipeline, live) {
        let name = claim.name_any();
        // With the version: a list is written whole.
        let patch = json!({"metadata": {
            "resourceVersion": claim.resource_version(), "ownerReferences": owners,
        }});
        let outcome = api
            .patch(&name, &PatchParams::default(), &Patch::Merge(&patch))
            .await;
        let (namespace, keep) = (&pipeline.namespace, pipeline.keep);
        match outcome {
            Ok(_) => tracing::info!(
                namespace,
                claim = name,
                ?keep,
                "its owners are as the policy says"
            ),
            // A cluster that checks owners wants the right to delete the claim, which nobody gives us.
            Err(error) => {
                tracing::warn!(namespace, claim = name, ?keep, %error, "its owners stay as they are until its pod runs");
            }
        }
    }
}

/// The claims that should have other owners, with these.
fn with_other_owners<'a>(
    pipeline: &Pipeline,
    live: &'a Live,
) -> Vec<(&'a PersistentVolumeClaim, Vec<OwnerReference>)> {
    let sets = [pipeline.names.kafka(), pipeline.names.source()];
    let sets = sets.map(|name| live.typed::<StatefulSet>(Kind::StatefulSet, &name));
    let mut found = Vec::new();
    for set in sets.into_iter().flatten() {
        for claim in &live.claims {
            let owners = other_owners(pipeline.keep, &set, claim, live);
            found.extend(owners.map(|owners| (claim, owners)));
        }
    }
    found
}

/// The owners that a claim of `set` should have, if it has others and no pod.
fn other_owners(
    keep: Keep,
    set: &StatefulSet,
    claim: &PersistentVolumeClaim,
    live: &Live,
) -> Option<Vec<OwnerReference>> {
    let (name, uid) = (set.name_any(), set.uid()?);
    let pod = format!("{name}-{}", claim_ordinal(claim, &name)?);
    if live.pods.iter().any(|one| one.name_any() == pod) {
        return None;
    }
    let mut owners = claim.owner_references().to_vec();
    let is_set = |owner: &OwnerReference| owner.uid == uid;
    match (keep, owners.iter().any(is_set)) {
        (Keep::Retain, true) => owners.retain(|owner| !is_set(owner)),
        (Keep::Delete, false) => owners.push(OwnerReference {
            api_version: "apps/v1".to_owned(),
            kind: "StatefulSet".to_owned(),
            name,
            uid,
            ..OwnerReference::default()
        }),
        _ => return None,
    }
    Some(owners)
}

/// The volumes of a StatefulSet.
struct Volumes {
    component: Component,
    set: String,
    size: String,
    /// The one of a part that is held back is there, too.
    count: i64,
}

impl Volumes {
    /// Whether it is one of them. A broker that was taken away leaves its own, which waits for a pod to grow.
    fn has(&self, claim: &PersistentVolumeClaim) -> bool {
        claim_ordinal(claim, &self.set).is_some_and(|ordinal| i64::from(ordinal) < self.count)
    }
}

/// The volumes of a StatefulSet that has some.
fn volumes_of(object: &Object) -> Option<Volumes> {
    let data = &object.value.data;
    let size = data.pointer(SIZE)?.as_str()?.to_owned();
    let component = [Component::Kafka, Component::Source]
        .into_iter()
        .find(|component| object.label(COMPONENT) == Some(component.as_str()))?;
    Some(Volumes {
        component,
        set: object.name().to_owned(),
        size,
        count: data.pointer("/spec/replicas")?.as_i64()?.max(1),
    })
}

/// Asks for the size, claim by claim; what it waits for or what was refused, until each has it.
async fn grow(client: &Client, namespace: &str, volumes: &Volumes, live: &Live) -> Option<Pending> {
    let size = volumes.size.as_str();
    let api: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), namespace);
    let mut waits = None;
    for claim in live.claims.iter().filter(|claim| volumes.has(claim)) {
        let name = claim.name_any();
        if !is_less(requested(claim), size) {
            let bound = phase(claim) == Some("Bound");
            if bound && is_less(capacity(claim), size) {
                waits.get_or_insert_with(|| waiting(claim, size));
            }
            continue;
        }
        // One without a volume cannot be changed: it gets one when its pod has a node.
        if phase(claim) != Some("Bound") {
            waits.get_or_insert_with(|| format!("claim {name} has no volume yet"));
            continue;
        }
        let patch = json!({"spec": {"resources": {"requests": {"storage": size}}}});
        let outcome = api
            .patch(&name, &PatchParams::default(), &Patch::Merge(&patch))
            .await;
        tracing::info!(
            namespace,
            claim = name,
            size,
            ok = outcome.is_ok(),
            "asked to grow"
        );
        match outcome {
            Ok(_) => {
                waits.get_or_insert_with(|| format!("claim {name} was asked to grow to {size}"));
            }
            Err(error) => return Some(refused(claim, size, &error)),
        }
    }
    waits.map(Pending::waiting)
}

fn waiting(claim: &PersistentVolumeClaim, size: &str) -> String {
    let conditions = claim
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    let condition = conditions.into_iter().flatten().find_map(|condition| {
        let message = condition
            .message
            .as_deref()
            .filter(|text| !text.is_empty())?;
        Some(format!(" ({}: {message})", condition.type_))
    });
    format!(
        "claim {} grows from {} to {size}{}",
        claim.name_any(),
        capacity(claim).map_or("nothing", |size| size.0.as_str()),
        condition.unwrap_or_default()
    )
}

fn refused(claim: &PersistentVolumeClaim, size: &str, error: &kube::Error) -> Pending {
    let name = claim.name_any();
    let class = claim
        .spec
        .as_ref()
        .and_then(|spec| spec.storage_class_name.as_deref());
    let class = class.unwrap_or("of the claim");
    let remedy = format!(
        "what runs goes on as it was. If StorageClass {class} does not allow it and its driver can: \
         kubectl patch storageclass {class} -p '{{\"allowVolumeExpansion\":true}}'"
    );
    Pending {
        stalled: is_permanent(error),
        message: format!(
            "claim {name} cannot grow to {size}: {}; {remedy}",
            server_message(error)
        ),
    }
}

/// Deletes a StatefulSet of the old size without its pods. It is applied anew when it is gone.
async fn replace(
    client: &Client,
    namespace: &str,
    volumes: &Volumes,
    live: &mut Live,
) -> Option<Pending> {
    let (name, size) = (volumes.set.as_str(), volumes.size.as_str());
    let mut sets = live.objects.iter_mut();
    let set = sets.find(|object| object.kind == Kind::StatefulSet && object.name() == name)?;
    let message =
        format!("StatefulSet {name} is made again for volumes of {size}; its pods run on");
    if set.value.metadata.deletion_timestamp.is_some() {
        return Some(Pending::waiting(message));
    }
    let current = set.value.data.pointer(SIZE).and_then(Value::as_str);
    if current.and_then(in_bytes) >= in_bytes(size) || current.is_none() {
        return None;
    }
    let api: Api<StatefulSet> = Api::namespaced(client.clone(), namespace);
    let params = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Orphan),
        preconditions: Some(Preconditions {
            uid: set.value.metadata.uid.clone(),
            ..Preconditions::default()
        }),
        ..DeleteParams::default()
    };
    let outcome = api.delete(name, &params).await;
    tracing::info!(
        namespace,
        name,
        ok = outcome.is_ok(),
        "deleted without its pods"
    );
    match outcome {
        Ok(_) => {
            set.value.metadata.deletion_timestamp = Some(Time(Timestamp::now()));
            Some(Pending::waiting(message))
        }
        Err(error) => Some(Pending {
            stalled: is_permanent(&error),
            message: format!(
                "StatefulSet {name} could not be made again for volumes of {size}: {error}"
            ),
        }),
    }
}

/// As long as a StatefulSet has smaller claims in its template, all the rest of it is applied with these.
pub(crate) fn keep_claims(desired: &mut [Object], live: &Live) {
    for object in desired.iter_mut() {
        if object.kind != Kind::StatefulSet {
            continue;
        }
        let current = live.find(Kind::StatefulSet, object.name());
        let size = current
            .and_then(|current| current.value.data.pointer(SIZE))
            .cloned();
        if let (Some(size), Some(place)) = (size, object.value.data.pointer_mut(SIZE)) {
            *place = size;
        }
    }
}

/// A StatefulSet that is being deleted is neither applied nor removed: another deletion would take the pods along.
pub(crate) fn skip_terminating(desired: &mut Vec<Object>, live: &mut Live) {
    let is_terminating = |object: &mut Object| {
        object.kind == Kind::StatefulSet && object.value.metadata.deletion_timestamp.is_some()
    };
    let terminating: Vec<Object> = live.objects.extract_if(.., is_terminating).collect();
    desired.retain(|object| {
        let same = |terminating: &Object| {
            terminating.kind == object.kind && terminating.name() == object.name()
        };
        !terminating.iter().any(same)
    });
}

fn requested(claim: &PersistentVolumeClaim) -> Option<&Quantity> {
    let resources = claim.spec.as_ref()?.resources.as_ref()?;
    resources.requests.as_ref()?.get("storage")
}

fn capacity(claim: &PersistentVolumeClaim) -> Option<&Quantity> {
    claim.status.as_ref()?.capacity.as_ref()?.get("storage")
}

fn phase(claim: &PersistentVolumeClaim) -> Option<&str> {
    claim.status.as_ref()?.phase.as_deref()
}

/// What cannot be read counts as less than anything: nothing is replaced for it.
fn is_less(size: Option<&Quantity>, than: &str) -> bool {
    size.and_then(|size| in_bytes(&size.0)) < in_bytes(than)
}

/// None for fractions, which are of no size that anybody asks for.
fn in_bytes(size: &str) -> Option<u64> {
    quantity::bytes(size).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_claim_of_a_broker_that_was_taken_away_is_left_alone() {
        let volumes = Volumes {
            component: Component::Kafka,
            set: "shop-kafka".to_owned(),
            size: "8Gi".to_owned(),
            count: 3,
        };
        let has = |name: &str| {
            let claim = json!({"metadata": {"name": name}, "spec": {}});
            volumes.has(&serde_json::from_value(claim).unwrap())
        };
        assert!(has("data-shop-kafka-0") && has("data-shop-kafka-2"));
        assert!(!has("data-shop-kafka-3") && !has("data-shop-kafka-1-0") && !has("data-shop-0"));
    }

    #[test]
    fn sizes_are_compared_whatever_their_unit() {
        let less = |a: &str, b: &str| is_less(Some(&Quantity(a.to_owned())), b);
        assert!(less("8Gi", "9Gi") && less("1023Gi", "1Ti") && less("8G", "8Gi"));
        assert!(!less("8589934592", "8Gi") && !less("1Ti", "1024Gi"));
        assert!(is_less(None, "1Mi") && less("1.5Gi", "1Mi"));
    }
}
