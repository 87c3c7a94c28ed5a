//! Brokers that speak Kafka's protocol on loopback, as far as the operator asks them, and their pods.

use std::sync::{Arc, Mutex, MutexGuard};

use logpipe_api::LogPipeline;
use logpipe_operator::context::Context;
use logpipe_operator::reconcile;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::fake::FakeApi;
use crate::{PIPELINE, pod, quickstart};

const SUPPORTED: i16 = 30;

const TOPIC: &[u8] = b"shop";

/// Brokers at one address.
#[derive(Clone)]
pub(crate) struct Brokers {
    pub(crate) address: String,
    seen: Arc<Mutex<Seen>>,
}

pub(crate) struct Seen {
    pub(crate) finalised: i16,
    /// Those that take part.
    pub(crate) alive: Vec<i32>,
    /// Those that the cluster knows all the same.
    pub(crate) fenced: Vec<i32>,
    /// The brokers with a copy of each partition.
    pub(crate) replicas: Vec<Vec<i32>>,
    /// Partitions on their way, and where to. They arrive when somebody has seen them at both places.
    moving: Vec<(i32, Vec<i32>)>,
    /// The keys of the requests.
    asked: Vec<i16>,
}

impl Brokers {
    /// Of an image that is newer than what the cluster has. The port is Kafka's, so that the address must be our own.
    pub(crate) async fn start(count: i32) -> Self {
        let own = std::process::id().to_be_bytes();
        for number in 1..=254 {
            let address = format!("127.{}.{}.{number}", 64 + own[2] / 4, own[3]);
            if let Ok(listener) = TcpListener::bind((address.as_str(), 9092)).await {
                let seen = Arc::new(Mutex::new(Seen {
                    finalised: 29,
                    alive: (0..count).collect(),
                    fenced: Vec::new(),
                    replicas: Vec::new(),
                    moving: Vec::new(),
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
        let answer = answer(&request, &mut self.seen());
        stream.write_i32(answer.len() as i32).await.unwrap();
        stream.write_all(&answer).await.unwrap();
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    /// What was asked since the last call.
    pub(crate) fn asked(&self) -> Vec<i16> {
        std::mem::take(&mut self.seen().asked)
    }

    /// Puts so many pods there; those below `current` have the current template.
    pub(crate) fn put_pods(&self, api: &FakeApi, count: usize, current: usize) {
        put_pods(api, &self.address, count, current);
    }
}

/// The pods of brokers at an address.
pub(crate) fn put_pods(api: &FakeApi, address: &str, count: usize, current: usize) {
    let key = "statefulsets/demo-kafka";
    let mut set = api.get(key).unwrap();
    set["status"] = json!({
        "replicas": count, "readyReplicas": count, "updateRevision": "new",
        "observedGeneration": set["metadata"]["generation"],
    });
    let uid = set["metadata"]["uid"].clone();
    api.put(key, set);
    for key in api.keys() {
        if key.starts_with("pods/demo-kafka-") {
            api.remove(&key);
        }
    }
    for id in 0..count {
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

/// The quickstart with so many brokers.
pub(crate) fn with_brokers(count: i32) -> Value {
    let mut spec = quickstart();
    spec["kafka"]["managed"]["replicas"] = json!(count);
    spec
}

/// One look by an operator that goes on.
pub(crate) async fn look(api: &FakeApi, context: &Context) {
    let object: LogPipeline = serde_json::from_value(api.get(PIPELINE).unwrap()).unwrap();
    reconcile::reconcile(&object, context).await.unwrap();
}

/// As a cluster answers, and does.
fn answer(request: &[u8], seen: &mut Seen) -> Vec<u8> {
    let (key, body) = (i16::from_be_bytes([request[0], request[1]]), request);
    seen.asked.push(key);
    let last = |end: usize| number(&body[body.len() - end - 4..]);
    // No tagged fields, not throttled, no error, no words.
    let done = [0; 8];
    let rest: Vec<u8> = match key {
        3 => {
            let answer = metadata(seen);
            for (index, replicas) in std::mem::take(&mut seen.moving) {
                seen.replicas[index as usize] = replicas;
            }
            answer
        }
        18 => levels(seen),
        45 => {
            move_copies(&body[31..], seen);
            [&done[..], &[1, 0]].concat()
        }
        46 => moving(seen),
        55 => {
            let (disk, end, since) = ([0; 16], 90_i64.to_be_bytes(), [0; 16]);
            let voter = |id: i32| [&id.to_be_bytes()[..], &disk, &end, &since, &[0]].concat();
            let partition = [&[2][..], &[0; 4], &[0; 3], &[0; 4], &[0; 4], &[0; 8]].concat();
            let voters = [&[4][..], &voter(0), &voter(1), &voter(2)].concat();
            [&[0, 0, 0, 0, 2, 1][..], &partition, &voters].concat()
        }
        57 => {
            let [.., high, low, _, _, _, _] = body[..] else {
                panic!("{body:?}");
            };
            seen.finalised = i16::from_be_bytes([high, low]);
            done.to_vec()
        }
        60 => members(seen),
        64 => {
            let id = last(1);
            assert!(
                seen.fenced.contains(&id),
                "{id} takes part, or is not known"
            );
            seen.fenced.retain(|fenced| *fenced != id);
            done.to_vec()
        }
        other => panic!("nobody asks for {other}"),
    };
    [&[0, 0, 0, 1], &rest[..]].concat()
}

fn number(bytes: &[u8]) -> i32 {
    i32::from_be_bytes(bytes[..4].try_into().unwrap())
}

fn levels(seen: &Seen) -> Vec<u8> {
    let feature = |one: i16, other: i16| {
        let name = b"metadata.version";
        let (one, other) = (one.to_be_bytes(), other.to_be_bytes());
        [&[2, 17], &name[..], &one, &other, &[0]].concat()
    };
    let supported = feature(7, SUPPORTED);
    let finalised = feature(seen.finalised, seen.finalised);
    let tag = |number: u8, field: &[u8]| [&[number, field.len() as u8], field].concat();
    let tags = [tag(0, &supported), tag(2, &finalised)].concat();
    [&[0, 0, 1][..], &[0; 4], &[2], &tags].concat()
}

fn metadata(seen: &Seen) -> Vec<u8> {
    let list = |ids: &[i32]| {
        let ids = ids.iter().flat_map(|id| id.to_be_bytes());
        let mut bytes = (ids.clone().count() as i32 / 4).to_be_bytes().to_vec();
        bytes.extend(ids);
        bytes
    };
    let broker = |id: &i32| [&id.to_be_bytes()[..], &[0; 2], &[0; 4], &[0xff; 2]].concat();
    let partition = |(index, replicas): (usize, &Vec<i32>)| {
        [
            &[0, 0][..],
            &(index as i32).to_be_bytes(),
            &replicas[0].to_be_bytes(),
            &[0; 4],
            &list(replicas),
            &list(replicas),
            &list(&[]),
        ]
        .concat()
    };
    let brokers: Vec<u8> = seen.alive.iter().flat_map(broker).collect();
    let partitions = seen.replicas.iter().enumerate().flat_map(partition);
    [
        &[0; 4][..],
        &(seen.alive.len() as i32).to_be_bytes(),
        &brokers,
        &[0xff; 2],
        &[0; 4],
        &[0, 0, 0, 1, 0, 0, 0, 4],
        TOPIC,
        &[0],
        &(seen.replicas.len() as i32).to_be_bytes(),
        &partitions.collect::<Vec<u8>>(),
    ]
    .concat()
}

fn members(seen: &Seen) -> Vec<u8> {
    let member =
        |id: &i32, fenced: u8| [&id.to_be_bytes()[..], &[1], &[0; 4], &[0, fenced, 0]].concat();
    let alive = seen.alive.iter().flat_map(|id| member(id, 0));
    let fenced = seen.fenced.iter().flat_map(|id| member(id, 1));
    let members: Vec<u8> = alive.chain(fenced).collect();
    let count = seen.alive.len() + seen.fenced.len() + 1;
    [
        &[0; 8][..],
        &[1, 1],
        &[0; 4],
        &[count as u8],
        &members,
        &[0; 5],
    ]
    .concat()
}

fn moving(seen: &Seen) -> Vec<u8> {
    let partition =
        |(index, _): &(i32, Vec<i32>)| [&index.to_be_bytes()[..], &[1, 1, 1, 0]].concat();
    let partitions: Vec<u8> = seen.moving.iter().flat_map(partition).collect();
    let count = seen.moving.len() as u8 + 1;
    [
        &[0; 8][..],
        &[2, TOPIC.len() as u8 + 1],
        TOPIC,
        &[count],
        &partitions,
        &[0, 0],
    ]
    .concat()
}

/// From the number of topics on; all numbers are small.
fn move_copies(mut body: &[u8], seen: &mut Seen) {
    let mut take = |count: usize| {
        let (taken, rest) = body.split_at(count);
        body = rest;
        taken
    };
    for _ in 1..take(1)[0] {
        assert_eq!(take(5)[1..], *TOPIC);
        assert_eq!(take(1), [2]);
        let index = number(take(4));
        let count = take(1)[0] - 1;
        let goal: Vec<i32> = (0..count).map(|_| number(take(4))).collect();
        let replicas = &mut seen.replicas[index as usize];
        let come: Vec<i32> = goal
            .iter()
            .copied()
            .filter(|id| !replicas.contains(id))
            .collect();
        replicas.extend(come);
        seen.moving.push((index, goal));
        assert_eq!(take(2), [0, 0]);
    }
}
