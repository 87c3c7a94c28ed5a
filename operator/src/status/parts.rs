//! How each part of a pipeline is. Pure.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use logpipe_api::pipeline::Suspend;
use logpipe_probe::wire::CONTROLLERS;

use super::{Applied, Reason, pods};
use crate::brokers::ordinal;
use crate::desired;
use crate::desired::names::{COMPONENT, Component};
use crate::object::Kind;
use crate::observe::pods::{is_ready, unready_since};
use crate::observe::{Live, claim_ordinal, is_complete, ready_replicas};
use crate::pending::Pending;
use crate::validate::Pipeline;

/// How long brokers may take to find together: a log of some size is read again after a crash.
const QUORUM_TAKES: SignedDuration = SignedDuration::from_mins(10);

/// How a part is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) ready: bool,
    pub(super) stalled: bool,
    pub(super) reason: Reason,
    pub(super) message: String,
}

impl Part {
    pub(super) fn ready(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            ready: true,
            stalled: false,
            reason,
            message: message.into(),
        }
    }

    pub(super) fn pending(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            ready: false,
            ..Self::ready(reason, message)
        }
    }

    pub(super) fn stalled(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            stalled: true,
            ..Self::pending(reason, message)
        }
    }

    fn unfinished(pending: &Pending, waits: Reason, refused: Reason) -> Self {
        if pending.stalled {
            Self::stalled(refused, &pending.message)
        } else {
            Self::pending(waits, &pending.message)
        }
    }
}

/// Each part with its condition, in the order in which they depend on one another.
pub(super) fn parts(applied: &Applied<'_>) -> Vec<(&'static str, Part)> {
    let kafka = kafka(applied);
    let topic = topic(applied, &kafka);
    let source = source(applied, &topic);
    let etl = etl(applied, &topic);
    vec![
        ("KafkaReady", kafka),
        ("TopicReady", topic),
        ("SourceReady", source),
        ("ETLReady", etl),
    ]
}

fn kafka(applied: &Applied<'_>) -> Part {
    let pipeline = applied.pipeline;
    let Some(kafka) = &pipeline.kafka else {
        let servers = pipeline.kafka_settings.bootstrap_servers.join(", ");
        return Part::ready(
            Reason::External,
            format!("Kafka at {servers} is not run by the operator"),
        );
    };
    let set = set(applied, &pipeline.names.kafka());
    let ready = set.as_ref().map_or(0, |set| {
        ready_and_staying(applied.live, Component::Kafka, set)
    });
    if let Some(leaving) = &applied.steps.leaving {
        let staying = applied.live.pods(Component::Kafka);
        let staying = staying.filter(|pod| ordinal(pod).is_some_and(|id| id < kafka.replicas));
        let (waits, refused) = (Reason::BrokersLeaving, Reason::BrokersLeavingRefused);
        return trouble_of(staying, applied.now)
            .unwrap_or_else(|| Part::unfinished(leaving, waits, refused));
    }
    if let Some(growing) = growing(applied, Component::Kafka) {
        return growing;
    }
    let text = format!("{ready} of {} brokers are ready", kafka.replicas);
    if let (true, Some(restarts)) = (ready >= kafka.replicas, &applied.steps.restarts) {
        return Part::pending(Reason::BrokersRestarting, &restarts.message);
    }
    if ready >= kafka.replicas {
        return match &applied.steps.metadata_version.pending {
            Some(refused) if refused.stalled => {
                Part::stalled(Reason::MetadataVersionRefused, &refused.message)
            }
            Some(Pending { message, .. }) => Part::ready(
                Reason::BrokersReady,
                format!("{text}; their metadata.version is not looked at yet: {message}"),
            ),
            None => Part::ready(Reason::BrokersReady, text),
        };
    }
    let trouble = trouble(applied, Component::Kafka);
    let mut part = trouble.unwrap_or_else(|| Part::pending(Reason::BrokersStarting, text));
    // Other troubles have a remedy of their own.
    let is_plain = matches!(part.reason, Reason::BrokersStarting | Reason::PodFailing);
    if kafka.bootstrapped && is_plain && no_controller_for_long(applied, kafka.replicas) {
        let lacking = missing_controllers(applied.live, &pipeline.names.kafka(), kafka.replicas);
        return without_quorum(pipeline, &part.message, lacking);
    }
    if let (Reason::PodUnschedulable, Some(label)) = (part.reason, &kafka.rack) {
        part.message = format!(
            "{}. For spec.kafka.managed.rack only nodes with the label {label} take brokers: \
             kubectl get nodes -L {label}",
            part.message
        );
    }
    part
}

