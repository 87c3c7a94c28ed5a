//! The whole generator on a folder: kills at every byte, rolling, waiting, settings.

use std::collections::BTreeMap;

use super::*;

fn options(dir: &Path) -> GeneratorOptions {
    GeneratorOptions {
        producer: "demo".to_owned(),
        dir: dir.to_owned(),
        events_per_second: 0,
        max_events: 20,
        format: GeneratorFormat::Text,
        seed: 42,
        malformed_percent: 25,
        roll_bytes: 1 << 30,
        rolled: Rolled::DeleteOldest { keep: 100 },
    }
}

fn generate(options: &GeneratorOptions) -> Generated {
    run(options, &AtomicBool::new(false), &Counters::default()).unwrap()
}

/// Every visible file by name.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| (entry.file_name().into_string().unwrap(), entry.path()))
        .filter(|(name, _)| !name.starts_with('.'))
        .map(|(name, path)| (name, fs::read(path).unwrap()))
        .collect()
}

/// The numbers of all lines, in the order of the files.
fn numbers(files: &BTreeMap<String, Vec<u8>>) -> Vec<u64> {
    let rolled = files.iter().filter(|(name, _)| *name != "app.log");
    let text: Vec<u8> = rolled
        .chain(files.iter().filter(|(name, _)| *name == "app.log"))
        .flat_map(|(_, bytes)| bytes.clone())
        .collect();
    text.split_inclusive(|&byte| byte == b'\n')
        .map(|line| match check(line) {
            Checked::Good {
                producer: "demo",
                n,
            } => n,
            other => panic!("{other:?}: {}", line.escape_ascii()),
        })
        .collect()
}

#[test]
fn a_kill_at_any_byte_of_the_last_lines_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let options = GeneratorOptions {
        max_events: 5,
        ..options(dir.path())
    };
    assert_eq!(
        generate(&options),
        Generated {
            total: 5,
            written: 5,
            finished: true
        }
    );
    let killed = Killed::new(dir.path());
    for length in 0..killed.log.len() {
        killed.restore(length);
        assert_eq!(generate(&options).total, 5);
        assert!(killed.is_whole(), "killed at byte {length}");
    }
}

/// A folder as a kill leaves it: the state of the start, and a part of the lines.
struct Killed {
    dir: PathBuf,
    state: Vec<u8>,
    log: Vec<u8>,
}

impl Killed {
    fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            state: fs::read(dir.join(".app.log.generator.json")).unwrap(),
            log: fs::read(dir.join("app.log")).unwrap(),
        }
    }

    fn restore(&self, length: usize) {
        fs::write(self.dir.join(".app.log.generator.json"), &self.state).unwrap();
        fs::write(self.dir.join("app.log"), &self.log[..length]).unwrap();
    }

    fn is_whole(&self) -> bool {
        fs::read(self.dir.join("app.log")).unwrap() == self.log
    }
}

#[test]
fn a_paced_generator_that_was_killed_completes_the_line_with_its_old_time() {
    let dir = tempfile::tempdir().unwrap();
    let options = GeneratorOptions {
        events_per_second: 1_000_000,
        ..options(dir.path())
    };
    generate(&options);
    let killed = Killed::new(dir.path());
    let lines = &killed.log[..killed.log.len() - 1];
    let last = lines.iter().rposition(|&b| b == b'\n').unwrap() + 1;
    for length in last + 1..killed.log.len() {
        killed.restore(length);
        generate(&options);
        assert!(killed.is_whole(), "killed at byte {length}");
    }
}

#[test]
fn a_torn_line_of_other_settings_is_completed_with_those() {
    let dir = tempfile::tempdir().unwrap();
    generate(&options(dir.path()));
    let log = dir.path().join("app.log");
    let whole = fs::read(&log).unwrap();
    fs::write(&log, &whole[..whole.len() - 40]).unwrap();
    let json = GeneratorOptions {
        format: GeneratorFormat::Json,
        max_events: 30,
        malformed_percent: 0,
        ..options(dir.path())
    };
    generate(&json);
    let written = fs::read(&log).unwrap();
    assert!(written.starts_with(&whole));
    assert!(written[whole.len()..].starts_with(b"{"));
    assert_eq!(numbers(&files(dir.path())), (0..30).collect::<Vec<_>>());
}

#[test]
fn rolled_files_hold_whole_lines_and_every_kill_between_the_steps_of_a_roll_is_survived() {
    let dir = tempfile::tempdir().unwrap();
    let options = GeneratorOptions {
        roll_bytes: 500,
        ..options(dir.path())
    };
    generate(&options);
    let all = files(dir.path());
    assert!(all.len() > 3, "{:?}", all.keys());
    assert_eq!(numbers(&all), (0..20).collect::<Vec<_>>());
    for (name, bytes) in all.iter().filter(|(name, _)| *name != "app.log") {
        assert_eq!(bytes.last(), Some(&b'\n'), "{name}");
        let last = bytes[..bytes.len() - 1]
            .iter()
            .rposition(|&b| b == b'\n')
            .unwrap()
            + 1;
        assert!(bytes.len() >= 500 && last < 500, "{name}");
    }

    // Killed after the rename: no `app.log`, and the reader has removed what was rolled.
    for name in all.keys() {
        fs::remove_file(dir.path().join(name)).unwrap();
    }
    let first = GeneratorOptions {
        max_events: 40,
        ..options.clone()
    };
    let floor: u64 = all
        .keys()
        .filter_map(|name| name.strip_prefix("app.log.")?.parse().ok())
        .max()
        .unwrap();
    generate(&first);
    assert_eq!(numbers(&files(dir.path())), (floor..40).collect::<Vec<_>>());

    // Killed before the rename: the state is ahead, and the lines decide.
    let rolled = fs::read(dir.path().join("app.log")).unwrap();
    assert!(!rolled.is_empty());
    let next = GeneratorOptions {
        max_events: 41,
        roll_bytes: 1,
        ..options
    };
    generate(&next);
    assert_eq!(numbers(&files(dir.path())), (floor..41).collect::<Vec<_>>());
}

