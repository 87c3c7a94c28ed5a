//! The formats by name.

use logpipe_api::pipeline::ParserType;

use super::*;
use crate::etl::row::RejectReason;

fn detail(kind: ParserType, line: &str) -> String {
    let plan = resolved(&transform(kind), &["2026-01-31 07:00:00 INFO a"]).plan;
    row(&plan, line).unwrap_err().detail
}

#[test]
fn text_is_a_time_a_level_and_a_message() {
    assert_eq!(
        rows(
            ParserType::Text,
            &["2026-01-31 07:00:00,123 INFO  two  words "]
        )[0],
        [
            "timestamp=2026-01-31T07:00:00.123Z",
            "level=INFO",
            "message=two  words"
        ]
    );
    assert_eq!(
        detail(ParserType::Text, "Exception in thread \"main\" java"),
        "no timestamp at byte 0: found \"Exception in thread \\\"mai\""
    );
    assert_eq!(
        detail(ParserType::Text, ""),
        "no timestamp at byte 0: the line ends there"
    );
    assert!(
        detail(ParserType::Text, "2026-01-31 07:00:00 hello").starts_with("no level at byte 20")
    );
    let plan = resolved(&transform(ParserType::Text), &[]).plan;
    let reject = row(&plan, "2026-13-31 07:00:00 INFO a").unwrap_err();
    assert_eq!(reject.reason, RejectReason::InvalidTimestamp);
}

#[test]
fn container_lines_keep_their_message_to_the_byte() {
    let plan = resolved(&transform(ParserType::Cri), &[]).plan;
    assert_eq!(
        row(&plan, "2026-01-31T07:00:00.5+01:00 stderr P  two  spaces ").unwrap(),
        [
            "timestamp=2026-01-31T06:00:00.5Z",
            "message= two  spaces ",
            "stream=stderr",
            "tag=P"
        ]
    );
    assert_eq!(
        row(&plan, "2026-01-31T07:00:00Z stdout F").unwrap()[1],
        "message="
    );
    assert_eq!(
        row(&plan, "2026-01-31T07:00:00Z stdout F ").unwrap()[1],
        "message="
    );
    for line in [
        "2026-01-31T07:00:00Z",
        "2026-01-31T07:00:00Z stdin F x",
        "2026-01-31T07:00:00Z stdout X x",
        "x",
    ] {
        assert_eq!(
            row(&plan, line).unwrap_err().reason,
            RejectReason::Malformed,
            "{line}"
        );
    }
}

#[test]
fn access_logs_are_read_in_all_their_dresses() {
    let plan = resolved(&transform(ParserType::Nginx), &[]).plan;
    assert_eq!(
        row(
            &plan,
            r#"shop:443 ::1 - ann [31/Jan/2026:07:00:00 +0000] "GET /a b?q=\"x\" HTTP/2.0" 404 - "http://r/" "Mozilla \"5\" (X11)" 0.003 "-""#
        )
        .unwrap(),
        [
            "timestamp=2026-01-31T07:00:00Z",
            r#"message=GET /a b?q=\"x\" HTTP/2.0"#,
            "remote_addr=::1",
            "user=ann",
            "method=GET",
            r#"path=/a b?q=\"x\""#,
            "protocol=HTTP/2.0",
            "status=404",
            "referer=http://r/",
            r#"user_agent=Mozilla \"5\" (X11)"#,
            "vhost=shop:443",
            "extra=0.003 \"-\"",
        ]
    );
    assert_eq!(
        row(
            &plan,
            r#"1.2.3.4 - - [31/Jan/2026:07:00:00 +0000] "\x16\x03" 400 157 "-" "-""#
        )
        .unwrap(),
        [
            "timestamp=2026-01-31T07:00:00Z",
            "message=\\x16\\x03",
            "remote_addr=1.2.3.4",
            "status=400",
            "bytes=157"
        ]
    );
    for line in [
        "",
        "a [",
        "a b c [31/Jan/2026:07:00:00 +0000] \"GET",
        "a b c [x] \"GET\" 200 1",
    ] {
        assert!(row(&plan, line).is_err(), "{line}");
    }
}

