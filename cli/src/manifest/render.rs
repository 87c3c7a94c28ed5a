//! Faults as text for people: the line, the place in it, what is expected and the remedy. Pure.

use std::fmt::Write;

use unicode_width::UnicodeWidthChar;

use super::Checked;
use super::fault::{Fault, Severity, Span};
use crate::output::Paint;

/// How wide a shown line may be. Of a longer one the part around the place is shown.
const WIDTH: usize = 100;

/// Every fault of a file, each followed by an empty line.
pub(crate) fn render(checked: &Checked, paint: Paint) -> String {
    let mut out = String::new();
    for fault in &checked.faults {
        render_fault(&mut out, checked, fault, paint);
        out.push('\n');
    }
    out
}

fn render_fault(out: &mut String, checked: &Checked, fault: &Fault, paint: Paint) {
    let severity = match fault.severity {
        Severity::Error => paint.red("error"),
        Severity::Warning => paint.yellow("warning"),
    };
    let message = if fault.path.is_empty() {
        format!(": {}", fault.message)
    } else {
        format!(": {}: {}", fault.path, fault.message)
    };
    let message = paint.bold(&printable(&message));
    line(out, &format!("{severity}{message}"));
    let shown = !checked.text.is_empty();
    let gutter = gutter(&checked.text, fault);
    let place = if shown {
        let (row, column) = position(&checked.text, fault.span.start);
        format!(":{row}:{column}")
    } else {
        String::new()
    };
    let arrow = paint.blue(&format!("{:gutter$}-->", ""));
    line(out, &format!("{arrow} {}{place}", printable(&checked.file)));
    let bar = paint.blue(&format!("{:gutter$} |", ""));
    if shown {
        line(out, &bar);
        snippets(out, &checked.text, fault, gutter, paint);
    }
    if let Some(help) = &fault.help {
        if shown {
            line(out, &bar);
        }
        let equals = paint.blue(&format!("{:gutter$} =", ""));
        let label = paint.bold("help:");
        line(out, &format!("{equals} {label} {}", printable(help)));
    }
}

/// How wide the column of the line numbers is.
fn gutter(text: &str, fault: &Fault) -> usize {
    if text.is_empty() {
        return 1;
    }
    let other = fault.other.as_ref().map(|(span, _)| span.start);
    let last = other.unwrap_or_default().max(fault.span.start);
    position(text, last).0.to_string().len()
}

/// The places of a fault in the text, one below the other.
fn snippets(out: &mut String, text: &str, fault: &Fault, gutter: usize, paint: Paint) {
    let main = Mark {
        span: &fault.span,
        sign: '^',
        label: &fault.label,
        colour: match fault.severity {
            Severity::Error => Paint::red,
            Severity::Warning => Paint::yellow,
        },
    };
    let other = fault.other.as_ref();
    let other = other.map(|(span, label)| Mark {
        span,
        sign: '-',
        label,
        colour: Paint::blue,
    });
    let mut marks: Vec<Mark<'_>> = std::iter::once(main).chain(other).collect();
    marks.sort_by_key(|mark| mark.span.start);
    let mut before = None;
    for mark in &marks {
        let row = position(text, mark.span.start).0;
        if before.is_some_and(|before| row > before + 1) {
            line(out, &paint.blue("..."));
        }
        snippet(out, text, mark, before != Some(row), gutter, paint);
        before = Some(row);
    }
}

/// A place in the text that is underlined.
struct Mark<'a> {
    span: &'a Span,
    sign: char,
    label: &'a str,
    colour: fn(Paint, &str) -> String,
}

