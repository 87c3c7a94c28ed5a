//! The result for people and for scripts. Pure.

use std::fmt::Write;

use kube::ResourceExt;
use serde::Serialize;

use crate::manifest::{Checked, Fault, Kind, Severity, Skipped, position, render};
use crate::output::Paint;

/// Whether every file is valid and there is a pipeline at all.
pub(super) fn is_valid(checked: &[Checked]) -> bool {
    checked.iter().all(Checked::is_valid) && checked.iter().any(|file| file.found > 0)
}

/// For people: every fault with its line, then a line for each file, then the sum. `others` is how many files of
/// folders hold nothing of ours.
pub(super) fn text(checked: &[Checked], others: usize, paint: Paint) -> String {
    let mut out = String::new();
    for file in checked {
        out.push_str(&render(file, paint));
    }
    for file in checked {
        file_line(&mut out, file, paint);
    }
    let found: usize = checked.iter().map(|file| file.found).sum();
    let faults = checked.iter().flat_map(|file| &file.faults);
    let errors = faults
        .filter(|fault| fault.severity == Severity::Error)
        .count();
    let invalid = checked.iter().filter(|file| !file.is_valid()).count();
    let files = if invalid == checked.len() {
        count(invalid, "file")
    } else {
        format!("{invalid} of {}", count(checked.len(), "file"))
    };
    let sum = match (errors, found) {
        (0, 0) => paint.red("there is no LogPipeline to check"),
        (0, _) => paint.green(&format!("{} valid", count(found, "pipeline"))),
        _ => paint.red(&format!("{} in {files}", count(errors, "error"))),
    };
    let skipped = match others {
        0 => String::new(),
        _ => format!(
            " (skipped: {} without a LogPipeline)",
            count(others, "file")
        ),
    };
    writeln!(out, "{sum}{skipped}").expect("writing to a string cannot fail");
    out
}

fn file_line(out: &mut String, file: &Checked, paint: Paint) {
    let (sign, words) = match file.is_valid() {
        false => (paint.red("✗"), "invalid".to_owned()),
        true if file.found == 0 => (paint.yellow("-"), "no LogPipeline".to_owned()),
        true => {
            let names: Vec<String> = file.pipelines.iter().map(ResourceExt::name_any).collect();
            (paint.green("✓"), names.join(", "))
        }
    };
    let mut line = format!("{sign} {}: {words}", file.file);
    if !file.skipped.is_empty() {
        let others = file
            .skipped
            .iter()
            .map(|other| format!("{} {}", other.kind, other.name));
        let others = others
            .map(|other| other.trim_end().to_owned())
            .collect::<Vec<_>>()
            .join(", ");
        write!(line, " (skipped: {others})").expect("writing to a string cannot fail");
    }
    let line: String = line
        .chars()
        .map(|c| {
            if c.is_control() && c != '\x1b' {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect();
    writeln!(out, "{line}").expect("writing to a string cannot fail");
}

fn count(number: usize, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report<'a> {
    valid: bool,
    files: Vec<FileReport<'a>>,
    /// Files of folders that hold nothing of ours.
    skipped_files: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FileReport<'a> {
    file: &'a str,
    valid: bool,
    pipelines: Vec<Name>,
    skipped: &'a [Skipped],
    faults: Vec<FaultReport<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Name {
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    name: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FaultReport<'a> {
    severity: Severity,
    kind: Kind,
    /// From 1.
    line: usize,
    /// From 1, in characters.
    column: usize,
    path: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    expected: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<&'a str>,
}

/// For scripts: one JSON object.
pub(super) fn json(checked: &[Checked], others: usize) -> serde_json::Result<String> {
    let report = Report {
        valid: is_valid(checked),
        files: checked.iter().map(file_report).collect(),
        skipped_files: others,
    };
    Ok(serde_json::to_string_pretty(&report)? + "\n")
}

fn file_report(file: &Checked) -> FileReport<'_> {
    let name = |p: &logpipe_api::LogPipeline| Name {
        namespace: p.namespace(),
        name: p.name_any(),
    };
    FileReport {
        file: &file.file,
        valid: file.is_valid(),
        pipelines: file.pipelines.iter().map(name).collect(),
        skipped: &file.skipped,
        faults: file
            .faults
            .iter()
            .map(|fault| fault_report(&file.text, fault))
            .collect(),
    }
}

fn fault_report<'a>(text: &str, fault: &'a Fault) -> FaultReport<'a> {
    let (line, column) = position(text, fault.span.start);
    FaultReport {
        severity: fault.severity,
        kind: fault.kind,
        line,
        column,
        path: &fault.path,
        message: &fault.message,
        expected: &fault.label,
        help: fault.help.as_deref(),
    }
}
