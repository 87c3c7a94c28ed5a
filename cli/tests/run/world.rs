//! A folder with a manifest, log files and a data folder, and the program that runs on it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// Longer than anything here takes on a busy machine; reaching it is a failure.
const PATIENCE: Duration = Duration::from_mins(1);

/// What a command printed and how it ended.
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    /// Fails with everything that was printed, unless the exit code is `code`.
    #[track_caller]
    pub(crate) fn ends_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.stdout, self.stderr);
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        self
    }

    /// Fails unless the errors say each of these.
    #[track_caller]
    pub(crate) fn says(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(
                self.stderr.contains(text),
                "{text:?} is not in:\n{}",
                self.stderr
            );
        }
        self
    }

    /// The last JSON line, which is the summary of a run.
    #[track_caller]
    pub(crate) fn summary(&self) -> Value {
        let line = self.stdout.lines().last().unwrap_or_default();
        let summary: Value = serde_json::from_str(line).unwrap_or_else(|error| {
            panic!("{error}: {line:?}\n{}", self.stderr);
        });
        assert_eq!(summary["event"], "summary", "{summary}");
        summary
    }
}

/// A folder that is removed at the end.
pub(crate) struct World {
    dir: TempDir,
}

impl World {
    /// One pipeline named `p` with this `source` and more of the spec, each a YAML flow value.
    pub(crate) fn new(source: &str, more: &str) -> Self {
        let world = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        world.manifest(source, more);
        world
    }

    /// A pipeline that reads `app.log`.
    pub(crate) fn of_file(content: impl AsRef<[u8]>) -> Self {
        let world = Self::new("{files: {paths: [app.log]}}", "");
        world.write("app.log", content);
        world
    }

