//! The CEL rules of the CRD, evaluated without an API server. Pure.

use kube_cel::{CompiledSchema, ErrorKind, Validator};
use serde_json::Value as Json;

use super::fault::{Fault, Kind, Span};
use super::yaml::{Node, Value};

/// Adds a fault for each rule that `object` breaks. `object` is `root` as JSON; defaults are applied
/// before the rules see it, as the API server does. `faults` holds what the schema has found already:
/// a rule about a field that is wrong in itself says nothing new and is left out.
pub(super) fn check(rules: &CompiledSchema, root: &Node, object: &Json, faults: &mut Vec<Fault>) {
    let Err(broken) = Validator::new().validate_compiled(rules, object, None) else {
        return;
    };
    let known: Vec<Fault> = faults.clone();
    for rule in broken {
        let path = rule.field_path.as_str();
        if known.iter().any(|fault| speaks_of(&rule.rule, path, fault)) {
            continue;
        }
        // Of a value of the wrong type a rule can make nothing.
        if rule.kind != ErrorKind::ValidationFailure && !known.is_empty() {
            continue;
        }
        let (message, help) = match rule.message.split_once(": ") {
            Some((message, help)) => (message, Some(help.to_owned())),
            None => (rule.message.as_str(), None),
        };
        let (path, message) = lift_path(path, message);
        let span = locate(root, &path);
        faults.push(Fault::error(Kind::Rule, &path, &span, message).maybe_help(help));
    }
}

/// Our messages begin with the field they are about, which is often nearer than the rule's own place.
fn lift_path<'a>(place: &str, message: &'a str) -> (String, &'a str) {
    let Some((first, rest)) = message.split_once(' ') else {
        return (place.to_owned(), message);
    };
    if first.starts_with(&format!("{place}.")) || first == place || place.is_empty() {
        return (first.to_owned(), rest);
    }
    if first == "name" && place.ends_with(']') {
        return (format!("{place}.name"), rest);
    }
    (place.to_owned(), message)
}

/// Whether the rule at `place` reads the field that `fault` is about.
fn speaks_of(rule: &str, place: &str, fault: &Fault) -> bool {
    let meant = fault
        .help
        .as_deref()
        .and_then(|help| help.split('`').nth(1));
    let below = if place.is_empty() {
        fault.path.as_str()
    } else {
        match fault
            .path
            .strip_prefix(place)
            .and_then(|rest| rest.strip_prefix('.'))
        {
            Some(below) => below,
            None => return fault.path == place,
        }
    };
    let reads = |field: &str| {
        let name = format!("self.{field}");
        rule.match_indices(&name).any(|(at, _)| {
            let next = rule[at + name.len()..].chars().next();
            !next.is_some_and(|c| c.is_alphanumeric() || c == '_')
        })
    };
    reads(below)
        || (fault.kind == Kind::UnknownField && !below.contains('.') && meant.is_some_and(reads))
}

/// The steps of `spec.paths[2]` and `spec.config[log.dirs]`: a key in brackets may have dots.
fn steps(path: &str) -> impl Iterator<Item = &str> {
    let mut rest = path;
    std::iter::from_fn(move || {
        rest = rest.strip_prefix('.').unwrap_or(rest);
        if rest.is_empty() {
            return None;
        }
        let (step, after) = match rest.strip_prefix('[') {
            Some(inner) => inner.split_once(']').unwrap_or((inner, "")),
            None => rest.split_at(rest.find(['.', '[']).unwrap_or(rest.len())),
        };
        rest = after;
        Some(step)
    })
}

/// Where a field stands: its value if that is on one line, else its key; if it is not there, the
/// nearest thing around it.
pub(super) fn locate(root: &Node, path: &str) -> Span {
    let mut node = root;
    let mut span = root.span.start..root.span.start;
    for step in steps(path) {
        let next = match &node.value {
            Value::List(items) => {
                let item = step.parse().ok().and_then(|index: usize| items.get(index));
                item.map(|item| (item, &item.span))
            }
            _ => node
                .entry(step)
                .map(|entry| (&entry.value, &entry.key_span)),
        };
        let Some((value, key)) = next else {
            return span;
        };
        node = value;
        span = match value.value {
            Value::List(_) | Value::Map(_) | Value::Null => key.clone(),
            _ => value.span.clone(),
        };
    }
    span
}

#[cfg(test)]
mod tests {
    use super::steps;

    #[test]
    fn a_path_has_steps() {
        let of = |path| steps(path).collect::<Vec<_>>();
        assert_eq!(of("spec.paths[2]"), ["spec", "paths", "2"]);
        assert_eq!(of("a.config[log.dirs].x"), ["a", "config", "log.dirs", "x"]);
        assert_eq!(of("a[b"), ["a", "b"]);
        assert_eq!(of(""), [] as [&str; 0]);
    }
}
