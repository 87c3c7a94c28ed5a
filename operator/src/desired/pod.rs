//! What all pods share: security, volumes, environment, resources. Pure.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::DeepMerge;
use k8s_openapi::api::apps::v1::StatefulSetPersistentVolumeClaimRetentionPolicy;
use k8s_openapi::api::core::v1::{
    Affinity, Capabilities, Container, ContainerPort, EmptyDirVolumeSource, EnvVar, EnvVarSource,
    HTTPGetAction, LocalObjectReference, NodeAffinity, NodeSelector, NodeSelectorRequirement,
    NodeSelectorTerm, ObjectFieldSelector, PodSecurityContext, PodSpec, Probe,
    ResourceRequirements, SeccompProfile, SecretVolumeSource, SecurityContext, Toleration,
    TopologySpreadConstraint, Volume, VolumeMount,
};
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, PodTemplateSpec, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use logpipe_api::pipeline::{
    self, Amounts, CORE_CONTAINERS, Keep, PodTemplate, PullPolicy, Resources, SECRETS, Storage,
};
use logpipe_api::settings::{MetricsSettings, Settings};

use super::names::{self, Component};
use crate::validate::Pipeline;

/// The user that our processes run as; also that of the official Kafka image.
const USER: i64 = 1000;

/// What a component is given when the manifest does not say: CPU and memory it is sure of, and the memory it
/// cannot exceed. CPU has no limit: a limit throttles where the node has room.
#[derive(Clone, Copy, Debug)]
pub(super) struct Defaults<'a> {
    pub(super) cpu: &'a str,
    pub(super) memory: &'a str,
    pub(super) memory_limit: &'a str,
}

/// A pod that passes the *restricted* Pod Security level and knows nothing of the API server.
pub(super) fn spec(pipeline: &Pipeline, grace_seconds: i64, containers: Vec<Container>) -> PodSpec {
    let scheduling = &pipeline.scheduling;
    let secrets = pipeline.images.pull_secrets.iter();
    let secrets: Vec<LocalObjectReference> = secrets
        .map(|name| LocalObjectReference { name: name.clone() })
        .collect();
    PodSpec {
        automount_service_account_token: Some(false),
        // A Service called `kafka` would put KAFKA_PORT into the environment.
        enable_service_links: Some(false),
        image_pull_secrets: (!secrets.is_empty()).then_some(secrets),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            run_as_group: Some(USER),
            fs_group: Some(USER),
            // Without it each start would visit every file of a large volume.
            fs_group_change_policy: Some("OnRootMismatch".to_owned()),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                ..SeccompProfile::default()
            }),
            ..PodSecurityContext::default()
        }),
        termination_grace_period_seconds: Some(grace_seconds),
        node_selector: (!scheduling.node_selector.is_empty())
            .then(|| scheduling.node_selector.clone()),
        tolerations: (!scheduling.tolerations.is_empty())
            .then(|| scheduling.tolerations.iter().map(toleration).collect()),
        priority_class_name: scheduling.priority_class_name.clone(),
        containers,
        ..PodSpec::default()
    }
}

fn toleration(asked: &pipeline::Toleration) -> Toleration {
    let operator = match asked.operator {
        pipeline::TolerationOperator::Equal => "Equal",
        pipeline::TolerationOperator::Exists => "Exists",
    };
    let effect = asked.effect.map(|effect| match effect {
        pipeline::TaintEffect::NoSchedule => "NoSchedule",
        pipeline::TaintEffect::PreferNoSchedule => "PreferNoSchedule",
        pipeline::TaintEffect::NoExecute => "NoExecute",
    });
    Toleration {
        key: asked.key.clone(),
        operator: Some(operator.to_owned()),
        value: asked.value.clone(),
        effect: effect.map(str::to_owned),
        ..Toleration::default()
    }
}

