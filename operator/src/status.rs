//! From what was seen to the status. Pure.
//!
//! Each part of a pipeline says how it is; `Ready`, `Reconciling` and `Stalled` are drawn from the parts, in one
//! place. `Stalled` means that nothing gets better until a person acts, and the message says how.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use logpipe_api::LogPipeline;
use logpipe_api::pipeline::{
    CheckpointsStatus, Condition, EtlStatus, KafkaStatus, LogPipelineStatus, Progress, Suspend,
    TopicStatus,
};

use crate::apply::ApplyError;
use crate::brokers::decommission::Decommission;
use crate::brokers::level::Level;
use crate::brokers::ordinal;
use crate::desired;
use crate::desired::kafka::CONTROLLERS;
use crate::desired::names::{COMPONENT, Component, Names, selector_text};
use crate::object::{Kind, Object};
use crate::observe::Live;
use crate::validate::{Fault, Pipeline};
use crate::volumes::Growth;

pub mod pods;

/// How long brokers may take to find together: a log of some size is read again after a crash.
const QUORUM_TAKES: SignedDuration = SignedDuration::from_mins(10);

/// Why something is as it is, in one word. Scripts match on them: they are never renamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// All of it runs.
    Running,
    /// `spec.suspend` holds something back.
    Suspended,
    /// The manifest asks for something that cannot be done.
    InvalidSpec,
    /// The API server refused an object.
    ApplyFailed,
    /// A checkpoint is gone.
    CheckpointMissing,
    /// Kafka is not ours.
    External,
    /// Every broker is ready.
    BrokersReady,
    /// Some brokers are not.
    BrokersStarting,
    /// They are, and some still have to be restarted for what changed.
    BrokersRestarting,
    /// Brokers that the manifest no longer asks for are emptied and taken away.
    BrokersLeaving,
    /// They cannot be emptied.
    BrokersLeavingRefused,
    /// Kafka's `metadata.version` cannot be what the manifest says.
    MetadataVersionRefused,
    /// Volumes are on their way to the size that the manifest says.
    VolumesGrowing,
    /// A volume was not allowed to grow.
    VolumesRefused,
    /// There was a quorum, and no broker has been ready for a while.
    QuorumLost,
    /// What the part needs is not there yet.
    Waiting,
    /// The topic is what the manifest says.
    TopicReady,
    /// The topic is being made or changed.
    TopicPending,
    /// Lines come in.
    SourceRunning,
    /// The source's pod is not ready.
    SourceStarting,
    /// Others write the topic.
    WrittenByOthers,
    /// Every ETL worker is ready.
    WorkersRunning,
    /// Some are not.
    WorkersStarting,
    /// A pod's process ends again and again.
    PodFailing,
    /// A pod is not made: it is refused.
    PodsNotMade,
    /// A pod finds no node.
    PodUnschedulable,
    /// A pod's image is not to be had.
    ImageUnavailable,
    /// A pod's Secret or claim is not there.
    VolumesMissing,
}

impl Reason {
    /// As it stands in a condition.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "Running",
            Self::Suspended => "Suspended",
            Self::InvalidSpec => "InvalidSpec",
            Self::ApplyFailed => "ApplyFailed",
            Self::CheckpointMissing => "CheckpointMissing",
            Self::External => "External",
            Self::BrokersReady => "BrokersReady",
            Self::BrokersStarting => "BrokersStarting",
            Self::BrokersRestarting => "BrokersRestarting",
            Self::BrokersLeaving => "BrokersLeaving",
            Self::BrokersLeavingRefused => "BrokersLeavingRefused",
            Self::MetadataVersionRefused => "MetadataVersionRefused",
            Self::VolumesGrowing => "VolumesGrowing",
            Self::VolumesRefused => "VolumesRefused",
            Self::QuorumLost => "QuorumLost",
            Self::Waiting => "Waiting",
            Self::TopicReady => "TopicReady",
            Self::TopicPending => "TopicPending",
            Self::SourceRunning => "SourceRunning",
            Self::SourceStarting => "SourceStarting",
            Self::WrittenByOthers => "WrittenByOthers",
            Self::WorkersRunning => "WorkersRunning",
            Self::WorkersStarting => "WorkersStarting",
            Self::PodFailing => "PodFailing",
            Self::PodsNotMade => "PodsNotMade",
            Self::PodUnschedulable => "PodUnschedulable",
            Self::ImageUnavailable => "ImageUnavailable",
            Self::VolumesMissing => "VolumesMissing",
        }
    }
}

