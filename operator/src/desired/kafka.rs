//! Kafka in `KRaft` mode as a StatefulSet of our own. Pure.
//!
//! The image's entry point is not used: it formats only a static quorum, and makes a setting of every variable
//! `KAFKA_*`. One start script serves every size: the first disk founds the quorum, every other one joins it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec, StatefulSetUpdateStrategy};
use k8s_openapi::api::core::v1::{
    ConfigMap, ConfigMapProjection, Container, ContainerPort, ExecAction, PodTemplateSpec, Probe,
    ProjectedVolumeSource, Service, ServicePort, ServiceSpec, TCPSocketAction, Volume, VolumeMount,
    VolumeProjection,
};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use logpipe_api::pipeline::metadata_version;
use logpipe_probe::wire::{CLIENT_PORT, CONTROLLERS};

use super::names::{self, Component};
use super::pod::{self, Defaults};
use super::{kept_metadata, metadata};
use crate::object::{Kind, Object};
use crate::validate::{Kafka, Pipeline};

const FILES: &str = "/etc/logpipe/kafka";

/// The file with the level that a new cluster begins with.
const METADATA_VERSION: &str = "metadata-version";

/// Where the program is that checks whether the broker is ready.
const PROBE: &str = "/opt/logpipe/logpipe-probe";
const PROBE_FOLDER: &str = "/opt/logpipe";

// The start script names the same ports.
const CONTROLLER_PORT: u16 = 9093;
const PORTS: [(&str, u16); 3] = [
    ("client", CLIENT_PORT),
    ("controller", CONTROLLER_PORT),
    ("internal", 9094),
];
const DEFAULTS: Defaults<'_> = Defaults {
    cpu: "250m",
    memory: "1Gi",
    memory_limit: "1Gi",
};

/// A controlled shutdown moves the leadership of every partition first.
const GRACE_SECONDS: i64 = 120;

/// Every object of the brokers.
pub(super) fn objects(pipeline: &Pipeline, kafka: &Kafka) -> Vec<Object> {
    let files = files(pipeline, kafka);
    let version = names::hash8(&serde_json::to_vec(&files).expect("text is JSON"));
    let config = config(pipeline, kafka, files, &version);
    let mut objects = vec![
        Object::new(Kind::ConfigMap, &identity(pipeline, kafka)),
        Object::new(Kind::ConfigMap, &config),
    ];
    if kafka.bootstrapped {
        objects.push(Object::new(Kind::ConfigMap, &bootstrapped(pipeline)));
    }
    objects.push(Object::new(Kind::Service, &nodes(pipeline)));
    objects.push(Object::new(Kind::Service, &bootstrap(pipeline)));
    if kafka.replicas > 1 {
        // With a single broker it would block every drain of its node.
        objects.push(Object::new(
            Kind::PodDisruptionBudget,
            &disruptions(pipeline),
        ));
    }
    objects.push(Object::new(
        Kind::StatefulSet,
        &stateful_set(pipeline, kafka, &version),
    ));
    objects
}

/// The cluster id. Without it a disk could be taken for that of another cluster.
fn identity(pipeline: &Pipeline, kafka: &Kafka) -> ConfigMap {
    ConfigMap {
        metadata: kept_metadata(pipeline, Component::Kafka, pipeline.names.kafka_identity()),
        immutable: Some(true),
        data: Some([("clusterId".to_owned(), kafka.cluster_id.clone())].into()),
        ..ConfigMap::default()
    }
}

/// A quorum was seen, so no disk may found one again.
fn bootstrapped(pipeline: &Pipeline) -> ConfigMap {
    ConfigMap {
        metadata: kept_metadata(
            pipeline,
            Component::Kafka,
            pipeline.names.kafka_bootstrapped(),
        ),
        immutable: Some(true),
        data: Some([("bootstrapped".to_owned(), "true".to_owned())].into()),
        ..ConfigMap::default()
    }
}

/// What a broker reads at its start.
fn files(pipeline: &Pipeline, kafka: &Kafka) -> BTreeMap<String, String> {
    let files = [
        ("server.properties", properties(pipeline, kafka)),
        ("start.sh", include_str!("kafka/start.sh").to_owned()),
        (
            "log4j2.properties",
            include_str!("kafka/log4j2.properties").to_owned(),
        ),
    ];
    files.map(|(name, text)| (name.to_owned(), text)).into()
}

