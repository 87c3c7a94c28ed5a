//! Restarts the brokers that do not have the current template, one at a time, and only while every copy of every
//! partition and every controller has caught up. Touches the client, and dials the pods of our own brokers.
//!
//! The StatefulSet is `OnDelete`: its own controller would go on as soon as a port is open.

use k8s_openapi::api::apps::v1::StatefulSet;
use kube::Client;
use logpipe_probe::wire::CONTROLLERS;

use super::admin::{self, ClusterState};
use super::{Broker, evict, observed};
use crate::object::Kind;
use crate::observe::Live;
use crate::pending::Pending;
use crate::validate::Pipeline;

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

/// Restarts the next broker, if one may go; what is still to come until each has the current template.
pub(crate) async fn step(client: &Client, pipeline: &Pipeline, live: &Live) -> Option<Pending> {
    let set: StatefulSet = live.typed(Kind::StatefulSet, &pipeline.names.kafka())?;
    // More than the manifest says, while some are on their way out.
    let replicas = set.spec.as_ref()?.replicas?;
    let brokers = observed(&set, live)?;
    let outdated = brokers.iter().filter(|broker| broker.outdated).count();
    let next = match by_pods(&brokers, replicas) {
        Next::Ask => match admin::describe_cluster(&brokers).await {
            Ok(cluster) => by_cluster(&brokers, replicas, &cluster),
            Err(error) => Next::Wait(format!("the brokers cannot be asked: {error}")),
        },
        next => next,
    };
    let what = match next {
        Next::Done | Next::Ask => return None,
        Next::Restart(Broker { pod, uid, .. }) => {
            let outcome = evict(client, &pipeline.namespace, &pod, uid, None).await;
            match outcome {
                Ok(()) => format!("{pod} is restarted"),
                Err(error) => format!("{pod} could not be restarted: {error}"),
            }
        }
        Next::Wait(why) => why,
    };
    Some(Pending::waiting(format!(
        "{outdated} of {replicas} brokers still have what was before: {what}"
    )))
}

