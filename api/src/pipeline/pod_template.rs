//! What a manifest lays over the pods: labels, annotations, and any field of a pod that is not ours to decide. Pure.
//!
//! The schema takes any fields, because that of a pod is larger than all the rest of the CRD; what is wrong with
//! them is found here, and told by the operator and by `logpipe validate` in the same words.

// The derive macros expand private copies of the types, which the lint takes for ours.
#![allow(unreachable_pub)]

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, PodSpec};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Fault, LogPipelineSpec, SOURCE_DIR};

/// The containers that the operator makes.
pub const CORE_CONTAINERS: [&str; 5] = ["kafka", "topic", "generate", "produce", "etl"];

/// The container that comes before a broker, and the volume that it fills. There is nothing to change about it.
const PROBE: &str = "probe";

/// Bytes of a template as JSON. It stands in several objects, none of which may exceed 1.5 MiB.
const LARGEST: usize = 32 * 1024;

/// What of a pod the operator decides, and why it must.
const OURS: [(&str, &str); 11] = [
    ("activeDeadlineSeconds", "the pods run for ever: remove it"),
    (
        "automountServiceAccountToken",
        "only the ETL workers have a token, for their checkpoints: remove it",
    ),
    (
        "enableServiceLinks",
        "a Service called kafka would set variables that Kafka reads: remove it",
    ),
    (
        "ephemeralContainers",
        "they are made by kubectl debug: remove it",
    ),
    (
        "hostname",
        "brokers are found by their own names: remove it",
    ),
    ("nodeName", "it goes around the scheduler: use nodeSelector"),
    ("restartPolicy", "it is that of the object: remove it"),
    ("serviceAccount", "set spec.etl.serviceAccountName"),
    ("serviceAccountName", "set spec.etl.serviceAccountName"),
    (
        "setHostnameAsFQDN",
        "brokers are found by their own names: remove it",
    ),
    (
        "subdomain",
        "brokers are found by their own names: remove it",
    ),
];

/// What may be said of a container that the operator makes.
const OPEN: [&str; 3] = ["name", "securityContext", "volumeMounts"];

/// Labels and annotations that objects are found and judged by.
const RESERVED: [&str; 8] = [
    "app.kubernetes.io/component",
    "app.kubernetes.io/instance",
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/name",
    "apps.kubernetes.io/pod-index",
    "controller-revision-hash",
    "logpipe.dev/",
    "statefulset.kubernetes.io/",
];

/// Where the operator's containers have volumes of their own.
const FOLDERS: [&str; 5] = [
    "/etc/logpipe",
    "/opt/logpipe",
    "/tmp",
    "/var/lib/kafka/data",
    SOURCE_DIR,
];

/// What is merged into pods, as a strategic merge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodTemplate {
    /// Labels and annotations of the pods.
    #[serde(default, skip_serializing_if = "PodMetadata::is_empty")]
    pub metadata: PodMetadata,
    /// Fields of a pod's `spec`, such as `affinity`, `topologySpreadConstraints`, `containers`, `volumes` and
    /// `securityContext`. What the operator must decide is refused.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(schema_with = "any_fields")]
    pub spec: Map<String, Value>,
}

/// Labels and annotations of pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodMetadata {
    /// More labels. Those of the operator are refused.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub labels: BTreeMap<String, String>,
    /// More annotations. Those of the operator are refused.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub annotations: BTreeMap<String, String>,
}

impl PodMetadata {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn any_fields(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 32,
        "x-kubernetes-preserve-unknown-fields": true,
    })
}

impl PodTemplate {
    /// The fields of the pod. Those that cannot be read, which are among the faults, are left out.
    pub fn pod_spec(&self) -> PodSpec {
        serde_json::from_value(Value::Object(self.spec.clone())).unwrap_or_default()
    }

