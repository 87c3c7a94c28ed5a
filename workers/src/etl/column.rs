//! One builder for each type of data column. Pure.

use std::sync::Arc;

use arrow::array::{
    ArrayBuilder, ArrayRef, BooleanBuilder, Float64Builder, Int64Builder, StringBuilder,
    TimestampMicrosecondBuilder,
};
use logpipe_api::pipeline::FieldType;

use super::encode::CHUNK_ROWS;
use super::row::Value;
use super::stage::StagedRecord;

/// Collects the values of one column.
pub(super) enum ColumnBuilder {
    String(StringBuilder),
    Int64(Int64Builder),
    Float64(Float64Builder),
    Boolean(BooleanBuilder),
    Timestamp(TimestampMicrosecondBuilder),
}

impl ColumnBuilder {
    pub(super) fn new(kind: FieldType) -> Self {
        match kind {
            FieldType::String => Self::String(StringBuilder::new()),
            FieldType::Int64 => Self::Int64(Int64Builder::new()),
            FieldType::Float64 => Self::Float64(Float64Builder::new()),
            FieldType::Boolean => Self::Boolean(BooleanBuilder::new()),
            FieldType::Timestamp => {
                Self::Timestamp(TimestampMicrosecondBuilder::new().with_timezone("UTC"))
            }
        }
    }

    /// Appends the values of column `index` of the lines `lines`. The parser gives values of the column's
    /// type or `Null`; the type is matched once a column, not once a value.
    pub(super) fn append(&mut self, record: &StagedRecord<'_>, index: usize, lines: &[u32]) {
        let values = lines
            .iter()
            .map(|&line| (line, record.row(line).values[index]));
        match self {
            Self::String(builder) => {
                for (line, value) in values {
                    builder.append_option(record.row(line).text(record.line(line), &value));
                }
            }
            Self::Int64(builder) => {
                for (_, value) in values {
                    builder.append_option(if let Value::Int(v) = value {
                        Some(v)
                    } else {
                        None
                    });
                }
            }
            Self::Float64(builder) => {
                for (_, value) in values {
                    builder.append_option(if let Value::Float(v) = value {
                        Some(v)
                    } else {
                        None
                    });
                }
            }
            Self::Boolean(builder) => {
                for (_, value) in values {
                    builder.append_option(if let Value::Bool(v) = value {
                        Some(v)
                    } else {
                        None
                    });
                }
            }
            Self::Timestamp(builder) => {
                for (_, value) in values {
                    builder.append_option(if let Value::Time(v) = value {
                        Some(v)
                    } else {
                        None
                    });
                }
            }
        }
    }

    pub(super) fn finish(&mut self) -> ArrayRef {
        match self {
            Self::String(builder) => finish_text(builder),
            Self::Int64(builder) => Arc::new(builder.finish()),
            Self::Float64(builder) => Arc::new(builder.finish()),
            Self::Boolean(builder) => Arc::new(builder.finish()),
            Self::Timestamp(builder) => Arc::new(builder.finish()),
        }
    }

    /// Bytes of memory in the builder.
    pub(super) fn memory(&self) -> usize {
        match self {
            Self::String(builder) => text_memory(builder),
            Self::Int64(builder) => builder.len() * 8,
            Self::Float64(builder) => builder.len() * 8,
            Self::Boolean(builder) => builder.len() / 4,
            Self::Timestamp(builder) => builder.len() * 8,
        }
    }
}

/// Finishes a chunk of text and makes room for another one like it: growing by doubling would copy each
/// chunk twice.
pub(super) fn finish_text(builder: &mut StringBuilder) -> ArrayRef {
    let bytes = builder.values_slice().len();
    let array = Arc::new(builder.finish());
    *builder = StringBuilder::with_capacity(CHUNK_ROWS, bytes + bytes / 8);
    array
}

/// Bytes of memory in a text builder.
pub(super) fn text_memory(builder: &StringBuilder) -> usize {
    builder.values_slice().len() + builder.len() * 4
}