/// Other files are another object: a broker whose process ends and starts again has those that its pod began with, and
/// settings with which no broker starts reach the first one only.
fn config(
    pipeline: &Pipeline,
    kafka: &Kafka,
    files: BTreeMap<String, String>,
    version: &str,
) -> ConfigMap {
    let mut data = files;
    // Only the first disk is formatted with it: another one is no reason to restart brokers.
    if let Some(level) = kafka.metadata_version {
        data.insert(METADATA_VERSION.to_owned(), metadata_version::name(level));
    }
    ConfigMap {
        metadata: metadata(pipeline, Component::Kafka, config_name(pipeline, version)),
        data: Some(data),
        ..ConfigMap::default()
    }
}

fn config_name(pipeline: &Pipeline, version: &str) -> String {
    format!("{}-{version}", pipeline.names.kafka_config())
}

/// What all brokers share; the start script adds what names one of them.
fn properties(pipeline: &Pipeline, kafka: &Kafka) -> String {
    let copies = kafka.replicas.min(3).to_string();
    let in_sync = (kafka.replicas.min(3) - 1).max(1).to_string();
    let controllers = (0..kafka.replicas.min(CONTROLLERS)).map(|id| {
        format!(
            "{}-{id}.{}:{CONTROLLER_PORT}",
            pipeline.names.kafka(),
            domain(pipeline, kafka)
        )
    });
    let controllers = controllers.collect::<Vec<_>>().join(",");
    let mut settings: BTreeMap<&str, &str> = BTreeMap::from([
        ("auto.create.topics.enable", "false"),
        ("controller.listener.names", "CONTROLLER"),
        ("controller.quorum.bootstrap.servers", controllers.as_str()),
        ("default.replication.factor", copies.as_str()),
        ("inter.broker.listener.name", "INTERNAL"),
        (
            "listener.security.protocol.map",
            "CLIENT:PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT",
        ),
        ("log.dirs", "/var/lib/kafka/data"),
        ("offsets.topic.replication.factor", copies.as_str()),
        ("share.coordinator.state.topic.min.isr", in_sync.as_str()),
        (
            "share.coordinator.state.topic.replication.factor",
            copies.as_str(),
        ),
        ("transaction.state.log.min.isr", in_sync.as_str()),
        ("transaction.state.log.replication.factor", copies.as_str()),
    ]);
    let asked = kafka.config.iter();
    settings.extend(asked.map(|(key, value)| (key.as_str(), value.as_str())));
    let mut text = String::from(
        "# Made by the Logpipe operator; start.sh adds what differs from broker to broker.\n",
    );
    for (key, value) in settings {
        writeln!(text, "{key}={value}").expect("a string takes what it is given");
    }
    text
}

/// The domain of the brokers' own names.
fn domain(pipeline: &Pipeline, kafka: &Kafka) -> String {
    let nodes = pipeline.names.kafka_nodes();
    format!("{nodes}.{}.svc.{}", pipeline.namespace, kafka.domain)
}

/// A name for each broker, also before it is ready: a quorum forms before anyone is.
fn nodes(pipeline: &Pipeline) -> Service {
    service(pipeline, pipeline.names.kafka_nodes(), &PORTS, true)
}

/// One name for a broker that is ready.
fn bootstrap(pipeline: &Pipeline) -> Service {
    service(pipeline, pipeline.names.kafka(), &PORTS[..1], false)
}