    fn faults(&self, place: &Place<'_>) -> Vec<Fault> {
        let mut faults = Faults(Vec::new());
        let path = place.path;
        let bytes = serde_json::to_vec(self).map_or(0, |text| text.len());
        if bytes > LARGEST {
            faults.add(
                path,
                format!(
                    "has {bytes} bytes, and {LARGEST} are the most: it stands in several objects"
                ),
            );
            return faults.0;
        }
        let metadata = &self.metadata;
        for (kind, map) in [
            ("labels", &metadata.labels),
            ("annotations", &metadata.annotations),
        ] {
            for key in map.keys() {
                let is = |own: &&str| *own == key || (own.ends_with('/') && key.starts_with(*own));
                if RESERVED.iter().any(is) {
                    faults.add(
                        format!("{path}.metadata.{kind}[{key}]"),
                        "is set by the operator: remove it",
                    );
                }
            }
        }
        let path = format!("{path}.spec");
        for (field, value) in &self.spec {
            faults.field(&format!("{path}.{field}"), field, value);
        }
        if faults.0.is_empty() {
            let spec = self.pod_spec();
            faults.containers(&path, &spec, place);
            faults.volumes(&path, &spec);
        }
        faults.0
    }
}

impl LogPipelineSpec {
    /// All that cannot be carried out in the templates of pods.
    pub(super) fn pod_template_faults(&self) -> Vec<Fault> {
        let files = self.source.files.as_ref();
        let files = files.and_then(|files| Some(files.volume.as_ref()?.mount_path.as_str()));
        let managed = self.kafka.managed.as_ref();
        let places: [(_, &[&str], _); 4] = [
            (
                "spec.podTemplate",
                &CORE_CONTAINERS,
                self.pod_template.as_ref(),
            ),
            (
                "spec.source.podTemplate",
                &["generate", "produce"],
                self.source.pod_template.as_ref(),
            ),
            (
                "spec.kafka.managed.podTemplate",
                &["kafka"],
                managed.and_then(|managed| managed.pod_template.as_ref()),
            ),
            (
                "spec.etl.podTemplate",
                &["etl"],
                self.etl.pod_template.as_ref(),
            ),
        ];
        let mut faults = Vec::new();
        for (path, core, template) in places {
            let place = Place {
                path,
                core,
                everywhere: self
                    .pod_template
                    .as_ref()
                    .map(PodTemplate::pod_spec)
                    .unwrap_or_default(),
                files,
            };
            faults.extend(template.iter().flat_map(|template| template.faults(&place)));
        }
        faults
    }
}

/// Where a template stands.
struct Place<'a> {
    path: &'a str,
    /// The containers of the operator that it may speak of.
    core: &'a [&'a str],
    /// What every pod has, which a template of a part may change.
    everywhere: PodSpec,
    /// Where the files of the source are.
    files: Option<&'a str>,
}

struct Faults(Vec<Fault>);

impl Faults {
    fn add(&mut self, path: impl Into<String>, reason: impl Into<String>) {
        self.0.push(Fault::new(path, reason));
    }

    fn field(&mut self, path: &str, field: &str, value: &Value) {
        if let Some((_, why)) = OURS.iter().find(|(own, _)| *own == field) {
            return self.add(path, format!("is set by the operator: {why}"));
        }
        let alone = json!({ field: value });
        match serde_json::from_value::<PodSpec>(alone) {
            Err(error) => self.add(path, format!("cannot be read as a pod's {field}: {error}")),
            Ok(spec) => {
                let known = serde_json::to_value(spec).expect("a pod is JSON");
                self.unknown(path, value, known.get(field));
            }
        }
    }

