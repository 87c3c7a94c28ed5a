//! The checkpoints of a run's data folder. Takes the folder's lock, so that no run uses it meanwhile. Touches the disk,
//! and the manifest's Kafka and bucket where the run used them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, bail, ensure};
use logpipe_api::LogPipeline;
use logpipe_workers::checkpoint::file::{self, FileStore};
use logpipe_workers::checkpoint::survey::{self, Survey};
use logpipe_workers::checkpoint::{CheckpointStore, Swap};
use logpipe_workers::log::Log;
use logpipe_workers::log::embedded::EmbeddedLog;
use logpipe_workers::log::kafka::{KafkaLog, KafkaOptions};
use logpipe_workers::store::Store;
use tokio::runtime::Runtime;

use super::{Change, Checkpoints, Found, Stored, is_stored_key};
use crate::modes::{KafkaMode, Modes, SinkMode};
use crate::run::data_dir::{DataDir, Owner};
use crate::runtime;

/// A data folder.
pub(crate) struct Local {
    path: PathBuf,
    owner: Owner,
    manifest: Option<(LogPipeline, PathBuf)>,
    /// Taken by the look at the sink, and kept.
    locked: Option<DataDir>,
    runtime: Runtime,
}

impl Local {
    /// A folder that a run has made; with its manifest where that names Kafka or bucket.
    pub(crate) fn open(
        path: &Path,
        manifest: Option<(LogPipeline, PathBuf)>,
    ) -> anyhow::Result<Self> {
        let owner = Owner::read(path)?;
        if let Some((pipeline, _)) = &manifest {
            let name = pipeline.metadata.name.as_deref().unwrap_or_default();
            ensure!(
                owner.name == name,
                "the data folder {} belongs to the pipeline {}, and the manifest is of {name}",
                path.display(),
                owner.name
            );
        }
        Ok(Self {
            path: path.to_owned(),
            owner,
            manifest,
            locked: None,
            runtime: runtime::start()?,
        })
    }

    /// The manifest, for what the run did not have in the folder.
    fn manifest(&self) -> anyhow::Result<(&LogPipeline, Modes)> {
        let Some((pipeline, secrets)) = &self.manifest else {
            bail!(
                "the run of {} used Kafka or the bucket of its manifest: name it with -f MANIFEST --data-dir {}",
                self.path.display(),
                self.path.display()
            );
        };
        let modes = Modes {
            kafka: KafkaMode::Manifest,
            sink: SinkMode::Manifest,
            secrets: secrets.clone(),
        };
        Ok((pipeline, modes))
    }

    fn log(&self, dir: &DataDir) -> anyhow::Result<Box<dyn Log>> {
        if self.owner.kafka == KafkaMode::Embedded {
            let log = EmbeddedLog::open_existing(&dir.log(), &self.owner.topic)?;
            return Ok(Box::new(log));
        }
        let (pipeline, modes) = self.manifest()?;
        let settings = modes.kafka_settings(pipeline)?;
        Ok(Box::new(KafkaLog::open(
            &settings,
            KafkaOptions::default(),
        )?))
    }

    /// The sink, and how long a put of a run that was killed may still take: one to a folder ends with its process.
    fn sink(&self, dir: &DataDir) -> anyhow::Result<(Store, Duration)> {
        if self.owner.sink == SinkMode::Local {
            let store = Store::local(&dir.parquet(), &self.owner.prefix);
            let store = store
                .with_context(|| format!("cannot use the folder {}", dir.parquet().display()))?;
            return Ok((store, Duration::ZERO));
        }
        let (pipeline, modes) = self.manifest()?;
        let settings = modes.s3_settings(pipeline)?;
        Ok((Store::s3_reader(&settings)?, survey::QUIET))
    }

    fn checkpoints(&self) -> PathBuf {
        self.path.join("checkpoints")
    }
}

impl Checkpoints for Local {
    fn label(&self) -> String {
        self.path.display().to_string()
    }

    fn pipeline(&self) -> (String, String) {
        (self.owner.name.clone(), self.owner.topic.clone())
    }

    fn read(&self) -> anyhow::Result<Found> {
        let mut found = Found::default();
        let dir = self.checkpoints();
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(found),
            Err(error) => {
                return Err(error).with_context(|| format!("failed to list {}", dir.display()));
            }
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let key = name.strip_suffix(".checkpoint");
            let Some(key) = key.filter(|key| is_stored_key(key)) else {
                continue;
            };
            let failed = || format!("failed to read {}", entry.path().display());
            let bytes = fs::read(entry.path()).with_context(failed)?;
            let stored = match file::decode(&bytes) {
                Ok(value) => Stored::Value(value.to_vec()),
                Err(error) => Stored::Damaged(error.to_string()),
            };
            found.stored.insert(key.to_owned(), stored);
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            let since = modified
                .ok()
                .and_then(|at| at.duration_since(UNIX_EPOCH).ok());
            if let Some(since) = since {
                found.changed.insert(key.to_owned(), since.as_secs() as i64);
            }
        }
        Ok(found)
    }

    fn survey(&mut self) -> anyhow::Result<Survey> {
        let (dir, _) = DataDir::existing(&self.path)?;
        let (log, (store, quiet)) = (self.log(&dir)?, self.sink(&dir)?);
        let survey = self
            .runtime
            .block_on(survey::take(&store, log.as_ref(), quiet));
        self.locked = Some(dir);
        Ok(survey?)
    }

    fn write(&mut self, changes: &[Change]) -> anyhow::Result<()> {
        let dir = self.checkpoints();
        let store: Arc<dyn CheckpointStore> = Arc::new(FileStore::open(&dir)?);
        for change in changes {
            let key = &change.key;
            let old = match &change.old {
                Some(Stored::Value(value)) => Some(value.as_slice()),
                Some(Stored::Damaged(_)) => {
                    let path = dir.join(format!("{key}.checkpoint"));
                    let aside = dir.join(format!("{key}.checkpoint.damaged"));
                    fs::rename(&path, &aside)
                        .with_context(|| format!("cannot move {} away", path.display()))?;
                    None
                }
                None => None,
            };
            let Some(new) = &change.new else { continue };
            let swap = self.runtime.block_on(store.swap(key, old, new))?;
            ensure!(
                swap == Swap::Done,
                "checkpoint {key} in {} was written by somebody else meanwhile",
                dir.display()
            );
        }
        Ok(())
    }
}
