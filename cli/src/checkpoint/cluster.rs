//! The checkpoints of a pipeline in a cluster, by the user's own kubeconfig. Touches the API server. Sink and log may be
//! out of reach from here, and so may their keys: a pod with the image and the settings of the ETL workers looks at
//! both, and is removed again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, LogParams, PostParams};
use kube::config::KubeConfigOptions;
use kube::{Client, Config, Resource, ResourceExt};
use logpipe_api::LogPipeline;
use logpipe_api::names::{self, Component, Names};
use logpipe_api::pipeline::Suspend;
use logpipe_api::settings::checkpoint_object;
use logpipe_workers::checkpoint::config_map::ConfigMapStore;
use logpipe_workers::checkpoint::survey::{MARK, Survey};
use logpipe_workers::checkpoint::{CheckpointStore, Swap};
use serde_json::{Value as Json, json};
use tokio::runtime::Runtime;

use super::{Change, Checkpoints, Found, Stored, is_stored_key};
use crate::output;
use crate::runtime;

/// How long the pod that looks may take, with the pull of its image.
const PATIENCE: Duration = Duration::from_mins(10);
const STEP: Duration = Duration::from_millis(500);

/// A pipeline in a cluster.
pub(crate) struct Cluster {
    runtime: Runtime,
    client: Client,
    namespace: String,
    pipeline: LogPipeline,
    names: Names,
    context: Option<String>,
}

impl Cluster {
    /// As the user of the kubeconfig.
    pub(crate) fn connect(
        name: &str,
        namespace: &str,
        context: Option<String>,
    ) -> anyhow::Result<Self> {
        let runtime = runtime::start()?;
        let (client, pipeline) = runtime.block_on(async {
            let config = match context.clone() {
                Some(context) => {
                    let options = KubeConfigOptions {
                        context: Some(context),
                        ..KubeConfigOptions::default()
                    };
                    Config::from_kubeconfig(&options)
                        .await
                        .map_err(anyhow::Error::from)
                }
                None => Config::infer().await.map_err(anyhow::Error::from),
            };
            let config = config.context("no cluster can be found: is there a kubeconfig?")?;
            let client = Client::try_from(config).context("the cluster cannot be used")?;
            let pipeline = pipeline(&client, namespace, name).await.with_context(|| {
                format!("logpipeline {name} of namespace {namespace} cannot be read")
            })?;
            anyhow::Ok((client, pipeline))
        })?;
        Ok(Self {
            runtime,
            client,
            namespace: namespace.to_owned(),
            pipeline,
            names: Names::new(name),
            context,
        })
    }

