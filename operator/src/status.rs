//! From what was seen to the status. Pure.
//!
//! Each part of a pipeline says how it is; `Ready`, `Reconciling` and `Stalled` are drawn from the parts, in one
//! place. `Stalled` means that nothing gets better until a person acts, and the message says how.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use logpipe_api::LogPipeline;
use logpipe_api::pipeline::{
    CheckpointsStatus, Condition, EtlStatus, KafkaStatus, LogPipelineStatus, Progress, Suspend,
    TopicStatus,
};

use crate::apply::ApplyError;
use crate::brokers::metadata_version::MetadataVersion;
use crate::desired;
use crate::desired::names::{Component, Names, selector_text};
use crate::error::{is_permanent, server_message};
use crate::object::{Kind, Object};
use crate::observe::{Live, is_complete};
use crate::pending::Pending;
use crate::validate::{Fault, Pipeline};

mod parts;
pub mod pods;
mod reason;

use parts::{Part, parts, ready_and_staying};
pub use reason::Reason;

/// What a reconciliation came to.
#[derive(Debug)]
pub enum Outcome<'a> {
    /// The manifest cannot be carried out; what runs goes on as it is.
    Invalid(Invalid<'a>),
    /// This object is still on its way out, and nothing is made before it is gone.
    Terminating(&'a str),
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
    /// What was done.
    pub steps: &'a Steps,
    /// What lacks pods for a while.
    pub lacking: &'a [&'a Object],
    /// What was committed.
    pub progress: Option<Progress>,
    /// When.
    pub now: Timestamp,
}

/// What each step came to, in the order in which they are taken.
#[derive(Debug)]
pub struct Steps {
    /// What is to come until no broker is there that the manifest does not ask for.
    pub leaving: Option<Pending>,
    /// What is to come until volumes have their size, by part.
    pub growing: BTreeMap<Component, Pending>,
    /// Whether every object was applied.
    pub applied: Result<(), ApplyError>,
    /// What is to come until every broker has the current template.
    pub restarts: Option<Pending>,
    /// How `metadata.version` is.
    pub metadata_version: MetadataVersion,
}

impl Steps {
    /// Whether there is a next one that waits for no person.
    pub(crate) fn go_on(&self) -> bool {
        let pending = self.leaving.iter().chain(self.growing.values());
        pending.chain(&self.restarts).any(|step| !step.stalled)
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
        Outcome::Terminating(object) => {
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
    if let Err(error) = &applied.steps.applied {
        let cause = error.cause();
        let text = match cause {
            Some(cause) => format!("{error}: {}", server_message(cause)),
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
        set.map_or(0, |set| ready_and_staying(live, component, set))
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
    let before = || status.kafka.as_ref()?.metadata_version.clone();
    applied
        .steps
        .metadata_version
        .finalised
        .clone()
        .or_else(before)
}
