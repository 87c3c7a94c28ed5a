//! What fails in the middle of the work.

use super::*;

#[tokio::test]
async fn a_busy_server_is_waited_for_however_long_it_takes() {
    let world = World::new();
    let ours = object("ours");
    let faults = [
        Fault::Error(503, "SlowDown"),
        Fault::Error(500, "InternalError"),
        Fault::Error(429, "TooManyRequests"),
        Fault::Error(400, "RequestTimeout"),
        Fault::Raw(502, "", "<html>Bad Gateway</html>"),
        Fault::Error(503, "ServiceUnavailable"),
        Fault::Error(400, "BadDigest"),
        Fault::Error(503, "XMinioServerNotInitialized"),
    ];
    let failures = faults.len();
    assert!(failures > ATTEMPTS as usize);
    world.server.fail("PUT", faults);
    world.store.put(&ours).await.unwrap();
    assert_eq!(world.server.count("PUT"), failures + 1);
    assert_eq!(world.stored(&ours), Some(bytes(&ours)));
}

#[tokio::test]
async fn a_connection_that_breaks_in_the_middle_of_a_file_is_made_again() {
    let world = World::new();
    let mut large = object("ours");
    // More than the sockets hold, so that the reset comes in the middle.
    let block = Bytes::from(vec![7; 1 << 20]);
    large.file.payload = (0..16).map(|_| block.clone()).collect();
    world.server.fail("PUT", [Fault::Reset, Fault::Reset]);
    world.store.put(&large).await.unwrap();
    assert_eq!(world.server.count("PUT"), 3);
    assert_eq!(world.stored(&large).unwrap().len(), 16 << 20);
}

#[tokio::test]
async fn an_object_whose_answer_was_lost_is_not_written_again() {
    for fault in [Fault::LostAnswer, Fault::DoneBut(500, "InternalError")] {
        let world = World::new();
        let ours = object("ours");
        world.server.fail("PUT", [fault]);
        world.store.put(&ours).await.unwrap();
        assert_eq!(world.server.count("PUT"), 1);
        assert_eq!(world.stored(&ours), Some(bytes(&ours)));
    }
}

#[tokio::test]
async fn a_conflict_over_nothing_is_tried_again() {
    let world = World::new();
    let ours = object("ours");
    world
        .server
        .fail("PUT", [Fault::Error(409, "ConditionalRequestConflict")]);
    world.store.put(&ours).await.unwrap();
    assert_eq!(world.stored(&ours), Some(bytes(&ours)));
}

#[tokio::test]
async fn a_server_that_cannot_say_whether_the_object_is_there_is_asked_again() {
    let world = World::new();
    let ours = object("ours");
    world.store.put(&ours).await.unwrap();
    world.server.fail(
        "HEAD",
        [Fault::Error(500, ""), Fault::Reset, Fault::Error(503, "")],
    );
    world
        .server
        .fail("GET", [Fault::Error(500, "InternalError")]);
    world.store.put(&ours).await.unwrap();
    assert_eq!(world.server.count("HEAD"), 5);
    assert_eq!(world.stored(&ours), Some(bytes(&ours)));
}

#[tokio::test]
async fn a_server_that_never_answers_is_left_and_asked_again() {
    let mut tuning = fast();
    tuning.limits.answer = Duration::from_millis(100);
    let world = World::tuned(tuning);
    let ours = object("ours");
    world.server.fail("PUT", [Fault::Silence]);
    world.server.fail("HEAD", [Fault::Silence]);
    world.store.put(&ours).await.unwrap();
    assert_eq!(
        (world.server.count("PUT"), world.server.count("HEAD")),
        (2, 1)
    );
    assert_eq!(world.stored(&ours), Some(bytes(&ours)));
}

