//! The sink over a server that fails in every way a server fails.

use std::fs;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{Int64Array, RecordBatch};
use logpipe_api::pipeline::Addressing;
use logpipe_api::settings::S3Settings;
use parquet::arrow::ArrowWriter;
use parquet::file::metadata::KeyValue;

use super::s3::Tuning;
use super::*;
use crate::etl::encode::EncodedFile;

mod faults;
mod probe;
mod server;

use server::{FakeS3, Fault};

const NAME: &str = "dt=2026-01-31/hour=07/t-a1b2c3d4-p00003-00000000000000000000-00000000000000000009-9f3c0a1b.parquet";

/// A folder with the credentials that the server knows.
fn credentials() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("AWS_ACCESS_KEY_ID"), "key\n").unwrap();
    fs::write(dir.path().join("AWS_SECRET_ACCESS_KEY"), "hush").unwrap();
    dir
}

fn settings(address: impl std::fmt::Display, credentials: &tempfile::TempDir) -> S3Settings {
    S3Settings {
        bucket: "logs".to_owned(),
        prefix: "shop/".to_owned(),
        endpoint: Some(format!("http://{address}")),
        region: "us-east-1".to_owned(),
        addressing: Addressing::Path,
        ca_file: None,
        credentials_dir: Some(credentials.path().display().to_string()),
        sse: None,
    }
}

/// The policy of a bucket, a thousand times as fast.
fn fast() -> Tuning {
    let mut tuning = Tuning::writing();
    tuning.policy.first = Duration::from_millis(1);
    tuning.policy.longest = Duration::from_millis(2);
    tuning.policy.start = Duration::from_millis(500);
    tuning.policy.credentials = Duration::from_mins(1);
    tuning.limits.answer = Duration::from_secs(10);
    tuning
}

struct World {
    server: FakeS3,
    credentials: tempfile::TempDir,
    store: Store,
}

impl World {
    fn new() -> Self {
        Self::tuned(fast())
    }

    fn tuned(tuning: Tuning) -> Self {
        let (server, credentials) = (FakeS3::start(), credentials());
        let settings = settings(server.address(), &credentials);
        let store = Store::s3_with(&settings, std::iter::empty(), tuning).unwrap();
        Self {
            server,
            credentials,
            store,
        }
    }

    /// What stands in the bucket under the object's name.
    fn stored(&self, object: &Object) -> Option<Vec<u8>> {
        let key = format!("shop/{}", object.path);
        self.server.with(|state| state.objects.get(&key).cloned())
    }
}

/// A Parquet file whose footer has this digest.
fn object(digest: &str) -> Object {
    let column: arrow::array::ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
    let batch = RecordBatch::try_from_iter([("n", column)]).unwrap();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.append_key_value_metadata(KeyValue::new(DIGEST_KEY.to_owned(), digest.to_owned()));
    writer.close().unwrap();
    Object {
        path: NAME.to_owned(),
        file: EncodedFile {
            payload: bytes.into(),
            rows: 3,
            digest: digest.to_owned(),
        },
    }
}

fn bytes(object: &Object) -> Vec<u8> {
    Bytes::from(object.file.payload.clone()).to_vec()
}

#[tokio::test]
async fn an_object_is_put_once_and_found_again() {
    let world = World::new();
    let ours = object("ours");
    world.store.put(&ours).await.unwrap();
    assert_eq!(world.stored(&ours), Some(bytes(&ours)));
    world.store.put(&ours).await.unwrap();
    assert_eq!(world.server.count("HEAD"), 1);
    let error = world.store.put(&object("other")).await.unwrap_err();
    assert!(matches!(error, PutError::Conflict { .. }), "{error}");
    assert!(
        error
            .to_string()
            .starts_with("sink conflict: s3://logs/shop/"),
        "{error}"
    );
    assert_eq!(world.stored(&ours), Some(bytes(&ours)));
}

