//! An API server in memory: as much of one as the operator asks. Whoever applies an object is its only owner,
//! except that others keep their keys of a ConfigMap's data and the status. What a real server refuses to change,
//! this one does, too.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response, StatusCode};
use kube::Client;
use kube::client::Body;
use logpipe_api::LogPipelineSpec;
use serde_json::{Value, json};

use crate::schema;

/// `kind-plural/name`, in one namespace.
type Objects = BTreeMap<String, Value>;

#[derive(Clone, Default)]
pub(crate) struct FakeApi(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    objects: Objects,
    versions: u64,
    /// Kinds that cannot be written.
    refused: Vec<String>,
}

impl FakeApi {
    pub(crate) fn client(&self) -> Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let api = api.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect_bytes().await.unwrap();
                let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
                let query = parts.uri.query().unwrap_or_default();
                let (code, value) =
                    api.0
                        .lock()
                        .unwrap()
                        .answer(&parts.method, parts.uri.path(), query, &body);
                let body = Body::from(serde_json::to_vec(&value).unwrap());
                Ok::<_, Infallible>(Response::builder().status(code).body(body).unwrap())
            }
        });
        Client::new(service, "data")
    }

    pub(crate) fn put(&self, key: &str, object: Value) {
        self.0.lock().unwrap().store(key, object);
    }

    pub(crate) fn get(&self, key: &str) -> Option<Value> {
        self.0.lock().unwrap().objects.get(key).cloned()
    }

    pub(crate) fn remove(&self, key: &str) {
        self.0.lock().unwrap().objects.remove(key);
    }

    pub(crate) fn keys(&self) -> Vec<String> {
        self.0.lock().unwrap().objects.keys().cloned().collect()
    }

    pub(crate) fn refuse(&self, kinds: &[&str]) {
        self.0.lock().unwrap().refused = kinds.iter().map(|&kind| kind.to_owned()).collect();
    }

    /// What the controllers of volumes do: each pod has a claim, and each claim grows.
    pub(crate) fn settle_claims(&self) {
        let mut state = self.0.lock().unwrap();
        let sets = state.objects.iter();
        let sets = sets.filter(|(key, _)| key.starts_with("statefulsets/"));
        let claims: Vec<_> = sets.flat_map(|(_, set)| claims_of(set)).collect();
        for (key, claim) in claims {
            state.objects.entry(key).or_insert(claim);
        }
        for (key, object) in &mut state.objects {
            if key.starts_with("persistentvolumeclaims/") {
                let size = object["spec"]["resources"]["requests"].clone();
                object["status"] = json!({"phase": "Bound", "capacity": size});
            }
        }
    }
}

impl State {
    fn answer(
        &mut self,
        method: &Method,
        path: &str,
        query: &str,
        body: &Value,
    ) -> (StatusCode, Value) {
        let is_write = *method != Method::GET;
        if path.contains("/events") {
            return (StatusCode::OK, body.clone());
        }
        let (plural, name, status) = address(path);
        let key = format!("{plural}/{name}");
        if !is_write && name.is_empty() {
            return (StatusCode::OK, self.list(&plural, query));
        }
        if !is_write {
            return self.objects.get(&key).map_or_else(
                || failure(404, "NotFound"),
                |object| (StatusCode::OK, object.clone()),
            );
        }
        if self.refused.contains(&plural) {
            return failure(403, "Forbidden");
        }
        match *method {
            Method::POST => self.create(&plural, body),
            Method::PUT => self.replace(&key, body),
            Method::PATCH if status => self.patch_status(&key, body),
            Method::PATCH if plural == "logpipelines" => self.merge(&key, body),
            Method::PATCH if plural == "persistentvolumeclaims" => self.change_claim(&key, body),
            Method::PATCH if body["metadata"]["finalizers"] == json!([]) => {
                let gone = self.objects.remove(&key);
                gone.map_or_else(|| failure(404, "NotFound"), |gone| (StatusCode::OK, gone))
            }
            Method::PATCH => self.apply(&key, body),
            Method::DELETE => self.delete(&key, body),
            _ => failure(405, "MethodNotAllowed"),
        }
    }

    fn create(&mut self, plural: &str, body: &Value) -> (StatusCode, Value) {
        let key = format!("{plural}/{}", body["metadata"]["name"].as_str().unwrap());
        let mut object = body.clone();
        if plural == "logpipelines" {
            object = kube_cel::apply_defaults(schema(), &object);
            object["metadata"]["generation"] = json!(1);
        }
        self.store(&key, object);
        (StatusCode::OK, self.objects[&key].clone())
    }

