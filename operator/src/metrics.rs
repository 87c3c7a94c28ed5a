//! The operator's metrics. Reads what the watches hold, touches nothing.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use kube::core::DeserializeGuard;
use kube::runtime::reflector::Store;
use kube::{Resource, ResourceExt};
use logpipe_api::LogPipeline;
use prometheus::proto::MetricFamily;
use prometheus::{HistogramOpts, HistogramVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};

use crate::lock;

/// Every metric, and the pipelines that some of them are about.
pub struct Metrics {
    registry: Registry,
    reconciles: HistogramVec,
    leader: IntGauge,
    ready: IntGaugeVec,
    stalled: IntGaugeVec,
    reasons: IntGaugeVec,
    /// All pipelines that are watched.
    pipelines: Mutex<Vec<Store<DeserializeGuard<LogPipeline>>>>,
    /// One answer at a time: gauges are set anew for each.
    answer: Mutex<()>,
}

impl Default for Metrics {
    fn default() -> Self {
        let registry = Registry::new();
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            let gauges = IntGaugeVec::new(Opts::new(name, help), labels);
            let gauges = gauges.expect("name and labels are valid");
            registry
                .register(Box::new(gauges.clone()))
                .expect("each name stands here once");
            gauges
        };
        let build = gauges(
            "logpipe_build_info",
            "Always 1; which version runs, and as what",
            &["version", "role"],
        );
        build
            .with_label_values(&[env!("CARGO_PKG_VERSION"), "operator"])
            .set(1);
        let leader = gauges(
            "logpipe_operator_leader",
            "Whether this operator holds the lease and reconciles",
            &[],
        );
        let reconciles = HistogramOpts::new(
            "logpipe_operator_reconcile_duration_seconds",
            "One look at one pipeline",
        );
        let reconciles = HistogramVec::new(reconciles, &["result"]);
        let reconciles = reconciles.expect("name and labels are valid");
        registry
            .register(Box::new(reconciles.clone()))
            .expect("each name stands here once");
        for result in ["ok", "error"] {
            reconciles.with_label_values(&[result]);
        }
        Self {
            leader: leader.with_label_values::<&str>(&[]),
            ready: gauges(
                "logpipe_pipeline_ready",
                "Whether the condition Ready is True",
                &["pipeline_namespace", "pipeline"],
            ),
            stalled: gauges(
                "logpipe_pipeline_stalled",
                "Whether the condition Stalled is True: a person must mend something",
                &["pipeline_namespace", "pipeline"],
            ),
            reasons: gauges(
                "logpipe_operator_pipelines",
                "Pipelines by the reason of their condition Ready",
                &["reason"],
            ),
            reconciles,
            registry,
            pipelines: Mutex::default(),
            answer: Mutex::default(),
        }
    }
}

impl Metrics {
    /// Reports these pipelines, too.
    pub(crate) fn watch(&self, pipelines: Store<DeserializeGuard<LogPipeline>>) {
        lock(&self.pipelines).push(pipelines);
    }

    /// Comes to its end when each watch has listed once what is there.
    pub(crate) async fn wait_until_listed(&self) {
        let all = lock(&self.pipelines).clone();
        for pipelines in all {
            // An error is the end of the watch, and of the operator.
            pipelines.wait_until_ready().await.ok();
        }
    }

    /// All pipelines that are watched; one that cannot be read is left out.
    pub(crate) fn pipelines(&self) -> Vec<Arc<DeserializeGuard<LogPipeline>>> {
        let all = lock(&self.pipelines);
        all.iter().flat_map(Store::state).collect()
    }

    /// Counts a reconciliation that began at `start`.
    pub(crate) fn reconciled(&self, start: Instant, good: bool) {
        let result = if good { "ok" } else { "error" };
        self.reconciles
            .with_label_values(&[result])
            .observe(start.elapsed().as_secs_f64());
    }

    /// Whether this operator holds the lease.
    pub fn lead(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// The text of this moment.
    pub fn text(&self) -> String {
        let pipelines = self.pipelines();
        let families = self.families(pipelines.iter().filter_map(|guard| guard.0.as_ref().ok()));
        let text = TextEncoder::new().encode_to_string(&families);
        text.expect("each family has a name and values, and memory takes them")
    }

    fn families<'a>(&self, pipelines: impl Iterator<Item = &'a LogPipeline>) -> Vec<MetricFamily> {
        let answer = lock(&self.answer);
        self.ready.reset();
        self.stalled.reset();
        self.reasons.reset();
        for pipeline in pipelines {
            self.set_gauges(pipeline);
        }
        let families = self.registry.gather();
        drop(answer);
        families
    }

