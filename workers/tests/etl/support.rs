//! A pipeline's outside world in memory: log, checkpoints and bucket, with a fuse that kills the worker at any
//! one of its writes.

// A helper of tests fails as a test does.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Int32Type, Int64Type};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use logpipe_api::pipeline::{Granularity, Parquet, Transform};
use logpipe_workers::checkpoint::memory::MemoryStore;
use logpipe_workers::checkpoint::{Checkpoint, CheckpointStore, StoreError, Swap, partition_key};
use logpipe_workers::counters::Counters;
use logpipe_workers::etl::commit::Committer;
use logpipe_workers::etl::partition::Limits;
use logpipe_workers::etl::{self, Control, EtlError, EtlOptions, Parts};
use logpipe_workers::log::key::{BlockKey, Chunk};
use logpipe_workers::log::memory::MemoryLog;
use logpipe_workers::log::{Log, NewRecord};
use logpipe_workers::store::Store;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult,
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// When lines of the tests were read: 2026-01-31 12:00:00 UTC.
pub(crate) const READ_AT: i64 = 1_769_860_800_000_000;

/// Kills the worker at its n-th write: nothing it does afterwards has an effect.
#[derive(Clone, Debug)]
pub(crate) struct Fuse {
    left: Arc<AtomicI64>,
    /// The fatal write itself still has its effect, but its answer is lost.
    applied: bool,
}

impl Fuse {
    pub(crate) fn never() -> Self {
        Self::at(i64::MAX, false)
    }

    pub(crate) fn at(writes: i64, applied: bool) -> Self {
        Self {
            left: Arc::new(AtomicI64::new(writes)),
            applied,
        }
    }

    /// Whether the write has its effect, and whether its answer arrives.
    fn burn(&self) -> (bool, bool) {
        let left = self.left.fetch_sub(1, Ordering::SeqCst);
        (left > 0 || (left == 0 && self.applied), left > 0)
    }

    pub(crate) fn burnt(&self) -> bool {
        self.left.load(Ordering::SeqCst) < 0
    }
}

/// The listings of a store, which may take as long as a test likes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lists {
    count: Arc<AtomicU32>,
    closed: Arc<AtomicBool>,
}

impl Lists {
    /// How many were begun.
    pub(crate) fn count(&self) -> u32 {
        self.count.load(Ordering::SeqCst)
    }

    /// From now on none comes to an end.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    pub(crate) fn open(&self) {
        self.closed.store(false, Ordering::SeqCst);
    }

    async fn pass(self) {
        self.count.fetch_add(1, Ordering::SeqCst);
        while self.closed.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// What outlives a worker.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) log: MemoryLog,
    pub(crate) checkpoints: MemoryStore,
    pub(crate) bucket: Arc<InMemory>,
    pub(crate) lists: Lists,
    pub(crate) options: EtlOptions,
}

impl World {
    pub(crate) fn new(partitions: u32) -> Self {
        Self {
            log: MemoryLog::new("logs", partitions),
            checkpoints: MemoryStore::new(),
            bucket: Arc::new(InMemory::new()),
            lists: Lists::default(),
            options: EtlOptions {
                owner: "worker".to_owned(),
                threads: 1,
                transform: Transform::default(),
                granularity: Granularity::Hour,
                parquet: Parquet::default(),
                limits: Limits {
                    max_bytes: 64 << 20,
                    max_rows: 1_000_000,
                    interval: Duration::from_hours(1),
                    idle: Duration::from_hours(1),
                },
                memory: 64 << 20,
                owns_log: false,
            },
        }
    }

    /// Appends a block of our producer `producer`.
    pub(crate) fn block(&self, partition: u32, producer: &str, first: u64, lines: &[String]) {
        let mut key = Vec::new();
        BlockKey {
            producer,
            generation: 1,
            first,
            lines: lines.len() as u32,
            file_id: 1,
            file_offset: first * 100,
            path: "/var/log/app.log",
            chunk: Chunk::Whole,
        }
        .encode(&mut key);
        let mut value = lines.join("\n");
        value.push('\n');
        self.raw(partition, key, value.into_bytes());
    }

