//! Takes brokers away that the manifest no longer asks for: moves their copies to the ones that stay, then takes away the
//! last one when it holds nothing, then has the cluster forget it. Dials the pods of our own brokers.
//!
//! Each step is drawn from what is there: an operator that was stopped in between goes on. Only brokers that are no
//! controllers ever go, because the manifest cannot ask for fewer than [`CONTROLLERS`] once there are so many.

use std::collections::{HashMap, HashSet};

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use logpipe_probe::wire::reassign::{Move, OfTopic};
use logpipe_probe::wire::{self, CONTROLLERS, Metadata};
use serde_json::{Value, json};

use super::admin::{self, AdminError};
use super::{Broker, observed, ordinal};
use crate::desired;
use crate::desired::names::Component;
use crate::object::{Kind, Object};
use crate::observe::{Live, is_complete};
use crate::pending::Pending;
use crate::validate::{Kafka, Pipeline};

/// Partitions on their way at once: what is copied takes disk and network from the lines.
const AT_ONCE: usize = 20;

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// Nobody holds anything that shall go.
    Empty,
    /// So many partitions have copies on brokers that shall go, and these are moved now.
    Move(usize, Vec<Move>),
    /// For this.
    Wait(String),
    /// A person must act.
    Refuse(String),
}

/// Takes the next step; what is still to come until no broker is there that the manifest does not ask for. As long as a
/// broker may not go, `desired` keeps it. `forgotten` says beyond how many brokers Kafka was seen to know no others; it is
/// set when that is seen now.
pub(crate) async fn step(
    pipeline: &Pipeline,
    desired: &mut [Object],
    live: &Live,
    forgotten: &mut Option<i32>,
) -> Option<Pending> {
    let kafka = pipeline.kafka.as_ref().filter(|kafka| may_shrink(kafka))?;
    keep_replicas(pipeline, desired, live);
    let name = pipeline.names.kafka();
    let set: Option<StatefulSet> = live.typed(Kind::StatefulSet, &name);
    let there = broker_count(set.as_ref(), live);
    if there > kafka.replicas {
        *forgotten = None;
    } else if *forgotten == Some(kafka.replicas) {
        return None;
    }
    let Some(brokers) = set.and_then(|set| observed(&set, live)) else {
        let text = format!("{there} brokers are there: waiting for StatefulSet {name}");
        return (there > kafka.replicas).then(|| Pending::waiting(text));
    };
    if let Some(ending) = brokers.iter().find(|broker| broker.id >= there) {
        let text = format!("waiting for the end of {}", ending.pod);
        return Some(Pending::waiting(text));
    }
    if there > kafka.replicas {
        let (last, pod) = (there - 1, format!("{name}-{}", there - 1));
        return Some(match move_away(kafka, &brokers, last).await {
            // A new topic or partition might be put on it in this moment.
            Ok(None) if !topic_is_made(pipeline, live) => Pending::waiting(format!(
                "{pod} holds nothing, and goes when the topic is made"
            )),
            Ok(None) => {
                *replicas(pipeline, desired)? = json!(last);
                tracing::info!(namespace = pipeline.namespace, pod, "taken away");
                Pending::waiting(format!("{pod} holds nothing any more and is taken away"))
            }
            Ok(Some(pending)) => pending,
            Err(error) => Pending::waiting(format!(
                "{pod} is not taken away, because the brokers cannot be asked: {error}"
            )),
        });
    }
    if brokers.len() != kafka.replicas as usize || brokers.iter().any(|broker| !broker.ready) {
        return None;
    }
    match unregister_gone(kafka, &brokers).await {
        Ok(None) => {
            *forgotten = Some(kafka.replicas);
            None
        }
        Ok(pending) => pending,
        Err(error) => {
            tracing::debug!(namespace = pipeline.namespace, %error, "not asked for brokers that are gone");
            None
        }
    }
}

/// Leaves the StatefulSet the brokers that it has, where the manifest asks for fewer.
pub(crate) fn keep_replicas(pipeline: &Pipeline, desired: &mut [Object], live: &Live) {
    let set: Option<StatefulSet> = live.typed(Kind::StatefulSet, &pipeline.names.kafka());
    let there = broker_count(set.as_ref(), live);
    let kafka = pipeline.kafka.as_ref().filter(|kafka| may_shrink(kafka));
    if kafka.is_some_and(|kafka| there > kafka.replicas)
        && let Some(replicas) = replicas(pipeline, desired)
    {
        *replicas = json!(there);
    }
}

