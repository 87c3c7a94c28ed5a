//! Checkpoints in the ConfigMaps of a cluster. Touches those of one pipeline, by name, with `get` and `patch`.
//!
//! The operator makes the objects, empty; a worker can neither make nor remove one. A swap is one JSON Patch: it
//! tests the object's UID and the old value, then replaces the value. An object that is not there is an error and
//! never an empty checkpoint: every line would be written again.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, Config};
use logpipe_api::settings::checkpoint_object;
use serde_json::{Value, json};

use super::{CheckpointStore, StoreError, Swap};

/// Who the API server says has written a value.
const FIELD_MANAGER: &str = "logpipe-etl";

/// How long an answer may take. A swap whose answer is late may have gone through; the caller reads it again.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How long a worker waits for an API server that does not answer. Nothing is lost meanwhile: the log keeps the lines.
const PATIENCE: Duration = Duration::from_mins(10);
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// A first value needs the whole object unchanged, and the other partitions in it may be written meanwhile.
const FIRST_ATTEMPTS: u32 = 16;

/// What stands before a value that is not text. A checkpoint is JSON, and never begins like this.
const BINARY: &str = "base64:";

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Values in ConfigMaps.
pub struct ConfigMapStore {
    api: Api<ConfigMap>,
    namespace: String,
    prefix: String,
    /// The UID of each object when it was first seen. The same name with another UID is another object.
    uids: Mutex<HashMap<String, String>>,
    /// How long to ask a server that does not answer.
    patience: Duration,
}

/// Why a ConfigMap cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    #[error(
        "ConfigMap {0} is not there, and without it nobody knows what was written already. Make it from the files in \
         the sink with `logpipe checkpoint rebuild`; the operator makes one anew only for a partition that never had \
         one"
    )]
    Missing(String),
    #[error(
        "ConfigMap {0} was deleted and made again while this worker ran, so what is in it is not what was written: \
         stop the workers, and run `logpipe checkpoint rebuild`, which looks whether it fits the files in the sink"
    )]
    Replaced(String),
    #[error(
        "ConfigMap {0} has no UID and no resource version, so it does not come from an API server"
    )]
    Anonymous(String),
    #[error("the value in ConfigMap {0} is not the base64 that it says it is")]
    Damaged(String, #[source] base64::DecodeError),
    #[error("the API server refused the patch of ConfigMap {0}, whose value is the expected one")]
    Refused(String, #[source] kube::Error),
    #[error("ConfigMap {0} was changed by others at each of {FIRST_ATTEMPTS} attempts")]
    Busy(String),
}

impl Unusable {
    /// Whether trying again may help, without a person who mends something first.
    pub(super) fn may_pass(&self) -> bool {
        matches!(self, Self::Refused(..) | Self::Busy(_))
    }
}

/// An object as it was read.
struct Seen {
    uid: String,
    version: String,
    data: Option<BTreeMap<String, String>>,
}

impl ConfigMapStore {
    /// The ConfigMaps whose names begin with `prefix`, through a client of the caller's.
    pub fn new(client: Client, namespace: &str, prefix: &str) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            namespace: namespace.to_owned(),
            prefix: prefix.to_owned(),
            uids: Mutex::default(),
            patience: Duration::ZERO,
        }
    }

    /// The same, as the pod's own service account, or as the user of the kubeconfig. A read waits for a server that
    /// does not answer, for some minutes; so does whoever reads behind a swap that failed.
    pub async fn connect(namespace: &str, prefix: &str) -> Result<Self, StoreError> {
        let failed = |source: Cause| StoreError {
            key: "*".to_owned(),
            place: format!("ConfigMaps {namespace}/{prefix}-*"),
            action: "connect to the API server",
            source,
        };
        let mut config = Config::infer()
            .await
            .map_err(|error| failed(error.into()))?;
        config.connect_timeout = Some(TIMEOUT);
        config.read_timeout = Some(TIMEOUT);
        config.write_timeout = Some(TIMEOUT);
        let client = Client::try_from(config).map_err(|error| failed(error.into()))?;
        Ok(Self {
            patience: PATIENCE,
            ..Self::new(client, namespace, prefix)
        })
    }

    async fn ask(&self, object: &str) -> kube::Result<Option<ConfigMap>> {
        let begun = Instant::now();
        let mut wait = FIRST_WAIT;
        loop {
            let answer = self.api.get_opt(object).await;
            match answer {
                Err(error) if may_pass(&error) && begun.elapsed() + wait < self.patience => {
                    if wait == FIRST_WAIT {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(
                            object,
                            error,
                            "cannot read a checkpoint; trying again for {} s",
                            self.patience.as_secs()
                        );
                    }
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(LONGEST_WAIT);
                }
                answer => return answer,
            }
        }
    }

    async fn get(&self, object: &str) -> Result<Seen, Cause> {
        let Some(map) = self.ask(object).await? else {
            return Err(Unusable::Missing(object.to_owned()).into());
        };
        let (Some(uid), Some(version)) = (map.metadata.uid, map.metadata.resource_version) else {
            return Err(Unusable::Anonymous(object.to_owned()).into());
        };
        // A panic cannot have left half an entry.
        let mut uids = self.uids.lock().unwrap_or_else(PoisonError::into_inner);
        let first = uids.entry(object.to_owned()).or_insert_with(|| uid.clone());
        if *first != uid {
            return Err(Unusable::Replaced(object.to_owned()).into());
        }
        Ok(Seen {
            uid,
            version,
            data: map.data,
        })
    }

    async fn uid(&self, object: &str) -> Result<String, Cause> {
        let known = {
            let uids = self.uids.lock().unwrap_or_else(PoisonError::into_inner);
            uids.get(object).cloned()
        };
        match known {
            Some(uid) => Ok(uid),
            None => Ok(self.get(object).await?.uid),
        }
    }

    async fn value(&self, object: &str, key: &str) -> Result<Option<Vec<u8>>, Cause> {
        let data = self.get(object).await?.data.unwrap_or_default();
        match data.get(key) {
            Some(text) => {
                Ok(Some(decode(text).map_err(|error| {
                    Unusable::Damaged(object.to_owned(), error)
                })?))
            }
            None => Ok(None),
        }
    }

    async fn patch(&self, object: &str, operations: Value) -> Result<(), kube::Error> {
        let patch = serde_json::from_value(operations).expect("the operations are a JSON Patch");
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patch: Patch<()> = Patch::Json(patch);
        self.api.patch(object, &params, &patch).await.map(drop)
    }

    async fn replace(&self, key: &str, expected: &[u8], new: &[u8]) -> Result<Swap, Cause> {
        let object = checkpoint_object(&self.prefix, key);
        let path = format!("/data/{key}");
        let operations = json!([
            {"op": "test", "path": "/metadata/uid", "value": self.uid(&object).await?},
            {"op": "test", "path": path, "value": encode(expected)},
            {"op": "replace", "path": path, "value": encode(new)},
        ]);
        let refusal = match self.patch(&object, operations).await {
            Ok(()) => return Ok(Swap::Done),
            Err(error) if is_refusal(&error) => error,
            Err(error) => return Err(explain(&object, error)),
        };
        // Which test failed is not told: the value tells it.
        if self.value(&object, key).await?.as_deref() == Some(expected) {
            return Err(Unusable::Refused(object, refusal).into());
        }
        Ok(Swap::Conflict)
    }

    /// A JSON Patch cannot test that a key is absent, so the first value needs the object as it was read.
    async fn create(&self, key: &str, new: &[u8]) -> Result<Swap, Cause> {
        let object = checkpoint_object(&self.prefix, key);
        for _ in 0..FIRST_ATTEMPTS {
            let seen = self.get(&object).await?;
            let add = match &seen.data {
                Some(data) if data.contains_key(key) => return Ok(Swap::Conflict),
                Some(_) => {
                    json!({"op": "add", "path": format!("/data/{key}"), "value": encode(new)})
                }
                None => json!({"op": "add", "path": "/data", "value": {key: encode(new)}}),
            };
            let operations = json!([
                {"op": "test", "path": "/metadata/uid", "value": seen.uid},
                {"op": "test", "path": "/metadata/resourceVersion", "value": seen.version},
                add,
            ]);
            match self.patch(&object, operations).await {
                Ok(()) => return Ok(Swap::Done),
                Err(error) if is_refusal(&error) => {}
                Err(error) => return Err(explain(&object, error)),
            }
        }
        Err(Unusable::Busy(object).into())
    }

    fn failed(&self, key: &str, action: &'static str, source: Cause) -> StoreError {
        let object = checkpoint_object(&self.prefix, key);
        StoreError {
            key: key.to_owned(),
            place: format!("ConfigMap {}/{object}", self.namespace),
            action,
            source,
        }
    }
}

