//! What `Auto` makes of lines as well-known programs write them.

use logpipe_api::pipeline::ParserType;

use super::*;

/// Lines of one program; the kind that is chosen; the first line's row.
type Case = (&'static [&'static str], ParserType, &'static [&'static str]);

const CASES: &[Case] = &[
    (
        &[
            "2026-01-31 07:00:00,123 INFO user 7 logged in",
            "2026-01-31 07:00:01,001 WARN slow: 3 s",
        ],
        ParserType::Text,
        &[
            "timestamp=2026-01-31T07:00:00.123Z",
            "level=INFO",
            "message=user 7 logged in",
        ],
    ),
    (
        &["081109 203615 148 INFO dfs.Data$Responder: block 1 terminating"],
        ParserType::Log4j,
        &[
            "timestamp=2008-11-09T20:36:15Z",
            "level=INFO",
            "message=block 1 terminating",
            "pid=148",
            "logger=dfs.Data$Responder",
        ],
    ),
    (
        &["17/06/09 20:10:40 INFO storage.Manager: Found block rdd_1 locally"],
        ParserType::Log4j,
        &[
            "timestamp=2017-06-09T20:10:40Z",
            "level=INFO",
            "message=Found block rdd_1 locally",
            "logger=storage.Manager",
        ],
    ),
    (
        &["2015-10-18 18:01:47,978 INFO [main] org.apache.hadoop.App: Created for application a_1"],
        ParserType::Log4j,
        &[
            "timestamp=2015-10-18T18:01:47.978Z",
            "level=INFO",
            "message=Created for application a_1",
            "thread=main",
            "logger=org.apache.hadoop.App",
        ],
    ),
    (
        &[
            "nova-api.log.1.2017-05-16_13:53:08 2017-05-16 00:00:00.008 25746 INFO nova.wsgi [req-38 113d - - -] 10.11.10.1 \"GET /v2\" status: 200",
        ],
        ParserType::Log4j,
        &[
            "timestamp=2017-05-16T00:00:00.008Z",
            "level=INFO",
            "message=10.11.10.1 \"GET /v2\" status: 200",
            "file=nova-api.log.1.2017-05-16_13:53:08",
            "pid=25746",
            "logger=nova.wsgi",
            "request=req-38 113d - - -",
        ],
    ),
    (
        &[
            "Jul  1 09:00:55 laptop-3 kernel[0]: Thunderbolt<0>(0x0)::callback - quirk",
            "Jul  1 09:01:06 laptop-3 com.apple.xpc.launchd[1] (com.apple.x[97]): Service exited",
        ],
        ParserType::Syslog,
        &[
            "timestamp=2025-07-01T09:00:55Z",
            "message=Thunderbolt<0>(0x0)::callback - quirk",
            "host=laptop-3",
            "process=kernel",
            "pid=0",
        ],
    ),
    (
        &[
            "- 1131566461 2005.11.09 dn228 Nov 9 12:01:01 dn228/dn228 crond(pam_unix)[2915]: session closed",
        ],
        ParserType::Log4j,
        &[
            "timestamp=2005-11-09T20:01:01Z",
            "message=session closed",
            "label=-",
            "date=2005.11.09",
            "user=dn228",
            "month=Nov",
            "day=9",
            "time=12:01:01",
            "host=dn228/dn228",
            "process=crond(pam_unix)",
            "pid=2915",
        ],
    ),
    (
        &[
            "- 1117838570 2005.06.03 R02-M1-N0 2005-06-03-15.42.50.675872 R02-M1-N0 RAS KERNEL INFO instruction cache parity error corrected",
        ],
        ParserType::Log4j,
        &[
            "timestamp=2005-06-03T22:42:50Z",
            "level=INFO",
            "message=instruction cache parity error corrected",
            "label=-",
            "date=2005.06.03",
            "node=R02-M1-N0",
            "time=2005-06-03-15.42.50.675872",
            "node_repeat=R02-M1-N0",
            "type=RAS",
            "logger=KERNEL",
        ],
    ),
    (
        &["134681 node-246 unix.hw state_change.unavailable 1077804742 1 Component State Change"],
        ParserType::Log4j,
        &[
            "timestamp=2004-02-26T14:12:22Z",
            "message=Component State Change",
            "id=134681",
            "node=node-246",
            "logger=unix.hw",
            "state=state_change.unavailable",
            "flag=1",
        ],
    ),
    (
        &["2016-09-28 04:30:30, Info                  CBS    Loaded Servicing Stack v6.1"],
        ParserType::Log4j,
        &[
            "timestamp=2016-09-28T04:30:30Z",
            "level=Info",
            "message=Loaded Servicing Stack v6.1",
            "logger=CBS",
        ],
    ),
    (
        &["Dec 10 06:55:46 LabSZ sshd[24200]: Invalid user webmaster from 1.2.3.4"],
        ParserType::Syslog,
        &[
            "timestamp=2025-12-10T06:55:46Z",
            "message=Invalid user webmaster from 1.2.3.4",
            "host=LabSZ",
            "process=sshd",
            "pid=24200",
        ],
    ),
    (
        &["03-17 16:13:38.811  1702  2395 D WindowManager: printing freezing logs"],
        ParserType::Log4j,
        &[
            "timestamp=2025-03-17T16:13:38.811Z",
            "level=D",
            "message=printing freezing logs",
            "pid=1702",
            "tid=2395",
            "logger=WindowManager",
        ],
    ),
    (
        &["[10.30 16:49:06] chrome.exe *64 - proxy.example.org:5070 open through proxy HTTPS"],
        ParserType::Log4j,
        &[
            "timestamp=2025-10-30T16:49:06Z",
            "message=proxy.example.org:5070 open through proxy HTTPS",
            "process=chrome.exe *64",
        ],
    ),
    (
        &["20171223-22:15:29:606|Step_LSC|30002312|onStandStepChanged 3579"],
        ParserType::Log4j,
        &[
            "timestamp=2017-12-23T22:15:29.606Z",
            "message=onStandStepChanged 3579",
            "logger=Step_LSC",
            "pid=30002312",
        ],
    ),
    (
        &["[Sun Dec 04 04:47:44 2005] [error] [client 1.2.3.4] Directory index forbidden"],
        ParserType::Log4j,
        &[
            "timestamp=2005-12-04T04:47:44Z",
            "level=error",
            "message=[client 1.2.3.4] Directory index forbidden",
        ],
    ),
    (
        &[
            "[Sat Jan 31 07:00:00.123456 2026] [core:error] [pid 1234:tid 5678] AH00124: too many redirects",
        ],
        ParserType::Log4j,
        &[
            "timestamp=2026-01-31T07:00:00.123456Z",
            "level=error",
            "message=AH00124: too many redirects",
            "logger=core",
            "pid=1234",
            "tid=5678",
        ],
    ),
    (
        &[
            "2026-01-31 07:00:00.123  INFO 1234 --- [           main] o.a.c.c.C.[Tomcat].[localhost].[/]       : Started",
        ],
        ParserType::Log4j,
        &[
            "timestamp=2026-01-31T07:00:00.123Z",
            "level=INFO",
            "message=Started",
            "pid=1234",
            "thread=main",
            "logger=o.a.c.c.C.[Tomcat].[localhost].[/]",
        ],
    ),
    (
        &["2026-01-31 07:00:00,123 - my.module - ERROR - it broke - badly"],
        ParserType::Log4j,
        &[
            "timestamp=2026-01-31T07:00:00.123Z",
            "level=ERROR",
            "message=it broke - badly",
            "logger=my.module",
        ],
    ),
    (
        &["07:00:00.123 [main] DEBUG c.e.App - starting"],
        ParserType::Log4j,
        &[
            "timestamp=2026-03-10T07:00:00.123Z",
            "level=DEBUG",
            "message=starting",
            "thread=main",
            "logger=c.e.App",
        ],
    ),
    (
        &["2026/01/31 07:00:00 [error] 1234#5678: *9 open() failed"],
        ParserType::Log4j,
        &[
            "timestamp=2026-01-31T07:00:00Z",
            "level=error",
            "message=*9 open() failed",
            "pid=1234",
            "tid=5678",
        ],
    ),
    (
        &["2026-01-31 07:00:00.123 UTC [42] app@shop LOG:  duration: 3 ms"],
        ParserType::Log4j,
        &[
            "timestamp=2026-01-31T07:00:00.123Z",
            "level=LOG",
            "message=duration: 3 ms",
            "pid=42",
            "user=app",
            "database=shop",
        ],
    ),
    (
        &["I0131 07:00:00.123456   99 server.go:12] listening"],
        ParserType::Log4j,
        &[
            "timestamp=2026-01-31T07:00:00.123456Z",
            "level=I",
            "message=listening",
            "tid=99",
            "file=server.go",
            "line=12",
        ],
    ),
    (
        &[
            "31/01/2026 07:00:00 INFO european",
            "28/02/2026 07:00:00 INFO dates",
        ],
        ParserType::Log4j,
        &[
            "timestamp=2026-01-31T07:00:00Z",
            "level=INFO",
            "message=european",
        ],
    ),
    (
        &["2026-01-31T07:00:00Z GET /x 200"],
        ParserType::Text,
        &["timestamp=2026-01-31T07:00:00Z", "message=GET /x 200"],
    ),
    (
        &["no header at all", "  indented"],
        ParserType::Text,
        &["message=no header at all"],
    ),
    (
        &["{\"ts\":1769842800.5,\"lvl\":\"warn\",\"msg\":\"hi\",\"n\":1}"],
        ParserType::Json,
        &[
            "timestamp=2026-01-31T07:00:00.5Z",
            "level=warn",
            "message=hi",
            "n=1",
        ],
    ),
    (
        &["ts=2026-01-31T07:00:00Z level=info msg=\"a b\" n=2"],
        ParserType::Logfmt,
        &[
            "timestamp=2026-01-31T07:00:00Z",
            "level=info",
            "message=a b",
            "n=2",
        ],
    ),
    (
        &["2026-01-31T07:00:00.123456789Z stdout F {\"a\":1}"],
        ParserType::Cri,
        &[
            "timestamp=2026-01-31T07:00:00.123456Z",
            "message={\"a\":1}",
            "stream=stdout",
            "tag=F",
        ],
    ),
    (
        &["1.2.3.4 - - [31/Jan/2026:07:00:00 +0100] \"GET /a HTTP/1.1\" 200 12"],
        ParserType::Nginx,
        &[
            "timestamp=2026-01-31T06:00:00Z",
            "message=GET /a HTTP/1.1",
            "remote_addr=1.2.3.4",
            "method=GET",
            "path=/a",
            "protocol=HTTP/1.1",
            "status=200",
            "bytes=12",
        ],
    ),
];