/// Brokers that never found together hold nothing, and a single one has no others to go to.
fn may_shrink(kafka: &Kafka) -> bool {
    kafka.bootstrapped && kafka.replicas >= CONTROLLERS
}

/// The number of brokers in the StatefulSet that shall be.
pub(super) fn replicas<'a>(
    pipeline: &Pipeline,
    desired: &'a mut [Object],
) -> Option<&'a mut Value> {
    let name = pipeline.names.kafka();
    let is_set = |object: &&mut Object| object.kind == Kind::StatefulSet && object.name() == name;
    let set = desired.iter_mut().find(is_set)?;
    set.value.data.pointer_mut("/spec/replicas")
}

/// How many brokers there are: as many as the StatefulSet wants, or, while it is made again, as its pods say.
fn broker_count(set: Option<&StatefulSet>, live: &Live) -> i32 {
    let wanted = set.and_then(|set| set.spec.as_ref()?.replicas);
    let highest = live.pods(Component::Kafka).filter_map(ordinal).max();
    wanted.unwrap_or_else(|| highest.map_or(0, |id| id + 1))
}

fn topic_is_made(pipeline: &Pipeline, live: &Live) -> bool {
    let job: Option<Job> = live.typed(Kind::Job, &desired::topic_name(pipeline));
    job.is_some_and(|job| is_complete(&job))
}

/// Has the cluster forget brokers that are gone: as long as it waits for one it takes no newer `metadata.version`. Nothing
/// comes back when it knows none.
async fn unregister_gone(kafka: &Kafka, brokers: &[Broker]) -> Result<Option<Pending>, AdminError> {
    let mut gone = admin::members(brokers).await?;
    gone.retain(|member| member.id >= kafka.replicas);
    let Some(last) = gone.last() else {
        return Ok(None);
    };
    if let Some(member) = gone.iter().find(|member| !member.fenced) {
        let text = format!("waiting until Kafka sees that broker {} is gone", member.id);
        return Ok(Some(Pending::waiting(text)));
    }
    // Somebody may have made a topic in the moment before one was taken away.
    if let Some(pending) = move_away(kafka, brokers, kafka.replicas).await? {
        return Ok(Some(pending));
    }
    for member in &gone {
        admin::unregister(brokers, member.id).await?;
        tracing::info!(broker = member.id, "the cluster forgets it");
    }
    let text = format!("Kafka forgets broker {}", last.id);
    Ok(Some(Pending::waiting(text)))
}

/// Moves copies away from all that shall go; nothing comes back when those from `first` on hold none.
async fn move_away(
    kafka: &Kafka,
    brokers: &[Broker],
    first: i32,
) -> Result<Option<Pending>, AdminError> {
    // In this order: a move that ends in between is taken for one that goes on. The other way round, the old and the new
    // place of its copies would count together.
    let moving = admin::moving(brokers).await?;
    let metadata = admin::describe_cluster(brokers).await?.metadata;
    let pods: Vec<i32> = brokers.iter().map(|broker| broker.id).collect();
    let message = match next(&metadata, &moving, &pods, kafka.replicas) {
        Next::Empty => return Ok(None),
        Next::Refuse(why) => return Ok(Some(Pending::stalled(why))),
        Next::Wait(why) => why,
        Next::Move(left, moves) => {
            if !moves.is_empty() {
                admin::reassign(brokers, &moves).await?;
            }
            let stay = kafka.replicas;
            format!(
                "{left} partitions are moved from brokers that shall go to the {stay} that stay"
            )
        }
    };
    let mut copies = metadata.partitions.iter().flat_map(|one| &one.replicas);
    let holds = copies.any(|id| *id >= first);
    Ok(holds.then(|| Pending::waiting(message)))
}