/// The line of the mark with its number, unless it was shown just before, and below it the mark with
/// its label.
fn snippet(
    out: &mut String,
    text: &str,
    mark: &Mark<'_>,
    with_line: bool,
    gutter: usize,
    paint: Paint,
) {
    let span = mark.span;
    let (row, column) = position(text, span.start);
    let source = text.lines().nth(row - 1).unwrap_or_default();
    let chars: Vec<char> = source.trim_start_matches('\u{feff}').chars().collect();
    let from = (column - 1).min(chars.len());
    let length = text.get(span.clone()).map_or(0, |marked| {
        marked.lines().next().unwrap_or_default().chars().count()
    });
    let to = (from + length).min(chars.len());
    let (begin, end) = window(chars.len(), from);
    let part = |from: usize, to: usize| -> String {
        chars[from.clamp(begin, end)..to.clamp(begin, end)]
            .iter()
            .copied()
            .map(visible)
            .collect()
    };
    let cut = if begin > 0 { "…" } else { "" };
    let rest = if end < chars.len() { "…" } else { "" };
    let before = width(&part(begin, from)) + width(cut);
    let marks = mark.sign.to_string().repeat(width(&part(from, to)).max(1));
    if with_line {
        let number = paint.blue(&format!("{row:>gutter$} |"));
        let shown = part(begin, end);
        line(out, &format!("{number} {cut}{shown}{rest}"));
    }
    let below = format!("{marks} {}", printable(mark.label));
    let below = (mark.colour)(paint, below.trim_end());
    let bar = paint.blue(&format!("{:gutter$} |", ""));
    line(out, &format!("{bar} {:before$}{below}", ""));
}

/// The part of a line of `length` characters that is shown for a place in it.
fn window(length: usize, place: usize) -> (usize, usize) {
    if length <= WIDTH {
        return (0, length);
    }
    let begin = place.saturating_sub(WIDTH / 2).min(length - WIDTH);
    (begin, begin + WIDTH)
}

fn width(text: &str) -> usize {
    text.chars().map(|c| c.width().unwrap_or(0)).sum()
}

/// A character as it is shown: a tab has one width, and no control character reaches the terminal.
fn visible(c: char) -> char {
    match c {
        '\t' => ' ',
        c if is_control(c) => '\u{fffd}',
        c => c,
    }
}

fn printable(text: &str) -> String {
    text.chars().map(visible).collect()
}

/// Control characters, and those that turn the direction of what follows.
fn is_control(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn line(out: &mut String, text: &str) {
    writeln!(out, "{}", text.trim_end()).expect("writing to a string cannot fail");
}

/// Line and column of a byte of the text, both from 1; the column counts characters.
pub(crate) fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let row = before.matches('\n').count() + 1;
    let line = before.rsplit('\n').next().unwrap_or_default();
    (row, line.trim_start_matches('\u{feff}').chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::fault::Kind;

    fn shown(text: &str, fault: Fault) -> String {
        let checked = Checked {
            file: "m.yaml".to_owned(),
            text: text.to_owned(),
            pipelines: Vec::new(),
            found: 0,
            faults: vec![fault],
            skipped: Vec::new(),
        };
        render(&checked, Paint::Plain)
    }

    #[test]
    fn wide_characters_take_two_places() {
        let text = "日本: wrong";
        let at = text.find("wrong").unwrap();
        let fault = Fault::error(Kind::WrongType, "", &(at..at + 5), "no");
        let shown = shown(text, fault);
        assert!(
            shown.contains("\n1 | 日本: wrong\n  |       ^^^^^\n"),
            "{shown}"
        );
    }

    #[test]
    fn no_control_character_reaches_the_terminal() {
        let text = "a: \"\x1b[2Jx\"";
        let fault = Fault::error(Kind::WrongType, "a\x1b[2J", &(3..9), "\x07").help("\u{202e}");
        let shown = shown(text, fault);
        assert!(!shown.contains(['\x1b', '\x07', '\u{202e}']), "{shown:?}");
    }

    #[test]
    fn of_a_long_line_the_part_around_the_place_is_shown() {
        let text = format!("{}wrong{}", "a".repeat(5000), "b".repeat(5000));
        let shown = shown(
            &text,
            Fault::error(Kind::WrongType, "", &(5000..5005), "no"),
        );
        assert!(shown.contains("…aaa") && shown.contains("bbb…"), "{shown}");
        assert!(
            shown.lines().all(|line| line.chars().count() < WIDTH + 10),
            "{shown}"
        );
        let row = shown.lines().find(|line| line.contains("wrong")).unwrap();
        let marks = shown.lines().find(|line| line.contains("^^^^^")).unwrap();
        let place = |line: &str, what: &str| line[..line.find(what).unwrap()].chars().count();
        assert_eq!(place(row, "wrong"), place(marks, "^"), "{shown}");
    }

    #[test]
    fn columns_count_characters_and_lines_begin_at_one() {
        let text = "é: x\nb: y";
        assert_eq!(position(text, text.find('x').unwrap()), (1, 4));
        assert_eq!(position(text, text.find('y').unwrap()), (2, 4));
        assert_eq!(position("\u{feff}a: b", 3), (1, 1));
    }
}