/// What a reconciliation came to.
#[derive(Debug)]
pub enum Outcome<'a> {
    /// The manifest cannot be carried out; what runs goes on as it is.
    Invalid(Invalid<'a>),
    /// This object is still on its way out, and nothing is made before it is gone.
    Ending(&'a str),
    /// It was applied, as far as that went.
    Applied(Applied<'a>),
}

/// What was not carried out, and what is there all the same.
#[derive(Debug)]
pub struct Invalid<'a> {
    /// Why not.
    pub faults: &'a [Fault],
    /// What is.
    pub live: &'a Live,
    /// Checkpoints that were made once and are gone.
    pub lost: &'a [String],
    /// What was committed.
    pub progress: Option<Progress>,
}

/// What was applied and seen.
#[derive(Debug)]
pub struct Applied<'a> {
    /// What should be.
    pub pipeline: &'a Pipeline,
    /// What is.
    pub live: &'a Live,
    /// Checkpoints that were made once and are gone.
    pub lost: &'a [String],
    /// What the API server refused.
    pub error: Option<&'a ApplyError>,
    /// What is to come until no broker is there that the manifest does not ask for.
    pub leaving: Option<&'a Decommission>,
    /// What is to come until every broker has the current template.
    pub restarts: Option<&'a str>,
    /// How `metadata.version` is, or why that is not known yet. Nothing while brokers are on their way.
    pub level: Option<&'a Result<Level, String>>,
    /// What is to come until volumes have their size.
    pub growing: &'a [Growth],
    /// What lacks pods for a while.
    pub lacking: &'a [&'a Object],
    /// What was committed.
    pub progress: Option<Progress>,
    /// When.
    pub now: Timestamp,
}

/// How a part is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    ready: bool,
    stalled: bool,
    reason: Reason,
    message: String,
}

impl Part {
    fn ready(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            ready: true,
            stalled: false,
            reason,
            message: message.into(),
        }
    }

    fn pending(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            ready: false,
            ..Self::ready(reason, message)
        }
    }

    fn stalled(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            stalled: true,
            ..Self::pending(reason, message)
        }
    }
}

/// The status after `outcome`. Where nothing changed it equals the one that `object` has.
pub fn of(object: &LogPipeline, outcome: &Outcome<'_>, now: Timestamp) -> LogPipelineStatus {
    let old = object.status.clone().unwrap_or_default();
    let mut status = LogPipelineStatus {
        observed_generation: object.metadata.generation,
        ..old.clone()
    };
    let (summary, parts) = match outcome {
        Outcome::Invalid(invalid) => {
            count(&mut status, invalid.live, object, invalid.progress.as_ref());
            let faults = invalid.faults.iter().map(ToString::to_string);
            let text: Vec<String> = faults.chain(missing(invalid.lost, object)).collect();
            let text = text.join("; ");
            (Part::stalled(Reason::InvalidSpec, text), Vec::new())
        }
        Outcome::Ending(object) => {
            let text = format!("{object} is being deleted: waiting until it is gone");
            (Part::pending(Reason::Waiting, text), Vec::new())
        }
        Outcome::Applied(applied) => {
            describe(&mut status, applied);
            count(&mut status, applied.live, object, applied.progress.as_ref());
            let parts = parts(applied);
            (summary(object, applied, &parts), parts)
        }
    };
    let generation = object.metadata.generation.unwrap_or_default();
    let mut conditions = Conditions {
        old: &old.conditions,
        new: Vec::new(),
        generation,
        now,
    };
    conditions.add("Ready", summary.ready, summary.reason, &summary.message);
    let reconciling = !summary.ready && !summary.stalled;
    conditions.add(
        "Reconciling",
        reconciling,
        summary.reason,
        if reconciling { &summary.message } else { "" },
    );
    conditions.add(
        "Stalled",
        summary.stalled,
        summary.reason,
        if summary.stalled {
            &summary.message
        } else {
            ""
        },
    );
    for (kind, part) in &parts {
        conditions.add(kind, part.ready, part.reason, &part.message);
    }
    if parts.is_empty() {
        // What runs is left as it is, and so is what was said of it.
        conditions.keep();
    }
    status.conditions = conditions.new;
    status
}

struct Conditions<'a> {
    old: &'a [Condition],
    new: Vec<Condition>,
    generation: i64,
    now: Timestamp,
}

impl Conditions<'_> {
    fn add(&mut self, kind: &str, is: bool, reason: Reason, message: &str) {
        let status = if is { "True" } else { "False" };
        let old = self
            .old
            .iter()
            .find(|old| old.kind == kind && old.status == status);
        let now = self.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        self.new.push(Condition {
            kind: kind.to_owned(),
            status: status.to_owned(),
            reason: reason.as_str().to_owned(),
            message: message.to_owned(),
            observed_generation: self.generation,
            last_transition_time: old.map_or(now, |old| old.last_transition_time.clone()),
        });
    }

    fn keep(&mut self) {
        for old in self.old {
            if self.new.iter().all(|new| new.kind != old.kind) {
                self.new.push(old.clone());
            }
        }
    }
}

