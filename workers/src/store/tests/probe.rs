//! What is found at the start.

use super::*;

const PROBE: &str = "shop/_logpipe/probe";

impl World {
    async fn probe(&mut self) -> Result<CreateOnly, Refused> {
        self.store.probe().await
    }

    /// The error of a probe where every request of these kinds meets the fault.
    async fn refused(kinds: &[&'static str], fault: Fault) -> String {
        let mut world = Self::new();
        for kind in kinds {
            world.server.fail_always(kind, fault.clone());
        }
        world.probe().await.unwrap_err().to_string()
    }
}

#[tokio::test]
async fn a_good_bucket_refuses_to_create_twice_and_nothing_is_left_in_it() {
    let mut world = World::new();
    assert_eq!(world.probe().await.unwrap(), CreateOnly::Enforced);
    assert!(world.server.with(|state| state.objects.is_empty()));
    world.server.with(|state| {
        let puts: Vec<&String> = state
            .requests
            .iter()
            .filter(|r| r.starts_with("PUT"))
            .collect();
        assert_eq!(
            puts,
            [&format!("PUT /logs/{PROBE}"), &format!("PUT /logs/{PROBE}")]
        );
    });
}

#[tokio::test]
async fn a_probe_that_may_not_be_removed_does_no_harm_and_answers_the_next_start() {
    let mut world = World::new();
    world
        .server
        .fail_always("DELETE", Fault::Error(403, "AccessDenied"));
    assert_eq!(world.probe().await.unwrap(), CreateOnly::Enforced);
    assert!(world.server.with(|state| state.objects.contains_key(PROBE)));
    assert_eq!(world.probe().await.unwrap(), CreateOnly::Enforced);
    assert_eq!(world.server.count("PUT"), 3);
}

#[tokio::test]
async fn workers_that_start_together_do_not_mislead_each_other() {
    let world = World::new();
    let probes = (0..32).map(|_| {
        let mut store = world.store.clone();
        tokio::spawn(async move { store.probe().await })
    });
    for probe in probes.collect::<Vec<_>>() {
        assert_eq!(probe.await.unwrap().unwrap(), CreateOnly::Enforced);
    }
}

#[tokio::test]
async fn a_store_that_ignores_create_only_is_found_and_looked_at_before_each_put() {
    let mut world = World::new();
    world.server.with(|state| state.ignores_create_only = true);
    assert_eq!(world.probe().await.unwrap(), CreateOnly::Ignored);
    let (ours, puts) = (object("ours"), world.server.count("PUT"));
    world.store.put(&ours).await.unwrap();
    world.store.put(&ours).await.unwrap();
    let error = world.store.put(&object("other")).await.unwrap_err();
    assert!(matches!(error, PutError::Conflict { .. }), "{error}");
    assert_eq!(world.server.count("PUT"), puts + 1);
    assert_eq!(world.stored(&ours), Some(bytes(&ours)));
    // Every fault in the middle ends in one look more.
    world.server.with(|state| state.objects.clear());
    world.server.fail("PUT", [Fault::Reset, Fault::LostAnswer]);
    world.server.fail("HEAD", [Fault::Error(500, "")]);
    world.store.put(&ours).await.unwrap();
    assert_eq!(world.server.count("PUT"), puts + 3);
}

#[tokio::test]
async fn a_lost_answer_to_the_probe_does_not_mislead_it() {
    for fault in [
        Fault::LostAnswer,
        Fault::Reset,
        Fault::Error(503, "SlowDown"),
    ] {
        let mut world = World::new();
        world.server.fail("PUT", [fault.clone()]);
        world.server.fail("GET", [fault.clone()]);
        world.server.fail("LIST", [fault]);
        assert_eq!(world.probe().await.unwrap(), CreateOnly::Enforced);
    }
}

#[tokio::test]
async fn each_right_that_is_missing_is_named() {
    for (kind, operation) in [
        ("PUT", "PutObject"),
        ("GET", "GetObject"),
        ("LIST", "ListBucket"),
    ] {
        let error = World::refused(&[kind], Fault::Error(403, "AccessDenied")).await;
        assert!(
            error.contains(&format!("access denied for {operation} (403 AccessDenied")),
            "{error}"
        );
        assert!(
            error.contains("s3:PutObject, s3:GetObject and s3:ListBucket to the key in /"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_wrong_key_bucket_or_region_is_said_with_its_remedy() {
    let all = &["PUT", "GET", "LIST"];
    let mut world = World::new();
    fs::write(
        world.credentials.path().join("AWS_ACCESS_KEY_ID"),
        "unknown",
    )
    .unwrap();
    let error = world.probe().await.unwrap_err().to_string();
    assert!(
        error.contains("the server does not know the key in /"),
        "{error}"
    );

    let error = World::refused(all, Fault::Error(404, "NoSuchBucket")).await;
    assert!(
        error.contains("there is no such bucket") && error.contains("spec.sink.s3.bucket"),
        "{error}"
    );

    let moved = Fault::Raw(
        301,
        "x-amz-bucket-region: eu-west-1\r\nx-amz-request-id: 1\r\n",
        "",
    );
    let error = World::refused(all, moved).await;
    assert!(
        error.contains("the bucket is in region eu-west-1, and us-east-1 was asked for"),
        "{error}"
    );
    let malformed =
        "<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-1</Region></Error>";
    let error = World::refused(all, Fault::Raw(400, "", malformed)).await;
    assert!(
        error.contains("write spec.sink.s3.region: eu-west-1"),
        "{error}"
    );

    let skewed = "<Error><Code>RequestTimeTooSkewed</Code><Message>The difference is too large.</Message></Error>";
    let error = World::refused(
        all,
        Fault::Raw(403, "date: Sat, 31 Jan 2015 12:00:00 GMT\r\n", skewed),
    )
    .await;
    assert!(
        error.contains(" s ahead of the server's: set this machine's clock"),
        "{error}"
    );
}

#[tokio::test]
async fn what_is_no_s3_server_is_told_from_one_that_is() {
    let all = &["PUT", "GET", "HEAD", "LIST"];
    let pages = [
        Fault::Raw(405, "", "<html>405 Not Allowed</html>"),
        Fault::Raw(501, "", "<html>Unsupported method ('PUT')</html>"),
        Fault::Raw(404, "", "<html>Not Found</html>"),
        Fault::Raw(403, "", "<html>Forbidden</html>"),
        Fault::Raw(200, "content-type: text/html\r\n", "<html>Welcome</html>"),
        Fault::Raw(302, "location: http://127.0.0.1/login\r\n", ""),
        Fault::Raw(400, "", "Client sent an HTTP request to an HTTPS server."),
        // It answers everything with one page, which has an ETag.
        Fault::Raw(
            200,
            "etag: \"1\"\r\nlast-modified: Sat, 31 Jan 2026 07:00:00 GMT\r\n",
            "<html>Welcome</html>",
        ),
    ];
    for page in pages {
        let error = World::refused(all, page.clone()).await;
        assert!(
            error.contains("what answers is no S3 server"),
            "{page:?}: {error}"
        );
        assert!(
            error.ends_with("check the port and the address in spec.sink.s3.endpoint"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_server_that_is_out_of_reach_at_the_start_is_an_error_after_a_while() {
    let credentials = credentials();
    let settings = settings(nobody(), &credentials);
    let mut store = Store::s3_with(&settings, std::iter::empty(), fast()).unwrap();
    let begin = Instant::now();
    let error = store.probe().await.unwrap_err().to_string();
    assert!(begin.elapsed() >= Duration::from_millis(500));
    assert!(
        error.contains("cannot connect: ") && error.contains("refused"),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_without_tls_behind_an_address_with_tls_is_told() {
    use std::io::Write as _;
    let (listener, credentials) = (TcpListener::bind("127.0.0.1:0").unwrap(), credentials());
    let address = listener.local_addr().unwrap();
    // What a web server says to a handshake; it answers until the test ends.
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
        }
    });
    let mut settings = settings(address, &credentials);
    settings.endpoint = Some(format!("https://{address}"));
    let mut store = Store::s3_with(&settings, std::iter::empty(), fast()).unwrap();
    let error = store.probe().await.unwrap_err().to_string();
    assert!(
        error.contains("write http:// in spec.sink.s3.endpoint"),
        "{error}"
    );
}

#[tokio::test]
async fn a_folder_is_not_asked() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::local(dir.path(), "shop/").unwrap();
    assert_eq!(store.probe().await.unwrap(), CreateOnly::Enforced);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}