    /// Writes the manifest anew.
    pub(crate) fn manifest(&self, source: &str, more: &str) {
        let text = format!(
            "apiVersion: logpipe.dev/v1alpha1\n\
             kind: LogPipeline\n\
             metadata: {{name: p}}\n\
             spec:\n\
             \x20 source: {source}\n\
             \x20 kafka: {{topic: {{partitions: 1}}}}\n\
             \x20 sink: {{s3: {{bucket: logs}}, rotation: {{intervalSeconds: 1, idleSeconds: 1}}}}\n\
             {more}"
        );
        self.write("p.yaml", text);
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn data(&self, name: &str) -> PathBuf {
        self.dir.path().join("logpipe-data/p").join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub(crate) fn append(&self, name: &str, content: impl AsRef<[u8]>) {
        let mut file = fs::File::options()
            .append(true)
            .create(true)
            .open(self.path(name))
            .unwrap();
        file.write_all(content.as_ref()).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_logpipe"));
        command
            .args(arguments)
            .current_dir(self.dir.path())
            .env_remove("LOGPIPE_LOG")
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn logpipe(&self, arguments: &[&str]) -> Outcome {
        self.start(arguments).wait()
    }

    /// Runs a command whose standard output nobody reads.
    pub(crate) fn without_reader(&self, arguments: &[&str]) -> Outcome {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = self.command(arguments).stdout(writer).output().unwrap();
        Outcome {
            code: output.status.code(),
            stdout: String::new(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs the pipeline; files are read to their end.
    pub(crate) fn run(&self) -> Outcome {
        self.logpipe(&["run", "p.yaml", "--once", "-o", "json"])
    }

    /// Starts a command; what it prints goes to files, so that no pipe can fill up.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running<'_> {
        let printed = tempfile::tempdir_in(self.dir.path()).unwrap();
        let file = |name: &str| fs::File::create(printed.path().join(name)).unwrap();
        let child = self
            .command(arguments)
            .stdout(file("stdout"))
            .stderr(file("stderr"))
            .spawn()
            .unwrap();
        Running {
            child,
            printed,
            world: self,
        }
    }

    /// Starts the pipeline so that it follows its files.
    pub(crate) fn follow(&self) -> Running<'_> {
        self.start(&["run", "p.yaml", "-o", "json"])
    }

    /// The audit must find every line exactly once; its report.
    #[track_caller]
    pub(crate) fn verify(&self) -> Value {
        let outcome = self
            .logpipe(&["verify", "logpipe-data/p", "-o", "json"])
            .ends_with(0);
        let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
        assert_eq!(report["exactlyOnce"], true, "{report:#}");
        report
    }

    /// The rows of the table as `head` prints them for scripts, in the order of the files.
    #[track_caller]
    pub(crate) fn rows(&self) -> Vec<Value> {
        self.head(&[])
    }

    /// The rows of the quarantine.
    #[track_caller]
    pub(crate) fn quarantined(&self) -> Vec<Value> {
        self.head(&["--dead"])
    }

    #[track_caller]
    fn head(&self, more: &[&str]) -> Vec<Value> {
        let arguments = [
            &["head", "logpipe-data/p", "-n", "100000", "-o", "json"],
            more,
        ]
        .concat();
        let outcome = self.logpipe(&arguments).ends_with(0);
        let lines = outcome.stdout.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The messages of the table, sorted.
    #[track_caller]
    pub(crate) fn messages(&self) -> Vec<String> {
        let mut messages: Vec<String> = self
            .rows()
            .iter()
            .map(|row| row["message"].as_str().unwrap().to_owned())
            .collect();
        messages.sort();
        messages
    }

    /// Every Parquet file with its bytes.
    pub(crate) fn parquet(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files = Vec::new();
        collect(&self.data("parquet"), &mut files);
        files.sort();
        files
    }
}

fn collect(dir: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|end| end == "parquet") {
            files.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
}

/// A command that runs; killed when it is dropped, so that a failed test leaves nothing behind.
pub(crate) struct Running<'a> {
    child: Child,
    printed: TempDir,
    world: &'a World,
}

impl Running<'_> {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn printed(&self, name: &str) -> String {
        let bytes = fs::read(self.printed.path().join(name)).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    fn outcome(&self, code: Option<i32>) -> Outcome {
        Outcome {
            code,
            stdout: self.printed("stdout"),
            stderr: self.printed("stderr"),
        }
    }

    /// Waits until a condition holds while the command runs.
    #[track_caller]
    pub(crate) fn until(&mut self, what: &str, mut holds: impl FnMut(&World) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self.world) {
            let ended = self.child.try_wait().unwrap().and_then(|s| s.code());
            let outcome = self.outcome(ended);
            let late = Instant::now() > deadline;
            assert!(
                ended.is_none() && !late,
                "never: {what}\nexit code {ended:?}\n{}\n{}",
                outcome.stdout,
                outcome.stderr
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until it says this on standard error.
    #[track_caller]
    pub(crate) fn until_says(&mut self, text: &str) {
        let stderr = self.printed.path().join("stderr");
        self.until(&format!("it says {text:?}"), |_| {
            fs::read_to_string(&stderr).unwrap().contains(text)
        });
    }

    /// Waits until so many rows are committed, in all runs together.
    #[track_caller]
    pub(crate) fn until_committed(&mut self, rows: u64) {
        self.until(&format!("{rows} rows are committed"), |world| {
            let path = world.data("checkpoints/p00000.checkpoint");
            // One line about the file, then the checkpoint. It may not be there yet.
            let text = fs::read_to_string(path).unwrap_or_default();
            let checkpoint = text.lines().nth(1).unwrap_or("{}");
            let checkpoint: Value = serde_json::from_str(checkpoint).unwrap();
            checkpoint["totals"]["rows"].as_u64().unwrap_or(0) >= rows
        });
    }

    /// Ctrl-C.
    pub(crate) fn interrupt(&self) {
        let killed = Command::new("kill")
            .args(["-INT", &self.pid().to_string()])
            .status()
            .unwrap();
        assert!(killed.success());
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for the end.
    #[track_caller]
    pub(crate) fn wait(mut self) -> Outcome {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return self.outcome(status.code());
            }
            let outcome = self.outcome(None);
            assert!(
                Instant::now() < deadline,
                "it does not end\n{}\n{}",
                outcome.stdout,
                outcome.stderr
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