fn service(pipeline: &Pipeline, name: String, ports: &[(&str, u16)], headless: bool) -> Service {
    let port = |&(name, port): &(&str, u16)| ServicePort {
        name: Some(name.to_owned()),
        port: port.into(),
        target_port: Some(IntOrString::Int(port.into())),
        ..ServicePort::default()
    };
    Service {
        metadata: metadata(pipeline, Component::Kafka, name),
        spec: Some(ServiceSpec {
            cluster_ip: headless.then(|| "None".to_owned()),
            publish_not_ready_addresses: headless.then_some(true),
            selector: Some(names::selector(&pipeline.name, Component::Kafka)),
            ports: Some(ports.iter().map(port).collect()),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

fn disruptions(pipeline: &Pipeline) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: metadata(pipeline, Component::Kafka, pipeline.names.kafka()),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            // One that does not work is no loss.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            selector: Some(pod::selector(pipeline, Component::Kafka)),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    }
}

fn stateful_set(pipeline: &Pipeline, kafka: &Kafka, version: &str) -> StatefulSet {
    StatefulSet {
        metadata: metadata(pipeline, Component::Kafka, pipeline.names.kafka()),
        spec: Some(StatefulSetSpec {
            replicas: Some(kafka.replicas),
            service_name: Some(pipeline.names.kafka_nodes()),
            // A broker is ready when there is a quorum, and there is a quorum when enough of them run.
            pod_management_policy: Some("Parallel".to_owned()),
            selector: pod::selector(pipeline, Component::Kafka),
            // We restart brokers ourselves, when the copies have caught up: see `brokers::roll`.
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("OnDelete".to_owned()),
                ..StatefulSetUpdateStrategy::default()
            }),
            persistent_volume_claim_retention_policy: Some(pod::claims_stay(pipeline)),
            template: template(pipeline, kafka, version),
            volume_claim_templates: Some(vec![pod::claim(
                pipeline,
                Component::Kafka,
                &kafka.storage,
            )]),
            ..StatefulSetSpec::default()
        }),
        ..StatefulSet::default()
    }
}

fn template(pipeline: &Pipeline, kafka: &Kafka, version: &str) -> PodTemplateSpec {
    let mut spec = pod::spec(pipeline, GRACE_SECONDS, vec![container(pipeline, kafka)]);
    spec.init_containers = Some(vec![probe_container(pipeline, kafka)]);
    spec.volumes = Some(vec![
        files_volume(pipeline, version),
        pod::scratch("tmp", "64Mi"),
        pod::scratch("probe", "16Mi"),
    ]);
    if kafka.replicas > 1 {
        let rack = kafka.rack.as_deref();
        spec.topology_spread_constraints = Some(pod::spread(pipeline, Component::Kafka, rack));
    }
    // One without the label would take the broker's volume, too, and never start it.
    spec.affinity = kafka.rack.as_deref().map(pod::nodes_with);
    let mut template = pod::template(pipeline, Component::Kafka, spec);
    let metadata = template.metadata.get_or_insert_default();
    // A broker reads its files once: other files are another pod.
    let annotations = metadata.annotations.get_or_insert_default();
    annotations.insert(names::CONFIG.to_owned(), version.to_owned());
    template
}

fn container(pipeline: &Pipeline, kafka: &Kafka) -> Container {
    let mut variables = BTreeMap::from([
        (
            "LOGPIPE_HEAP".to_owned(),
            format!("-Xms{0}m -Xmx{0}m", kafka.heap_mib),
        ),
        ("LOGPIPE_NODES".to_owned(), domain(pipeline, kafka)),
    ]);
    let mut env = vec![
        pod::env_field("LOGPIPE_POD_NAME", "metadata.name"),
        pod::env_field("LOGPIPE_POD_IP", "status.podIP"),
    ];
    if let Some(label) = &kafka.rack {
        env.push(pod::env_field("LOGPIPE_NODE", "spec.nodeName"));
        let field = format!("metadata.labels['{label}']");
        env.push(pod::env_field("LOGPIPE_RACK", &field));
        variables.insert("LOGPIPE_RACK_LABEL".to_owned(), label.clone());
    }
    env.extend(pod::env(variables));
    let port = |(name, port): (&str, u16)| ContainerPort {
        name: Some(name.to_owned()),
        container_port: port.into(),
        ..ContainerPort::default()
    };
    Container {
        name: "kafka".to_owned(),
        image: Some(pipeline.images.kafka.clone()),
        command: Some(vec!["/bin/sh".to_owned(), format!("{FILES}/start.sh")]),
        env: Some(env),
        ports: Some(PORTS.map(port).into()),
        resources: Some(pod::resources(DEFAULTS, kafka.resources.as_ref())),
        // A broker opens its port when it has recovered its log and was let in by the controllers: minutes
        // after a crash with a large disk. It is never killed because others are gone: that is only for the
        // readiness to say.
        startup_probe: Some(open_port(2, 300)),
        readiness_probe: Some(answers()),
        liveness_probe: Some(open_port(10, 6)),
        volume_mounts: Some(vec![
            VolumeMount {
                // The image declares a volume here: one mounted above would be bypassed. The sub-path hides
                // `lost+found`, which Kafka takes for a partition.
                sub_path: Some("data".to_owned()),
                ..pod::mount("data", "/var/lib/kafka/data")
            },
            VolumeMount {
                read_only: Some(true),
                ..pod::mount("files", FILES)
            },
            pod::mount("tmp", "/tmp"),
            VolumeMount {
                read_only: Some(true),
                ..pod::mount("probe", PROBE_FOLDER)
            },
        ]),
        ..pod::container(pipeline)
    }
}

/// Copies the probe from the image of the workers: Kafka's image need not be ours.
fn probe_container(pipeline: &Pipeline, kafka: &Kafka) -> Container {
    Container {
        name: "probe".to_owned(),
        image: Some(pipeline.images.worker.clone()),
        command: Some(vec!["/usr/local/bin/logpipe-probe".to_owned()]),
        args: Some(vec!["install".to_owned(), PROBE.to_owned()]),
        resources: Some(pod::resources_beside(
            Defaults {
                cpu: "10m",
                memory: "16Mi",
                memory_limit: "64Mi",
            },
            kafka.resources.as_ref(),
        )),
        volume_mounts: Some(vec![pod::mount("probe", PROBE_FOLDER)]),
        ..pod::container(pipeline)
    }
}

/// The broker takes part in the cluster, and reaches a leader of the controllers.
fn answers() -> Probe {
    Probe {
        exec: Some(ExecAction {
            command: Some([PROBE, "ready"].map(str::to_owned).into()),
        }),
        period_seconds: Some(5),
        failure_threshold: Some(3),
        timeout_seconds: Some(5),
        ..Probe::default()
    }
}

fn open_port(period_seconds: i32, failures: i32) -> Probe {
    Probe {
        tcp_socket: Some(TCPSocketAction {
            port: IntOrString::Int(CLIENT_PORT.into()),
            ..TCPSocketAction::default()
        }),
        period_seconds: Some(period_seconds),
        failure_threshold: Some(failures),
        timeout_seconds: Some(3),
        ..Probe::default()
    }
}

/// Configuration, identity and, once there is one, the mark of a quorum, in one folder.
fn files_volume(pipeline: &Pipeline, version: &str) -> Volume {
    let source = |name: String, optional: Option<bool>| VolumeProjection {
        config_map: Some(ConfigMapProjection {
            name,
            optional,
            ..ConfigMapProjection::default()
        }),
        ..VolumeProjection::default()
    };
    let names = &pipeline.names;
    Volume {
        name: "files".to_owned(),
        projected: Some(ProjectedVolumeSource {
            sources: Some(vec![
                source(config_name(pipeline, version), None),
                source(names.kafka_identity(), None),
                source(names.kafka_bootstrapped(), Some(true)),
            ]),
            ..ProjectedVolumeSource::default()
        }),
        ..Volume::default()
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    /// A condition has room for 600 bytes of it.
    #[test]
    fn a_pod_without_its_rack_says_so_and_does_not_start() {
        let label = "topology.kubernetes.io/region";
        let outcome = Command::new("sh")
            .args(["-c", include_str!("kafka/start.sh")])
            .env("LOGPIPE_POD_NAME", "shop-kafka-0")
            .env("LOGPIPE_NODES", "shop-kafka-nodes.data.svc")
            .env("LOGPIPE_NODE", "worker-17")
            .env("LOGPIPE_RACK_LABEL", label)
            .env("LOGPIPE_RACK", "")
            .output()
            .unwrap();
        // Code 3 is reported as `Stalled`.
        assert_eq!(outcome.status.code(), Some(3));
        let words = String::from_utf8(outcome.stderr).unwrap();
        for part in [label, "1.35", "worker-17", "delete the pod"] {
            assert!(words.contains(part), "{words}");
        }
        assert!(words.len() < 600, "{} bytes", words.len());
    }
}
