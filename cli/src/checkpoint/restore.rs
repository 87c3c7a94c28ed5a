//! What is to be done with each partition, decided from what sink, log and place hold, and all of it before anything
//! is written. Pure.

use std::collections::BTreeMap;

use anyhow::{Context, bail, ensure};
use logpipe_api::PlanHash;
use logpipe_api::settings::{PLAN_KEY, partition_key};
use logpipe_workers::checkpoint::Checkpoint;
use logpipe_workers::checkpoint::rebuild::{Refusal, fits, rebuild};
use logpipe_workers::checkpoint::survey::{PartitionSeen, Sink, Survey};
use logpipe_workers::etl::plans;
use serde::Serialize;

use super::{Change, Stored};
use crate::output::Format;
use crate::table::{Table, count, terminal_width, things};

/// Where checkpoints come from that are gone.
pub(super) enum Source<'a> {
    /// The files in the sink.
    Sink {
        /// Who has made them.
        owner: String,
        /// No line of a partition without a file was ever written.
        assume_unwritten: bool,
    },
    /// An exported file's values.
    File(&'a BTreeMap<String, String>),
}

/// What is to be done.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) changes: Vec<Change>,
    lines: Vec<Line>,
}

/// What is to be done with one partition, for people and scripts.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    partition: u32,
    action: Action,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
    /// The batch that the next worker finishes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pending: Option<[u64; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
enum Action {
    /// Its checkpoint is there, and fits.
    Kept,
    /// Made again, or put back.
    Written,
    /// Nothing was ever committed, and nothing stands there.
    Unwritten,
    /// Nobody can tell.
    Refused,
}

impl Action {
    fn text(self, done: bool) -> &'static str {
        match (self, done) {
            (Self::Kept, _) => "is there, and fits",
            (Self::Written, true) => "restored",
            (Self::Written, false) => "can be restored",
            (Self::Unwritten, _) => "never written",
            (Self::Refused, _) => "REFUSED",
        }
    }
}

/// Decides about every partition of the topic.
pub(super) fn plan(
    survey: &Survey,
    stored: &BTreeMap<String, Stored>,
    source: &Source<'_>,
) -> anyhow::Result<Plan> {
    let mut plan = Plan {
        changes: Vec::new(),
        lines: Vec::new(),
    };
    let mut needed = Vec::new();
    for seen in &survey.partitions {
        let old = stored.get(&partition_key(seen.partition));
        let line = match decide(survey, seen, old, source) {
            Ok((action, checkpoint)) => {
                plan.change(seen.partition, action, old, checkpoint.as_ref());
                needed.extend(pending_plan(checkpoint.as_ref()));
                Line::new(seen.partition, action, checkpoint.as_ref())
            }
            Err(obstacle) => Line {
                reason: Some(format!("{obstacle:#}")),
                ..Line::new(seen.partition, Action::Refused, None)
            },
        };
        plan.lines.push(line);
    }
    plan.add_plans(survey, stored.get(PLAN_KEY), source, &needed)?;
    Ok(plan)
}

fn pending_plan(checkpoint: Option<&Checkpoint>) -> Option<PlanHash> {
    Some(checkpoint?.pending.as_ref()?.plan.clone())
}

/// What is done, and the checkpoint that stands then.
fn decide(
    survey: &Survey,
    seen: &PartitionSeen,
    old: Option<&Stored>,
    source: &Source<'_>,
) -> anyhow::Result<(Action, Option<Checkpoint>)> {
    let anywhere = survey.has_files();
    if let Some(Stored::Value(bytes)) = old
        && let Ok(checkpoint) = Checkpoint::decode(bytes)
    {
        match fits(&checkpoint, seen, &survey.log, anywhere) {
            Ok(()) => return Ok((Action::Kept, Some(checkpoint))),
            // An older copy. Every other fault is none that a newer one mends.
            Err(Refusal::Behind { .. }) => {}
            Err(refusal) => return Err(refusal.into()),
        }
    }
    let partition = seen.partition;
    let made = match source {
        Source::Sink {
            owner,
            assume_unwritten,
        } => rebuild(seen, &survey.log, owner, *assume_unwritten)?,
        Source::File(values) => match values.get(&partition_key(partition)) {
            None if seen.sink == Sink::Empty => None,
            None => bail!(
                "partition {partition}: it is not in the file, and files of it are in the sink. Make its checkpoint \
                 from them: `logpipe checkpoint rebuild`"
            ),
            Some(text) => {
                let failed = || format!("partition {partition}: what the file holds of it");
                let checkpoint = Checkpoint::decode(text.as_bytes()).with_context(failed)?;
                ensure!(
                    checkpoint.partition == partition,
                    "partition {partition}: what the file holds of it is the checkpoint of partition {}",
                    checkpoint.partition
                );
                fits(&checkpoint, seen, &survey.log, anywhere)?;
                Some(checkpoint)
            }
        },
    };
    let action = match &made {
        Some(_) => Action::Written,
        None => Action::Unwritten,
    };
    Ok((action, made))
}

