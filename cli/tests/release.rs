//! The version is in `Cargo.toml`; what cannot read it there says the same.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::fs;
use std::path::Path;

const VERSION: &str = env!("CARGO_PKG_VERSION");

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    fs::read_to_string(root.join(path)).unwrap()
}

fn values<'a>(text: &'a str, key: &str) -> Vec<&'a str> {
    let lines = text.lines().map(str::trim);
    lines.filter_map(|line| line.strip_prefix(key)).collect()
}

#[test]
fn the_chart_has_the_version_of_the_workspace() {
    let chart = read("charts/logpipe/Chart.yaml");
    let of_chart: Vec<&str> = chart
        .lines()
        .filter_map(|line| line.strip_prefix("version: "))
        .collect();
    assert_eq!(of_chart, [VERSION]);
    assert_eq!(values(&chart, "appVersion: "), [VERSION]);
}

#[test]
fn the_plain_manifest_has_the_version_of_the_workspace() {
    let told = read("hack/operator.yaml");
    let told = values(&told, "app.kubernetes.io/version: ");
    assert!(!told.is_empty(), "hack/operator.yaml tells no version");
    assert!(told.iter().all(|one| *one == VERSION), "{told:?}");
}

#[test]
fn the_dockerfile_is_told_the_version() {
    let dockerfile = read("Dockerfile");
    assert_eq!(values(&dockerfile, "ARG VERSION="), ["unknown", "unknown"]);
    assert!(!dockerfile.contains(VERSION), "Dockerfile says {VERSION}");
}

#[test]
fn the_changelog_has_notes_for_the_next_version_or_for_this_one() {
    let changelog = read("CHANGELOG.md");
    let first = values(&changelog, "## ").first().copied().unwrap();
    let known = ["Unreleased", VERSION, format!("[{VERSION}]").as_str()]
        .iter()
        .any(|name| first.starts_with(name));
    assert!(known, "CHANGELOG.md begins with {first}");
}
