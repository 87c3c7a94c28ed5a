//! The folder of one pipeline on this machine: who may use it, and what stands where.
//!
//! ```text
//! <data-dir>/lock          held while a run uses the folder; names its pid
//! <data-dir>/run.json      which pipeline the folder belongs to
//! <data-dir>/log/          the embedded log
//! <data-dir>/checkpoints/  the ETL's checkpoints and plans
//! <data-dir>/producer/     saved offsets of the file producer
//! <data-dir>/source/       the generator's app.log
//! <data-dir>/parquet/      the rows
//! ```

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use logpipe_api::LogPipeline;
use logpipe_api::pipeline::Granularity;
use serde::{Deserialize, Serialize};

use crate::modes::{KafkaMode, Modes, SinkMode};

/// A locked data folder.
pub(crate) struct DataDir {
    path: PathBuf,
    /// Held, not read: closing it gives the folder free, also when the process is killed.
    _lock: File,
}

/// What makes a pipeline the same one: another name, topic, place or kind of source is another pipeline.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Owner {
    v: u32,
    pub(crate) name: String,
    pub(crate) topic: String,
    bucket: String,
    pub(crate) prefix: String,
    source: SourceKind,
    granularity: Granularity,
    /// Which log, and where the rows go: what is committed in one place is not there in another.
    #[serde(default)]
    pub(crate) kafka: KafkaMode,
    #[serde(default)]
    pub(crate) sink: SinkMode,
}

/// Where the lines come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum SourceKind {
    Generator,
    Files,
    Topic,
}

impl SourceKind {
    /// The field of `spec.source`.
    fn as_str(self) -> &'static str {
        match self {
            Self::Generator => "generator",
            Self::Files => "files",
            Self::Topic => "topic",
        }
    }
}

impl Owner {
    fn of(pipeline: &LogPipeline, name: &str, modes: &Modes) -> Self {
        let s3 = &pipeline.spec.sink.s3;
        let source = &pipeline.spec.source;
        Self {
            v: 1,
            name: name.to_owned(),
            topic: pipeline.topic_name(),
            bucket: s3.bucket.clone(),
            prefix: pipeline.prefix(),
            source: match (&source.generator, &source.topic) {
                (Some(_), _) => SourceKind::Generator,
                (None, Some(_)) => SourceKind::Topic,
                (None, None) => SourceKind::Files,
            },
            granularity: pipeline.spec.sink.partition_by.time.granularity,
            kafka: modes.kafka,
            sink: modes.sink,
        }
    }

    /// Reads which pipeline a folder belongs to.
    pub(crate) fn read(dir: &Path) -> anyhow::Result<Self> {
        let path = dir.join("run.json");
        let bytes = std::fs::read(&path).with_context(|| {
            format!(
                "{} is not the data folder of a run: name the one that `logpipe run` printed, such as \
                 ./logpipe-data/quickstart",
                dir.display()
            )
        })?;
        serde_json::from_slice(&bytes).with_context(|| {
            format!(
                "{} does not say which pipeline the folder belongs to",
                path.display()
            )
        })
    }

    /// The first thing in which two differ: its name and both values.
    fn difference<'a>(&'a self, other: &'a Self) -> Option<(&'static str, &'a str, &'a str)> {
        let fields = |owner: &'a Self| {
            [
                ("metadata.name", owner.name.as_str()),
                ("spec.kafka.topic.name", &owner.topic),
                ("spec.sink.s3.bucket", &owner.bucket),
                ("spec.sink.s3.prefix", &owner.prefix),
                ("spec.source", owner.source.as_str()),
                // Readers refuse a table with folders of both depths.
                (
                    "spec.sink.partitionBy.time.granularity",
                    owner.granularity.as_str(),
                ),
                ("--kafka", owner.kafka.as_str()),
                ("--sink", owner.sink.as_str()),
            ]
        };
        let mut pairs = fields(self).into_iter().zip(fields(other));
        let ((field, mine), (_, theirs)) = pairs.find(|(mine, theirs)| mine != theirs)?;
        Some((field, mine, theirs))
    }
}

impl DataDir {
    /// Makes the folder if it is not there, locks it, and checks that it belongs to this pipeline.
    pub(crate) fn open(
        path: &Path,
        pipeline: &LogPipeline,
        name: &str,
        modes: &Modes,
    ) -> anyhow::Result<Self> {
        make(path)?;
        let path = std::path::absolute(path)
            .with_context(|| format!("cannot find the data folder {}", path.display()))?;
        let lock = lock(&path)?;
        check_owner(&path, &Owner::of(pipeline, name, modes))?;
        Ok(Self { path, _lock: lock })
    }

