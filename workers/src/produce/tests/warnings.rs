//! What is lost is said aloud.

use std::cell::RefCell;
use std::fmt::{self, Write as _};
use std::sync::Once;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use super::*;

thread_local! {
    static WARNINGS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Keeps the warnings of each thread. One for all tests, and for good: subscribers that come and go while other
/// tests run can leave a place in the code switched off.
struct Warnings;

struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        write!(self.0, "{field}={value:?} ").unwrap();
    }
}

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields(String::new());
        event.record(&mut fields);
        WARNINGS.with_borrow_mut(|warnings| warnings.push(fields.0));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

fn warnings(act: impl FnOnce()) -> Vec<String> {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| tracing::subscriber::set_global_default(Warnings).unwrap());
    WARNINGS.take();
    act();
    WARNINGS.take()
}

#[test]
fn a_file_that_went_while_nobody_looked_is_a_warning_with_its_path_and_offset() {
    let world = World::new(1, &["app.log"]);
    world.append("app.log", numbered(0..5));
    world.finish();
    world.append("app.log", numbered(5..7));
    fs::remove_file(world.path("app.log")).unwrap();
    world.append("app.log", numbered(7..9));
    let warned = warnings(|| world.finish());
    let about = |warning: &&String| {
        let from = format!("from={} ", numbered(0..5).len());
        warning.contains("app.log") && warning.contains(&from)
    };
    assert_eq!(warned.iter().filter(about).count(), 1, "{warned:?}");
    // It is said once.
    assert_eq!(warnings(|| world.finish()), Vec::<String>::new());
}

#[test]
fn bytes_that_were_seen_and_destroyed_are_a_warning_with_both_ends() {
    let world = World::new(1, &["app.log"]);
    world.append("app.log", "first\npartial");
    let warned = warnings(|| {
        let control = Control::new();
        let mut producer = Running::start(&world, &control).unwrap();
        producer.settle();
        world.write("app.log", "other\n");
        producer.finish();
    });
    let about = |warning: &&String| warning.contains("from=6 ") && warning.contains("to=13 ");
    assert_eq!(warned.iter().filter(about).count(), 1, "{warned:?}");
}

#[test]
fn a_file_that_was_removed_when_it_was_done_is_not_called_lost_after_a_crash() {
    let mut world = World::new(1, &["app.log"]);
    world.options.delete_finished = true;
    world.append("app.log.000000000010", numbered(0..5));
    world.append("app.log", numbered(5..7));
    let warned = warnings(|| {
        let control = Control::new();
        let mut producer = Running::start(&world, &control).unwrap();
        while world.path("app.log.000000000010").exists() {
            producer.try_round().unwrap();
        }
        drop(producer);
        world.finish();
    });
    assert_eq!(warned, Vec::<String>::new());
    assert_eq!(world.lines().concat(), numbered(0..7));
}

#[test]
fn a_known_file_that_cannot_be_read_for_a_while_is_not_called_lost() {
    as_nobody(|| {
        use std::os::unix::fs::PermissionsExt;
        let world = World::new(1, &["a.log", "b.log"]);
        world.append("a.log", numbered(0..2));
        world.append("b.log", numbered(2..4));
        world.finish();
        let allow = |mode| {
            let mode = fs::Permissions::from_mode(mode);
            fs::set_permissions(world.path("b.log"), mode).unwrap();
        };
        world.append("b.log", numbered(4..6));
        allow(0o000);
        let warned = warnings(|| world.finish());
        assert!(
            matches!(&warned[..], [one] if one.contains("cannot read a file")),
            "{warned:?}"
        );
        allow(0o600);
        assert_eq!(warnings(|| world.finish()), Vec::<String>::new());
        assert_eq!(world.lines().concat(), numbered(0..6));
    });
}