/// Whether none of the brokers that vote has been ready for a while, though their pods are there.
fn no_controller_for_long(applied: &Applied<'_>, replicas: i32) -> bool {
    (0..replicas.min(CONTROLLERS)).all(|id| {
        let name = format!("{}-{id}", applied.pipeline.names.kafka());
        let mut pods = applied.live.pods(Component::Kafka);
        let pod = pods.find(|pod| pod.metadata.name.as_ref() == Some(&name));
        let since = pod.and_then(unready_since);
        since.is_some_and(|since| applied.now.duration_since(since) >= QUORUM_TAKES)
    })
}

/// How many brokers an earlier pipeline had whose disks are taken over, if it had controllers that this one lacks.
fn missing_controllers(live: &Live, set: &str, replicas: i32) -> Option<i32> {
    let brokers = live.claims.iter();
    let brokers = brokers.filter_map(|claim| claim_ordinal(claim, set));
    let controllers = brokers.filter(|id| (replicas..CONTROLLERS).contains(id));
    controllers.max().map(|id| id + 1)
}

/// A disk that is empty must not found a quorum again, and waits for the others for ever.
fn without_quorum(pipeline: &Pipeline, message: &str, controllers: Option<i32>) -> Part {
    let (name, namespace) = (&pipeline.name, &pipeline.namespace);
    if let Some(count) = controllers {
        let text = format!(
            "{message}; the volumes are of a Kafka with {count} controllers, which find no majority without the \
             others: set spec.kafka.managed.replicas to {count} again"
        );
        return Part::stalled(Reason::QuorumLost, text);
    }
    let text = format!(
        "{message}; no broker was ready for {} minutes, though there was a quorum once. If a disk was lost or its \
         claim removed: bring the claims data-{kafka}-… back as they were, or begin anew: kubectl delete lp {name} \
         -n {namespace}; kubectl delete pvc,configmap -l logpipe.dev/pipeline={name} -n {namespace}; then apply it \
         with another spec.sink.s3.prefix",
        QUORUM_TAKES.as_mins(),
        kafka = pipeline.names.kafka(),
    );
    Part::stalled(Reason::QuorumLost, text)
}

fn topic(applied: &Applied<'_>, kafka: &Part) -> Part {
    let pipeline = applied.pipeline;
    let name = &pipeline.kafka_settings.topic;
    let job: Option<Job> = applied
        .live
        .typed(Kind::Job, &desired::topic_name(pipeline));
    let Some(job) = job else {
        return Part::pending(
            Reason::Waiting,
            format!("topic {name} waits for Kafka: {}", kafka.message),
        );
    };
    if is_complete(&job) {
        let partitions = pipeline.topic.partitions;
        return Part::ready(
            Reason::TopicReady,
            format!("topic {name} has {partitions} partitions"),
        );
    }
    trouble(applied, Component::Topic).unwrap_or_else(|| {
        Part::pending(Reason::TopicPending, format!("topic {name} is being made"))
    })
}

