//! The plan: everything that decides which line goes to which folder and what its row contains.
//!
//! A batch that was announced under one plan is finished under the same plan, so a plan is a value that
//! is stored in the checkpoint, and its hash is part of every object name.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::hex;
use crate::pipeline::{FieldType, Granularity, ParserType, UnknownFields};

/// The version of what the writer does with a plan: which folder a time belongs to, how values are
/// converted, how batches name their files. Raise it whenever the same plan would give other rows.
pub const SEMANTICS: u32 = 1;

/// Everything that decides which line goes to which folder and what its row contains.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Plan {
    /// [`SEMANTICS`] of the build that made the plan.
    pub semantics: u32,
    /// How a line is read; never `Auto`.
    pub parser: ParserPlan,
    /// The data columns in file order. The metadata columns (`_partition`, …) follow them and are the
    /// same in every plan.
    pub columns: Vec<Column>,
    /// What happens to fields that are not columns.
    pub unknown_fields: UnknownFields,
    /// How fine the folders are.
    pub granularity: Granularity,
    /// The folder of the quarantine, with its closing slash.
    pub dead_letter_prefix: String,
}

/// How a line is read, with every choice made.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ParserPlan {
    /// The format; never `Auto`.
    pub kind: ParserType,
    /// The layout within the format, where there is more than one (`Log4j`, `Syslog`, `Text`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layout: Option<String>,
    /// The regular expression of `Regex`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// The zone of times that name none.
    pub timezone: String,
}

/// One data column.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Column {
    /// Its name in the Parquet file.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: FieldType,
    /// The field of the line it is taken from.
    pub from: String,
    /// A line without it is rejected; so the column has no nulls.
    pub required: bool,
}

/// SHA-256 of a plan's canonical JSON.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PlanHash(String);

impl Plan {
    /// The hash that names this plan in checkpoints and object names.
    pub fn hash(&self) -> PlanHash {
        // Struct fields serialise in the order they are declared in, so the text is canonical.
        let text = serde_json::to_vec(self).expect("a plan holds nothing that JSON cannot");
        PlanHash(hex(&Sha256::digest(text)))
    }
}

impl PlanHash {
    /// All 64 hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 8 hex digits: `plan8` in object names.
    pub fn short(&self) -> &str {
        self.0.get(..8).unwrap_or(&self.0)
    }
}

impl std::fmt::Display for PlanHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
