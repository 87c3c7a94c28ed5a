//! Hundreds of random edits, valid and invalid, end where a fresh install of the last manifest does.

use serde_json::{Value, json};

use crate::fake::FakeApi;
use crate::{PIPELINE, converge, install, look, quickstart, same, schema, stored};

/// Stores another spec, as an edit does.
pub(crate) fn edit(api: &FakeApi, spec: &Value) {
    let mut object = api.get(PIPELINE).unwrap();
    object["spec"] = stored(spec)["spec"].clone();
    let generation = object["metadata"]["generation"].as_i64().unwrap();
    object["metadata"]["generation"] = json!(generation + 1);
    api.put(PIPELINE, object);
}

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
fn places() -> Vec<(&'static str, Vec<Value>)> {
    vec![
        (
            "/suspend",
            vec![json!("None"), json!("Sources"), json!("All")],
        ),
        (
            "/deletionPolicy/volumes",
            vec![json!("Retain"), json!("Delete")],
        ),
        (
            "/images/pullPolicy",
            vec![json!("Always"), json!("IfNotPresent")],
        ),
        (
            "/images/worker",
            vec![
                json!({"repository": "w", "tag": "2"}),
                json!({"repository": "w"}),
            ],
        ),
        (
            "/kafka/managed/replicas",
            vec![json!(1), json!(2), json!(3), json!(5)],
        ),
        (
            "/kafka/managed/config",
            vec![
                json!({}),
                json!({"log.retention.hours": "1"}),
                json!({"listeners": "x"}),
            ],
        ),
        (
            "/kafka/managed/jvm/heapPercent",
            vec![json!(20), json!(50), json!(5)],
        ),
        (
            "/kafka/managed/resources",
            vec![
                json!({"limits": {"memory": "2Gi"}}),
                json!({"limits": {"memory": "64Mi"}}),
            ],
        ),
        (
            "/kafka/managed/storage/size",
            vec![json!("8Gi"), json!("9Gi")],
        ),
        (
            "/kafka/topic/partitions",
            vec![json!(3), json!(4), json!(9)],
        ),
        ("/kafka/topic/replicationFactor", vec![json!(1), json!(3)]),
        (
            "/kafka/topic/config",
            vec![json!({"retention.ms": "1000"}), json!({})],
        ),
        ("/etl/replicas", vec![json!(1), json!(4), json!(0)]),
        (
            "/etl/resources",
            vec![json!({"requests": {"cpu": "1"}}), json!({})],
        ),
        ("/source/producer/lingerMs", vec![json!(1), json!(100)]),
        (
            "/source/generator/eventsPerSecond",
            vec![json!(0), json!(5)],
        ),
        ("/sink/rotation/intervalSeconds", vec![json!(10), json!(60)]),
        (
            "/sink/s3/credentials",
            vec![
                json!({"secretRef": {"name": "a"}}),
                json!({"secretRef": {"name": "b.c"}}),
            ],
        ),
        (
            "/transform/parser",
            vec![
                json!({"type": "Json"}),
                json!({"type": "Regex", "pattern": "^(?<message>.*)$"}),
            ],
        ),
    ]
}

fn set(spec: &mut Value, pointer: &str, value: Value) {
    let mut node = spec;
    for name in pointer.split('/').skip(1) {
        if node.get(name).is_none() {
            node[name] = json!({});
        }
        node = &mut node[name];
    }
    *node = value;
}

/// Whether the API server would take the edit.
fn admitted(old: &Value, new: &Value) -> bool {
    let bounds = |spec: &Value| {
        let heap = spec["kafka"]["managed"]["jvm"]["heapPercent"]
            .as_i64()
            .unwrap_or(50);
        let replicas = spec["etl"]["replicas"].as_i64().unwrap_or(1);
        heap >= 10 && replicas >= 1
    };
    let rules = kube_cel::Validator::new();
    bounds(new)
        && rules
            .validate(schema(), &stored(new), Some(&stored(old)))
            .is_ok()
}

/// Takes out what the operator refuses.
fn mend(spec: &mut Value) {
    let managed = spec["kafka"]["managed"].as_object_mut().unwrap();
    managed.remove("config");
    managed.remove("resources");
    if let Some(topic) = spec["kafka"]["topic"].as_object_mut() {
        topic.remove("replicationFactor");
    }
}

#[tokio::test]
async fn random_edits_end_where_a_fresh_install_does() {
    let places = places();
    for seed in 1..=15 {
        let mut random = Random(seed);
        let mut spec = quickstart();
        let api = install(&spec);
        converge(&api).await;
        for _ in 0..20 {
            let (pointer, values) = &places[random.below(places.len())];
            let mut wanted = spec.clone();
            set(&mut wanted, pointer, random.pick(values));
            if !admitted(&spec, &wanted) {
                continue;
            }
            spec = wanted;
            edit(&api, &spec);
            // Some edits come while the last one is still being carried out.
            look(&api).await.unwrap();
            if random.below(2) == 0 {
                converge(&api).await;
            }
        }
        mend(&mut spec);
        edit(&api, &spec);
        converge(&api).await;
        let fresh = install(&spec);
        converge(&fresh).await;
        same(&api, &fresh, &format!("seed {seed}: {spec}"));
    }
}
