//! The brokers that run: what they report of themselves, and what is done to them one after the other. Touches the client,
//! and dials the pods of our own brokers.

use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, EvictParams, Preconditions};
use kube::{Client, ResourceExt};

use crate::desired::names::Component;
use crate::observe::{Live, pods};

mod admin;
pub(crate) mod decommission;
pub(crate) mod end;
pub(crate) mod metadata_version;
pub(crate) mod roll;

/// How often a pipeline is reconciled while its brokers or claims are on their way: no watch reports what they wait for.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_secs(3);

/// A broker's pod.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Broker {
    id: i32,
    pod: String,
    uid: Option<String>,
    address: Option<String>,
    ready: bool,
    /// Its process runs, whatever the probes say.
    runs: bool,
    outdated: bool,
}

/// The brokers, when the StatefulSet's controller has seen the set as it is now.
fn observed(set: &StatefulSet, live: &Live) -> Option<Vec<Broker>> {
    let status = set.status.as_ref()?;
    if status.observed_generation < set.metadata.generation {
        return None;
    }
    let revision = status.update_revision.as_deref()?;
    let uid = set.metadata.uid.as_deref()?;
    let ours = live
        .pods(Component::Kafka)
        .filter(|pod| pod.owner_references().iter().any(|owner| owner.uid == uid));
    Some(ours.filter_map(|pod| broker(pod, revision)).collect())
}

fn broker(pod: &Pod, revision: &str) -> Option<Broker> {
    let status = pod.status.as_ref();
    Some(Broker {
        id: ordinal(pod)?,
        uid: pod.uid(),
        address: status.and_then(|status| status.pod_ip.clone()),
        // One that goes is as good as gone.
        ready: pods::is_ready(pod) && pod.metadata.deletion_timestamp.is_none(),
        runs: pods::is_running(pod, "kafka"),
        outdated: pod.metadata.deletion_timestamp.is_none()
            && pod
                .labels()
                .get("controller-revision-hash")
                .map(String::as_str)
                != Some(revision),
        pod: pod.name_any(),
    })
}

/// Ends a pod, in `grace_seconds` if that is less than its own. By eviction, so that the disruption budget has its say, too;
/// of one that ends already it has none.
async fn evict(
    client: &Client,
    namespace: &str,
    pod: &str,
    uid: Option<String>,
    grace_seconds: Option<u32>,
) -> kube::Result<()> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let params = EvictParams {
        delete_options: Some(DeleteParams {
            grace_period_seconds: grace_seconds,
            preconditions: Some(Preconditions {
                uid,
                ..Preconditions::default()
            }),
            ..DeleteParams::default()
        }),
        ..EvictParams::default()
    };
    let outcome = pods.evict(pod, &params).await;
    tracing::info!(namespace, pod, ok = outcome.is_ok(), "evicted");
    outcome.map(drop)
}

/// The number of a broker's pod, which is the broker's own.
pub(crate) fn ordinal(pod: &Pod) -> Option<i32> {
    pod.name_any().rsplit_once('-')?.1.parse().ok()
}
