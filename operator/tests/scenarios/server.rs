//! An API server, in memory or a real one, with a pipeline `demo`: what a user does, what the operator does, and
//! what the cluster's own controllers would do. Through the client alone, so that one code serves both.

use std::collections::BTreeMap;

use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams,
};
use kube::{Client, ResourceExt};
use logpipe_api::LogPipeline;
use logpipe_operator::Kind;
use logpipe_operator::context::Context;
use logpipe_operator::error::Error;
use logpipe_operator::reconcile;
use serde_json::{Value, json};

use crate::config;
use crate::fake::FakeApi;
use crate::wire::Wire;

const NAME: &str = "demo";

/// Written by hand, so that each install has the same.
const CLUSTER_ID: &str = "3Nv0H-7HNJ5tXg7-W7zKMA";

pub(crate) struct Server {
    pub(crate) admin: Client,
    /// With the operator's rights.
    pub(crate) operator: Client,
    pub(crate) namespace: String,
    pub(crate) wire: Wire,
}

impl Server {
    pub(crate) fn fake(api: &FakeApi) -> Self {
        let wire = Wire::default();
        Self {
            operator: wire.client(&api.client(), "data"),
            admin: api.client(),
            namespace: "data".to_owned(),
            wire,
        }
    }

    fn of(&self, kind: &ApiResource) -> Api<DynamicObject> {
        Api::namespaced_with(self.admin.clone(), &self.namespace, kind)
    }

    pub(crate) fn pipelines(&self) -> Api<DynamicObject> {
        self.of(&ApiResource::erase::<LogPipeline>(&()))
    }

    pub(crate) fn manifest(&self, spec: &Value) -> Value {
        json!({
            "apiVersion": "logpipe.dev/v1alpha1",
            "kind": "LogPipeline",
            "metadata": {"name": NAME, "namespace": self.namespace},
            "spec": spec,
        })
    }

    /// Makes the pipeline.
    pub(crate) async fn install(&self, spec: &Value) {
        let object = serde_json::from_value(self.manifest(spec)).unwrap();
        let api = self.pipelines();
        api.create(&PostParams::default(), &object).await.unwrap();
        let status = json!({"status": {"kafka": {"mode": "Managed", "clusterId": CLUSTER_ID, "bootstrapServers": "x"}}});
        let params = PatchParams::default();
        api.patch_status(NAME, &params, &Patch::Merge(&status))
            .await
            .unwrap();
    }

