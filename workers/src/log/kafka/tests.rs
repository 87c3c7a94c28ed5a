//! What a person is told when there is no Kafka where one should be. The listeners are this test's own.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

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

/// A broker that knows two requests, in their oldest forms, and says of the cluster what it is told to.
struct Broker {
    address: SocketAddr,
    knows_itself: AtomicBool,
}

impl Broker {
    fn start() -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let broker = Arc::new(Self {
            address: listener.local_addr().unwrap(),
            knows_itself: AtomicBool::new(true),
        });
        let serving = Arc::clone(&broker);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let broker = Arc::clone(&serving);
                std::thread::spawn(move || broker.serve(&stream.unwrap()));
            }
        });
        broker
    }

    fn serve(&self, mut stream: &TcpStream) -> std::io::Result<()> {
        loop {
            let mut size = [0; 4];
            stream.read_exact(&mut size)?;
            let mut request = vec![0; u32::from_be_bytes(size) as usize];
            stream.read_exact(&mut request)?;
            // Key, version, and a number that comes back.
            let answer = match request[..4] {
                [0, 18, 0, 0] => Self::versions(0),
                [0, 18, ..] => Self::versions(35), // this version is not supported
                [0, 3, 0, 0] => self.metadata(),
                _ => return Ok(()),
            };
            let size = (answer.len() as u32 + 4).to_be_bytes();
            stream.write_all(&[&size, &request[4..8], &answer].concat())?;
        }
    }

    fn versions(error: u8) -> Vec<u8> {
        let known = [18, 3].map(|key| [0, key, 0, 0, 0, 0]);
        [&[0, error, 0, 0, 0, 2][..], known.as_flattened()].concat()
    }

    /// Broker 1, and the topic `logs` with one partition; or no broker, and the partition without a leader.
    fn metadata(&self) -> Vec<u8> {
        let knows_itself = self.knows_itself.load(Ordering::Relaxed);
        let mut answer = Vec::new();
        let text = |text: &str, answer: &mut Vec<u8>| {
            answer.extend((text.len() as u16).to_be_bytes());
            answer.extend(text.as_bytes());
        };
        answer.extend(i32::from(knows_itself).to_be_bytes());
        if knows_itself {
            answer.extend(1_i32.to_be_bytes());
            text("127.0.0.1", &mut answer);
            answer.extend(i32::from(self.address.port()).to_be_bytes());
        }
        answer.extend(1_i32.to_be_bytes());
        answer.extend(0_i16.to_be_bytes());
        text("logs", &mut answer);
        answer.extend(1_i32.to_be_bytes());
        answer.extend(if knows_itself { 0_i16 } else { 5 }.to_be_bytes());
        let leader = if knows_itself { 1_i32 } else { -1 };
        // Its number, its leader, and no copies and none in sync.
        for number in [0, leader, 0, 0] {
            answer.extend(number.to_be_bytes());
        }
        // librdkafka makes as much room as an answer is long, and more is taken by what it makes of a short one.
        answer.extend([0; 256]);
        answer
    }
}

/// A broker that its controllers have given up says that there are none, itself neither. Several clients: one or two of
/// them then have no broker left for good, where nobody helps.
#[test]
fn clients_that_were_told_of_no_broker_find_them_again() {
    let broker = Broker::start();
    let settings = settings(&broker.address.to_string());
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| finds_brokers_again(&broker, &settings));
        }
        std::thread::sleep(Duration::from_secs(1));
        broker.knows_itself.store(false, Ordering::Relaxed);
        std::thread::sleep(Duration::from_secs(3));
        broker.knows_itself.store(true, Ordering::Relaxed);
    });
}

fn finds_brokers_again(broker: &Broker, settings: &KafkaSettings) {
    let asker = connect::asker(settings, "test").unwrap();
    let brokers = || {
        let found = asker
            .client()
            .fetch_metadata(Some("logs"), Duration::from_millis(100));
        found.ok().map(|found| found.brokers().len())
    };
    let until = |what: &str, is: &dyn Fn() -> bool| {
        let begun = Instant::now();
        while !is() {
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "not in time: {what}"
            );
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    until("it finds the broker", &|| brokers() == Some(1));
    until("it is told of none", &|| brokers() == Some(0));
    until("the broker is back", &|| {
        brokers();
        broker.knows_itself.load(Ordering::Relaxed)
    });
    until("it finds the broker again", &|| {
        connect::learn(settings, asker.client(), Duration::from_millis(100)).ok();
        brokers() == Some(1)
    });
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
