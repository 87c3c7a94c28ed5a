//! `logpipe head`: the first rows of a place, as a table that fits the terminal. Touches the disk or the
//! network; never writes.

use std::process::ExitCode;

use anyhow::Context;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Float32Type, Float64Type, Int32Type, Int64Type, Schema, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType,
};
use parquet::arrow::ProjectionMask;

use crate::output::{self, Format};
use crate::place::{Place, PlaceArgs};
use crate::table::{Table, terminal_width};
use crate::verify::Kind;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    place: PlaceArgs,
    /// How many rows
    #[arg(short = 'n', default_value_t = 10)]
    rows: usize,
    /// The quarantined lines instead of the table's rows
    #[arg(long)]
    dead: bool,
    /// The columns about the ingestion too (_partition, _offset, …)
    #[arg(long)]
    all: bool,
    /// How to print the rows: a table, or a JSON object a line
    #[arg(short = 'o', long, value_enum, default_value_t)]
    output: Format,
}

/// With fewer characters a column, a table tells nothing.
const LEGIBLE: usize = 12;

/// The column of the fields that are no columns.
const EXTRA: &str = "_extra";

/// Some rows of a place.
#[derive(Clone)]
pub(crate) struct Rows {
    /// The columns of the first file.
    pub(crate) columns: Vec<Column>,
    /// A cell for each column.
    pub(crate) rows: Vec<Vec<Cell>>,
}

/// A column of [`Rows`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    numeric: bool,
}

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell {
    Null,
    Text(String),
    /// Anything that JSON writes without quotes.
    Bare(String),
}