#[tokio::test]
async fn objects_of_any_other_content_are_a_conflict_and_stay() {
    let world = World::new();
    let ours = object("ours");
    for content in [&b"not parquet"[..], b""] {
        let key = format!("shop/{NAME}");
        world
            .server
            .with(|state| state.objects.insert(key, content.to_vec()));
        let error = world.store.put(&ours).await.unwrap_err();
        assert!(matches!(error, PutError::Conflict { .. }), "{error}");
        assert_eq!(world.stored(&ours).as_deref(), Some(content));
    }
}

#[tokio::test]
async fn the_newest_object_of_each_partition_is_found_over_many_pages() {
    let world = World::new();
    let identity = Identity {
        cluster: "c".to_owned(),
        topic: "t".to_owned(),
        topic_id: "id".to_owned(),
        partitions: 2,
    };
    let name = |partition, start, id8: &str| {
        format!(
            "dt=2026-01-31/hour=07/t-{id8}-p{partition:05}-{start:020}-{:020}-9f3c0a1b.parquet",
            start + 5
        )
    };
    let id8 = identity.topic_id8();
    world.server.with(|state| {
        for name in [
            name(0, 0, &id8),
            name(0, 5, &id8),
            name(1, 0, &id8),
            name(1, 700, "00000000"),
            "_logpipe/probe".to_owned(),
        ] {
            state.objects.insert(format!("shop/{name}"), Vec::new());
        }
        state
            .objects
            .insert(format!("shop-2/{}", name(0, 900, &id8)), Vec::new());
        state.page = 1;
    });
    // One page comes, then the next one fails twice: what was listed is not listed again.
    let busy = || Fault::Error(503, "SlowDown");
    world.server.fail("LIST", [Fault::None, busy(), busy()]);
    let newest = world.store.newest(&identity).await.unwrap();
    assert_eq!(world.server.count("LIST"), 5 + 2);
    let ends: Vec<_> = newest
        .iter()
        .map(|(partition, name)| (*partition, name.end))
        .collect();
    assert_eq!(ends, [(0, 10), (1, 5)]);
    world
        .server
        .fail_always("LIST", Fault::Error(403, "AccessDenied"));
    let error = world.store.newest(&identity).await.unwrap_err().to_string();
    assert!(error.contains("access denied for ListBucket"), "{error}");
}

#[test]
fn nothing_that_is_shown_has_a_secret_in_it() {
    let credentials = credentials();
    fs::write(credentials.path().join("AWS_SESSION_TOKEN"), "hush too").unwrap();
    let settings = settings("127.0.0.1:1", &credentials);
    let error = Store::s3_with(&settings, std::iter::empty(), fast()).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hush"), "{error:?}");
    fs::write(credentials.path().join("AWS_SESSION_TOKEN"), "hush-too").unwrap();
    let store = Store::s3_with(&settings, std::iter::empty(), fast()).unwrap();
    assert_eq!(format!("{store:?}"), "Store(s3://logs/shop/)");
}

#[tokio::test]
async fn a_folder_gives_up_after_five_attempts_with_the_cause() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::local(dir.path(), "shop/").unwrap();
    fs::write(dir.path().join("shop"), "a file, where a folder has to be").unwrap();
    let error = store.put(&object("ours")).await.unwrap_err();
    let PutError::Failed { attempts, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(*attempts, ATTEMPTS);
    assert!(error.to_string().ends_with("tried 5 times"), "{error}");
}

#[tokio::test]
async fn two_stores_of_one_bucket_write_one_object() {
    let world = World::new();
    let (mine, theirs) = (object("mine"), object("theirs"));
    let other = world.store.clone();
    let (one, two) = tokio::join!(world.store.put(&mine), other.put(&theirs));
    assert!(one.is_ok() != two.is_ok());
    let winner = if one.is_ok() { &mine } else { &theirs };
    assert_eq!(world.stored(winner), Some(bytes(winner)));
}

/// An address where nobody listens.
fn nobody() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}
