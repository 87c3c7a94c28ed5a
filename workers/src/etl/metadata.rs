//! The columns that every row has: where it comes from. Pure.

use std::sync::Arc;

use arrow::array::{
    ArrayBuilder, ArrayRef, Int32Builder, Int64Builder, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, Field};

use super::column::{finish_text, text_memory};
use super::encode::timestamp;
use super::stage::StagedRecord;

/// Where each row comes from. What only our own producer knows is null for topics that others write.
pub(super) fn fields() -> [Field; 8] {
    [
        Field::new("_partition", DataType::Int32, false),
        Field::new("_offset", DataType::Int64, false),
        Field::new("_line", DataType::Int32, false),
        Field::new("_producer", DataType::Utf8, true),
        Field::new("_seq", DataType::Int64, true),
        Field::new("_file", DataType::Utf8, true),
        Field::new("_file_offset", DataType::Int64, true),
        Field::new("_ingested_at", timestamp(), false),
    ]
}

/// Builders of the metadata columns.
pub(super) struct Metadata {
    partition: Int32Builder,
    offset: Int64Builder,
    line: Int32Builder,
    producer: StringBuilder,
    sequence: Int64Builder,
    file: StringBuilder,
    file_offset: Int64Builder,
    ingested_at: TimestampMicrosecondBuilder,
}

impl Default for Metadata {
    fn default() -> Self {
        Self {
            partition: Int32Builder::new(),
            offset: Int64Builder::new(),
            line: Int32Builder::new(),
            producer: StringBuilder::new(),
            sequence: Int64Builder::new(),
            file: StringBuilder::new(),
            file_offset: Int64Builder::new(),
            ingested_at: TimestampMicrosecondBuilder::new().with_timezone("UTC"),
        }
    }
}

impl Metadata {
    pub(super) fn append(&mut self, record: &StagedRecord<'_>, lines: &[u32]) {
        let count = lines.len();
        self.partition
            .append_value_n(record.partition() as i32, count);
        self.offset.append_value_n(record.offset() as i64, count);
        self.ingested_at.append_value_n(record.read_at(), count);
        for &line in lines {
            self.line.append_value(line as i32);
        }
        let Some(key) = record.key() else {
            self.producer.append_nulls(count);
            self.sequence.append_nulls(count);
            self.file.append_nulls(count);
            self.file_offset.append_nulls(count);
            return;
        };
        for &line in lines {
            self.producer.append_value(key.producer);
            self.file.append_value(key.path);
            self.sequence
                .append_value((key.first + u64::from(line)) as i64);
            self.file_offset
                .append_value((key.file_offset + record.start_of(line)) as i64);
        }
    }

    pub(super) fn finish(&mut self) -> [ArrayRef; 8] {
        [
            Arc::new(self.partition.finish()),
            Arc::new(self.offset.finish()),
            Arc::new(self.line.finish()),
            finish_text(&mut self.producer),
            Arc::new(self.sequence.finish()),
            finish_text(&mut self.file),
            Arc::new(self.file_offset.finish()),
            Arc::new(self.ingested_at.finish()),
        ]
    }

    /// Bytes of memory in the builders.
    pub(super) fn memory(&self) -> usize {
        self.offset.len() * 40 + text_memory(&self.producer) + text_memory(&self.file)
    }
}
