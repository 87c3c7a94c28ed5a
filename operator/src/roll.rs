//! Restarts the brokers that do not have the current template, one at a time, and only while every copy of every
//! partition and every controller has caught up. Touches the client, and dials the pods of our own brokers.
//!
//! The StatefulSet is `OnDelete`: its own controller would go on as soon as a port is open.

use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, EvictParams, Preconditions};
use kube::{Client, ResourceExt};

use crate::desired::kafka::CONTROLLERS;
use crate::desired::names::Component;
use crate::object::Kind;
use crate::observe::Live;
use crate::status::pods;
use crate::validate::Pipeline;

mod ask;
pub(crate) mod level;

use ask::Seen;

/// How soon brokers are looked at again, where no watch tells.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_secs(3);

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

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Next {
    /// Every broker has the current template.
    Done,
    /// For this.
    Wait(String),
    /// Kafka must say whether a broker may go.
    Ask,
    /// This pod.
    Restart(Broker),
}

/// Restarts the next broker, if one may go; what is still to come, in words, when something is.
pub(crate) async fn step(client: &Client, pipeline: &Pipeline, live: &Live) -> Option<String> {
    let replicas = pipeline.kafka.as_ref()?.replicas;
    let set: StatefulSet = live.typed(Kind::StatefulSet, &pipeline.names.kafka())?;
    let brokers = brokers(&set, live)?;
    let outdated = brokers.iter().filter(|broker| broker.outdated).count();
    let next = match first(&brokers, replicas) {
        Next::Ask => match ask::ask(&brokers).await {
            Ok(seen) => second(&brokers, replicas, &seen),
            Err(error) => Next::Wait(format!("the brokers cannot be asked: {error}")),
        },
        next => next,
    };
    let what = match next {
        Next::Done | Next::Ask => return None,
        Next::Restart(broker) => match restart(client, &pipeline.namespace, &broker).await {
            Ok(()) => format!("{} is restarted", broker.pod),
            Err(error) => format!("{} could not be restarted: {error}", broker.pod),
        },
        Next::Wait(why) => why,
    };
    Some(format!(
        "{outdated} of {replicas} brokers still have what was before: {what}"
    ))
}

/// The brokers, when the StatefulSet's controller has seen the set as it is now.
fn brokers(set: &StatefulSet, live: &Live) -> Option<Vec<Broker>> {
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
    let name = pod.name_any();
    let status = pod.status.as_ref();
    Some(Broker {
        id: name.rsplit_once('-')?.1.parse().ok()?,
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
        pod: name,
    })
}

/// What the pods alone say.
fn first(brokers: &[Broker], replicas: i32) -> Next {
    let outdated = |broker: &&Broker| broker.outdated;
    if !brokers.iter().any(|broker| broker.outdated) {
        return Next::Done;
    }
    // One that does not work may only get better by it. One that runs may recover by itself: it must not follow
    // another one into settings that no broker starts with.
    let waits_for = brokers
        .iter()
        .find(|broker| !broker.ready && !broker.outdated);
    let mut broken = brokers.iter().filter(outdated).filter(|one| !one.ready);
    if let Some(broken) = broken.find(|broken| !broken.runs || waits_for.is_none()) {
        return Next::Restart(broken.clone());
    }
    if let Some(other) = waits_for {
        return Next::Wait(format!("{} is not ready yet", other.pod));
    }
    if (brokers.len() as i32) < replicas {
        return Next::Wait(format!("{} of {replicas} pods are there", brokers.len()));
    }
    match brokers {
        // There is nobody to wait for: the restart is a pause.
        [only] => Next::Restart(only.clone()),
        _ => Next::Ask,
    }
}

/// What Kafka says. The leader of the controllers is the last one to go: each change of it is a pause.
fn second(brokers: &[Broker], replicas: i32, seen: &Seen) -> Next {
    if let Some(missing) = brokers
        .iter()
        .find(|broker| !seen.alive.contains(&broker.id))
    {
        return Next::Wait(format!("{} is not in the cluster yet", missing.pod));
    }
    if let Some(partition) = &seen.behind {
        return Next::Wait(format!("{partition} misses copies"));
    }
    for id in 0..replicas.min(CONTROLLERS) {
        let Some((_, end)) = seen.voters.iter().find(|(voter, _)| *voter == id) else {
            return Next::Wait(format!("broker {id} is no controller yet"));
        };
        let newest = seen.voters.iter().map(|(_, end)| *end).max().unwrap_or(0);
        if end + CAUGHT_UP < newest {
            return Next::Wait(format!("controller {id} is behind"));
        }
    }
    let next = brokers
        .iter()
        .filter(|broker| broker.outdated)
        .max_by_key(|broker| (broker.id != seen.leader, broker.id));
    next.map_or(Next::Done, |broker| Next::Restart(broker.clone()))
}