    /// Locks a folder that a run has made, whosever it is.
    pub(crate) fn existing(path: &Path) -> anyhow::Result<(Self, Owner)> {
        let owner = Owner::read(path)?;
        let path = std::path::absolute(path)
            .with_context(|| format!("cannot find the data folder {}", path.display()))?;
        let lock = lock(&path)?;
        Ok((Self { path, _lock: lock }, owner))
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    pub(crate) fn checkpoints(&self) -> PathBuf {
        self.path.join("checkpoints")
    }

    pub(crate) fn producer(&self) -> PathBuf {
        self.path.join("producer")
    }

    pub(crate) fn source(&self) -> PathBuf {
        self.path.join("source")
    }

    pub(crate) fn parquet(&self) -> PathBuf {
        self.path.join("parquet")
    }
}

/// Makes the folder where it is missing.
fn make(path: &Path) -> anyhow::Result<()> {
    let Err(error) = std::fs::create_dir_all(path) else {
        return Ok(());
    };
    if let Some(file) = path.ancestors().find(|above| above.is_file()) {
        bail!(
            "cannot make the data folder {}: {} is a file; name another folder with --data-dir",
            path.display(),
            file.display()
        );
    }
    Err(error).with_context(|| {
        format!(
            "cannot make the data folder {}: make it writable, or name another one with --data-dir",
            path.display()
        )
    })
}

fn lock(dir: &Path) -> anyhow::Result<File> {
    let path = dir.join("lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .with_context(|| {
            format!(
                "cannot write to the data folder {}: make it writable, or name another one with --data-dir",
                dir.display()
            )
        })?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            file.read_to_string(&mut holder).ok();
            let holder = holder.trim();
            bail!(
                "the data folder {} is in use by another run{}: stop that one first, or give this one its \
                 own --data-dir",
                dir.display(),
                if holder.is_empty() {
                    String::new()
                } else {
                    format!(" (pid {holder})")
                }
            );
        }
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("cannot lock {}", path.display()));
        }
    }
    file.set_len(0).and_then(|()| file.rewind())?;
    writeln!(file, "{}", std::process::id())
        .with_context(|| format!("cannot write the lock {}", path.display()))?;
    Ok(file)
}

fn check_owner(dir: &Path, owner: &Owner) -> anyhow::Result<()> {
    let path = dir.join("run.json");
    match std::fs::read(&path) {
        Ok(bytes) => {
            let found: Owner = serde_json::from_slice(&bytes).with_context(|| {
                format!(
                    "{0} does not say which pipeline the folder belongs to. Run the newer release that \
                     wrote it; or, if it is damaged and the folder is this pipeline's, remove {0}: it is \
                     then written anew",
                    path.display()
                )
            })?;
            if let Some((field, mine, theirs)) = owner.difference(&found) {
                bail!(
                    "the data folder {} belongs to another pipeline: {field} is `{theirs}` there and `{mine}` \
                     here. Give this one its own --data-dir",
                    dir.display()
                );
            }
            Ok(())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            write_atomically(&path, &serde_json::to_vec_pretty(owner)?)
                .with_context(|| format!("cannot write {}", path.display()))
        }
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

fn write_atomically(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let temporary = path.with_extension("json.new");
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `run.json` outlives a release.
    #[test]
    fn who_owns_a_folder_is_written_as_ever() {
        let owner = Owner {
            v: 1,
            name: "shop".to_owned(),
            topic: "lines".to_owned(),
            bucket: "logs".to_owned(),
            prefix: "shop/".to_owned(),
            source: SourceKind::Generator,
            granularity: Granularity::Hour,
            kafka: KafkaMode::Embedded,
            sink: SinkMode::Manifest,
        };
        let text = r#"{"v":1,"name":"shop","topic":"lines","bucket":"logs","prefix":"shop/","source":"generator","granularity":"Hour","kafka":"embedded","sink":"manifest"}"#;
        assert_eq!(serde_json::to_string(&owner).unwrap(), text);
        for (mine, theirs) in [
            ("generator", "files"),
            ("generator", "topic"),
            ("Hour", "Day"),
            ("embedded", "manifest"),
        ] {
            let other: Owner = serde_json::from_str(&text.replacen(mine, theirs, 1)).unwrap();
            let (_, here, there) = owner.difference(&other).unwrap();
            assert_eq!((here, there), (mine, theirs));
        }
        let before = text.replace(r#","kafka":"embedded","sink":"manifest""#, "");
        let old: Owner = serde_json::from_str(&before).unwrap();
        assert_eq!(
            (old.kafka, old.sink),
            (KafkaMode::Embedded, SinkMode::Local)
        );
    }
}
