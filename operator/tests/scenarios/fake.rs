//! An API server in memory: as much of one as the operator asks. Whoever applies an object is its only owner,
//! except that others keep their keys of a ConfigMap's data and the status. What a real server refuses to change,
//! this one does, too.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response, StatusCode};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

/// `kind-plural/name`, in one namespace.
type Objects = BTreeMap<String, Value>;

#[derive(Clone, Default)]
pub(crate) struct FakeApi(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    objects: Objects,
    versions: u64,
    writes: Vec<String>,
    /// After so many writes every answer is lost, though the write that was on its way is done.
    crash_after: Option<usize>,
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

    /// What was written since the last call.
    pub(crate) fn writes(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().writes)
    }

    pub(crate) fn crash_after(&self, writes: Option<usize>) {
        let mut state = self.0.lock().unwrap();
        state.writes.clear();
        state.crash_after = writes;
    }

    pub(crate) fn refuse(&self, kinds: &[&str]) {
        self.0.lock().unwrap().refused = kinds.iter().map(|&kind| kind.to_owned()).collect();
    }

    /// Everything but what differs from server to server.
    pub(crate) fn essence(&self) -> Objects {
        let mut objects = self.0.lock().unwrap().objects.clone();
        objects.retain(|key, _| !key.starts_with("logpipelines/"));
        for object in objects.values_mut() {
            let metadata = object["metadata"].as_object_mut().unwrap();
            metadata
                .retain(|key, _| !["uid", "resourceVersion", "generation"].contains(&key.as_str()));
            object.as_object_mut().unwrap().remove("status");
        }
        objects
    }

    /// What the cluster's own controllers do: pods run, Jobs come to their end.
    pub(crate) fn settle(&self) {
        let mut state = self.0.lock().unwrap();
        for (key, object) in &mut state.objects {
            let generation = object["metadata"]["generation"].clone();
            if key.starts_with("statefulsets/") {
                let replicas = object["spec"]["replicas"].clone();
                object["status"] = json!({"replicas": replicas, "readyReplicas": replicas, "observedGeneration": generation});
            }
            if key.starts_with("jobs/") {
                object["status"] = json!({"succeeded": 1});
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
        if is_write
            && self
                .crash_after
                .is_some_and(|writes| self.writes.len() > writes)
        {
            return failure(500, "InternalError");
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
        let answer = match *method {
            Method::PATCH if status => self.patch_status(&key, body),
            Method::PATCH if plural == "logpipelines" => self.merge(&key, body),
            Method::PATCH => self.apply(&key, body),
            Method::DELETE => self.delete(&key, body),
            _ => failure(405, "MethodNotAllowed"),
        };
        if answer.0.is_success() {
            self.writes.push(format!("{method} {key}"));
        }
        if self
            .crash_after
            .is_some_and(|writes| self.writes.len() > writes)
        {
            return failure(500, "InternalError");
        }
        answer
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
        if body["metadata"]["resourceVersion"] != object["metadata"]["resourceVersion"] {
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

    fn delete(&mut self, key: &str, body: &Value) -> (StatusCode, Value) {
        let Some(object) = self.objects.get(key) else {
            return failure(404, "NotFound");
        };
        if body["preconditions"]["uid"] != object["metadata"]["uid"] {
            return failure(409, "Conflict");
        }
        let object = self.objects.remove(key).unwrap();
        (StatusCode::OK, object)
    }
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
