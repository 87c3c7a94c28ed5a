//! What the names alone prove: that the ranges of a partition follow each other without gap or overlap. Pure.

use std::collections::BTreeMap;
use std::ops::Range;

use logpipe_workers::checkpoint::Checkpoint;
use logpipe_workers::etl::name::ObjectName;
use logpipe_workers::log::{Identity, Offset};
use object_store::ObjectMeta;

use super::report::{Faults, Kind, Partition};

/// One file of ours.
pub(super) struct Entry {
    pub(super) object: ObjectMeta,
    pub(super) path: String,
    pub(super) name: ObjectName,
}

/// One partition of one topic: its files in order of their ranges.
pub(super) struct Chain {
    pub(super) topic: String,
    pub(super) topic_id8: String,
    pub(super) partition: u32,
    pub(super) files: Vec<Entry>,
}

/// The partitions, by topic, its id and number.
pub(super) fn chains(files: Vec<Entry>) -> Vec<Chain> {
    let mut chains: BTreeMap<(String, String, u32), Vec<Entry>> = BTreeMap::new();
    for file in files {
        let ObjectName {
            topic,
            topic_id8,
            partition,
            ..
        } = &file.name;
        let key = (topic.clone(), topic_id8.clone(), *partition);
        chains.entry(key).or_default().push(file);
    }
    let chain = |((topic, topic_id8, partition), mut files): (_, Vec<Entry>)| {
        files.sort_by(|a, b| order(&a.name).cmp(&order(&b.name)));
        Chain {
            topic,
            topic_id8,
            partition,
            files,
        }
    };
    chains.into_iter().map(chain).collect()
}

fn order(name: &ObjectName) -> (Offset, Offset, &str) {
    (name.start, name.end, &name.dir)
}

impl Chain {
    /// The chain's checkpoint among those of the place.
    pub(super) fn checkpoint<'a>(&self, all: &'a [Checkpoint]) -> Option<&'a Checkpoint> {
        all.iter().find(|checkpoint| {
            checkpoint.partition == self.partition && id8(checkpoint) == self.topic_id8
        })
    }

    /// How a person finds the partition.
    pub(super) fn label(&self) -> String {
        format!("{} partition {}", self.topic, self.partition)
    }

    /// Checks the ranges of the committed files, and fills in what they say.
    pub(super) fn check(
        &self,
        checkpoint: Option<&Checkpoint>,
        found: &mut Partition,
        faults: &mut Faults,
    ) {
        let next = checkpoint.map(|checkpoint| checkpoint.next);
        let committed = |file: &&Entry| next.is_none_or(|next| file.name.start < next);
        let mut at = checkpoint.map(|checkpoint| checkpoint.begin);
        let mut range: Option<Range<Offset>> = None;
        let mut dirs: BTreeMap<&str, &str> = BTreeMap::new();
        let mut plan = "";
        for file in self.files.iter().filter(committed) {
            let name = &file.name;
            if range.as_ref() == Some(&name.range()) {
                let other = dirs.insert(&name.dir, &file.path);
                if name.plan8 != plan || other.is_some() {
                    found.overlaps += 1;
                    faults.add(Kind::Overlap, 1, || {
                        format!("{}: another file covers the same range", file.path)
                    });
                }
                continue;
            }
            self.follow(file, at, found, faults);
            at = Some(at.unwrap_or(0).max(name.end));
            range = Some(name.range());
            found.ranges += 1;
            dirs = BTreeMap::from([(name.dir.as_str(), file.path.as_str())]);
            plan = &name.plan8;
        }
        let first = self.files.first().map_or(0, |file| file.name.start);
        found.start = checkpoint.map_or(first, |checkpoint| checkpoint.begin);
        found.end = at.unwrap_or(first);
        found.next = next;
        if let Some(next) = next.filter(|&next| next > found.end) {
            found.gaps += 1;
            let (label, end) = (self.label(), found.end);
            faults.add(Kind::Gap, 1, || {
                format!(
                    "{label}: the offsets [{end}, {next}) are committed, but no file holds them"
                )
            });
        }
    }

    /// Checks that a new range begins where the one before ended.
    fn follow(&self, file: &Entry, at: Option<Offset>, found: &mut Partition, faults: &mut Faults) {
        let start = file.name.start;
        let Some(at) = at.filter(|&at| at != start) else {
            return;
        };
        if start > at {
            found.gaps += 1;
            let label = self.label();
            faults.add(Kind::Gap, 1, || {
                format!(
                    "{label}: no file holds the offsets [{at}, {start}) before {}",
                    file.path
                )
            });
        } else {
            found.overlaps += 1;
            faults.add(Kind::Overlap, 1, || {
                format!("{}: it begins at {start}, but others reach {at}", file.path)
            });
        }
    }
}

/// The topic's id as it stands in names.
pub(super) fn id8(checkpoint: &Checkpoint) -> String {
    let identity = Identity {
        cluster: String::new(),
        topic: String::new(),
        topic_id: checkpoint.topic_id.clone(),
        partitions: 0,
    };
    identity.topic_id8()
}
