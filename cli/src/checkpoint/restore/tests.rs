use logpipe_workers::checkpoint::survey::LogSeen;
use logpipe_workers::log::Identity;

use super::*;

/// Two partitions; nothing is in the sink, and the log begins at 0.
fn survey() -> Survey {
    let seen = |partition| PartitionSeen {
        partition,
        log: 0..10,
        sink: Sink::Empty,
    };
    Survey {
        log: LogSeen::of(&log("topic")),
        partitions: (0..2).map(seen).collect(),
        plans: Vec::new(),
    }
}

fn log(topic_id: &str) -> Identity {
    Identity {
        cluster: "cluster".to_owned(),
        topic: "shop".to_owned(),
        topic_id: topic_id.to_owned(),
        partitions: 2,
    }
}

fn value(partition: u32, topic_id: &str) -> Vec<u8> {
    Checkpoint::new(&log(topic_id), partition, 0, "worker").encode()
}

fn text(value: Vec<u8>) -> String {
    String::from_utf8(value).unwrap()
}

fn stored<const N: usize>(values: [(&str, Vec<u8>); N]) -> BTreeMap<String, Stored> {
    let entry = |(key, value): (&str, Vec<u8>)| (key.to_owned(), Stored::Value(value));
    values.map(entry).into()
}

fn actions(plan: &Plan) -> Vec<Action> {
    plan.lines.iter().map(|line| line.action).collect()
}

const FROM_SINK: Source<'static> = Source::Sink {
    owner: String::new(),
    assume_unwritten: false,
};

#[test]
fn what_fits_is_kept_and_what_was_never_written_needs_its_object() {
    let found = stored([("p00000", value(0, "topic"))]);
    let plan = plan(&survey(), &found, &FROM_SINK).unwrap();
    assert_eq!(actions(&plan), [Action::Kept, Action::Unwritten]);
    let unwritten = |key: &str| Change {
        key: key.to_owned(),
        old: None,
        new: None,
    };
    assert_eq!(plan.changes, ["p00001", PLAN_KEY].map(unwritten));
}

#[test]
fn a_file_never_replaces_what_fits() {
    let mut other = Checkpoint::decode(&value(0, "topic")).unwrap();
    other.owner = "another".to_owned();
    let values = BTreeMap::from([("p00000".to_owned(), text(other.encode()))]);
    let found = stored([("p00000", value(0, "topic"))]);
    let plan = plan(&survey(), &found, &Source::File(&values)).unwrap();
    assert_eq!(actions(&plan), [Action::Kept, Action::Unwritten]);
}

#[test]
fn one_partition_that_cannot_be_restored_keeps_all_from_being_written() {
    let values = BTreeMap::from([
        ("p00000".to_owned(), text(value(0, "topic"))),
        ("p00001".to_owned(), text(value(1, "another"))),
    ]);
    let restored = plan(&survey(), &BTreeMap::new(), &Source::File(&values)).unwrap();
    assert_eq!(actions(&restored), [Action::Written, Action::Refused]);
    assert!(!restored.is_possible());
    let text = restored.print(Format::Text, "here", false).unwrap();
    assert!(text.contains("topic id another"), "{text}");
    assert!(
        text.contains("nothing was written: 1 partition cannot be restored"),
        "{text}"
    );
}

#[test]
fn a_value_of_another_partition_or_of_no_form_is_refused() {
    for wrong in [text(value(1, "topic")), "{}".to_owned()] {
        let values = BTreeMap::from([("p00000".to_owned(), wrong)]);
        let plan = plan(&survey(), &BTreeMap::new(), &Source::File(&values)).unwrap();
        assert_eq!(actions(&plan), [Action::Refused, Action::Unwritten]);
    }
}

#[test]
fn a_partition_with_files_must_be_in_the_file() {
    let mut survey = survey();
    survey.partitions[1].sink = Sink::Broken("a gap".to_owned());
    let values = BTreeMap::from([("p00000".to_owned(), text(value(0, "topic")))]);
    let plan = plan(&survey, &BTreeMap::new(), &Source::File(&values)).unwrap();
    assert_eq!(actions(&plan), [Action::Written, Action::Refused]);
    assert!(
        plan.lines[1]
            .reason
            .as_ref()
            .unwrap()
            .contains("is not in the file")
    );
}

#[test]
fn the_plans_come_from_the_file_where_they_are_gone() {
    let plans = r#"{"v":1,"plans":[]}"#.to_owned();
    let values = BTreeMap::from([(PLAN_KEY.to_owned(), plans.clone())]);
    let restored = plan(&survey(), &BTreeMap::new(), &Source::File(&values)).unwrap();
    let last = restored.changes.last().unwrap();
    assert_eq!((last.key.as_str(), &last.old), (PLAN_KEY, &None));
    assert_eq!(last.new, Some(plans.clone().into_bytes()));
    let found = stored([(PLAN_KEY, plans.into_bytes())]);
    let kept = plan(&survey(), &found, &Source::File(&values)).unwrap();
    assert!(kept.changes.iter().all(|change| change.key != PLAN_KEY));
}
