//! Hundreds of random edits, valid and invalid, end where a fresh install of the last manifest does.

use k8s_openapi::api::core::v1::ServiceAccount;
use kube::{Api, ResourceExt};
use logpipe_api::LogPipelineSpec;
use serde_json::{Value, json};

use crate::quickstart;
use crate::server::{Server, same};

const SEEDS: u64 = 15;
const EDITS: usize = 20;

/// xorshift64*: the same edits for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let word = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(word).unwrap() % bound
    }

    fn pick(&mut self, values: &[Value]) -> Value {
        values[self.below(values.len())].clone()
    }
}

/// Where an edit may go, and what it may put there. Some of it the rules refuse, some of it the operator.
fn places() -> Vec<(String, Vec<Value>)> {
    let places = json!([
        ["/suspend", ["None", "Sources", "All"]],
        ["/deletionPolicy/volumes", ["Retain", "Delete"]],
        ["/images/pullPolicy", ["Always", "IfNotPresent"]],
        ["/images/worker", [{"repository": "w", "tag": "2"}, {"repository": "w"}, null]],
        ["/images/pullSecrets", [[{"name": "a"}, {"name": "b"}], [{"name": "b"}], null]],
        ["/scheduling/nodeSelector", [{"disk": "ssd"}, {"disk": "hdd", "zone": "a"}, null]],
        ["/scheduling/tolerations", [
            [{"key": "logs", "operator": "Exists"}],
            [{"operator": "Exists", "value": "x"}],
            [{"key": "a", "value": "b"}, {"operator": "Exists"}],
            null,
        ]],
        ["/podTemplate", [
            {"metadata": {"labels": {"team": "a"}, "annotations": {"example.com/a": "b"}}},
            {"spec": {"containers": [{"name": "agent", "image": "a"}], "volumes": [{"name": "v", "emptyDir": {}}]}},
            {"spec": {"tolerations": [{"operator": "Exists"}], "securityContext": {"supplementalGroups": [7]}}},
            {"spec": {"restartPolicy": "Never"}},
            {"spec": "nothing"},
            null,
        ]],
        ["/etl/podTemplate", [
            {"spec": {"containers": [{"name": "etl", "volumeMounts": [{"name": "tmp", "mountPath": "/more"}]}]}},
            {"spec": {"containers": [{"name": "etl", "image": "mine"}]}},
            {"spec": {"affinity": {"podAntiAffinity": {}}, "topologySpreadConstraints": [
                {"topologyKey": "rack", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"},
            ]}},
            null,
        ]],
        ["/kafka/managed/podTemplate", [{"spec": {"terminationGracePeriodSeconds": 7}}, {"spec": {"hostname": "x"}}, null]],
        ["/kafka/managed/replicas", [1, 2, 3]],
        ["/kafka/managed/config", [{}, {"log.retention.hours": "1"}, {"listeners": "x"}, null]],
        ["/kafka/managed/rack", [{"topologyKey": "topology.kubernetes.io/zone"}, {"topologyKey": "kubernetes.io/hostname"}, null]],
        ["/kafka/managed/jvm/heapPercent", [20, 50, 5]],
        ["/kafka/managed/resources", [{"limits": {"memory": "2Gi"}}, {"limits": {"memory": "64Mi"}}, null]],
        ["/kafka/managed/storage/size", ["8Gi", "9Gi"]],
        ["/kafka/topic/partitions", [3, 4, 9]],
        ["/kafka/topic/replicationFactor", [1, 3, null]],
        ["/kafka/topic/config", [{"retention.ms": "1000"}, {}]],
        ["/etl/replicas", [1, 4, 0]],
        ["/etl/resources", [{"requests": {"cpu": "1"}}, {}, null]],
        ["/etl/serviceAccountName", ["mine", null]],
        ["/etl/groupId", ["g", "a group", null]],
        ["/source/producer/lingerMs", [1, 100]],
        ["/source/generator/eventsPerSecond", [0, 5]],
        ["/sink/rotation/intervalSeconds", [10, 60]],
        ["/sink/s3/credentials", [{"secretRef": {"name": "a"}}, {"secretRef": {"name": "b.c"}}, null]],
        ["/transform/parser", [{"type": "Json"}, {"type": "Regex", "pattern": "^(?<message>.*)$"}]],
    ]);
    serde_json::from_value(places).unwrap()
}

/// Puts a value there; `null` takes away what is there.
fn set(spec: &mut Value, pointer: &str, value: Value) {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let mut node = spec;
    for name in parent.split('/').skip(1) {
        if node.get(name).is_none() {
            node[name] = json!({});
        }
        node = &mut node[name];
    }
    if value.is_null() {
        node.as_object_mut().unwrap().remove(name);
    } else {
        node[name] = value;
    }
}

/// Takes out what the operator may refuse.
fn mend(spec: &mut Value) {
    let managed = spec["kafka"]["managed"].as_object_mut().unwrap();
    managed.remove("config");
    managed.remove("resources");
    if let Some(Value::Object(topic)) = spec.pointer_mut("/kafka/topic") {
        topic.remove("replicationFactor");
    }
    let typed: LogPipelineSpec = serde_json::from_value(spec.clone()).unwrap();
    if !typed.faults().is_empty() {
        for pointer in ["", "/etl", "/kafka/managed"] {
            if let Some(Value::Object(parent)) = spec.pointer_mut(pointer) {
                parent.remove("podTemplate");
            }
        }
    }
}

/// The edits of one seed, one after the other, on the pipeline of a server.
pub(crate) struct Chain {
    random: Random,
    places: Vec<(String, Vec<Value>)>,
    spec: Value,
    /// Edits that the API server took.
    pub(crate) taken: usize,
    /// Edits that it refused.
    pub(crate) refused: usize,
}

impl Chain {
    /// Begins with the quickstart.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            random: Random(seed),
            places: places(),
            spec: quickstart(),
            taken: 0,
            refused: 0,
        }
    }

    /// The next edit.
    pub(crate) async fn step(&mut self, server: &Server) {
        let (pointer, values) = &self.places[self.random.below(self.places.len())];
        let mut wanted = self.spec.clone();
        set(&mut wanted, pointer, self.random.pick(values));
        if server.edit(&wanted).await.is_ok() {
            self.spec = wanted;
            self.taken += 1;
        } else {
            self.refused += 1;
        }
    }

    /// Takes out what the operator refuses; what the manifest is then.
    pub(crate) async fn mended(mut self, server: &Server) -> Value {
        mend(&mut self.spec);
        server.edit(&self.spec).await.unwrap();
        self.spec
    }
}

