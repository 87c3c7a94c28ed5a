//! Rows to one Parquet file in memory. Pure: the same rows give the same bytes, so that a retry writes what
//! the first try wrote.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryBuilder, RecordBatch, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use logpipe_api::hex;
use logpipe_api::pipeline::{Compression, FieldType, Parquet};
use logpipe_api::plan::{Column, Plan, SEMANTICS};
use object_store::{PutPayload, PutPayloadMut};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression as Codec, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;
use sha2::{Digest, Sha256};

use super::column::{ColumnBuilder, finish_text, text_memory};
use super::metadata::{self, Metadata};
use super::plans::Frozen;
use super::stage::StagedRecord;

/// The footer's key for the digest over offsets and lines; compared where a put met an existing object.
pub const DIGEST_KEY: &str = "logpipe.digest";
/// The footer's key for the plan's hash.
pub const PLAN_KEY: &str = "logpipe.plan";
/// The footer's key for the plan itself, as it is stored beside the checkpoints.
pub const FROZEN_KEY: &str = "logpipe.plan.value";
/// The footer's key for the checkpoint that announced the file's batch.
pub const BATCH_KEY: &str = "logpipe.batch";

/// Rows that are collected before they go to the Parquet encoder: enough for its loops, few enough for the
/// second-level cache. Fixed, because it decides where pages end.
pub(super) const CHUNK_ROWS: usize = 8192;

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
    /// The layout of the files of a plan.
    pub fn new(frozen: &Frozen, parquet: &Parquet) -> Self {
        let plan = frozen.plan.clone();
        let stored = serde_json::to_string(frozen).expect("a plan holds nothing that JSON cannot");
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
                .set_key_value_metadata(Some(vec![
                    KeyValue::new(PLAN_KEY.to_owned(), plan_hash.as_str().to_owned()),
                    KeyValue::new(FROZEN_KEY.to_owned(), stored.clone()),
                ]));
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
        let parser_version = format!("{}/{SEMANTICS}", plan.parser.kind.as_str());
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

/// The type of every time: INT64 microseconds in Parquet, which Athena and Spark read.
pub(super) fn timestamp() -> DataType {
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
    fields.extend(metadata::fields());
    Schema::new(fields)
}

fn dead_schema() -> Schema {
    let mut fields = vec![
        Field::new("raw", DataType::Binary, false),
        Field::new("error", DataType::Utf8, false),
        Field::new("detail", DataType::Utf8, false),
        Field::new("parser", DataType::Utf8, false),
    ];
    fields.extend(metadata::fields());
    Schema::new(fields)
}

/// One Parquet file under construction: of the table, or of the quarantine.
pub struct FileEncoder {
    content: Content,
    metadata: Metadata,
    /// Rows in the builders.
    chunk: usize,
    rows: u64,
    digest: Sha256,
    writer: ArrowWriter<Blocks>,
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
    pub payload: PutPayload,
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
            writer: ArrowWriter::try_new_with_options(
                Blocks::new(),
                layout.schema.clone(),
                options,
            )?,
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

    /// Bytes of memory it holds now.
    pub fn memory(&self) -> usize {
        self.writer.bytes_written()
            + self.writer.memory_size()
            + self.content.memory()
            + self.metadata.memory()
    }

    /// 32 hex digits over the offset and line of each row so far.
    pub fn digest(&self) -> String {
        hex32(self.digest.clone())
    }

    /// Finishes the file. `imprint` is the checkpoint that announces its batch.
    pub fn finish(mut self, imprint: &str) -> Result<EncodedFile, ParquetError> {
        if self.chunk > 0 {
            self.flush_chunk()?;
        }
        let digest = self.digest();
        for (key, value) in [(DIGEST_KEY, digest.as_str()), (BATCH_KEY, imprint)] {
            let pair = KeyValue::new(key.to_owned(), value.to_owned());
            self.writer.append_key_value_metadata(pair);
        }
        let payload = self.writer.into_inner()?.0.freeze();
        Ok(EncodedFile {
            payload,
            rows: self.rows,
            digest,
        })
    }
}

/// The file as a list of blocks: it grows without being copied, and is put without being joined.
struct Blocks(PutPayloadMut);

impl Blocks {
    /// Bytes of one block: large files in few writes, and little waste where 64 small files are open.
    const SIZE: usize = 256 * 1024;

    fn new() -> Self {
        Self(PutPayloadMut::new().with_block_size(Self::SIZE))
    }
}

impl std::io::Write for Blocks {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The first 16 bytes of a hash as 32 hex digits: collisions by accident are out of reach, and 64 of them
/// fit a checkpoint.
pub(crate) fn hex32(hash: Sha256) -> String {
    hex(&hash.finalize()[..16])
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
                finish_text(&mut columns.error),
                finish_text(&mut columns.detail),
                finish_text(&mut columns.parser),
            ],
        }
    }

    /// Bytes of memory in the builders.
    fn memory(&self) -> usize {
        match self {
            Self::Table(columns) => columns.iter().map(ColumnBuilder::memory).sum(),
            Self::Dead(columns) => columns.raw.values_slice().len() + text_memory(&columns.detail),
        }
    }
}
