//! What only a cluster needs: Kafka run by the operator, volumes, images, resources, and what a deletion
//! leaves. `logpipe run` takes these fields and has no use for them.

// The derive macros expand private copies of the types, which the lint takes for ours.
#![allow(unreachable_pub)]

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{PodTemplate, SecretRef};

/// A Kafka of the pipeline's own, in `KRaft` mode, in the pipeline's namespace. `logpipe run` has its log in
/// the process instead.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.replicas == 1 || self.replicas >= 3")
        .message("spec.kafka.managed.replicas must be 1, or 3 and more: two brokers stand still when one of them does"),
    validation = Rule::new("self.replicas >= oldSelf.replicas || self.replicas >= 3")
        .message("spec.kafka.managed.replicas must not shrink below 3: the first three brokers are the controllers, too"),
    validation = Rule::new("!has(self.metadataVersion) || self.metadataVersion in ['4.2', '4.2-IV0', '4.2-IV1', '4.3', '4.3-IV0']")
        .message("spec.kafka.managed.metadataVersion must be one that this release knows: write 4.2, 4.2-IV0, 4.2-IV1, 4.3 or 4.3-IV0, or remove it, and it follows the image")
)]
pub struct ManagedKafka {
    /// Brokers: 1, or 3 and more. The first three are controllers too. With 3 and more it may shrink, down to 3: the
    /// operator moves the copies of partitions to the brokers that stay first.
    #[serde(default = "default_brokers")]
    #[schemars(range(min = 1, max = 15))]
    pub replicas: i32,
    /// The volume of each broker.
    #[serde(default)]
    pub storage: Storage,
    /// Settings of the brokers, such as `log.retention.hours`. What names a broker, its listeners, its
    /// folders or its quorum is ours and is refused.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub config: BTreeMap<String, String>,
    /// CPU and memory of a broker; 250m of CPU and 1Gi of memory when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// The Java heap.
    #[serde(default)]
    pub jvm: Jvm,
    /// Kafka's `metadata.version`, by which brokers agree on what they write down: a release, such as `4.2`, or in Kafka's
    /// own words, such as `4.2-IV1`. Left out, it follows `images.kafka` when every broker has the new image, and an older
    /// image cannot be taken back then. Written here, it is held; it may only rise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3, max = 16))]
    pub metadata_version: Option<String>,
    /// Where each broker is, told to Kafka as `broker.rack`: the copies of a partition that is made from then on lie in
    /// different racks, as far as there are enough. It needs Kubernetes 1.35 or newer, which copies the label of a node to
    /// its pods; 1.33 and 1.34 do with the feature gate `PodTopologyLabelsAdmission` of the API server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rack: Option<Rack>,
    /// Merged into the brokers' pods, after `spec.podTemplate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_template: Option<PodTemplate>,
}

fn default_brokers() -> i32 {
    1
}

impl Default for ManagedKafka {
    fn default() -> Self {
        Self {
            replicas: default_brokers(),
            storage: Storage::default(),
            config: BTreeMap::new(),
            resources: None,
            jvm: Jvm::default(),
            metadata_version: None,
            rack: None,
            pod_template: None,
        }
    }
}

/// Where brokers are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.topologyKey in ['topology.kubernetes.io/zone', 'topology.kubernetes.io/region']")
        .message("spec.kafka.managed.rack.topologyKey must be topology.kubernetes.io/zone or topology.kubernetes.io/region: Kubernetes copies no other label of a node to its pods")
)]
pub struct Rack {
    /// The label of the nodes whose value is the rack: `topology.kubernetes.io/zone` or `topology.kubernetes.io/region`.
    /// Only nodes that have it take brokers.
    #[schemars(length(min = 1, max = 63))]
    pub topology_key: String,
}

/// The Java heap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Jvm {
    /// How much of the memory limit is heap, in percent. The rest is for the cache of the files, which Kafka
    /// needs as much.
    #[serde(default = "default_heap_percent")]
    #[schemars(range(min = 10, max = 80))]
    pub heap_percent: i32,
}

fn default_heap_percent() -> i32 {
    50
}

impl Default for Jvm {
    fn default() -> Self {
        Self {
            heap_percent: default_heap_percent(),
        }
    }
}

