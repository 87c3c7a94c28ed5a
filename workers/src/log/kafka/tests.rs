//! What a person is told when there is no Kafka where one should be. The listeners are this test's own.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use logpipe_api::pipeline::SaslMechanism;
use logpipe_api::settings::{KafkaSaslSettings, KafkaSettings, KafkaTlsSettings};

use super::*;

fn settings(server: &str) -> KafkaSettings {
    KafkaSettings {
        bootstrap_servers: vec![server.to_owned()],
        topic: "logs".to_owned(),
        tls: None,
        sasl: None,
    }
}

/// What opening the log says, and whether a person must mend it.
fn refusal(settings: &KafkaSettings) -> (bool, String) {
    let options = KafkaOptions {
        patience: Duration::from_secs(4),
        ..KafkaOptions::default()
    };
    let error = KafkaLog::open(settings, options).expect_err("there is no Kafka");
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    eprintln!("{text}");
    (matches!(error, LogError::Refused { .. }), text)
}

/// Answers the first bytes of each connection with `answer`, or with silence, and closes it.
fn server(answer: Option<&'static [u8]>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || {
                let mut request = [0; 1024];
                while let Ok(1..) = stream.read(&mut request) {
                    if let Some(answer) = answer {
                        return stream.write_all(answer);
                    }
                }
                Ok(())
            });
        }
    });
    address
}

#[test]
fn a_port_where_nothing_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let (refused, text) = refusal(&settings(&address));
    assert!(!refused, "{text}");
    assert!(text.contains(&format!("no broker can be reached: {address}")));
    assert!(text.contains("Connection refused; nothing listens on that port"));
}

#[test]
fn a_host_that_has_no_address() {
    // Too long for a name: no resolver is asked.
    let host = format!("{}:9092", "kafka".repeat(20));
    let (refused, text) = refusal(&settings(&host));
    assert!(!refused, "{text}");
    assert!(text.contains("the host's name is not known here"), "{text}");
}

#[test]
fn a_server_that_never_answers() {
    let (refused, text) = refusal(&settings(&server(None)));
    assert!(!refused, "{text}");
    assert!(text.contains("check that Kafka runs there"), "{text}");
}

#[test]
fn a_web_server() {
    let address = server(Some(
        b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n",
    ));
    let (refused, text) = refusal(&settings(&address));
    assert!(refused, "{text}");
    assert!(
        text.contains("a web server answers there, not Kafka; correct the port"),
        "{text}"
    );
}

#[test]
fn something_else() {
    let (refused, text) = refusal(&settings(&server(Some(b"SSH-2.0-OpenSSH_9.2\r\n"))));
    assert!(refused, "{text}");
    assert!(text.contains("not Kafka answers there"), "{text}");
}

#[test]
fn a_server_that_talks_tls_to_a_client_that_does_not() {
    // An alert: unexpected message.
    let (refused, text) = refusal(&settings(&server(Some(b"\x15\x03\x03\x00\x02\x02\x0a"))));
    assert!(refused, "{text}");
    assert!(text.contains("the server talks TLS on that port"), "{text}");
}

#[test]
fn a_client_that_talks_tls_to_a_server_that_does_not() {
    let address = server(Some(
        b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n",
    ));
    let settings = KafkaSettings {
        tls: Some(KafkaTlsSettings::default()),
        ..settings(&address)
    };
    let (refused, text) = refusal(&settings);
    assert!(refused, "{text}");
    assert!(
        text.contains("the server does not talk TLS on that port"),
        "{text}"
    );
}

fn with_password_file(path: &str) -> KafkaSettings {
    KafkaSettings {
        sasl: Some(KafkaSaslSettings {
            mechanism: SaslMechanism::ScramSha512,
            username: "etl".to_owned(),
            password_file: path.to_owned(),
        }),
        ..settings("127.0.0.1:1")
    }
}

#[test]
fn files_that_cannot_be_used() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let missing = path("missing");
    let (refused, text) = refusal(&with_password_file(&missing));
    assert!(refused && text.contains(&missing), "{text}");
    assert!(text.contains("cannot read the password"), "{text}");

    let empty = path("empty");
    std::fs::write(&empty, "\n").unwrap();
    let (refused, text) = refusal(&with_password_file(&empty));
    assert!(refused && text.contains(&empty), "{text}");

    let wrong = path("wrong.pem");
    std::fs::write(&wrong, "not a certificate").unwrap();
    let with = |tls| KafkaSettings {
        tls: Some(tls),
        ..settings("127.0.0.1:1")
    };
    let (refused, text) = refusal(&with(KafkaTlsSettings {
        ca_file: Some(wrong.clone()),
        ..KafkaTlsSettings::default()
    }));
    assert!(refused && text.contains(&wrong), "{text}");
    let (refused, text) = refusal(&with(KafkaTlsSettings {
        certificate_file: Some(wrong.clone()),
        key_file: Some(wrong.clone()),
        ..KafkaTlsSettings::default()
    }));
    assert!(refused && text.contains(&wrong), "{text}");
}
