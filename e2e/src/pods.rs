//! Pods: which there are, taking them away, and whether one ended badly.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::{ContainerStatus, PersistentVolumeClaim, Pod};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams};

use crate::bed::{OPERATOR, of_part};
use crate::{Bed, until};

impl Bed {
    /// The pods of a part of a pipeline, in the order of their names.
    pub async fn pods(&self, pipeline: &str, component: &str) -> anyhow::Result<Vec<Pod>> {
        let params = of_part(pipeline, component);
        let mut pods = self.api::<Pod>().list(&params).await?.items;
        pods.sort_by_key(ResourceExt::name_any);
        Ok(pods)
    }

    /// How many pods of a part are ready.
    pub async fn ready(&self, pipeline: &str, component: &str) -> anyhow::Result<usize> {
        let pods = self.pods(pipeline, component).await?;
        Ok(pods.iter().filter(|pod| is_ready(pod)).count())
    }

    /// Deletes a pod and waits until another one of its name is ready. `grace_seconds` of 1 is as good as a kill.
    pub async fn replace_pod(&self, name: &str, grace_seconds: Option<u32>) -> anyhow::Result<()> {
        let pods = self.api::<Pod>();
        let old = pods.get(name).await?.uid();
        let params = DeleteParams {
            grace_period_seconds: grace_seconds,
            ..DeleteParams::default()
        };
        pods.delete(name, &params).await?;
        self.wait_for_another(name, old).await
    }

    /// Deletes a pod with its volume.
    pub async fn replace_pod_and_volume(&self, name: &str) -> anyhow::Result<()> {
        let pods = self.api::<Pod>();
        let claims = self.api::<PersistentVolumeClaim>();
        let old = pods.get(name).await?.uid();
        let claim = format!("data-{name}");
        let before = claims.get(&claim).await?.uid();
        // The claim goes when no pod uses it any more.
        claims.delete(&claim, &DeleteParams::default()).await?;
        let now = DeleteParams::default().grace_period(1);
        pods.delete(name, &now).await?;
        let what = format!("claim {claim} is made again");
        // A pod that was made before its claim was gone waits for the old one.
        until(&what, Duration::from_mins(2), async || {
            let found = claims.get_opt(&claim).await?;
            if found.as_ref().is_some_and(|found| found.uid() != before) {
                return Ok(Some(()));
            }
            let waits = pods.get_opt(name).await?;
            if found.is_none() && waits.is_some_and(|pod| pod.uid() != old && !is_ready(&pod)) {
                pods.delete(name, &now).await.ok();
            }
            Ok(None)
        })
        .await?;
        self.wait_for_another(name, old).await
    }

    async fn wait_for_another(&self, name: &str, old: Option<String>) -> anyhow::Result<()> {
        let pods = self.api::<Pod>();
        let what = format!("pod {name} is there again and ready");
        until(&what, Duration::from_mins(4), async || {
            let pod = pods.get_opt(name).await?;
            Ok(pod
                .filter(|pod| pod.uid() != old && is_ready(pod))
                .map(drop))
        })
        .await
    }

    /// Deletes the operator's pod and waits for the next one.
    pub async fn replace_operator(&self) -> anyhow::Result<()> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), OPERATOR);
        let labels = ListParams::default().labels("app.kubernetes.io/name=logpipe-operator");
        let old = pods.list(&labels).await?.items;
        let old = old.first().context("there is no operator")?;
        pods.delete(&old.name_any(), &DeleteParams::default())
            .await?;
        until(
            "another operator is ready",
            Duration::from_mins(2),
            async || {
                let all = pods.list(&labels).await?.items;
                let another = |pod: &Pod| pod.uid() != old.uid() && is_ready(pod);
                Ok(all.iter().any(another).then_some(()))
            },
        )
        .await
    }

    /// What the containers of a part are: each pod's UID, and how often its containers were started again.
    pub async fn starts(&self, pipeline: &str, component: &str) -> anyhow::Result<Starts> {
        let pods = self.pods(pipeline, component).await?;
        let starts = pods.iter().map(|pod| {
            let restarts = containers(pod).map(|container| container.restart_count);
            (pod.name_any(), (pod.uid(), restarts.sum()))
        });
        Ok(starts.collect())
    }

    /// The same of the workers of the pipeline `shop`.
    pub async fn workers(&self) -> anyhow::Result<(Starts, Starts)> {
        let source = self.starts("shop", "source").await?;
        Ok((source, self.starts("shop", "etl").await?))
    }

    /// Fails when a container ended with an error.
    pub async fn no_container_failed(&self, pipeline: &str) -> anyhow::Result<()> {
        for component in ["source", "etl", "kafka"] {
            for pod in self.pods(pipeline, component).await? {
                for container in containers(&pod) {
                    let ended = container.last_state.as_ref();
                    let code = ended.and_then(|state| Some(state.terminated.as_ref()?.exit_code));
                    ensure!(
                        code.is_none_or(|code| code == 0),
                        "container {} of pod {} ended with code {}",
                        container.name,
                        pod.name_any(),
                        code.unwrap_or_default()
                    );
                }
            }
        }
        Ok(())
    }
}

/// Each pod's UID, and how often its containers were started again.
pub type Starts = BTreeMap<String, (Option<String>, i32)>;

fn containers(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.as_ref();
    let statuses = status.and_then(|status| status.container_statuses.as_ref());
    statuses.into_iter().flatten()
}

pub(crate) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|s| s.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