    /// Another spec of a pipeline, if the rules of its CRD take it.
    fn replace(&mut self, key: &str, body: &Value) -> (StatusCode, Value) {
        let old = self.objects[key].clone();
        let mut new = kube_cel::apply_defaults(schema(), body);
        let rules = kube_cel::Validator::new();
        if let Err(errors) = rules.validate(schema(), &new, Some(&old)) {
            return failure(422, &format!("{errors:?}"));
        }
        if !in_bounds(&new["spec"]) {
            return failure(422, "Invalid");
        }
        let generation = old["metadata"]["generation"].as_u64().unwrap();
        new["metadata"]["generation"] = json!(generation + u64::from(old["spec"] != new["spec"]));
        self.store(key, new);
        (StatusCode::OK, self.objects[key].clone())
    }

    fn store(&mut self, key: &str, mut object: Value) {
        self.versions += 1;
        object["metadata"]["resourceVersion"] = json!(self.versions.to_string());
        if object["metadata"]["uid"].is_null() {
            object["metadata"]["uid"] = json!(format!("uid-{}", self.versions));
        }
        self.objects.insert(key.to_owned(), object);
    }

    fn list(&self, plural: &str, query: &str) -> Value {
        let query = query
            .replace("%3D", "=")
            .replace("%2C", ",")
            .replace("%2F", "/");
        let selector = query
            .split('&')
            .find_map(|pair| pair.trim_start_matches('?').strip_prefix("labelSelector="));
        let wanted: Vec<(&str, &str)> = selector
            .unwrap_or_default()
            .split(',')
            .filter_map(|pair| pair.split_once('='))
            .collect();
        let items = self
            .objects
            .iter()
            .filter(|(key, _)| key.starts_with(&format!("{plural}/")));
        let items: Vec<Value> = items
            .map(|(_, object)| object)
            .filter(|object| {
                wanted
                    .iter()
                    .all(|(label, value)| object["metadata"]["labels"][label] == *value)
            })
            .map(|object| {
                let mut item = object.clone();
                // As the real one: in a list only the list has a type.
                item.as_object_mut()
                    .unwrap()
                    .retain(|key, _| key != "kind" && key != "apiVersion");
                item
            })
            .collect();
        json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items})
    }

    fn apply(&mut self, key: &str, body: &Value) -> (StatusCode, Value) {
        let mut new = body.clone();
        new["metadata"]["generation"] = json!(1);
        if let Some(old) = self.objects.get(key).cloned() {
            assert!(
                old["metadata"]["finalizers"] != json!(["orphan"]),
                "{key} is written while it is deleted"
            );
            if let Some(field) = immutable_change(key, &old, body) {
                return failure(422, field);
            }
            for field in ["uid", "resourceVersion"] {
                new["metadata"][field] = old["metadata"][field].clone();
            }
            let generation = old["metadata"]["generation"].as_u64().unwrap();
            new["metadata"]["generation"] =
                json!(generation + u64::from(old["spec"] != body["spec"]));
            if let Some(status) = old.get("status") {
                new["status"] = status.clone();
            }
            if key.contains("-checkpoint-") {
                let mut data = old["data"].clone();
                data.as_object_mut()
                    .unwrap()
                    .extend(new["data"].as_object().unwrap().clone());
                new["data"] = data;
            }
            if new == old {
                return (StatusCode::OK, old);
            }
        }
        self.store(key, new);
        (StatusCode::OK, self.objects[key].clone())
    }

    fn patch_status(&mut self, key: &str, body: &Value) -> (StatusCode, Value) {
        let Some(mut object) = self.objects.get(key).cloned() else {
            return failure(404, "NotFound");
        };
        object["status"] = body["status"].clone();
        self.store(key, object);
        (StatusCode::OK, self.objects[key].clone())
    }

    fn merge(&mut self, key: &str, body: &Value) -> (StatusCode, Value) {
        let Some(mut object) = self.objects.get(key).cloned() else {
            return failure(404, "NotFound");
        };
        let version = &body["metadata"]["resourceVersion"];
        if !version.is_null() && *version != object["metadata"]["resourceVersion"] {
            return failure(409, "Conflict");
        }
        object["metadata"]["finalizers"] = body["metadata"]["finalizers"].clone();
        let released = object["metadata"]["finalizers"]
            .as_array()
            .unwrap()
            .is_empty();
        if released && !object["metadata"]["deletionTimestamp"].is_null() {
            self.objects.remove(key);
            return (StatusCode::OK, object);
        }
        self.store(key, object);
        (StatusCode::OK, self.objects[key].clone())
    }

    /// The size of a claim, or its owners.
    fn change_claim(&mut self, key: &str, body: &Value) -> (StatusCode, Value) {
        let Some(mut claim) = self.objects.get(key).cloned() else {
            return failure(404, "NotFound");
        };
        if body["spec"].is_null() {
            claim["metadata"]["ownerReferences"] = body["metadata"]["ownerReferences"].clone();
        } else {
            claim["spec"]["resources"]["requests"] = body["spec"]["resources"]["requests"].clone();
        }
        self.store(key, claim);
        (StatusCode::OK, self.objects[key].clone())
    }

    fn delete(&mut self, key: &str, body: &Value) -> (StatusCode, Value) {
        let Some(mut object) = self.objects.get(key).cloned() else {
            return failure(404, "NotFound");
        };
        assert!(
            object["metadata"]["finalizers"] != json!(["orphan"]),
            "{key} is deleted twice, and its pods with it"
        );
        let uid = &body["preconditions"]["uid"];
        if !uid.is_null() && *uid != object["metadata"]["uid"] {
            return failure(409, "Conflict");
        }
        if body["propagationPolicy"] == "Orphan" {
            // Until the collector has let its pods go.
            object["metadata"]["finalizers"] = json!(["orphan"]);
        }
        let held = object["metadata"]["finalizers"].as_array();
        if held.is_some_and(|finalizers| !finalizers.is_empty()) {
            object["metadata"]["deletionTimestamp"] = json!(jiff::Timestamp::now().to_string());
            self.store(key, object.clone());
        } else {
            self.objects.remove(key);
        }
        (StatusCode::OK, object)
    }
}