/// Which copies move next. `moving` are on their way already, and `pods` are the brokers that have one.
fn next(metadata: &Metadata, moving: &[OfTopic], pods: &[i32], stay: i32) -> Next {
    let on_their_way: HashSet<(&str, i32)> = moving
        .iter()
        .map(|(topic, index)| (&**topic, *index))
        .collect();
    let staying: Vec<&wire::Broker> = metadata.brokers.iter().filter(|b| b.id < stay).collect();
    let mut copies: HashMap<i32, usize> = HashMap::new();
    for id in metadata.partitions.iter().flat_map(|one| &one.replicas) {
        *copies.entry(*id).or_default() += 1;
    }
    let (mut left, mut moves) = (0, Vec::new());
    let room = AT_ONCE.saturating_sub(moving.len());
    for partition in &metadata.partitions {
        if partition.replicas.iter().all(|id| *id < stay) {
            continue;
        }
        left += 1;
        if on_their_way.contains(&(&*partition.topic, partition.index)) {
            continue;
        }
        if partition.replicas.len() > stay as usize {
            return Next::Refuse(too_many(partition, stay));
        }
        if partition.leader < 0 {
            // Kafka would take the move and never come to its end.
            if partition.in_sync.iter().all(|id| !pods.contains(id)) {
                return Next::Refuse(out_of_reach(partition));
            }
            continue;
        }
        if moves.len() >= room {
            continue;
        }
        let Some(replicas) = reassigned(partition, &staying, stay, &mut copies) else {
            let needed = partition.replicas.len();
            return Next::Wait(format!(
                "{partition} has {needed} copies, and {} of the {stay} brokers that stay take part",
                staying.len()
            ));
        };
        moves.push(Move {
            topic: partition.topic.clone(),
            index: partition.index,
            replicas,
        });
    }
    if left == 0 {
        Next::Empty
    } else {
        Next::Move(left, moves)
    }
}

fn too_many(partition: &wire::Partition, stay: i32) -> String {
    let copies = partition.replicas.len();
    format!(
        "{partition} has {copies} copies, which {stay} brokers cannot hold: give it fewer with \
         kafka-reassign-partitions.sh, or set spec.kafka.managed.replicas to {copies} or more"
    )
}

fn out_of_reach(partition: &wire::Partition) -> String {
    let last = partition.in_sync.iter().max().copied().unwrap_or(0);
    let some = partition.in_sync.len().min(10);
    format!(
        "{partition} is only on brokers that are gone, {:?}: set spec.kafka.managed.replicas to {} or more to bring it \
         back with its volume, or delete the topic",
        &partition.in_sync[..some],
        last.saturating_add(1)
    )
}

