//! What the sink and the log hold, as far as checkpoints can be made or checked by it. Reads the names of all files,
//! the footers of each partition's newest ones, and the log's bounds; writes nothing.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Checkpoint;
use super::rebuild::newest;
use crate::etl::encode::{BATCH_KEY, DIGEST_KEY, FROZEN_KEY};
use crate::etl::name::ObjectName;
use crate::etl::plans::Frozen;
use crate::log::{Identity, Log, LogError, Offset};
use crate::store::{ListError, Store};

/// How long a request of a worker that was killed may take to come through.
pub const QUIET: Duration = Duration::from_secs(10);

/// What stands before a survey on standard output.
pub const MARK: &str = "survey: ";

/// All that was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Survey {
    /// Which log.
    pub log: LogSeen,
    /// Every partition of the topic.
    pub partitions: Vec<PartitionSeen>,
    /// The plans of the newest files, that of the newest one last.
    pub plans: Vec<Frozen>,
}

/// Which log it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LogSeen {
    /// [`Identity::cluster`].
    pub cluster: String,
    /// [`Identity::topic`].
    pub topic: String,
    /// [`Identity::topic_id`].
    pub topic_id: String,
}

/// One partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PartitionSeen {
    /// Its number.
    pub partition: u32,
    /// What the log holds of it.
    pub log: Range<Offset>,
    /// What the sink holds of it.
    pub sink: Sink,
}

/// The files of one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Sink {
    /// There is none.
    Empty,
    /// Their names leave a gap, or overlap: where.
    Broken(String),
    /// Those of the newest batch.
    Newest(Newest),
}

/// The newest batch that has a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Newest {
    /// Where it starts.
    pub start: Offset,
    /// One after its last offset.
    pub end: Offset,
    /// Its files that are there.
    pub files: Vec<FileSeen>,
}

/// A file of the newest batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FileSeen {
    /// Its path below the prefix.
    pub object: String,
    /// Its folder.
    pub dir: String,
    /// Its digest, as its footer says.
    pub digest: Option<String>,
    /// The checkpoint that announced its batch, as its footer says.
    pub imprint: Option<Checkpoint>,
}

/// Why there is no survey.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    /// The log does not answer.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The sink does not answer.
    #[error("failed to {action} {place}")]
    Store {
        /// What was tried.
        action: &'static str,
        /// The folder or bucket.
        place: String,
        /// Why it failed.
        #[source]
        source: ListError,
    },
    /// A file came in between two looks.
    #[error(
        "{object} came into {place} a moment ago: a worker still writes, or its last request was still under way. Stop \
         every worker of this pipeline, and try again"
    )]
    StillWritten {
        /// The folder or bucket.
        place: String,
        /// The file.
        object: String,
    },
}

impl SurveyError {
    /// Whether trying again may help, without a person who mends something first.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Log(error) => error.may_pass(),
            Self::Store { source, .. } => source.may_pass(),
            Self::StillWritten { .. } => true,
        }
    }
}

/// Looks, and looks again after `quiet`: what a worker sent before it was killed may come through after it.
pub async fn take(store: &Store, log: &dyn Log, quiet: Duration) -> Result<Survey, SurveyError> {
    let identity = log.identity();
    let failed = |action| {
        move |source| SurveyError::Store {
            action,
            place: store.place().to_owned(),
            source,
        }
    };
    let list = async || store.names(&identity).await.map_err(failed("list"));
    let mut names = list().await?;
    if !quiet.is_zero() {
        tokio::time::sleep(quiet).await;
        let before = std::mem::replace(&mut names, list().await?);
        if let Some(new) = names
            .iter()
            .find(|name| before.binary_search(name).is_err())
        {
            return Err(SurveyError::StillWritten {
                place: store.place().to_owned(),
                object: new.to_string(),
            });
        }
    }
    let mut by_partition: BTreeMap<u32, Vec<ObjectName>> = BTreeMap::new();
    for name in names {
        by_partition.entry(name.partition).or_default().push(name);
    }
    let mut source = log.source()?;
    let mut partitions = Vec::new();
    let mut plans = Vec::new();
    for partition in 0..identity.partitions {
        let names = by_partition.remove(&partition).unwrap_or_default();
        let seen = sink(store, names, &mut plans).await;
        partitions.push(PartitionSeen {
            partition,
            log: source.bounds(partition)?,
            sink: seen.map_err(failed("read a file of"))?,
        });
    }
    Ok(Survey {
        log: LogSeen::of(&identity),
        partitions,
        plans: in_order(plans),
    })
}

async fn sink(
    store: &Store,
    names: Vec<ObjectName>,
    plans: &mut Vec<(i64, Frozen)>,
) -> Result<Sink, ListError> {
    let names = match newest(names) {
        Ok(names) => names,
        Err(what) => return Ok(Sink::Broken(what)),
    };
    let Some(first) = names.first() else {
        return Ok(Sink::Empty);
    };
    let range = first.range();
    let mut files = Vec::with_capacity(names.len());
    for name in names {
        let footer = store.footer(&name).await?;
        let text = |key| footer.pairs.get(key);
        // A value of another form is as good as none.
        if let Some(frozen) = text(FROZEN_KEY).and_then(|text| serde_json::from_str(text).ok()) {
            plans.push((footer.modified, frozen));
        }
        files.push(FileSeen {
            object: name.to_string(),
            dir: name.dir,
            digest: text(DIGEST_KEY).cloned(),
            imprint: text(BATCH_KEY).and_then(|text| Checkpoint::decode(text.as_bytes()).ok()),
        });
    }
    Ok(Sink::Newest(Newest {
        start: range.start,
        end: range.end,
        files,
    }))
}

/// Each plan once, in the order of its newest file.
fn in_order(mut plans: Vec<(i64, Frozen)>) -> Vec<Frozen> {
    plans.sort_by_key(|(modified, _)| *modified);
    let mut kept: Vec<Frozen> = Vec::new();
    for (_, frozen) in plans {
        kept.retain(|kept| kept.plan.hash() != frozen.plan.hash());
        kept.push(frozen);
    }
    kept
}

impl LogSeen {
    /// That of a log.
    pub fn of(log: &Identity) -> Self {
        Self {
            cluster: log.cluster.clone(),
            topic: log.topic.clone(),
            topic_id: log.topic_id.clone(),
        }
    }
}

impl Survey {
    /// Whether any file of the log is in the sink.
    pub fn has_files(&self) -> bool {
        let mut partitions = self.partitions.iter();
        partitions.any(|seen| seen.sink != Sink::Empty)
    }
}
