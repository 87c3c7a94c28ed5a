//! Lines that are not what they should be: each is a row or stands in the quarantine, and none disappears.

use super::{World, lines, messages};

/// Runs on these bytes; how many rows there are, and what is quarantined.
#[track_caller]
fn outcome(content: &[u8]) -> (World, u64, u64) {
    let world = World::of_file(content);
    let summary = world.run().ends_with(0).summary();
    let (rows, dead) = (&summary["committedRows"], &summary["committedDead"]);
    let (rows, dead) = (rows.as_u64().unwrap(), dead.as_u64().unwrap());
    assert_eq!(world.verify()["lines"], rows + dead);
    (world, rows, dead)
}

#[test]
fn a_line_that_is_not_utf_8_is_quarantined_and_its_neighbours_are_rows() {
    let mut content = lines(0..5).into_bytes();
    content.extend_from_slice(b"2026-01-31 07:00:06,000 INFO gr\xfc\xdfe\n");
    content.extend_from_slice(lines(5..10).as_bytes());
    let (world, rows, dead) = outcome(&content);
    assert_eq!((rows, dead), (10, 1));
    assert_eq!(world.messages(), messages(0..10));
    let quarantined = world.quarantined();
    assert_eq!(
        quarantined[0]["detail"], "byte 31 is not UTF-8: 0xFC",
        "{quarantined:?}"
    );
}

#[test]
fn a_file_in_another_encoding_alone_is_quarantined_and_later_lines_are_rows() {
    let latin1 =
        b"2026-01-31 07:00:06,000 INFO gr\xfc\xdfe\n2026-01-31 07:00:07,000 INFO \xe9t\xe9\n";
    let (world, rows, dead) = outcome(latin1);
    assert_eq!((rows, dead), (0, 2));
    world.append("app.log", lines(0..3));
    world.run().ends_with(0);
    assert_eq!(world.messages(), messages(0..3));
    world.verify();
}

#[test]
fn nul_bytes_stay_in_the_message() {
    let mut content = lines(0..5);
    content.push_str("2026-01-31 07:00:06,000 INFO a\0b\n");
    let (world, rows, dead) = outcome(content.as_bytes());
    assert_eq!((rows, dead), (6, 0));
    assert!(world.messages().contains(&"a\0b".to_owned()));
}

#[test]
fn a_byte_order_mark_is_not_part_of_the_first_line() {
    let (world, rows, dead) = outcome(format!("\u{feff}{}", lines(0..5)).as_bytes());
    assert_eq!((rows, dead), (5, 0));
    assert_eq!(world.messages(), messages(0..5));
}

#[test]
fn carriage_returns_alone_end_no_line() {
    let (world, rows, dead) = outcome(lines(0..5).replace('\n', "\r").as_bytes());
    assert_eq!((rows, dead), (1, 0));
    assert!(
        world.messages()[0].ends_with("line 00004"),
        "{:?}",
        world.messages()
    );
}

#[test]
fn utf_16_is_named_and_nothing_of_it_is_lost() {
    let text: Vec<u8> = lines(0..5)
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let (world, rows, dead) = outcome(&text);
    // Five lines, and the half of the last newline that stands behind its byte.
    assert_eq!(rows + dead, 6);
    let plan = world.run().ends_with(0).stdout;
    assert!(
        plan.contains("as UTF-16 does: write the file as UTF-8"),
        "{plan}"
    );
}

#[test]
fn a_line_over_the_limit_is_kept_in_pieces_in_the_quarantine() {
    let long = "x".repeat(5 * 1024 * 1024);
    let (world, rows, dead) =
        outcome(format!("{}{long}\n{}", lines(0..5), lines(5..10)).as_bytes());
    assert_eq!(rows, 10);
    assert_eq!(dead, (long.len() as u64 + 1).div_ceil(60 * 1024));
    assert_eq!(world.messages(), messages(0..10));
    let pieces = world.quarantined();
    let bytes: usize = pieces
        .iter()
        .map(|piece| piece["raw"].as_str().unwrap().len())
        .sum();
    assert_eq!(bytes, long.len());
}

#[test]
fn a_long_first_line_does_not_decide_the_format() {
    let long = format!("2026-01-31 07:00:00,000 INFO {}\n", "x".repeat(1 << 20));
    let (world, rows, dead) = outcome(format!("{long}{}no header\n", lines(0..20)).as_bytes());
    assert_eq!(rows, 20, "{dead}");
    assert_eq!(world.messages(), messages(0..20));
}

#[test]
fn an_empty_file_is_no_failure() {
    let world = World::of_file("");
    let printed = world
        .logpipe(&["run", "p.yaml", "--once"])
        .ends_with(0)
        .stdout;
    assert!(printed.contains("no lines to commit yet"), "{printed}");
    world.append("app.log", lines(0..3));
    world.run().ends_with(0);
    assert_eq!(world.messages(), messages(0..3));
}

#[test]
fn blank_lines_wait_for_the_first_line_that_tells_the_format() {
    let world = World::of_file("\n \n\r\n");
    let summary = world.run().ends_with(0).summary();
    assert_eq!(summary["produced"], 3, "{summary}");
    assert_eq!(summary["committedRows"], 0, "{summary}");
    world.append("app.log", lines(0..3));
    world.run().ends_with(0);
    let report = world.verify();
    assert_eq!(report["lines"], 6, "{report:#}");
    assert!(world.rows().iter().any(|row| row["level"] == "INFO"));
}

#[test]
fn a_last_line_without_a_newline_is_a_line_when_the_file_is_read_once() {
    let (world, rows, _) = outcome(lines(0..3).trim_end().as_bytes());
    assert_eq!(rows, 3);
    assert_eq!(world.messages(), messages(0..3));
}

#[test]
fn bytes_at_random_are_all_accounted_for() {
    let mut state = 7_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 56) as u8
    })
    .take(100_000)
    .collect();
    let newlines = noise.split(|&byte| byte == b'\n').count() as u64 - 1;
    let (_, rows, dead) = outcome(&noise);
    assert_eq!(
        rows + dead,
        newlines + u64::from(noise.last() != Some(&b'\n'))
    );
}
