//! One builder for each type of data column. Pure.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Float64Builder, Int64Builder, StringBuilder,
    TimestampMicrosecondBuilder,
};
use logpipe_api::pipeline::FieldType;

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
            Self::String(builder) => Arc::new(builder.finish()),
            Self::Int64(builder) => Arc::new(builder.finish()),
            Self::Float64(builder) => Arc::new(builder.finish()),
            Self::Boolean(builder) => Arc::new(builder.finish()),
            Self::Timestamp(builder) => Arc::new(builder.finish()),
        }
    }
}