    fn set_gauges(&self, pipeline: &LogPipeline) {
        let conditions = pipeline.status.iter().flat_map(|status| &status.conditions);
        let find = |kind| conditions.clone().find(|condition| condition.kind == kind);
        let is_true = |kind| find(kind).is_some_and(|condition| condition.status == "True");
        let namespace = pipeline.meta().namespace.clone().unwrap_or_default();
        let name = pipeline.name_any();
        let labels = [namespace.as_str(), name.as_str()];
        let set = |gauge: &IntGaugeVec, value: bool| {
            gauge.with_label_values(&labels).set(i64::from(value));
        };
        set(&self.ready, is_true("Ready"));
        set(&self.stalled, is_true("Stalled"));
        let reason = find("Ready").map_or("Unknown", |ready| ready.reason.as_str());
        self.reasons.with_label_values(&[reason]).inc();
    }
}

/// The table of `docs/reference/metrics.md`.
#[cfg(test)]
fn reference(families: &[MetricFamily]) -> String {
    let row = |family: &MetricFamily| {
        let kind = format!("{:?}", family.get_field_type()).to_lowercase();
        let first = family.get_metric().first();
        let labels = first.map_or(&[][..], |metric| metric.get_label());
        let labels: Vec<_> = labels
            .iter()
            .map(|label| format!("`{}`", label.name()))
            .collect();
        let (name, labels, help) = (family.name(), labels.join(", "), family.help());
        format!("| `{name}` | {kind} | {labels} | {help} |\n")
    };
    let head = "| Metric | Type | Labels | What it is |\n|---|---|---|---|\n";
    let rows: String = families.iter().map(row).collect();
    format!("\n### Operator\n{head}{rows}")
}

#[cfg(test)]
mod tests {
    use kube::runtime::reflector::store;
    use kube::runtime::watcher;
    use serde_json::json;

    use super::*;

    fn pipeline(ready: &str, reason: &str, stalled: &str) -> LogPipeline {
        let condition = |kind, status, reason| {
            json!({"type": kind, "status": status, "reason": reason, "message": "",
                "lastTransitionTime": "2026-09-22T10:00:00Z"})
        };
        serde_json::from_value(json!({
            "apiVersion": "logpipe.dev/v1alpha1", "kind": "LogPipeline",
            "metadata": {"name": "shop", "namespace": "data"},
            "spec": {"source": {"generator": {}}, "sink": {"s3": {"bucket": "logs"}}},
            "status": {"conditions": [
                condition("Ready", ready, reason),
                condition("Stalled", stalled, reason),
            ]},
        }))
        .unwrap()
    }

    #[tokio::test]
    async fn a_namespace_that_was_not_listed_yet_is_waited_for() {
        let metrics = Metrics::default();
        let (first, mut listed) = store();
        metrics.watch(first);
        let (second, mut late) = store();
        metrics.watch(second);
        listed.apply_watcher_event(&watcher::Event::InitDone);
        let mut all = std::pin::pin!(metrics.wait_until_listed());
        assert!(futures::poll!(&mut all).is_pending());
        late.apply_watcher_event(&watcher::Event::InitDone);
        all.await;
    }

    fn text(metrics: &Metrics, pipelines: &[LogPipeline]) -> String {
        let families = metrics.families(pipelines.iter());
        TextEncoder::new().encode_to_string(&families).unwrap()
    }

    #[test]
    fn a_stalled_pipeline_is_named_until_it_is_gone() {
        let metrics = Metrics::default();
        let before = text(&metrics, &[pipeline("False", "SinkAccessDenied", "True")]);
        let labels = r#"{pipeline="shop",pipeline_namespace="data"}"#;
        assert!(
            before.contains(&format!("logpipe_pipeline_stalled{labels} 1\n")),
            "{before}"
        );
        assert!(
            before.contains(&format!("logpipe_pipeline_ready{labels} 0\n")),
            "{before}"
        );
        let reason = r#"logpipe_operator_pipelines{reason="SinkAccessDenied"} 1"#;
        assert!(before.contains(reason), "{before}");
        let after = text(&metrics, &[]);
        assert!(
            !after.contains("shop") && !after.contains("SinkAccessDenied"),
            "{after}"
        );
    }

    #[test]
    fn the_reference_has_every_metric() {
        let metrics = Metrics::default();
        let families = metrics.families([pipeline("True", "Running", "False")].iter());
        let file =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/metrics.md");
        let found = std::fs::read_to_string(&file).unwrap();
        let (begin, end) = (
            "<!-- operator: LOGPIPE_BLESS=1 -->\n",
            "<!-- end of operator -->",
        );
        let (head, rest) = found.split_once(begin).unwrap();
        let (_, tail) = rest.split_once(end).unwrap();
        let wanted = format!("{head}{begin}{}{end}{tail}", reference(&families));
        if std::env::var_os("LOGPIPE_BLESS").is_some() {
            std::fs::write(&file, wanted).unwrap();
            return;
        }
        assert!(
            found == wanted,
            "{} is old: LOGPIPE_BLESS=1 cargo test",
            file.display()
        );
    }
}
