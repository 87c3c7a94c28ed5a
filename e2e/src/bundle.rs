//! What was there when a test failed, as files: every object but the Secrets, the events, the logs of each
//! container, this one and the one before, and the operator's.

use std::fs;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Event, Pod};
use kube::ResourceExt;
use kube::api::{Api, ListParams, LogParams};

use crate::Bed;
use crate::bed::{OPERATOR, variable};

/// Writes it; the folder.
pub(crate) async fn write(bed: &Bed) -> anyhow::Result<PathBuf> {
    let root = variable("LOGPIPE_E2E_BUNDLES").unwrap_or_else(|| "target/e2e".to_owned());
    let folder = Path::new(&root).join(&bed.namespace);
    fs::create_dir_all(&folder)?;
    let kinds = bed.kinds().await?;
    for (key, (_, mut object)) in bed.objects(&kinds).await? {
        if key.starts_with("Secret/") {
            continue;
        }
        object.metadata.managed_fields = None;
        let file = folder.join(format!("{}.yaml", key.replace('/', "-")));
        fs::write(file, serde_yaml::to_string(&object)?)?;
    }
    let mut events = bed.api::<Event>().list(&ListParams::default()).await?.items;
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
    logs(bed, &bed.namespace, &folder).await?;
    logs(bed, OPERATOR, &folder).await?;
    Ok(folder)
}

async fn logs(bed: &Bed, namespace: &str, folder: &Path) -> anyhow::Result<()> {
    let pods: Api<Pod> = Api::namespaced(bed.client.clone(), namespace);
    for pod in pods.list(&ListParams::default()).await? {
        for container in pod.spec.iter().flat_map(|spec| &spec.containers) {
            for previous in [false, true] {
                let params = LogParams {
                    container: Some(container.name.clone()),
                    previous,
                    ..LogParams::default()
                };
                // A container that has not begun, or did so once, has none.
                let Ok(text) = pods.logs(&pod.name_any(), &params).await else {
                    continue;
                };
                let before = if previous { "-before" } else { "" };
                let name = format!("{}-{}{before}.log", pod.name_any(), container.name);
                fs::write(folder.join(name), text)?;
            }
        }
    }
    Ok(())
}
