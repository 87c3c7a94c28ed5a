//! The store against an API server in memory that knows `get` and `patch` of ConfigMaps; and, where
//! `LOGPIPE_TEST_KUBECONFIG` names a cluster, against a real one.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use http::{Method, Request, Response, StatusCode};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};

use super::*;
use crate::checkpoint::contract;

/// Every key that the contract suite writes.
const KEYS: [&str; 5] = ["p00000", "p00001", "p0000", "producer-a-0", "producer-a"];

/// The ConfigMaps of one namespace, and how many requests are still answered by 503.
#[derive(Clone, Default)]
struct FakeApi(Arc<Mutex<HashMap<String, Value>>>, Arc<AtomicU32>);

impl FakeApi {
    fn client(&self) -> Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let api = api.clone();
            async move {
                let (parts, body) = request.into_parts();
                let name = parts.uri.path().rsplit('/').next().unwrap().to_owned();
                let body = body.collect_bytes().await.unwrap();
                let (code, value) = api.answer(&parts.method, &name, &body);
                let body = Body::from(serde_json::to_vec(&value).unwrap());
                let response = Response::builder().status(code).body(body).unwrap();
                Ok::<_, Infallible>(response)
            }
        });
        Client::new(service, "data")
    }

    fn answer(&self, method: &Method, name: &str, body: &[u8]) -> (StatusCode, Value) {
        let ill = |left: u32| left.checked_sub(1);
        if self
            .1
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, ill)
            .is_ok()
        {
            return failure(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable");
        }
        let mut objects = self.0.lock().unwrap();
        let Some(object) = objects.get_mut(name) else {
            return failure(StatusCode::NOT_FOUND, "NotFound");
        };
        if *method == Method::GET {
            return (StatusCode::OK, object.clone());
        }
        assert_eq!(*method, Method::PATCH, "workers may get and patch only");
        let patch: json_patch::Patch = serde_json::from_slice(body).unwrap();
        let mut patched = object.clone();
        if json_patch::patch(&mut patched, &patch).is_err() {
            return failure(StatusCode::UNPROCESSABLE_ENTITY, "Invalid");
        }
        let version: u64 = patched["metadata"]["resourceVersion"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        patched["metadata"]["resourceVersion"] = json!((version + 1).to_string());
        *object = patched.clone();
        (StatusCode::OK, patched)
    }

    /// As the operator makes them.
    fn make(&self, name: &str, uid: &str, data: &Value) {
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": "data", "uid": uid, "resourceVersion": "1"},
            "data": data,
        });
        self.0.lock().unwrap().insert(name.to_owned(), object);
    }

    fn store(&self) -> ConfigMapStore {
        ConfigMapStore::new(self.client(), "data", "shop-checkpoint")
    }
}

fn failure(code: StatusCode, reason: &str) -> (StatusCode, Value) {
    let status = json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure",
        "reason": reason, "message": reason, "code": code.as_u16(),
    });
    (code, status)
}

