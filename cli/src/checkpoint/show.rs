//! How far each partition is, as a table or as JSON. Pure.

use jiff::Timestamp;
use logpipe_api::settings::{partition_key, partition_of_key};
use logpipe_workers::checkpoint::Checkpoint;
use serde_json::{Value, json};

use super::{Found, Stored};
use crate::output::Format;
use crate::table::{Table, count, terminal_width, things};

/// Every partition that is there or should be.
pub(super) fn print(found: &Found, format: Format) -> anyhow::Result<String> {
    let last = found.stored.keys().filter_map(|key| partition_of_key(key));
    let partitions = last.max().map_or(0, |last| last + 1);
    let partitions = partitions.max(found.partitions.unwrap_or(0));
    let rows: Vec<Row> = (0..partitions).map(|number| row(found, number)).collect();
    if format == Format::Json {
        let rows: Vec<Value> = rows.iter().map(Row::json).collect();
        return Ok(format!("{}\n", serde_json::to_string_pretty(&rows)?));
    }
    if rows.is_empty() {
        return Ok("no partition has a checkpoint yet\n".to_owned());
    }
    let headings = [
        ">partition",
        ">next",
        ">rows",
        ">quarantined",
        ">files",
        "producers",
        "pending",
        ">epoch",
        "owner",
        "written",
    ];
    let mut table = Table::new(headings);
    for row in &rows {
        table.push(row.cells());
    }
    Ok(table.render(terminal_width()))
}

struct Row {
    partition: u32,
    checkpoint: Result<Checkpoint, &'static str>,
    changed: Option<i64>,
}

fn row(found: &Found, partition: u32) -> Row {
    let key = partition_key(partition);
    let checkpoint = match found.stored.get(&key) {
        None => Err("none"),
        Some(Stored::Damaged(_)) => Err("damaged"),
        Some(Stored::Value(bytes)) => Checkpoint::decode(bytes).map_err(|_| "damaged"),
    };
    Row {
        partition,
        checkpoint,
        changed: found.changed.get(&key).copied(),
    }
}

impl Row {
    fn written(&self) -> Option<String> {
        let at = Timestamp::from_second(self.changed?).ok()?;
        Some(at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
    }

    fn cells(&self) -> Vec<String> {
        let mut cells = vec![self.partition.to_string()];
        match &self.checkpoint {
            Err(what) => {
                cells.push((*what).to_owned());
                cells.resize(10, String::new());
            }
            Ok(checkpoint) => {
                let producers = checkpoint.producers.iter();
                let producers: Vec<String> = producers
                    .map(|(key, progress)| {
                        format!(
                            "{key}: {} (gen {})",
                            count(progress.next),
                            progress.generation
                        )
                    })
                    .collect();
                let pending = checkpoint.pending.as_ref().map(|batch| {
                    let files = things(batch.files.len() as u64, "file");
                    format!("[{}, {}) in {files}", count(batch.start), count(batch.end))
                });
                cells.extend([
                    count(checkpoint.next),
                    count(checkpoint.totals.rows),
                    count(checkpoint.totals.dead),
                    count(checkpoint.totals.files),
                    producers.join(", "),
                    pending.unwrap_or_default(),
                    checkpoint.epoch.to_string(),
                    checkpoint.owner.clone(),
                    self.written().unwrap_or_default(),
                ]);
            }
        }
        cells
    }

    fn json(&self) -> Value {
        let mut row = json!({"partition": self.partition, "written": self.written()});
        match &self.checkpoint {
            Ok(checkpoint) => row["checkpoint"] = json!(checkpoint),
            Err(what) => row["missing"] = json!(what),
        }
        row
    }
}