#[test]
fn syslog_is_read_in_all_its_dialects() {
    let plan = resolved(
        &transform(ParserType::Syslog),
        &["<34>1 2003-10-11T22:14:15.003Z h app x ID [a b=\"c\"] m"],
    )
    .plan;
    assert_eq!(
        row(&plan, r#"<165>1 2003-10-11T22:14:15.003Z host evntslog 12 ID47 [ex@1 iut="3" s="a\"b\]"][p@2] An event"#).unwrap(),
        [
            "timestamp=2003-10-11T22:14:15.003Z",
            "level=notice",
            "message=An event",
            "host=host",
            "process=evntslog",
            "pid=12",
            "facility=local4",
            "msgid=ID47",
            r#"structured_data={"ex@1":{"iut":"3","s":"a\"b]"},"p@2":{}}"#,
        ]
    );
    assert_eq!(
        row(&plan, "<34>1 - - su - - - \u{feff}nothing known").unwrap(),
        [
            "level=crit",
            "message=nothing known",
            "process=su",
            "facility=auth"
        ]
    );
    assert_eq!(
        row(&plan, "<34>Oct 11 22:14:15 mymachine su: 'su root' failed").unwrap(),
        [
            "timestamp=2025-10-11T22:14:15Z",
            "level=crit",
            "message='su root' failed",
            "host=mymachine",
            "process=su",
            "facility=auth"
        ]
    );
    assert_eq!(
        row(&plan, "<13>free text").unwrap(),
        ["level=notice", "message=free text", "facility=user"]
    );
    for line in [
        "<34>1 x h a p m - m",
        "<34>1 - - su - - [a b=\"c m",
        "<999>x",
        "hello",
        "",
        "<34>1 ",
    ] {
        assert!(row(&plan, line).is_err(), "{line}");
    }
}

#[test]
fn plain_syslog_has_a_host_and_mostly_a_process() {
    let lines = [
        "Jun 14 15:16:01 combo sshd(pam_unix)[19939]: check pass; user unknown ",
        "Jun 19 04:09:11 combo syslogd 1.4.1: restart.",
        "Jul  7 08:06:15 combo  -- root[2421]: ROOT LOGIN ON tty2",
        "Jul  7 08:06:15 combo kernel:  BIOS-e820: 0000 (usable)",
        "Jul  7 08:06:15 combo last message repeated 3 times",
        "2026-01-31T07:00:00.123456+01:00 combo systemd[1]: Started a.",
    ];
    let rows = rows(ParserType::Auto, &lines);
    assert_eq!(
        rows[0],
        [
            "timestamp=2025-06-14T15:16:01Z",
            "message=check pass; user unknown",
            "host=combo",
            "process=sshd(pam_unix)",
            "pid=19939"
        ]
    );
    assert_eq!(
        rows[1][1..],
        ["message=restart.", "host=combo", "process=syslogd 1.4.1"]
    );
    assert_eq!(
        rows[2][1..],
        [
            "message=ROOT LOGIN ON tty2",
            "host=combo",
            "process=-- root",
            "pid=2421"
        ]
    );
    assert_eq!(
        rows[3][1..],
        [
            "message=BIOS-e820: 0000 (usable)",
            "host=combo",
            "process=kernel"
        ]
    );
    assert_eq!(
        rows[4][1..],
        ["message=last message repeated 3 times", "host=combo"]
    );
    assert_eq!(rows[5][0], "timestamp=2026-01-31T06:00:00.123456Z");
}

#[test]
fn the_named_groups_of_a_pattern_are_the_columns() {
    let mut with_pattern = transform(ParserType::Regex);
    with_pattern.parser.pattern =
        Some(r"^(?<timestamp>\S+ \S+) \[(?<level>\w+)\] (?:(?<user>\w+): )?(?<message>.*)$".into());
    let plan = resolved(&with_pattern, &[]).plan;
    assert_eq!(
        row(&plan, "2026-01-31 07:00:00 [INFO] ann: hi").unwrap(),
        [
            "timestamp=2026-01-31T07:00:00Z",
            "level=INFO",
            "message=hi",
            "user=ann"
        ]
    );
    assert_eq!(
        row(&plan, "2026-01-31 07:00:00 [INFO] hi").unwrap().len(),
        3
    );
    assert_eq!(
        row(&plan, "nothing").unwrap_err().reason,
        RejectReason::Malformed
    );
    assert_eq!(
        row(&plan, "a b [INFO] hi").unwrap_err().reason,
        RejectReason::InvalidTimestamp
    );
    for (pattern, fault) in [
        ("(", "no regular expression"),
        ("a", "no named group"),
        (r"(?<a>\w{1000}){1000}", "no regular expression"),
    ] {
        with_pattern.parser.pattern = Some(pattern.into());
        let error = resolve(&with_pattern, Granularity::Hour, &[], 0).unwrap_err();
        assert!(error.to_string().contains(fault), "{error}");
    }
}

#[test]
fn times_without_a_zone_are_in_the_zone_of_the_manifest() {
    let mut zurich = transform(ParserType::Text);
    zurich.parser.timezone = "Europe/Zurich".into();
    let plan = resolved(&zurich, &[]).plan;
    assert_eq!(
        row(&plan, "2026-07-01 07:00:00 INFO a").unwrap()[0],
        "timestamp=2026-07-01T05:00:00Z"
    );
    assert_eq!(
        row(&plan, "2026-07-01 07:00:00Z INFO a").unwrap()[0],
        "timestamp=2026-07-01T07:00:00Z"
    );
    zurich.parser.timezone = "Europe/Atlantis".into();
    let error = resolve(&zurich, Granularity::Hour, &[], 0).unwrap_err();
    assert!(error.to_string().contains("Europe/Atlantis"));
}
