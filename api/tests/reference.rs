//! `docs/reference/logpipeline.md` is written from the schema, so that it cannot go out of date.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod support;

use std::fmt::Write;

use serde_json::Value;

#[test]
fn the_reference_in_the_repository_is_what_the_types_say() {
    let path = "docs/reference/logpipeline.md";
    support::assert_is_current(path, &reference(&support::schema()), "reference");
}

/// The page: for each object a heading, its words, a table of its fields and its rules.
fn reference(schema: &Value) -> String {
    let mut page = String::from(
        "<!-- Generated from api/src/pipeline.rs. To renew:\n     \
         LOGPIPE_BLESS=1 cargo test -p logpipe-api --test reference -->\n\n\
         # The LogPipeline resource\n\n\
         `apiVersion: logpipe.dev/v1alpha1`, `kind: LogPipeline`. The same manifest is taken by \
         `logpipe run`, `logpipe validate` and `kubectl apply`. A field in **bold** must be set. \
         Field names are case-sensitive; a field that is not in these tables is refused.\n",
    );
    rules(&mut page, schema);
    section(&mut page, "spec", &schema["properties"]["spec"]);
    section(&mut page, "status", &schema["properties"]["status"]);
    page
}

fn section(page: &mut String, path: &str, schema: &Value) {
    write!(page, "\n## `{path}`\n\n{}\n\n", text(schema)).unwrap();
    page.push_str("| Field | Type | Default | Bounds | Meaning |\n|---|---|---|---|---|\n");
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let fields = schema["properties"]
        .as_object()
        .expect("an object has fields");
    for (name, field) in fields {
        let mark = if required.iter().any(|r| r == name) {
            "**"
        } else {
            ""
        };
        writeln!(
            page,
            "| {mark}`{name}`{mark} | {} | {} | {} | {} |",
            cell(&kind(path, name, field)),
            cell(&default(field)),
            cell(&bounds(field)),
            cell(&text(field)),
        )
        .unwrap();
    }
    rules(page, schema);
    for (name, field) in fields {
        if field.get("properties").is_some() {
            section(page, &format!("{path}.{name}"), field);
        } else if field["items"].get("properties").is_some() {
            section(page, &format!("{path}.{name}[]"), &field["items"]);
        }
    }
}

fn rules(page: &mut String, schema: &Value) {
    let rules = schema
        .get("x-kubernetes-validations")
        .and_then(Value::as_array);
    let Some(rules) = rules else { return };
    page.push_str("\nRules:\n\n");
    for rule in rules {
        writeln!(
            page,
            "- {}",
            rule["message"].as_str().expect("a rule has a message")
        )
        .unwrap();
    }
}

fn text(schema: &Value) -> String {
    schema["description"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

fn kind(path: &str, name: &str, field: &Value) -> String {
    let link = |suffix: &str| {
        let target = format!("{path}.{name}{suffix}");
        let anchor: String = target
            .chars()
            .filter(|c| c.is_alphanumeric())
            .collect::<String>()
            .to_lowercase();
        format!("[object](#{anchor})")
    };
    match field["type"].as_str().expect("a field has a type") {
        "object" if field.get("properties").is_some() => link(""),
        "object" if field.get("additionalProperties").is_some() => "map of strings".to_owned(),
        "object" if field.get("x-kubernetes-preserve-unknown-fields").is_some() => {
            "fields of a pod".to_owned()
        }
        "object" => "empty object".to_owned(),
        "array" if field["items"].get("properties").is_some() => format!("list of {}", link("[]")),
        "array" => format!(
            "list of {}s",
            field["items"]["type"].as_str().expect("items have a type")
        ),
        "string" if field.get("enum").is_some() => "one of".to_owned(),
        other => other.to_owned(),
    }
}

fn default(field: &Value) -> String {
    match field.get("default") {
        None | Some(Value::Object(_)) => String::new(),
        Some(Value::String(text)) => format!("`{text}`"),
        Some(other) => format!("`{other}`"),
    }
}

fn bounds(field: &Value) -> String {
    let values = field.get("enum").and_then(Value::as_array);
    if let Some(values) = values {
        let names = values
            .iter()
            .map(|value| format!("`{}`", value.as_str().unwrap_or_default()));
        return names.collect::<Vec<_>>().join(", ");
    }
    let range = |from: &str, to: &str, of: &str| match (field.get(from), field.get(to)) {
        (Some(from), Some(to)) => format!("{from} to {to}{of}"),
        (None, Some(to)) => format!("at most {to}{of}"),
        (Some(from), None) => format!("at least {from}{of}"),
        (None, None) => String::new(),
    };
    let parts = [
        range("minimum", "maximum", ""),
        range("minLength", "maxLength", " characters"),
        range("minItems", "maxItems", " items"),
        field["pattern"]
            .as_str()
            .map(|p| format!("`{p}`"))
            .unwrap_or_default(),
    ];
    parts
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("; ")
}

/// Text within a table: no line break and no bar ends the cell.
fn cell(text: &str) -> String {
    text.replace("\n\n", "<br>")
        .replace('\n', "<br>")
        .replace('|', "\\|")
}

#[test]
fn a_bar_in_a_pattern_does_not_end_its_cell() {
    assert_eq!(cell("(a|b)\n\n- c"), "(a\\|b)<br>- c");
}
