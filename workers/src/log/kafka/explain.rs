//! Errors of librdkafka in words for people: what failed, on which object, why, and what mends it. Pure.

use logpipe_api::settings::KafkaSettings;
use rdkafka::Message;
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::message::BorrowedMessage;

use super::config::mechanism;
use crate::log::LogError;

/// What one may hope for after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hope {
    /// It passes: a broker is down or busy, or a leader moves.
    Passing,
    /// No connection can be used; it may pass when brokers are just being set up.
    Connection,
    /// A person must mend it.
    None,
}

/// What one may hope for after `code`.
pub(super) fn hope(code: Code, reason: &str) -> Hope {
    match code {
        Code::BrokerTransportFailure if foreign(reason).is_some() => Hope::Connection,
        Code::SSL | Code::Authentication | Code::SaslAuthenticationFailed => Hope::Connection,
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed
        | Code::UnknownTopicOrPartition
        | Code::UnknownTopic
        | Code::MessageSizeTooLarge
        | Code::MessageBatchTooLarge
        | Code::InvalidArgument
        | Code::UnsupportedFeature
        | Code::UnsupportedVersion
        | Code::FencedInstanceId
        | Code::Fenced
        | Code::Fatal
        | Code::PolicyViolation
        | Code::InvalidTopic
        | Code::InvalidConfig
        | Code::InvalidPartitions
        | Code::InvalidReplicationFactor => Hope::None,
        _ => Hope::Passing,
    }
}

/// The error for a person.
pub(super) fn error(settings: &KafkaSettings, code: Code, reason: &str) -> LogError {
    let what = text(settings, code, reason);
    match hope(code, reason) {
        Hope::Passing => LogError::Failed {
            place: place(settings),
            action: "talk to kafka",
            source: what.into(),
        },
        Hope::Connection | Hope::None => LogError::Refused { what },
    }
}

/// `broker:9092/topic`
pub(super) fn place(settings: &KafkaSettings) -> String {
    format!(
        "{}/{}",
        settings.bootstrap_servers.join(","),
        settings.topic
    )
}

/// What failed, why, and the remedy.
pub(super) fn text(settings: &KafkaSettings, code: Code, reason: &str) -> String {
    let servers = settings.bootstrap_servers.join(",");
    let topic = &settings.topic;
    let (why, remedy) = match code {
        Code::BrokerTransportFailure
        | Code::AllBrokersDown
        | Code::Resolve
        | Code::OperationTimedOut
        | Code::RequestTimedOut
        | Code::BrokerNotAvailable
        | Code::NetworkException => return connection(settings, reason),
        Code::SSL => return tls(settings, reason),
        Code::Authentication | Code::SaslAuthenticationFailed => return login(settings, reason),
        Code::UnknownTopicOrPartition | Code::UnknownTopic => (
            format!("there is no topic {topic}"),
            "make it with `logpipe-worker topic`, or correct the topic's name".to_owned(),
        ),
        Code::TopicAuthorizationFailed => (
            format!("{} may not use topic {topic}{}", user(settings), because(reason)),
            format!(
                "allow the operations Describe and Read (to consume), or Describe and Write (to produce), on \
                 topic {topic}"
            ),
        ),
        Code::GroupAuthorizationFailed => (
            format!("{} may not use the consumer group{}", user(settings), because(reason)),
            "allow the operation Read on the group".to_owned(),
        ),
        Code::ClusterAuthorizationFailed => (
            format!("{} may not do this on the cluster{}", user(settings), because(reason)),
            "allow the operation IdempotentWrite on the cluster to produce; Create on the topic or cluster to \
             make a topic"
                .to_owned(),
        ),
        Code::MessageSizeTooLarge | Code::MessageBatchTooLarge => (
            format!("a record is larger than topic {topic} or its brokers allow{}", because(reason)),
            format!(
                "raise max.message.bytes of topic {topic} (and replica.fetch.max.bytes of the brokers) to at \
                 least 1048588"
            ),
        ),
        Code::FencedInstanceId => (
            "another process is in the consumer group under the same instance id".to_owned(),
            "end one of the two, or give each an instance of its own (LOGPIPE_ETL_INSTANCE)".to_owned(),
        ),
        Code::UnsupportedVersion | Code::UnsupportedFeature => (
            format!("the brokers are too old{}", because(reason)),
            "use Kafka 2.8 or newer".to_owned(),
        ),
        _ => return format!("kafka {servers}: {}{}", sentence(&code.to_string()), because(reason)),
    };
    format!("kafka {servers}: {why}; {remedy}")
}

fn connection(settings: &KafkaSettings, reason: &str) -> String {
    let servers = settings.bootstrap_servers.join(",");
    let why = clean(reason);
    if let Some(foreign) = foreign(reason) {
        return format!("kafka {servers}: {foreign}");
    }
    let remedy = if reason.contains("refused") {
        "nothing listens on that port: start Kafka, or correct the address"
    } else if reason.contains("resolve") {
        "the host's name is not known here: correct it, or wait until it is in DNS"
    } else {
        "check that Kafka runs there and that a firewall or network policy lets this process reach it"
    };
    format!("kafka {servers}: no broker can be reached: {why}; {remedy}")
}