    pub(crate) fn raw(&self, partition: u32, key: Vec<u8>, value: Vec<u8>) {
        let record = NewRecord {
            timestamp: READ_AT,
            key: key.into(),
            value: value.into(),
        };
        self.log.append(partition, record);
    }

    /// Runs a worker until everything in the log is committed, or until the fuse burns.
    pub(crate) fn run(&self, fuse: &Fuse) -> Result<Arc<Counters>, EtlError> {
        let control = Arc::new(Control::new(self.log.identity().partitions));
        self.run_with(fuse, &control)
    }

    /// The same, with a control that can be asked afterwards.
    pub(crate) fn run_with(
        &self,
        fuse: &Fuse,
        control: &Arc<Control>,
    ) -> Result<Arc<Counters>, EtlError> {
        control.drain();
        self.serve(fuse, control)
    }

    /// A worker that goes on until its control says otherwise.
    pub(crate) fn serve(
        &self,
        fuse: &Fuse,
        control: &Arc<Control>,
    ) -> Result<Arc<Counters>, EtlError> {
        let counters = Arc::new(Counters::default());
        self.serve_log(&self.log, fuse, control, &counters)?;
        Ok(counters)
    }

    /// The same, of a log that stands for the world's.
    pub(crate) fn serve_log(
        &self,
        log: &dyn Log,
        fuse: &Fuse,
        control: &Arc<Control>,
        counters: &Arc<Counters>,
    ) -> Result<(), EtlError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build();
        let runtime = runtime.unwrap();
        let checkpoints: Arc<dyn CheckpointStore> = Arc::new(Mortal {
            inner: self.checkpoints.clone(),
            lists: Lists::default(),
            fuse: fuse.clone(),
        });
        let bucket = Mortal {
            inner: self.bucket.clone(),
            lists: self.lists.clone(),
            fuse: fuse.clone(),
        };
        let parts = Parts {
            log,
            checkpoints,
            store: Store::new(Arc::new(bucket), "memory".to_owned(), "logs/"),
            control,
            counters,
            runtime: runtime.handle(),
        };
        etl::run(&self.options, parts, &|_| {})
    }

    /// A worker that takes partition 0 over and does nothing by itself.
    pub(crate) async fn take_over(&self, owner: &str) -> Committer {
        let store = Store::new(self.bucket.clone(), "memory".to_owned(), "logs/");
        let checkpoints = Arc::new(self.checkpoints.clone());
        let committer =
            Committer::take_over(checkpoints, store, &self.log.identity(), 0, 0, owner).await;
        committer.unwrap()
    }

    pub(crate) fn checkpoint(&self, partition: u32) -> Option<Checkpoint> {
        let value = futures::executor::block_on(self.checkpoints.read(&partition_key(partition)));
        value
            .unwrap()
            .map(|bytes| Checkpoint::decode(&bytes).unwrap())
    }

    /// Every object's path and content.
    pub(crate) fn objects(&self) -> BTreeMap<String, Bytes> {
        futures::executor::block_on(async {
            let metas: Vec<ObjectMeta> = self.bucket.list(None).try_collect().await.unwrap();
            let mut objects = BTreeMap::new();
            for meta in metas {
                let bytes = self
                    .bucket
                    .get(&meta.location)
                    .await
                    .unwrap()
                    .bytes()
                    .await
                    .unwrap();
                objects.insert(meta.location.to_string(), bytes);
            }
            objects
        })
    }

    /// Text, partition, offset and line of every row of the table and of the quarantine, sorted by text.
    pub(crate) fn rows(&self) -> Vec<(String, i32, i64, i32)> {
        let mut rows: Vec<_> = self.objects().values().flat_map(rows_of).collect();
        rows.sort();
        rows
    }

    /// The messages alone.
    pub(crate) fn messages(&self) -> Vec<String> {
        self.rows().into_iter().map(|(text, ..)| text).collect()
    }
}

