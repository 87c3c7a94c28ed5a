//! TLS, logins and rights, on listeners that require them; and what a person is told who gets them wrong.

use std::path::Path;

use logpipe_api::pipeline::SaslMechanism;
use logpipe_api::settings::{KafkaSaslSettings, KafkaSettings, KafkaTlsSettings};
use logpipe_workers::log::kafka::topic::ensure;
use logpipe_workers::log::kafka::{Group, KafkaLog, KafkaOptions};
use logpipe_workers::log::{Log, LogError, contract};

use super::support::{kafka, new_name, new_topic, part, parts, settings, undisturbed, wanted};

const MECHANISMS: [SaslMechanism; 3] = [
    SaslMechanism::Plain,
    SaslMechanism::ScramSha256,
    SaslMechanism::ScramSha512,
];

fn secret(file: &str) -> Option<String> {
    let dir = part("LOGPIPE_TEST_SECRETS")?;
    Some(Path::new(&dir).join(file).display().to_string())
}

/// The listener with TLS and login, for the user `etl`.
fn login(mechanism: SaslMechanism) -> Option<KafkaSettings> {
    let servers = part("LOGPIPE_TEST_KAFKA_SASL_SSL")?;
    Some(KafkaSettings {
        tls: Some(KafkaTlsSettings {
            ca_file: Some(secret("kafka-ca/ca.crt")?),
            ..KafkaTlsSettings::default()
        }),
        sasl: Some(KafkaSaslSettings {
            mechanism,
            username: "etl".to_owned(),
            password_file: secret("kafka-sasl/password")?,
        }),
        ..settings(&servers, &new_name())
    })
}

/// The listener that asks for a client certificate.
fn certificate() -> Option<KafkaSettings> {
    let servers = part("LOGPIPE_TEST_KAFKA_SSL")?;
    Some(KafkaSettings {
        tls: Some(KafkaTlsSettings {
            ca_file: Some(secret("kafka-ca/ca.crt")?),
            certificate_file: Some(secret("kafka-client/tls.crt")?),
            key_file: Some(secret("kafka-client/tls.key")?),
        }),
        ..settings(&servers, &new_name())
    })
}

fn writes_and_reads(settings: &KafkaSettings) {
    let log = super::support::open(settings);
    contract::write(&*log, 0, &contract::records(10));
    assert_eq!(contract::read_partition(&*log, 0).len(), 10);
}

fn options() -> KafkaOptions {
    KafkaOptions {
        patience: std::time::Duration::from_secs(10),
        ..KafkaOptions::default()
    }
}

/// What opening says to a person who must mend something.
fn refusal(settings: &KafkaSettings) -> String {
    match KafkaLog::open(settings, options()) {
        Err(LogError::Refused { what }) => {
            eprintln!("{what}");
            what
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_mechanism_logs_in() {
    let _quiet = undisturbed();
    for mechanism in MECHANISMS {
        let Some(settings) = login(mechanism) else {
            return;
        };
        ensure(&settings, &wanted(1)).unwrap();
        writes_and_reads(&settings);
    }
}

#[test]
fn a_client_certificate_is_enough() {
    let _quiet = undisturbed();
    let Some(settings) = certificate() else {
        return;
    };
    ensure(&settings, &wanted(1)).unwrap();
    writes_and_reads(&settings);
}

#[test]
fn a_wrong_password_is_said_without_the_password() {
    let _quiet = undisturbed();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("password");
    std::fs::write(&file, "not-the-password").unwrap();
    for mechanism in MECHANISMS {
        let Some(mut settings) = login(mechanism) else {
            return;
        };
        settings.sasl.as_mut().unwrap().password_file = file.display().to_string();
        let text = refusal(&settings);
        assert!(text.contains("cannot log in as etl"), "{text}");
        assert!(text.contains(file.to_str().unwrap()), "{text}");
        assert!(!text.contains("not-the-password"), "{text}");
    }
}

#[test]
fn an_authority_that_did_not_sign_is_not_trusted() {
    let _quiet = undisturbed();
    let Some(mut settings) = login(SaslMechanism::Plain) else {
        return;
    };
    // Any certificate that is not the authority's.
    settings.tls.as_mut().unwrap().ca_file = secret("kafka-client/tls.crt");
    let text = refusal(&settings);
    assert!(text.contains("is not trusted"), "{text}");
}

#[test]
fn a_certificate_for_other_hosts_is_refused() {
    let _quiet = undisturbed();
    let Some(mut settings) = login(SaslMechanism::Plain) else {
        return;
    };
    // The certificate holds 127.0.0.1 and localhost.
    let server = settings.bootstrap_servers[0].replace("127.0.0.1", "127.0.0.2");
    settings.bootstrap_servers = vec![forward(&server)];
    let text = refusal(&settings);
    assert!(text.contains("dial a name that"), "{text}");
}

/// A port of 127.0.0.2 behind which is the same port number of 127.0.0.1.
fn forward(server: &str) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.2:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let broker = server.replace("127.0.0.2", "127.0.0.1");
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let Ok(client) = client else { return };
            let Ok(server) = std::net::TcpStream::connect(&broker) else {
                return;
            };
            for (mut from, mut to) in [
                (client.try_clone().unwrap(), server.try_clone().unwrap()),
                (server, client),
            ] {
                std::thread::spawn(move || std::io::copy(&mut from, &mut to));
            }
        }
    });
    address
}

