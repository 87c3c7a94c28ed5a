//! One pipeline of a test: making, editing and watching it.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use logpipe_api::LogPipeline;
use logpipe_api::pipeline::Condition;
use logpipe_api::settings::partition_of_key;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::bed::{KEYS, of_part};
use crate::{Bed, until};

/// One pipeline of a test.
pub struct Pipeline<'a> {
    pub(crate) bed: &'a Bed,
    /// Its name.
    pub name: String,
}

/// What the checkpoints say is committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Totals {
    /// Rows of the table.
    pub rows: u64,
    /// Rows of the quarantine.
    pub dead: u64,
    /// Parquet files.
    pub files: u64,
}

#[derive(Deserialize)]
struct Checkpoint {
    totals: Totals,
}

impl Bed {
    /// Makes a pipeline; `spec` is what differs from a small one that writes into the test's own prefix.
    pub async fn pipeline(&self, name: &str, spec: &Value) -> anyhow::Result<Pipeline<'_>> {
        let object = self.manifest(name, spec);
        let api = self.api::<LogPipeline>();
        api.create(&PostParams::default(), &serde_json::from_value(object)?)
            .await?;
        Ok(Pipeline {
            bed: self,
            name: name.to_owned(),
        })
    }

    /// Makes the pipeline of an example, which is YAML; `spec` is what differs.
    pub async fn example(&self, text: &str, spec: &Value) -> anyhow::Result<Pipeline<'_>> {
        let mut object: Value = serde_yaml::from_str(text)?;
        // The test's own prefix, and volumes that go with it.
        let bed = json!({
            "deletionPolicy": {"volumes": "Delete"},
            "sink": {"s3": {"prefix": format!("{}/", self.namespace), "endpoint": Self::endpoint()}},
        });
        merge(&mut object["spec"], &bed);
        merge(&mut object["spec"], spec);
        let api = self.api::<LogPipeline>();
        let made = api
            .create(&PostParams::default(), &serde_json::from_value(object)?)
            .await?;
        Ok(Pipeline {
            bed: self,
            name: made.name_any(),
        })
    }

    /// The manifest of a small pipeline.
    pub fn manifest(&self, name: &str, spec: &Value) -> Value {
        let mut object = json!({
            "apiVersion": "logpipe.dev/v1alpha1",
            "kind": "LogPipeline",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {
                "deletionPolicy": {"volumes": "Delete"},
                "source": {"generator": {}},
                "kafka": {"managed": {"resources": {"requests": {"cpu": "100m"}}}},
                "sink": {
                    "s3": {
                        "bucket": "logs",
                        "prefix": format!("{}/", self.namespace),
                        "endpoint": Self::endpoint(),
                        "credentials": {"secretRef": {"name": KEYS}},
                    },
                    "rotation": {"intervalSeconds": 5},
                },
                "etl": {"resources": {"requests": {"cpu": "50m", "memory": "128Mi"}}},
            },
        });
        merge(&mut object["spec"], spec);
        object
    }
}

/// JSON merge patch.
fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *into = patch.clone();
        return;
    };
    for (key, value) in patch {
        if into.get(key).is_some_and(Value::is_object) || value.is_object() {
            if !into[key].is_object() {
                into[key] = json!({});
            }
            merge(&mut into[key], value);
        } else {
            into[key] = value.clone();
        }
    }
}