/// A user who gives the workers a role of the cloud may name the account as we had: theirs must stay, also when the
/// pipeline goes.
pub(crate) async fn to_an_account_of_our_name(server: &Server) {
    server.install(&quickstart()).await;
    server.converge().await;
    let accounts: Api<ServiceAccount> = Api::namespaced(server.admin.clone(), &server.namespace);
    let ours = accounts.get("demo-etl").await.unwrap();
    assert_eq!(ours.owner_references().len(), 1);
    let mut spec = quickstart();
    spec["etl"] = json!({"serviceAccountName": "demo-etl"});
    server.edit(&spec).await.unwrap();
    server.converge().await;
    let theirs = accounts.get("demo-etl").await.unwrap();
    assert_eq!(theirs.uid(), ours.uid());
    assert_eq!(theirs.owner_references(), []);
    assert_eq!(theirs.labels().len(), 0, "{:?}", theirs.labels());
}

/// Another one is other edits.
pub(crate) fn first_seed() -> u64 {
    let set = std::env::var("LOGPIPE_TEST_SEED").ok();
    set.map_or(1, |text| text.parse().unwrap())
}

pub(crate) async fn random(server: &Server) {
    let first = first_seed();
    let (mut taken, mut refused, mut told) = (0, 0, 0);
    for seed in first..first + SEEDS {
        let mut chain = Chain::new(seed);
        server.install(&quickstart()).await;
        server.converge().await;
        for _ in 0..EDITS {
            chain.step(server).await;
            // Some edits come while the last one is still being carried out, by an operator that dies.
            match chain.random.below(4) {
                0 => server.converge().await,
                1 => {
                    server.wire.crash_after(1 + chain.random.below(4));
                    server.look().await.ok();
                    server.wire.revive();
                }
                _ => server.look().await.unwrap(),
            }
            told += usize::from(is_stalled(server).await);
        }
        (taken, refused) = (taken + chain.taken, refused + chain.refused);
        let spec = chain.mended(server).await;
        server.converge().await;
        let edited = server.essence().await;
        server.wipe().await;
        server.install(&spec).await;
        server.converge().await;
        let fresh = server.essence().await;
        same(&edited, &fresh, &format!("seed {seed}: {spec}"));
        server.wipe().await;
    }
    println!(
        "seeds {first} to {}: {taken} edits taken, {refused} refused; stalled after {told} of them",
        first + SEEDS - 1
    );
    assert_eq!(taken + refused, EDITS * SEEDS as usize);
    assert!(refused > 10 && told > 10);
}

async fn is_stalled(server: &Server) -> bool {
    let object = server.pipelines().get("demo").await.unwrap();
    let conditions = object.data["status"]["conditions"].as_array();
    let mut stalled = conditions
        .into_iter()
        .flatten()
        .filter(|condition| condition["type"] == "Stalled");
    stalled.any(|condition| condition["status"] == "True")
}