fn summary(object: &LogPipeline, applied: &Applied<'_>, parts: &[(&'static str, Part)]) -> Part {
    if let Some(error) = applied.error {
        let cause = error.cause();
        let text = match cause {
            Some(cause) => format!("{error}: {}", said(cause)),
            None => error.to_string(),
        };
        return if cause.is_none_or(is_permanent) {
            Part::stalled(Reason::ApplyFailed, text)
        } else {
            Part::pending(Reason::ApplyFailed, text)
        };
    }
    if let Some(text) = missing(applied.lost, object) {
        return Part::stalled(Reason::CheckpointMissing, text);
    }
    let not_ready = |(_, part): &&(&str, Part)| !part.ready;
    let stalled = parts.iter().find(|(_, part)| part.stalled);
    if let Some((_, part)) = stalled.or_else(|| parts.iter().find(not_ready)) {
        return part.clone();
    }
    match applied.pipeline.suspend {
        Suspend::None => Part::ready(Reason::Running, "lines become rows"),
        Suspend::Sources => Part::ready(
            Reason::Suspended,
            "the source is held back by spec.suspend; lines in the topic still become rows",
        ),
        Suspend::All => Part::ready(
            Reason::Suspended,
            "source and ETL are held back by spec.suspend",
        ),
    }
}

/// What is to do when checkpoints are gone.
fn missing(lost: &[String], object: &LogPipeline) -> Option<String> {
    let first = lost.first()?;
    let many = if lost.len() > 1 {
        format!(" and {} more", lost.len() - 1)
    } else {
        String::new()
    };
    Some(format!(
        "ConfigMap {first}{many} is gone, and without it nobody knows what was written; it is not made anew, \
         because every line would be written again. Set spec.suspend: All, make it from the files in the \
         sink with `logpipe checkpoint rebuild {name} -n {namespace}`, and set suspend back",
        name = object.metadata.name.as_deref().unwrap_or_default(),
        namespace = object.metadata.namespace.as_deref().unwrap_or_default(),
    ))
}

/// What the API server said, without the rest of its answer.
fn said(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// Whether trying again gives the same answer.
pub fn is_permanent(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => matches!(status.code, 400 | 403 | 405 | 413 | 422),
        _ => false,
    }
}

fn parts(applied: &Applied<'_>) -> Vec<(&'static str, Part)> {
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
    let ready = set
        .as_ref()
        .map_or(0, |set| stay(applied.live, Component::Kafka, set));
    if let Some(leaving) = applied.leaving {
        let staying = applied.live.pods(Component::Kafka);
        let staying = staying.filter(|pod| ordinal(pod).is_some_and(|id| id < kafka.replicas));
        return trouble_of(staying, applied.now).unwrap_or_else(|| {
            if leaving.stalled {
                Part::stalled(Reason::BrokersLeavingRefused, &leaving.message)
            } else {
                Part::pending(Reason::BrokersLeaving, &leaving.message)
            }
        });
    }
    if let Some(growing) = growing(applied, Component::Kafka) {
        return growing;
    }
    let text = format!("{ready} of {} brokers are ready", kafka.replicas);
    if let (true, Some(restarts)) = (ready >= kafka.replicas, applied.restarts) {
        return Part::pending(Reason::BrokersRestarting, restarts);
    }
    if ready >= kafka.replicas {
        return match applied.level {
            Some(Ok(Level {
                refused: Some(why), ..
            })) => Part::stalled(Reason::MetadataVersionRefused, why),
            Some(Err(why)) => Part::ready(
                Reason::BrokersReady,
                format!("{text}; their metadata.version is not looked at yet: {why}"),
            ),
            _ => Part::ready(Reason::BrokersReady, text),
        };
    }
    let trouble = trouble(applied, Component::Kafka);
    let mut part = trouble.unwrap_or_else(|| Part::pending(Reason::BrokersStarting, text));
    // Other troubles have a remedy of their own.
    let is_plain = matches!(part.reason, Reason::BrokersStarting | Reason::PodFailing);
    if kafka.bootstrapped && is_plain && no_controller_for_long(applied, kafka.replicas) {
        return without_quorum(pipeline, &part.message);
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
        let since = pod.and_then(pods::unready_since);
        since.is_some_and(|since| applied.now.duration_since(since) >= QUORUM_TAKES)
    })
}