fn source(applied: &Applied<'_>, topic: &Part) -> Part {
    let pipeline = applied.pipeline;
    if pipeline.source.is_none() {
        return Part::ready(Reason::WrittenByOthers, "the topic is written by others");
    }
    if pipeline.suspend != Suspend::None {
        return Part::ready(Reason::Suspended, "held back by spec.suspend");
    }
    if let Some(growing) = growing(applied, Component::Source) {
        return growing;
    }
    let Some(set) = set(applied, &pipeline.names.source()) else {
        return Part::pending(
            Reason::Waiting,
            format!("the source waits for the topic: {}", topic.message),
        );
    };
    let ready = ready_and_staying(applied.live, Component::Source, &set);
    if current_replicas(&set, ready) >= 1 {
        return Part::ready(Reason::SourceRunning, "lines come in");
    }
    trouble(applied, Component::Source).unwrap_or_else(|| {
        let text = if ready >= 1 {
            "the source's pod still runs what the manifest said before, and is replaced"
        } else {
            "the source's pod is starting"
        };
        Part::pending(Reason::SourceStarting, text)
    })
}

fn etl(applied: &Applied<'_>, topic: &Part) -> Part {
    let pipeline = applied.pipeline;
    if pipeline.suspend == Suspend::All {
        return Part::ready(Reason::Suspended, "held back by spec.suspend");
    }
    let Some(set) = set(applied, &pipeline.names.etl()) else {
        return Part::pending(
            Reason::Waiting,
            format!("the workers wait for the topic: {}", topic.message),
        );
    };
    let ready = ready_and_staying(applied.live, Component::Etl, &set);
    let all = pipeline.etl.replicas;
    let mut text = format!("{ready} of {all} workers are ready");
    let partitions = pipeline.topic.partitions as i32;
    if all > partitions {
        let idle = all - partitions;
        text = format!(
            "{text}; {idle} of them have nothing to do, because there are {partitions} partitions: \
             raise spec.kafka.topic.partitions or lower spec.etl.replicas"
        );
    }
    let current = current_replicas(&set, ready);
    if current >= all {
        return Part::ready(Reason::WorkersRunning, text);
    }
    if current < ready {
        let before = ready - current;
        text = format!(
            "{text}; {before} of them still run what the manifest said before, and are replaced"
        );
    }
    trouble(applied, Component::Etl).unwrap_or_else(|| Part::pending(Reason::WorkersStarting, text))
}

fn trouble(applied: &Applied<'_>, component: Component) -> Option<Part> {
    let trouble = trouble_of(applied.live.pods(component), applied.now);
    if trouble.is_some() {
        return trouble;
    }
    let mut lacking = applied.lacking.iter();
    let lacking = lacking.find(|object| object.label(COMPONENT) == Some(component.as_str()))?;
    Some(Part::pending(Reason::PodsNotMade, pods::not_made(lacking)))
}

fn trouble_of<'a>(mut pods: impl Iterator<Item = &'a Pod>, now: Timestamp) -> Option<Part> {
    let trouble = pods.find_map(|pod| pods::trouble(pod, now))?;
    Some(Part {
        ready: false,
        stalled: trouble.stalled,
        reason: trouble.reason,
        message: trouble.message,
    })
}

fn growing(applied: &Applied<'_>, component: Component) -> Option<Part> {
    let (waits, refused) = (Reason::VolumesGrowing, Reason::VolumesRefused);
    let growing = applied.steps.growing.get(&component)?;
    Some(Part::unfinished(growing, waits, refused))
}

fn set(applied: &Applied<'_>, name: &str) -> Option<StatefulSet> {
    applied.live.typed(Kind::StatefulSet, name)
}

/// Those of them that have the current template: the others run what the manifest said before.
fn current_replicas(set: &StatefulSet, ready: i32) -> i32 {
    let Some(status) = &set.status else { return 0 };
    if status.current_revision == status.update_revision {
        return ready;
    }
    ready.min(status.updated_replicas.unwrap_or(0))
}

/// Those of them that stay: a pod that ends counts as ready for its controller until its port is closed.
pub(super) fn ready_and_staying(live: &Live, component: Component, set: &StatefulSet) -> i32 {
    let pods = live.pods(component);
    let ending = pods.filter(|pod| pod.metadata.deletion_timestamp.is_some() && is_ready(pod));
    (ready_replicas(set) - ending.count() as i32).max(0)
}
