//! What a worker tells Prometheus: the names, and the text of a moment. Reads counters, touches nothing.
//!
//! Labels are few and bounded: a partition, a reason, never a file or a producer.

use std::sync::Arc;

use prometheus::core::Collector;
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Encoder, TextEncoder};

use crate::counters::{Counters, Timing};
use crate::etl::Control;
use crate::etl::row::RejectReason;
use crate::etl::seen::Partition;

/// What a process does.
#[derive(Clone)]
pub enum Role {
    /// The generator.
    Generate,
    /// The file producer.
    Produce,
    /// An ETL worker.
    Etl(Arc<Control>),
}

impl Role {
    fn name(&self) -> &'static str {
        match self {
            Self::Generate => "generate",
            Self::Produce => "produce",
            Self::Etl(_) => "etl",
        }
    }
}

/// A moment of a process.
struct Moment<'a> {
    role: &'a Role,
    counters: &'a Counters,
    /// Microseconds since 1970.
    now: i64,
}

/// A metric: its name, where its values come from, and what it means.
struct Definition {
    /// The role in front, which is also who has it: `etl`, `producer`, …
    name: &'static str,
    values: Values,
    help: &'static str,
}

#[derive(Clone, Copy)]
enum Values {
    Counter(fn(&Counters) -> u64),
    /// By reason.
    Rejects,
    Gauge(fn(&Counters) -> f64),
    /// By partition, where it is known. The second argument is the time.
    Partition(fn(&Partition, i64) -> Option<f64>),
    Partitions,
    Histogram(fn(&Counters) -> &Timing),
    Build,
}

const BUILD: &[Definition] = &[Definition {
    name: "logpipe_build_info",
    values: Values::Build,
    help: "Always 1; which version runs, and as what",
}];

const GENERATOR: &[Definition] = &[Definition {
    name: "logpipe_generator_lines_total",
    values: Values::Counter(|c| c.generated_before.get() + c.generated.get()),
    help: "Lines written, in this run and those before it",
}];

const PRODUCER: &[Definition] = &[
    Definition {
        name: "logpipe_producer_lines_total",
        values: Values::Counter(|c| c.produced.get()),
        help: "Lines that the log has acknowledged",
    },
    Definition {
        name: "logpipe_producer_bytes_total",
        values: Values::Counter(|c| c.produced_bytes.get()),
        help: "Bytes of these lines",
    },
    Definition {
        name: "logpipe_producer_lost_bytes_total",
        values: Values::Counter(|c| c.lost_bytes.get()),
        help: "Bytes that were destroyed before they could be read",
    },
    Definition {
        name: "logpipe_producer_files",
        values: Values::Gauge(|c| c.following.get() as f64),
        help: "Files that are followed",
    },
    Definition {
        name: "logpipe_producer_log_failures_total",
        values: Values::Counter(|c| c.log_failures.get()),
        help: "How often a lane began anew from what the log holds, because the log had failed",
    },
    Definition {
        name: "logpipe_producer_save_failures_total",
        values: Values::Counter(|c| c.save_failures.get()),
        help: "How often offsets could not be saved",
    },
    Definition {
        name: "logpipe_producer_unsaved_seconds",
        values: Values::Gauge(|c| c.unsaved.age().as_secs_f64()),
        help: "Since when something was read whose offset is not saved; 0 when all is saved",
    },
];

