use std::time::{Duration, Instant};

use anyhow::ensure;
use logpipe_e2e::{Bed, Pipeline, run, until};
use serde_json::{Value, json};

use crate::START;

const LINES: u64 = 300_000;

#[tokio::test]
async fn brokers_become_fewer_under_load_and_more_again() {
    run("decommission", decommission).await;
}

async fn decommission(bed: &Bed) -> anyhow::Result<()> {
    let spec = json!({
        "source": {"generator": {"maxEvents": LINES, "eventsPerSecond": 500}},
        "kafka": {
            "managed": {"replicas": 5, "resources": {"requests": {"cpu": "50m"}}},
            "topic": {"partitions": 6},
        },
        "etl": {"replicas": 2},
    });
    let pipeline = bed.pipeline("shop", &spec).await?;
    pipeline.wait_until_ready(START).await?;
    pipeline.wait_for_lines(1, START).await?;
    let workers = bed.workers().await?;
    ensure!(
        holds(&replicas(bed).await?, &[3, 4]),
        "nothing lies on the brokers that shall go"
    );
    bed.say("ready, with copies on all five brokers");
    become_three(bed, &pipeline).await?;
    // Their disks are still there.
    pipeline.edit(&brokers(5)).await?;
    pipeline.wait_until_ready(START).await?;
    ensure!(bed.ready("shop", "kafka").await? == 5, "five are wanted");
    bed.say("five again, with the disks that they had");
    // New partitions lie on all of them, and the operator goes while they are emptied.
    pipeline
        .edit(&json!({"kafka": {"topic": {"partitions": 12}}}))
        .await?;
    pipeline.wait_until_ready(START).await?;
    ensure!(
        holds(&replicas(bed).await?, &[3, 4]),
        "no new partition lies on the new brokers"
    );
    pipeline.edit(&brokers(3)).await?;
    until("brokers leave", Duration::from_mins(1), async || {
        let kafka = pipeline.condition("KafkaReady").await?;
        Ok((kafka.reason == "BrokersLeaving").then_some(()))
    })
    .await?;
    bed.replace_operator().await?;
    become_three(bed, &pipeline).await?;
    ensure!(
        bed.workers().await? == workers,
        "a worker was started again"
    );
    bed.no_container_failed("shop").await?;
    pipeline.is_under_load(LINES).await?;
    pipeline.finish(LINES).await
}

async fn become_three(bed: &Bed, pipeline: &Pipeline<'_>) -> anyhow::Result<()> {
    let begun = Instant::now();
    pipeline.edit(&brokers(3)).await?;
    pipeline.wait_until_ready(Duration::from_mins(8)).await?;
    let seconds = begun.elapsed().as_secs();
    ensure!(bed.ready("shop", "kafka").await? == 3, "three are wanted");
    let replicas = replicas(bed).await?;
    ensure!(
        !holds(&replicas, &[3, 4]),
        "copies lie on brokers that are gone: {replicas:?}"
    );
    let tool = "org.apache.kafka.tools.ClusterTool";
    let members = ["list-endpoints", "--include-fenced-brokers"];
    let members = bed.kafka_tool(tool, &members).await?;
    let known = members.lines().skip(1).count();
    ensure!(known == 3, "Kafka knows others still: {members}");
    pipeline.wait_for_more(Duration::from_mins(2)).await?;
    bed.say(&format!(
        "three after {seconds} s, and Kafka knows no others"
    ));
    Ok(())
}

fn brokers(count: i32) -> Value {
    json!({"kafka": {"managed": {"replicas": count}}})
}

/// The brokers of each partition of every topic.
async fn replicas(bed: &Bed) -> anyhow::Result<Vec<Vec<i32>>> {
    let tool = "org.apache.kafka.tools.TopicCommand";
    let told = bed.kafka_tool(tool, &["--describe"]).await?;
    let replicas = told.lines().filter_map(|line| {
        let (_, rest) = line.split_once("Replicas: ")?;
        let ids = rest.split_whitespace().next()?.split(',');
        Some(ids.filter_map(|id| id.parse().ok()).collect())
    });
    let replicas: Vec<Vec<i32>> = replicas.collect();
    ensure!(
        !replicas.is_empty(),
        "Kafka's tool names no partition: {told}"
    );
    Ok(replicas)
}

fn holds(replicas: &[Vec<i32>], brokers: &[i32]) -> bool {
    replicas.iter().flatten().any(|id| brokers.contains(id))
}