/// What the schema says beside its rules, as far as the tests go beyond it.
fn in_bounds(spec: &Value) -> bool {
    let heap = &spec["kafka"]["managed"]["jvm"]["heapPercent"];
    let replicas = &spec["etl"]["replicas"];
    let group = spec["etl"]["groupId"].as_str().unwrap_or_default();
    serde_json::from_value::<LogPipelineSpec>(spec.clone()).is_ok()
        && heap.as_i64().unwrap_or(50) >= 10
        && replicas.as_i64().unwrap_or(1) >= 1
        && !group.contains(' ')
}

fn claims_of(set: &Value) -> Vec<(String, Value)> {
    let template = &set["spec"]["volumeClaimTemplates"][0];
    let replicas = set["spec"]["replicas"].as_i64().unwrap();
    let claim = |ordinal: i64| {
        let mut claim = template.clone();
        let name = format!(
            "data-{}-{ordinal}",
            set["metadata"]["name"].as_str().unwrap()
        );
        claim["metadata"]["name"] = json!(name);
        (format!("persistentvolumeclaims/{name}"), claim)
    };
    let count = if template.is_null() { 0 } else { replicas };
    (0..count).map(claim).collect()
}

/// `/apis/apps/v1/namespaces/data/statefulsets/x/status`
fn address(path: &str) -> (String, String, bool) {
    let rest = path
        .split("/namespaces/data/")
        .nth(1)
        .unwrap_or_else(|| panic!("{path} has no namespace"));
    let mut parts = rest.split('/').map(str::to_owned);
    let plural = parts.next().unwrap();
    let name = parts.next().unwrap_or_default();
    (plural, name, parts.next().as_deref() == Some("status"))
}

fn immutable_change(key: &str, old: &Value, new: &Value) -> Option<&'static str> {
    let differ = |pointer: &str| old.pointer(pointer) != new.pointer(pointer);
    if key.starts_with("statefulsets/") {
        let fields = [
            "/spec/selector",
            "/spec/serviceName",
            "/spec/podManagementPolicy",
            "/spec/volumeClaimTemplates",
        ];
        return fields
            .iter()
            .any(|field| differ(field))
            .then_some("a StatefulSet cannot be changed in this");
    }
    if key.starts_with("jobs/") {
        return differ("/spec/template").then_some("a Job cannot be changed");
    }
    (old["immutable"] == true && differ("/data")).then_some("it is immutable")
}

fn failure(code: u16, reason: &str) -> (StatusCode, Value) {
    let status = json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure",
        "reason": reason, "message": reason, "code": code,
    });
    (StatusCode::from_u16(code).unwrap(), status)
}
