//! What was committed, read from the checkpoints. Pure.
//!
//! A checkpoint's counts are the only part of it that the operator reads, and they are the workers' own: a value
//! that cannot be read counts as nothing, because the workers say so themselves.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use logpipe_api::pipeline::Progress;
use logpipe_api::settings::partition_of_key;
use serde::Deserialize;

use crate::desired::names::{COMPONENT, Component};
use crate::observe::Live;

#[derive(Deserialize)]
struct Checkpoint {
    totals: Totals,
    #[serde(default)]
    next: u64,
    #[serde(default)]
    seen: Option<Seen>,
}

/// What the last commit saw.
#[derive(Deserialize)]
struct Seen {
    at: i64,
    end: Option<u64>,
}

/// Lag and time of the partitions that report them.
#[derive(Default)]
struct Last {
    lag: Option<u64>,
    at: Option<i64>,
}

impl Last {
    fn add(&mut self, checkpoint: &Checkpoint) {
        let Some(seen) = &checkpoint.seen else {
            return;
        };
        self.at = self.at.max(Some(seen.at));
        if let Some(end) = seen.end {
            let lag = end.saturating_sub(checkpoint.next);
            self.lag = Some(self.lag.unwrap_or(0).saturating_add(lag));
        }
    }
}

#[derive(Default, Deserialize)]
struct Totals {
    rows: u64,
    dead: u64,
    files: u64,
}

/// The sum of all partitions; nothing where no partition has begun.
pub fn of(live: &Live) -> Option<Progress> {
    let mut sum: Option<Totals> = None;
    let mut last = Last::default();
    for object in &live.objects {
        if object.label(COMPONENT) != Some(Component::Checkpoint.as_str()) {
            continue;
        }
        let Some(map) = object.typed::<ConfigMap>() else {
            continue;
        };
        for (key, text) in map.data.unwrap_or_default() {
            if partition_of_key(&key).is_none() {
                continue;
            }
            let Ok(checkpoint) = serde_json::from_str::<Checkpoint>(&text) else {
                continue;
            };
            last.add(&checkpoint);
            let totals = checkpoint.totals;
            let all = sum.get_or_insert_default();
            all.rows += totals.rows;
            all.dead += totals.dead;
            all.files += totals.files;
        }
    }
    let sum = sum?;
    Some(Progress {
        committed_rows: sum.rows.to_string(),
        files_written: sum.files.to_string(),
        dead_letter_records: sum.dead.to_string(),
        lag_records: last.lag.map(|lag| lag.to_string()),
        last_commit_time: last.at.and_then(time),
    })
}

/// In whole seconds, as the API has it.
fn time(millis: i64) -> Option<String> {
    let second = Timestamp::from_second(millis.div_euclid(1000)).ok()?;
    Some(second.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::object::{Kind, Object};

    #[test]
    fn partitions_are_summed_and_everything_else_is_left_alone() {
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "c", "labels": {COMPONENT: "checkpoint"}},
            "data": {
                "about": "x",
                "p00000": r#"{"v":1,"totals":{"rows":5,"dead":1,"files":2},"next":9}"#,
                "p00001": r#"{"v":1,"totals":{"rows":7,"dead":0,"files":1}}"#,
                "p00002": "damaged",
                "plan": r#"{"v":1,"plans":[]}"#,
            },
        });
        let mut live = Live::default();
        assert_eq!(of(&live), None);
        live.objects.push(Object::new(Kind::ConfigMap, &map));
        let progress = of(&live).unwrap();
        assert_eq!(progress.committed_rows, "12");
        assert_eq!(progress.files_written, "3");
        assert_eq!(progress.dead_letter_records, "1");
        assert_eq!(
            (progress.lag_records, progress.last_commit_time),
            (None, None)
        );
    }

    #[test]
    fn lag_is_what_each_partition_lacked_at_its_last_commit() {
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "c", "labels": {COMPONENT: "checkpoint"}},
            "data": {
                "p00000": r#"{"totals":{"rows":5,"dead":0,"files":1},"next":9,"seen":{"at":1790000001999,"end":12}}"#,
                "p00001": r#"{"totals":{"rows":5,"dead":0,"files":1},"next":7,"seen":{"at":1790000000000,"end":7}}"#,
                "p00002": r#"{"totals":{"rows":5,"dead":0,"files":1},"next":7,"seen":{"at":1780000000000}}"#,
            },
        });
        let mut live = Live::default();
        live.objects.push(Object::new(Kind::ConfigMap, &map));
        let progress = of(&live).unwrap();
        assert_eq!(progress.lag_records.as_deref(), Some("3"));
        let time = progress.last_commit_time;
        assert_eq!(time.as_deref(), Some("2026-09-21T14:13:21Z"));
    }
}