impl Line {
    fn new(partition: u32, action: Action, checkpoint: Option<&Checkpoint>) -> Self {
        let pending = checkpoint.and_then(|checkpoint| checkpoint.pending.as_ref());
        Self {
            partition,
            action,
            next: checkpoint.map(|checkpoint| checkpoint.next),
            pending: pending.map(|batch| [batch.start, batch.end]),
            reason: None,
        }
    }
}

impl Plan {
    fn change(
        &mut self,
        partition: u32,
        action: Action,
        old: Option<&Stored>,
        checkpoint: Option<&Checkpoint>,
    ) {
        if action == Action::Kept {
            return;
        }
        self.changes.push(Change {
            key: partition_key(partition),
            old: old.cloned(),
            new: checkpoint.map(Checkpoint::encode),
        });
    }

    /// The plans, where they are gone or lack one that a pending batch needs.
    fn add_plans(
        &mut self,
        survey: &Survey,
        old: Option<&Stored>,
        source: &Source<'_>,
        needed: &[PlanHash],
    ) -> anyhow::Result<()> {
        let of_file = match source {
            Source::File(values) => values.get(PLAN_KEY).map(|text| text.clone().into_bytes()),
            Source::Sink { .. } => None,
        };
        let standing = match old {
            Some(Stored::Value(value)) => Some(value.as_slice()),
            _ => None,
        };
        let base = standing.or(of_file.as_deref());
        let completed = plans::complete(base, &survey.plans, needed)
            .context("the stored plans (key `plan`) cannot be used")?;
        let new = completed.or(of_file.filter(|_| standing.is_none()));
        // Where there are none anywhere, what holds them may still be gone.
        if new.is_some() || old.is_none() {
            self.changes.push(Change {
                key: PLAN_KEY.to_owned(),
                old: old.cloned(),
                new,
            });
        }
        Ok(())
    }

    /// Whether every partition can go on afterwards.
    pub(super) fn is_possible(&self) -> bool {
        self.lines.iter().all(|line| line.action != Action::Refused)
    }

    /// What is done, for people or scripts.
    pub(super) fn print(&self, format: Format, place: &str, done: bool) -> anyhow::Result<String> {
        if format == Format::Json {
            let report =
                serde_json::json!({"place": place, "done": done, "partitions": self.lines});
            return Ok(format!("{}\n", serde_json::to_string_pretty(&report)?));
        }
        let mut table = Table::new([">partition", "", ">next", "pending"]);
        for line in &self.lines {
            table.push(vec![
                line.partition.to_string(),
                line.action.text(done).to_owned(),
                line.next.map_or_else(String::new, count),
                line.pending.map_or_else(String::new, |[start, end]| {
                    format!("[{}, {})", count(start), count(end))
                }),
            ]);
        }
        let mut text = table.render(terminal_width());
        text.push('\n');
        for line in &self.lines {
            if let Some(reason) = &line.reason {
                text.push_str(reason);
                text.push_str("\n\n");
            }
        }
        let written = |action| {
            self.lines
                .iter()
                .filter(|line| line.action == action)
                .count()
        };
        let restored = things(written(Action::Written) as u64, "checkpoint");
        let end = if !self.is_possible() {
            let refused = things(written(Action::Refused) as u64, "partition");
            format!("nothing was written: {refused} cannot be restored")
        } else if done {
            format!(
                "{restored} of {place} restored; start the pipeline again, then audit it with `logpipe verify`"
            )
        } else {
            format!("{restored} of {place} can be restored; nothing was written")
        };
        text.push_str(&end);
        text.push('\n');
        Ok(text)
    }
}

#[cfg(test)]
mod tests;
