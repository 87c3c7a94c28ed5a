//! What is there: the objects and pods of one pipeline, as the API server has them now. Touches the client.
//!
//! It asks without a resource version, so the answers are never older than the question: what is decided by
//! them (what to remove, whether a checkpoint was ever made) must not be decided by a cache.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::{Api, DynamicObject, ListParams, TypeMeta};
use kube::{Client, ResourceExt};
use logpipe_api::LogPipeline;
use serde::de::DeserializeOwned;

use crate::desired::PRODUCER;
use crate::desired::names::{COMPONENT, Component, MANAGED_BY, Names, OPERATOR, PIPELINE};
use crate::identity;
use crate::object::{Kind, Object};
use crate::validate::Facts;

pub(crate) mod pods;

/// The objects and pods of one pipeline.
#[derive(Clone, Debug, Default)]
pub struct Live {
    /// Objects that we made.
    pub objects: Vec<Object>,
    /// Pods that they made.
    pub pods: Vec<Pod>,
    /// The claims of these.
    pub claims: Vec<PersistentVolumeClaim>,
}

/// Something could not be listed.
#[derive(Debug, thiserror::Error)]
#[error("failed to list objects of kind {kind} in namespace {namespace}")]
pub struct ObserveError {
    kind: String,
    namespace: String,
    /// What the API server said.
    #[source]
    pub source: kube::Error,
}

/// Asks for everything that carries the pipeline's label.
pub async fn live(client: &Client, namespace: &str, pipeline: &str) -> Result<Live, ObserveError> {
    let ours = format!("{PIPELINE}={pipeline},{MANAGED_BY}={OPERATOR}");
    let params = ListParams::default().labels(&ours);
    let failed = |kind: &str, source| ObserveError {
        kind: kind.to_owned(),
        namespace: namespace.to_owned(),
        source,
    };
    let mut objects = Vec::new();
    for kind in Kind::ALL {
        let resource = kind.resource();
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
        let list = api
            .list(&params)
            .await
            .map_err(|error| failed(&resource.kind, error))?;
        for mut value in list.items {
            // In a list only the list has a type.
            value.types = Some(TypeMeta {
                api_version: resource.api_version.clone(),
                kind: resource.kind.clone(),
            });
            objects.push(Object { kind, value });
        }
    }
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let pods = api
        .list(&params)
        .await
        .map_err(|error| failed("Pod", error))?
        .items;
    let api: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), namespace);
    let claims = api
        .list(&params)
        .await
        .map_err(|error| failed("PersistentVolumeClaim", error))?
        .items;
    Ok(Live {
        objects,
        pods,
        claims,
    })
}

impl Live {
    /// The object of this kind and name.
    pub fn find(&self, kind: Kind, name: &str) -> Option<&Object> {
        self.objects
            .iter()
            .find(|object| object.kind == kind && object.name() == name)
    }

    /// The same with its type.
    pub fn typed<K: DeserializeOwned>(&self, kind: Kind, name: &str) -> Option<K> {
        self.find(kind, name)?.typed()
    }

    /// The pods of a part.
    pub fn pods(&self, component: Component) -> impl Iterator<Item = &Pod> {
        self.pods.iter().filter(move |pod| {
            let labels = pod.metadata.labels.as_ref();
            labels
                .and_then(|labels| labels.get(COMPONENT))
                .map(String::as_str)
                == Some(component.as_str())
        })
    }