#[test]
fn the_oldest_rolled_files_are_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let options = GeneratorOptions {
        roll_bytes: 300,
        rolled: Rolled::DeleteOldest { keep: 2 },
        ..options(dir.path())
    };
    generate(&options);
    let all = files(dir.path());
    assert_eq!(all.len(), 3, "{:?}", all.keys());
    assert_eq!(*numbers(&all).last().unwrap(), 19);
}

#[test]
fn a_generator_whose_reader_is_behind_stops_when_it_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let options = GeneratorOptions {
        max_events: 0,
        roll_bytes: 300,
        rolled: Rolled::WaitForReader { at_most: 2 },
        ..options(dir.path())
    };
    let stop = AtomicBool::new(false);
    let counters = Counters::default();
    let generated = std::thread::scope(|scope| {
        let run = scope.spawn(|| run(&options, &stop, &counters).unwrap());
        // It stands still as soon as two rolled files and a full `app.log` are there.
        while !full(dir.path()) {
            std::thread::yield_now();
        }
        stop.store(true, Ordering::Relaxed);
        run.join().unwrap()
    });
    assert!(!generated.finished);
    assert_eq!(roll::rolled(dir.path()).unwrap().len(), 2);
    let written = numbers(&files(dir.path()));
    assert_eq!(written, (0..generated.total).collect::<Vec<_>>());
    assert_eq!(counters.generated.get(), generated.total);
}

#[test]
fn lines_of_the_runs_before_are_counted_for_themselves() {
    let dir = tempfile::tempdir().unwrap();
    generate(&options(dir.path()));
    let more = GeneratorOptions {
        max_events: 27,
        ..options(dir.path())
    };
    let counters = Counters::default();
    run(&more, &AtomicBool::new(false), &counters).unwrap();
    let counted = (counters.generated_before.get(), counters.generated.get());
    assert_eq!(counted, (20, 7));
}

fn full(dir: &Path) -> bool {
    let size = fs::metadata(dir.join("app.log")).map_or(0, |file| file.len());
    size >= 300 && roll::rolled(dir).unwrap().len() == 2
}

#[test]
fn lines_of_a_known_number_that_nobody_paces_end_about_now_and_go_on_as_they_were() {
    let dir = tempfile::tempdir().unwrap();
    let options = GeneratorOptions {
        max_events: 1_000_000,
        ..options(dir.path())
    };
    let first = State::start(None, &options, 0, 20_000_000_000);
    assert_eq!(first.epoch.millis_of(0), 20_000_000_000 - 10_000_000);
    assert_eq!(first.epoch.millis_of(1_000_000), 20_000_000_000);
    let later = State::start(Some(&first), &options, 500_000, 90_000_000_000);
    assert_eq!(later.epoch, first.epoch);
    let paced = GeneratorOptions {
        events_per_second: 200,
        ..options
    };
    let resumed = State::start(Some(&later), &paced, 500_000, 90_000_000_000);
    assert_eq!(resumed.epoch.millis_of(500_000), 90_000_000_000);
    assert_eq!(resumed.epoch.millis_of(500_200), 90_000_001_000);
}

#[test]
fn a_rate_says_how_many_lines_are_due() {
    let dir = tempfile::tempdir().unwrap();
    let options = GeneratorOptions {
        events_per_second: 200,
        max_events: 1000,
        ..options(dir.path())
    };
    let writer = Writer::open(&options, State::start(None, &options, 100, 0)).unwrap();
    assert_eq!(writer.due(Duration::ZERO), 101);
    assert_eq!(writer.due(Duration::from_secs(1)), 301);
    assert_eq!(writer.due(Duration::from_hours(1)), 1000);
}

#[test]
fn foreign_folders_are_refused_and_left_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path());
    let stop = AtomicBool::new(false);
    let error = |options: &GeneratorOptions| {
        run(options, &stop, &Counters::default())
            .unwrap_err()
            .to_string()
    };
    let log = dir.path().join("app.log");
    for text in ["hello\n", "hello"] {
        fs::write(&log, text).unwrap();
        assert!(error(&options).contains("does not end in a line of this generator"));
        assert_eq!(fs::read_to_string(&log).unwrap(), text);
    }
    fs::remove_file(&log).unwrap();
    generate(&options);
    let other = GeneratorOptions {
        producer: "other".to_owned(),
        ..options.clone()
    };
    assert!(error(&other).contains("holds lines of the generator \"demo\""));
    let lock = state::lock(dir.path()).unwrap();
    assert!(error(&options).contains("another generator writes to"));
    drop(lock);
    fs::write(dir.path().join(".app.log.generator.json"), "{}").unwrap();
    assert!(error(&options).contains("is not the state of a generator"));
    fs::write(
        dir.path().join(".app.log.generator.json"),
        r#"{"version":9}"#,
    )
    .unwrap();
    assert!(error(&options).contains("run the newer release"));
}