    /// What was given and is not there when it has been read.
    fn unknown(&mut self, path: &str, given: &Value, known: Option<&Value>) {
        if given.is_null() {
            return self.add(path, "is null, which takes nothing away: remove it");
        }
        let Some(known) = known else {
            return self.add(path, "is no field of a pod: look at its spelling and place");
        };
        match (given, known) {
            (Value::Object(given), Value::Object(known)) => {
                for (key, given) in given {
                    self.unknown(&format!("{path}.{key}"), given, known.get(key));
                }
            }
            (Value::Array(given), Value::Array(known)) => {
                for (number, given) in given.iter().enumerate() {
                    self.unknown(&format!("{path}[{number}]"), given, known.get(number));
                }
            }
            _ => {}
        }
    }

    fn containers(&mut self, path: &str, spec: &PodSpec, place: &Place<'_>) {
        let everywhere = &place.everywhere;
        for (number, container) in spec.containers.iter().enumerate() {
            let path = format!("{path}.containers[{number}]");
            if place.core.contains(&container.name.as_str()) {
                self.core(&path, container, place);
            } else {
                self.sidecar(&path, container, &everywhere.containers, place.core);
            }
        }
        for (number, container) in spec.init_containers.iter().flatten().enumerate() {
            let path = format!("{path}.initContainers[{number}]");
            let others = everywhere.init_containers.as_deref().unwrap_or_default();
            self.sidecar(&path, container, others, &[]);
        }
    }

    /// A container of the operator.
    fn core(&mut self, path: &str, container: &Container, place: &Place<'_>) {
        let name = &container.name;
        let fields = serde_json::to_value(container).expect("a container is JSON");
        for field in fields.as_object().into_iter().flat_map(Map::keys) {
            if !OPEN.contains(&field.as_str()) {
                self.add(
                    format!("{path}.{field}"),
                    format!("is set by the operator in container {name}: remove it"),
                );
            }
        }
        let below = |path: &str, folder: &str| {
            let folder = folder.trim_end_matches('/');
            path == folder || path.starts_with(&format!("{folder}/"))
        };
        for mount in container.volume_mounts.iter().flatten() {
            let mount = mount.mount_path.as_str();
            let mut own = FOLDERS.into_iter().chain(place.files);
            if let Some(folder) = own.find(|own| below(mount, own) || below(own, mount)) {
                self.add(
                    format!("{path}.volumeMounts"),
                    format!("has {mount}, where the operator has {folder}: mount it elsewhere"),
                );
            }
        }
    }

    /// A container of the user's. `others` are those that a template of all pods has.
    fn sidecar(&mut self, path: &str, container: &Container, others: &[Container], core: &[&str]) {
        let name = &container.name;
        if CORE_CONTAINERS.contains(&name.as_str()) || name == PROBE {
            let here = if core.is_empty() {
                "none".to_owned()
            } else {
                core.join(", ")
            };
            self.add(format!("{path}.name"), format!("is {name}, which is the operator's and not here (here: {here}): choose another name"));
        } else if name.is_empty() {
            self.add(format!("{path}.name"), "must be set");
        } else if container.image.is_none() && others.iter().all(|other| other.name != *name) {
            self.add(
                format!("{path}.image"),
                format!("must be set: container {name} is none of the operator's"),
            );
        }
    }

