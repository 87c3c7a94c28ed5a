//! YAML to a tree in which each key and value knows its place in the text. Pure.
//!
//! Anchors, aliases and merge keys are expanded as kubectl does. What a small text can unfold to is
//! bounded, in size and in depth, so that no manifest can exhaust memory or the stack.

use granit_parser::{ErrorKind, Options, Parser, ScanError};
use serde_json::Number;

use super::fault::{Fault, Kind, Span};

mod build;

use build::{Builder, Stop};

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) span: Span,
}

/// A value of YAML, in the terms of JSON.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key and its value. The keys of a map are unique.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_span: Span,
    pub(super) value: Node,
}

impl Node {
    /// The entry of a map with this key.
    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    /// The value of a map's entry, unless it is null.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        self.entry(key)
            .map(|entry| &entry.value)
            .filter(|node| node.value != Value::Null)
    }

    /// The text, if it is one.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// As JSON. Fields that are null are left out, as the API server does with fields that are not
    /// nullable; no field of ours is.
    pub(super) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => serde_json::Value::Bool(*value),
            Value::Number(number) => serde_json::Value::Number(number.clone()),
            Value::Text(text) => serde_json::Value::String(text.clone()),
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Map(entries) => {
                let present = entries
                    .iter()
                    .filter(|entry| entry.value.value != Value::Null);
                present
                    .map(|entry| (entry.key.clone(), entry.value.to_json()))
                    .collect()
            }
        }
    }
}

/// The field that stands at a byte of the text: the deepest whose key or value holds it.
fn path_at(node: &Node, at: usize) -> String {
    let holds = |span: &Span| span.start <= at && at < span.end;
    match &node.value {
        Value::Map(entries) => {
            let around = |e: &&Entry| holds(&e.key_span) || holds(&e.value.span);
            entries
                .iter()
                .find(around)
                .map_or_else(String::new, |entry| {
                    let below = path_at(&entry.value, at);
                    join(&entry.key, &below)
                })
        }
        Value::List(items) => {
            let item = items.iter().enumerate().find(|(_, item)| holds(&item.span));
            item.map_or_else(String::new, |(index, item)| {
                join(&format!("[{index}]"), &path_at(item, at))
            })
        }
        _ => String::new(),
    }
}

fn join(path: &str, below: &str) -> String {
    if below.is_empty() || below.starts_with('[') {
        return format!("{path}{below}");
    }
    format!("{path}.{below}")
}

/// Gives the faults that were found while reading the path that only the whole document knows. A
/// fault's own path so far is the key it is about, which the tree does not hold.
fn complete_paths(root: &Node, faults: &mut [Fault]) {
    for fault in faults {
        let around = path_at(root, fault.span.start);
        fault.path = match (around.is_empty(), fault.path.is_empty()) {
            (true, _) => std::mem::take(&mut fault.path),
            (false, true) => around,
            (false, false) => format!("{around}.{}", fault.path),
        };
    }
}

/// The text of the document that a byte is in, for what cannot be read as YAML.
pub(super) fn document_at(text: &str, at: usize) -> &str {
    let (before, after) = text.split_at_checked(at).unwrap_or((text, ""));
    let start = before.rfind("\n---").unwrap_or(0);
    let end = after.find("\n---").unwrap_or(after.len());
    &text[start..before.len() + end]
}

/// Reads every document. A document with a syntax error gives a fault, and the next one is read.
pub(super) fn parse(text: &str, faults: &mut Vec<Fault>) -> Vec<Node> {
    let mut options = Options::default();
    options.set_emit_comments(false);
    let mut parser = Parser::new_from_str_with_options(text, options);
    let mut documents = Vec::new();
    let mut weight = 0;
    loop {
        let mut builder = Builder::new(text.len(), weight);
        let outcome = builder.document(&mut parser);
        weight = builder.weight;
        if let Ok(Some(root)) = &outcome {
            complete_paths(root, &mut builder.faults);
        }
        faults.append(&mut builder.faults);
        match outcome {
            Ok(Some(node)) => documents.push(node),
            Ok(None) => return documents,
            Err(Stop::Syntax(error)) => faults.push(syntax_fault(text, &error)),
            Err(Stop::Fault(fault)) => {
                faults.push(*fault);
                return documents;
            }
        }
        if builder.broken && !matches!(parser.proceed_next_document(), Ok(true)) {
            return documents;
        }
    }
}

fn syntax_fault(text: &str, error: &ScanError) -> Fault {
    let at = error
        .marker()
        .byte_offset()
        .unwrap_or(text.len())
        .min(text.len());
    let tab = text.get(..at).is_some_and(|before| {
        let line = before.rsplit('\n').next().unwrap_or_default();
        line.contains('\t') && line.trim_start().is_empty()
    }) || text.get(at..).is_some_and(|rest| rest.starts_with('\t'));
    let help = match error.kind() {
        ErrorKind::UnknownAnchor => {
            Some("an anchor is known from where it stands to the end of its own document")
        }
        _ if tab => Some("YAML is indented with spaces; replace the tab"),
        _ => None,
    };
    let help = help.map(str::to_owned);
    Fault::error(Kind::Syntax, "", &(at..at), error.info()).maybe_help(help)
}
