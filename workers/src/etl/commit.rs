//! The committer of one partition: intent → create-only puts → commit, each state one compare-and-swap. It
//! touches the checkpoint store and the object store. See `docs/adr/0001`.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};

use super::batch::EncodedBatch;
use crate::checkpoint::{
    Checkpoint, CheckpointStore, DecodeError, Empty, MAX_BYTES, Seen, StoreError, Swap,
    TransitionError, partition_key,
};
use crate::log::{Identity, Offset};
use crate::store::{ATTEMPTS, PutError, Store, backoff};

/// Objects of one batch that are uploaded at the same time.
const PUTS_IN_FLIGHT: usize = 4;

/// Why a partition cannot be committed any further.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Another worker took the partition over. What it commits is right; this one must stop.
    #[error("partition {partition} was taken over by {owner}")]
    Fenced {
        /// The partition.
        partition: u32,
        /// The new owner.
        owner: String,
    },
    /// Another worker took the partition over, and the group still says that it is ours.
    #[error(
        "partition {partition} was taken over by another worker, though the consumer group leaves it to this one: \
         two groups may work on one pipeline. Give all workers of a pipeline the same group id and checkpoints"
    )]
    TakenInGroup {
        /// The partition.
        partition: u32,
    },
    /// The checkpoint is of another log.
    #[error(
        "partition {partition}: the checkpoint belongs to topic id {expected} of cluster {cluster}, but the \
         log is topic id {found}. The log was made anew: bring the old log back, or begin again in a new \
         place, with a prefix and a data folder of its own"
    )]
    OtherLog {
        /// The partition.
        partition: u32,
        /// The cluster in the checkpoint.
        cluster: String,
        /// The topic id in the checkpoint.
        expected: String,
        /// The topic id of the log.
        found: String,
    },
    /// The checkpoint cannot be read.
    #[error("the checkpoint of partition {partition} cannot be used")]
    Unreadable {
        /// The partition.
        partition: u32,
        /// Why.
        #[source]
        source: DecodeError,
    },
    /// The checkpoint is gone or was edited while we owned it.
    #[error("the checkpoint of partition {partition} was removed while it was in use")]
    Removed {
        /// The partition.
        partition: u32,
    },
    /// The checkpoint would be too large for its place.
    #[error(
        "the checkpoint of partition {partition} would have {bytes} bytes, more than {MAX_BYTES}: too many \
         producer keys write to one partition. Use fewer producers a partition, or more partitions"
    )]
    TooLarge {
        /// The partition.
        partition: u32,
        /// The size it would have.
        bytes: usize,
    },
    /// The checkpoint store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The object store failed.
    #[error(transparent)]
    Put(#[from] PutError),
    /// The caller broke the protocol.
    #[error("partition {partition}: the batch cannot follow the checkpoint")]
    Transition {
        /// The partition.
        partition: u32,
        /// How.
        #[source]
        source: TransitionError,
    },
}

impl CommitError {
    /// Whether starting again may help, without a person who mends something first.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Fenced { .. } | Self::TakenInGroup { .. } => true,
            Self::Store(error) => error.may_pass(),
            Self::Put(error) => error.may_pass(),
            _ => false,
        }
    }
}

/// Owns the checkpoint of one partition.
pub struct Committer {
    checkpoints: Arc<dyn CheckpointStore>,
    store: Store,
    partition: u32,
    current: Checkpoint,
}