    fn volumes(&mut self, path: &str, spec: &PodSpec) {
        for (number, volume) in spec.volumes.iter().flatten().enumerate() {
            let name = volume.name.as_str();
            if ["data", "files", PROBE, "tmp"].contains(&name) || name.starts_with("secret-") {
                self.add(
                    format!("{path}.volumes[{number}].name"),
                    format!(
                        "must not be {name}: the operator has volumes data, files, probe, tmp and secret-…"
                    ),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(template: Value) -> Vec<String> {
        let template: PodTemplate = serde_json::from_value(template).unwrap();
        let place = Place {
            path: "t",
            core: &["etl"],
            everywhere: PodSpec::default(),
            files: Some("/logs"),
        };
        let faults = template.faults(&place).into_iter();
        faults.map(|fault| fault.to_string()).collect()
    }

    #[track_caller]
    fn told(template: Value, wanted: &[&str]) {
        let faults = faults(template);
        assert_eq!(faults.len(), wanted.len(), "{faults:?}");
        for (fault, wanted) in faults.iter().zip(wanted) {
            assert!(fault.starts_with(wanted), "{fault}");
        }
    }

    #[test]
    fn what_a_pod_can_have_is_taken() {
        told(
            json!({
                "metadata": {"labels": {"team": "data"}, "annotations": {"a": ""}},
                "spec": {
                    "affinity": {"podAntiAffinity": {}},
                    "containers": [
                        {"name": "etl", "volumeMounts": [{"name": "ca", "mountPath": "/ca"}]},
                        {"name": "proxy", "image": "p", "env": [{"name": "A", "value": "b"}]},
                    ],
                    "initContainers": [{"name": "wait", "image": "w", "restartPolicy": "Always"}],
                    "volumes": [{"name": "ca", "emptyDir": {}}],
                    "securityContext": {"fsGroup": 7},
                    "terminationGracePeriodSeconds": 300,
                },
            }),
            &[],
        );
    }

    #[test]
    fn what_is_ours_is_refused_with_its_place() {
        told(
            json!({"metadata": {"labels": {"logpipe.dev/pipeline": "x", "app.kubernetes.io/name": "y"}}}),
            &[
                "t.metadata.labels[app.kubernetes.io/name]",
                "t.metadata.labels[logpipe.dev/pipeline]",
            ],
        );
        told(
            json!({"spec": {"restartPolicy": "Never", "serviceAccountName": "root"}}),
            &[
                "t.spec.restartPolicy is set",
                "t.spec.serviceAccountName is set",
            ],
        );
        told(
            json!({"spec": {"containers": [{"name": "etl", "image": "mine", "args": ["x"]}]}}),
            &[
                "t.spec.containers[0].args is set by the operator in container etl",
                "t.spec.containers[0].image is set by the operator in container etl",
            ],
        );
        told(
            json!({"spec": {"initContainers": [{"name": "probe", "image": "mine"}]}}),
            &["t.spec.initContainers[0].name is probe, which is the operator's"],
        );
        told(
            json!({"spec": {"volumes": [{"name": "secret-0"}, {"name": "tmp"}]}}),
            &[
                "t.spec.volumes[0].name must not be secret-0",
                "t.spec.volumes[1].name must not be tmp",
            ],
        );
        for mount in ["/tmp", "/tmp/x", "/opt/logpipe", "/var", "/", "/logs"] {
            told(
                json!({"spec": {"containers": [{"name": "etl", "volumeMounts": [{"name": "v", "mountPath": mount}]}]}}),
                &["t.spec.containers[0].volumeMounts has"],
            );
        }
    }

    #[test]
    fn what_is_no_field_of_a_pod_is_told_with_its_place() {
        told(
            json!({"spec": {"affinitty": {}}}),
            &["t.spec.affinitty is no field"],
        );
        told(
            json!({"spec": {"containers": [{"name": "p", "image": "i", "$patch": "delete"}]}}),
            &["t.spec.containers[0].$patch is no field"],
        );
        told(
            json!({"spec": {"tolerations": null}}),
            &["t.spec.tolerations is null"],
        );
        told(
            json!({"spec": {"terminationGracePeriodSeconds": "1m"}}),
            &["t.spec.terminationGracePeriodSeconds cannot be read"],
        );
    }

    #[test]
    fn a_container_that_is_not_here_is_no_sidecar() {
        told(
            json!({"spec": {"containers": [{"name": "kafka"}]}}),
            &["t.spec.containers[0].name is kafka"],
        );
        told(
            json!({"spec": {"containers": [{"name": "proxy"}]}}),
            &["t.spec.containers[0].image must be set"],
        );
    }

    #[test]
    fn a_template_is_bounded() {
        told(
            json!({"metadata": {"annotations": {"a": "x".repeat(LARGEST)}}}),
            &["t has"],
        );
    }
}