    /// Puts another spec in the place of the one that is there; what the API server says, if it refuses.
    pub(crate) async fn edit(&self, spec: &Value) -> Result<(), String> {
        let api = self.pipelines();
        let mut object = api.get(NAME).await.unwrap();
        object.data["spec"] = spec.clone();
        match api.replace(NAME, &PostParams::default(), &object).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 422 => Err(status.message.clone()),
            Err(error) => panic!("{error}"),
        }
    }

    /// One look at the pipeline, by an operator that has just started.
    pub(crate) async fn look(&self) -> Result<(), Error> {
        let api: Api<LogPipeline> = Api::namespaced(self.admin.clone(), &self.namespace);
        let Some(object) = api.get_opt(NAME).await.unwrap() else {
            return Ok(());
        };
        let context = Context::new(self.operator.clone(), config());
        reconcile::reconcile(&object, &context).await.map(drop)
    }

    /// Until nothing changes any more.
    pub(crate) async fn converge(&self) {
        for _ in 0..20 {
            self.wire.writes();
            self.look().await.unwrap();
            if self.wire.writes().is_empty() {
                let before = self.essence().await;
                self.settle().await;
                self.look().await.unwrap();
                if self.wire.writes().is_empty() && self.essence().await == before {
                    return;
                }
            }
        }
        panic!("it does not come to rest");
    }

    /// What the cluster's own controllers do: pods run or end, Jobs come to their end, what is deleted without its
    /// pods lets them go.
    pub(crate) async fn settle(&self) {
        for kind in [Kind::StatefulSet, Kind::Job] {
            let api = self.of(&kind.resource());
            for object in api.list(&ListParams::default()).await.unwrap() {
                let finalizers = object.metadata.finalizers.as_deref();
                if finalizers.is_some_and(|finalizers| finalizers == ["orphan"]) {
                    let free = Patch::Merge(json!({"metadata": {"finalizers": []}}));
                    api.patch(&object.name_any(), &PatchParams::default(), &free)
                        .await
                        .unwrap();
                    continue;
                }
                let mut status = json!({"succeeded": 1});
                if kind == Kind::StatefulSet {
                    let replicas = &object.data["spec"]["replicas"];
                    let generation = object.metadata.generation;
                    status = json!({"replicas": replicas, "readyReplicas": replicas, "observedGeneration": generation});
                    if *replicas == 0 {
                        self.end_pods(&object).await;
                    }
                }
                let is = &object.data["status"];
                let differs = |(field, value): (&String, &Value)| is[field] != *value;
                if status.as_object().unwrap().iter().any(differs) {
                    let patch = Patch::Merge(json!({ "status": status }));
                    let params = PatchParams::default();
                    // The operator may have removed it meanwhile.
                    api.patch_status(&object.name_any(), &params, &patch)
                        .await
                        .ok();
                }
            }
        }
    }

    async fn end_pods(&self, set: &DynamicObject) {
        let pods = self.of(&ApiResource::erase::<k8s_openapi::api::core::v1::Pod>(&()));
        let component = &set.labels()["logpipe.dev/component"];
        let params = ListParams::default().labels(&format!("logpipe.dev/component={component}"));
        for pod in pods.list(&params).await.unwrap() {
            let params = DeleteParams::default().grace_period(0);
            pods.delete(&pod.name_any(), &params).await.unwrap();
        }
    }

    /// Every object but the pipeline, without what differs from install to install.
    pub(crate) async fn essence(&self) -> BTreeMap<String, Value> {
        let mut objects = BTreeMap::new();
        for kind in Kind::ALL {
            let ours = ListParams::default().labels(&format!("logpipe.dev/pipeline={NAME}"));
            for object in self.of(&kind.resource()).list(&ours).await.unwrap() {
                let name = format!("{kind:?}/{}", object.name_any());
                let mut value = serde_json::to_value(object).unwrap();
                strip(&mut value);
                objects.insert(name, value);
            }
        }
        objects
    }

    /// Removes the pipeline and all of its objects, as if it had never been.
    pub(crate) async fn wipe(&self) {
        let api = self.pipelines();
        if api.get_opt(NAME).await.unwrap().is_some() {
            let free = Patch::Merge(json!({"metadata": {"finalizers": []}}));
            api.patch(NAME, &PatchParams::default(), &free)
                .await
                .unwrap();
            api.delete(NAME, &DeleteParams::default()).await.unwrap();
        }
        for kind in Kind::ALL {
            let ours = ListParams::default().labels(&format!("logpipe.dev/pipeline={NAME}"));
            let api = self.of(&kind.resource());
            for object in api.list(&ours).await.unwrap() {
                let params = DeleteParams::background();
                api.delete(&object.name_any(), &params).await.unwrap();
            }
        }
    }
}

/// Takes out what the server or the moment gave an object.
fn strip(object: &mut Value) {
    object.as_object_mut().unwrap().remove("status");
    let metadata = object["metadata"].as_object_mut().unwrap();
    for field in [
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "managedFields",
    ] {
        metadata.remove(field);
    }
    // The hash covers the pipeline's uid.
    metadata.remove("annotations");
    if let Some(Value::Array(owners)) = metadata.get_mut("ownerReferences") {
        for owner in owners {
            owner["uid"] = json!("…");
        }
    }
    let Some(Value::Object(spec)) = object.get_mut("spec") else {
        return;
    };
    if spec
        .get("clusterIP")
        .is_some_and(|address| *address != "None")
    {
        spec.retain(|field, _| !field.starts_with("clusterIP"));
    }
    for labels in ["/selector/matchLabels", "/template/metadata/labels"] {
        let spec = object["spec"].pointer_mut(labels);
        if let Some(Value::Object(labels)) = spec {
            labels.retain(|label, _| !label.ends_with("controller-uid"));
        }
    }
}

/// Says which objects differ and where, and not all of them.
#[track_caller]
pub(crate) fn same(is: &BTreeMap<String, Value>, fresh: &BTreeMap<String, Value>, when: &str) {
    let mut differ = Vec::new();
    for name in is.keys().chain(fresh.keys()) {
        let (is, should) = (is.get(name), fresh.get(name));
        let place = difference(is.unwrap_or(&Value::Null), should.unwrap_or(&Value::Null));
        differ.extend(place.map(|place| format!("{name}{place}")));
    }
    differ.dedup();
    assert_eq!(differ, Vec::<String>::new(), "{when}");
}

/// The first place where they differ.
fn difference(is: &Value, should: &Value) -> Option<String> {
    if is == should {
        return None;
    }
    if let (Value::Object(left), Value::Object(right)) = (is, should) {
        return left.keys().chain(right.keys()).find_map(|key| {
            difference(&is[key], &should[key]).map(|rest| format!("/{key}{rest}"))
        });
    }
    Some(format!(": {is} instead of {should}"))
}