impl Committer {
    /// Takes the partition over, or begins it at `begin` when it has no checkpoint.
    pub async fn take_over(
        checkpoints: Arc<dyn CheckpointStore>,
        store: Store,
        log: &Identity,
        partition: u32,
        begin: Offset,
        owner: &str,
    ) -> Result<Self, CommitError> {
        let key = partition_key(partition);
        let mut attempt = 0;
        loop {
            attempt += 1;
            let old = checkpoints.read(&key).await?;
            let next = match &old {
                None => Checkpoint::new(log, partition, begin, owner),
                Some(bytes) => {
                    let found = Checkpoint::decode(bytes)
                        .map_err(|source| CommitError::Unreadable { partition, source })?;
                    if found.cluster != log.cluster || found.topic_id != log.topic_id {
                        return Err(CommitError::OtherLog {
                            partition,
                            cluster: found.cluster,
                            expected: found.topic_id,
                            found: log.topic_id.clone(),
                        });
                    }
                    found.take_over(owner)
                }
            };
            let mut committer = Self {
                checkpoints: checkpoints.clone(),
                store: store.clone(),
                partition,
                current: next.clone(),
            };
            match committer.swap(old, next).await {
                Ok(()) => return Ok(committer),
                // The owner before us committed in between: what it wrote is taken over.
                Err(CommitError::Fenced { .. }) if attempt < ATTEMPTS => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether the checkpoint in the store is still the one that this worker wrote last.
    pub async fn is_owner(&self) -> Result<bool, CommitError> {
        let found = self
            .checkpoints
            .read(&partition_key(self.partition))
            .await?;
        Ok(found == Some(self.current.encode()))
    }

    /// The checkpoint as it was written last.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.current
    }

    /// Notes that the records before `empty.until` gave no row.
    pub async fn note_empty(&mut self, empty: Empty) -> Result<(), CommitError> {
        let next = self.current.note_empty(empty);
        if next.as_ref().is_ok_and(is_too_large) {
            return Ok(()); // It saves reading them again, no more.
        }
        self.advance(next).await
    }

    /// Announces a batch.
    pub async fn announce(&mut self, batch: &EncodedBatch) -> Result<(), CommitError> {
        let mut next = self.current.announce(batch.batch.clone());
        // Only a note can be left out.
        if self.current.empty.is_some() && next.as_ref().is_ok_and(is_too_large) {
            next = next.map(Checkpoint::without_empty);
        }
        self.advance(next).await
    }

    /// Puts the pending batch's objects.
    pub async fn put(&self, batch: &EncodedBatch) -> Result<(), CommitError> {
        let puts = batch.objects.clone().into_iter().map(|object| {
            let store = self.store.clone();
            async move { store.put(&object).await }
        });
        stream::iter(puts)
            .buffer_unordered(PUTS_IN_FLIGHT)
            .try_collect::<()>()
            .await?;
        Ok(())
    }

    /// Commits the pending batch, and announces the one behind it in the same swap where it is ready. `seen` rides
    /// along.
    pub async fn commit(
        &mut self,
        following: Option<&EncodedBatch>,
        seen: Option<Seen>,
    ) -> Result<(), CommitError> {
        let next = match following {
            Some(following) => self.current.commit_and_announce(following.batch.clone()),
            None => self.current.commit(),
        };
        let next = next.map(|next| {
            let end = |seen: Seen| seen.end.map(|end| end.max(next.next));
            let seen = seen.map(|seen| Seen {
                end: end(seen),
                ..seen
            });
            Checkpoint { seen, ..next }
        });
        self.advance(next).await
    }

    async fn advance(
        &mut self,
        next: Result<Checkpoint, TransitionError>,
    ) -> Result<(), CommitError> {
        let next = next.map_err(|source| CommitError::Transition {
            partition: self.partition,
            source,
        })?;
        let old = self.current.encode();
        self.swap(Some(old), next).await
    }

    /// Replaces `old` by `next`. A store that failed may have done it all the same, so it is asked before the
    /// swap is tried again.
    async fn swap(&mut self, old: Option<Vec<u8>>, next: Checkpoint) -> Result<(), CommitError> {
        let key = partition_key(self.partition);
        let new = next.encode();
        if new.len() > MAX_BYTES {
            return Err(CommitError::TooLarge {
                partition: self.partition,
                bytes: new.len(),
            });
        }
        let mut attempt = 0;
        loop {
            attempt += 1;
            match self.checkpoints.swap(&key, old.as_deref(), &new).await {
                Ok(Swap::Done) => break,
                Ok(Swap::Conflict) => {}
                Err(error) if attempt >= ATTEMPTS => return Err(error.into()),
                Err(error) => {
                    tracing::warn!(
                        key,
                        attempt,
                        error = &error as &dyn std::error::Error,
                        "checkpoint swap failed, trying again"
                    );
                    tokio::time::sleep(backoff(attempt)).await;
                }
            }
            let found = self.checkpoints.read(&key).await?;
            if found.as_ref() == Some(&new) {
                break;
            }
            if found != old {
                return Err(self.lost(found.as_deref()));
            }
        }
        self.current = next;
        Ok(())
    }

    fn lost(&self, found: Option<&[u8]>) -> CommitError {
        let partition = self.partition;
        match found.map(Checkpoint::decode) {
            None => CommitError::Removed { partition },
            Some(Ok(checkpoint)) => CommitError::Fenced {
                partition,
                owner: checkpoint.owner,
            },
            Some(Err(source)) => CommitError::Unreadable { partition, source },
        }
    }
}

fn is_too_large(checkpoint: &Checkpoint) -> bool {
    checkpoint.encode().len() > MAX_BYTES
}