const ETL: &[Definition] = &[
    Definition {
        name: "logpipe_etl_lines_total",
        values: Values::Counter(|c| c.received.get()),
        help: "Lines read and not found to be duplicates",
    },
    Definition {
        name: "logpipe_etl_read_bytes_total",
        values: Values::Counter(|c| c.received_bytes.get()),
        help: "Bytes of all records read",
    },
    Definition {
        name: "logpipe_etl_dropped_lines_total",
        values: Values::Counter(|c| c.dropped.get()),
        help: "Lines dropped because they were there already, or their producer sends them again",
    },
    Definition {
        name: "logpipe_etl_sequence_gaps_total",
        values: Values::Counter(|c| c.gaps.get()),
        help: "Records that were not their producer's next; it sends them again",
    },
    Definition {
        name: "logpipe_etl_rejected_lines_total",
        values: Values::Rejects,
        help: "Lines that go to the quarantine, by the reason in its column `error`; counted when they are read",
    },
    Definition {
        name: "logpipe_etl_committed_rows_total",
        values: Values::Counter(|c| c.rows.get()),
        help: "Rows committed to the table",
    },
    Definition {
        name: "logpipe_etl_committed_dead_rows_total",
        values: Values::Counter(|c| c.dead.get()),
        help: "Rows committed to the quarantine",
    },
    Definition {
        name: "logpipe_etl_files_total",
        values: Values::Counter(|c| c.files.get()),
        help: "Files committed, of table and quarantine",
    },
    Definition {
        name: "logpipe_etl_file_bytes_total",
        values: Values::Counter(|c| c.file_bytes.get()),
        help: "Bytes of these files",
    },
    Definition {
        name: "logpipe_etl_rebalances_total",
        values: Values::Counter(|c| c.rebalances.get()),
        help: "How often the group gave or took partitions",
    },
    Definition {
        name: "logpipe_etl_partitions",
        values: Values::Partitions,
        help: "Partitions that this worker has",
    },
    Definition {
        name: "logpipe_etl_lag_records",
        values: Values::Partition(|p, _| p.lag().map(|lag| lag as f64)),
        help: "Records in the log that are not committed; the log's end is asked for every 15 s",
    },
    Definition {
        name: "logpipe_etl_committed_offset",
        values: Values::Partition(|p, _| Some(p.committed as f64)),
        help: "The offset below which everything is committed, or holds no line",
    },
    Definition {
        name: "logpipe_etl_oldest_unwritten_seconds",
        values: Values::Partition(|p, now| {
            let age = p.oldest.filter(|at| *at > 0).map_or(0, |at| now - at);
            Some((age.max(0) as f64) / 1e6)
        }),
        help: "Age of the oldest record that was read and is not committed; 0 when there is none",
    },
    Definition {
        name: "logpipe_etl_last_commit_timestamp_seconds",
        values: Values::Partition(|p, _| p.committed_at.map(|at| at as f64 / 1e3)),
        help: "When this worker last committed a batch of the partition; missing before its first",
    },
    Definition {
        name: "logpipe_etl_batch_duration_seconds",
        values: Values::Histogram(|c| &c.batches),
        help: "From taking a finished batch up to its commit",
    },
    Definition {
        name: "logpipe_sink_put_duration_seconds",
        values: Values::Histogram(|c| &c.puts),
        help: "Until an object stood in the sink, with every attempt",
    },
    Definition {
        name: "logpipe_sink_failures_total",
        values: Values::Counter(|c| c.sink_failures.get()),
        help: "Requests to the sink that failed; most are tried again",
    },
    Definition {
        name: "logpipe_checkpoint_swap_duration_seconds",
        values: Values::Histogram(|c| &c.swaps),
        help: "One compare-and-swap of a checkpoint",
    },
    Definition {
        name: "logpipe_checkpoint_conflicts_total",
        values: Values::Counter(|c| c.swap_conflicts.get()),
        help: "Swaps that found another value: another worker has the partition, or an answer was lost",
    },
    Definition {
        name: "logpipe_checkpoint_failures_total",
        values: Values::Counter(|c| c.swap_failures.get()),
        help: "Swaps that failed; they are tried again",
    },
];

/// The text of this moment, as Prometheus reads it.
pub fn text(role: &Role, counters: &Counters) -> String {
    let moment = Moment {
        role,
        counters,
        now: jiff::Timestamp::now().as_microsecond(),
    };
    let own = match role {
        Role::Generate => GENERATOR,
        Role::Produce => PRODUCER,
        Role::Etl(_) => ETL,
    };
    let families = BUILD.iter().chain(own).map(|one| one.family(&moment));
    // One without a value, such as a partition's while there is none, has no lines.
    let families: Vec<_> = families
        .filter(|one| !one.get_metric().is_empty())
        .collect();
    let mut text = Vec::new();
    let encoded = TextEncoder::new().encode(&families, &mut text);
    encoded.expect("each family has a name and values, and memory takes them");
    String::from_utf8(text).expect("names and labels are text")
}