/// The pods of a part, as the template of what makes them: ours, and over it what the manifest lays there.
pub(super) fn template(
    pipeline: &Pipeline,
    component: Component,
    spec: PodSpec,
) -> PodTemplateSpec {
    let mut metadata = ObjectMeta {
        labels: Some(names::labels(&pipeline.name, component)),
        ..ObjectMeta::default()
    };
    let mut spec = spec;
    let templates = &pipeline.pod_templates;
    let own = match component {
        Component::Kafka => &templates.kafka,
        Component::Source => &templates.source,
        Component::Etl => &templates.etl,
        Component::Topic | Component::Checkpoint => &None,
    };
    for asked in [&templates.all, own].into_iter().flatten() {
        let labels = metadata.labels.get_or_insert_default();
        labels.extend(asked.metadata.labels.clone());
        if !asked.metadata.annotations.is_empty() {
            let annotations = metadata.annotations.get_or_insert_default();
            annotations.extend(asked.metadata.annotations.clone());
        }
        spec.merge_from(laid_over(pipeline, component, &spec, asked));
    }
    PodTemplateSpec {
        metadata: Some(metadata),
        spec: Some(spec),
    }
}

/// What of a template is for the pods of this part.
fn laid_over(
    pipeline: &Pipeline,
    component: Component,
    spec: &PodSpec,
    asked: &PodTemplate,
) -> PodSpec {
    let mut over = asked.pod_spec();
    over.containers.retain(|container| {
        let is_here = spec.containers.iter().any(|own| own.name == container.name);
        let is_ours = CORE_CONTAINERS.contains(&container.name.as_str());
        // A Job never comes to its end while a container of somebody else's runs.
        is_here || (!is_ours && component != Component::Topic)
    });
    for constraint in over.topology_spread_constraints.iter_mut().flatten() {
        // Without a selector it would count no pod at all.
        constraint
            .label_selector
            .get_or_insert_with(|| selector(pipeline, component));
    }
    over
}

/// Selects the pods of a part.
pub(super) fn selector(pipeline: &Pipeline, component: Component) -> LabelSelector {
    LabelSelector {
        match_labels: Some(names::selector(&pipeline.name, component)),
        ..LabelSelector::default()
    }
}

/// A container of the worker image that does `role`.
pub(super) fn worker(pipeline: &Pipeline, role: &str, env: Vec<EnvVar>) -> Container {
    Container {
        name: role.to_owned(),
        image: Some(pipeline.images.worker.clone()),
        args: Some(vec![role.to_owned()]),
        env: Some(env),
        ..container(pipeline)
    }
}

/// The port on which the producer and the ETL workers serve metrics, and the one of the generator beside a producer.
pub(super) const METRICS: (&str, u16) = ("metrics", 9464);
pub(super) const GENERATOR_METRICS: (&str, u16) = ("metrics-gen", 9465);

/// Has a worker serve its metrics there, and makes it ready when the port answers.
pub(super) fn expose_metrics(container: &mut Container, (name, port): (&str, u16)) {
    let settings = MetricsSettings {
        listen: Some(format!("[::]:{port}")),
    };
    let variables = container.env.get_or_insert_default();
    variables.extend(env(settings.to_env()));
    container.ports = Some(vec![ContainerPort {
        name: Some(name.to_owned()),
        container_port: i32::from(port),
        ..ContainerPort::default()
    }]);
    container.readiness_probe = Some(Probe {
        http_get: Some(HTTPGetAction {
            path: Some("/readyz".to_owned()),
            port: IntOrString::String(name.to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(2),
        ..Probe::default()
    });
}

/// What all containers share.
pub(super) fn container(pipeline: &Pipeline) -> Container {
    let pull = match pipeline.images.pull_policy {
        PullPolicy::IfNotPresent => "IfNotPresent",
        PullPolicy::Always => "Always",
        PullPolicy::Never => "Never",
    };
    Container {
        image_pull_policy: Some(pull.to_owned()),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities {
                drop: Some(vec!["ALL".to_owned()]),
                ..Capabilities::default()
            }),
            ..SecurityContext::default()
        }),
        // The last lines of a container that failed become its message, and the condition's.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        ..Container::default()
    }
}

/// Variables with their values to the letter: Kubernetes would take `$(NAME)` for a reference.
pub(super) fn env(variables: BTreeMap<String, String>) -> Vec<EnvVar> {
    let variable = |(name, value): (String, String)| EnvVar {
        name,
        value: Some(value.replace('$', "$$")),
        ..EnvVar::default()
    };
    variables.into_iter().map(variable).collect()
}

