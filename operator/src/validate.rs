//! From a `LogPipeline` to a [`Pipeline`] with every default resolved, or all of its faults. Pure.
//!
//! Past this module only the validated type exists: nothing that is built from it can be wrong.

use std::collections::{BTreeMap, BTreeSet};

use logpipe_api::LogPipeline;
use logpipe_api::names::Names;
use logpipe_api::pipeline::{
    Amounts, FilesVolume, Image, Keep, ManagedKafka, PodTemplate, PullPolicy, Resources,
    Scheduling, Storage, Suspend, metadata_version,
};
use logpipe_api::settings::{
    CheckpointPlace, EtlSettings, GeneratorSettings, KafkaSettings, ProducerSettings, S3Settings,
    Secrets, TopicSettings,
};
use logpipe_probe::wire::CLIENT_PORT;

use crate::config::Config;

/// The folder of a source's volume.
pub const SOURCE_DIR: &str = "/var/lib/logpipe";

/// The folder under which each Secret is a folder, and each of its keys a file.
pub const SECRETS: &str = "/etc/logpipe/secrets";

/// Bytes of memory that a broker may use when the manifest does not say.
const KAFKA_MEMORY_MIB: u64 = 1024;

/// A pipeline from which objects can be built.
#[derive(Clone, Debug, PartialEq)]
pub struct Pipeline {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its UID, for owner references.
    pub uid: String,
    /// The names of its objects.
    pub names: Names,
    /// Images.
    pub images: Images,
    /// Nodes.
    pub scheduling: Scheduling,
    /// What is laid over its pods.
    pub pod_templates: PodTemplates,
    /// What outlives it.
    pub keep: Keep,
    /// What is held back.
    pub suspend: Suspend,
    /// A Kafka to run, unless there is one.
    pub kafka: Option<Kafka>,
    /// How to reach Kafka.
    pub kafka_settings: KafkaSettings,
    /// The Secrets that it takes.
    pub kafka_secrets: BTreeSet<String>,
    /// The topic.
    pub topic: TopicSettings,
    /// What writes into it, unless others do.
    pub source: Option<Source>,
    /// The ETL workers.
    pub etl: Etl,
    /// The bucket.
    pub s3: S3Settings,
    /// The Secrets that it takes.
    pub s3_secrets: BTreeSet<String>,
}

/// What is laid over pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodTemplates {
    /// All of them.
    pub all: Option<PodTemplate>,
    /// The brokers.
    pub kafka: Option<PodTemplate>,
    /// Generator and producer.
    pub source: Option<PodTemplate>,
    /// The ETL workers.
    pub etl: Option<PodTemplate>,
}

/// Images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Images {
    /// Generator, producer and ETL.
    pub worker: String,
    /// Kafka.
    pub kafka: String,
    /// When they are pulled.
    pub pull_policy: PullPolicy,
    /// Secrets to pull them with.
    pub pull_secrets: Vec<String>,
}

/// A Kafka to run.
#[derive(Clone, Debug, PartialEq)]
pub struct Kafka {
    /// Brokers.
    pub replicas: i32,
    /// The volume of each.
    pub storage: Storage,
    /// What the manifest sets.
    pub config: BTreeMap<String, String>,
    /// What a broker is given.
    pub resources: Option<Resources>,
    /// The heap.
    pub heap_mib: u64,
    /// Its identity.
    pub cluster_id: String,
    /// A quorum was seen: no disk may ever be formatted as the first one again.
    pub bootstrapped: bool,
    /// The `metadata.version` that it is held at; the image's when there is none.
    pub metadata_version: Option<i16>,
    /// The label of the nodes that says in which rack a broker is.
    pub rack: Option<String>,
    /// The domain of the cluster's names.
    pub domain: String,
}

/// What writes into the topic.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// What makes lines, unless files are there.
    pub generator: Option<GeneratorSettings>,
    /// The volume of the files, if they are there.
    pub files: Option<FilesVolume>,
    /// What sends them.
    pub producer: ProducerSettings,
    /// The volume of the saved offsets.
    pub storage: Storage,
    /// What a container is given.
    pub resources: Option<Resources>,
}

