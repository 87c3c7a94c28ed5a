//! All checkpoints of a pipeline in one file. Touches that file.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use logpipe_api::settings::partition_of_key;
use logpipe_workers::checkpoint::Checkpoint;
use serde::{Deserialize, Serialize};

use super::{Checkpoints, Found, Stored};

const VERSION: u32 = 1;

/// The file's content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Saved {
    /// The format's version.
    logpipe_checkpoints: u32,
    /// Of everything else here.
    crc32c: String,
    exported_at: String,
    pipeline: String,
    topic: String,
    /// The Kafka cluster's id, and the topic's.
    cluster: String,
    topic_id: String,
    /// By key, each to the byte.
    pub(super) checkpoints: BTreeMap<String, String>,
}

impl Saved {
    /// All that a place holds; it must be whole.
    pub(super) fn new(place: &dyn Checkpoints, found: &Found) -> anyhow::Result<Self> {
        let mut checkpoints = BTreeMap::new();
        let mut log: Option<(String, String)> = None;
        for (key, stored) in &found.stored {
            let value = match stored {
                Stored::Value(value) => value,
                Stored::Damaged(why) => bail!(
                    "checkpoint {key} of {} cannot be read: {why}. Make it from the files first: `logpipe checkpoint \
                     rebuild`",
                    place.label()
                ),
            };
            if partition_of_key(key).is_some() {
                let checkpoint = Checkpoint::decode(value)
                    .with_context(|| format!("checkpoint {key} of {}", place.label()))?;
                let of = (checkpoint.cluster, checkpoint.topic_id);
                ensure!(
                    log.as_ref().is_none_or(|log| *log == of),
                    "the checkpoints of {} are of two topics: make them from the files first: `logpipe checkpoint \
                     rebuild`",
                    place.label()
                );
                log = Some(of);
            }
            let text = String::from_utf8(value.clone())
                .with_context(|| format!("checkpoint {key} is not text"))?;
            checkpoints.insert(key.clone(), text);
        }
        let (cluster, topic_id) = log.with_context(|| {
            format!(
                "{} has no checkpoint yet: there is nothing to export",
                place.label()
            )
        })?;
        let (pipeline, topic) = place.pipeline();
        let mut saved = Self {
            logpipe_checkpoints: VERSION,
            crc32c: String::new(),
            exported_at: jiff::Timestamp::now().to_string(),
            pipeline,
            topic,
            cluster,
            topic_id,
            checkpoints,
        };
        saved.crc32c = saved.checksum();
        Ok(saved)
    }

    /// Over the content without it.
    fn checksum(&self) -> String {
        let bare = Self {
            crc32c: String::new(),
            ..self.clone()
        };
        let text = serde_json::to_vec(&bare).expect("text is JSON");
        format!("{:08x}", crc32c::crc32c(&text))
    }

    /// Writes it to a file that is not there yet, and to the disk.
    pub(super) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let file = OpenOptions::new().write(true).create_new(true).open(path);
        let mut file = file.with_context(|| {
            format!(
                "cannot make the file {}: name one that is not there yet",
                path.display()
            )
        })?;
        let text = serde_json::to_string_pretty(self)?;
        file.write_all(text.as_bytes())
            .and_then(|()| file.write_all(b"\n"))
            .and_then(|()| file.sync_all())
            .with_context(|| format!("failed to write {}", path.display()))
    }

    /// Reads such a file, if it is whole.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Version {
            logpipe_checkpoints: u32,
        }
        let shown = path.display();
        let text =
            std::fs::read_to_string(path).with_context(|| format!("failed to read {shown}"))?;
        let other = || format!("{shown} is not a file of `logpipe checkpoint export`");
        let found: Version = serde_json::from_str(&text).with_context(other)?;
        ensure!(
            found.logpipe_checkpoints == VERSION,
            "{shown} has format version {}, and this release reads version {VERSION}: use the release that wrote it",
            found.logpipe_checkpoints
        );
        let saved: Self = serde_json::from_str(&text).with_context(other)?;
        ensure!(
            saved.crc32c == saved.checksum(),
            "{shown} is damaged or was edited: its checksum is not that of its content. Use another copy"
        );
        Ok(saved)
    }

    /// Whether it is of this pipeline; that of the log is seen later.
    pub(super) fn check(&self, place: &dyn Checkpoints) -> anyhow::Result<()> {
        let (pipeline, topic) = place.pipeline();
        ensure!(
            self.pipeline == pipeline && self.topic == topic,
            "the file is of pipeline {} with topic {}, and {} is pipeline {pipeline} with topic {topic}: use the file \
             of this one",
            self.pipeline,
            self.topic,
            place.label()
        );
        Ok(())
    }
}