    /// An object that goes with an earlier pipeline of the same name, or just goes. Whoever took it for this
    /// pipeline's own would lose it in the middle of its work. A StatefulSet of this one is left out: `volumes` makes
    /// it anew around its pods.
    pub(crate) fn terminating(&self, uid: &str) -> Option<String> {
        let object = self.objects.iter().find(|object| {
            let metadata = &object.value.metadata;
            let is_owned = owners(metadata, "LogPipeline").any(|owner| owner.uid != uid);
            is_owned || (object.kind != Kind::StatefulSet && metadata.deletion_timestamp.is_some())
        });
        if let Some(object) = object {
            return Some(format!("{} {}", object.kind.as_str(), object.name()));
        }
        let is_there = |owner: &OwnerReference| {
            let mut objects = self.objects.iter();
            objects.any(|object| object.value.metadata.uid.as_ref() == Some(&owner.uid))
        };
        let claim = self
            .claims
            .iter()
            .find(|claim| owners(&claim.metadata, "StatefulSet").any(|owner| !is_there(owner)));
        claim.map(|claim| format!("PersistentVolumeClaim {}", claim.name_any()))
    }

    /// Puts an object in the place of the one it was.
    pub(crate) fn put(&mut self, object: Object) {
        self.objects
            .retain(|old| old.kind != object.kind || old.name() != object.name());
        self.objects.push(object);
    }
}

/// What the spec cannot say.
pub(crate) fn facts(object: &LogPipeline, live: &Live) -> Facts {
    let name = object.metadata.name.as_deref().unwrap_or_default();
    let names = Names::new(name);
    let map: Option<ConfigMap> = live.typed(Kind::ConfigMap, &names.kafka_identity());
    let stored = map.and_then(|map| map.data?.get("clusterId").cloned());
    let in_status = object
        .status
        .as_ref()
        .and_then(|status| status.kafka.as_ref()?.cluster_id.clone());
    let brokers: Option<StatefulSet> = live.typed(Kind::StatefulSet, &names.kafka());
    let quorum = brokers.is_some_and(|set| ready_replicas(&set) > 0);
    Facts {
        // One that was lost is taken from the status: another would be refused by every disk.
        cluster_id: stored.or(in_status).unwrap_or_else(identity::draw),
        bootstrapped: quorum
            || live
                .find(Kind::ConfigMap, &names.kafka_bootstrapped())
                .is_some(),
        producer: producer(name, live),
    }
}

/// The name of the producer whose offsets are saved there, as the template of the claim says or, where its StatefulSet
/// is gone, the claim itself.
fn producer(pipeline: &str, live: &Live) -> Option<String> {
    let name = Names::new(pipeline).source();
    let told = |claim: &PersistentVolumeClaim| claim.annotations().get(PRODUCER).cloned();
    let found = if let Some(set) = live.typed::<StatefulSet>(Kind::StatefulSet, &name) {
        let templates = set.spec?.volume_claim_templates?;
        templates.first().and_then(told)
    } else {
        let is_it = |claim: &&PersistentVolumeClaim| claim_ordinal(claim, &name) == Some(0);
        told(live.claims.iter().find(is_it)?)
    };
    Some(found.unwrap_or_else(|| pipeline.to_owned()))
}

/// The number of the pod that a claim is for; `None` where it is not one of the StatefulSet `set`.
pub(crate) fn claim_ordinal(claim: &PersistentVolumeClaim, set: &str) -> Option<i32> {
    let name = claim.metadata.name.as_deref()?;
    let ordinal = name.strip_prefix("data-")?.strip_prefix(set)?;
    let ordinal = ordinal.strip_prefix('-')?.parse().ok();
    ordinal.filter(|ordinal| *ordinal >= 0)
}

/// Whether a Job has done its work.
pub fn is_complete(job: &Job) -> bool {
    job.status
        .as_ref()
        .is_some_and(|status| status.succeeded.unwrap_or(0) > 0)
}

/// The pods of a StatefulSet that are ready, as far as its controller has seen the set as it is now.
pub fn ready_replicas(set: &StatefulSet) -> i32 {
    let Some(status) = &set.status else { return 0 };
    if status.observed_generation < set.metadata.generation {
        return 0;
    }
    status.ready_replicas.unwrap_or(0)
}

fn owners<'a>(metadata: &'a ObjectMeta, kind: &'a str) -> impl Iterator<Item = &'a OwnerReference> {
    let owners = metadata.owner_references.iter().flatten();
    owners.filter(move |owner| owner.kind == kind)
}
