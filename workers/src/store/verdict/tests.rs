use object_store::Error;

use super::*;

fn generic(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Generic {
        store: "S3",
        source: source.into(),
    }
}

fn of_answer(status: u16, code: &str) -> Verdict {
    let answer = Answer {
        status,
        code: code.to_owned(),
        is_s3: true,
        ..Answer::default()
    };
    // As it comes: behind what the HTTP client makes of it.
    verdict(&generic(HttpError::new(HttpErrorKind::Unknown, answer)))
}

#[test]
fn what_passes_is_told_from_what_a_person_must_mend() {
    let transient = [
        (503, "SlowDown"),
        (500, "InternalError"),
        (503, ""),
        (502, ""),
        (504, ""),
        (429, ""),
        (408, ""),
        (409, "OperationAborted"),
        (400, "RequestTimeout"),
        (400, "XAmzContentSHA256Mismatch"),
        (503, "SomethingNew"),
    ];
    for (status, code) in transient {
        let verdict = of_answer(status, code);
        assert!(
            matches!(verdict, Verdict::Transient(_)),
            "{status} {code}: {verdict:?}"
        );
    }
    let refused = [
        (403, "AccessDenied"),
        (403, ""),
        (401, ""),
        (400, "InvalidArgument"),
        (405, "MethodNotAllowed"),
        (501, "NotImplemented"),
        (507, ""),
        (403, "SomethingNew"),
    ];
    for (status, code) in refused {
        let verdict = of_answer(status, code);
        assert!(
            matches!(verdict, Verdict::Refused(_)),
            "{status} {code}: {verdict:?}"
        );
    }
}

#[test]
fn a_full_disk_that_is_told_as_an_internal_error_is_no_passing_one() {
    let answer = Answer {
        status: 500,
        code: "InternalError".to_owned(),
        message: "please try again.: cause(no space left on device)".to_owned(),
        ..Answer::default()
    };
    let verdict = answered(&answer);
    assert!(
        matches!(verdict, Verdict::Refused(Refusal::NoSpace(_))),
        "{verdict:?}"
    );
}

#[test]
fn a_broken_connection_passes_whatever_broke_it() {
    let reset = || std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    for kind in [
        HttpErrorKind::Connect,
        HttpErrorKind::Request,
        HttpErrorKind::Timeout,
        HttpErrorKind::Interrupted,
        HttpErrorKind::Decode,
        HttpErrorKind::Unknown,
    ] {
        let verdict = verdict(&generic(HttpError::new(kind, reset())));
        assert!(
            matches!(verdict, Verdict::Transient(_)),
            "{kind:?}: {verdict:?}"
        );
    }
}

#[test]
fn tls_is_found_inside_an_io_error() {
    let tls = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
    let io = std::io::Error::other(tls);
    let verdict = verdict(&generic(HttpError::new(HttpErrorKind::Connect, io)));
    assert!(
        matches!(verdict, Verdict::Refused(Refusal::Tls(_))),
        "{verdict:?}"
    );
}

#[test]
fn an_error_of_another_kind_is_told_as_it_is() {
    let expected = Verdict::Refused(Refusal::Other("the disk is on fire".to_owned()));
    assert_eq!(verdict(&generic("the disk is on fire")), expected);
}

#[test]
fn a_refusal_says_what_failed_why_and_what_mends_it() {
    let place = Place {
        bucket: "logs".to_owned(),
        endpoint: "http://127.0.0.1:9000".to_owned(),
        region: "us-east-1".to_owned(),
        key: "the key in /etc/secrets/s3".to_owned(),
    };
    let refusal = Refusal::Denied("403 AccessDenied: Access Denied".to_owned());
    assert_eq!(
        place.refused("PutObject", refusal).to_string(),
        "bucket logs at http://127.0.0.1:9000: access denied for PutObject (403 AccessDenied: Access Denied): grant \
         s3:PutObject, s3:GetObject and s3:ListBucket to the key in /etc/secrets/s3"
    );
    let behind = place.refused("PutObject", Refusal::ClockSkew(Some(-3601)));
    assert!(
        behind
            .to_string()
            .contains("this machine's clock is 3601 s behind the server's"),
        "{behind}"
    );
}
