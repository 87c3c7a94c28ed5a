//! A manifest against the CRD's schema, as the API server validates it. Pure.
//!
//! The schema of the CRD is the only truth: value and schema are walked together, so a field that is
//! added to the types is checked here without a change.

use serde_json::Value as Json;

use super::fault::{Fault, Kind, Span, nearest};
use super::yaml::{Entry, Node, Value};

/// Adds every fault of `node` to `faults`. `at` is where a fault of the whole value is shown: the key
/// of a list or a map, since those begin on another line.
pub(super) fn walk(schema: &Json, node: &Node, path: &str, at: &Span, faults: &mut Vec<Fault>) {
    let at = match node.value {
        Value::List(_) | Value::Map(_) | Value::Null => at,
        _ => &node.span,
    };
    let mut check = Check {
        schema,
        path,
        at,
        faults,
    };
    match (check.text_of("type"), &node.value) {
        ("object", Value::Map(entries)) => check.map(node, entries),
        ("array", Value::List(items)) => check.list(items),
        ("string", Value::Text(text)) => check.text(text),
        ("integer", Value::Number(number)) if number.is_i64() || number.is_u64() => {
            check.number(number);
        }
        ("boolean", Value::Bool(_)) => {}
        (expected, _) => check.wrong_type(expected, node),
    }
}

struct Check<'a, 's> {
    schema: &'s Json,
    path: &'a str,
    at: &'a Span,
    faults: &'a mut Vec<Fault>,
}

