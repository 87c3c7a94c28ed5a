//! The settings of a client in librdkafka's words. Reads the files with certificates and the password.

use std::fs;
use std::time::Duration;

use logpipe_api::pipeline::{RecordCompression, SaslMechanism};
use logpipe_api::settings::{KafkaSaslSettings, KafkaSettings, KafkaTlsSettings};
use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use crate::log::LogError;

/// What every client needs. The files are read anew each time, so that a new client uses what was rotated.
pub(super) fn client(settings: &KafkaSettings, client_id: &str) -> Result<ClientConfig, LogError> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", settings.bootstrap_servers.join(","))
        .set("client.id", client_id)
        .set("socket.connection.setup.timeout.ms", "10000")
        .set("reconnect.backoff.ms", "100")
        .set("reconnect.backoff.max.ms", "2000")
        .set("socket.keepalive.enable", "true")
        .set("allow.auto.create.topics", "false")
        .set_log_level(RDKafkaLogLevel::Info);
    let protocol = match (&settings.tls, &settings.sasl) {
        (None, None) => "PLAINTEXT",
        (Some(_), None) => "SSL",
        (None, Some(_)) => "SASL_PLAINTEXT",
        (Some(_), Some(_)) => "SASL_SSL",
    };
    config.set("security.protocol", protocol);
    if let Some(tls) = &settings.tls {
        set_tls(&mut config, tls)?;
    }
    if let Some(sasl) = &settings.sasl {
        set_sasl(&mut config, sasl)?;
    }
    Ok(config)
}

fn set_tls(config: &mut ClientConfig, tls: &KafkaTlsSettings) -> Result<(), LogError> {
    match &tls.ca_file {
        Some(path) => config.set("ssl.ca.pem", read("CA certificates", path)?),
        // OpenSSL is built in, and its own default folder is not this machine's.
        None => config.set("ssl.ca.location", "probe"),
    };
    if let Some(path) = &tls.certificate_file {
        config.set("ssl.certificate.pem", read("client certificate", path)?);
    }
    if let Some(path) = &tls.key_file {
        config.set("ssl.key.pem", read("client certificate's key", path)?);
    }
    Ok(())
}

fn set_sasl(config: &mut ClientConfig, sasl: &KafkaSaslSettings) -> Result<(), LogError> {
    let password = read("password", &sasl.password_file)?;
    config
        .set("sasl.mechanisms", mechanism(sasl.mechanism))
        .set("sasl.username", &sasl.username)
        .set("sasl.password", password.trim_end_matches(['\r', '\n']));
    Ok(())
}

/// Kafka's name of it.
pub(super) fn mechanism(mechanism: SaslMechanism) -> &'static str {
    match mechanism {
        SaslMechanism::Plain => "PLAIN",
        SaslMechanism::ScramSha256 => "SCRAM-SHA-256",
        SaslMechanism::ScramSha512 => "SCRAM-SHA-512",
    }
}

fn read(what: &str, path: &str) -> Result<String, LogError> {
    let text = fs::read_to_string(path).map_err(|error| {
        let remedy = match error.kind() {
            std::io::ErrorKind::NotFound => "mount the Secret that holds it, or correct the path",
            std::io::ErrorKind::PermissionDenied => "let this user read it",
            _ => "it must be a text file",
        };
        LogError::Refused {
            what: format!("kafka: cannot read the {what} from {path}: {error}; {remedy}"),
        }
    })?;
    if text.trim().is_empty() {
        return Err(LogError::Refused {
            what: format!("kafka: the file {path} with the {what} is empty"),
        });
    }
    Ok(text)
}

/// What a client needs that reads records.
///
/// The memory of a consumer is about `queued.max.messages.kbytes` of unpacked records, which librdkafka counts over
/// all partitions because they share one queue, and one answer of each broker: `fetch.max.bytes` packed. With two
/// threads, one broker and lines packed to an eighth that is 2 · (16 + 16) MiB.
pub(super) fn read_records(config: &mut ClientConfig, fetch_wait: Duration) {
    config
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        // An offset that is gone is an error, never a jump.
        .set("auto.offset.reset", "error")
        .set("isolation.level", "read_committed")
        .set("check.crcs", "true")
        .set("queued.min.messages", "1000000")
        .set("queued.max.messages.kbytes", "16384")
        // Its default of a second stalls a reader that is faster than the network.
        .set("fetch.queue.backoff.ms", "5")
        .set("fetch.message.max.bytes", "1048576")
        .set("fetch.max.bytes", "2097152")
        .set("fetch.wait.max.ms", fetch_wait.as_millis().to_string())
        .set("fetch.min.bytes", "1");
}

/// What a client needs that writes the records of each partition in order. The sizes are for all its partitions.
pub(super) fn write_records(config: &mut ClientConfig, compression: RecordCompression) {
    let codec = match compression {
        RecordCompression::Lz4 => "lz4",
        RecordCompression::Zstd => "zstd",
        RecordCompression::Snappy => "snappy",
        RecordCompression::Gzip => "gzip",
        RecordCompression::None => "none",
    };
    config
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("compression.codec", codec)
        .set("linger.ms", "50")
        .set("batch.size", "1000000")
        .set("message.max.bytes", "1000000")
        .set("delivery.timeout.ms", "120000")
        .set("queue.buffering.max.kbytes", "16384")
        .set("queue.buffering.max.messages", "50000");
}
