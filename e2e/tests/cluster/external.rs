use std::time::Duration;

use anyhow::ensure;
use k8s_openapi::api::core::v1::{Secret, Service};
use kube::api::{Patch, PatchParams, PostParams};
use logpipe_e2e::{Bed, Program, kafka_image, run, until};
use serde_json::{Value, json};

use crate::START;

const EXAMPLE: &str = include_str!("../../../examples/kafka.yaml");
const LINES: u64 = 50_000;
const PASSWORD: &str = "correct-horse-battery";
const WRONG: &str = "wrong-horse-battery";

#[tokio::test]
async fn a_kafka_of_ones_own_with_tls_and_a_password_and_first_a_wrong_one() {
    run("external", external).await;
}

async fn external(bed: &Bed) -> anyhow::Result<()> {
    let certificate = start_kafka(bed).await?;
    secret(bed, "kafka-ca", &json!({"ca.crt": certificate})).await?;
    secret(bed, "kafka-login", &json!({"password": WRONG})).await?;
    let spec = json!({
        "source": {"topic": null, "generator": {"maxEvents": LINES, "eventsPerSecond": 0}},
        "kafka": {
            "external": {"bootstrapServers": [format!("kafka.{}.svc:9092", bed.namespace)]},
            // The example's topic is another's.
            "topic": {"partitions": 2, "managementPolicy": "CreateOrUpdate", "config": {"retention.ms": "3600000"}},
        },
        "etl": {"resources": {"requests": {"cpu": "50m", "memory": "128Mi"}}},
        "sink": {"s3": {"tls": null}, "rotation": {"intervalSeconds": 5}},
    });
    let pipeline = bed.example(EXAMPLE, &spec).await?;
    // Before that nothing may listen yet, which is told as well.
    let told = until("the wrong password is told", START, async || {
        let ready = pipeline.condition("Ready").await?;
        let told = ready.reason == "PodFailing" && ready.message.contains("password");
        Ok(told.then_some(ready.message))
    })
    .await?;
    bed.say(&told);
    ensure!(!told.contains(WRONG), "the message shows the password");
    secret(bed, "kafka-login", &json!({"password": PASSWORD})).await?;
    // The kubelet takes a minute to see a new Secret, and waits before it starts what failed again.
    pipeline.wait_until_ready(Duration::from_mins(6)).await?;
    bed.say("ready with the right one");
    pipeline.wait_for_lines(LINES, START).await?;
    pipeline.audit(LINES).await
}

async fn secret(bed: &Bed, name: &str, data: &Value) -> anyhow::Result<()> {
    let object = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name},
        "stringData": data,
    });
    let params = PatchParams::apply("e2e").force();
    let secrets = bed.api::<Secret>();
    secrets.patch(name, &params, &Patch::Apply(&object)).await?;
    Ok(())
}

/// A Kafka as others run it; the certificate that it shows.
async fn start_kafka(bed: &Bed) -> anyhow::Result<String> {
    let host = format!("kafka.{}.svc", bed.namespace);
    let pair = rcgen::generate_simple_self_signed([host.clone()])?;
    let certificate = pair.cert.pem();
    let key = pair.signing_key.serialize_pem();
    let files = json!({
        "server.pem": format!("{key}{certificate}"),
        "server.properties": PROPERTIES.replace("HOST", &host),
        "start.sh": START_KAFKA,
        "password": PASSWORD,
    });
    secret(bed, "kafka-files", &files).await?;
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kafka"},
        "spec": {"selector": {"app": "kafka"}, "ports": [{"port": 9092}]},
    });
    bed.api::<Service>()
        .create(&PostParams::default(), &serde_json::from_value(service)?)
        .await?;
    let volume = |path: &str, source| (path.to_owned(), source);
    bed.start(&Program {
        name: "kafka",
        image: kafka_image(),
        command: ["/bin/sh", "/files/start.sh"].map(str::to_owned).into(),
        volumes: vec![
            volume("/files", json!({"secret": {"secretName": "kafka-files"}})),
            volume("/data", json!({"emptyDir": {}})),
            volume("/tmp", json!({"emptyDir": {}})),
        ],
    })
    .await?;
    Ok(certificate)
}

const START_KAFKA: &str = r#"
set -eu
java -Xmx128m -cp "/opt/kafka/libs/*" kafka.tools.StorageTool format --cluster-id=4L6g3nShT-eMCtK--X86sw -c /files/server.properties \
  --standalone --add-scram "SCRAM-SHA-512=[name=logpipe,password=$(cat /files/password)]"
exec java -Xmx384m -cp "/opt/kafka/libs/*" kafka.Kafka /files/server.properties
"#;

const PROPERTIES: &str = "
process.roles=broker,controller
node.id=0
controller.quorum.bootstrap.servers=127.0.0.1:9093
controller.listener.names=CONTROLLER
inter.broker.listener.name=INTERNAL
listeners=CLIENT://:9092,INTERNAL://127.0.0.1:9094,CONTROLLER://127.0.0.1:9093
advertised.listeners=CLIENT://HOST:9092,INTERNAL://127.0.0.1:9094,CONTROLLER://127.0.0.1:9093
listener.security.protocol.map=CLIENT:SASL_SSL,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.client.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
ssl.keystore.type=PEM
ssl.keystore.location=/files/server.pem
log.dirs=/data/kafka
auto.create.topics.enable=false
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
";
