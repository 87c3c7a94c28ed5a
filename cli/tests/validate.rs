//! `logpipe validate` as people and scripts meet it: the program itself on the manifests of
//! `tests/validate/`, each with the text it must print beside it.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/validate")
}

fn validate(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_logpipe"));
    command
        .arg("validate")
        .args(arguments)
        .current_dir(cases())
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn each_manifest_gives_the_text_beside_it() {
    let mut manifests: Vec<PathBuf> = std::fs::read_dir(cases())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    manifests.retain(|path| path.extension().is_some_and(|e| e == "yaml" || e == "json"));
    manifests.sort();
    assert!(manifests.len() >= 20, "the cases are gone");
    let mut differing = Vec::new();
    for path in &manifests {
        let name = path.file_name().unwrap().to_str().unwrap();
        let output = validate(&["-f", name]);
        let printed = format!(
            "{}exit code {}\n",
            text(&output),
            output.status.code().unwrap()
        );
        let beside = path.with_extension("txt");
        if std::env::var_os("LOGPIPE_BLESS").is_some() {
            std::fs::write(&beside, printed).unwrap();
        } else if std::fs::read_to_string(&beside).unwrap_or_default() != printed {
            differing.push(format!("{name} now prints:\n{printed}"));
        }
    }
    assert!(
        differing.is_empty(),
        "{}\nTo renew, run:  LOGPIPE_BLESS=1 cargo test -p logpipe --test validate\n\
         and look at the difference before you commit it.",
        differing.join("\n")
    );
}

#[test]
fn thirty_faults_are_told_at_once_for_scripts_too() {
    let output = validate(&["-f", "thirty-faults.yaml", "-o", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_str(&text(&output)).unwrap();
    assert_eq!(report["valid"], false);
    let faults = report["files"][0]["faults"].as_array().unwrap();
    assert!(faults.len() >= 30, "{}", faults.len());
    let misspelt = faults
        .iter()
        .find(|fault| fault["path"] == "spec.sink.s3.bukcet")
        .unwrap();
    assert_eq!(
        *misspelt,
        serde_json::json!({
            "severity": "error",
            "kind": "unknownField",
            "line": 45,
            "column": 7,
            "path": "spec.sink.s3.bukcet",
            "message": "there is no such field",
            "expected": "not a field of spec.sink.s3",
            "help": "did you mean `bucket`?",
        })
    );
}

#[test]
fn every_example_is_valid() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let output = validate(&["-f", examples.to_str().unwrap(), "-o", "json"]);
    let report: serde_json::Value = serde_json::from_str(&text(&output)).unwrap();
    assert_eq!(output.status.code(), Some(0), "{report:#}");
    let files = report["files"].as_array().unwrap();
    assert!(files.len() >= 2);
    for file in files {
        for fault in file["faults"].as_array().unwrap() {
            // Examples for `logpipe run` alone.
            assert_eq!(fault["kind"], "cluster", "{file:#}");
        }
        assert_ne!(file["pipelines"], serde_json::json!([]), "{file:#}");
    }
}

#[test]
fn a_manifest_comes_from_standard_input() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_logpipe"));
    command
        .args(["validate", "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let manifest = std::fs::read(cases().join("warnings.yaml")).unwrap();
    child.stdin.take().unwrap().write_all(&manifest).unwrap();
    let output = child.wait_with_output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.contains("\n  --> <stdin>:12:18"), "{printed}");
    assert!(
        printed.ends_with("✓ <stdin>: shop\n1 pipeline valid\n"),
        "{printed}"
    );
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn many_files_are_checked_in_one_go() {
    let output = validate(&[
        "-f",
        "two-sources.yaml",
        "-f",
        "missing.yaml",
        "-f",
        "others.yaml",
    ]);
    let printed = text(&output);
    assert!(
        printed.contains("must have exactly one of generator, files and topic"),
        "{printed}"
    );
    assert!(
        printed.contains("error: missing.yaml cannot be read: "),
        "{printed}"
    );
    assert!(
        printed.contains("✓ others.yaml: shop (skipped: Secret s3-credentials)"),
        "{printed}"
    );
    assert!(printed.ends_with("2 errors in 2 of 3 files\n"), "{printed}");
    assert_eq!(output.status.code(), Some(1));
}

/// As it stands in a repository of manifests, among those of others.
#[test]
fn in_a_folder_only_what_is_ours_is_judged() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    write("values.yaml", b"replicas: 1\n");
    write(
        "template.yaml",
        b"apiVersion: v1\nkind: {{ .Values.kind }}\nx: y: z\n",
    );
    write("twice.yaml", b"apiVersion: v1\nkind: Secret\na: 1\na: 2\n");
    write("latin1.yaml", b"name: caf\xe9\n");
    let others =
        b"apiVersion: telemetry.kyma-project.io/v1alpha1\nkind: LogPipeline\nmetadata: {name: x}\n";
    write("others.yaml", others);
    let judge = || validate(&["-f", folder.path().to_str().unwrap()]);
    let output = judge();
    let sum = "there is no LogPipeline to check (skipped: 5 files without a LogPipeline)\n";
    assert_eq!(
        (text(&output).as_str(), output.status.code()),
        (sum, Some(1))
    );

    let ours = std::fs::read(cases().join("warnings.yaml")).unwrap();
    write(
        "ours.yaml",
        &[&ours[..], b"---\n", others, b"---\n{{ x }}: y\n"].concat(),
    );
    let output = judge();
    let printed = text(&output);
    assert!(
        printed.ends_with("1 pipeline valid (skipped: 5 files without a LogPipeline)\n"),
        "{printed}"
    );
    assert!(
        printed.contains("ours.yaml: shop (skipped: LogPipeline x, object)"),
        "{printed}"
    );
    assert_eq!(output.status.code(), Some(0));

    write(
        "template.yaml",
        b"apiVersion: logpipe.dev/v1alpha1\nkind: {{ .Values.kind }}\nx: y: z\n",
    );
    let output = judge();
    assert!(text(&output).contains("template.yaml: invalid"));
    assert_eq!(output.status.code(), Some(1));
    // A file that is named means to be a manifest.
    let named = folder.path().join("values.yaml");
    let output = validate(&["-f", named.to_str().unwrap()]);
    assert!(text(&output).contains("apiVersion: it must be set"));
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn wrong_usage_has_its_own_exit_code() {
    assert_eq!(validate(&[]).status.code(), Some(2));
    assert_eq!(
        validate(&["-f", "merge.yaml", "-o", "xml"]).status.code(),
        Some(2)
    );
}