/// Stops a worker, also when its test fails.
pub(crate) struct StopOnDrop<'a>(pub(crate) &'a Control);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(
            begun.elapsed() < Duration::from_mins(1),
            "waited in vain until {what}"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// `2026-01-31 HH:00:00,000 INFO line N`
pub(crate) fn lines(range: Range<u64>, hour: impl Fn(u64) -> u64) -> Vec<String> {
    range
        .map(|n| format!("2026-01-31 {:02}:00:00,000 INFO line {n:05}", hour(n)))
        .collect()
}

pub(crate) fn rows_of(bytes: &Bytes) -> Vec<(String, i32, i64, i32)> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes.clone())
        .unwrap()
        .build()
        .unwrap();
    let mut rows = Vec::new();
    for batch in reader {
        let batch = batch.unwrap();
        let column = |name: &str| batch.column_by_name(name);
        let partition = column("_partition")
            .unwrap()
            .as_primitive::<Int32Type>()
            .clone();
        let offset = column("_offset")
            .unwrap()
            .as_primitive::<Int64Type>()
            .clone();
        let line = column("_line").unwrap().as_primitive::<Int32Type>().clone();
        for row in 0..batch.num_rows() {
            let text = match (column("message"), column("raw")) {
                (Some(message), _) => message.as_string::<i32>().value(row).to_owned(),
                (None, raw) => {
                    String::from_utf8_lossy(raw.unwrap().as_binary::<i32>().value(row)).into_owned()
                }
            };
            assert!(!partition.is_null(row));
            rows.push((
                text,
                partition.value(row),
                offset.value(row),
                line.value(row),
            ));
        }
    }
    rows
}

/// A store whose worker may die.
#[derive(Clone, Debug)]
struct Mortal<S> {
    inner: S,
    lists: Lists,
    fuse: Fuse,
}

impl<S> fmt::Display for Mortal<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("mortal")
    }
}

fn dead() -> StoreError {
    StoreError {
        key: "any".to_owned(),
        place: "memory".to_owned(),
        action: "reach it",
        source: "the worker is dead".into(),
    }
}

fn dead_object() -> object_store::Error {
    object_store::Error::Generic {
        store: "memory",
        source: "the worker is dead".into(),
    }
}

#[async_trait]
impl CheckpointStore for Mortal<MemoryStore> {
    async fn read(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        if self.fuse.burnt() {
            return Err(dead());
        }
        self.inner.read(key).await
    }

    async fn swap(
        &self,
        key: &str,
        expected: Option<&[u8]>,
        new: &[u8],
    ) -> Result<Swap, StoreError> {
        let (applied, answered) = self.fuse.burn();
        let result = if applied {
            self.inner.swap(key, expected, new).await
        } else {
            Err(dead())
        };
        if answered { result } else { Err(dead()) }
    }
}

#[async_trait]
impl ObjectStore for Mortal<Arc<InMemory>> {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> object_store::Result<PutResult> {
        let (applied, answered) = self.fuse.burn();
        let result = if applied {
            self.inner.put_opts(location, payload, options).await
        } else {
            Err(dead_object())
        };
        if answered { result } else { Err(dead_object()) }
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        panic!("a file is written in one put")
    }

    async fn get_opts(
        &self,
        location: &Path,
        options: GetOptions,
    ) -> object_store::Result<GetResult> {
        if self.fuse.burnt() {
            return Err(dead_object());
        }
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        _: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        panic!("a worker deletes nothing")
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        let (inner, prefix) = (self.inner.clone(), prefix.cloned());
        futures::stream::once(self.lists.clone().pass())
            .flat_map(move |()| inner.list(prefix.as_ref()))
            .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> object_store::Result<()> {
        panic!("a worker copies nothing")
    }
}
