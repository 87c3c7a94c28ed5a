//! Makes the schema say what the types say: the meaning of each enum value, text that is not broken
//! at the width of the source, and no `null` where a field may simply be left out. Pure.

use schemars::Schema;
use serde_json::{Map, Value};

/// Rewrites a schema and everything below it. A schemars transform: it runs before kube's own.
pub(super) fn make_readable(schema: &mut Schema) {
    if let Some(object) = schema.as_object_mut() {
        rewrite(object);
    }
}

fn rewrite(schema: &mut Map<String, Value>) {
    drop_null(schema);
    if let Some(Value::String(text)) = schema.get_mut("description") {
        *text = unwrap_lines(text);
    }
    describe_values(schema);
    for value in schema.values_mut() {
        descend(value);
    }
}

fn descend(value: &mut Value) {
    match value {
        Value::Object(object) => rewrite(object),
        Value::Array(items) => items.iter_mut().for_each(descend),
        _ => {}
    }
}

/// A nullable field keeps an explicit `null`, which rules then take for a value. Without it the API
/// server drops the `null`, so that `files:` with nothing after it is the same as no `files`.
fn drop_null(schema: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    let Some(Value::Array(choices)) = schema.get_mut("anyOf") else {
        return;
    };
    choices.retain(|choice| choice.get("type").is_none_or(|kind| kind != "null"));
    let [Value::Object(only)] = choices.as_slice() else {
        return;
    };
    let only = only.clone();
    schema.remove("anyOf");
    for (key, value) in only {
        // The field's own words win over those of its type.
        schema.entry(key).or_insert(value);
    }
}

/// Joins the lines of each paragraph.
fn unwrap_lines(text: &str) -> String {
    let paragraphs = text.split("\n\n");
    paragraphs
        .map(|paragraph| paragraph.replace('\n', " "))
        .collect::<Vec<_>>()
        .join("\n\n")
}

/// Adds what each value of an enum means to the description: a CRD has no other place for it.
fn describe_values(schema: &mut Map<String, Value>) {
    let Some(Value::Array(values)) = schema.get("oneOf") else {
        return;
    };
    let mut meanings = Vec::new();
    for value in values {
        let (Some(name), Some(text)) = (value.get("const"), value.get("description")) else {
            return;
        };
        let (Some(name), Some(text)) = (name.as_str(), text.as_str()) else {
            return;
        };
        meanings.push(format!("- `{name}`: {}", unwrap_lines(text)));
    }
    let description = schema
        .entry("description")
        .or_insert_with(|| Value::String(String::new()));
    if let Value::String(text) = description {
        text.push_str("\n\n");
        text.push_str(&meanings.join("\n"));
    }
}
