use super::*;

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

fn read_folder(files: &[(&str, &str)]) -> Result<AwsCredential, CredentialsError> {
    Folder(folder(files).path().to_owned()).read()
}

#[test]
fn the_files_of_a_folder_are_the_credentials() {
    let credential = read_folder(&[(KEY, "key\n"), (SECRET, " secret\r\n")]).unwrap();
    assert_eq!(
        (credential.key_id.as_str(), credential.secret_key.as_str()),
        ("key", "secret")
    );
    assert_eq!(credential.token, None);
    let credential = read_folder(&[(KEY, "key"), (SECRET, "secret"), (TOKEN, "token")]).unwrap();
    assert_eq!(credential.token.as_deref(), Some("token"));
}

#[test]
fn a_missing_empty_or_broken_file_is_named_and_never_shown() {
    let missing = read_folder(&[(KEY, "key")]).unwrap_err();
    // Otherwise who prints the causes says it twice.
    assert!(std::error::Error::source(&missing).is_none());
    let missing = missing.to_string();
    assert!(
        missing.contains("/AWS_SECRET_ACCESS_KEY cannot be read: No such file"),
        "{missing}"
    );
    for text in ["", "\n", "two words", "two\nlines", "h\u{fc}sh"] {
        let error = read_folder(&[(KEY, "key"), (SECRET, text)]).unwrap_err();
        let told = format!("{error} {error:?}");
        assert!(
            told.contains("/AWS_SECRET_ACCESS_KEY is empty, or holds more"),
            "{told}"
        );
        assert!(
            text.trim().is_empty() || !told.contains(text.trim()),
            "{told}"
        );
    }
}

#[cfg(unix)]
#[test]
fn a_secret_that_kubernetes_replaces_is_read_whole() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("..data");
    for version in ["1", "2"] {
        let files = dir.path().join(version);
        std::fs::create_dir(&files).unwrap();
        std::fs::write(files.join(KEY), format!("key{version}")).unwrap();
        std::fs::write(files.join(SECRET), format!("secret{version}")).unwrap();
    }
    for name in [KEY, SECRET] {
        std::os::unix::fs::symlink(Path::new("..data").join(name), dir.path().join(name)).unwrap();
    }
    std::os::unix::fs::symlink("1", &link).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut version = 1;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                version = 3 - version;
                let next = dir.path().join("..next");
                std::os::unix::fs::symlink(version.to_string(), &next).unwrap();
                std::fs::rename(&next, &link).unwrap();
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        });
        let folder = Folder(dir.path().to_owned());
        let read: Vec<_> = (0..2000).map(|_| folder.read().unwrap()).collect();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        for found in read {
            assert_eq!(found.key_id[3..], found.secret_key[6..]);
        }
    });
}

fn of_environment(pairs: &[(&str, &str)]) -> Result<(AmazonS3Builder, String), CredentialsError> {
    let pairs = pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    from_environment(AmazonS3Builder::new(), pairs)
}

#[test]
fn of_the_environment_only_credentials_count() {
    let (builder, key) = of_environment(&[
        (KEY, "key"),
        (SECRET, "secret"),
        ("AWS_ENDPOINT_URL", "http://elsewhere"),
        ("AWS_REGION", "elsewhere"),
        ("AWS_ALLOW_HTTP", "true"),
        ("HOME", "/root"),
    ])
    .unwrap();
    assert_eq!(key, "AWS_ACCESS_KEY_ID of the environment");
    let value = |key| builder.get_config_value(&key);
    assert_eq!(
        value(AmazonS3ConfigKey::AccessKeyId).as_deref(),
        Some("key")
    );
    assert_eq!(value(AmazonS3ConfigKey::Endpoint), None);
    assert_eq!(value(AmazonS3ConfigKey::Region), None);
}

#[test]
fn the_source_of_the_credentials_is_named() {
    let key = |pairs: &[(&str, &str)]| of_environment(pairs).unwrap().1;
    let web = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "/t"),
        ("AWS_ROLE_ARN", "arn"),
    ];
    assert_eq!(key(&web), "the role in AWS_ROLE_ARN");
    assert_eq!(
        key(&[("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://x")]),
        "the container's role"
    );
    assert_eq!(key(&[]), "the machine's own role");
}

#[test]
fn half_a_key_or_one_with_a_line_end_inside_is_refused() {
    let refused = |pairs: &[(&str, &str)]| of_environment(pairs).err().unwrap().to_string();
    assert!(refused(&[(KEY, "key")]).contains("but not AWS_SECRET_ACCESS_KEY"));
    assert!(refused(&[(SECRET, "secret")]).contains("but not AWS_ACCESS_KEY_ID"));
    let error = refused(&[(KEY, "key"), (SECRET, "secret"), (TOKEN, "to\nken")]);
    assert!(
        error.starts_with("AWS_SESSION_TOKEN is empty, or holds more"),
        "{error}"
    );
}
