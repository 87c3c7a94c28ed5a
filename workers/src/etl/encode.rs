//! Rows to one Parquet file in memory. Pure: the same rows give the same bytes, so that a retry writes what
//! the first try wrote.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, Int32Builder, Int64Builder, RecordBatch, StringBuilder,
    TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use bytes::Bytes;
use logpipe_api::pipeline::{Compression, FieldType, Parquet};
use logpipe_api::plan::{Column, Plan, SEMANTICS};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression as Codec, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;
use sha2::{Digest, Sha256};

use super::column::ColumnBuilder;
use super::stage::StagedRecord;

/// The footer's key for the digest over offsets and lines; compared where a put met an existing object.
pub const DIGEST_KEY: &str = "logpipe.digest";
/// The footer's key for the plan's hash.
pub const PLAN_KEY: &str = "logpipe.plan";

/// Rows that are collected before they go to the Parquet encoder: enough for its loops, few enough for the
/// second-level cache. Fixed, because it decides where pages end.
const CHUNK_ROWS: usize = 8192;

/// What the files of a plan look like: schemas and writer properties.
#[derive(Debug)]
pub struct Layout {
    /// The plan.
    pub plan: Plan,
    table: FileLayout,
    dead: FileLayout,
    parser_version: String,
}

#[derive(Debug)]
struct FileLayout {
    schema: SchemaRef,
    properties: WriterProperties,
}

impl Layout {
    /// The layout of `plan`'s files.
    pub fn new(plan: Plan, parquet: &Parquet) -> Self {
        let table = table_schema(&plan.columns);
        let dead = dead_schema();
        let plan_hash = plan.hash();
        let properties = |schema: &Schema| {
            let mut builder = WriterProperties::builder()
                .set_created_by(concat!("logpipe version ", env!("CARGO_PKG_VERSION")).to_owned())
                .set_writer_version(WriterVersion::PARQUET_1_0)
                .set_compression(codec(parquet.compression))
                .set_statistics_enabled(EnabledStatistics::Page)
                .set_max_row_group_row_count(Some(parquet.row_group_rows.max(1) as usize))
                .set_key_value_metadata(Some(vec![KeyValue::new(
                    PLAN_KEY.to_owned(),
                    plan_hash.as_str().to_owned(),
                )]));
            for field in schema.fields() {
                let path = ColumnPath::from(field.name().as_str());
                match field.data_type() {
                    // Numbers that mostly count up: their differences take a few bits.
                    DataType::Timestamp(..) | DataType::Int64 | DataType::Int32
                        if field.name() != "_partition" =>
                    {
                        builder = builder
                            .set_column_dictionary_enabled(path.clone(), false)
                            .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
                    }
                    // Text that hardly repeats: a dictionary would be built and thrown away, and minimum
                    // and maximum prune nothing.
                    _ if matches!(
                        field.name().as_str(),
                        "message" | "raw" | "detail" | "_extra"
                    ) =>
                    {
                        builder = builder
                            .set_column_dictionary_enabled(path.clone(), false)
                            .set_column_statistics_enabled(path.clone(), EnabledStatistics::None)
                            .set_column_encoding(path, Encoding::DELTA_LENGTH_BYTE_ARRAY);
                    }
                    _ => {}
                }
            }
            builder.build()
        };
        let parser_version = format!("{:?}/{SEMANTICS}", plan.parser.kind);
        Self {
            table: FileLayout {
                properties: properties(&table),
                schema: Arc::new(table),
            },
            dead: FileLayout {
                properties: properties(&dead),
                schema: Arc::new(dead),
            },
            parser_version,
            plan,
        }
    }

    /// The schema of the table's files.
    pub fn table_schema(&self) -> &Schema {
        &self.table.schema
    }
}

fn codec(compression: Compression) -> Codec {
    match compression {
        Compression::Snappy => Codec::SNAPPY,
        Compression::Zstd => Codec::ZSTD(ZstdLevel::default()),
        Compression::Lz4Raw => Codec::LZ4_RAW,
        Compression::None => Codec::UNCOMPRESSED,
    }
}

fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

fn table_schema(columns: &[Column]) -> Schema {
    let mut fields: Vec<Field> = columns
        .iter()
        .map(|column| {
            let kind = match column.kind {
                FieldType::String => DataType::Utf8,
                FieldType::Int64 => DataType::Int64,
                FieldType::Float64 => DataType::Float64,
                FieldType::Boolean => DataType::Boolean,
                FieldType::Timestamp => timestamp(),
            };
            Field::new(&column.name, kind, !column.required)
        })
        .collect();
    fields.extend(metadata_fields());
    Schema::new(fields)
}

fn dead_schema() -> Schema {
    let mut fields = vec![
        Field::new("raw", DataType::Binary, false),
        Field::new("error", DataType::Utf8, false),
        Field::new("detail", DataType::Utf8, false),
        Field::new("parser", DataType::Utf8, false),
    ];
    fields.extend(metadata_fields());
    Schema::new(fields)
}

/// Where each row comes from. What only our own producer knows is null for topics that others write.
fn metadata_fields() -> [Field; 8] {
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

/// One Parquet file under construction: of the table, or of the quarantine.
pub struct FileEncoder {
    content: Content,
    metadata: Metadata,
    /// Rows in the builders.
    chunk: usize,
    rows: u64,
    digest: Sha256,
    writer: ArrowWriter<Vec<u8>>,
    schema: SchemaRef,
}

enum Content {
    Table(Vec<ColumnBuilder>),
    Dead(Box<DeadColumns>),
}

struct DeadColumns {
    raw: BinaryBuilder,
    error: StringBuilder,
    detail: StringBuilder,
    parser: StringBuilder,
    parser_version: String,
}

/// A finished file.
#[derive(Clone, Debug)]
pub struct EncodedFile {
    /// The whole Parquet file.
    pub bytes: Bytes,
    /// How many rows it has.
    pub rows: u64,
    /// 32 hex digits over the offset and line of each row.
    pub digest: String,
}

impl FileEncoder {
    /// A file of the table.
    pub fn table(layout: &Layout) -> Result<Self, ParquetError> {
        let columns = layout
            .plan
            .columns
            .iter()
            .map(|c| ColumnBuilder::new(c.kind))
            .collect();
        Self::new(&layout.table, Content::Table(columns))
    }

    /// A file of the quarantine.
    pub fn dead(layout: &Layout) -> Result<Self, ParquetError> {
        let columns = DeadColumns {
            raw: BinaryBuilder::new(),
            error: StringBuilder::new(),
            detail: StringBuilder::new(),
            parser: StringBuilder::new(),
            parser_version: layout.parser_version.clone(),
        };
        Self::new(&layout.dead, Content::Dead(Box::new(columns)))
    }

    fn new(layout: &FileLayout, content: Content) -> Result<Self, ParquetError> {
        let options = ArrowWriterOptions::new()
            .with_properties(layout.properties.clone())
            // Parquet's own types say everything; the copy of Arrow's schema would only cost bytes.
            .with_skip_arrow_metadata(true);
        Ok(Self {
            content,
            metadata: Metadata::default(),
            chunk: 0,
            rows: 0,
            digest: Sha256::new(),
            writer: ArrowWriter::try_new_with_options(Vec::new(), layout.schema.clone(), options)?,
            schema: layout.schema.clone(),
        })
    }

    /// Appends the lines `lines` (indices into the record, growing) of a staged record.
    pub fn append(
        &mut self,
        record: &StagedRecord<'_>,
        mut lines: &[u32],
    ) -> Result<(), ParquetError> {
        self.update_digest(record.offset(), lines);
        while !lines.is_empty() {
            let (now, later) = lines.split_at(lines.len().min(CHUNK_ROWS - self.chunk));
            self.content.append(record, now);
            self.metadata.append(record, now);
            self.chunk += now.len();
            self.rows += now.len() as u64;
            if self.chunk == CHUNK_ROWS {
                self.flush_chunk()?;
            }
            lines = later;
        }
        Ok(())
    }

    /// The digest covers runs of lines, so that it costs nothing for a whole block.
    fn update_digest(&mut self, offset: u64, lines: &[u32]) {
        for run in lines.chunk_by(|a, b| a + 1 == *b) {
            self.digest.update(offset.to_be_bytes());
            self.digest.update(run[0].to_be_bytes());
            self.digest.update((run[run.len() - 1] + 1).to_be_bytes());
        }
    }

    fn flush_chunk(&mut self) -> Result<(), ParquetError> {
        let mut arrays = self.content.finish();
        arrays.extend(self.metadata.finish());
        self.chunk = 0;
        self.writer
            .write(&RecordBatch::try_new(self.schema.clone(), arrays)?)
    }

    /// How many rows were appended.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// About how large the file would be if it were finished now.
    pub fn size(&self) -> usize {
        self.writer.bytes_written() + self.writer.in_progress_size()
    }

    /// Bytes of memory it holds now, without the rows of the last unfinished chunk.
    pub fn memory(&self) -> usize {
        self.writer.inner().capacity() + self.writer.memory_size()
    }

    /// Finishes the file.
    pub fn finish(mut self) -> Result<EncodedFile, ParquetError> {
        if self.chunk > 0 {
            self.flush_chunk()?;
        }
        let digest = hex32(self.digest);
        self.writer
            .append_key_value_metadata(KeyValue::new(DIGEST_KEY.to_owned(), digest.clone()));
        let bytes = Bytes::from(self.writer.into_inner()?);
        Ok(EncodedFile {
            bytes,
            rows: self.rows,
            digest,
        })
    }
}

/// The first 16 bytes of a hash as 32 hex digits: collisions by accident are out of reach, and 64 of them
/// fit a checkpoint.
pub(crate) fn hex32(hash: Sha256) -> String {
    use std::fmt::Write;
    hash.finalize()[..16]
        .iter()
        .fold(String::with_capacity(32), |mut hex, byte| {
            write!(hex, "{byte:02x}").expect("writing to a string cannot fail");
            hex
        })
}

impl Content {
    fn append(&mut self, record: &StagedRecord<'_>, lines: &[u32]) {
        match self {
            Self::Table(columns) => {
                for (index, column) in columns.iter_mut().enumerate() {
                    column.append(record, index, lines);
                }
            }
            Self::Dead(columns) => {
                for &line in lines {
                    let reject = record.reject(line);
                    columns.raw.append_value(record.raw(line));
                    columns.error.append_value(reject.reason.as_str());
                    columns.detail.append_value(&reject.detail);
                    columns.parser.append_value(&columns.parser_version);
                }
            }
        }
    }

    fn finish(&mut self) -> Vec<ArrayRef> {
        match self {
            Self::Table(columns) => columns.iter_mut().map(ColumnBuilder::finish).collect(),
            Self::Dead(columns) => vec![
                Arc::new(columns.raw.finish()),
                Arc::new(columns.error.finish()),
                Arc::new(columns.detail.finish()),
                Arc::new(columns.parser.finish()),
            ],
        }
    }
}

/// Builders of the metadata columns.
struct Metadata {
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
    fn append(&mut self, record: &StagedRecord<'_>, lines: &[u32]) {
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

    fn finish(&mut self) -> [ArrayRef; 8] {
        [
            Arc::new(self.partition.finish()),
            Arc::new(self.offset.finish()),
            Arc::new(self.line.finish()),
            Arc::new(self.producer.finish()),
            Arc::new(self.sequence.finish()),
            Arc::new(self.file.finish()),
            Arc::new(self.file_offset.finish()),
            Arc::new(self.ingested_at.finish()),
        ]
    }
}
