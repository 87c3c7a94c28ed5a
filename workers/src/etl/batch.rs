//! A batch under construction: a contiguous range of one partition's records, in one open file for each
//! folder. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use parquet::errors::ParquetError;
use sha2::{Digest, Sha256};

use super::encode::{EncodedFile, FileEncoder, Layout, hex32};
use super::name::ObjectName;
use super::receive::Producers;
use super::stage::{Folder, StagedRecord};
use crate::checkpoint::{Anchor, Batch, BatchFile, Checkpoint, MAX_FILES};
use crate::log::{Identity, Offset, Record};

/// Open files of one range.
pub struct BatchBuilder {
    layout: Arc<Layout>,
    start: Offset,
    end: Offset,
    files: BTreeMap<Folder, FileEncoder>,
    /// A copy of the last record, for the anchor: hashed once a batch instead of once a record.
    last: LastRecord,
    rows: u64,
}

#[derive(Default)]
struct LastRecord {
    offset: Offset,
    key: Vec<u8>,
    value: Vec<u8>,
}

/// A batch whose files are finished: its range, names and digests can be announced.
#[derive(Clone, Debug)]
pub struct EncodedBatch {
    /// What is announced.
    pub batch: Batch,
    /// The objects, in the order of `batch.files`.
    pub objects: Vec<Object>,
}

/// One object to put.
#[derive(Clone, Debug)]
pub struct Object {
    /// Its path below the sink's prefix.
    pub path: String,
    /// Its content.
    pub file: EncodedFile,
}

impl EncodedBatch {
    /// Bytes of all objects.
    pub fn bytes(&self) -> usize {
        self.objects
            .iter()
            .map(|object| object.file.payload.content_length())
            .sum()
    }
}

impl BatchBuilder {
    /// A batch of `range` so far, in which there is no row.
    pub fn new(layout: Arc<Layout>, range: std::ops::Range<Offset>) -> Self {
        Self {
            layout,
            start: range.start,
            end: range.end,
            files: BTreeMap::new(),
            last: LastRecord::default(),
            rows: 0,
        }
    }

    /// The range so far: `[start, end)`.
    pub fn range(&self) -> std::ops::Range<Offset> {
        self.start..self.end
    }

    /// Moves the end to `until`: there is no row before it that it does not have.
    pub fn skip_to(&mut self, until: Offset) {
        self.end = until;
    }

    /// How many rows it has. A range without rows is never announced; it joins the next batch.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Bytes of the largest file if it were finished now.
    pub fn largest_file(&self) -> usize {
        self.files
            .values()
            .map(FileEncoder::size)
            .max()
            .unwrap_or(0)
    }

    /// Bytes of memory the open files hold.
    pub fn memory(&self) -> usize {
        self.files.values().map(FileEncoder::memory).sum()
    }

    /// Whether the record's folders fit beside those that are open. An empty batch takes any record.
    pub fn fits(&self, record: &StagedRecord<'_>) -> bool {
        let new = record
            .groups
            .iter()
            .filter(|g| !self.files.contains_key(&g.folder))
            .count();
        self.files.is_empty() || self.files.len() + new <= MAX_FILES
    }

    /// Appends the rows of a record.
    pub fn append(&mut self, record: &StagedRecord<'_>) -> Result<(), ParquetError> {
        for group in record.groups {
            let file = match self.files.entry(group.folder) {
                std::collections::btree_map::Entry::Occupied(open) => open.into_mut(),
                std::collections::btree_map::Entry::Vacant(place) if group.folder.dead => {
                    place.insert(FileEncoder::dead(&self.layout)?)
                }
                std::collections::btree_map::Entry::Vacant(place) => {
                    place.insert(FileEncoder::table(&self.layout)?)
                }
            };
            file.append(record, &group.lines)?;
            self.rows += group.lines.len() as u64;
        }
        Ok(())
    }

    /// Moves the end behind `record`, whether it had rows for us or not.
    pub fn extend(&mut self, record: &Record<'_>) {
        self.end = record.offset + 1;
        self.last.offset = record.offset;
        self.last.key.clear();
        self.last.key.extend_from_slice(record.key);
        self.last.value.clear();
        self.last.value.extend_from_slice(record.value);
    }

    /// Finishes the files. `before` is the checkpoint that the batch follows; `producers` is how far each producer
    /// key has come at the end of the range.
    pub fn finish(
        self,
        log: &Identity,
        before: &Checkpoint,
        producers: Producers,
    ) -> Result<EncodedBatch, ParquetError> {
        let files = self.files.iter().map(|(folder, encoder)| BatchFile {
            dir: folder.path(&self.layout),
            rows: encoder.rows(),
            digest: encoder.digest(),
            dead: folder.dead,
        });
        let batch = Batch {
            start: self.start,
            end: self.end,
            plan: self.layout.plan.hash(),
            anchor: Anchor {
                offset: self.last.offset,
                sha: anchor_sha(&self.last.key, &self.last.value),
            },
            producers_after: producers,
            files: files.collect(),
        };
        let imprint = before.imprint(&batch);
        let mut objects = Vec::with_capacity(self.files.len());
        for (announced, encoder) in batch.files.iter().zip(self.files.into_values()) {
            let name = ObjectName {
                dir: announced.dir.clone(),
                topic: log.topic.clone(),
                topic_id8: log.topic_id8(),
                partition: before.partition,
                start: batch.start,
                end: batch.end,
                plan8: batch.plan.short().to_owned(),
            };
            objects.push(Object {
                path: name.to_string(),
                file: encoder.finish(&imprint)?,
            });
        }
        Ok(EncodedBatch { batch, objects })
    }
}

/// 32 hex digits of the SHA-256 of a record's key and value, for [`Anchor::sha`].
pub fn anchor_sha(key: &[u8], value: &[u8]) -> String {
    let mut hash = Sha256::new();
    hash.update((key.len() as u64).to_be_bytes());
    hash.update(key);
    hash.update(value);
    hex32(hash)
}
