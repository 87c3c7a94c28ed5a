//! A namespace for one test, with the restricted Pod Security level and the keys of the bucket.

use std::any::Any;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, anyhow};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use kube::{Client, Config};
use tokio::sync::RwLock;

use crate::{bundle, until};

/// The Secret with the keys of the bucket, in each namespace.
pub(crate) const KEYS: &str = "s3-credentials";

/// The namespace of the operator.
pub(crate) const OPERATOR: &str = "logpipe-system";

/// What the tests share: the operator and the machine.
static CLUSTER: RwLock<()> = RwLock::const_new(());

/// A namespace for one test.
pub struct Bed {
    pub(crate) client: Client,
    test: String,
    /// Its name, which is the prefix in the bucket, too.
    pub namespace: String,
    begun: Instant,
}

/// Runs a test in a namespace of its own, if there is a cluster. When it fails, what is there is kept in a folder.
pub async fn run(name: &str, test: impl AsyncFnOnce(&Bed) -> anyhow::Result<()>) {
    let _shared = CLUSTER.read().await;
    run_now(name, test).await;
}

/// Like `run`, while no other test runs: it changes the operator, or measures the load.
pub async fn run_alone(name: &str, test: impl AsyncFnOnce(&Bed) -> anyhow::Result<()>) {
    let _alone = CLUSTER.write().await;
    run_now(name, test).await;
}

async fn run_now(name: &str, test: impl AsyncFnOnce(&Bed) -> anyhow::Result<()>) {
    if variable("LOGPIPE_E2E").is_none() {
        let filter = name.split('-').next().unwrap_or(name);
        println!(
            "not available: it needs a cluster. Run: hack/e2e --cluster local {filter}, or --cluster kind"
        );
        return;
    }
    println!("== {name}");
    let bed = Bed::make(name).await.expect("a namespace can be made");
    let outcome = unless_it_panics(test(&bed)).await;
    if let Err(error) = outcome {
        let kept = match bundle::write(&bed).await {
            Ok(folder) => format!("what was there is in {}", folder.display()),
            Err(error) => format!("what was there could not be kept: {error:#}"),
        };
        bed.remove().await.ok();
        panic!("{name}: {error:#}; {kept}");
    }
    bed.say("done");
    bed.remove().await.expect("the namespace can be removed");
}

/// A test that panics has failed, too: what it panicked with.
async fn unless_it_panics(test: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let mut test = Box::pin(test);
    poll_fn(|context| {
        // After a panic it is not looked at again.
        let seen = catch_unwind(AssertUnwindSafe(|| test.as_mut().poll(context)));
        seen.unwrap_or_else(|panic| {
            Poll::Ready(Err(anyhow!("it panicked: {}", text_of(panic.as_ref()))))
        })
    })
    .await
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned
        .or_else(|| panic.downcast_ref().copied())
        .unwrap_or("without a text")
}

/// The namespace that has the keys of the bucket.
pub(crate) fn keys_namespace() -> String {
    variable("LOGPIPE_E2E_S3_NAMESPACE").unwrap_or_else(|| "object-store".to_owned())
}

/// A variable that is set and not empty.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl Bed {
    async fn make(name: &str) -> anyhow::Result<Self> {
        rustls::crypto::ring::default_provider()
            .install_default()
            .ok();
        let config = Config::infer().await.context("no cluster is named")?;
        let client = Client::try_from(config)?;
        // Names of another run are not taken again: its files are still in the bucket.
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let namespace = format!("e2e-{name}-{now:x}");
        let labels = map([("pod-security.kubernetes.io/enforce", "restricted")]);
        let object = Namespace {
            metadata: ObjectMeta {
                name: Some(namespace.clone()),
                labels: Some(labels),
                ..ObjectMeta::default()
            },
            ..Namespace::default()
        };
        let params = PostParams::default();
        Api::<Namespace>::all(client.clone())
            .create(&params, &object)
            .await?;
        let bed = Self {
            client,
            test: name.to_owned(),
            namespace,
            begun: Instant::now(),
        };
        bed.copy_keys().await?;
        bed.wait_for_what_is_in_each_namespace().await?;
        Ok(bed)
    }

    /// Kubernetes itself makes these a moment later: they are there before a test counts what a pipeline adds.
    async fn wait_for_what_is_in_each_namespace(&self) -> anyhow::Result<()> {
        until(
            "the namespace has its account and certificates",
            Duration::from_mins(1),
            async || {
                let account = self.api::<ServiceAccount>().get_opt("default").await?;
                let certificates = self.api::<ConfigMap>().get_opt("kube-root-ca.crt").await?;
                Ok((account.is_some() && certificates.is_some()).then_some(()))
            },
        )
        .await
    }

    /// The bucket's keys, as `hack/cluster s3` or `hack/kind s3` made them.
    async fn copy_keys(&self) -> anyhow::Result<()> {
        let from = keys_namespace();
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &from);
        let keys = secrets.get(KEYS).await;
        let keys = keys.with_context(|| {
            format!(
                "the Secret {KEYS} of namespace {from} cannot be read. `hack/cluster s3`, or `hack/kind s3`, makes it"
            )
        })?;
        let copy = Secret {
            metadata: ObjectMeta {
                name: Some(KEYS.to_owned()),
                ..ObjectMeta::default()
            },
            data: keys.data,
            ..Secret::default()
        };
        self.api().create(&PostParams::default(), &copy).await?;
        Ok(())
    }

    /// Where the bucket is, as pods see it.
    pub(crate) fn endpoint() -> String {
        let set = variable("LOGPIPE_E2E_S3_ENDPOINT");
        set.unwrap_or_else(|| "http://minio.object-store.svc:9000".to_owned())
    }

    /// The objects of one kind in the namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The API server.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Tells how far the test is, and when.
    pub fn say(&self, text: &str) {
        println!("{:10}  {:7.1} s  {text}", self.test, self.seconds());
    }

    /// Seconds since the namespace was made.
    pub fn seconds(&self) -> f64 {
        self.begun.elapsed().as_secs_f64()
    }

    /// Removes the namespace and waits until it is gone: the next test needs the room.
    async fn remove(&self) -> anyhow::Result<()> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        namespaces
            .delete(&self.namespace, &DeleteParams::default())
            .await?;
        until(
            "the namespace is gone",
            Duration::from_mins(7),
            async || {
                Ok(namespaces
                    .get_opt(&self.namespace)
                    .await?
                    .is_none()
                    .then_some(()))
            },
        )
        .await
    }
}

/// Asks for the objects of one part of a pipeline.
pub(crate) fn of_part(pipeline: &str, component: &str) -> ListParams {
    let labels = format!("logpipe.dev/pipeline={pipeline},logpipe.dev/component={component}");
    ListParams::default().labels(&labels)
}

/// Text pairs as a map.
pub(crate) fn map<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_test_that_panics_has_failed_and_says_with_what() {
        let outcome = unless_it_panics(async {
            tokio::task::yield_now().await;
            "pods".find("none").expect("a pod");
            Ok(())
        });
        let told = outcome.await.unwrap_err().to_string();
        assert_eq!(told, "it panicked: a pod");
        let told = unless_it_panics(async { panic!("{} pods", 3) }).await;
        assert_eq!(told.unwrap_err().to_string(), "it panicked: 3 pods");
        unless_it_panics(async { Ok(()) }).await.unwrap();
    }
}