/// Records of metadata: the controllers write two a second when nothing happens.
const CAUGHT_UP: i64 = 20;

/// By eviction, so that the disruption budget has its say, too.
async fn restart(client: &Client, namespace: &str, broker: &Broker) -> kube::Result<()> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let params = EvictParams {
        delete_options: Some(DeleteParams {
            preconditions: Some(Preconditions {
                uid: broker.uid.clone(),
                ..Preconditions::default()
            }),
            ..DeleteParams::default()
        }),
        ..EvictParams::default()
    };
    let outcome = pods.evict(&broker.pod, &params).await;
    tracing::info!(
        namespace,
        pod = broker.pod,
        ok = outcome.is_ok(),
        "restarted"
    );
    outcome.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three(outdated: [bool; 3], ready: [bool; 3]) -> Vec<Broker> {
        (0..3)
            .map(|id| Broker {
                id,
                pod: format!("shop-kafka-{id}"),
                uid: None,
                address: Some("10.0.0.1".to_owned()),
                ready: ready[id as usize],
                runs: true,
                outdated: outdated[id as usize],
            })
            .collect()
    }

    fn healthy() -> Seen {
        Seen {
            alive: vec![0, 1, 2],
            behind: None,
            leader: 2,
            voters: vec![(0, 100), (1, 101), (2, 101)],
        }
    }

    fn restarts(next: Next) -> i32 {
        match next {
            Next::Restart(broker) => broker.id,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn nobody_is_restarted_without_a_reason() {
        assert_eq!(first(&three([false; 3], [true; 3]), 3), Next::Done);
        assert_eq!(
            first(&three([false; 3], [true, false, true]), 3),
            Next::Done
        );
    }

    #[test]
    fn one_that_does_not_work_is_the_first() {
        let brokers = three([true; 3], [true, false, true]);
        assert_eq!(restarts(first(&brokers, 3)), 1);
    }

    #[test]
    fn one_that_may_recover_does_not_follow_another_into_bad_settings() {
        let mut brokers = three([false, true, true], [false, false, true]);
        match first(&brokers, 3) {
            Next::Wait(why) => assert_eq!(why, "shop-kafka-0 is not ready yet"),
            other => panic!("{other:?}"),
        }
        brokers[1].runs = false;
        assert_eq!(restarts(first(&brokers, 3)), 1);
    }

    #[test]
    fn brokers_that_all_ended_are_all_restarted_when_the_manifest_is_mended() {
        let mut brokers = three([true; 3], [false; 3]);
        for broker in &mut brokers {
            broker.runs = false;
        }
        for id in 0..3 {
            assert_eq!(restarts(first(&brokers, 3)), id);
            // It starts, and has no quorum yet.
            brokers[id as usize].outdated = false;
        }
    }

    #[test]
    fn nobody_goes_while_another_one_is_away() {
        let brokers = three([true, true, false], [true, true, false]);
        assert!(matches!(first(&brokers, 3), Next::Wait(_)));
        assert!(matches!(first(&brokers[..2], 3), Next::Wait(_)));
    }

    #[test]
    fn the_leader_of_the_controllers_is_the_last() {
        let ready = [true; 3];
        assert_eq!(restarts(second(&three([true; 3], ready), 3, &healthy())), 1);
        let one_left = three([false, false, true], ready);
        assert_eq!(restarts(second(&one_left, 3, &healthy())), 2);
    }

    #[test]
    fn a_copy_a_broker_or_a_controller_that_is_behind_holds_it_up() {
        let brokers = three([true; 3], [true; 3]);
        let mut copies = healthy();
        copies.behind = Some("partition 1 of topic shop".to_owned());
        let mut fenced = healthy();
        fenced.alive = vec![0, 2];
        let mut slow = healthy();
        slow.voters[0].1 = 10;
        let mut observer = healthy();
        observer.voters.remove(0);
        for (seen, why) in [
            (copies, "misses copies"),
            (fenced, "not in the cluster"),
            (slow, "behind"),
            (observer, "no controller"),
        ] {
            match second(&brokers, 3, &seen) {
                Next::Wait(text) => assert!(text.contains(why), "{text}"),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_single_broker_is_restarted_at_once() {
        let brokers = three([true; 3], [true; 3]);
        assert_eq!(restarts(first(&brokers[..1], 1)), 0);
    }
}