/// A disk that is empty must not found a quorum again, and waits for the others for ever.
fn without_quorum(pipeline: &Pipeline, message: &str) -> Part {
    let (name, namespace) = (&pipeline.name, &pipeline.namespace);
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

/// Whether a Job has done its work.
pub fn is_complete(job: &Job) -> bool {
    job.status
        .as_ref()
        .is_some_and(|status| status.succeeded.unwrap_or(0) > 0)
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
    let ready = stay(applied.live, Component::Source, &set);
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
    let ready = stay(applied.live, Component::Etl, &set);
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
    let mut growing = applied.growing.iter();
    let growth = growing.find(|growth| growth.component == component)?;
    Some(if growth.stalled {
        Part::stalled(Reason::VolumesRefused, &growth.message)
    } else {
        Part::pending(Reason::VolumesGrowing, &growth.message)
    })
}

fn set(applied: &Applied<'_>, name: &str) -> Option<StatefulSet> {
    applied.live.typed(Kind::StatefulSet, name)
}

/// The pods of a StatefulSet that are ready, as far as its controller has seen the set as it is now.
pub fn ready_replicas(set: &StatefulSet) -> i32 {
    let Some(status) = &set.status else { return 0 };
    if status.observed_generation < set.metadata.generation {
        return 0;
    }
    status.ready_replicas.unwrap_or(0)
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
fn stay(live: &Live, component: Component, set: &StatefulSet) -> i32 {
    let pods = live.pods(component);
    let ending =
        pods.filter(|pod| pod.metadata.deletion_timestamp.is_some() && pods::is_ready(pod));
    (ready_replicas(set) - ending.count() as i32).max(0)
}

/// Everything in the status beside the conditions.
fn describe(status: &mut LogPipelineStatus, applied: &Applied<'_>) {
    let pipeline = applied.pipeline;
    let kafka = pipeline.kafka.as_ref();
    status.kafka = Some(KafkaStatus {
        mode: if kafka.is_some() {
            "Managed"
        } else {
            "External"
        }
        .to_owned(),
        cluster_id: kafka.map(|kafka| kafka.cluster_id.clone()),
        metadata_version: kafka.and_then(|_| metadata_version(status, applied)),
        bootstrap_servers: pipeline.kafka_settings.bootstrap_servers.join(","),
        replicas: kafka.map(|kafka| kafka.replicas),
        ready_replicas: kafka.map(|_| 0),
    });
    let job: Option<Job> = applied
        .live
        .typed(Kind::Job, &desired::topic_name(pipeline));
    if job.as_ref().is_some_and(is_complete) {
        status.topic = Some(TopicStatus {
            name: pipeline.kafka_settings.topic.clone(),
            partitions: pipeline.topic.partitions as i32,
        });
    }
    status.etl = Some(EtlStatus {
        replicas: 0,
        ready_replicas: 0,
        selector: selector_text(&pipeline.name, Component::Etl),
    });
    let prefix = pipeline.names.checkpoint();
    let objects = desired::checkpoint_names(&prefix, pipeline.topic.partitions);
    if objects
        .iter()
        .all(|name| applied.live.find(Kind::ConfigMap, name).is_some())
    {
        status.checkpoints = Some(CheckpointsStatus {
            partitions: pipeline.topic.partitions as i32,
        });
    }
}

/// What of it changes all the time, whether the manifest can be carried out or not.
fn count(
    status: &mut LogPipelineStatus,
    live: &Live,
    object: &LogPipeline,
    progress: Option<&Progress>,
) {
    let names = Names::new(object.metadata.name.as_deref().unwrap_or_default());
    let set = |name: String| live.typed::<StatefulSet>(Kind::StatefulSet, &name);
    let ready = |set: &Option<StatefulSet>, component| {
        let set = set.as_ref();
        set.map_or(0, |set| stay(live, component, set))
    };
    if let Some(KafkaStatus {
        ready_replicas: Some(count),
        ..
    }) = &mut status.kafka
    {
        *count = ready(&set(names.kafka()), Component::Kafka);
    }
    if let Some(etl) = &mut status.etl {
        let workers = set(names.etl());
        etl.ready_replicas = ready(&workers, Component::Etl);
        let status = workers.and_then(|set| set.status);
        etl.replicas = status.map_or(0, |status| status.replicas);
    }
    if let Some(progress) = progress {
        status.progress = Some(progress.clone());
    }
}

/// What was found now, or else before.
fn metadata_version(status: &LogPipelineStatus, applied: &Applied<'_>) -> Option<String> {
    if let Some(Ok(level)) = applied.level {
        return Some(level.finalised.clone());
    }
    status.kafka.as_ref()?.metadata_version.clone()
}
