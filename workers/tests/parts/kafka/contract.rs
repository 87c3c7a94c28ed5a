//! The suite that every log runs.

use std::sync::Arc;

use logpipe_api::pipeline::RecordCompression;
use logpipe_workers::log::kafka::{KafkaLog, KafkaOptions};
use logpipe_workers::log::{Log, contract};

use super::support::{kafka, new_topic};

#[test]
fn kafka_is_a_log() {
    let Some(kafka) = kafka() else { return };
    contract::all(&|| {
        let settings = new_topic(&kafka, contract::PARTITIONS);
        super::support::open(&settings)
    });
}

#[test]
fn every_codec_keeps_records_as_they_are() {
    let Some(kafka) = kafka() else { return };
    let codecs = [
        RecordCompression::None,
        RecordCompression::Gzip,
        RecordCompression::Snappy,
        RecordCompression::Zstd,
    ];
    for compression in codecs {
        contract::values_of_any_size_come_back(&|| {
            let settings = new_topic(&kafka, contract::PARTITIONS);
            let options = KafkaOptions {
                compression,
                ..KafkaOptions::default()
            };
            let log: Arc<dyn Log> = Arc::new(KafkaLog::open(&settings, options).unwrap());
            log
        });
    }
}
