//! `metadata.version` follows the image, or is held: with brokers that speak Kafka's protocol on loopback.

use std::sync::{Arc, Mutex};

use logpipe_api::LogPipeline;
use logpipe_operator::controller::{self, Context};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::fake::FakeApi;
use crate::server::Server;
use crate::{PIPELINE, condition, config, converge, edit, install, is_ready, pod, quickstart};

const SUPPORTED: i16 = 30;

/// Three brokers at one address.
#[derive(Clone)]
struct Brokers {
    address: String,
    seen: Arc<Mutex<Seen>>,
}

struct Seen {
    finalised: i16,
    /// How many of them take part.
    alive: i32,
    /// The keys of the requests.
    asked: Vec<i16>,
}

impl Brokers {
    /// Of an image that is newer than what the cluster has. The port is Kafka's, so that the address must be our own.
    async fn start() -> Self {
        let own = std::process::id().to_be_bytes();
        for number in 1..=254 {
            let address = format!("127.{}.{}.{number}", 64 + own[2] / 4, own[3]);
            if let Ok(listener) = TcpListener::bind((address.as_str(), 9092)).await {
                let seen = Arc::new(Mutex::new(Seen {
                    finalised: 29,
                    alive: 3,
                    asked: Vec::new(),
                }));
                let brokers = Self { address, seen };
                tokio::spawn(brokers.clone().serve(listener));
                return brokers;
            }
        }
        panic!("no address on loopback is free");
    }

    async fn serve(self, listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            self.answer(stream).await;
        }
    }

    async fn answer(&self, mut stream: TcpStream) {
        let length = stream.read_i32().await.unwrap();
        let mut request = vec![0; usize::try_from(length).unwrap()];
        stream.read_exact(&mut request).await.unwrap();
        let key = i16::from_be_bytes([request[0], request[1]]);
        let answer = {
            let mut seen = self.seen.lock().unwrap();
            seen.asked.push(key);
            if key == 57 {
                let [.., high, low, _, _, _, _] = request[..] else {
                    panic!("{request:?}");
                };
                seen.finalised = i16::from_be_bytes([high, low]);
            }
            answer(key, &seen)
        };
        stream.write_i32(answer.len() as i32).await.unwrap();
        stream.write_all(&answer).await.unwrap();
    }

    /// What was asked since the last call.
    fn asked(&self) -> Vec<i16> {
        std::mem::take(&mut self.seen.lock().unwrap().asked)
    }
}

/// As a cluster answers.
fn answer(key: i16, seen: &Seen) -> Vec<u8> {
    let feature = |one: i16, other: i16| {
        let name = b"metadata.version";
        [
            &[2, 17],
            &name[..],
            &one.to_be_bytes(),
            &other.to_be_bytes(),
            &[0],
        ]
        .concat()
    };
    let voter = |id: i32| [&id.to_be_bytes()[..], &90_i64.to_be_bytes(), &[0]].concat();
    let broker = |id: i32| [&id.to_be_bytes()[..], &[0; 2], &[0; 4], &[0xff; 2]].concat();
    let correlation = [0, 0, 0, 1];
    match key {
        18 => {
            let (supported, finalised) = (
                feature(7, SUPPORTED),
                feature(seen.finalised, seen.finalised),
            );
            let tag = |number: u8, field: &[u8]| [&[number, field.len() as u8], field].concat();
            [
                &correlation[..],
                &[0, 0, 1],
                &[0; 4],
                &[2],
                &tag(0, &supported),
                &tag(2, &finalised),
            ]
            .concat()
        }
        55 => {
            let partition = [&[2][..], &[0; 4], &[0; 2], &[0; 4], &[0; 4], &[0; 8]].concat();
            let voters = [&[4][..], &voter(0), &voter(1), &voter(2)].concat();
            [&correlation[..], &[0, 0, 0, 2, 1], &partition, &voters].concat()
        }
        3 => {
            let brokers: Vec<u8> = (0..seen.alive).flat_map(broker).collect();
            let count = seen.alive.to_be_bytes();
            [
                &correlation[..],
                &[0; 4],
                &count,
                &brokers,
                &[0xff; 2],
                &[0; 8],
            ]
            .concat()
        }
        57 => [&correlation[..], &[0], &[0; 4], &[0, 0, 0, 0]].concat(),
        other => panic!("nobody asks for {other}"),
    }
}

fn three(metadata_version: Option<&str>) -> Value {
    let mut spec = quickstart();
    spec["kafka"]["managed"]["replicas"] = json!(3);
    if let Some(version) = metadata_version {
        spec["kafka"]["managed"]["metadataVersion"] = json!(version);
    }
    spec
}

