//! What the numbers of producers and generators amount to, once every row is read. Pure.

use std::collections::BTreeMap;

use logpipe_workers::checkpoint::Checkpoint;

use super::super::names::id8;
use super::super::numbers::Bounds;
use super::super::report::{Kind, Lane};
use super::{Audit, Options};
use crate::table::{count, things};

impl Audit<'_> {
    /// Sequences have no hole from the lowest on, and reach to where the checkpoint stands.
    pub(super) fn producer_lanes(&mut self, checkpoints: &[Checkpoint]) -> Vec<Lane> {
        let mut expected = BTreeMap::new();
        for checkpoint in checkpoints {
            for (producer, progress) in checkpoint.producers.iter().filter(|(_, p)| p.next > 0) {
                // Above 0, a producer may show up in the middle of its sequence.
                let from = (checkpoint.begin == 0).then_some(0);
                let key = (id8(checkpoint), producer.clone());
                self.producers.entry(key.clone()).or_default();
                expected.insert(key, (from, progress.next));
            }
        }
        self.tell_two_logs();
        let mut lanes = Vec::new();
        for (key, numbers) in std::mem::take(&mut self.producers) {
            let expected = expected.get(&key);
            let bounds = Bounds {
                from: expected.and_then(|(from, _)| *from),
                until: expected.map(|(_, until)| *until),
            };
            let lane = numbers.lane(&key.1, bounds);
            self.tell_lane("producer", &lane, true);
            lanes.push(lane);
        }
        lanes
    }

    /// A log that was made anew is another one, and its producer numbers its lines from 0 again, maybe the same
    /// lines. Within one table nobody can tell them apart.
    fn tell_two_logs(&mut self) {
        let mut logs: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (topic_id8, producer) in self.producers.keys() {
            logs.entry(producer).or_default().push(topic_id8);
        }
        for (producer, logs) in logs {
            if logs.len() > 1 {
                self.faults.add(Kind::TwoLogs, 1, || {
                    let logs = logs.join(" and ");
                    format!("producer {producer} wrote through more than one log ({logs}): lines may be there twice")
                });
            }
        }
    }

    /// Generated lines are numbered from 0.
    pub(super) fn generator_lanes(&mut self, options: Options) -> Vec<Lane> {
        let mut lanes = Vec::new();
        for (producer, numbers) in std::mem::take(&mut self.generators) {
            let bounds = Bounds {
                from: Some(0),
                until: None,
            };
            let bad = numbers.bad;
            let mut lane = numbers.lane(&producer, bounds);
            self.tell_lane("generator", &lane, !options.running);
            lane.bad_checksums = Some(bad);
            lanes.push(lane);
        }
        lanes
    }

    fn tell_lane(&mut self, what: &str, lane: &Lane, missing_is_lost: bool) {
        let name = &lane.name;
        if lane.missing > 0 && missing_is_lost {
            let example = lane.example.map_or(String::new(), |(start, end)| {
                format!(", the first from {} to {}", count(start), count(end - 1))
            });
            let lines = things(lane.missing, "line");
            self.faults.add(Kind::MissingLines, lane.missing, || {
                format!("{what} {name}: {lines} missing{example}")
            });
        }
        if lane.twice > 0 {
            self.faults.add(Kind::Twice, lane.twice, || {
                format!("{what} {name}: {} there twice", things(lane.twice, "line"))
            });
        }
        if lane.beyond > 0 {
            let lines = things(lane.beyond, "line");
            self.faults.add(Kind::Totals, 1, || {
                format!("{what} {name}: {lines} beyond what the checkpoint says is committed")
            });
        }
    }
}
