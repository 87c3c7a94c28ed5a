//! Errors of librdkafka in words for people: what failed, on which object, why, and what mends it. Pure.

use logpipe_api::settings::KafkaSettings;
use rdkafka::Message;
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::message::BorrowedMessage;

use super::config::mechanism;
use super::context::Trouble;
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
        Code::BrokerTransportFailure | Code::BadMessage
            if foreign(reason).is_some() || is_tls(reason) =>
        {
            Hope::Connection
        }
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

/// A complaint about a server that has answered this process before. What would tell another protocol on its port is
/// then a connection that broke early: the broker is going down, or coming up.
pub(super) fn of_known_server(trouble: Trouble) -> Trouble {
    match trouble.code {
        Code::BrokerTransportFailure | Code::BadMessage
            if hope(trouble.code, &trouble.reason) == Hope::Connection =>
        {
            Trouble {
                code: Code::BrokerTransportFailure,
                reason: "the connection broke early".to_owned(),
            }
        }
        _ => trouble,
    }
}

/// The error for a person.
pub(super) fn error(settings: &KafkaSettings, code: Code, reason: &str) -> LogError {
    match hope(code, reason) {
        Hope::Passing => LogError::Failed {
            place: place(settings),
            action: "talk to kafka",
            source: body(settings, code, reason).into(),
        },
        Hope::Connection | Hope::None => LogError::Refused {
            what: text(settings, code, reason),
        },
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

/// Where it failed, what and why, and the remedy.
pub(super) fn text(settings: &KafkaSettings, code: Code, reason: &str) -> String {
    let servers = settings.bootstrap_servers.join(",");
    format!("kafka {servers}: {}", body(settings, code, reason))
}

/// That this user may not make or change the topic.
pub(super) fn making_forbidden(settings: &KafkaSettings) -> LogError {
    let (servers, user) = (settings.bootstrap_servers.join(","), user(settings));
    let topic = &settings.topic;
    LogError::Refused {
        what: format!(
            "kafka {servers}: {user} may not make or change topic {topic}; allow the operations Describe, Create, \
             Alter, DescribeConfigs and AlterConfigs on topic {topic}"
        ),
    }
}

/// That a member has no right to its group.
pub(super) fn group_forbidden(settings: &KafkaSettings, group: &str) -> LogError {
    let (servers, user) = (settings.bootstrap_servers.join(","), user(settings));
    LogError::Refused {
        what: format!(
            "kafka {servers}: {user} may not use the consumer group {group}; allow the operation Read on group {group}"
        ),
    }
}

fn body(settings: &KafkaSettings, code: Code, reason: &str) -> String {
    let topic = &settings.topic;
    let (why, remedy) = match code {
        Code::BrokerTransportFailure if is_tls(reason) => return tls(settings, reason),
        Code::BadMessage if foreign(reason).is_some() => return connection(reason),
        Code::BrokerTransportFailure
        | Code::AllBrokersDown
        | Code::Resolve
        | Code::OperationTimedOut
        | Code::RequestTimedOut
        | Code::BrokerNotAvailable
        | Code::NetworkException => return connection(reason),
        Code::SSL => return tls(settings, reason),
        Code::Authentication | Code::SaslAuthenticationFailed => return login(settings, reason),
        Code::UnknownTopicOrPartition | Code::UnknownTopic => (
            format!("there is no topic {topic}"),
            "make it with `logpipe worker topic`, or correct the topic's name".to_owned(),
        ),
        Code::TopicAuthorizationFailed => (
            format!("{} may not use topic {topic}", user(settings)),
            format!(
                "allow the operations Describe and Read (to consume), or Describe and Write (to produce), on \
                 topic {topic}"
            ),
        ),
        Code::ClusterAuthorizationFailed => (
            format!("{} may not produce idempotently", user(settings)),
            "allow the operation IdempotentWrite on the cluster".to_owned(),
        ),
        Code::MessageSizeTooLarge | Code::MessageBatchTooLarge => (
            format!(
                "a record is larger than topic {topic} or its brokers allow{}",
                because(reason)
            ),
            format!(
                "raise max.message.bytes of topic {topic} (and replica.fetch.max.bytes of the brokers) to at \
                 least 1048588"
            ),
        ),
        Code::FencedInstanceId => (
            "another process is in the consumer group under the same instance id".to_owned(),
            "end one of the two, or give each an instance of its own (LOGPIPE_ETL_INSTANCE)"
                .to_owned(),
        ),
        Code::UnsupportedVersion | Code::UnsupportedFeature => (
            format!("the brokers are too old{}", because(reason)),
            "use Kafka 2.8 or newer".to_owned(),
        ),
        _ => return format!("{}{}", sentence(&code.to_string()), because(reason)),
    };
    format!("{why}; {remedy}")
}

fn connection(reason: &str) -> String {
    let why = clean(reason);
    if let Some(foreign) = foreign(reason) {
        return foreign;
    }
    let remedy = if reason.contains("refused") {
        "nothing listens on that port: start Kafka, or correct the address"
    } else if reason.contains("resolve") {
        "the host's name is not known here: correct it, or wait until it is in DNS"
    } else {
        "check that Kafka runs there and that a firewall or network policy lets this process reach it"
    };
    format!("no broker can be reached: {why}; {remedy}")
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
    closed_early(reason).then(|| {
        "the connection was closed at once: the server talks TLS on that port, or asks for a login, and this side \
         does not; set kafka.external.tls or kafka.external.sasl, or use another port"
            .to_owned()
    })
}

/// Whether a connection was closed before anything was said on it: `Disconnected: … (after 3ms in state UP)`.
pub(super) fn closed_early(reason: &str) -> bool {
    let Some((what, state)) = reason.split_once(" (after ") else {
        return false;
    };
    let millis = state.split("ms").next().and_then(|ms| ms.parse().ok());
    let at_once = millis.is_some_and(|millis: u32| millis < 2000);
    what.contains("Disconnected")
        && (state.contains("in state APIVERSION_QUERY") || at_once && state.contains("in state UP"))
}

/// Whether TLS itself failed, and not the connection below.
fn is_tls(reason: &str) -> bool {
    reason.contains("SSL routines") || closed_in_handshake(reason)
}

fn closed_in_handshake(reason: &str) -> bool {
    reason.contains("Disconnected") && reason.contains("in state SSL_HANDSHAKE")
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
    let why = clean(reason);
    if let Some(file) = pem_file(settings, reason) {
        return format!(
            "the file {file} cannot be used: {why}; it must be PEM, and a key its certificate's"
        );
    }
    if closed_in_handshake(reason) {
        return "the server closed the connection when TLS began: it does not talk TLS on that port; leave \
                kafka.external.tls out, or use the TLS port"
            .to_owned();
    }
    let lower = reason.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let remedy = if says(&["wrong version number", "packet length too long"]) {
        "the server does not talk TLS on that port: leave kafka.external.tls out, or use the TLS port"
    } else if says(&["hostname mismatch", "address mismatch"]) {
        "the server's certificate is for other hosts: dial a name that it holds, or give the broker a \
         certificate with this one"
    } else if says(&["certificate verify failed"]) {
        "the server's certificate is not trusted: give the authority that signed it \
         (kafka.external.tls.caSecretRef), and dial a name that the certificate holds"
    } else if says(&[
        "certificate required",
        "bad certificate",
        "unexpected message",
        "unknown ca",
    ]) {
        "the server wants a client certificate that it trusts: give one \
         (kafka.external.tls.clientCertSecretRef)"
    } else {
        "check the TLS settings of both sides"
    };
    format!("no TLS connection: {why}; {remedy}")
}

/// The file that librdkafka knows by what is in it only.
fn pem_file<'a>(settings: &'a KafkaSettings, reason: &str) -> Option<&'a str> {
    let tls = settings.tls.as_ref()?;
    let files = [
        ("ssl.ca.pem", &tls.ca_file),
        ("ssl.certificate.pem", &tls.certificate_file),
        ("ssl.key.pem", &tls.key_file),
    ];
    let file = files.into_iter().find(|(name, _)| reason.contains(name))?;
    file.1.as_deref()
}