/// The same copies without those on brokers that shall go. The order stays: the first one is where the leader should be.
/// Another rack goes before fewer copies.
fn reassigned(
    partition: &wire::Partition,
    staying: &[&wire::Broker],
    stay: i32,
    copies: &mut HashMap<i32, usize>,
) -> Option<Vec<i32>> {
    let mut replicas = partition.replicas.clone();
    for place in 0..replicas.len() {
        if replicas[place] < stay {
            continue;
        }
        let has_copy = |id: i32| replicas.contains(&id);
        let shares_rack = |broker: &wire::Broker| {
            let rack = broker.rack.as_ref();
            rack.is_some()
                && staying
                    .iter()
                    .any(|other| has_copy(other.id) && other.rack.as_ref() == rack)
        };
        let free = staying.iter().filter(|broker| !has_copy(broker.id));
        let count = |id: i32| copies.get(&id).copied().unwrap_or(0);
        let broker = free.min_by_key(|b| (shares_rack(b), count(b.id), b.id))?;
        *copies.entry(broker.id).or_default() += 1;
        replicas[place] = broker.id;
    }
    Some(replicas)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn brokers(racks: &[&str]) -> Vec<wire::Broker> {
        let broker = |(id, rack): (usize, &&str)| wire::Broker {
            id: id as i32,
            rack: Some((*rack).to_owned()).filter(|rack| !rack.is_empty()),
        };
        racks.iter().enumerate().map(broker).collect()
    }

    fn five(partitions: &[&[i32]]) -> Metadata {
        on(&["", "", "", "", ""], partitions)
    }

    fn on(racks: &[&str], partitions: &[&[i32]]) -> Metadata {
        let partition = |(index, replicas): (usize, &&[i32])| wire::Partition {
            topic: "shop".into(),
            index: index as i32,
            leader: replicas[0],
            replicas: replicas.to_vec(),
            in_sync: replicas.to_vec(),
        };
        Metadata {
            brokers: brokers(racks),
            partitions: partitions.iter().enumerate().map(partition).collect(),
        }
    }

    fn moved(metadata: &Metadata, moving: &[OfTopic]) -> (usize, Vec<(i32, Vec<i32>)>) {
        match next(metadata, moving, &[0, 1, 2, 3, 4], 3) {
            Next::Move(left, moves) => {
                let moves = moves.into_iter().map(|one| (one.index, one.replicas));
                (left, moves.collect())
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn copies_move_in_place_to_the_broker_with_the_fewest() {
        let metadata = five(&[&[4, 0, 1], &[0, 1], &[3, 4], &[0, 2]]);
        let moves = vec![(0, vec![2, 0, 1]), (2, vec![1, 2])];
        assert_eq!(moved(&metadata, &[]), (2, moves));
    }

    #[test]
    fn another_rack_goes_before_fewer_copies() {
        let metadata = on(&["a", "a", "b", "b", "c"], &[&[0, 4], &[2], &[2], &[2]]);
        assert_eq!(moved(&metadata, &[]).1, [(0, vec![0, 2])]);
    }

    #[test]
    fn nothing_moves_when_nobody_holds_anything_that_shall_go() {
        assert_eq!(next(&five(&[&[0, 1, 2]]), &[], &[], 3), Next::Empty);
    }

    #[test]
    fn what_is_on_its_way_is_left_to_come_and_counts() {
        let metadata = five(&[&[0, 3, 1], &[4]]);
        let moving = [("shop".into(), 0)];
        assert_eq!(moved(&metadata, &moving), (2, vec![(1, vec![2])]));
        let partitions: Vec<&[i32]> = vec![&[3]; AT_ONCE + 5];
        let metadata = five(&partitions);
        assert_eq!(moved(&metadata, &[]).1.len(), AT_ONCE);
        let moving: Vec<OfTopic> = (0..15).map(|index| ("shop".into(), index)).collect();
        let (left, moves) = moved(&metadata, &moving);
        assert_eq!((left, moves.len()), (25, 5));
        assert_eq!(moves[0].0, 15);
    }

    #[test]
    fn more_copies_than_brokers_are_for_a_person() {
        match next(&five(&[&[0, 1, 2, 3]]), &[], &[], 3) {
            Next::Refuse(why) => assert!(
                why.contains("set spec.kafka.managed.replicas to 4"),
                "{why}"
            ),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_broker_that_stays_and_is_away_takes_nothing() {
        let mut metadata = five(&[&[0, 1, 3]]);
        metadata.brokers.remove(2);
        match next(&metadata, &[], &[], 3) {
            Next::Wait(why) => assert!(why.contains("2 of the 3 brokers that stay"), "{why}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_nobody_leads_is_waited_for_or_for_a_person() {
        let mut metadata = five(&[&[0, 1], &[4]]);
        metadata.partitions[1].leader = -1;
        assert_eq!(next(&metadata, &[], &[4], 3), Next::Move(1, Vec::new()));
        match next(&metadata, &[], &[0, 1, 2], 3) {
            Next::Refuse(why) => assert!(
                why.contains("[4]: set spec.kafka.managed.replicas to 5"),
                "{why}"
            ),
            other => panic!("{other:?}"),
        }
    }

    /// An image of Kafka is its user's choice, and its answer may be anything that fits.
    #[test]
    fn as_many_as_an_answer_can_name_are_gone_through_in_no_time() {
        let topic: Arc<str> = "shop".into();
        let partition = |index| wire::Partition {
            topic: Arc::clone(&topic),
            index,
            leader: 3,
            replicas: vec![3],
            in_sync: vec![3],
        };
        let metadata = Metadata {
            brokers: brokers(&["", "", ""]),
            partitions: (0..100_000).map(partition).collect(),
        };
        let moving: Vec<_> = (0..100_000)
            .map(|index| (Arc::clone(&topic), -index))
            .collect();
        let begun = std::time::Instant::now();
        next(&metadata, &moving, &[0, 1, 2], 3);
        assert!(begun.elapsed() < std::time::Duration::from_secs(5));
    }
}