/// The ETL workers.
#[derive(Clone, Debug, PartialEq)]
pub struct Etl {
    /// How many.
    pub replicas: i32,
    /// What each does.
    pub settings: EtlSettings,
    /// What a worker is given.
    pub resources: Option<Resources>,
    /// Who they are, if the user has made it.
    pub account: Option<String>,
}

/// What was seen in the cluster and the spec cannot say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The identity of the Kafka that is run, drawn once.
    pub cluster_id: String,
    /// A quorum was seen.
    pub bootstrapped: bool,
    /// The producer's name in the saved offsets that are there.
    pub producer: Option<String>,
}

/// Something in a manifest that cannot be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {reason}")]
pub struct Fault {
    /// Where.
    pub field: String,
    /// What is wrong, and the remedy.
    pub reason: String,
}

/// What a manifest may not say about a broker, because the operator does; a dot at the end stands for all
/// that begins so.
const OURS: &[&str] = &[
    "advertised.listeners",
    "auto.create.topics.enable",
    "broker.id",
    "broker.rack",
    "controller.",
    "inter.broker.listener.name",
    "listener.",
    "listeners",
    "log.dir",
    "log.dirs",
    "metadata.log.dir",
    "node.id",
    "process.roles",
    "sasl.",
    "security.",
    "ssl.",
    "zookeeper.",
];

/// All that is wrong, or a pipeline from which objects can be built.
pub fn validate(
    object: &LogPipeline,
    config: &Config,
    facts: &Facts,
) -> Result<Pipeline, Vec<Fault>> {
    let mut faults = Vec::new();
    let name = object.metadata.name.clone().unwrap_or_default();
    let namespace = object.metadata.namespace.clone().unwrap_or_default();
    let names = Names::new(&name);
    let spec = &object.spec;
    let secrets = Secrets(SECRETS.to_owned());
    let source = source(object, facts, &mut faults);
    let kafka = match &spec.kafka.external {
        Some(_) => None,
        None => Some(kafka(object, config, facts, &mut faults)),
    };
    let kafka_settings = match &spec.kafka.external {
        Some(external) => KafkaSettings::external(object, external, &secrets),
        None => KafkaSettings {
            bootstrap_servers: vec![format!("{}.{namespace}.svc:{CLIENT_PORT}", names.kafka())],
            topic: object.topic_name(),
            tls: None,
            sasl: None,
        },
    };
    let place = CheckpointPlace::ConfigMaps {
        namespace: namespace.clone(),
        prefix: names.checkpoint(),
    };
    if let Err(error) = spec.sink.rotation.max_bytes() {
        faults.push(fault("spec.sink.rotation.maxBytes", error.to_string()));
    }
    let found = spec.pod_template_faults().into_iter();
    faults.extend(found.map(|found| fault(found.path, found.reason)));
    if !faults.is_empty() {
        return Err(faults);
    }
    Ok(Pipeline {
        uid: object.metadata.uid.clone().unwrap_or_default(),
        images: images(object, config),
        scheduling: spec.scheduling.clone(),
        pod_templates: PodTemplates {
            all: spec.pod_template.clone(),
            kafka: spec
                .kafka
                .managed
                .as_ref()
                .and_then(|managed| managed.pod_template.clone()),
            source: spec.source.pod_template.clone(),
            etl: spec.etl.pod_template.clone(),
        },
        keep: spec.deletion_policy.volumes,
        suspend: spec.suspend,
        topic: topic(object, kafka.as_ref()),
        kafka,
        kafka_settings,
        kafka_secrets: kafka_secrets(object),
        source,
        etl: Etl {
            replicas: spec.etl.replicas,
            settings: EtlSettings::new(object, "", "", place),
            resources: spec.etl.resources.clone(),
            account: spec.etl.service_account_name.clone(),
        },
        s3: S3Settings::new(object, &secrets),
        s3_secrets: s3_secrets(object),
        name,
        namespace,
        names,
    })
}

