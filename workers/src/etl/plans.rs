//! The plans of a pipeline, kept beside its checkpoints: the one that is used now, and those that a pending
//! batch may still need. What `Auto` and `Infer` chose is frozen here. Touches the checkpoint store.

use std::sync::Arc;

use logpipe_api::pipeline::{Granularity, Transform};
use logpipe_api::settings::PLAN_KEY;
use logpipe_api::{Plan, PlanHash};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::encode::hex32;
use super::parse::{self, ParseError};
use crate::checkpoint::{CheckpointStore, StoreError, Swap};
use crate::store::{ATTEMPTS, backoff};

/// Plans that are kept. Each partition has at most one pending batch, and it was announced under the plan
/// that was used when its worker started last.
const KEPT: usize = 16;

/// Every plan that may still be needed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Plans {
    v: u32,
    /// The newest stands last; it is the one that is used.
    plans: Vec<Frozen>,
}

/// A plan with every choice made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Frozen {
    /// The plan.
    pub plan: Plan,
    /// What was chosen and why, for people.
    pub why: String,
    /// Hash of the part of the manifest it was made from: another one needs another plan.
    source: String,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The manifest's transform cannot be carried out.
    #[error("spec.transform cannot be carried out")]
    Transform(#[source] ParseError),
    /// The stored plans cannot be read.
    #[error(
        "the stored plans (checkpoint key `plan`) cannot be read; a newer release may have written them. If they are damaged, `logpipe checkpoint rebuild` puts back those of the newest files"
    )]
    Unreadable(#[source] serde_json::Error),
    /// The checkpoint store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Plans {
    /// The plan that is used.
    pub fn current(&self) -> &Frozen {
        self.plans
            .last()
            .expect("plans are stored with at least one")
    }

    /// A plan by its hash.
    pub fn find(&self, hash: &PlanHash) -> Option<&Frozen> {
        let mut plans = self.plans.iter();
        plans.find(|frozen| frozen.plan.hash() == *hash)
    }

    fn encode(plans: Vec<Frozen>) -> Vec<u8> {
        let plans = Self { v: 1, plans };
        serde_json::to_vec(&plans).expect("plans hold nothing that JSON cannot")
    }
}

/// The stored plans together with those of files that they lack: all of them where nothing is stored, and otherwise
/// those that a pending batch needs. `None` where nothing is to be changed. The last one stays the one that is used.
pub fn complete(
    stored: Option<&[u8]>,
    of_files: &[Frozen],
    needed: &[PlanHash],
) -> Result<Option<Vec<u8>>, PlanError> {
    let stored: Option<Plans> = stored
        .map(serde_json::from_slice)
        .transpose()
        .map_err(PlanError::Unreadable)?;
    let Some(stored) = stored else {
        return Ok((!of_files.is_empty()).then(|| Plans::encode(of_files.to_vec())));
    };
    let lacks = |frozen: &&Frozen| {
        let hash = frozen.plan.hash();
        needed.contains(&hash) && stored.find(&hash).is_none()
    };
    let mut plans: Vec<Frozen> = of_files.iter().filter(lacks).cloned().collect();
    if plans.is_empty() {
        return Ok(None);
    }
    plans.extend(stored.plans);
    Ok(Some(Plans::encode(plans)))
}

/// The stored plans, where the newest was made from this transform.
pub async fn load(
    store: &Arc<dyn CheckpointStore>,
    transform: &Transform,
    granularity: Granularity,
) -> Result<Option<Plans>, PlanError> {
    let Some(bytes) = store.read(PLAN_KEY).await? else {
        return Ok(None);
    };
    let plans: Plans = serde_json::from_slice(&bytes).map_err(PlanError::Unreadable)?;
    let same = plans
        .plans
        .last()
        .is_some_and(|last| last.source == source(transform, granularity));
    Ok(same.then_some(plans))
}

/// A stored plan by its hash: another worker may have frozen it since ours were read.
pub async fn find_stored(
    store: &Arc<dyn CheckpointStore>,
    hash: &PlanHash,
) -> Result<Option<Frozen>, PlanError> {
    let Some(bytes) = store.read(PLAN_KEY).await? else {
        return Ok(None);
    };
    let plans: Plans = serde_json::from_slice(&bytes).map_err(PlanError::Unreadable)?;
    Ok(plans.find(hash).cloned())
}

/// Makes the plan from a sample and stores it as the newest. Where another worker was faster, its plan stands.
pub async fn freeze(
    store: &Arc<dyn CheckpointStore>,
    transform: &Transform,
    granularity: Granularity,
    sample: &[&[u8]],
    read_at: i64,
) -> Result<Plans, PlanError> {
    let resolved =
        parse::resolve(transform, granularity, sample, read_at).map_err(PlanError::Transform)?;
    let source = source(transform, granularity);
    let mut attempt = 0;
    loop {
        attempt += 1;
        let old = store.read(PLAN_KEY).await?;
        let mut plans = match &old {
            Some(bytes) => serde_json::from_slice(bytes).map_err(PlanError::Unreadable)?,
            None => Plans {
                v: 1,
                plans: Vec::new(),
            },
        };
        if plans.plans.last().is_some_and(|last| last.source == source) {
            return Ok(plans);
        }
        let hash = resolved.plan.hash();
        plans.plans.retain(|frozen| frozen.plan.hash() != hash);
        plans.plans.push(Frozen {
            plan: resolved.plan.clone(),
            why: resolved.why.clone(),
            source: source.clone(),
        });
        let surplus = plans.plans.len().saturating_sub(KEPT);
        plans.plans.drain(..surplus);
        let new = serde_json::to_vec(&plans).expect("plans hold nothing that JSON cannot");
        match store.swap(PLAN_KEY, old.as_deref(), &new).await {
            Ok(Swap::Done) => return Ok(plans),
            Ok(Swap::Conflict) => {}
            Err(error) if attempt >= ATTEMPTS => return Err(error.into()),
            // It may be written all the same: the next round reads it.
            Err(error) => {
                tracing::warn!(
                    attempt,
                    error = &error as &dyn std::error::Error,
                    "storing the plan failed, trying again"
                );
                tokio::time::sleep(backoff(attempt)).await;
            }
        }
    }
}

fn source(transform: &Transform, granularity: Granularity) -> String {
    let text = serde_json::to_vec(&(logpipe_api::plan::SEMANTICS, transform, granularity))
        .expect("a transform holds nothing that JSON cannot");
    hex32(Sha256::new_with_prefix(text))
}