    fn config_maps(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    fn name(&self) -> String {
        self.pipeline.name_any()
    }

    async fn checkpoints(&self) -> anyhow::Result<Vec<ConfigMap>> {
        let selector = names::selector_text(&self.name(), Component::Checkpoint);
        let params = ListParams::default().labels(&selector);
        let maps = self.config_maps().list(&params).await;
        Ok(maps
            .context("the ConfigMaps of the checkpoints cannot be listed")?
            .items)
    }

    /// Fails unless no ETL worker is there, nor can come. Returns what they are made from.
    async fn stopped(&self) -> anyhow::Result<DynamicObject> {
        let remedy = {
            let context = self.context.as_ref();
            let context = context.map_or_else(String::new, |name| format!(" --context {name}"));
            format!(
                "stop them: kubectl patch logpipeline {} -n {}{context} --type merge -p '{{\"spec\":{{\"suspend\":\"All\"}}}}', \
                 and wait until its pods are gone",
                self.name(),
                self.namespace
            )
        };
        let pipeline = pipeline(&self.client, &self.namespace, &self.name()).await;
        let pipeline = pipeline.context("the pipeline cannot be read")?;
        ensure!(
            pipeline.spec.suspend == Suspend::All,
            "workers of {} may be writing: spec.suspend is not All; {remedy}",
            self.label()
        );
        let sets = objects::<StatefulSet>(&self.client, &self.namespace);
        let set = sets.get_opt(&self.names.etl()).await;
        let set = set.context("the StatefulSet of the workers cannot be read")?;
        let set = set.with_context(|| {
            format!(
                "there is no StatefulSet {}, which says how to reach Kafka and the bucket: wait until the operator \
                 has made it",
                self.names.etl()
            )
        })?;
        ensure!(
            set.data["spec"]["replicas"] == 0,
            "workers of {} may be writing: the operator has not stopped them yet; wait until its pods are gone",
            self.label()
        );
        let selector = names::selector_text(&self.name(), Component::Etl);
        let pods = objects::<Pod>(&self.client, &self.namespace)
            .list(&ListParams::default().labels(&selector))
            .await;
        let pods = pods
            .context("the pods of the workers cannot be listed")?
            .items;
        if let Some(pod) = pods.first() {
            bail!(
                "workers of {} may be writing: pod {} is still there; wait until it is gone",
                self.label(),
                pod.name_any()
            );
        }
        Ok(set)
    }

    async fn look(&self) -> anyhow::Result<Survey> {
        let set = self.stopped().await?;
        let pods = objects::<Pod>(&self.client, &self.namespace);
        let pod = surveyor(&self.name(), &set)?;
        let pod = pods.create(&PostParams::default(), &pod).await;
        let pod = pod.context("the pod that looks at sink and topic cannot be made")?;
        let name = pod.name_any();
        output::note(&format!(
            "pod {name} looks at the sink and the topic; a put that was under way has time to come through\n"
        ));
        let said = self.wait_for(&pods, &name).await;
        let removed = pods.delete(&name, &DeleteParams::default()).await;
        let said = said?;
        removed.with_context(|| format!("pod {name} cannot be removed"))?;
        let found = said.lines().find_map(|line| line.strip_prefix(MARK));
        let found =
            found.with_context(|| format!("pod {name} found nothing, and said:\n{said}"))?;
        serde_json::from_str(found).context(
            "what the pod said is of another release: use the `logpipe` of the workers' release",
        )
    }

    /// What the pod said, when it has ended well.
    async fn wait_for(&self, pods: &Api<DynamicObject>, name: &str) -> anyhow::Result<String> {
        let begun = Instant::now();
        loop {
            let pod = pods.get(name).await.context("the pod cannot be read")?;
            let phase = pod.data["status"]["phase"].as_str().unwrap_or_default();
            if phase == "Succeeded" || phase == "Failed" {
                let logs: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
                let said = logs.logs(name, &LogParams::default()).await;
                let said = said.with_context(|| format!("what pod {name} said cannot be read"))?;
                ensure!(phase == "Succeeded", "pod {name} failed, and said:\n{said}");
                return Ok(said);
            }
            ensure!(
                begun.elapsed() < PATIENCE,
                "pod {name} did not end within {} minutes; it is {phase}. Look at it: kubectl describe pod {name} -n {}",
                PATIENCE.as_secs() / 60,
                self.namespace
            );
            tokio::time::sleep(STEP).await;
        }
    }

    async fn write_all(&self, changes: &[Change]) -> anyhow::Result<()> {
        // A while has gone by since the first look.
        self.stopped().await?;
        let prefix = self.names.checkpoint();
        let there = self.checkpoints().await?;
        let is_there = |name: &str| there.iter().any(|map| map.name_any() == name);
        let mut missing: BTreeMap<String, Vec<&Change>> = BTreeMap::new();
        let store = ConfigMapStore::new(self.client.clone(), &self.namespace, &prefix);
        for change in changes {
            let object = checkpoint_object(&prefix, &change.key);
            if !is_there(&object) {
                missing.entry(object).or_default().push(change);
                continue;
            }
            let Some(new) = &change.new else { continue };
            let old = match &change.old {
                Some(Stored::Value(value)) => Some(value.as_slice()),
                _ => None,
            };
            let swap = store.swap(&change.key, old, new).await?;
            ensure!(
                swap == Swap::Done,
                "ConfigMap {}/{object} was written by somebody else meanwhile",
                self.namespace
            );
        }
        for (object, changes) in missing {
            self.create(object, &changes).await?;
        }
        Ok(())
    }

    /// With all its values at once: an empty one would say that nothing was written.
    async fn create(&self, object: String, changes: &[&Change]) -> anyhow::Result<()> {
        let about = (names::CHECKPOINT_DATA_KEY, names::CHECKPOINT_ABOUT);
        let mut data = BTreeMap::from([(about.0.to_owned(), about.1.to_owned())]);
        for change in changes {
            if let Some(new) = &change.new {
                let text = String::from_utf8(new.clone()).context("a checkpoint is text")?;
                data.insert(change.key.clone(), text);
            }
        }
        let map = ConfigMap {
            metadata: ObjectMeta {
                name: Some(object.clone()),
                labels: Some(names::labels(&self.name(), Component::Checkpoint)),
                ..ObjectMeta::default()
            },
            data: Some(data),
            ..ConfigMap::default()
        };
        let created = self
            .config_maps()
            .create(&PostParams::default(), &map)
            .await;
        created.with_context(|| format!("ConfigMap {}/{object} cannot be made", self.namespace))?;
        Ok(())
    }
}

impl Checkpoints for Cluster {
    fn label(&self) -> String {
        format!("{}/{}", self.namespace, self.name())
    }

    fn pipeline(&self) -> (String, String) {
        (self.name(), self.pipeline.topic_name())
    }