fn fault(field: impl Into<String>, reason: impl Into<String>) -> Fault {
    Fault {
        field: field.into(),
        reason: reason.into(),
    }
}

fn images(object: &LogPipeline, config: &Config) -> Images {
    let images = &object.spec.images;
    let choose = |image: &Option<Image>, usual: &str| match image {
        Some(image) => reference(image),
        None => usual.to_owned(),
    };
    Images {
        worker: choose(&images.worker, &config.worker_image),
        kafka: choose(&images.kafka, &config.kafka_image),
        pull_policy: images.pull_policy,
        pull_secrets: images
            .pull_secrets
            .iter()
            .map(|secret| secret.name.clone())
            .collect(),
    }
}

fn reference(image: &Image) -> String {
    match (&image.digest, &image.tag) {
        (Some(digest), _) => format!("{}@{digest}", image.repository),
        (None, Some(tag)) => format!("{}:{tag}", image.repository),
        (None, None) => image.repository.clone(),
    }
}

fn kafka(object: &LogPipeline, config: &Config, facts: &Facts, faults: &mut Vec<Fault>) -> Kafka {
    let managed: ManagedKafka = object.spec.kafka.managed.clone().unwrap_or_default();
    for key in managed.config.keys() {
        let ours = OURS
            .iter()
            .any(|own| own == key || (own.ends_with('.') && key.starts_with(own)));
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if ours {
            faults.push(fault(
                format!("spec.kafka.managed.config[{key}]"),
                "is set by the operator: remove it",
            ));
        } else if key.is_empty() || !key.bytes().all(is_plain) {
            faults.push(fault(
                format!("spec.kafka.managed.config[{}]", key.escape_debug()),
                "is no setting's name: write it with letters, digits, '.', '_' and '-' only",
            ));
        }
    }
    let mut values = managed.config.values();
    if values.any(|text| text.contains(['\n', '\r', '\\'])) {
        faults.push(fault(
            "spec.kafka.managed.config",
            "must not hold line ends or backslashes: a setting is one line of a file",
        ));
    }
    if let Some(factor) = object.spec.kafka.topic.replication_factor
        && factor > managed.replicas
    {
        faults.push(fault(
            "spec.kafka.topic.replicationFactor",
            format!("is {factor}, and there are {} brokers: lower it, or raise spec.kafka.managed.replicas", managed.replicas),
        ));
    }
    let memory = managed.resources.as_ref().and_then(|resources| {
        let memory = |amounts: &Option<Amounts>| amounts.as_ref()?.memory.clone();
        // A request that stands alone is the limit, too.
        memory(&resources.limits).or_else(|| memory(&resources.requests))
    });
    let memory = memory.as_deref().and_then(mebibytes);
    let memory = memory.unwrap_or(KAFKA_MEMORY_MIB);
    let heap_mib = memory * managed.jvm.heap_percent as u64 / 100;
    if heap_mib < 128 {
        faults.push(fault(
            "spec.kafka.managed",
            format!("gives a broker {heap_mib} MiB of heap, and it needs 128: raise resources.limits.memory or jvm.heapPercent"),
        ));
    }
    let asked = managed.metadata_version.as_deref();
    let metadata_version = asked.and_then(metadata_version::level);
    if asked.is_some() && metadata_version.is_none() {
        faults.push(fault(
            "spec.kafka.managed.metadataVersion",
            "is not known to this operator: upgrade the operator, or remove it, and it follows the image",
        ));
    }
    Kafka {
        replicas: managed.replicas,
        storage: managed.storage,
        config: managed.config,
        resources: managed.resources,
        heap_mib,
        cluster_id: facts.cluster_id.clone(),
        bootstrapped: facts.bootstrapped,
        metadata_version,
        rack: managed.rack.map(|rack| rack.topology_key),
        domain: config.cluster_domain.clone(),
    }
}

