//! What makes the topic: a Job in the pipeline's own namespace, so that the operator needs no credentials of
//! Kafka and dials no address that a user typed. Pure.

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use logpipe_api::settings::Settings;

use super::metadata;
use super::names::{self, Component};
use super::pod::{self, Defaults};
use crate::object::{Kind, Object};
use crate::validate::Pipeline;

const DEFAULTS: Defaults<'_> = Defaults {
    cpu: "20m",
    memory: "64Mi",
    memory_limit: "256Mi",
};

/// The Job of the topic as the manifest describes it now.
pub(super) fn job(pipeline: &Pipeline) -> Object {
    let template = template(pipeline);
    Object::new(
        Kind::Job,
        &Job {
            metadata: metadata(pipeline, Component::Topic, named(pipeline, &template)),
            spec: Some(JobSpec {
                // It tries until it succeeds: what it waits for may come back after hours.
                backoff_limit: Some(i32::MAX),
                template,
                ..JobSpec::default()
            }),
            ..Job::default()
        },
    )
}

/// The Job's name.
pub fn name(pipeline: &Pipeline) -> String {
    named(pipeline, &template(pipeline))
}

/// A Job cannot be changed: another topic, or another image, is another Job.
fn named(pipeline: &Pipeline, template: &PodTemplateSpec) -> String {
    let text = serde_json::to_vec(template).expect("a template is JSON");
    pipeline.names.topic(&names::hash8(&text))
}

fn template(pipeline: &Pipeline) -> PodTemplateSpec {
    let mut variables = pipeline.topic.to_env();
    variables.extend(pipeline.kafka_settings.to_env());
    let (volumes, mounts) = pod::secrets(&pipeline.kafka_secrets);
    let mut container = pod::worker(pipeline, "topic", pod::env(variables));
    let beside = pipeline.etl.resources.as_ref();
    container.resources = Some(pod::resources_beside(DEFAULTS, beside));
    container.volume_mounts = (!mounts.is_empty()).then_some(mounts);
    let mut spec = pod::spec(pipeline, 10, vec![container]);
    // In the same pod again, whose last message says why.
    spec.restart_policy = Some("OnFailure".to_owned());
    spec.volumes = (!volumes.is_empty()).then_some(volumes);
    pod::template(pipeline, Component::Topic, spec)
}
