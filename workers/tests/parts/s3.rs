//! The sink over a real S3 server.

// A helper of tests fails as a test does.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use bytes::Bytes;
use futures::TryStreamExt;
use logpipe_api::pipeline::{Addressing, Sse, SseType};
use logpipe_api::settings::S3Settings;
use logpipe_workers::etl::batch::Object;
use logpipe_workers::etl::encode::{DIGEST_KEY, EncodedFile};
use logpipe_workers::store::{CreateOnly, PutError, Store};
use object_store::ObjectStoreExt;
use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::client::{HttpRequest, HttpRequestBody, HttpResponse, HttpService};
use object_store::path::Path;
use parquet::arrow::ArrowWriter;
use parquet::file::metadata::KeyValue;

/// What `hack/parts` says in a variable; `None`, with a note, where the parts are not up.
fn part(variable: &str) -> Option<String> {
    if let Ok(value) = std::env::var(variable) {
        return Some(value);
    }
    let required = std::env::var("LOGPIPE_REQUIRE_PARTS").is_ok_and(|value| value == "1");
    assert!(!required, "{variable} is not set: run hack/test-parts");
    eprintln!("not available: run hack/test-parts");
    None
}

/// A server that is up, and a prefix of the test's own in its bucket.
struct Parts {
    settings: S3Settings,
    secrets: PathBuf,
}

impl Parts {
    /// The server without TLS.
    fn plain(test: &str) -> Option<Self> {
        Self::at(part("LOGPIPE_TEST_S3")?, test)
    }

    fn at(endpoint: String, test: &str) -> Option<Self> {
        let secrets = PathBuf::from(part("LOGPIPE_TEST_SECRETS")?);
        let nonce = getrandom::u64().unwrap();
        let settings = S3Settings {
            bucket: part("LOGPIPE_TEST_S3_BUCKET")?,
            prefix: format!("test-s3/{test}-{nonce:016x}/"),
            endpoint: Some(endpoint),
            region: "us-east-1".to_owned(),
            addressing: Addressing::Path,
            ca_file: None,
            credentials_dir: Some(text(&secrets.join("s3-credentials"))),
            sse: None,
        };
        Some(Self { settings, secrets })
    }

    /// The settings with other credentials.
    fn with_key(&self, dir: &FsPath, key: &str, secret: &str, token: Option<&str>) -> S3Settings {
        fs::write(dir.join("AWS_ACCESS_KEY_ID"), key).unwrap();
        fs::write(dir.join("AWS_SECRET_ACCESS_KEY"), secret).unwrap();
        if let Some(token) = token {
            fs::write(dir.join("AWS_SESSION_TOKEN"), token).unwrap();
        }
        S3Settings {
            credentials_dir: Some(text(dir)),
            ..self.settings.clone()
        }
    }

    fn credential(&self) -> AwsCredential {
        let read = |name: &str| {
            let text = fs::read_to_string(self.secrets.join("s3-credentials").join(name));
            text.unwrap().trim().to_owned()
        };
        AwsCredential {
            key_id: read("AWS_ACCESS_KEY_ID"),
            secret_key: read("AWS_SECRET_ACCESS_KEY"),
            token: None,
        }
    }
}

fn text(path: &FsPath) -> String {
    path.display().to_string()
}

async fn stored(store: &Store, settings: &S3Settings, object: &Object) -> Bytes {
    let path = Path::from(format!("{}{}", settings.prefix, object.path));
    let found = store.objects().get(&path).await.unwrap();
    found.bytes().await.unwrap()
}

/// What a probe of these settings cannot have.
async fn refused(settings: &S3Settings) -> String {
    let mut store = Store::s3(settings).unwrap();
    store.probe().await.unwrap_err().to_string()
}