/// A variable with a field of the pod.
pub(super) fn env_field(name: &str, field: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                field_path: field.to_owned(),
                ..ObjectFieldSelector::default()
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    }
}

/// The manifest's resources, and the component's own where it says nothing.
pub(super) fn resources(defaults: Defaults<'_>, asked: Option<&Resources>) -> ResourceRequirements {
    let none = Resources::default();
    let asked = asked.unwrap_or(&none);
    let mut requests = amounts(asked.requests.as_ref());
    let mut limits = amounts(asked.limits.as_ref());
    let quantity = |text: &str| Quantity(text.to_owned());
    let memory = "memory".to_owned();
    // A request must not exceed its limit: a limit that stands alone is the request, too.
    let asked_memory = limits.get("memory").cloned();
    requests
        .entry(memory.clone())
        .or_insert_with(|| asked_memory.unwrap_or_else(|| quantity(defaults.memory)));
    if !requests.contains_key("cpu") {
        let cpu = limits.get("cpu").cloned();
        requests.insert(
            "cpu".to_owned(),
            cpu.unwrap_or_else(|| quantity(defaults.cpu)),
        );
    }
    let alone = asked
        .requests
        .as_ref()
        .and_then(|requests| requests.memory.as_deref());
    limits
        .entry(memory)
        .or_insert_with(|| quantity(alone.unwrap_or(defaults.memory_limit)));
    ResourceRequirements {
        requests: Some(requests),
        limits: Some(limits),
        ..ResourceRequirements::default()
    }
}

/// The component's own, and the CPU limit of a container that the manifest says more of: a quota that counts limits
/// takes no pod in which one has none.
pub(super) fn resources_beside(
    defaults: Defaults<'_>,
    other: Option<&Resources>,
) -> ResourceRequirements {
    let limits = other.and_then(|other| other.limits.as_ref());
    let cpu = limits.and_then(|limits| limits.cpu.clone());
    let only = |cpu| Amounts { cpu, memory: None };
    let asked = Resources {
        requests: Some(only(Some(defaults.cpu.to_owned()))),
        limits: Some(only(cpu)),
    };
    resources(defaults, Some(&asked))
}

fn amounts(amounts: Option<&Amounts>) -> BTreeMap<String, Quantity> {
    let mut map = BTreeMap::new();
    let Some(amounts) = amounts else { return map };
    for (key, text) in [("cpu", &amounts.cpu), ("memory", &amounts.memory)] {
        if let Some(text) = text {
            map.insert(key.to_owned(), Quantity(text.clone()));
        }
    }
    map
}

/// A folder in memory or on the node that goes with the pod.
pub(super) fn scratch(name: &str, size: &str) -> Volume {
    Volume {
        name: name.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource {
            size_limit: Some(Quantity(size.to_owned())),
            ..EmptyDirVolumeSource::default()
        }),
        ..Volume::default()
    }
}

/// A place where a volume is seen.
pub(super) fn mount(name: &str, path: &str) -> VolumeMount {
    VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        ..VolumeMount::default()
    }
}

/// Each Secret as a volume, and where it is seen.
pub(super) fn secrets(names: &BTreeSet<String>) -> (Vec<Volume>, Vec<VolumeMount>) {
    let mut volumes = Vec::new();
    let mut mounts = Vec::new();
    for (number, secret) in names.iter().enumerate() {
        // A volume's name is a label, and a Secret's name need not be one.
        let name = format!("secret-{number}");
        mounts.push(VolumeMount {
            read_only: Some(true),
            ..mount(&name, &format!("{SECRETS}/{secret}"))
        });
        volumes.push(Volume {
            name,
            secret: Some(SecretVolumeSource {
                secret_name: Some(secret.clone()),
                default_mode: Some(0o440),
                ..SecretVolumeSource::default()
            }),
            ..Volume::default()
        });
    }
    (volumes, mounts)
}