#[tokio::test]
async fn a_server_that_is_not_up_is_waited_for() {
    let (address, credentials) = (nobody(), credentials());
    let settings = settings(address, &credentials);
    let store = Store::s3_with(&settings, std::iter::empty(), fast()).unwrap();
    let put = tokio::spawn(async move { store.put(&object("ours")).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!put.is_finished());
    let server = FakeS3::start_at(address);
    put.await.unwrap().unwrap();
    assert_eq!(server.with(|state| state.objects.len()), 1);
}

#[tokio::test]
async fn what_a_person_must_mend_is_said_after_five_attempts() {
    let cases = [
        (Fault::Error(403, "AccessDenied"), "grant s3:PutObject"),
        (
            Fault::Error(403, "SignatureDoesNotMatch"),
            "copy AWS_SECRET_ACCESS_KEY",
        ),
        (Fault::Error(404, "NoSuchBucket"), "there is no such bucket"),
        (
            Fault::Error(507, "XMinioStorageFull"),
            "make room or raise the quota",
        ),
        (
            Fault::Error(400, "EntityTooLarge"),
            "lower spec.sink.rotation.maxBytes",
        ),
        (
            Fault::Error(400, "InvalidRequest"),
            "400 InvalidRequest: The server says InvalidRequest",
        ),
    ];
    for (fault, expected) in cases {
        let world = World::new();
        world.server.fail_always("PUT", fault);
        let error = world.store.put(&object("ours")).await.unwrap_err();
        assert!(matches!(error, PutError::Refused(_)), "{error}");
        let error = error.to_string();
        let start = format!("bucket logs at http://{}: ", world.server.address());
        assert!(
            error.starts_with(&start) && error.contains(expected),
            "{error}"
        );
        assert_eq!(world.server.count("PUT"), ATTEMPTS as usize);
    }
}

#[tokio::test]
async fn a_right_that_comes_back_in_time_is_no_error() {
    let world = World::new();
    let denied = || Fault::Error(403, "AccessDenied");
    world
        .server
        .fail("PUT", [denied(), denied(), Fault::Error(503, "SlowDown")]);
    world
        .server
        .fail("PUT", [denied(), denied(), denied(), denied()]);
    world.store.put(&object("ours")).await.unwrap();
}

#[tokio::test]
async fn without_the_right_to_look_an_existing_object_is_an_error() {
    let world = World::new();
    let ours = object("ours");
    world.store.put(&ours).await.unwrap();
    world.server.fail_always("HEAD", Fault::Error(403, ""));
    let error = world.store.put(&ours).await.unwrap_err().to_string();
    assert!(
        error.contains("access denied for HeadObject (403)"),
        "{error}"
    );
    // But where nothing stands in the way, nothing has to be looked at.
    world.server.with(|state| state.objects.clear());
    world.server.fail("PUT", [Fault::Error(503, "SlowDown")]);
    world.store.put(&ours).await.unwrap();
}

#[tokio::test]
async fn an_expired_token_heals_when_a_new_one_is_written() {
    let world = World::new();
    let ours = object("ours");
    world.server.with(|state| state.token = Some("second"));
    let file = world.credentials.path().join("AWS_SESSION_TOKEN");
    fs::write(&file, "first\n").unwrap();
    let store = world.store.clone();
    let put = tokio::spawn({
        let ours = ours.clone();
        async move { store.put(&ours).await }
    });
    let begin = Instant::now();
    while world.server.count("PUT") <= 2 * ATTEMPTS as usize {
        assert!(begin.elapsed() < Duration::from_secs(30) && !put.is_finished());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    fs::write(&file, "second\n").unwrap();
    put.await.unwrap().unwrap();
    assert_eq!(world.stored(&ours), Some(bytes(&ours)));
}

#[tokio::test]
async fn a_token_that_stays_expired_is_an_error_at_last() {
    let mut tuning = fast();
    tuning.policy.credentials = Duration::from_millis(50);
    let world = World::tuned(tuning);
    world.server.with(|state| state.token = Some("another"));
    let error = world
        .store
        .put(&object("ours"))
        .await
        .unwrap_err()
        .to_string();
    let folder = world.credentials.path().display();
    let expected = format!("the session token of the key in {folder} is not valid any more");
    assert!(error.contains(&expected), "{error}");
}

#[tokio::test]
async fn a_rotated_key_is_used_without_a_restart() {
    let world = World::new();
    world.store.put(&object("ours")).await.unwrap();
    world.server.with(|state| {
        state.key = "rotated";
        state.objects.clear();
    });
    fs::write(
        world.credentials.path().join("AWS_ACCESS_KEY_ID"),
        "rotated",
    )
    .unwrap();
    world.store.put(&object("ours")).await.unwrap();
    assert_eq!(world.server.count("PUT"), 2);
}