#[test]
fn auto_knows_the_programs_that_everybody_runs() {
    for (lines, kind, expected) in CASES {
        let resolved = resolved(&transform(ParserType::Auto), lines);
        let plan = resolved.plan;
        assert_eq!(
            plan.parser.kind, *kind,
            "{} {:?}",
            lines[0], plan.parser.layout
        );
        assert_eq!(
            row(&plan, lines[0]).unwrap(),
            *expected,
            "{:?}",
            plan.parser.layout
        );
        for line in *lines {
            row(&plan, line).expect(line);
        }
    }
}

#[test]
fn the_choice_is_explained_with_its_figures() {
    let lines = [
        "2026-01-31 07:00:00 INFO a",
        "2026-01-31 07:00:00 INFO b",
        "\tat c.d(E.java:1)",
    ];
    let lines: Vec<&str> = lines
        .iter()
        .cycle()
        .take(9)
        .copied()
        .chain(["2026-01-31 07:00:00 INFO x"; 9])
        .collect();
    let why = resolved(&transform(ParserType::Auto), &lines).why;
    assert!(
        why.contains("`%d %p %m` reads 15 of 18 sample lines"),
        "{why}"
    );
    assert!(why.contains("runner-up"), "{why}");
}

#[test]
fn a_line_with_a_time_is_a_row_even_when_its_header_is_of_another_kind() {
    let mut lines = vec!["2026-01-31 07:00:00 INFO a.b: one"; 20];
    lines.push("2026-01-31 07:00:00 [main] WARN c.d - two");
    let plan = resolved(&transform(ParserType::Auto), &lines).plan;
    assert_eq!(
        row(&plan, lines[20]).unwrap(),
        [
            "timestamp=2026-01-31T07:00:00Z",
            "level=WARN",
            "message=two",
            "logger=c.d",
            "thread=main"
        ]
    );
    assert_eq!(
        row(&plan, "2026-01-31 07:00:00 three").unwrap(),
        ["timestamp=2026-01-31T07:00:00Z", "message=three"]
    );
    assert!(row(&plan, "\tat c.d(E.java:1)").is_err());
}

