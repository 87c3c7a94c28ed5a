//! `logpipe worker etl`. Touches Kafka, the bucket and the checkpoints.

use std::path::Path;
use std::sync::Arc;

use logpipe_api::settings::{CheckpointPlace, EtlSettings, KafkaSettings, S3Settings, Settings};
use logpipe_workers::checkpoint::CheckpointStore;
use logpipe_workers::checkpoint::config_map::ConfigMapStore;
use logpipe_workers::checkpoint::file::FileStore;
use logpipe_workers::counters::Counters;
use logpipe_workers::etl::{self, Control, EtlOptions, Parts};
use logpipe_workers::log::Log;
use logpipe_workers::log::kafka::{Group, KafkaLog, KafkaOptions};
use logpipe_workers::metrics::Role;
use logpipe_workers::store::Store;

use super::{ends, progress, serve, signals};
use crate::runtime;

pub(super) fn run() -> anyhow::Result<()> {
    let settings = EtlSettings::from_env(std::env::vars())?;
    let kafka = KafkaSettings::from_env(std::env::vars())?;
    let s3 = S3Settings::from_env(std::env::vars())?;
    let options = EtlOptions::new(&settings, false)?;
    let stop = signals::stop_flag()?;
    let runtime = runtime::start()?;
    let mut store = Store::s3(&s3)?;
    runtime.block_on(store.probe())?;
    let checkpoints = runtime.block_on(checkpoints(&settings.checkpoints))?;
    let group = Group::Member {
        id: settings.group_id.clone(),
        instance: settings.instance.clone(),
    };
    let kafka_options = KafkaOptions {
        group: Some(group),
        ..KafkaOptions::default()
    };
    let log: Arc<dyn Log> = Arc::new(KafkaLog::open(&kafka, kafka_options)?);
    let control = Arc::new(Control::new(log.identity().partitions));
    let counters = Arc::new(Counters::default());
    ends::watch(log.clone(), control.clone())?;
    // Whether it gets a partition is the group's to say: it may be a spare one.
    serve::start(Role::Etl(control.clone()), counters.clone())?;
    let parts = Parts {
        log: log.as_ref(),
        checkpoints,
        store,
        control: &control,
        counters: &counters,
        runtime: runtime.handle(),
    };
    progress::watched(
        "committed",
        &stop,
        || control.stop(),
        || (counters.rows.get(), counters.dead.get()),
        || {
            etl::run(
                &options,
                parts,
                &|frozen| tracing::info!(parser = %frozen.why, plan = %frozen.plan.hash(), "plan"),
            )
        },
    )?;
    tracing::info!(
        rows = counters.rows.get(),
        dead = counters.dead.get(),
        files = counters.files.get(),
        "stopped; what was read is committed"
    );
    Ok(())
}

async fn checkpoints(place: &CheckpointPlace) -> anyhow::Result<Arc<dyn CheckpointStore>> {
    match place {
        CheckpointPlace::Dir(dir) => Ok(Arc::new(FileStore::open(Path::new(dir))?)),
        CheckpointPlace::ConfigMaps { namespace, prefix } => {
            Ok(Arc::new(ConfigMapStore::connect(namespace, prefix).await?))
        }
    }
}
