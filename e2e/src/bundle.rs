//! What was there when a test failed, as files: every object but the Secrets, the events, the logs of each
//! container, this one and the one before. Of the test's own namespace, and in folders beside it those of the operator
//! and of the bucket, the nodes and the volumes.

use std::fmt::Debug;
use std::fs;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Event, Node, PersistentVolume, Pod};
use kube::ResourceExt;
use kube::api::{Api, ListParams, LogParams};
use kube::core::ApiResource;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Bed;
use crate::bed::{OPERATOR, keys_namespace, variable};

/// Writes it; the folder. What cannot be read is told in a file there, and the rest is kept.
pub(crate) async fn write(bed: &Bed) -> anyhow::Result<PathBuf> {
    let root = variable("LOGPIPE_E2E_BUNDLES").unwrap_or_else(|| "target/e2e".to_owned());
    let folder = Path::new(&root).join(&bed.namespace);
    fs::create_dir_all(&folder)?;
    let mut missing = Vec::new();
    let mut note = |what: &str, outcome: anyhow::Result<()>| {
        if let Err(error) = outcome {
            missing.push(format!("{what}: {error:#}"));
        }
    };
    let kinds = bed.kinds().await.unwrap_or_else(|error| {
        note("kinds of objects", Err(error));
        Vec::new()
    });
    let bucket = keys_namespace();
    for namespace in [bed.namespace.as_str(), OPERATOR, &bucket] {
        let own = namespace == bed.namespace;
        let place = folder.join(if own { "" } else { namespace });
        fs::create_dir_all(&place)?;
        let outcome = objects(bed, namespace, &kinds, &place).await;
        note(&format!("objects of {namespace}"), outcome);
        let outcome = events(bed, namespace, &place).await;
        note(&format!("events of {namespace}"), outcome);
        let outcome = logs(bed, namespace, &place).await;
        note(&format!("logs of {namespace}"), outcome);
    }
    note("nodes", of_cluster::<Node>(bed, &folder, "Node").await);
    let volumes = of_cluster::<PersistentVolume>(bed, &folder, "PersistentVolume").await;
    note("volumes", volumes);
    if !missing.is_empty() {
        fs::write(folder.join("missing.txt"), missing.join("\n"))?;
    }
    Ok(folder)
}

async fn objects(
    bed: &Bed,
    namespace: &str,
    kinds: &[ApiResource],
    folder: &Path,
) -> anyhow::Result<()> {
    for (key, (_, mut object)) in bed.objects_of(namespace, kinds).await? {
        if key.starts_with("Secret/") {
            continue;
        }
        object.metadata.managed_fields = None;
        let file = folder.join(format!("{}.yaml", key.replace('/', "-")));
        fs::write(file, serde_yaml::to_string(&object)?)?;
    }
    Ok(())
}

/// What belongs to no namespace.
async fn of_cluster<K>(bed: &Bed, folder: &Path, kind: &str) -> anyhow::Result<()>
where
    K: kube::Resource<Scope = k8s_openapi::ClusterResourceScope, DynamicType = ()>
        + Clone
        + Debug
        + DeserializeOwned
        + Serialize,
{
    let all: Api<K> = Api::all(bed.client.clone());
    for mut object in all.list(&ListParams::default()).await? {
        object.meta_mut().managed_fields = None;
        let file = folder.join(format!("{kind}-{}.yaml", object.name_any()));
        fs::write(file, serde_yaml::to_string(&object)?)?;
    }
    Ok(())
}

async fn events(bed: &Bed, namespace: &str, folder: &Path) -> anyhow::Result<()> {
    let all: Api<Event> = Api::namespaced(bed.client.clone(), namespace);
    let mut events = all.list(&ListParams::default()).await?.items;
    events.sort_by_key(|event| event.metadata.creation_timestamp.clone().map(|time| time.0));
    let told = events.iter().map(|event| {
        format!(
            "{} {} {}: {}\n",
            event
                .last_timestamp
                .as_ref()
                .map_or_else(String::new, |at| at.0.to_string()),
            event.involved_object.name.as_deref().unwrap_or_default(),
            event.reason.as_deref().unwrap_or_default(),
            event.message.as_deref().unwrap_or_default()
        )
    });
    fs::write(folder.join("events.txt"), told.collect::<String>())?;
    Ok(())
}

async fn logs(bed: &Bed, namespace: &str, folder: &Path) -> anyhow::Result<()> {
    let pods: Api<Pod> = Api::namespaced(bed.client.clone(), namespace);
    for pod in pods.list(&ListParams::default()).await? {
        for container in containers(&pod) {
            for previous in [false, true] {
                let params = LogParams {
                    container: Some(container.to_owned()),
                    previous,
                    ..LogParams::default()
                };
                // A container that has not begun, or did so once, has none.
                let Ok(text) = pods.logs(&pod.name_any(), &params).await else {
                    continue;
                };
                let before = if previous { "-before" } else { "" };
                let name = format!("{}-{container}{before}.log", pod.name_any());
                fs::write(folder.join(name), text)?;
            }
        }
    }
    Ok(())
}

/// Also those that run before the others.
fn containers(pod: &Pod) -> impl Iterator<Item = &str> {
    let spec = pod.spec.iter();
    let all = spec.flat_map(|spec| {
        spec.init_containers
            .iter()
            .flatten()
            .chain(&spec.containers)
    });
    all.map(|container| container.name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_that_runs_before_the_others_is_among_them() {
        let pod: Pod = serde_json::from_value(serde_json::json!({"spec": {
            "initContainers": [{"name": "probe"}],
            "containers": [{"name": "kafka"}, {"name": "exporter"}],
        }}))
        .unwrap();
        assert!(containers(&pod).eq(["probe", "kafka", "exporter"]));
    }
}
