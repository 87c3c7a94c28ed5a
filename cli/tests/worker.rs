//! `logpipe worker` as whatever runs containers meets it: the program itself, by its exit codes, its logs and its
//! signals.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

fn worker(role: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_logpipe"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("LOGPIPE_")) {
        command.env_remove(name);
    }
    command.args(["worker", role]);
    command
}

fn generator(dir: &Path) -> Command {
    let mut command = worker("generate");
    for (name, value) in [
        ("NAME", "shop"),
        ("DIR", dir.to_str().unwrap()),
        ("EVENTS_PER_SECOND", "0"),
        ("MAX_EVENTS", "7"),
        ("FORMAT", "Text"),
        ("SEED", "42"),
        ("MALFORMED_PERCENT", "0"),
    ] {
        command.env(format!("LOGPIPE_GENERATOR_{name}"), value);
    }
    command
}

#[test]
fn every_role_without_its_variables_ends_with_2() {
    for role in ["generate", "produce", "etl", "topic", "survey"] {
        let output = worker(role).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{role}: {error}");
        assert!(error.starts_with("error: "), "{role}: {error}");
        assert!(error.contains("LOGPIPE_"), "{role}: {error}");
    }
}

#[test]
fn what_a_person_must_mend_ends_with_3() {
    let secrets = TempDir::new().unwrap();
    let output = worker("probe")
        .envs([
            ("LOGPIPE_S3_BUCKET", "logs"),
            ("LOGPIPE_S3_PREFIX", ""),
            ("LOGPIPE_S3_REGION", "us-east-1"),
            ("LOGPIPE_S3_ADDRESSING", "Path"),
            ("LOGPIPE_S3_ENDPOINT", "http://127.0.0.1:1"),
        ])
        .env("LOGPIPE_S3_CREDENTIALS_DIR", secrets.path())
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{error}");
}

#[test]
fn a_role_logs_to_standard_error_as_json_where_that_is_asked() {
    let dir = TempDir::new().unwrap();
    let output = generator(dir.path())
        .env("LOGPIPE_LOG_FORMAT", "json")
        .output()
        .unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{log}");
    assert!(output.stdout.is_empty());
    let last: serde_json::Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert_eq!(last["fields"]["message"], "generated", "{log}");
    assert_eq!(last["fields"]["lines"], 7, "{log}");
}

#[test]
fn the_first_signal_to_stop_ends_with_0() {
    let dir = TempDir::new().unwrap();
    let mut process = generator(dir.path())
        .arg("--stay")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
    let generated = log.find(|line| line.as_ref().unwrap().contains("generated"));
    assert!(generated.is_some(), "it ended by itself");
    let sent = Command::new("kill").arg(process.id().to_string()).status();
    assert!(sent.unwrap().success());
    let told: Vec<String> = log.map(Result::unwrap).collect();
    assert_eq!(process.wait().unwrap().code(), Some(0), "{told:?}");
    assert!(
        told.iter().any(|line| line.contains("stopping")),
        "{told:?}"
    );
}
