//! Faults as text for people: the line, the place in it, what is expected and the remedy. Pure.

use std::fmt::Write;

use unicode_width::UnicodeWidthChar;

use super::Checked;
use super::fault::{Fault, Severity, Span};

/// How wide a shown line may be. Of a longer one the part around the place is shown.
const WIDTH: usize = 100;

/// Whether the text goes to a terminal that shows colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paint {
    Plain,
    Coloured,
}

impl Paint {
    /// Colours for a terminal, unless `NO_COLOR` is set.
    pub(crate) fn for_stream(stream: &impl std::io::IsTerminal) -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        if wanted && stream.is_terminal() {
            Self::Coloured
        } else {
            Self::Plain
        }
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }

    pub(crate) fn red(self, text: &str) -> String {
        self.wrap("1;31", text)
    }

    pub(crate) fn yellow(self, text: &str) -> String {
        self.wrap("1;33", text)
    }

    pub(crate) fn green(self, text: &str) -> String {
        self.wrap("1;32", text)
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.wrap("1;34", text)
    }

    fn wrap(self, code: &str, text: &str) -> String {
        match self {
            Self::Coloured if !text.is_empty() => format!("\x1b[{code}m{text}\x1b[0m"),
            _ => text.to_owned(),
        }
    }
}

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
        fault.message.clone()
    } else {
        format!("{}: {}", fault.path, fault.message)
    };
    line(
        out,
        &format!(
            "{severity}{}",
            paint.bold(&format!(": {}", printable(&message)))
        ),
    );
    let shown = !checked.text.is_empty();
    let places = std::iter::once(&fault.span).chain(fault.other.iter().map(|(span, _)| span));
    let last = places
        .map(|span| position(&checked.text, span.start).0)
        .max()
        .unwrap_or(1);
    let gutter = if shown { last.to_string().len() } else { 1 };
    let (row, column) = position(&checked.text, fault.span.start);
    let place = if shown {
        format!(":{row}:{column}")
    } else {
        String::new()
    };
    let arrow = paint.dim(&format!("{:gutter$}-->", ""));
    line(out, &format!("{arrow} {}{place}", printable(&checked.file)));
    let bar = paint.dim(&format!("{:gutter$} |", ""));
    if shown {
        line(out, &bar);
        let colour = match fault.severity {
            Severity::Error => Paint::red,
            Severity::Warning => Paint::yellow,
        };
        let main = Mark {
            span: &fault.span,
            sign: '^',
            label: &fault.label,
            colour,
        };
        let other = fault.other.as_ref();
        let other = other.map(|(span, label)| Mark {
            span,
            sign: '-',
            label,
            colour: Paint::dim,
        });
        let mut marks: Vec<Mark<'_>> = std::iter::once(main).chain(other).collect();
        marks.sort_by_key(|mark| mark.span.start);
        let mut before = None;
        for mark in &marks {
            let row = position(&checked.text, mark.span.start).0;
            if before.is_some_and(|before| row > before + 1) {
                line(out, &paint.dim("..."));
            }
            snippet(out, &checked.text, mark, before != Some(row), gutter, paint);
            before = Some(row);
        }
    }
    if let Some(help) = &fault.help {
        if shown {
            line(out, &bar);
        }
        let equals = paint.dim(&format!("{:gutter$} =", ""));
        line(
            out,
            &format!("{equals} {} {}", paint.bold("help:"), printable(help)),
        );
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
        let number = paint.dim(&format!("{row:>gutter$} |"));
        let shown = part(begin, end);
        line(out, &format!("{number} {cut}{shown}{rest}"));
    }
    let below = format!("{marks} {}", printable(mark.label));
    let below = (mark.colour)(paint, below.trim_end());
    let bar = paint.dim(&format!("{:gutter$} |", ""));
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