impl Pipeline<'_> {
    /// The object.
    pub async fn get(&self) -> anyhow::Result<LogPipeline> {
        Ok(self.bed.api().get(&self.name).await?)
    }

    /// Edits the spec by a JSON merge patch, as `kubectl patch` does.
    pub async fn edit(&self, spec: &Value) -> anyhow::Result<()> {
        let patch = json!({"spec": spec});
        let api = self.bed.api::<LogPipeline>();
        api.patch(&self.name, &PatchParams::default(), &Patch::Merge(&patch))
            .await?;
        Ok(())
    }

    /// Edits the spec to what must be refused; the message.
    pub async fn refused(&self, spec: &Value) -> anyhow::Result<String> {
        match self.edit(spec).await {
            Ok(()) => bail!("the API server took {spec}"),
            Err(error) => Ok(format!("{error:#}")),
        }
    }

    /// Deletes it.
    pub async fn delete(&self) -> anyhow::Result<()> {
        let api = self.bed.api::<LogPipeline>();
        api.delete(&self.name, &DeleteParams::default()).await?;
        Ok(())
    }

    /// A condition, as far as it speaks of the manifest as it is now.
    pub async fn condition(&self, kind: &str) -> anyhow::Result<Condition> {
        let object = self.get().await?;
        let generation = object.metadata.generation.unwrap_or_default();
        let conditions = object.status.unwrap_or_default().conditions;
        let found = conditions
            .into_iter()
            .find(|found| found.kind == kind && found.observed_generation == generation);
        found.with_context(|| format!("there is no condition {kind} yet"))
    }

    /// Waits until a condition is `True`, with this reason if one is given.
    pub async fn wait_for(
        &self,
        kind: &str,
        reason: Option<&str>,
        within: Duration,
    ) -> anyhow::Result<Condition> {
        let mut last = String::new();
        let outcome = until("", within, async || {
            let found = self.condition(kind).await?;
            let wanted = reason.is_none_or(|reason| reason == found.reason);
            last = format!("{} {}: {}", found.status, found.reason, found.message);
            Ok((found.status == "True" && wanted).then_some(found))
        })
        .await;
        outcome.with_context(|| format!("{} is not {kind}: {last}", self.name))
    }

    /// Waits until it is ready.
    pub async fn wait_until_ready(&self, within: Duration) -> anyhow::Result<()> {
        self.wait_for("Ready", None, within).await.map(drop)
    }

    /// What the checkpoints say.
    pub async fn totals(&self) -> anyhow::Result<Totals> {
        let mut sum = Totals::default();
        for (_, text) in self.checkpoints().await? {
            let totals = serde_json::from_str::<Checkpoint>(&text)?.totals;
            sum.rows += totals.rows;
            sum.dead += totals.dead;
            sum.files += totals.files;
        }
        Ok(sum)
    }

    /// The checkpoint of each partition that has begun, under its key.
    pub async fn checkpoints(&self) -> anyhow::Result<Vec<(String, String)>> {
        let params = of_part(&self.name, "checkpoint");
        let maps = self.bed.api::<ConfigMap>().list(&params).await?.items;
        let entries = maps.into_iter().filter_map(|map| map.data).flatten();
        Ok(entries
            .filter(|(key, _)| partition_of_key(key).is_some())
            .collect())
    }

    /// Waits until so many lines are committed.
    pub async fn wait_for_lines(&self, lines: u64, within: Duration) -> anyhow::Result<Totals> {
        let mut last = Totals::default();
        let outcome = until("", within, async || {
            last = self.totals().await?;
            Ok((last.rows + last.dead >= lines).then_some(last))
        })
        .await;
        outcome.with_context(|| format!("{lines} lines are not committed yet: {last:?}"))
    }

    /// Waits until the status tells what is committed.
    pub async fn wait_until_told(&self, totals: Totals) -> anyhow::Result<()> {
        until(
            "the status tells the rows",
            Duration::from_mins(2),
            async || {
                let told = self.get().await?.status.unwrap_or_default().progress;
                let rows = told.map(|progress| progress.committed_rows);
                Ok((rows == Some(totals.rows.to_string())).then_some(()))
            },
        )
        .await
    }

    /// Waits until lines are committed that were not when this was called.
    pub async fn wait_for_more(&self, within: Duration) -> anyhow::Result<()> {
        let now = self.totals().await?;
        self.wait_for_lines(now.rows + now.dead + 1, within)
            .await
            .map(drop)
    }

    /// Fails when all lines are committed already: what the test did then met no load.
    pub async fn is_under_load(&self, lines: u64) -> anyhow::Result<()> {
        let now = self.totals().await?;
        ensure!(
            now.rows + now.dead < lines,
            "the load ended before the faults and changes did: {now:?}"
        );
        Ok(())
    }

    /// Has the rest of a generator's lines as fast as it goes, waits until they are committed, and audits.
    pub async fn finish(&self, lines: u64) -> anyhow::Result<()> {
        self.edit(&json!({"source": {"generator": {"eventsPerSecond": 0}}}))
            .await?;
        self.wait_for_lines(lines, Duration::from_mins(4)).await?;
        self.audit(lines).await
    }
}