    fn read(&self) -> anyhow::Result<Found> {
        let mut found = Found {
            partitions: u32::try_from(self.pipeline.spec.kafka.topic.partitions).ok(),
            ..Found::default()
        };
        for map in self.runtime.block_on(self.checkpoints())? {
            let fields = map.metadata.managed_fields.iter().flatten();
            let times = fields.filter_map(|field| field.time.as_ref());
            let changed = times.map(|time| time.0.as_second()).max();
            for (key, text) in map.data.unwrap_or_default() {
                if !is_stored_key(&key) {
                    continue;
                }
                found.changed.extend(changed.map(|at| (key.clone(), at)));
                found.stored.insert(key, Stored::Value(text.into_bytes()));
            }
        }
        Ok(found)
    }

    fn survey(&mut self) -> anyhow::Result<Survey> {
        self.runtime.block_on(self.look())
    }

    fn write(&mut self, changes: &[Change]) -> anyhow::Result<()> {
        self.runtime.block_on(self.write_all(changes))
    }
}

/// Objects of Kubernetes as they are: nothing that a newer server knows is lost, and serde's code for all that a pod can
/// hold is not compiled into this crate.
fn objects<K>(client: &Client, namespace: &str) -> Api<DynamicObject>
where
    K: Resource<DynamicType = ()>,
{
    Api::namespaced_with(client.clone(), namespace, &ApiResource::erase::<K>(&()))
}

async fn pipeline(client: &Client, namespace: &str, name: &str) -> anyhow::Result<LogPipeline> {
    let object = objects::<LogPipeline>(client, namespace).get(name).await?;
    Ok(LogPipeline::from_json(serde_json::to_value(object)?)?)
}

/// A worker's pod with another role. It is none of the operator's, nor of the workers' set.
fn surveyor(pipeline: &str, set: &DynamicObject) -> anyhow::Result<DynamicObject> {
    let mut spec = set.data["spec"]["template"]["spec"].clone();
    let containers = spec["containers"].as_array_mut();
    // What a user has put beside it may never end.
    let worker = containers
        .into_iter()
        .flatten()
        .find(|container| container["name"] == "etl");
    let worker = worker.context("the workers' StatefulSet has no container etl")?;
    let mut worker = worker.take();
    worker["args"] = json!(["survey"]);
    worker["readinessProbe"] = Json::Null;
    spec["containers"] = json!([worker]);
    spec["restartPolicy"] = json!("Never");
    spec["activeDeadlineSeconds"] = json!(PATIENCE.as_secs());
    spec["terminationGracePeriodSeconds"] = json!(5);
    spec["automountServiceAccountToken"] = json!(false);
    let mut labels = names::labels(pipeline, Component::Checkpoint);
    labels.remove(names::MANAGED_BY);
    let mut pod = DynamicObject::new("", &ApiResource::erase::<Pod>(&()));
    pod.metadata = ObjectMeta {
        generate_name: Some(Names::new(pipeline).survey()),
        labels: Some(labels),
        ..ObjectMeta::default()
    };
    Ok(pod.data(json!({"spec": spec})))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(containers: &Json) -> DynamicObject {
        let spec = json!({"replicas": 0, "template": {"spec": {
            "restartPolicy": "Always",
            "newerThanThisBuild": {"kept": true},
            "containers": containers,
        }}});
        DynamicObject::new("shop-etl", &ApiResource::erase::<StatefulSet>(&()))
            .data(json!({"spec": spec}))
    }

    #[test]
    fn the_pod_that_looks_is_a_worker_with_another_role() {
        let worker = json!({"name": "etl", "image": "i", "args": ["etl"], "readinessProbe": {}});
        let set = set(&json!([{"name": "beside"}, worker]));
        let pod = serde_json::to_value(surveyor("shop", &set).unwrap()).unwrap();
        assert_eq!(pod["kind"], "Pod");
        assert_eq!(pod["metadata"]["generateName"], "shop-survey-");
        assert_eq!(pod["metadata"]["labels"][names::MANAGED_BY], Json::Null);
        let spec = &pod["spec"];
        assert_eq!(spec["restartPolicy"], "Never");
        assert_eq!(spec["newerThanThisBuild"]["kept"], true);
        let [worker] = spec["containers"].as_array().unwrap().as_slice() else {
            panic!("{spec}")
        };
        assert_eq!(worker["image"], "i");
        assert_eq!(worker["args"], json!(["survey"]));
        assert_eq!(worker["readinessProbe"], Json::Null);
    }

    #[test]
    fn a_set_without_a_worker_is_refused() {
        for containers in [json!([{"name": "beside"}]), Json::Null] {
            let refused = surveyor("shop", &set(&containers)).unwrap_err();
            assert!(refused.to_string().contains("no container etl"));
        }
    }
}