/// A Parquet file whose footer has this digest.
fn object(name: &str, digest: &str) -> Object {
    let column: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
    let batch = RecordBatch::try_from_iter([("n", column)]).unwrap();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.append_key_value_metadata(KeyValue::new(DIGEST_KEY.to_owned(), digest.to_owned()));
    writer.close().unwrap();
    Object {
        path: format!("dt=2026-01-31/hour=07/{name}.parquet"),
        file: EncodedFile {
            payload: bytes.into(),
            rows: 3,
            digest: digest.to_owned(),
        },
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_32_workers_that_create_one_object_one_wins_and_its_bytes_stay() {
    let Some(parts) = Parts::plain("race") else {
        return;
    };
    let store = Store::s3(&parts.settings).unwrap();
    for round in 0..50 {
        let name = format!("round-{round}");
        let puts = (0..32).map(|worker| {
            let (store, object) = (store.clone(), object(&name, &format!("worker {worker}")));
            tokio::spawn(async move { (store.put(&object).await, object) })
        });
        let mut winners = Vec::new();
        for put in puts.collect::<Vec<_>>() {
            match put.await.unwrap() {
                (Ok(()), object) => winners.push(object),
                (Err(PutError::Conflict { .. }), _) => {}
                (Err(error), _) => panic!("{error}"),
            }
        }
        assert_eq!(winners.len(), 1, "round {round}");
        let bytes = Bytes::from(winners[0].file.payload.clone());
        assert_eq!(stored(&store, &parts.settings, &winners[0]).await, bytes);
    }
}

#[tokio::test]
async fn the_probe_finds_create_only_and_leaves_nothing() {
    let Some(parts) = Parts::plain("probe") else {
        return;
    };
    let mut store = Store::s3(&parts.settings).unwrap();
    assert_eq!(store.probe().await.unwrap(), CreateOnly::Enforced);
    let prefix = Path::from(parts.settings.prefix.as_str());
    let listed = store.objects().list(Some(&prefix));
    let left: Vec<_> = listed.try_collect().await.unwrap();
    assert!(left.is_empty(), "{left:?}");
    store.put(&object("a", "ours")).await.unwrap();
    store.put(&object("a", "ours")).await.unwrap();
    let error = store.put(&object("a", "other")).await.unwrap_err();
    assert!(matches!(error, PutError::Conflict { .. }), "{error}");
}

#[tokio::test]
async fn a_large_file_goes_in_one_put() {
    let Some(parts) = Parts::plain("large") else {
        return;
    };
    let store = Store::s3(&parts.settings).unwrap();
    let mut large = object("large", "ours");
    let block = Bytes::from(vec![7; 256 << 10]);
    large.file.payload = (0..64 * 4).map(|_| block.clone()).collect();
    store.put(&large).await.unwrap();
    let path = Path::from(format!("{}{}", parts.settings.prefix, large.path));
    let found = store.objects().head(&path).await.unwrap();
    assert_eq!(found.size, 64 << 20);
    // An object of many parts has a dash in its ETag.
    assert!(!found.e_tag.unwrap().contains('-'));
}

#[tokio::test]
async fn a_wrong_bucket_key_or_secret_is_said_with_its_remedy() {
    let Some(parts) = Parts::plain("wrong") else {
        return;
    };
    let bucket = S3Settings {
        bucket: "no-such-bucket".to_owned(),
        ..parts.settings.clone()
    };
    let error = refused(&bucket).await;
    let start = format!(
        "bucket no-such-bucket at {}: there is no such bucket (404 NoSuchBucket",
        parts.settings.endpoint.as_ref().unwrap()
    );
    assert!(error.starts_with(&start), "{error}");

    let dir = tempfile::tempdir().unwrap();
    let credential = parts.credential();
    let key = parts.with_key(dir.path(), "nobody", "secret", None);
    let error = refused(&key).await;
    assert!(
        error.contains("the server does not know the key in /"),
        "{error}"
    );
    let secret = parts.with_key(dir.path(), &credential.key_id, "wrong", None);
    let error = refused(&secret).await;
    assert!(
        error.contains("does not accept the signature of the key in /"),
        "{error}"
    );
    assert!(
        error.contains("copy AWS_SECRET_ACCESS_KEY there once more"),
        "{error}"
    );
}

/// Sends a request that the sink itself has no use for.
async fn send(parts: &Parts, service: &str, mut request: HttpRequest, path: &str) -> HttpResponse {
    let address = format!("{}/{path}", parts.settings.endpoint.as_ref().unwrap());
    *request.uri_mut() = address.parse().unwrap();
    let credential = parts.credential();
    let authorizer = AwsAuthorizer::new(&credential, service, "us-east-1");
    authorizer.try_authorize(&mut request, None).unwrap();
    let ca = fs::read(parts.secrets.join("s3-ca/ca.crt")).unwrap();
    let ca = reqwest::Certificate::from_pem(&ca).unwrap();
    // Sets the crypto provider that the client needs.
    drop(Store::s3(&parts.settings).unwrap());
    let client = reqwest::Client::builder().tls_certs_only([ca]).no_proxy();
    HttpService::call(&client.build().unwrap(), request)
        .await
        .unwrap()
}

/// A key for a while, which may do what the policy says.
async fn assume_role(parts: &Parts, actions: &str) -> [String; 3] {
    let policy = format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":[{actions}],"Resource":["arn:aws:s3:::*"]}}]}}"#
    );
    let encoded = policy.bytes().fold(String::new(), |encoded, byte| {
        encoded + &format!("%{byte:02X}")
    });
    let body = format!("Action=AssumeRole&Version=2011-06-15&DurationSeconds=900&Policy={encoded}");
    let mut request = HttpRequest::new(body.into());
    *request.method_mut() = "POST".parse().unwrap();
    let kind = "application/x-www-form-urlencoded".parse().unwrap();
    request.headers_mut().insert("content-type", kind);
    let response = send(parts, "sts", request, "").await;
    let answer = response.into_body().bytes().await.unwrap();
    let answer = String::from_utf8(answer.into()).unwrap();
    ["AccessKeyId", "SecretAccessKey", "SessionToken"].map(|name| {
        let rest = answer.split_once(&format!("<{name}>"));
        let (_, rest) = rest.unwrap_or_else(|| panic!("{answer}"));
        rest.split_once('<').unwrap().0.to_owned()
    })
}

#[tokio::test]
async fn each_right_that_a_session_lacks_is_named() {
    let Some(parts) = Parts::plain("rights") else {
        return;
    };
    let cases = [
        (
            r#""s3:GetObject","s3:ListBucket""#,
            "access denied for PutObject (403 AccessDenied",
        ),
        (
            r#""s3:PutObject","s3:ListBucket""#,
            "access denied for GetObject (403 AccessDenied",
        ),
        (
            r#""s3:PutObject","s3:GetObject""#,
            "access denied for ListBucket (403 AccessDenied",
        ),
    ];
    for (actions, expected) in cases {
        let dir = tempfile::tempdir().unwrap();
        let [key, secret, token] = assume_role(&parts, actions).await;
        let settings = parts.with_key(dir.path(), &key, &secret, Some(&token));
        let error = refused(&settings).await;
        assert!(error.contains(expected), "{actions}: {error}");
    }
    // These three are enough: what the probe wrote stays, and nothing is made of it.
    let dir = tempfile::tempdir().unwrap();
    let [key, secret, token] =
        assume_role(&parts, r#""s3:PutObject","s3:GetObject","s3:ListBucket""#).await;
    let settings = parts.with_key(dir.path(), &key, &secret, Some(&token));
    for _ in 0..2 {
        let mut store = Store::s3(&settings).unwrap();
        assert_eq!(store.probe().await.unwrap(), CreateOnly::Enforced);
        store.put(&object("a", "ours")).await.unwrap();
    }
    let tampered = parts.with_key(dir.path(), &key, &secret, Some(&token[..token.len() - 4]));
    let error = refused(&tampered).await;
    assert!(
        error.contains("the session token of the key in /"),
        "{error}"
    );
}

#[tokio::test]
async fn tls_needs_the_ca_and_an_address_that_says_so() {
    let Some(endpoint) = part("LOGPIPE_TEST_S3_TLS") else {
        return;
    };
    let Some(mut parts) = Parts::at(endpoint.clone(), "tls") else {
        return;
    };
    let error = refused(&parts.settings).await;
    assert!(
        error.contains("the server's certificate is not accepted"),
        "{error}"
    );
    assert!(error.contains("UnknownIssuer"), "{error}");

    parts.settings.ca_file = Some(text(&parts.secrets.join("s3-ca/ca.crt")));
    let mut store = Store::s3(&parts.settings).unwrap();
    assert_eq!(store.probe().await.unwrap(), CreateOnly::Enforced);
    let ours = object("a", "ours");
    store.put(&ours).await.unwrap();
    let bytes = Bytes::from(ours.file.payload.clone());
    assert_eq!(stored(&store, &parts.settings, &ours).await, bytes);

    parts.settings.endpoint = Some(endpoint.replace("https://", "http://"));
    let error = refused(&parts.settings).await;
    assert!(
        error.contains("what answers is no S3 server (400: Client sent an HTTP request"),
        "{error}"
    );
    let plain = part("LOGPIPE_TEST_S3")
        .unwrap()
        .replace("http://", "https://");
    parts.settings.endpoint = Some(plain);
    let error = refused(&parts.settings).await;
    assert!(error.contains("the server speaks no TLS"), "{error}");
}

#[tokio::test]
async fn a_server_that_cannot_encrypt_says_so_and_writes_nothing() {
    let Some(mut parts) = Parts::plain("sse") else {
        return;
    };
    parts.settings.sse = Some(Sse {
        kind: SseType::S3,
        kms_key_id: None,
    });
    let store = Store::s3(&parts.settings).unwrap();
    let error = refused(&parts.settings).await;
    assert!(
        error.contains("the server cannot encrypt as asked for"),
        "{error}"
    );
    // It must not be there without encryption either.
    let error = store
        .put(&object("a", "ours"))
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("check spec.sink.s3.sse"), "{error}");
    let path = Path::from(format!(
        "{}dt=2026-01-31/hour=07/a.parquet",
        parts.settings.prefix
    ));
    assert!(store.objects().head(&path).await.is_err());
}

#[tokio::test]
async fn a_server_with_keys_encrypts() {
    let Some(endpoint) = part("LOGPIPE_TEST_S3_TLS") else {
        return;
    };
    let Some(mut parts) = Parts::at(endpoint, "sse") else {
        return;
    };
    parts.settings.ca_file = Some(text(&parts.secrets.join("s3-ca/ca.crt")));
    for (kind, expected) in [(SseType::S3, "AES256"), (SseType::Kms, "aws:kms")] {
        parts.settings.sse = Some(Sse {
            kind,
            kms_key_id: None,
        });
        let store = Store::s3(&parts.settings).unwrap();
        let ours = object(&expected.replace(':', "-"), "ours");
        match store.put(&ours).await {
            Err(PutError::Refused(refused))
                if refused.to_string().contains("KMS is not configured") =>
            {
                eprintln!("not available: the server has no key to encrypt with");
                return;
            }
            put => put.unwrap(),
        }
        let bytes = Bytes::from(ours.file.payload.clone());
        assert_eq!(stored(&store, &parts.settings, &ours).await, bytes);
        let mut head = HttpRequest::new(HttpRequestBody::empty());
        *head.method_mut() = "HEAD".parse().unwrap();
        let path = format!(
            "{}/{}{}",
            parts.settings.bucket, parts.settings.prefix, ours.path
        );
        let response = send(&parts, "s3", head, &path.replace('=', "%3D")).await;
        let found = response.headers().get("x-amz-server-side-encryption");
        assert_eq!(
            found.map(|found| found.to_str().unwrap()),
            Some(expected),
            "{response:?}"
        );
    }
}
