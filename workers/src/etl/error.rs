//! Why the ETL stops.

use parquet::errors::ParquetError;

use super::commit::CommitError;
use super::parse::ParseError;
use super::plans::PlanError;
use crate::log::{LogError, Offset};
use crate::store::ListError;

/// Why the ETL stopped. Nothing is lost or doubled by any of these: the checkpoint stands where it stood.
#[derive(Debug, thiserror::Error)]
pub enum EtlError {
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The protocol could not go on.
    #[error(transparent)]
    Commit(#[from] Box<CommitError>),
    /// There is no plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The plan's parser cannot be compiled.
    #[error("the plan's parser cannot be used")]
    Parser(#[source] ParseError),
    /// Parquet could not be encoded.
    #[error("failed to encode parquet")]
    Encode(#[source] ParquetError),
    /// The operating system gave no thread.
    #[error("failed to start a thread")]
    Thread(#[source] std::io::Error),
    /// The log ends before the checkpoint.
    #[error(
        "partition {partition}: the log ends at offset {end}, before the checkpoint's {next}. The log was \
         truncated or replaced by an older copy: bring the newer log back, or begin again in a new place, \
         with a prefix and a data folder of its own"
    )]
    LogTruncated {
        /// The partition.
        partition: u32,
        /// The checkpoint's next offset.
        next: Offset,
        /// The log's end.
        end: Offset,
    },
    /// The log begins behind the checkpoint.
    #[error(
        "partition {partition}: data loss: the log begins at offset {start}, and offsets [{next}, {start}) \
         were never committed. Retention removed them too early; they cannot be read any more"
    )]
    DataLoss {
        /// The partition.
        partition: u32,
        /// The checkpoint's next offset.
        next: Offset,
        /// The log's start.
        start: Offset,
    },
    /// A partition without checkpoint in a log that only this pipeline trims.
    #[error(
        "partition {partition}: there is no checkpoint, but the log begins at offset {start}: records below it \
         were committed and trimmed, so the checkpoint was lost. Make it from the files: `logpipe checkpoint rebuild`"
    )]
    CheckpointMissing {
        /// The partition.
        partition: u32,
        /// The log's start.
        start: Offset,
    },
    /// Objects lie ahead of the checkpoint.
    #[error(
        "partition {partition}: the checkpoint stands at offset {next}, but files up to offset {end} are there \
         already ({object}). The checkpoint was removed or replaced by an older copy: going on would write \
         these rows twice. Make it from the files: `logpipe checkpoint rebuild`"
    )]
    CheckpointBehind {
        /// The partition.
        partition: u32,
        /// The checkpoint's next offset.
        next: Offset,
        /// One after the last offset in a file.
        end: Offset,
        /// The file.
        object: String,
    },
    /// The files cannot be listed.
    #[error("failed to list the files in {place}")]
    List {
        /// The folder or bucket.
        place: String,
        /// Why.
        #[source]
        source: ListError,
    },
    /// The last committed record is another one.
    #[error(
        "partition {partition}: the record at offset {offset} is not the one that was committed. The log was \
         made anew or written over: bring the old log back, or begin again in a new place, with a prefix and \
         a data folder of its own"
    )]
    AnchorDiffers {
        /// The partition.
        partition: u32,
        /// The anchor's offset.
        offset: Offset,
    },
    /// A pending batch does not come out as announced.
    #[error(
        "partition {partition}: the pending batch [{start}, {end}) does not come out as it was announced: \
         {what}. Run the release that announced it once more, so that it can finish"
    )]
    PendingDiffers {
        /// The partition.
        partition: u32,
        /// The first offset.
        start: Offset,
        /// One after the last.
        end: Offset,
        /// What differs.
        what: String,
    },
    /// The plan of a pending batch is not known.
    #[error(
        "partition {partition}: the pending batch [{start}, {end}) was announced under plan {plan}, which is \
         not stored any more. Put it back from the files: `logpipe checkpoint rebuild`"
    )]
    PlanMissing {
        /// The partition.
        partition: u32,
        /// The first offset.
        start: Offset,
        /// One after the last.
        end: Offset,
        /// The plan's hash.
        plan: String,
    },
}

impl From<CommitError> for EtlError {
    fn from(error: CommitError) -> Self {
        Self::Commit(Box::new(error))
    }
}

impl EtlError {
    /// Whether starting again may help, without a person who mends something first.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Log(error) => error.may_pass(),
            Self::Commit(error) => error.may_pass(),
            Self::Plan(PlanError::Store(error)) => error.may_pass(),
            Self::List { source, .. } => source.may_pass(),
            Self::Encode(_) | Self::Thread(_) => true,
            _ => false,
        }
    }
}
