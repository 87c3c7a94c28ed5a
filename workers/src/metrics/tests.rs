use std::path::Path;

use super::*;
use crate::etl::seen;

fn etl() -> Role {
    let control = Arc::new(Control::new(2));
    control.seen().came(1, 5);
    Role::Etl(control)
}

#[test]
fn what_is_not_known_yet_is_not_told() {
    let role = etl();
    let counters = Counters::default();
    let before = text(&role, &counters);
    assert!(!before.contains("logpipe_etl_lag_records"), "{before}");
    let Role::Etl(control) = &role else {
        unreachable!("it is one")
    };
    control.seen().note_end(1, 12);
    let after = text(&role, &counters);
    assert!(
        after.contains("logpipe_etl_lag_records{partition=\"1\"} 7\n"),
        "{after}"
    );
    assert!(after.contains("logpipe_etl_partitions 1\n"), "{after}");
}

#[test]
fn every_reason_has_its_own_count() {
    let counters = Counters::default();
    for (at, reason) in RejectReason::ALL.iter().enumerate() {
        assert_eq!(*reason as usize, at);
    }
    counters.rejected[RejectReason::WrongType as usize].add(3);
    let text = text(&etl(), &counters);
    let line = "logpipe_etl_rejected_lines_total{reason=\"WrongType\"} 3\n";
    assert!(text.contains(line), "{text}");
}

#[test]
fn the_age_of_the_oldest_record_grows_until_it_is_committed() {
    let oldest = |partition: seen::Partition| {
        let definition = ETL
            .iter()
            .find(|d| d.name.ends_with("oldest_unwritten_seconds"));
        match definition.map(|definition| definition.values) {
            Some(Values::Partition(read)) => read(&partition, 9_000_000),
            _ => None,
        }
    };
    let waiting = seen::Partition {
        oldest: Some(2_000_000),
        ..seen::Partition::default()
    };
    assert_eq!(oldest(waiting), Some(7.0));
    assert_eq!(oldest(seen::Partition::default()), Some(0.0));
}

#[test]
fn the_reference_has_every_metric() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/metrics.md");
    let found = std::fs::read_to_string(&file).unwrap();
    let (begin, end) = (
        "<!-- workers: LOGPIPE_BLESS=1 -->\n",
        "<!-- end of workers -->",
    );
    let (head, rest) = found.split_once(begin).unwrap();
    let (_, tail) = rest.split_once(end).unwrap();
    let wanted = format!("{head}{begin}{}{end}{tail}", reference());
    if std::env::var_os("LOGPIPE_BLESS").is_some() {
        std::fs::write(&file, wanted).unwrap();
        return;
    }
    assert!(
        found == wanted,
        "{} is old: LOGPIPE_BLESS=1 cargo test",
        file.display()
    );
}
