//! Generator and producer in one pod, over one volume; or the producer alone over a volume of the user's.
//! Pure.

use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec};
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, PodTemplateSpec, Volume, VolumeMount,
};
use logpipe_api::pipeline::{SOURCE_DIR, Suspend};
use logpipe_api::settings::Settings;

use super::metadata;
use super::names::Component;
use super::pod::{self, Defaults};
use crate::object::{Kind, Object};
use crate::validate::{Pipeline, Source};

const DEFAULTS: Defaults<'_> = Defaults {
    cpu: "50m",
    memory: "64Mi",
    memory_limit: "256Mi",
};

/// A lane of the producer may take so much, in MiB; there is one for each partition.
const LANE_MIB: u32 = 2;

/// The allocator takes memory in pages of 2 MiB where it may. With a thread for each partition that is ten times what
/// the producer needs: 685 MB in place of 101 with 250 of them.
const SMALL_PAGES: (&str, &str) = ("MIMALLOC_ALLOW_THP", "0");

/// To wait for the acknowledgements that are on their way, and save the offsets.
const GRACE_SECONDS: i64 = 60;

/// The annotation of a claim with the producer's name in the offsets that are saved there.
pub const PRODUCER: &str = "logpipe.dev/producer";

/// The StatefulSet: at most one pod may read a file and number its lines.
pub(super) fn stateful_set(pipeline: &Pipeline, source: &Source) -> Object {
    let running = pipeline.suspend == Suspend::None;
    let set = StatefulSet {
        metadata: metadata(pipeline, Component::Source, pipeline.names.source()),
        spec: Some(StatefulSetSpec {
            replicas: Some(i32::from(running)),
            // In order, a pod that cannot start would never be replaced, though the manifest was mended.
            pod_management_policy: Some("Parallel".to_owned()),
            selector: pod::selector(pipeline, Component::Source),
            persistent_volume_claim_retention_policy: Some(pod::claims_stay(pipeline)),
            template: template(pipeline, source),
            volume_claim_templates: Some(vec![claim(pipeline, source)]),
            ..StatefulSetSpec::default()
        }),
        ..StatefulSet::default()
    };
    Object::new(Kind::StatefulSet, &set)
}

/// Of the volume for the saved offsets. It may outlive all else that says who the producer is.
fn claim(pipeline: &Pipeline, source: &Source) -> PersistentVolumeClaim {
    let mut claim = pod::claim(pipeline, Component::Source, &source.storage);
    let name = &source.producer.name;
    // A claim of a release that named producers without their namespace has none, and a template cannot be changed.
    if *name != pipeline.name {
        let annotations = claim.metadata.annotations.get_or_insert_default();
        annotations.insert(PRODUCER.to_owned(), name.clone());
    }
    claim
}

fn template(pipeline: &Pipeline, source: &Source) -> PodTemplateSpec {
    let (mut volumes, secrets) = pod::secrets(&pipeline.kafka_secrets);
    let memory_limit = format!(
        "{}Mi",
        (128 + LANE_MIB * pipeline.topic.partitions).max(256)
    );
    let defaults = Defaults {
        memory_limit: &memory_limit,
        ..DEFAULTS
    };
    let resources = pod::resources(defaults, source.resources.as_ref());
    let data = pod::mount("data", SOURCE_DIR);
    let mut variables = source.producer.to_env();
    variables.extend(pipeline.kafka_settings.to_env());
    variables.insert(SMALL_PAGES.0.to_owned(), SMALL_PAGES.1.to_owned());
    let mut producer = pod::worker(pipeline, "produce", pod::env(variables));
    pod::expose_metrics(&mut producer, pod::METRICS);
    producer.resources = Some(resources.clone());
    let mut mounts = vec![data.clone()];
    mounts.extend(secrets);
    if let Some(files) = &source.files {
        mounts.push(VolumeMount {
            read_only: Some(true),
            ..pod::mount("files", &files.mount_path)
        });
        volumes.push(Volume {
            name: "files".to_owned(),
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                claim_name: files.persistent_volume_claim.claim_name.clone(),
                read_only: Some(true),
            }),
            ..Volume::default()
        });
    }
    producer.volume_mounts = Some(mounts);
    let mut containers = vec![producer];
    if let Some(generator) = &source.generator {
        let mut container = pod::worker(pipeline, "generate", pod::env(generator.to_env()));
        // When all lines are written it stays: a container of a StatefulSet that ends is started again.
        container.args = Some(vec!["generate".to_owned(), "--stay".to_owned()]);
        pod::expose_metrics(&mut container, pod::GENERATOR_METRICS);
        container.resources = Some(resources);
        container.volume_mounts = Some(vec![data]);
        containers.insert(0, container);
    }
    let mut spec = pod::spec(pipeline, GRACE_SECONDS, containers);
    spec.volumes = (!volumes.is_empty()).then_some(volumes);
    pod::template(pipeline, Component::Source, spec)
}
