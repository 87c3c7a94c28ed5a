//! From a `LogPipeline` to a [`Pipeline`] with every default resolved, or all of its faults. Pure.
//!
//! Past this module only the validated type exists: nothing that is built from it can be wrong.

use std::collections::{BTreeMap, BTreeSet};

use logpipe_api::LogPipeline;
use logpipe_api::names::Names;
pub use logpipe_api::pipeline::Fault;
use logpipe_api::pipeline::{
    FilesVolume, Image, Keep, ManagedKafka, PodTemplate, PullPolicy, Resources, SECRETS,
    SOURCE_DIR, Scheduling, Storage, Suspend, metadata_version,
};
use logpipe_api::settings::{
    CheckpointPlace, EtlSettings, GeneratorSettings, KafkaSettings, ProducerSettings, S3Settings,
    Secrets, TopicSettings,
};
use logpipe_probe::wire::CLIENT_PORT;

use crate::config::Config;

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

/// All that is wrong, or a pipeline from which objects can be built.
pub fn validate(
    object: &LogPipeline,
    config: &Config,
    facts: &Facts,
) -> Result<Pipeline, Vec<Fault>> {
    let faults = object.spec.faults().into_iter();
    let faults: Vec<Fault> = faults.chain(object.spec.files_without_volume()).collect();
    if !faults.is_empty() {
        return Err(faults);
    }
    let name = object.metadata.name.clone().unwrap_or_default();
    let namespace = object.metadata.namespace.clone().unwrap_or_default();
    let names = Names::new(&name);
    let spec = &object.spec;
    let secrets = Secrets(SECRETS.to_owned());
    let kafka = match &spec.kafka.external {
        Some(_) => None,
        None => Some(kafka(object, config, facts)),
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
        source: source(object, facts),
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

fn kafka(object: &LogPipeline, config: &Config, facts: &Facts) -> Kafka {
    let managed: ManagedKafka = object.spec.kafka.managed.clone().unwrap_or_default();
    let asked = managed.metadata_version.as_deref();
    let (heap_mib, metadata_version) =
        (managed.heap_mib(), asked.and_then(metadata_version::level));
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

fn source(object: &LogPipeline, facts: &Facts) -> Option<Source> {
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
        (files.paths.clone(), None, files.volume.clone())
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
