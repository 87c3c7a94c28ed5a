//! `spec.transform`: how a line becomes a row.

// The derive macros expand private copies of the types, which the lint takes for ours.
#![allow(unreachable_pub)]

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a line becomes a row.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Transform {
    /// How a line is read.
    #[serde(default)]
    pub parser: Parser,
    /// Which columns a row has.
    #[serde(default)]
    pub schema: Schema,
    /// Where lines go that cannot be read.
    #[serde(default)]
    pub dead_letter: DeadLetter,
}

/// How a line is read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.pattern) == (self.type == 'Regex')")
        .message("spec.transform.parser.pattern must be set for type Regex and for no other type")
)]
pub struct Parser {
    /// The format of the lines.
    #[serde(default, rename = "type")]
    pub kind: ParserType,
    /// For `Regex`: a regular expression whose named groups become columns; the group `timestamp` is
    /// the event time, for example `^(?<timestamp>\S+ \S+) (?<level>\w+) (?<message>.*)$`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub pattern: Option<String>,
    /// The zone of times that do not name one: `UTC`, an IANA name such as `Europe/Zurich`, or an
    /// offset such as `+02:00`.
    #[serde(default = "default_timezone")]
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[a-zA-Z0-9_+:/-]+$"))]
    pub timezone: String,
}

fn default_timezone() -> String {
    "UTC".to_owned()
}

impl Default for Parser {
    fn default() -> Self {
        Self {
            kind: ParserType::default(),
            pattern: None,
            timezone: default_timezone(),
        }
    }
}

/// The format of the lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ParserType {
    /// Decide from a sample of the first lines, and keep to it.
    #[default]
    Auto,
    /// Timestamp, level, message: `2026-01-31 07:00:00,123 INFO message`.
    Text,
    /// One JSON object a line.
    Json,
    /// `key=value` pairs.
    Logfmt,
    /// The named groups of `pattern`.
    Regex,
    /// Container runtime lines around any message.
    Cri,
    /// Combined or common access log of nginx and Apache.
    Nginx,
    /// RFC 5424, RFC 3164 and plain `/var/log` syslog.
    Syslog,
    /// Layouts of log4j, logback and their kin, and the Apache error log.
    Log4j,
}

impl ParserType {
    /// As a manifest names it, and the quarantine's column `parser`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "Auto",
            Self::Text => "Text",
            Self::Json => "Json",
            Self::Logfmt => "Logfmt",
            Self::Regex => "Regex",
            Self::Cri => "Cri",
            Self::Nginx => "Nginx",
            Self::Syslog => "Syslog",
            Self::Log4j => "Log4j",
        }
    }
}

/// Which columns a row has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.fields) && size(self.fields) > 0) == (self.mode == 'Declared')")
        .message("spec.transform.schema.fields must be set for mode Declared and for no other mode")
)]
pub struct Schema {
    /// Where the columns come from.
    #[serde(default)]
    pub mode: SchemaMode,
    /// The columns, for mode `Declared`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 256),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub fields: Vec<Field>,
    /// What happens to fields of a line that are not columns.
    #[serde(default)]
    pub unknown_fields: UnknownFields,
}

/// Where the columns come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SchemaMode {
    /// The parser's own columns and, for `Json` and `Logfmt`, those of a sample; then they are kept to.
    #[default]
    Infer,
    /// From `fields`.
    Declared,
    /// One column, `message`: the line as it is.
    Raw,
}

/// A declared column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(self.name in ['dt', 'hour'])")
        .message("name must not be dt or hour: the folders' own columns have these names")
)]
pub struct Field {
    /// The column's name, of letters, digits and `_`, beginning with a letter: names that begin with `_`
    /// are for ingestion metadata.
    #[schemars(
        length(min = 1, max = 128),
        regex(pattern = r"^[a-zA-Z][a-zA-Z0-9_]*$")
    )]
    pub name: String,
    /// The column's type.
    #[serde(rename = "type")]
    pub kind: FieldType,
    /// The field in the line; the column's name when it is left out. Nested JSON fields are written
    /// with dots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub from: Option<String>,
    /// A line without this field, or with a value of another type, goes to the quarantine. Otherwise
    /// the column is null.
    #[serde(default)]
    pub required: bool,
}

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum FieldType {
    /// UTF-8 text.
    String,
    /// 64-bit signed integer.
    Int64,
    /// 64-bit floating point number.
    Float64,
    /// True or false.
    Boolean,
    /// A time in UTC, in microseconds.
    Timestamp,
}

impl FieldType {
    /// As a manifest names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::String => "String",
            Self::Int64 => "Int64",
            Self::Float64 => "Float64",
            Self::Boolean => "Boolean",
            Self::Timestamp => "Timestamp",
        }
    }
}

/// What happens to fields of a line that are not columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum UnknownFields {
    /// They are kept as one JSON text, in the column `_extra`.
    #[default]
    Collect,
    /// They are left out.
    Drop,
    /// The line goes to the quarantine.
    Reject,
}

/// Where lines go that cannot be read: files of their own, committed exactly once like any row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// The folder under the sink's prefix, one level deep and with its closing slash. A leading underscore keeps Spark, Hive and Athena from
    /// reading it as part of the table.
    #[serde(default = "default_dead_letter_prefix")]
    #[schemars(
        length(min = 2, max = 128),
        regex(pattern = r"^[_a-zA-Z0-9][a-zA-Z0-9_-]*/$")
    )]
    pub prefix: String,
}

fn default_dead_letter_prefix() -> String {
    "_dead/".to_owned()
}

impl Default for DeadLetter {
    fn default() -> Self {
        Self {
            prefix: default_dead_letter_prefix(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{FieldType, ParserType};
    use crate::pipeline::Granularity;

    /// They stand in files that outlive a release.
    #[test]
    fn names_are_those_of_the_manifest() {
        let parsers = [
            "Auto", "Text", "Json", "Logfmt", "Regex", "Cri", "Nginx", "Syslog", "Log4j",
        ];
        for name in parsers {
            let json = format!("{name:?}");
            assert_eq!(
                serde_json::from_str::<ParserType>(&json).unwrap().as_str(),
                name
            );
        }
        for name in ["String", "Int64", "Float64", "Boolean", "Timestamp"] {
            let json = format!("{name:?}");
            assert_eq!(
                serde_json::from_str::<FieldType>(&json).unwrap().as_str(),
                name
            );
        }
        for name in ["Hour", "Day"] {
            let json = format!("{name:?}");
            assert_eq!(
                serde_json::from_str::<Granularity>(&json).unwrap().as_str(),
                name
            );
        }
    }
}
