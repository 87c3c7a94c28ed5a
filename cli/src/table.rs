//! Text in aligned columns, the same in every command. Pure but for the width of the terminal.

use console::{Alignment, Term, measure_text_width, pad_str, style, truncate_str};

/// The gap between two columns.
const GAP: usize = 2;
/// No column is cut below this.
const NARROWEST: usize = 8;

/// Rows of cells below a line of headings.
pub(crate) struct Table {
    headings: Vec<(String, Alignment)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows. Headings that begin with `>` stand over numbers: aligned to the right.
    pub(crate) fn new<'a>(headings: impl IntoIterator<Item = &'a str>) -> Self {
        let headings = headings
            .into_iter()
            .map(|heading| match heading.strip_prefix('>') {
                Some(heading) => (heading.to_owned(), Alignment::Right),
                None => (heading.to_owned(), Alignment::Left),
            })
            .collect();
        Self {
            headings,
            rows: Vec::new(),
        }
    }

    /// Adds a row, one cell a heading.
    pub(crate) fn push(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }

    /// The table with lines of at most `width` characters; the widest columns are cut. `None` cuts nothing.
    pub(crate) fn render(&self, width: Option<usize>) -> String {
        let widths = self.widths(width);
        let headings = self.headings.iter().map(|(heading, _)| heading.as_str());
        let mut text = style(self.line(headings, &widths)).dim().to_string();
        text.push('\n');
        for row in &self.rows {
            text.push_str(&self.line(row.iter().map(String::as_str), &widths));
            text.push('\n');
        }
        text
    }

    fn widths(&self, limit: Option<usize>) -> Vec<usize> {
        let mut widths: Vec<usize> = self
            .headings
            .iter()
            .map(|(heading, _)| measure_text_width(heading))
            .collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(measure_text_width(cell));
            }
        }
        let gaps = GAP * widths.len().saturating_sub(1);
        let Some(limit) = limit else {
            return widths;
        };
        while widths.iter().sum::<usize>() + gaps > limit {
            let over = widths.iter().sum::<usize>() + gaps - limit;
            let Some(widest) = widths
                .iter_mut()
                .max()
                .filter(|widest| **widest > NARROWEST)
            else {
                break;
            };
            // All at once where one column is much the widest, and a little at a time otherwise.
            let step = over.min((*widest - NARROWEST).div_ceil(8));
            *widest -= step;
        }
        widths
    }

    fn line<'a>(&self, cells: impl Iterator<Item = &'a str>, widths: &[usize]) -> String {
        let mut line = String::new();
        for ((cell, &width), (_, alignment)) in cells.zip(widths).zip(&self.headings) {
            if !line.is_empty() {
                line.push_str(&" ".repeat(GAP));
            }
            let cell = truncate_str(cell, width, "…");
            line.push_str(&pad_str(&cell, width, *alignment, None));
        }
        line.truncate(line.trim_end().len());
        line
    }
}

/// The width that tables on standard output may take; `None` where it is no terminal.
pub(crate) fn terminal_width() -> Option<usize> {
    let terminal = Term::stdout();
    let (_, columns) = terminal.size_checked()?;
    terminal.is_term().then_some(usize::from(columns))
}

/// A number with separators: `1,000,000`.
pub(crate) fn count(number: u64) -> String {
    indicatif::HumanCount(number).to_string()
}

/// A number of things: `1 row`, `2,000 rows`.
pub(crate) fn things(number: u64, one: &str) -> String {
    format!("{} {}", count(number), plural(number, one))
}

/// The word for so many things: `row`, `rows`.
pub(crate) fn plural(number: u64, one: &str) -> String {
    let end = if number == 1 { "" } else { "s" };
    format!("{one}{end}")
}

/// Bytes in the unit that fits: `812 bytes`, `1.5 KiB`, `64.0 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let unit = units.into_iter().find(|(_, power)| bytes >> power > 0);
    match unit {
        Some((unit, power)) => format!("{:.1} {unit}", bytes as f64 / (1_u64 << power) as f64),
        None => things(bytes, "byte"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_no_things_and_sizes_are_never_nothing() {
        assert_eq!(
            (things(1, "row"), things(2000, "row")),
            ("1 row".to_owned(), "2,000 rows".to_owned())
        );
        let sizes = [
            (0, "0 bytes"),
            (1, "1 byte"),
            (1023, "1,023 bytes"),
            (1024, "1.0 KiB"),
            (1_000_000, "976.6 KiB"),
            (1 << 26, "64.0 MiB"),
            (5 << 30, "5.0 GiB"),
        ];
        for (bytes, text) in sizes {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn numbers_stand_right_and_text_stands_left() {
        let mut table = Table::new(["topic", ">rows"]);
        table.push(vec!["demo".to_owned(), "7".to_owned()]);
        table.push(vec!["a-long-topic".to_owned(), count(1_000_000)]);
        assert_eq!(
            console::strip_ansi_codes(&table.render(None)),
            "topic              rows\ndemo                  7\na-long-topic  1,000,000\n"
        );
    }

    #[test]
    fn the_widest_column_is_cut_to_fit() {
        let mut table = Table::new(["level", "message"]);
        table.push(vec!["INFO".to_owned(), "word ".repeat(50)]);
        let text = table.render(Some(60));
        let text = console::strip_ansi_codes(&text);
        assert!(
            text.lines().all(|line| measure_text_width(line) <= 60),
            "{text}"
        );
        assert!(
            text.contains("INFO   word word") && text.contains('…'),
            "{text}"
        );
    }
}
