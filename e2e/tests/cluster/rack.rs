use std::time::Duration;

use anyhow::ensure;
use kube::ResourceExt;
use logpipe_e2e::{Bed, run, until};
use serde_json::{Value, json};

use crate::START;
use crate::config::rolls;

const LINES: u64 = 50_000;

const ZONE: &str = "topology.kubernetes.io/zone";
const REGION: &str = "topology.kubernetes.io/region";

#[tokio::test]
async fn a_broker_tells_kafka_its_zone_or_says_what_it_lacks() {
    run("rack", rack).await;
}

async fn rack(bed: &Bed) -> anyhow::Result<()> {
    let spec = json!({"source": {"generator": {"maxEvents": LINES, "eventsPerSecond": 500}}});
    let pipeline = bed.pipeline("shop", &spec).await?;
    pipeline.wait_until_ready(START).await?;
    let pods = bed.pods("shop", "kafka").await?;
    if !pods.iter().any(|pod| pod.labels().contains_key(ZONE)) {
        bed.say("not available: pods of this cluster do not get the zone of their node");
        return Ok(());
    }
    rolls(bed, &pipeline, 1, &label(ZONE)).await?;
    let told = bed
        .kafka_tool("org.apache.kafka.tools.BrokerApiVersionsCommand", &[])
        .await?;
    let pods = bed.pods("shop", "kafka").await?;
    let rack = format!("id: 0 rack: {} ", pods[0].labels()[ZONE]);
    ensure!(told.contains(&rack), "Kafka does not say {rack}: {told}");
    bed.say(&format!("Kafka says {rack}"));
    // No node of the test clusters has a region.
    pipeline.edit(&label(REGION)).await?;
    until("the label is missed", Duration::from_mins(2), async || {
        let kafka = pipeline.condition("KafkaReady").await?;
        Ok((kafka.reason == "PodUnschedulable" && kafka.message.contains(REGION)).then_some(()))
    })
    .await?;
    bed.say("a label that no node has is told");
    pipeline.edit(&label(ZONE)).await?;
    pipeline.wait_until_ready(START).await?;
    pipeline.finish(LINES).await
}

fn label(key: &str) -> Value {
    json!({"kafka": {"managed": {"rack": {"topologyKey": key}}}})
}
