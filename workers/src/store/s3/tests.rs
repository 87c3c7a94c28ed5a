use super::*;

fn settings() -> S3Settings {
    S3Settings {
        bucket: "logs".to_owned(),
        prefix: "shop/".to_owned(),
        endpoint: None,
        region: "eu-central-1".to_owned(),
        addressing: Addressing::VirtualHost,
        ca_file: None,
        credentials_dir: None,
        sse: None,
    }
}

fn url(settings: &S3Settings) -> String {
    Server::new(settings).unwrap().url.to_string()
}

fn environment(pairs: &[(&str, &str)]) -> impl Iterator<Item = (String, String)> {
    let owned = pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    owned.collect::<Vec<_>>().into_iter()
}

#[test]
fn the_bucket_stands_in_the_host_name_or_behind_it() {
    let aws = settings();
    assert_eq!(url(&aws), "https://logs.s3.eu-central-1.amazonaws.com/");
    let path = S3Settings {
        addressing: Addressing::Path,
        ..settings()
    };
    assert_eq!(url(&path), "https://s3.eu-central-1.amazonaws.com/");
    let own = S3Settings {
        endpoint: Some("http://s3.object-store.svc:9000/".to_owned()),
        ..settings()
    };
    assert_eq!(url(&own), "http://logs.s3.object-store.svc:9000/");
    let store = Store::s3_with(
        &own,
        environment(&[("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")]),
        Tuning::writing(),
    );
    let debug = format!("{:?}", store.unwrap().objects());
    assert!(
        debug.contains("bucket_endpoint: \"http://logs.s3.object-store.svc:9000\""),
        "{debug}"
    );
}

#[test]
fn only_an_address_that_nobody_listens_to_goes_without_a_signed_content() {
    let is_private = |endpoint: &str| {
        let settings = S3Settings {
            endpoint: Some(endpoint.to_owned()),
            addressing: Addressing::Path,
            ..settings()
        };
        Server::new(&settings).unwrap().is_private
    };
    for endpoint in [
        "https://s3",
        "http://127.0.0.1:9000",
        "http://[::1]:9000",
        "http://localhost:9000",
    ] {
        assert!(is_private(endpoint), "{endpoint}");
    }
    for endpoint in [
        "http://s3",
        "http://10.0.0.1:9000",
        "http://localhost.example.com",
    ] {
        assert!(!is_private(endpoint), "{endpoint}");
    }
}

#[test]
fn an_endpoint_that_is_none_is_refused_with_its_fault() {
    let refused = |endpoint: &str| {
        let settings = S3Settings {
            endpoint: Some(endpoint.to_owned()),
            ..settings()
        };
        Server::new(&settings).err().unwrap().to_string()
    };
    assert!(refused("http://s3:9000/minio").contains("a path stands behind the host"));
    assert!(refused("s3:9000").contains("begins with neither"));
    assert!(refused("ftp://s3").contains("begins with neither"));
    assert!(
        refused("http://127.0.0.1:9000").contains("an IP address cannot carry the bucket's name")
    );
    assert!(refused("http://[::1]:9000").contains("an IP address cannot carry the bucket's name"));
    assert!(refused("").contains("the S3 endpoint  cannot be used"));
    let secret = refused("http://me:hush@s3:9000");
    assert!(
        secret.contains("a user or a password stands in it") && !secret.contains("hush"),
        "{secret}"
    );
}

#[test]
fn a_bucket_or_region_that_cannot_be_one_is_refused() {
    let broken = S3Settings {
        region: "eu\n".to_owned(),
        ..settings()
    };
    let error = Server::new(&broken).err().unwrap().to_string();
    assert!(error.contains("\"eu\\n\" is no region of S3"), "{error}");
    let broken = S3Settings {
        bucket: "a/b".to_owned(),
        ..settings()
    };
    assert!(Server::new(&broken).is_err());
}

#[test]
fn a_ca_file_must_hold_certificates() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ca.crt");
    assert!(
        read_ca(&path)
            .unwrap_err()
            .to_string()
            .contains("ca.crt for S3 cannot be used")
    );
    for text in [
        "",
        "a word",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        std::fs::write(&path, text).unwrap();
        let settings = S3Settings {
            ca_file: Some(path.display().to_string()),
            ..settings()
        };
        let store = Store::s3_with(&settings, environment(&[]), Tuning::writing());
        assert!(store.is_err(), "{text}");
    }
}