/// Which rows are wanted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wanted {
    /// The quarantine's instead of the table's.
    pub(crate) dead: bool,
    /// The metadata columns too.
    pub(crate) all: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let place = args.place.open()?;
    let wanted = Wanted {
        dead: args.dead,
        all: args.all,
    };
    let rows = first_rows(&place, args.rows, wanted)?;
    if rows.columns.is_empty() {
        let what = if args.dead { "quarantined line" } else { "row" };
        output::note(&format!("{} holds no {what}\n", place.name));
        return Ok(ExitCode::SUCCESS);
    }
    match args.output {
        Format::Text => output::print(&rows.text(terminal_width()))?,
        Format::Json => output::print(&rows.json()?)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The first `n` rows in order of the object names. No columns means that there is no such file.
pub(crate) fn first_rows(place: &Place, n: usize, wanted: Wanted) -> anyhow::Result<Rows> {
    let mut found = Rows {
        columns: Vec::new(),
        rows: Vec::new(),
    };
    for object in place.list()? {
        let path = place.relative(&object);
        let context = || format!("failed to read {path} in {}", place.name);
        let builder = place.open_parquet(&object).with_context(context)?;
        let schema = builder.schema().clone();
        if (Kind::of(&schema) == Kind::Quarantine) != wanted.dead {
            continue;
        }
        let indices: Vec<usize> = (0..schema.fields().len())
            .filter(|&index| wanted.all || is_of_the_line(schema.field(index).name()))
            .collect();
        if found.columns.is_empty() {
            found.columns = indices
                .iter()
                .map(|&index| Column::new(&schema, index))
                .collect();
        }
        let mask = ProjectionMask::roots(builder.parquet_schema(), indices);
        let left = n - found.rows.len();
        let reader = builder
            .with_projection(mask)
            .with_limit(left)
            .with_batch_size(left.clamp(1, 1024))
            .build()
            .with_context(context)?;
        for batch in reader {
            found.append(&batch.with_context(context)?);
        }
        if found.rows.len() >= n {
            break;
        }
    }
    Ok(found)
}

/// `_extra` holds fields of the line; all others that begin so tell of the ingestion.
fn is_of_the_line(name: &str) -> bool {
    name == EXTRA || !name.starts_with('_')
}

impl Column {
    fn new(schema: &Schema, index: usize) -> Self {
        let field = schema.field(index);
        Self {
            name: field.name().clone(),
            numeric: field.data_type().is_numeric(),
        }
    }
}

impl Rows {
    /// Takes the rows of a batch; a column that a later file lacks is null there.
    fn append(&mut self, batch: &RecordBatch) {
        let arrays: Vec<_> = self
            .columns
            .iter()
            .map(|column| batch.column_by_name(&column.name))
            .collect();
        for row in 0..batch.num_rows() {
            let cells = arrays
                .iter()
                .map(|array| array.map_or(Cell::Null, |array| cell(array, row)));
            self.rows.push(cells.collect());
        }
    }

    /// The rows as a table with lines of at most `width` characters, or one below the other where a table
    /// would cut every column to nothing.
    pub(crate) fn text(&self, width: Option<usize>) -> String {
        if let Some(shorter) = self.without_empty_extra() {
            return shorter.text(width);
        }
        if let Some(width) = width.filter(|width| self.columns.len() * LEGIBLE > *width) {
            return self.upright(width);
        }
        let headings: Vec<String> = self
            .columns
            .iter()
            .map(|column| {
                if column.numeric {
                    format!(">{}", column.name)
                } else {
                    column.name.clone()
                }
            })
            .collect();
        let mut table = Table::new(headings.iter().map(String::as_str));
        for row in &self.rows {
            table.push(row.iter().map(Cell::plain).collect());
        }
        table.render(width)
    }

    /// Without the column `_extra` where no row has it: there it only takes room.
    fn without_empty_extra(&self) -> Option<Self> {
        let at = self
            .columns
            .iter()
            .position(|column| column.name == EXTRA)?;
        if self.rows.iter().any(|row| row[at] != Cell::Null) {
            return None;
        }
        let mut shorter = self.clone();
        shorter.columns.remove(at);
        for row in &mut shorter.rows {
            row.remove(at);
        }
        Some(shorter)
    }

    /// Each row as lines of a name and a value.
    fn upright(&self, width: usize) -> String {
        let mut parts = Vec::new();
        for (number, row) in self.rows.iter().enumerate() {
            let heading = format!("row {}", number + 1);
            let mut table = Table::new([heading.as_str(), ""]);
            for (column, cell) in self.columns.iter().zip(row) {
                table.push(vec![column.name.clone(), cell.plain()]);
            }
            parts.push(table.render(Some(width)));
        }
        parts.join("\n")
    }

    /// The rows as JSON objects, one a line, with the columns in their order.
    fn json(&self) -> anyhow::Result<String> {
        let mut lines = Vec::new();
        for row in &self.rows {
            let mut members = Vec::new();
            for (column, cell) in self.columns.iter().zip(row) {
                let name = serde_json::to_string(&column.name)?;
                let value = match cell {
                    Cell::Null => "null".to_owned(),
                    Cell::Bare(text) => text.clone(),
                    Cell::Text(text) => serde_json::to_string(text)?,
                };
                members.push(format!("{name}:{value}"));
            }
            lines.push(format!("{{{}}}\n", members.join(",")));
        }
        Ok(lines.concat())
    }
}

impl Cell {
    /// For a table: one line, nothing that moves the cursor.
    fn plain(&self) -> String {
        match self {
            Self::Null => String::new(),
            Self::Bare(text) => text.clone(),
            Self::Text(text) => text
                .chars()
                .map(|c| if c.is_control() { '·' } else { c })
                .collect(),
        }
    }
}

fn cell(array: &dyn Array, row: usize) -> Cell {
    if array.is_null(row) {
        return Cell::Null;
    }
    match array.data_type() {
        DataType::Utf8 => Cell::Text(array.as_string::<i32>().value(row).to_owned()),
        DataType::Binary => {
            Cell::Text(String::from_utf8_lossy(array.as_binary::<i32>().value(row)).into_owned())
        }
        DataType::Int32 => Cell::Bare(array.as_primitive::<Int32Type>().value(row).to_string()),
        DataType::Int64 => Cell::Bare(array.as_primitive::<Int64Type>().value(row).to_string()),
        DataType::Float32 => float(f64::from(array.as_primitive::<Float32Type>().value(row))),
        DataType::Float64 => float(array.as_primitive::<Float64Type>().value(row)),
        DataType::Boolean => Cell::Bare(array.as_boolean().value(row).to_string()),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            time(array.as_primitive::<TimestampMicrosecondType>().value(row))
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => time(
            array
                .as_primitive::<TimestampMillisecondType>()
                .value(row)
                .saturating_mul(1000),
        ),
        // Files of other writers may hold anything; they are listed, not shown.
        other => Cell::Text(format!("<{other}>")),
    }
}

/// JSON has no words for what is not a number.
fn float(value: f64) -> Cell {
    if value.is_finite() {
        Cell::Bare(value.to_string())
    } else {
        Cell::Text(value.to_string())
    }
}

fn time(micros: i64) -> Cell {
    match jiff::Timestamp::from_microsecond(micros) {
        Ok(time) if micros % 1000 == 0 => Cell::Text(format!("{time:.3}")),
        Ok(time) => Cell::Text(format!("{time:.6}")),
        Err(_) => Cell::Bare(micros.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::fixture::Tree;

    #[test]
    fn the_first_rows_come_in_order_of_the_names_and_without_metadata() {
        let tree = Tree::good();
        let place = tree.place();
        let rows = first_rows(&place, 12, Wanted::default()).unwrap();
        let names: Vec<&str> = rows
            .columns
            .iter()
            .map(|column| column.name.as_str())
            .collect();
        assert_eq!(names, ["timestamp", "level", "message"]);
        assert_eq!(rows.rows.len(), 12);
        let json = rows.json().unwrap();
        let first: serde_json::Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
        assert_eq!(first["timestamp"], "2026-01-31T07:00:00.000Z");
        assert!(
            first["message"]
                .as_str()
                .unwrap()
                .contains(" [gen demo n=0 sum="),
            "{json}"
        );
        let text = rows.text(Some(60));
        assert_eq!(text.lines().count(), 13);
    }

    #[test]
    fn quarantined_lines_are_shown_on_request_with_all_columns() {
        let tree = Tree::good();
        let wanted = Wanted {
            dead: true,
            all: true,
        };
        let rows = first_rows(&tree.place(), 100, wanted).unwrap();
        assert_eq!(rows.columns.len(), 12);
        assert_eq!(rows.rows.len(), 2);
        assert_eq!(rows.rows[0][1], Cell::Text("Malformed".to_owned()));
        let text = rows.text(Some(80));
        assert!(
            text.lines()
                .any(|line| line.starts_with("_ingested_at  2026-01-31T07")),
            "{text}"
        );
    }

    #[test]
    fn fields_that_are_no_columns_are_shown_where_there_are_some() {
        assert!(is_of_the_line("_extra") && is_of_the_line("level") && !is_of_the_line("_offset"));
        let column = |name: &str| Column {
            name: name.to_owned(),
            numeric: false,
        };
        let rows = |extra: Cell| Rows {
            columns: vec![column("level"), column("_extra")],
            rows: vec![vec![Cell::Text("info".to_owned()), extra]],
        };
        let text = rows(Cell::Text(r#"{"code":"E17"}"#.to_owned())).text(None);
        assert!(text.contains("_extra") && text.contains("E17"), "{text}");
        assert!(!rows(Cell::Null).text(None).contains("_extra"));
    }

    #[test]
    fn cells_cannot_move_the_cursor() {
        assert_eq!(Cell::Text("a\tb\x1b[2J\n".to_owned()).plain(), "a·b·[2J·");
    }
}