/// What comes next by the pods alone.
fn by_pods(brokers: &[Broker], replicas: i32) -> Next {
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

/// What comes next by what Kafka reports. The leader of the controllers is the last one to go: each change of it is a
/// pause.
fn by_cluster(brokers: &[Broker], replicas: i32, cluster: &ClusterState) -> Next {
    if let Some(why) = unsettled(brokers, replicas, cluster) {
        return Next::Wait(why);
    }
    let next = brokers
        .iter()
        .filter(|broker| broker.outdated)
        .max_by_key(|broker| (broker.id != cluster.leader, broker.id));
    next.map_or(Next::Done, |broker| Next::Restart(broker.clone()))
}

/// What is missing until every broker, copy and controller is where the others are.
pub(super) fn unsettled(
    brokers: &[Broker],
    replicas: i32,
    cluster: &ClusterState,
) -> Option<String> {
    let alive = |broker: &&Broker| cluster.metadata.is_alive(broker.id);
    if let Some(missing) = brokers.iter().find(|broker| !alive(broker)) {
        return Some(format!("{} is not in the cluster yet", missing.pod));
    }
    if let Some(partition) = cluster.metadata.behind() {
        return Some(format!("{partition} misses copies"));
    }
    let newest = cluster
        .voters
        .iter()
        .map(|voter| voter.end)
        .max()
        .unwrap_or(0);
    (0..replicas.min(CONTROLLERS)).find_map(|id| {
        match cluster.voters.iter().find(|voter| voter.id == id) {
            None => Some(format!("broker {id} is no controller yet")),
            Some(voter) if voter.end.saturating_add(CAUGHT_UP) < newest => {
                Some(format!("controller {id} is behind"))
            }
            Some(_) => None,
        }
    })
}

/// Records of metadata: the controllers write two a second when nothing happens.
const CAUGHT_UP: i64 = 20;

#[cfg(test)]
mod tests {
    use logpipe_probe::wire::{self, Metadata, Partition, Voter};

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

    fn healthy() -> ClusterState {
        ClusterState {
            metadata: Metadata {
                brokers: vec![alive(0), alive(1), alive(2)],
                partitions: Vec::new(),
            },
            leader: 2,
            voters: vec![voter(0, 100), voter(1, 101), voter(2, 101)],
        }
    }

    fn voter(id: i32, end: i64) -> Voter {
        Voter {
            id,
            directory: [0; 16],
            end,
        }
    }

    fn alive(id: i32) -> wire::Broker {
        wire::Broker { id, rack: None }
    }

    fn restarts(next: Next) -> i32 {
        match next {
            Next::Restart(broker) => broker.id,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn nobody_is_restarted_without_a_reason() {
        assert_eq!(by_pods(&three([false; 3], [true; 3]), 3), Next::Done);
        assert_eq!(
            by_pods(&three([false; 3], [true, false, true]), 3),
            Next::Done
        );
    }

    #[test]
    fn one_that_does_not_work_is_the_first() {
        let brokers = three([true; 3], [true, false, true]);
        assert_eq!(restarts(by_pods(&brokers, 3)), 1);
    }

    #[test]
    fn one_that_may_recover_does_not_follow_another_into_bad_settings() {
        let mut brokers = three([false, true, true], [false, false, true]);
        match by_pods(&brokers, 3) {
            Next::Wait(why) => assert_eq!(why, "shop-kafka-0 is not ready yet"),
            other => panic!("{other:?}"),
        }
        brokers[1].runs = false;
        assert_eq!(restarts(by_pods(&brokers, 3)), 1);
    }

    #[test]
    fn brokers_that_all_ended_are_all_restarted_when_the_manifest_is_mended() {
        let mut brokers = three([true; 3], [false; 3]);
        for broker in &mut brokers {
            broker.runs = false;
        }
        for id in 0..3 {
            assert_eq!(restarts(by_pods(&brokers, 3)), id);
            // It starts, and has no quorum yet.
            brokers[id as usize].outdated = false;
        }
    }

    #[test]
    fn nobody_goes_while_another_one_is_away() {
        let brokers = three([true, true, false], [true, true, false]);
        assert!(matches!(by_pods(&brokers, 3), Next::Wait(_)));
        assert!(matches!(by_pods(&brokers[..2], 3), Next::Wait(_)));
    }

    #[test]
    fn the_leader_of_the_controllers_is_the_last() {
        let ready = [true; 3];
        assert_eq!(
            restarts(by_cluster(&three([true; 3], ready), 3, &healthy())),
            1
        );
        let one_left = three([false, false, true], ready);
        assert_eq!(restarts(by_cluster(&one_left, 3, &healthy())), 2);
    }

    #[test]
    fn a_copy_a_broker_or_a_controller_that_is_behind_holds_it_up() {
        let brokers = three([true; 3], [true; 3]);
        let mut copies = healthy();
        copies.metadata.partitions.push(Partition {
            topic: "shop".into(),
            index: 1,
            leader: 0,
            replicas: vec![0, 1],
            in_sync: vec![0],
        });
        let mut fenced = healthy();
        fenced.metadata.brokers.remove(1);
        let mut slow = healthy();
        slow.voters[0].end = 10;
        let mut observer = healthy();
        observer.voters.remove(0);
        for (seen, why) in [
            (copies, "misses copies"),
            (fenced, "not in the cluster"),
            (slow, "behind"),
            (observer, "no controller"),
        ] {
            match by_cluster(&brokers, 3, &seen) {
                Next::Wait(text) => assert!(text.contains(why), "{text}"),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_single_broker_is_restarted_at_once() {
        let brokers = three([true; 3], [true; 3]);
        assert_eq!(restarts(by_pods(&brokers[..1], 1)), 0);
    }
}
