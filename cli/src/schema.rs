//! `logpipe schema`: the columns of a place, and whether all files agree. Touches the disk or the network; never
//! writes.

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::Context;
use console::style;
use parquet::basic::{LogicalType, Repetition};
use serde::Serialize;

use crate::output::{self, Format};
use crate::place::{Place, PlaceArgs};
use crate::table::{Table, terminal_width, things};
use crate::verify::Kind;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    place: PlaceArgs,
    /// How to print the columns
    #[arg(short = 'o', long, value_enum, default_value_t)]
    output: Format,
}

/// Files with the same columns.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    /// `table` or `quarantine`.
    kind: &'static str,
    files: u64,
    rows: u64,
    bytes: u64,
    codecs: BTreeSet<String>,
    /// The first of the files.
    example: String,
    columns: Vec<Column>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Column {
    name: String,
    /// The physical type, and the logical one where there is one.
    parquet: String,
    arrow: String,
    nullable: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let place = args.place.open()?;
    let shapes = shapes(&place)?;
    match args.output {
        Format::Text => output::print(&text(&place.name, &shapes, terminal_width()))?,
        Format::Json => output::print(&format!("{}\n", serde_json::to_string_pretty(&shapes)?))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The different sets of columns, each with what its files amount to.
fn shapes(place: &Place) -> anyhow::Result<Vec<Shape>> {
    let mut shapes: Vec<Shape> = Vec::new();
    for object in place.list()? {
        let path = place.relative(&object);
        let builder = place
            .open_parquet(&object)
            .with_context(|| format!("failed to read {path} in {}", place.name))?;
        let kind = match Kind::of(builder.schema()) {
            Kind::Table => "table",
            Kind::Quarantine => "quarantine",
        };
        let columns = columns(&builder);
        let metadata = builder.metadata();
        let known = shapes
            .iter()
            .position(|shape| shape.kind == kind && shape.columns == columns);
        let at = known.unwrap_or_else(|| {
            shapes.push(Shape {
                kind,
                files: 0,
                rows: 0,
                bytes: 0,
                codecs: BTreeSet::new(),
                example: path.to_owned(),
                columns,
            });
            shapes.len() - 1
        });
        let shape = &mut shapes[at];
        shape.files += 1;
        shape.rows += metadata.file_metadata().num_rows().max(0).cast_unsigned();
        shape.bytes += object.size;
        for group in metadata.row_groups() {
            let codecs = group
                .columns()
                .iter()
                .map(|column| column.compression().to_string());
            shape.codecs.extend(codecs);
        }
    }
    shapes.sort_by_key(|shape| (shape.kind != "table", std::cmp::Reverse(shape.files)));
    Ok(shapes)
}

fn columns<T>(builder: &parquet::arrow::arrow_reader::ArrowReaderBuilder<T>) -> Vec<Column> {
    let roots = builder.parquet_schema().root_schema().get_fields();
    let named = roots.iter().zip(builder.schema().fields());
    let column = |(root, field): (
        &parquet::schema::types::TypePtr,
        &arrow::datatypes::FieldRef,
    )| {
        let info = root.get_basic_info();
        let physical = if root.is_primitive() {
            root.get_physical_type().to_string()
        } else {
            "group".to_owned()
        };
        let logical = info.logical_type_ref().map(logical_name);
        Column {
            name: field.name().clone(),
            parquet: format!("{physical}{}", logical.unwrap_or_default()),
            arrow: field.data_type().to_string(),
            nullable: !info.has_repetition() || info.repetition() != Repetition::REQUIRED,
        }
    };
    named.map(column).collect()
}

/// As the format's documentation writes it.
fn logical_name(logical: &LogicalType) -> String {
    match logical {
        LogicalType::Timestamp(time) if time.is_adjusted_to_u_t_c => {
            format!(" TIMESTAMP({:?}, UTC)", time.unit)
        }
        other => format!(" {other:?}").to_uppercase(),
    }
}

fn text(place: &str, shapes: &[Shape], width: Option<usize>) -> String {
    let mut lines = vec![format!("\n{}\n", style(place).bold())];
    for shape in shapes {
        let codecs: Vec<&str> = shape.codecs.iter().map(String::as_str).collect();
        lines.push(format!(
            "\n{}: {} in {}, {}, {}\n\n",
            style(shape.kind).bold(),
            things(shape.rows, "row"),
            things(shape.files, "file"),
            indicatif::HumanBytes(shape.bytes),
            codecs.join(" and ").to_lowercase()
        ));
        let mut table = Table::new(["column", "arrow", "parquet", "nulls"]);
        for column in &shape.columns {
            let nulls = if column.nullable { "allowed" } else { "never" };
            table.push(vec![
                column.name.clone(),
                column.arrow.clone(),
                column.parquet.clone(),
                nulls.to_owned(),
            ]);
        }
        lines.push(table.render(width));
    }
    for kind in ["table", "quarantine"] {
        let different: Vec<&Shape> = shapes.iter().filter(|shape| shape.kind == kind).collect();
        if different.len() > 1 {
            let number = different.len();
            lines.push(format!(
                "\nThe {kind} has {number} different sets of columns, in:\n"
            ));
            lines.extend(different.iter().map(|shape| {
                let more = things(shape.files - 1, "more file");
                format!("  {} and {more}\n", shape.example)
            }));
        }
    }
    lines.concat()
}