/// The claim that each pod of a StatefulSet has.
pub(super) fn claim(
    pipeline: &Pipeline,
    component: Component,
    storage: &Storage,
) -> PersistentVolumeClaim {
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some("data".to_owned()),
            labels: Some(names::labels(&pipeline.name, component)),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            storage_class_name: storage.class_name.clone(),
            resources: Some(VolumeResourceRequirements {
                requests: Some([("storage".to_owned(), Quantity(storage.size.clone()))].into()),
                ..VolumeResourceRequirements::default()
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    }
}

/// What becomes of the claims: those of pods that are scaled away always stay.
pub(super) fn claims_stay(pipeline: &Pipeline) -> StatefulSetPersistentVolumeClaimRetentionPolicy {
    let when_deleted = match pipeline.keep {
        Keep::Retain => "Retain",
        Keep::Delete => "Delete",
    };
    StatefulSetPersistentVolumeClaimRetentionPolicy {
        when_deleted: Some(when_deleted.to_owned()),
        when_scaled: Some("Retain".to_owned()),
    }
}

/// The labels of a node that say where it is.
const ZONE: &str = "topology.kubernetes.io/zone";
const HOST: &str = "kubernetes.io/hostname";

/// One pod a node and a zone, where there are enough, and one a rack.
pub(super) fn spread(
    pipeline: &Pipeline,
    component: Component,
    rack: Option<&str>,
) -> Vec<TopologySpreadConstraint> {
    let constraint = |key: &str| TopologySpreadConstraint {
        max_skew: 1,
        topology_key: key.to_owned(),
        // A volume cannot move to another zone: its pod must be able to go back to it, however full the zone is.
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        label_selector: Some(selector(pipeline, component)),
        ..TopologySpreadConstraint::default()
    };
    let rack = rack.filter(|key| *key != ZONE);
    rack.into_iter()
        .chain([ZONE, HOST])
        .map(constraint)
        .collect()
}

/// Only nodes that have this label.
pub(super) fn nodes_with(label: &str) -> Affinity {
    Affinity {
        node_affinity: Some(NodeAffinity {
            required_during_scheduling_ignored_during_execution: Some(NodeSelector {
                node_selector_terms: vec![NodeSelectorTerm {
                    match_expressions: Some(vec![NodeSelectorRequirement {
                        key: label.to_owned(),
                        operator: "Exists".to_owned(),
                        values: None,
                    }]),
                    ..NodeSelectorTerm::default()
                }],
            }),
            ..NodeAffinity::default()
        }),
        ..Affinity::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULTS: Defaults<'_> = Defaults {
        cpu: "250m",
        memory: "512Mi",
        memory_limit: "1Gi",
    };

    fn asked(json: &str) -> (BTreeMap<String, Quantity>, BTreeMap<String, Quantity>) {
        let asked: Resources = serde_json::from_str(json).unwrap();
        let resources = resources(DEFAULTS, Some(&asked));
        (resources.requests.unwrap(), resources.limits.unwrap())
    }

    #[test]
    fn values_are_taken_to_the_letter() {
        let variables = BTreeMap::from([("A".to_owned(), "^$(x)$".to_owned())]);
        assert_eq!(env(variables)[0].value.as_deref(), Some("^$$(x)$$"));
    }

    #[test]
    fn a_request_never_exceeds_its_limit() {
        let (requests, limits) = asked(r#"{"limits": {"memory": "256Mi"}}"#);
        assert_eq!(requests["memory"].0, "256Mi");
        assert_eq!(limits["memory"].0, "256Mi");
        let (requests, limits) = asked(r#"{"requests": {"memory": "4Gi"}}"#);
        assert_eq!(requests["memory"].0, "4Gi");
        assert_eq!(limits["memory"].0, "4Gi");
    }

    #[test]
    fn what_is_left_out_is_the_usual() {
        let (requests, limits) = asked(r#"{"requests": {"cpu": "2"}}"#);
        assert_eq!(requests["cpu"].0, "2");
        assert_eq!(requests["memory"].0, "512Mi");
        assert_eq!(limits["memory"].0, "1Gi");
        assert_eq!(limits.get("cpu"), None);
    }
}
