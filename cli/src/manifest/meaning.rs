//! What neither schema nor rules can see: an expression that does not compile, a time zone nobody
//! knows. It reads the system's time zones, and nothing else.

use std::collections::HashMap;

use logpipe_api::pipeline::LogPipelineSpec;
use serde_json::Value as Json;

use super::fault::{Fault, Kind, nearest};
use super::rules::locate;
use super::yaml::Node;

/// Adds what is wrong with the meaning of a manifest. `object` is `root` as JSON with its defaults.
/// What the schema has found wrong already is left alone.
pub(super) fn check(object: &Json, root: &Node, faults: &mut Vec<Fault>) {
    let parser = &object["spec"]["transform"]["parser"];
    let mut found = Vec::new();
    found.extend(
        parser["pattern"]
            .as_str()
            .and_then(|pattern| pattern_fault(pattern, root)),
    );
    found.extend(
        parser["timezone"]
            .as_str()
            .and_then(|name| timezone_fault(name, root)),
    );
    found.extend(glob_faults(
        &object["spec"]["source"]["files"]["paths"],
        root,
    ));
    found.extend(case_warnings(
        &object["spec"]["transform"]["schema"]["fields"],
        root,
    ));
    found.extend(idle_workers_warning(object, root));
    found.extend(cluster_faults(object, root));
    found.retain(|fault| faults.iter().all(|known| known.path != fault.path));
    faults.append(&mut found);
}

/// In the words of the operator. What a cluster needs and `logpipe run` does not is a warning.
fn cluster_faults(object: &Json, root: &Node) -> Vec<Fault> {
    // What cannot be read was told by the schema.
    let Ok(spec) = LogPipelineSpec::from_json(object["spec"].clone()) else {
        return Vec::new();
    };
    let refused = spec.faults().into_iter().map(|fault| {
        let span = locate(root, &fault.field);
        Fault::error(Kind::Meaning, &fault.field, &span, fault.reason)
    });
    let needed = spec.files_without_volume().map(|fault| {
        let span = locate(root, &fault.field);
        Fault::warning(Kind::Cluster, &fault.field, &span, fault.reason)
            .help("`logpipe run` reads the files of its machine, and needs none")
    });
    refused.chain(needed).collect()
}

fn pattern_fault(pattern: &str, root: &Node) -> Option<Fault> {
    let path = "spec.transform.parser.pattern";
    let span = locate(root, path);
    let fault = |message: String| Fault::error(Kind::Meaning, path, &span, message);
    match regex::Regex::new(pattern) {
        Err(error) => {
            let text = error.to_string();
            // The crate draws the place over several lines; the last one says what it is.
            let reason = text
                .lines()
                .last()
                .unwrap_or_default()
                .trim_start_matches("error: ");
            let fault = fault("the regular expression does not compile".to_owned());
            Some(
                fault
                    .label(reason)
                    .help("the syntax is that of https://docs.rs/regex#syntax"),
            )
        }
        Ok(regex) if regex.capture_names().flatten().next().is_none() => {
            let fault = fault("the regular expression has no named group, so no column".to_owned());
            Some(fault.label("expected at least one (?<name>…)").help(
                "name the groups that become columns, for example (?<timestamp>\\S+ \\S+) (?<message>.*)",
            ))
        }
        Ok(_) => None,
    }
}

fn timezone_fault(name: &str, root: &Node) -> Option<Fault> {
    if jiff::fmt::temporal::DateTimeParser::new()
        .parse_time_zone(name)
        .is_ok()
    {
        return None;
    }
    let path = "spec.transform.parser.timezone";
    let zones: Vec<String> = jiff::tz::db()
        .available()
        .map(|zone| zone.to_string())
        .collect();
    let meant = nearest(name, zones.iter().map(String::as_str));
    let message = format!("{name:?} is not a known time zone");
    Some(
        Fault::error(Kind::Meaning, path, &locate(root, path), message)
            .label("expected UTC, a name such as Europe/Zurich or an offset such as +02:00")
            .maybe_help(meant.map(|meant| format!("did you mean `{meant}`?"))),
    )
}

fn glob_faults(paths: &Json, root: &Node) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (index, pattern) in paths.as_array().into_iter().flatten().enumerate() {
        let Some(pattern) = pattern.as_str() else {
            continue;
        };
        let Err(error) = glob::Pattern::new(pattern) else {
            continue;
        };
        let path = format!("spec.source.files.paths[{index}]");
        let message = format!("the glob is malformed at character {}", error.pos + 1);
        faults.push(
            Fault::error(Kind::Meaning, &path, &locate(root, &path), message)
                .label(error.msg)
                .help("`**` stands alone between slashes; write [[] for a bracket, [*] for a star"),
        );
    }
    faults
}

/// Hive, Athena and Spark fold the case of names.
fn case_warnings(fields: &Json, root: &Node) -> Vec<Fault> {
    let mut warnings = Vec::new();
    let mut seen: HashMap<String, (usize, &str)> = HashMap::new();
    for (index, field) in fields.as_array().into_iter().flatten().enumerate() {
        let Some(name) = field["name"].as_str() else {
            continue;
        };
        let (first, spelt) = *seen.entry(name.to_lowercase()).or_insert((index, name));
        if spelt == name {
            continue;
        }
        let place = |index: usize| format!("spec.transform.schema.fields[{index}].name");
        let message = "two columns differ in upper and lower case only";
        warnings.push(
            Fault::warning(
                Kind::Meaning,
                &place(index),
                &locate(root, &place(index)),
                message,
            )
            .label("the same column to Hive, Athena and Spark")
            .other(&locate(root, &place(first)), "first here")
            .help("rename one of them"),
        );
    }
    warnings
}

fn idle_workers_warning(object: &Json, root: &Node) -> Option<Fault> {
    let replicas = object["spec"]["etl"]["replicas"].as_u64()?;
    let partitions = object["spec"]["kafka"]["topic"]["partitions"].as_u64()?;
    if replicas <= partitions {
        return None;
    }
    let path = "spec.etl.replicas";
    let message = format!(
        "{replicas} workers share {partitions} partitions: {} stay idle",
        replicas - partitions
    );
    Some(
        Fault::warning(Kind::Meaning, path, &locate(root, path), message)
            .label(format!("at most {partitions} have work"))
            .help(format!(
                "raise spec.kafka.topic.partitions, or write {partitions} here"
            )),
    )
}
