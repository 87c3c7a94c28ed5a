//! The rows of one file, a batch at a time, with only the columns that the audit needs. Touches the disk or
//! the network through [`Place`].

use anyhow::{Context, bail, ensure};
use arrow::array::{Array, AsArray, BinaryArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Int32Type, Int64Type, Schema};
use object_store::ObjectMeta;
use parquet::arrow::ProjectionMask;

use crate::place::Place;

const BATCH_ROWS: usize = 8192;

/// Columns in which a generated line's tail may stand: the message, or what an access log has instead.
const TEXTS: [&str; 10] = [
    "message", "msg", "request", "path", "url", "uri", "target", "query", "content", "_extra",
];

/// What the audit looks at in a row.
pub(super) struct Row<'a> {
    pub(super) partition: u32,
    pub(super) offset: u64,
    pub(super) line: u32,
    /// The producer key and the sequence, of lines that our producer sent.
    pub(super) sequence: Option<(&'a str, u64)>,
    /// The texts that may carry a tail; of a quarantined line, its bytes.
    pub(super) texts: &'a [&'a [u8]],
}

/// What kind of file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Rows of the table.
    Table,
    /// Quarantined lines.
    Quarantine,
}

impl Kind {
    /// Only the quarantine has these four columns, and the bytes of the line as they were.
    pub(crate) fn of(schema: &Schema) -> Self {
        let raw = schema
            .field_with_name("raw")
            .is_ok_and(|raw| raw.data_type() == &DataType::Binary);
        let all = ["error", "detail", "parser"]
            .iter()
            .all(|name| schema.index_of(name).is_ok());
        if raw && all {
            Self::Quarantine
        } else {
            Self::Table
        }
    }
}

/// What one file holds.
pub(super) struct FileRows {
    pub(super) kind: Kind,
    pub(super) rows: u64,
}

/// Hands each row of a file to `visit`, in the file's order.
pub(super) fn read(
    place: &Place,
    object: &ObjectMeta,
    visit: &mut dyn FnMut(&Row<'_>),
) -> anyhow::Result<FileRows> {
    let builder = place.open_parquet(object)?;
    let schema = builder.schema().clone();
    let kind = Kind::of(&schema);
    let footer = builder.metadata().clone();
    let columns = wanted(&schema, kind);
    let mask = ProjectionMask::roots(builder.parquet_schema(), columns);
    let reader = builder
        .with_projection(mask)
        .with_batch_size(BATCH_ROWS)
        .build()?;
    let mut rows = 0;
    for batch in reader {
        let batch = batch?;
        rows += batch.num_rows() as u64;
        visit_batch(&batch, visit)?;
    }
    let promised = footer.file_metadata().num_rows();
    let groups: i64 = footer
        .row_groups()
        .iter()
        .map(parquet::file::metadata::RowGroupMetaData::num_rows)
        .sum();
    ensure!(
        promised == groups && promised == rows as i64,
        "its footer says {promised} rows, its row groups {groups}, and it holds {rows}"
    );
    Ok(FileRows { kind, rows })
}

fn wanted(schema: &Schema, kind: Kind) -> Vec<usize> {
    const METADATA: [&str; 5] = ["_partition", "_offset", "_line", "_producer", "_seq"];
    let texts: &[&str] = if kind == Kind::Quarantine {
        &["raw"]
    } else {
        &TEXTS
    };
    let is_text = |index: &usize| {
        matches!(
            schema.field(*index).data_type(),
            DataType::Utf8 | DataType::Binary
        )
    };
    let metadata = METADATA
        .iter()
        .filter_map(|name| schema.index_of(name).ok());
    let texts = texts
        .iter()
        .filter_map(|name| schema.index_of(name).ok())
        .filter(is_text);
    metadata.chain(texts).collect()
}

/// A column of text or bytes.
enum Text<'a> {
    Utf8(&'a StringArray),
    Binary(&'a BinaryArray),
}

impl<'a> Text<'a> {
    fn get(&self, row: usize) -> Option<&'a [u8]> {
        match self {
            Self::Utf8(array) => array.is_valid(row).then(|| array.value(row).as_bytes()),
            Self::Binary(array) => array.is_valid(row).then(|| array.value(row)),
        }
    }
}

fn visit_batch(batch: &RecordBatch, visit: &mut dyn FnMut(&Row<'_>)) -> anyhow::Result<()> {
    let partitions = integers32(batch, "_partition")?;
    let offsets = integers64(batch, "_offset")?;
    let lines = integers32(batch, "_line")?;
    let sequences = integers64(batch, "_seq")?;
    let producers = column(batch, "_producer")?
        .as_string_opt::<i32>()
        .context("its column _producer is not text")?;
    let texts = texts(batch);
    let mut found = Vec::with_capacity(texts.len());
    for row in 0..batch.num_rows() {
        if partitions.is_null(row) || offsets.is_null(row) || lines.is_null(row) {
            bail!("a row has no _partition, _offset or _line");
        }
        found.clear();
        found.extend(texts.iter().filter_map(|text| text.get(row)));
        // No sequence of ours is negative.
        let both = producers.is_valid(row) && sequences.is_valid(row) && sequences.value(row) >= 0;
        let sequence = || (producers.value(row), sequences.value(row).cast_unsigned());
        visit(&Row {
            partition: partitions.value(row).cast_unsigned(),
            offset: offsets.value(row).cast_unsigned(),
            line: lines.value(row).cast_unsigned(),
            sequence: both.then(sequence),
            texts: &found,
        });
    }
    Ok(())
}

fn texts(batch: &RecordBatch) -> Vec<Text<'_>> {
    let schema = batch.schema_ref();
    let named = batch.columns().iter().zip(schema.fields());
    named
        .filter(|(_, field)| field.name() != "_producer")
        .filter_map(|(array, _)| {
            let utf8 = array.as_string_opt::<i32>().map(Text::Utf8);
            utf8.or_else(|| array.as_binary_opt::<i32>().map(Text::Binary))
        })
        .collect()
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> anyhow::Result<&'a dyn Array> {
    let array = batch.column_by_name(name);
    array
        .map(AsRef::as_ref)
        .with_context(|| format!("it has no column {name}"))
}

fn integers32<'a>(
    batch: &'a RecordBatch,
    name: &str,
) -> anyhow::Result<&'a arrow::array::Int32Array> {
    let array = column(batch, name)?.as_primitive_opt::<Int32Type>();
    array.with_context(|| format!("its column {name} is not a 32-bit integer"))
}

fn integers64<'a>(
    batch: &'a RecordBatch,
    name: &str,
) -> anyhow::Result<&'a arrow::array::Int64Array> {
    let array = column(batch, name)?.as_primitive_opt::<Int64Type>();
    array.with_context(|| format!("its column {name} is not a 64-bit integer"))
}
