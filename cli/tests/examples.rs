//! The manifests of `examples/`, which people copy: each must be good, and each must be told of.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn examples() -> Vec<String> {
    let folder = fs::read_dir(root().join("examples")).unwrap();
    let paths = folder.map(|entry| entry.unwrap().path());
    let mut names: Vec<String> = paths
        .filter(|path| path.extension().is_some_and(|kind| kind == "yaml"))
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    assert!(names.len() >= 6, "the examples are gone: {names:?}");
    names
}

#[test]
fn each_example_is_valid_without_a_warning() {
    for name in examples() {
        let output = Command::new(env!("CARGO_BIN_EXE_logpipe"))
            .args(["validate", "-f", &format!("examples/{name}")])
            .current_dir(root())
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{name}: {said}");
        assert!(said.contains("1 pipeline valid"), "{name}: {said}");
        // Some are for `logpipe run`, which has the files of its machine.
        let mut warnings = said.lines().filter(|line| line.starts_with("warning"));
        let fine = |line: &str| line.starts_with("warning: spec.source.files.volume: ");
        assert!(warnings.all(fine), "{name}: {said}");
    }
}

#[test]
fn the_documentation_tells_of_each_example() {
    let index = fs::read_to_string(root().join("docs/README.md")).unwrap();
    for name in examples() {
        let link = format!("(../examples/{name})");
        assert!(index.contains(&link), "docs/README.md has no {link}");
    }
}