fn new_store() -> Arc<dyn CheckpointStore> {
    let api = FakeApi::default();
    for key in KEYS {
        let object = checkpoint_object("shop-checkpoint", key);
        api.make(&object, "uid", &json!({"about": "…"}));
    }
    Arc::new(api.store())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_contract() {
    contract::all(&new_store).await;
}

/// The same partitions, but 256 higher, where several share an object.
struct Packed(ConfigMapStore);

fn packed(key: &str) -> String {
    match logpipe_api::settings::partition_of_key(key) {
        Some(partition) => logpipe_api::settings::partition_key(partition + 256),
        None => key.to_owned(),
    }
}

#[async_trait]
impl CheckpointStore for Packed {
    async fn read(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.read(&packed(key)).await
    }

    async fn swap(
        &self,
        key: &str,
        expected: Option<&[u8]>,
        new: &[u8],
    ) -> Result<Swap, StoreError> {
        self.0.swap(&packed(key), expected, new).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_contract_where_partitions_share_an_object() {
    contract::all(&|| {
        let api = FakeApi::default();
        for key in KEYS {
            let object = checkpoint_object("shop-checkpoint", &packed(key));
            api.make(&object, "uid", &json!({"about": "…"}));
        }
        Arc::new(Packed(api.store()))
    })
    .await;
}

/// The messages of an error and of all its causes.
fn chain(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_waited_for_and_one_that_refuses_is_not() {
    let api = FakeApi::default();
    api.make("shop-checkpoint-p00000", "uid", &json!({"p00000": "value"}));
    let patient = ConfigMapStore {
        patience: Duration::from_mins(1),
        ..api.store()
    };
    api.1.store(2, Ordering::SeqCst);
    let read = patient.read("p00000").await.unwrap();
    assert_eq!(read.as_deref(), Some(&b"value"[..]));
    let begun = Instant::now();
    let missing = patient.read("p00001").await.unwrap_err();
    assert!(!missing.may_pass() && begun.elapsed() < patient.patience);
    api.1.store(1, Ordering::SeqCst);
    assert!(api.store().read("p00000").await.unwrap_err().may_pass());
}

#[tokio::test]
async fn a_missing_object_is_an_error_and_not_an_empty_checkpoint() {
    let store = FakeApi::default().store();
    let read = chain(&store.read("p00000").await.unwrap_err());
    assert!(
        read.contains("ConfigMap data/shop-checkpoint-p00000"),
        "{read}"
    );
    assert!(read.contains("logpipe checkpoint rebuild"), "{read}");
    for expected in [None, Some(&b"a"[..])] {
        let swap = chain(&store.swap("p00000", expected, b"b").await.unwrap_err());
        assert!(swap.contains("is not there"), "{swap}");
    }
}

#[tokio::test]
async fn an_object_that_was_made_again_is_not_the_one_that_was_read() {
    let api = FakeApi::default();
    let name = "shop-checkpoint-p00000";
    api.make(name, "first", &json!({"p00000": "a"}));
    let store = api.store();
    store.read("p00000").await.unwrap();
    // With the same value, so that only the UID tells.
    api.make(name, "second", &json!({"p00000": "a"}));
    let swap = chain(&store.swap("p00000", Some(b"a"), b"b").await.unwrap_err());
    assert!(swap.contains("was deleted and made again"), "{swap}");
    let read = chain(&store.read("p00000").await.unwrap_err());
    assert!(read.contains("was deleted and made again"), "{read}");
}

#[tokio::test]
async fn a_first_value_finds_no_map_at_all() {
    let api = FakeApi::default();
    api.make("shop-checkpoint-p00000", "uid", &Value::Null);
    let store = api.store();
    assert_eq!(store.swap("p00000", None, b"a").await.unwrap(), Swap::Done);
    assert_eq!(
        store.read("p00000").await.unwrap().as_deref(),
        Some(&b"a"[..])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_of_one_object_do_not_stand_in_each_others_way() {
    let api = FakeApi::default();
    api.make("shop-checkpoint-g00000", "uid", &json!({"about": "…"}));
    let store = Arc::new(api.store());
    let tasks = (256..264).map(|partition| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let key = format!("p{partition:05}");
            store.swap(&key, None, key.as_bytes()).await.unwrap()
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        assert_eq!(task.await.unwrap(), Swap::Done);
    }
    let value = store.read("p00260").await.unwrap();
    assert_eq!(value.as_deref(), Some(&b"p00260"[..]));
}

#[test]
fn text_stands_as_it_is() {
    assert_eq!(encode(br#"{"v":1}"#), r#"{"v":1}"#);
    assert_eq!(decode(&encode(b"base64:")).unwrap(), b"base64:");
    assert_eq!(decode(&encode(&[0, 255])).unwrap(), [0, 255]);
}

/// Objects of their own for each part of the suite, in the namespace `default`.
async fn real_prefixes(client: &Client, of: fn(&str) -> String) -> Vec<String> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
    let mut prefixes = Vec::new();
    for part in 0..6 {
        let unique = getrandom::u32().unwrap();
        let prefix = format!("contract-{part}-{unique:08x}");
        for name in objects(&prefix, of) {
            let map = ConfigMap {
                metadata: ObjectMeta {
                    name: Some(name),
                    ..ObjectMeta::default()
                },
                data: Some([("about".to_owned(), "a test".to_owned())].into()),
                ..ConfigMap::default()
            };
            api.create(&PostParams::default(), &map).await.unwrap();
        }
        prefixes.push(prefix);
    }
    prefixes
}

/// The objects of the suite's keys, each once.
fn objects(prefix: &str, of: fn(&str) -> String) -> std::collections::BTreeSet<String> {
    let mut names = std::collections::BTreeSet::new();
    for key in KEYS {
        names.insert(checkpoint_object(prefix, &of(key)));
    }
    names
}

/// A client of the cluster that is named for tests.
async fn real_client() -> Option<Client> {
    let Some(path) = std::env::var_os("LOGPIPE_TEST_KUBECONFIG") else {
        println!("not available: LOGPIPE_TEST_KUBECONFIG names no cluster");
        return None;
    };
    // Another dependency may bring a second provider, and then nobody is the default.
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    let kubeconfig = Kubeconfig::read_from(path).unwrap();
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
    Some(Client::try_from(config.unwrap()).unwrap())
}

/// The suite on a real API server, in objects that are removed again.
async fn real_contract(
    of: fn(&str) -> String,
    wrap: fn(ConfigMapStore) -> Arc<dyn CheckpointStore>,
) {
    let Some(client) = real_client().await else {
        return;
    };
    let prefixes = real_prefixes(&client, of).await;
    let next = AtomicU32::new(0);
    contract::all(&|| {
        let number = next.fetch_add(1, Ordering::Relaxed) as usize;
        wrap(ConfigMapStore::new(
            client.clone(),
            "default",
            &prefixes[number],
        ))
    })
    .await;
    let api: Api<ConfigMap> = Api::namespaced(client, "default");
    for name in prefixes.iter().flat_map(|prefix| objects(prefix, of)) {
        api.delete(&name, &kube::api::DeleteParams::default())
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_contract_on_a_real_api_server() {
    real_contract(str::to_owned, |store| Arc::new(store)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_contract_where_partitions_share_an_object_of_a_real_api_server() {
    real_contract(packed, |store| Arc::new(Packed(store))).await;
}
