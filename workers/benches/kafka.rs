//! How fast a topic of Kafka is written and read, in blocks of 60 KB and with a line a record, beside rdkafka's plain
//! consumer on the same topic. Prints lines a second and the processor's nanoseconds a line, of this process; a line
//! has about 115 bytes. It needs the brokers of `hack/parts up`.
//!
//! `eval "$(hack/parts env)"; cargo bench -p logpipe-workers --bench kafka -- [MILLIONS OF LINES]` (2)

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use logpipe_api::pipeline::ManagementPolicy;
use logpipe_api::settings::{KafkaSettings, TopicSettings};
use logpipe_workers::log::kafka::{KafkaLog, KafkaOptions, topic};
use logpipe_workers::log::{Log, LogError, NewRecord};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

const ROUNDS: usize = 5;

fn main() -> Result<(), LogError> {
    let Ok(servers) = std::env::var("LOGPIPE_TEST_KAFKA") else {
        println!("not available: run eval \"$(hack/parts env)\"");
        return Ok(());
    };
    let millions = std::env::args().find_map(|a| a.parse().ok());
    let lines: u64 = 1_000_000 * millions.unwrap_or(2);
    for (name, block) in [("blocks", 520), ("lines", 1)] {
        let settings = new_topic(&servers, name)?;
        let log: Arc<dyn Log> = Arc::new(KafkaLog::open(&settings, KafkaOptions::default())?);
        let written = measure(lines, || write(&*log, lines, block))?;
        println!("{name:>7}: written  {written}");
        let mut ours = Vec::new();
        let mut plain = Vec::new();
        for _ in 0..ROUNDS {
            ours.push(measure(lines, || read(&*log, lines, block))?);
            plain.push(measure(lines, || {
                read_plainly(&settings, lines, block);
                Ok(())
            })?);
        }
        println!("{name:>7}: read     {}", median(ours));
        println!("{name:>7}: rdkafka  {}", median(plain));
    }
    Ok(())
}

fn new_topic(servers: &str, name: &str) -> Result<KafkaSettings, LogError> {
    let settings = KafkaSettings {
        bootstrap_servers: vec![servers.to_owned()],
        topic: format!("bench-{name}-{}", std::process::id()),
        tls: None,
        sasl: None,
    };
    let wanted = TopicSettings {
        partitions: 1,
        replication_factor: None,
        management_policy: ManagementPolicy::CreateOrUpdate,
        config: [("retention.ms".to_owned(), "-1".to_owned())].into(),
    };
    topic::ensure(&settings, &wanted)?;
    Ok(settings)
}

struct Speed {
    lines: u64,
    wall: Duration,
    cpu: Duration,
}

impl std::fmt::Display for Speed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let million = self.lines as f64 / self.wall.as_secs_f64() / 1e6;
        let nanos = self.cpu.as_nanos() as f64 / self.lines as f64;
        write!(f, "{million:6.2} M lines/s, {nanos:6.0} ns CPU a line")
    }
}

fn measure(lines: u64, work: impl FnOnce() -> Result<(), LogError>) -> Result<Speed, LogError> {
    let (wall, cpu) = (Instant::now(), cpu());
    work()?;
    Ok(Speed {
        lines,
        wall: wall.elapsed(),
        cpu: self::cpu().saturating_sub(cpu),
    })
}

/// By the processor, as half of the runs were faster.
fn median(mut speeds: Vec<Speed>) -> Speed {
    speeds.sort_by_key(|speed| speed.cpu);
    speeds.swap_remove(speeds.len() / 2)
}

/// What this process has used of the processors, in ticks of 10 ms.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let behind = stat.rsplit(')').next().unwrap_or_default();
    let fields = behind.split_whitespace().skip(11).take(2);
    let ticks: u64 = fields.filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(10 * ticks)
}

fn write(log: &dyn Log, lines: u64, block: u64) -> Result<(), LogError> {
    let mut sink = log.sink(0)?;
    let mut random = 1_u64;
    for record in 0..lines.div_ceil(block) {
        let mut value = String::new();
        for line in 0..block {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(99);
            push_line(&mut value, record * block + line, random >> 33);
        }
        sink.send(NewRecord {
            timestamp: 1_790_000_000_000_000 + 1_000 * record as i64,
            key: Bytes::from_static(b"web-1-0 generation and place of the block"),
            value: value.into(),
        })?;
    }
    sink.flush()
}

fn push_line(value: &mut String, number: u64, random: u64) {
    use std::fmt::Write as _;
    let second = number / 20_000;
    writeln!(
        value,
        "2026-10-26 07:{:02}:{:02},{:03} INFO [exec-{}] c.a.http.AccessFilter - GET /api/v1/orders/{} status=200 bytes={} took={}ms",
        second / 60 % 60,
        second % 60,
        number / 20 % 1000,
        random % 97,
        random % 1_000_003,
        random % 50_021,
        random % 331,
    )
    .expect("a string takes what it is given");
}

fn read(log: &dyn Log, lines: u64, block: u64) -> Result<(), LogError> {
    let mut source = log.source()?;
    source.assign(0, 0)?;
    let (mut records, mut bytes) = (0, 0);
    while records < lines.div_ceil(block) {
        let wait = Duration::from_millis(100);
        source.poll(wait, &mut |record| {
            records += 1;
            bytes += record.value.len();
        })?;
    }
    assert!(bytes > 0);
    Ok(())
}

fn read_plainly(settings: &KafkaSettings, lines: u64, block: u64) {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", settings.bootstrap_servers.join(","))
        .set("group.id", "bench")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("fetch.queue.backoff.ms", "5")
        .set("queued.min.messages", "1000000")
        .create()
        .expect("the settings are right");
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&settings.topic, 0, Offset::Offset(0))
        .expect("an offset");
    consumer.assign(&list).expect("assigned");
    let (mut records, mut bytes) = (0, 0);
    while records < lines.div_ceil(block) {
        if let Some(record) = consumer.poll(Duration::from_millis(100)) {
            let record = record.expect("the topic can be read");
            records += 1;
            bytes += record.payload().map_or(0, <[u8]>::len);
        }
    }
    assert!(bytes > 0);
}