/// `512Mi` is 512.
fn mebibytes(text: &str) -> Option<u64> {
    if let Some(number) = text.strip_suffix("Mi") {
        return number.parse().ok();
    }
    let number: u64 = text.strip_suffix("Gi")?.parse().ok()?;
    number.checked_mul(1024)
}

fn topic(object: &LogPipeline, kafka: Option<&Kafka>) -> TopicSettings {
    let mut topic = TopicSettings::new(object);
    let replicas = kafka.map_or(0, |kafka| kafka.replicas as u32);
    if topic
        .replication_factor
        .map_or(replicas >= 3, |factor| factor >= 3)
        && kafka.is_some()
    {
        // On the topic, because since 4.1 brokers leave their own setting aside.
        topic
            .config
            .entry("min.insync.replicas".to_owned())
            .or_insert_with(|| "2".to_owned());
    }
    topic
}

fn source(object: &LogPipeline, facts: &Facts, faults: &mut Vec<Fault>) -> Option<Source> {
    let source = &object.spec.source;
    let name = object.metadata.name.clone().unwrap_or_default();
    let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
    // Two of one name in one topic would shut each other out. Another one than before would read every file again.
    let producer = facts.producer.clone();
    let producer = producer.unwrap_or_else(|| format!("{namespace}.{name}"));
    let state = format!("{SOURCE_DIR}/producer");
    let (paths, generator, volume) = if let Some(generator) = &source.generator {
        let dir = format!("{SOURCE_DIR}/logs");
        let paths = vec![format!("{dir}/app.log")];
        (
            paths,
            Some(GeneratorSettings::new(generator, &name, &dir)),
            None,
        )
    } else if let Some(files) = &source.files {
        let Some(volume) = &files.volume else {
            faults.push(fault(
                "spec.source.files.volume",
                "must be set in a cluster: name the claim that the files are on",
            ));
            return None;
        };
        let below = format!("{}/", volume.mount_path);
        if let Some(path) = files.paths.iter().find(|path| !path.starts_with(&below)) {
            faults.push(fault(
                "spec.source.files.paths",
                format!(
                    "has {path}, which is not below spec.source.files.volume.mountPath {}",
                    volume.mount_path
                ),
            ));
        }
        let is_in =
            |inner: &str, outer: &str| format!("{inner}/").starts_with(&format!("{outer}/"));
        for (own, holds) in [(SOURCE_DIR, "the saved offsets"), (SECRETS, "Secrets")] {
            if is_in(&volume.mount_path, own) || is_in(own, &volume.mount_path) {
                faults.push(fault(
                    "spec.source.files.volume.mountPath",
                    format!("must be neither below nor above {own}, where {holds} are: mount it elsewhere"),
                ));
            }
        }
        (files.paths.clone(), None, Some(volume.clone()))
    } else {
        return None;
    };
    Some(Source {
        generator,
        files: volume,
        producer: ProducerSettings::new(object, &producer, paths, &state),
        storage: source.storage.clone(),
        resources: source.producer.resources.clone(),
    })
}

fn kafka_secrets(object: &LogPipeline) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let Some(external) = &object.spec.kafka.external else {
        return names;
    };
    if let Some(tls) = &external.tls {
        names.extend(tls.ca_secret_ref.iter().map(|ca| ca.name.clone()));
        names.extend(
            tls.client_cert_secret_ref
                .iter()
                .map(|client| client.name.clone()),
        );
    }
    names.extend(
        external
            .sasl
            .iter()
            .map(|sasl| sasl.password_secret_key_ref.name.clone()),
    );
    names
}

fn s3_secrets(object: &LogPipeline) -> BTreeSet<String> {
    let s3 = &object.spec.sink.s3;
    let mut names = BTreeSet::new();
    names.extend(s3.tls.iter().map(|tls| tls.ca_secret_ref.name.clone()));
    names.extend(
        s3.credentials
            .iter()
            .map(|credentials| credentials.secret_ref.name.clone()),
    );
    names
}