/// Who answers, when it is not a broker that talks as we do.
fn foreign(reason: &str) -> Option<String> {
    if let Some(size) = answer_size(reason) {
        let first = size.to_be_bytes();
        if &first == b"HTTP" {
            return Some("a web server answers there, not Kafka; correct the port".to_owned());
        }
        // An alert, or the beginning of a handshake.
        if matches!(first, [0x15 | 0x16, 0x03, ..]) {
            return Some(
                "the server talks TLS on that port, and this side does not; set kafka.external.tls, or use the \
                 port without TLS"
                    .to_owned(),
            );
        }
        return Some("something that is not Kafka answers there; correct the port".to_owned());
    }
    let plain = "connecting to a SSL listener?";
    reason.contains(plain).then(|| {
        "the connection was closed at once: the server talks TLS on that port, or asks for a login, and this side \
         does not; set kafka.external.tls or kafka.external.sasl, or use another port"
            .to_owned()
    })
}

/// `Invalid response size 1213486160 (0..100000000)…` → 1213486160
fn answer_size(reason: &str) -> Option<u32> {
    let behind = reason.split("nvalid response size ").nth(1)?;
    let digits = behind
        .split(|c: char| c != '-' && !c.is_ascii_digit())
        .next()?;
    Some(digits.parse::<i32>().ok()? as u32)
}

fn tls(settings: &KafkaSettings, reason: &str) -> String {
    let servers = settings.bootstrap_servers.join(",");
    let why = clean(reason);
    let lower = reason.to_lowercase();
    let remedy = if lower.contains("wrong version number")
        || lower.contains("plaintext")
        || lower.contains("unexpected message")
        || lower.contains("packet length too long")
    {
        "the server does not talk TLS on that port: leave kafka.external.tls out, or use the TLS port"
    } else if lower.contains("hostname") || lower.contains("ip address mismatch") {
        "the server's certificate is for other hosts: dial a name that it holds, or give the broker a \
         certificate with this one"
    } else if lower.contains("verify") {
        "the server's certificate is not trusted: give the authority that signed it (kafka.external.tls.\
         caSecretRef), and dial a name that the certificate holds"
    } else if lower.contains("certificate required") || lower.contains("bad certificate") {
        "the server wants a client certificate that it trusts: give one (kafka.external.tls.\
         clientCertSecretRef)"
    } else if lower.contains("ssl.key")
        || lower.contains("ssl.certificate")
        || lower.contains("ssl.ca")
    {
        "the file must be PEM, and the key must be the certificate's"
    } else {
        "check the TLS settings of both sides"
    };
    format!("kafka {servers}: no TLS connection: {why}; {remedy}")
}

fn login(settings: &KafkaSettings, reason: &str) -> String {
    let servers = settings.bootstrap_servers.join(",");
    let why = clean(reason);
    let Some(sasl) = &settings.sasl else {
        return format!("kafka {servers}: cannot log in: {why}; set kafka.external.sasl");
    };
    let (user, mechanism) = (&sasl.username, mechanism(sasl.mechanism));
    let lower = reason.to_lowercase();
    let remedy = if lower.contains("unsupported sasl mechanism")
        || lower.contains("handshake failed")
    {
        format!("{mechanism} is not enabled on that port: use one that is, or enable it")
    } else {
        format!(
            "the user or the password is wrong: correct the username or the file {}, or give the user \
             credentials for {mechanism}",
            sasl.password_file
        )
    };
    format!("kafka {servers}: cannot log in as {user} with {mechanism}: {why}; {remedy}")
}

fn user(settings: &KafkaSettings) -> String {
    match &settings.sasl {
        Some(sasl) => format!("user {}", sasl.username),
        None => "this client".to_owned(),
    }
}

fn because(reason: &str) -> String {
    match clean(reason) {
        reason if reason.is_empty() => String::new(),
        reason => format!(" ({reason})"),
    }
}

/// `127.0.0.1:9092/bootstrap: Connect to … failed: Connection refused (after 0ms in state CONNECT)` without what
/// says nothing to people.
fn clean(reason: &str) -> String {
    let reason = reason.split(" (after ").next().unwrap_or_default();
    let reason = reason
        .replace("/bootstrap:", ":")
        .replace("ipv4#", "")
        .replace("ipv6#", "");
    reason.trim().trim_end_matches('.').to_owned()
}

/// `Broker transport failure (Local: Broker transport failure)` → `broker transport failure`
fn sentence(code: &str) -> String {
    let text = code.split(" (").next().unwrap_or_default();
    let mut letters = text.chars();
    let first = letters.next().map(|c| c.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}

/// A record where none may come.
pub(super) fn stray(record: &BorrowedMessage<'_>) -> LogError {
    LogError::Failed {
        place: record.topic().to_owned(),
        action: "read a partition",
        source: format!(
            "a record of partition {} came outside of the queue of records",
            record.partition()
        )
        .into(),
    }
}