fn login(settings: &KafkaSettings, reason: &str) -> String {
    let why = clean(reason);
    let Some(sasl) = &settings.sasl else {
        return format!("cannot log in: {why}; set kafka.external.sasl");
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
    format!("cannot log in as {user} with {mechanism}: {why}; {remedy}")
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
        .split(": broker certificate could not be verified")
        .next();
    let reason = reason.unwrap_or_default();
    let reason = reason
        .replace("/bootstrap:", ":")
        .replace("ipv4#", "")
        .replace("ipv6#", "");
    reason.trim().trim_end_matches('.').to_owned()
}

/// `BrokerNotAvailable (Broker: Broker not available)` → `broker not available`
fn sentence(code: &str) -> String {
    let inner = code.split(" (").nth(1).unwrap_or(code);
    let text = inner.split(": ").last().unwrap_or(inner);
    let mut letters = text.trim_end_matches(')').chars();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_is_closed_at_once_is_not_one_that_was_used() {
        let at_once = [
            "127.0.0.1:9094/bootstrap: Disconnected: connection closed by peer (after 1ms in state APIVERSION_QUERY)",
            "127.0.0.1:9094/1: Disconnected (after 12ms in state UP, 3 identical error(s) suppressed)",
        ];
        assert!(at_once.iter().all(|reason| closed_early(reason)));
        let later = [
            "127.0.0.1:9094/1: Disconnected: connection reset by peer (after 120000ms in state UP)",
            "127.0.0.1:9094/1: Connect to ipv4#127.0.0.1:9094 failed: Connection refused (after 0ms in state CONNECT)",
            "",
        ];
        assert!(!later.iter().any(|reason| closed_early(reason)));
    }

    #[test]
    fn the_size_of_a_strange_answer_tells_who_gave_it() {
        let of = |size: i32| {
            let reason =
                format!("Receive failed: Invalid response size {size} (0..100000000): increase");
            foreign(&reason).unwrap_or_default()
        };
        assert!(of(i32::from_be_bytes(*b"HTTP")).contains("web server"));
        assert!(of(0x1503_0300).contains("TLS"));
        assert!(of(-5).contains("not Kafka"));
        assert_eq!(foreign("Receive failed: Connection reset by peer"), None);
    }

    #[test]
    fn a_code_is_a_part_of_a_sentence() {
        let text = sentence(&Code::NotEnoughReplicas.to_string());
        assert_eq!(text, "not enough in-sync replicas");
    }

    #[test]
    fn a_server_that_was_kafka_before_is_waited_for() {
        let early = "Disconnected: verify that security.protocol is correctly configured, broker might require SASL \
                     authentication (after 2ms in state APIVERSION_QUERY, 4 identical error(s) suppressed)";
        let trouble = |code, reason: &str| Trouble {
            code,
            reason: reason.to_owned(),
        };
        let first = trouble(Code::BrokerTransportFailure, early);
        assert_eq!(hope(first.code, &first.reason), Hope::Connection);
        let later = of_known_server(first);
        assert_eq!(hope(later.code, &later.reason), Hope::Passing);
        // A certificate or password can change while we run.
        let expired = of_known_server(trouble(Code::SSL, "certificate has expired"));
        assert_eq!(hope(expired.code, &expired.reason), Hope::Connection);
    }

    #[test]
    fn a_broker_that_moves_or_rests_is_worth_waiting_for() {
        for code in [
            Code::NotLeaderForPartition,
            Code::CoordinatorLoadInProgress,
            Code::NotEnoughReplicas,
            Code::Resolve,
            Code::BrokerTransportFailure,
            Code::AllBrokersDown,
        ] {
            assert_eq!(hope(code, "anything"), Hope::Passing, "{code}");
        }
        assert_eq!(hope(Code::TopicAuthorizationFailed, ""), Hope::None);
        assert_eq!(hope(Code::Authentication, ""), Hope::Connection);
    }
}