#[test]
fn auto_never_turns_away_what_it_could_keep() {
    let trace = [
        "2026-01-31 07:00:00 ERROR a.b: it broke",
        "java.lang.Exception",
        "\tat a",
        "\tat b",
    ];
    let plan = resolved(&transform(ParserType::Auto), &trace).plan;
    assert_eq!(row(&plan, trace[2]).unwrap(), ["message=\tat a"]);
    assert_eq!(row(&plan, trace[0]).unwrap().len(), 4);
    let mixed = ["{\"a\":1}", "plain", "{\"a\":2}", "text"];
    let plan = resolved(&transform(ParserType::Auto), &mixed).plan;
    assert_eq!(row(&plan, mixed[0]).unwrap(), ["message={\"a\":1}"]);
}

#[test]
fn a_carriage_return_and_a_byte_order_mark_are_not_part_of_the_line() {
    let lines = [
        "\u{feff}2026-01-31 07:00:00 INFO a\r",
        "2026-01-31 07:00:00 INFO b\r",
    ];
    assert_eq!(
        rows(ParserType::Auto, &lines)[0],
        ["timestamp=2026-01-31T07:00:00Z", "level=INFO", "message=a"]
    );
}

#[test]
fn lines_that_are_not_text_do_not_spoil_the_sample() {
    let sample: [&[u8]; 3] = [b"\xff\xfe", b"", b"2026-01-31 07:00:00 INFO a"];
    let made = resolve(
        &transform(ParserType::Auto),
        Granularity::Hour,
        &sample,
        read_at(),
    )
    .unwrap();
    assert_eq!(made.plan.parser.kind, ParserType::Text);
    let none = resolve(
        &transform(ParserType::Auto),
        Granularity::Hour,
        &[b"", b" \r"],
        read_at(),
    );
    assert!(matches!(none, Err(crate::etl::parse::ParseError::NoSample)));
}

#[test]
fn lines_in_another_encoding_tell_their_format_all_the_same() {
    let latin1: [&[u8]; 2] = [
        b"2026-01-31 07:00:00 INFO gr\xfc\xdfe",
        b"2026-01-31 07:00:01 WARN \xe9t\xe9",
    ];
    let made = resolve(
        &transform(ParserType::Auto),
        Granularity::Hour,
        &latin1,
        read_at(),
    )
    .unwrap();
    assert!(made.why.contains("`%d %p %m` reads 2 of 2"), "{}", made.why);
}

#[test]
fn utf_16_is_named() {
    let utf16: [&[u8]; 2] = [b"a\0b\0", b"\0c\0d\0"];
    let made = resolve(
        &transform(ParserType::Auto),
        Granularity::Hour,
        &utf16,
        read_at(),
    )
    .unwrap();
    assert!(
        made.why
            .ends_with("as UTF-16 does: write the file as UTF-8"),
        "{}",
        made.why
    );
}
