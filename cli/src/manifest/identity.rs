//! Which objects of a file are ours, by `apiVersion` and `kind`. Pure.

use std::collections::HashMap;

use kube::Resource;
use logpipe_api::LogPipeline;

use super::fault::{Fault, Kind, Span, nearest};
use super::schema::found;
use super::yaml::{Node, Value};

/// What our API group begins with, and a slip in it hardly does not.
const GROUP: &str = "logpipe.";

/// An object of another kind, which is left to others.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Skipped {
    pub(crate) kind: String,
    /// `metadata.name`; empty if it has none.
    pub(crate) name: String,
}

impl Skipped {
    /// What is skipped without a look at more than its name.
    pub(super) fn new(root: &Node) -> Self {
        let metadata = root.get("metadata");
        let name = metadata.and_then(|metadata| metadata.get("name"));
        Self {
            kind: text(root, "kind").unwrap_or("object").to_owned(),
            name: name.and_then(Node::text).unwrap_or_default().to_owned(),
        }
    }
}

/// Whether an object is of our API group; without `apiVersion`, whether its kind is ours.
pub(super) fn is_ours(root: &Node) -> bool {
    match text(root, "apiVersion") {
        Some(version) => version.starts_with(GROUP),
        None => is(root, "kind", &wanted_kind()),
    }
}

/// The same of a document that cannot be read as YAML, such as a template of Helm.
pub(super) fn looks_ours(document: &str) -> bool {
    document.lines().any(|line| {
        let line = line.trim_start_matches(|c: char| c.is_whitespace() || "-{\"'".contains(c));
        line.strip_prefix("apiVersion")
            .is_some_and(|rest| rest.contains(GROUP))
    })
}

/// What an object is.
pub(super) enum Identity {
    /// A `LogPipeline`, or meant to be one.
    Pipeline,
    /// Something else.
    Other(Skipped),
    /// Nothing that can be checked any further.
    Nothing,
}

/// The objects of a document: itself, or the items of a `List`. An empty document has none.
pub(super) fn objects(document: &Node) -> Vec<&Node> {
    if document.value == Value::Null {
        return Vec::new();
    }
    let list = document
        .get("kind")
        .and_then(Node::text)
        .is_some_and(|kind| kind.ends_with("List"));
    match document.get("items").map(|items| &items.value) {
        Some(Value::List(items)) if list => items.iter().collect(),
        _ => vec![document],
    }
}

/// Finds out what an object is; a wrong or missing `apiVersion` or `kind` is a fault.
pub(super) fn identify(root: &Node, faults: &mut Vec<Fault>) -> Identity {
    let start = root.span.start..root.span.start;
    if !matches!(root.value, Value::Map(_)) {
        let message = format!("expected a map of fields, found {}", found(root));
        let fault = Fault::error(Kind::WrongType, "", &root.span, message);
        faults.push(fault.label("expected apiVersion, kind, metadata and spec"));
        return Identity::Nothing;
    }
    let (version, kind) = (wanted_version(), wanted_kind());
    let our_version = is(root, "apiVersion", &version);
    let our_kind = is(root, "kind", &kind);
    if our_version && our_kind {
        return Identity::Pipeline;
    }
    let name = text(root, "kind").unwrap_or_default();
    let group = text(root, "apiVersion").unwrap_or_default();
    // Only what is near to ours is held to be ours; anything else is another's business.
    let near = our_version
        || our_kind
        || group.starts_with(GROUP)
        || nearest(name, [kind.as_str()].into_iter()).is_some()
        || (name.is_empty() && group.is_empty());
    if !near {
        if name.is_empty() || group.is_empty() {
            let field = if name.is_empty() {
                "kind"
            } else {
                "apiVersion"
            };
            faults.push(missing(field, &start, None));
            return Identity::Nothing;
        }
        return Identity::Other(Skipped::new(root));
    }
    for (field, wanted) in [("apiVersion", &version), ("kind", &kind)] {
        faults.extend(identity_fault(root, field, wanted, &start));
    }
    Identity::Pipeline
}

fn identity_fault(root: &Node, field: &str, wanted: &str, start: &Span) -> Option<Fault> {
    if is(root, field, wanted) {
        return None;
    }
    let Some(node) = root.get(field) else {
        return Some(missing(field, start, Some(wanted)));
    };
    // The schema tells a value of another type.
    let written = node.text()?;
    let message = format!("{written:?} is not a resource of Logpipe");
    Some(
        Fault::error(Kind::WrongResource, field, &node.span, message)
            .label(format!("expected {wanted}"))
            .help(format!("write {field}: {wanted}")),
    )
}

fn missing(field: &str, start: &Span, wanted: Option<&str>) -> Fault {
    let fault = Fault::error(Kind::MissingField, field, start, "it must be set")
        .label(format!("`{field}` is missing"));
    fault.maybe_help(wanted.map(|wanted| format!("write {field}: {wanted}")))
}

fn is(root: &Node, field: &str, wanted: &str) -> bool {
    text(root, field) == Some(wanted)
}

fn text<'a>(root: &'a Node, field: &str) -> Option<&'a str> {
    root.get(field).and_then(Node::text)
}

fn wanted_version() -> String {
    LogPipeline::api_version(&()).into_owned()
}

fn wanted_kind() -> String {
    LogPipeline::kind(&()).into_owned()
}

/// Adds a fault for each pipeline with the name of another in the same file: applied, the last wins.
pub(super) fn refuse_twins(objects: &[&Node], faults: &mut Vec<Fault>) {
    let mut seen: HashMap<(&str, &str), &Span> = HashMap::new();
    for root in objects
        .iter()
        .filter(|root| is(root, "kind", &wanted_kind()))
    {
        let Some(metadata) = root.get("metadata") else {
            continue;
        };
        let Some(name) = metadata.get("name") else {
            continue;
        };
        let Some(text) = name.text() else { continue };
        let namespace = metadata
            .get("namespace")
            .and_then(Node::text)
            .unwrap_or_default();
        let Some(first) = seen.get(&(namespace, text)) else {
            seen.insert((namespace, text), &name.span);
            continue;
        };
        let message = format!("the pipeline {text:?} is in the file twice");
        faults.push(
            Fault::error(Kind::Duplicate, "metadata.name", &name.span, message)
                .label("here again")
                .other(first, "first here"),
        );
    }
}