impl Definition {
    fn family(&self, moment: &Moment<'_>) -> MetricFamily {
        let mut family = match self.values {
            Values::Histogram(timing) => timing(moment.counters)
                .histogram()
                .collect()
                .pop()
                .expect("a histogram is one family"),
            _ => MetricFamily::default(),
        };
        family.set_name(self.name.to_owned());
        family.set_help(self.help.to_owned());
        family.set_field_type(self.kind());
        if let Some(metrics) = self.metrics(moment) {
            family.set_metric(metrics);
        }
        family
    }

    fn kind(&self) -> MetricType {
        match self.values {
            Values::Counter(_) | Values::Rejects => MetricType::COUNTER,
            Values::Histogram(_) => MetricType::HISTOGRAM,
            _ => MetricType::GAUGE,
        }
    }

    /// None of a histogram, which has its own.
    fn metrics(&self, moment: &Moment<'_>) -> Option<Vec<Metric>> {
        let counters = moment.counters;
        Some(match self.values {
            Values::Counter(read) => vec![counter(&[], read(counters))],
            Values::Rejects => {
                let counted = RejectReason::ALL.iter().zip(&counters.rejected);
                counted
                    .map(|(reason, count)| counter(&[("reason", reason.as_str())], count.get()))
                    .collect()
            }
            Values::Gauge(read) => vec![gauge(&[], read(counters))],
            Values::Partition(read) => partitions(moment, read),
            Values::Partitions => {
                let Role::Etl(control) = moment.role else {
                    return Some(Vec::new());
                };
                vec![gauge(&[], control.seen().all().len() as f64)]
            }
            Values::Build => {
                let labels = [
                    ("version", env!("CARGO_PKG_VERSION")),
                    ("role", moment.role.name()),
                ];
                vec![gauge(&labels, 1.0)]
            }
            Values::Histogram(_) => return None,
        })
    }

    fn labels(&self) -> &'static str {
        match self.values {
            Values::Partition(_) => "`partition`",
            Values::Rejects => "`reason`",
            Values::Build => "`version`, `role`",
            _ => "",
        }
    }
}

fn partitions(moment: &Moment<'_>, read: fn(&Partition, i64) -> Option<f64>) -> Vec<Metric> {
    let Role::Etl(control) = moment.role else {
        return Vec::new();
    };
    let all = control.seen().all();
    let values = all.iter().filter_map(|(number, partition)| {
        let value = read(partition, moment.now)?;
        Some(gauge(&[("partition", &number.to_string())], value))
    });
    values.collect()
}

fn counter(labels: &[(&str, &str)], value: u64) -> Metric {
    let mut counter = Counter::default();
    counter.set_value(value as f64);
    let mut metric = Metric::from_label(pairs(labels));
    metric.set_counter(counter);
    metric
}

fn gauge(labels: &[(&str, &str)], value: f64) -> Metric {
    let mut gauge = Gauge::default();
    gauge.set_value(value);
    let mut metric = Metric::from_label(pairs(labels));
    metric.set_gauge(gauge);
    metric
}

fn pairs(labels: &[(&str, &str)]) -> Vec<LabelPair> {
    let pair = |(name, value): &(&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    labels.iter().map(pair).collect()
}

/// The tables of `docs/reference/metrics.md`.
pub fn reference() -> String {
    let parts = [
        ("Every worker", BUILD),
        ("Generator", GENERATOR),
        ("Producer", PRODUCER),
        ("ETL workers", ETL),
    ];
    let table = |(title, definitions): (&str, &[Definition])| {
        let rows = definitions.iter().map(|one| {
            let kind = format!("{:?}", one.kind()).to_lowercase();
            let (name, labels, help) = (one.name, one.labels(), one.help);
            format!("| `{name}` | {kind} | {labels} | {help} |\n")
        });
        let head = "| Metric | Type | Labels | What it is |\n|---|---|---|---|\n";
        format!("\n### {title}\n{head}{}", rows.collect::<String>())
    };
    parts.into_iter().map(table).collect()
}

#[cfg(test)]
mod tests;