#[test]
fn tls_on_one_side_only_is_said() {
    let _quiet = undisturbed();
    let Some(kafka) = kafka() else { return };
    let Some(with_tls) = login(SaslMechanism::Plain) else {
        return;
    };
    let text = refusal(&settings(&with_tls.bootstrap_servers[0], "logs"));
    assert!(text.contains("the server talks TLS on that port"), "{text}");
    let text = refusal(&KafkaSettings {
        bootstrap_servers: kafka.bootstrap_servers.clone(),
        sasl: None,
        ..with_tls.clone()
    });
    assert!(text.contains("does not talk TLS on that port"), "{text}");
    // TLS, but no login.
    let text = refusal(&KafkaSettings {
        sasl: None,
        ..with_tls
    });
    assert!(text.contains("asks for a login"), "{text}");
}

#[test]
fn a_login_where_none_is_asked_for_is_said() {
    let _quiet = undisturbed();
    let Some(kafka) = kafka() else { return };
    let Some(with_login) = login(SaslMechanism::Plain) else {
        return;
    };
    let text = refusal(&KafkaSettings {
        tls: None,
        bootstrap_servers: kafka.bootstrap_servers,
        ..with_login
    });
    assert!(text.contains("PLAIN is not enabled on that port"), "{text}");
}

#[test]
fn a_missing_client_certificate_is_said() {
    let _quiet = undisturbed();
    let Some(mut settings) = certificate() else {
        return;
    };
    let tls = settings.tls.as_mut().unwrap();
    tls.certificate_file = None;
    tls.key_file = None;
    let text = refusal(&settings);
    assert!(text.contains("wants a client certificate"), "{text}");
}

#[test]
fn missing_rights_are_named() {
    let _quiet = undisturbed();
    let Some(kafka) = kafka() else { return };
    let Some(mut nobody) = login(SaslMechanism::ScramSha512) else {
        return;
    };
    nobody.sasl = nobody.sasl.map(|sasl| KafkaSaslSettings {
        username: "nobody".to_owned(),
        password_file: secret("kafka-nobody/password").unwrap(),
        ..sasl
    });
    nobody.topic = new_topic(&kafka, 1).topic;
    let text = refusal(&nobody);
    let expected = format!("user nobody may not use topic {}", nobody.topic);
    assert!(text.contains(&expected), "{text}");
    assert!(text.contains("allow the operation"), "{text}");
    nobody.topic = new_name();
    let error = ensure(&nobody, &wanted(1)).unwrap_err().to_string();
    assert!(error.contains("Create"), "{error}");
}

#[test]
fn a_member_without_a_right_to_its_group_is_told() {
    let _quiet = undisturbed();
    let Some(settings) = login(SaslMechanism::ScramSha256) else {
        return;
    };
    ensure(&settings, &wanted(1)).unwrap();
    let options = KafkaOptions {
        group: Some(Group::Member {
            id: "not-for-etl".to_owned(),
            instance: "one".to_owned(),
        }),
        ..options()
    };
    parts(&[
        "kafka",
        "acls",
        "--add",
        "--deny-principal",
        "User:etl",
        "--operation",
        "All",
        "--group",
        "not-for-etl",
    ]);
    let log = KafkaLog::open(&settings, options).unwrap();
    let mut member = log.member(0, 1).unwrap();
    let begun = std::time::Instant::now();
    let error = loop {
        assert!(begun.elapsed().as_secs() < 60, "nothing is said");
        let wait = std::time::Duration::from_millis(20);
        if let Err(error) = member.source().poll(wait, &mut |_| {}) {
            break error.to_string();
        }
    };
    assert!(
        error.contains("may not use the consumer group not-for-etl"),
        "{error}"
    );
}