impl<'s> Check<'_, 's> {
    fn text_of(&self, key: &str) -> &'static str {
        match self.schema[key].as_str() {
            Some("object") => "object",
            Some("array") => "array",
            Some("string") => "string",
            Some("integer") => "integer",
            Some("boolean") => "boolean",
            // A structural schema without a type does not exist.
            _ => "value",
        }
    }

    fn report(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    fn error(&self, kind: Kind, message: impl Into<String>) -> Fault {
        Fault::error(kind, self.path, self.at, message)
    }

    fn wrong_type(&mut self, expected: &str, node: &Node) {
        let words = match expected {
            "object" => "a map of fields",
            "array" => "a list",
            "string" => "text",
            "integer" => "a whole number",
            "boolean" => "true or false",
            other => other,
        };
        let help = match (expected, &node.value) {
            ("string", Value::Bool(_)) => Some(
                "YAML reads this word as true or false; put it in quotes if you mean the text"
                    .to_owned(),
            ),
            ("string", Value::Number(number)) if self.path.ends_with("maxBytes") => Some(format!(
                "write \"{number}\" in quotes, or a size such as 64Mi"
            )),
            ("string", Value::Number(_)) => Some("put it in quotes".to_owned()),
            ("integer" | "boolean", Value::Text(text)) if in_range_of(expected, text) => {
                Some(format!("write {text} without quotes"))
            }
            ("array", Value::Text(text)) => Some(format!("write a list of one: [{text:?}]")),
            ("object", Value::Null) => Some("write {} to take every default".to_owned()),
            _ => None,
        };
        let message = format!("expected {words}, found {}", found(node));
        let fault = self.error(Kind::WrongType, message);
        let values = self.values();
        let label = if values.is_empty() {
            format!("expected {words}")
        } else {
            format!("expected one of {}", values.join(", "))
        };
        self.report(fault.label(label).maybe_help(help));
    }

    fn map(&mut self, node: &Node, entries: &[Entry]) {
        let properties = self.schema["properties"].as_object();
        let additional = self.schema.get("additionalProperties");
        if properties.is_none() && additional.is_none() {
            // A schema that says nothing of the fields takes any.
            return;
        }
        let absent: Vec<&str> = self
            .known_fields()
            .filter(|name| node.entry(name).is_none())
            .collect();
        for entry in entries {
            let path = join(self.path, &entry.key);
            let schema = properties.and_then(|p| p.get(&entry.key)).or(additional);
            match schema {
                None => self.unknown_field(entry, &path, &absent),
                // The API server drops it; a required field is then missing.
                Some(_) if entry.value.value == Value::Null => {}
                Some(schema) => walk(schema, &entry.value, &path, &entry.key_span, self.faults),
            }
        }
        for name in self.schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Json::as_str)
        {
            if node.get(name).is_none() && !self.is_misspelt(name, node) {
                self.missing_field(name, node);
            }
        }
    }

    /// `absent` are the fields that could still stand here.
    fn unknown_field(&mut self, entry: &Entry, path: &str, absent: &[&str]) {
        let meant = nearest(&entry.key, self.known_fields());
        let help = match meant {
            Some(meant) if !absent.contains(&meant) => {
                Some(format!("there is `{meant}` already: remove one of them"))
            }
            Some(meant) => Some(format!("did you mean `{meant}`?")),
            None if absent.is_empty() => None,
            None => Some(format!("fields that can stand here: {}", absent.join(", "))),
        };
        let place = if self.path.is_empty() {
            "the manifest"
        } else {
            self.path
        };
        let message = "there is no such field";
        let fault = Fault::error(Kind::UnknownField, path, &entry.key_span, message);
        let fault = fault
            .label(format!("not a field of {place}"))
            .maybe_help(help);
        // What stands under the misspelt name is checked as what it was meant to be.
        let schema = meant.map(|meant| &self.schema["properties"][meant]);
        self.report(fault);
        if let Some(schema) = schema.filter(|_| entry.value.value != Value::Null) {
            walk(schema, &entry.value, path, &entry.key_span, self.faults);
        }
    }

    fn known_fields(&self) -> impl Iterator<Item = &'s str> + use<'s> {
        let properties = self.schema["properties"].as_object();
        properties
            .into_iter()
            .flat_map(|p| p.keys())
            .map(String::as_str)
    }

    /// Whether a field that does not exist is most likely this one, misspelt.
    fn is_misspelt(&self, name: &str, node: &Node) -> bool {
        let Value::Map(entries) = &node.value else {
            return false;
        };
        let unknown = entries
            .iter()
            .filter(|e| self.known_fields().all(|known| known != e.key));
        unknown
            .into_iter()
            .any(|e| nearest(&e.key, self.known_fields()) == Some(name))
    }

    fn missing_field(&mut self, name: &str, node: &Node) {
        let path = join(self.path, name);
        let field = &self.schema["properties"][name];
        let description = field["description"].as_str().unwrap_or_default();
        let summary = description.split("\n\n").next().unwrap_or_default();
        let help = (!summary.is_empty()).then(|| format!("`{name}`: {summary}"));
        // The key is there, with nothing after it.
        let (span, message) = match node.entry(name) {
            Some(entry) => (&entry.key_span, "it must be set, and is empty"),
            None => (self.at, "it must be set"),
        };
        let fault = Fault::error(Kind::MissingField, &path, span, message);
        self.report(fault.label(format!("`{name}` is missing")).maybe_help(help));
    }

    fn list(&mut self, items: &[Node]) {
        let (least, most) = (self.bound("minItems"), self.bound("maxItems"));
        self.length(items.len(), least, most, "items");
        let Some(schema) = self.schema.get("items") else {
            return;
        };
        for (index, item) in items.iter().enumerate() {
            let path = format!("{}[{index}]", self.path);
            walk(schema, item, &path, &item.span, self.faults);
        }
        self.uniqueness(items);
    }

    /// `x-kubernetes-list-type`: a set has no equal items, a map no equal keys.
    fn uniqueness(&mut self, items: &[Node]) {
        let key = match self.schema["x-kubernetes-list-type"].as_str() {
            Some("set") => None,
            Some("map") => self.schema["x-kubernetes-list-map-keys"][0].as_str(),
            _ => return,
        };
        let identity = |item| key.map_or(Some(item), |key| Node::get(item, key));
        let mut seen: std::collections::HashMap<&str, &Span> = std::collections::HashMap::new();
        for (index, item) in items.iter().enumerate() {
            let Some(node) = identity(item) else { continue };
            let Some(text) = node.text() else { continue };
            let Some(first) = seen.get(text) else {
                seen.insert(text, &node.span);
                continue;
            };
            let path = match key {
                Some(key) => format!("{}[{index}].{key}", self.path),
                None => format!("{}[{index}]", self.path),
            };
            let message = format!("{text:?} is in the list twice");
            self.faults.push(
                Fault::error(Kind::Duplicate, &path, &node.span, message)
                    .label("here again")
                    .other(first, "first here"),
            );
        }
    }

    fn text(&mut self, text: &str) {
        let values = self.values();
        if !values.is_empty() {
            if !values.contains(&text) {
                self.unknown_value(text, &values);
            }
            return;
        }
        let before = self.faults.len();
        let (least, most) = (self.bound("minLength"), self.bound("maxLength"));
        self.length(text.chars().count(), least, most, "characters");
        let Some(pattern) = self.schema["pattern"].as_str() else {
            return;
        };
        // A text that is empty where it must not be is told so once.
        if self.faults.len() > before || matches(pattern, text) {
            return;
        }
        let help = self.schema["description"]
            .as_str()
            .and_then(|d| d.split("\n\n").next());
        let help = slash_help(pattern, text).or_else(|| help.map(str::to_owned));
        let fault = self.error(
            Kind::Pattern,
            format!("{text:?} is not of the form it must have"),
        );
        self.report(
            fault
                .label(format!("must match {pattern}"))
                .maybe_help(help),
        );
    }

    /// The values of an enum; none for anything else.
    fn values(&self) -> Vec<&'s str> {
        let values = self.schema["enum"].as_array();
        values
            .into_iter()
            .flatten()
            .filter_map(Json::as_str)
            .collect()
    }

    fn unknown_value(&mut self, text: &str, values: &[&str]) {
        let help = nearest(text, values.iter().copied());
        let message = format!("{text:?} is not a value it can have");
        let fault = self.error(Kind::UnknownValue, message);
        self.report(
            fault
                .label(format!("expected one of {}", values.join(", ")))
                .maybe_help(help.map(|meant| format!("did you mean `{meant}`?"))),
        );
    }

    fn number(&mut self, number: &serde_json::Number) {
        // Bounds of an f64 hold these numbers exactly: none is above 2^53.
        let Some(value) = number.as_f64() else { return };
        let least = self.schema["minimum"].as_f64();
        let most = self.schema["maximum"].as_f64();
        let message = match (least, most) {
            (Some(least), _) if value < least => format!("{number} is too small"),
            (_, Some(most)) if value > most => format!("{number} is too large"),
            _ => return,
        };
        let label = match (least, most) {
            (Some(least), Some(most)) => format!("expected {least} to {most}"),
            (Some(least), None) => format!("expected at least {least}"),
            (None, most) => format!("expected at most {}", most.unwrap_or_default()),
        };
        let fault = self.error(Kind::Range, message).label(label);
        self.report(fault);
    }

    fn bound(&self, name: &str) -> Option<u64> {
        self.schema[name].as_f64().map(|bound| bound as u64)
    }

    fn length(&mut self, length: usize, least: Option<u64>, most: Option<u64>, unit: &str) {
        let length = length as u64;
        let (least, most) = (least.unwrap_or(0), most.unwrap_or(u64::MAX));
        let message = match length {
            0 if least > 0 => "it must not be empty".to_owned(),
            _ if length < least => format!("it is too short, with {length} {unit}"),
            _ if length > most => format!("it is too long, with {length} {unit}"),
            _ => return,
        };
        let label = format!("expected {least} to {most} {unit}");
        let fault = self.error(Kind::Length, message).label(label);
        self.report(fault);
    }
}

/// Whether the words in quotes are what a field without quotes would be.
fn in_range_of(expected: &str, text: &str) -> bool {
    match expected {
        "integer" => text.parse::<i64>().is_ok(),
        _ => text == "true" || text == "false",
    }
}

fn slash_help(pattern: &str, text: &str) -> Option<String> {
    let closed = format!("{}/", text.trim_start_matches('/').trim_end_matches('/'));
    let help = format!("write {closed:?}: a folder has a closing slash and none at its start");
    matches(pattern, &closed).then_some(help)
}

fn matches(pattern: &str, text: &str) -> bool {
    // The patterns are ours; a test compiles each.
    regex::Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(text))
}

/// What a value is, for people.
pub(super) fn found(node: &Node) -> String {
    match &node.value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(value) => format!("the truth value {value}"),
        Value::Number(number) => format!("the number {number}"),
        Value::Text(text) if text.chars().count() > 40 => "text".to_owned(),
        Value::Text(text) => format!("the text {text:?}"),
        Value::List(_) => "a list".to_owned(),
        Value::Map(_) => "a map of fields".to_owned(),
    }
}

/// `path.key`.
pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}
