//! Ends all brokers, when nobody writes or reads any more. Touches the client.
//!
//! All of them end at once. Each asks the controllers for leave, and those end with the brokers: the last one finds nobody
//! to ask, and would wait until its grace period is over. What it holds is on its disk.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::{Client, ResourceExt};
use serde_json::json;

use super::decommission::replicas;
use super::evict;
use crate::desired::names::Component;
use crate::object::Object;
use crate::observe::Live;
use crate::validate::Pipeline;

/// How long a broker may take to hand over and to end. More than a few seconds are waiting.
const HANDOVER: SignedDuration = SignedDuration::from_secs(10);

/// Has the StatefulSet run no broker.
pub(crate) fn scale_to_zero(pipeline: &Pipeline, desired: &mut [Object]) {
    if let Some(replicas) = replicas(pipeline, desired) {
        *replicas = json!(0);
    }
}

/// Waits no longer for those that have been ending for a while. What is refused is tried again at the next reconciliation.
pub(crate) async fn shorten_grace(client: &Client, namespace: &str, live: &Live) {
    let now = Timestamp::now();
    for pod in live.pods(Component::Kafka).filter(|pod| is_late(pod, now)) {
        let outcome = evict(client, namespace, &pod.name_any(), pod.uid(), Some(1)).await;
        if let Err(error) = outcome {
            tracing::debug!(namespace, pod = pod.name_any(), %error, "the grace period was not shortened");
        }
    }
}

/// Whether it has been ending for longer than it should take. The timestamp says when its grace period is over.
fn is_late(pod: &Pod, now: Timestamp) -> bool {
    let metadata = &pod.metadata;
    let grace = SignedDuration::from_secs(metadata.deletion_grace_period_seconds.unwrap_or(0));
    let over = metadata.deletion_timestamp.as_ref();
    // A grace period without end, which a template may ask for, leaves no beginning.
    let had_its_time = |over: Timestamp| {
        let begun = over.checked_sub(grace);
        begun.map_or(true, |begun| now.duration_since(begun) > HANDOVER)
    };
    // One whose time is nearly over had it shortened before.
    over.is_some_and(|over| grace > HANDOVER && had_its_time(over.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(over: &str, grace_seconds: i64) -> Pod {
        serde_json::from_value(json!({"metadata": {
            "deletionTimestamp": over, "deletionGracePeriodSeconds": grace_seconds,
        }}))
        .unwrap()
    }

    #[test]
    fn a_grace_period_is_shortened_once_when_a_broker_has_had_its_time() {
        let now: Timestamp = "2026-01-01T00:02:00Z".parse().unwrap();
        assert!(!is_late(&Pod::default(), now));
        assert!(!is_late(&pod("2026-01-01T00:03:55Z", 120), now));
        assert!(is_late(&pod("2026-01-01T00:03:45Z", 120), now));
        assert!(!is_late(&pod("2026-01-01T00:02:01Z", 1), now));
    }

    #[test]
    fn a_grace_period_without_end_is_none() {
        let now: Timestamp = "2026-01-01T00:02:00Z".parse().unwrap();
        assert!(is_late(&pod("2262-04-11T23:47:16Z", i64::MAX), now));
    }
}