#[async_trait]
impl CheckpointStore for ConfigMapStore {
    async fn read(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let object = checkpoint_object(&self.prefix, key);
        let value = self.value(&object, key).await;
        value.map_err(|source| self.failed(key, "read it", source))
    }

    async fn swap(
        &self,
        key: &str,
        expected: Option<&[u8]>,
        new: &[u8],
    ) -> Result<Swap, StoreError> {
        let outcome = match expected {
            Some(expected) => self.replace(key, expected, new).await,
            None => self.create(key, new).await,
        };
        outcome.map_err(|source| self.failed(key, "swap it", source))
    }
}

fn explain(object: &str, error: kube::Error) -> Cause {
    match &error {
        kube::Error::Api(status) if status.code == 404 => {
            Unusable::Missing(object.to_owned()).into()
        }
        _ => error.into(),
    }
}

/// What the server has refused, it refuses again.
fn may_pass(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => status.code >= 500 || status.code == 429,
        _ => true,
    }
}

/// A test that failed is 422; a patch that met others at every try of the server is 409.
fn is_refusal(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 422 || status.code == 409)
}

fn encode(value: &[u8]) -> String {
    match std::str::from_utf8(value) {
        Ok(text) if !text.starts_with(BINARY) => text.to_owned(),
        _ => format!("{BINARY}{}", BASE64.encode(value)),
    }
}

fn decode(text: &str) -> Result<Vec<u8>, base64::DecodeError> {
    match text.strip_prefix(BINARY) {
        Some(text) => BASE64.decode(text),
        None => Ok(text.as_bytes().to_vec()),
    }
}

#[cfg(test)]
mod tests;