/// Puts the pods of the brokers there; those below `current` have the current template.
fn put_pods(api: &FakeApi, address: &str, current: usize) {
    let key = "statefulsets/demo-kafka";
    let mut set = api.get(key).unwrap();
    set["status"]["updateRevision"] = json!("new");
    let uid = set["metadata"]["uid"].clone();
    api.put(key, set);
    for id in 0..3 {
        let mut broker = pod("kafka");
        broker["metadata"]["name"] = json!(format!("demo-kafka-{id}"));
        let revision = if id < current { "new" } else { "old" };
        broker["metadata"]["labels"]["controller-revision-hash"] = json!(revision);
        broker["metadata"]["ownerReferences"][0]["uid"] = uid.clone();
        broker["status"] =
            json!({"podIP": address, "conditions": [{"type": "Ready", "status": "True"}]});
        api.put(&format!("pods/demo-kafka-{id}"), broker);
    }
}

/// One look by an operator that goes on.
async fn look(api: &FakeApi, context: &Context) {
    let object: LogPipeline = serde_json::from_value(api.get(PIPELINE).unwrap()).unwrap();
    controller::reconcile(&object, context).await.unwrap();
}

fn told(api: &FakeApi) -> Value {
    api.get(PIPELINE).unwrap()["status"]["kafka"]["metadataVersion"].clone()
}

#[tokio::test]
async fn metadata_version_follows_the_image_and_is_asked_for_once() {
    let brokers = Brokers::start().await;
    let api = install(&three(None));
    converge(&api).await;
    let server = Server::fake(&api);
    let context = Context::new(server.operator.clone(), config());
    put_pods(&api, &brokers.address, 3);
    look(&api, &context).await;
    assert_eq!(brokers.asked(), [18, 18, 18, 55, 3, 57]);
    assert_eq!(told(&api), "4.3-IV0");
    is_ready(&api, "True", "Running");
    server.wire.writes();
    look(&api, &context).await;
    assert_eq!(brokers.asked(), [0; 0]);
    assert_eq!(server.wire.writes(), Vec::<String>::new());
    // Another operator asks, and writes nothing.
    crate::look(&api).await.unwrap();
    assert_eq!(brokers.asked(), [18, 18, 18]);
    assert_eq!(told(&api), "4.3-IV0");
}

#[tokio::test]
async fn nothing_is_raised_while_a_broker_has_the_old_image() {
    let brokers = Brokers::start().await;
    let api = install(&three(None));
    converge(&api).await;
    put_pods(&api, &brokers.address, 2);
    crate::look(&api).await.unwrap();
    assert!(!brokers.asked().contains(&57));
    is_ready(&api, "False", "BrokersRestarting");
}

#[tokio::test]
async fn nothing_is_raised_while_a_broker_is_not_in_the_cluster() {
    let brokers = Brokers::start().await;
    brokers.seen.lock().unwrap().alive = 2;
    let api = install(&three(None));
    converge(&api).await;
    put_pods(&api, &brokers.address, 3);
    crate::look(&api).await.unwrap();
    assert_eq!(brokers.asked(), [18, 18, 18, 55, 3]);
    let (ready, _, message) = condition(&api, "KafkaReady");
    assert_eq!(ready, "True");
    assert!(
        message.contains("demo-kafka-2 is not in the cluster yet"),
        "{message}"
    );
    brokers.seen.lock().unwrap().alive = 3;
    crate::look(&api).await.unwrap();
    assert_eq!(told(&api), "4.3-IV0");
}

#[tokio::test]
async fn metadata_version_is_held_where_the_manifest_says_and_never_lowered() {
    let brokers = Brokers::start().await;
    let api = install(&three(Some("4.2")));
    converge(&api).await;
    let context = Context::new(Server::fake(&api).operator, config());
    put_pods(&api, &brokers.address, 3);
    look(&api, &context).await;
    assert_eq!(brokers.asked(), [18, 18, 18]);
    assert_eq!(told(&api), "4.2-IV1");
    is_ready(&api, "True", "Running");
    edit(&api, &three(Some("4.3")));
    look(&api, &context).await;
    assert_eq!(told(&api), "4.3-IV0");
    edit(&api, &three(Some("4.2")));
    for _ in 0..2 {
        look(&api, &context).await;
        is_ready(&api, "False", "MetadataVersionRefused");
        let (stalled, _, message) = condition(&api, "Stalled");
        assert_eq!(stalled, "True");
        assert!(message.contains("already has 4.3-IV0"), "{message}");
    }
    edit(&api, &three(None));
    look(&api, &context).await;
    is_ready(&api, "True", "Running");
}

#[tokio::test]
async fn brokers_that_do_not_answer_are_no_reason_not_to_be_ready() {
    let api = install(&three(None));
    converge(&api).await;
    // Nobody listens there.
    put_pods(&api, "127.255.255.254", 3);
    crate::look(&api).await.unwrap();
    is_ready(&api, "True", "Running");
    let (_, _, message) = condition(&api, "KafkaReady");
    assert!(
        message.contains("metadata.version is not looked at yet"),
        "{message}"
    );
}

#[tokio::test]
async fn a_metadata_version_of_a_newer_operator_is_told() {
    let api = install(&three(Some("9.9")));
    crate::look(&api).await.unwrap();
    is_ready(&api, "False", "InvalidSpec");
    let (_, _, message) = condition(&api, "Stalled");
    assert!(
        message.contains("metadataVersion is not known to this operator"),
        "{message}"
    );
}