/// A volume for each pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("quantity(self.size).compareTo(quantity(oldSelf.size)) >= 0")
        .message("storage.size must not shrink: a volume can only grow"),
    validation = Rule::new("has(self.className) == has(oldSelf.className) && (!has(self.className) || self.className == oldSelf.className)")
        .message("storage.className must stay what it is: a volume cannot move to another class")
)]
pub struct Storage {
    /// Its size: a whole number with `Mi`, `Gi` or `Ti`. May only grow, and only where the storage class says
    /// `allowVolumeExpansion`.
    #[serde(default = "default_size")]
    #[schemars(length(min = 3, max = 16), regex(pattern = r"^[1-9][0-9]*(Mi|Gi|Ti)$"))]
    pub size: String,
    /// Its storage class; the cluster's default when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
    )]
    pub class_name: Option<String>,
}

fn default_size() -> String {
    "8Gi".to_owned()
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            size: default_size(),
            class_name: None,
        }
    }
}

/// What a container is given. Each part that is left out keeps the component's default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// What is reserved for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<Amounts>,
    /// What it may use at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Amounts>,
}

/// Amounts of CPU and memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Amounts {
    /// CPUs, such as `2` or `250m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16), regex(pattern = r"^[1-9][0-9]*m?$"))]
    pub cpu: Option<String>,
    /// Memory: a whole number with `Mi` or `Gi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3, max = 16), regex(pattern = r"^[1-9][0-9]*(Mi|Gi)$"))]
    pub memory: Option<String>,
}

/// The images of the pods; the operator's own choice where they are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Images {
    /// Generator, producer and ETL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<Image>,
    /// Kafka, 4.2 or newer: any image with `/opt/kafka/libs`, and on the path `java`, `nslookup`, `grep` and a shell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kafka: Option<Image>,
    /// When an image is pulled.
    #[serde(default)]
    pub pull_policy: PullPolicy,
    /// Secrets to pull them with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub pull_secrets: Vec<SecretRef>,
}

/// An image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.tag) || has(self.digest)")
        .message("an image must have a tag or a digest")
)]
pub struct Image {
    /// Registry and repository, such as `ghcr.io/acme/logpipe`.
    #[schemars(
        length(min = 1, max = 255),
        regex(pattern = r"^[a-zA-Z0-9][a-zA-Z0-9._:/-]*$")
    )]
    pub repository: String,
    /// The tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 128),
        regex(pattern = r"^[a-zA-Z0-9_][a-zA-Z0-9._-]*$")
    )]
    pub tag: Option<String>,
    /// The digest, which wins over the tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 71, max = 71), regex(pattern = r"^sha256:[0-9a-f]{64}$"))]
    pub digest: Option<String>,
}

/// When an image is pulled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PullPolicy {
    /// When the node has none of that name.
    #[default]
    IfNotPresent,
    /// At each start of a pod.
    Always,
    /// Never: it is on the nodes already.
    Never,
}

/// On which nodes the pods run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Scheduling {
    /// Labels that a node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub node_selector: BTreeMap<String, String>,
    /// Taints of nodes that do not keep the pods away.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub tolerations: Vec<Toleration>,
    /// The priority of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
    )]
    pub priority_class_name: Option<String>,
}

/// A taint that does not keep the pods away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.operator == 'Equal' ? has(self.key) : !has(self.value)")
        .message("a toleration must have a key for operator Equal, and no value for Exists")
)]
pub struct Toleration {
    /// The taint's key; every key when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 316))]
    pub key: Option<String>,
    /// Whether the value counts.
    #[serde(default)]
    pub operator: TolerationOperator,
    /// The taint's value, for `Equal`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub value: Option<String>,
    /// The taint's effect; every effect when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<TaintEffect>,
}

/// Whether the value of a taint counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TolerationOperator {
    /// Key and value must be the same.
    #[default]
    Equal,
    /// The key is enough.
    Exists,
}

/// What a taint does to pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TaintEffect {
    /// New pods are not placed there.
    NoSchedule,
    /// New pods are placed elsewhere where that is possible.
    PreferNoSchedule,
    /// Pods that run there are evicted, too.
    NoExecute,
}

/// What a deletion leaves. Objects in the bucket and topics of a Kafka that is not ours always stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeletionPolicy {
    /// The volumes of Kafka and of the source, with the identity of that Kafka and the checkpoints: they are
    /// of use only together.
    #[serde(default)]
    pub volumes: Keep,
}

/// Whether something outlives the pipeline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Keep {
    /// It stays; a pipeline that is created again under the same name resumes where this one stopped.
    #[default]
    Retain,
    /// It goes with the pipeline.
    Delete,
}
