//! What rdkafka has no safe call for: one queue for the records of many partitions, read in batches, what the
//! broker says about a topic, and brokers for a client that has none left. The only unsafe code of the project;
//! touches librdkafka's C API and nothing else.
//!
//! Everything borrowed from librdkafka (queue, topic, records) lives at most as long as its consumer: whoever
//! holds a piece holds the [`Feed`] that owns them all.

#![allow(unsafe_code)]

use std::ffi::CString;
use std::ptr::{NonNull, null_mut};
use std::sync::Arc;

use rdkafka::TopicPartitionList;
use rdkafka::bindings as sys;
use rdkafka::client::{Client, ClientContext};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{IsError, RDKafkaErrorCode};

use super::bounded::Bounded;
use super::context::Events;

mod ask;

pub(super) use ask::{Description, Failure, PartitionState, Request};

/// A consumer, its topic, and the one queue into which its partitions are led.
pub(super) struct Feed {
    queue: NonNull<sys::rd_kafka_queue_t>,
    topic: NonNull<sys::rd_kafka_topic_t>,
    name: CString,
    /// Behind the pieces: fields are dropped after `drop` has given those back.
    consumer: Bounded,
}

// SAFETY: librdkafka's handles may be used from any thread, at the same time (its documentation says so, and
// rdkafka does the same for its own handles).
unsafe impl Send for Feed {}
// SAFETY: as above.
unsafe impl Sync for Feed {}

impl Feed {
    /// Leads nothing yet.
    pub(super) fn new(consumer: BaseConsumer<Events>, topic: &str) -> Self {
        let name = CString::new(topic).expect("a topic that was found has no NUL in its name");
        let client = consumer.client().native_ptr();
        // SAFETY: the client is alive, the name ends with a NUL, and no configuration means the client's own.
        let topic = unsafe { sys::rd_kafka_topic_new(client, name.as_ptr(), null_mut()) };
        // SAFETY: the client is alive.
        let queue = unsafe { sys::rd_kafka_queue_new(client) };
        Self {
            queue: NonNull::new(queue).expect("librdkafka aborts when memory is out"),
            topic: NonNull::new(topic).expect("the name and configuration are valid"),
            name,
            consumer: Bounded::new(consumer),
        }
    }

    pub(super) fn consumer(&self) -> &BaseConsumer<Events> {
        &self.consumer
    }

    /// Reads a partition from `offset` on into the queue, without any group.
    pub(super) fn start(&self, partition: i32, offset: i64) -> Result<(), RDKafkaErrorCode> {
        // SAFETY: topic and queue are alive, and of the same client.
        let failed = unsafe {
            sys::rd_kafka_consume_start_queue(
                self.topic.as_ptr(),
                partition,
                offset,
                self.queue.as_ptr(),
            )
        };
        if failed == 0 {
            Ok(())
        } else {
            Err(last_error())
        }
    }

    /// Ends what [`start`](Self::start) began. Nothing of before comes any more.
    pub(super) fn stop(&self, partition: i32) -> Result<(), RDKafkaErrorCode> {
        // SAFETY: the topic is alive; a partition that was not started is an error, not harm.
        let failed = unsafe { sys::rd_kafka_consume_stop(self.topic.as_ptr(), partition) };
        if failed == 0 {
            Ok(())
        } else {
            Err(last_error())
        }
    }

    /// Leads a partition's records into the queue: to be done before it is assigned.
    pub(super) fn lead(&self, partition: i32) {
        let client = self.consumer.client().native_ptr();
        // SAFETY: the client and both queues are alive; the partition's handle is given back at once, which
        // leaves the queue itself and its forwarding in place.
        unsafe {
            let own = sys::rd_kafka_queue_get_partition(client, self.name.as_ptr(), partition);
            if own.is_null() {
                return;
            }
            sys::rd_kafka_queue_forward(own, self.queue.as_ptr());
            sys::rd_kafka_queue_destroy(own);
        }
    }

    /// Takes up to `most` records off the queue and puts them behind those of `batch`. With a time-out it waits
    /// until there are as many.
    pub(super) fn fill(&self, batch: &mut Batch, most: usize, timeout_ms: i32) -> usize {
        batch.forget_taken();
        batch.records.reserve(most);
        // SAFETY: the queue is alive, and the batch has room for `most` pointers behind its end; as many as the
        // call says become its own.
        unsafe {
            let end = batch.records.as_mut_ptr().add(batch.records.len());
            let count = sys::rd_kafka_consume_batch_queue(
                self.queue.as_ptr(),
                timeout_ms,
                end.cast::<*mut sys::rd_kafka_message_t>(),
                most,
            );
            let count = usize::try_from(count).unwrap_or(0);
            batch.records.set_len(batch.records.len() + count);
            count
        }
    }

    /// Puts the offset behind the last one that was taken off the queue, also behind control records, into each
    /// entry of `list`.
    pub(super) fn positions(&self, list: &TopicPartitionList) {
        // SAFETY: the client and the list are alive.
        unsafe { sys::rd_kafka_position(self.consumer.client().native_ptr(), list.ptr()) };
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        // SAFETY: both are ours, and used nowhere else: whoever used them held this feed.
        unsafe {
            sys::rd_kafka_topic_destroy(self.topic.as_ptr());
            sys::rd_kafka_queue_destroy(self.queue.as_ptr());
        }
    }
}

/// Names the brokers to a client again, separated by commas. Those that it knows it keeps.
pub(super) fn add_brokers<C: ClientContext>(client: &Client<C>, brokers: &str) {
    let brokers = CString::new(brokers).expect("a client was made with these brokers");
    // SAFETY: the client is alive, and the text ends with a NUL and is copied.
    unsafe { sys::rd_kafka_brokers_add(client.native_ptr(), brokers.as_ptr()) };
}

fn last_error() -> RDKafkaErrorCode {
    // SAFETY: reads a variable of this thread.
    unsafe { sys::rd_kafka_last_error() }.into()
}

/// A record of librdkafka's that is ours to give back.
#[repr(transparent)]
struct Owned(NonNull<sys::rd_kafka_message_t>);

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: it came from the queue, is owned once, and its consumer is alive (see `Batch`).
        unsafe { sys::rd_kafka_message_destroy(self.0.as_ptr()) }
    }
}

/// Records that were taken off the queue, in order.
pub(super) struct Batch {
    /// Those before `next` are taken already, and lie there until the next filling.
    records: Vec<Option<Owned>>,
    next: usize,
    /// What the records borrow from; dropped behind them.
    feed: Arc<Feed>,
}

// SAFETY: a record may be read and given back on any thread, as all of librdkafka's handles.
unsafe impl Send for Batch {}

/// A record, or an error that took the place of one.
pub(super) struct Item<'a> {
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) error: Option<RDKafkaErrorCode>,
    /// Milliseconds since 1970; -1 when there is none.
    pub(super) timestamp: i64,
    pub(super) key: &'a [u8],
    /// Of an error: its text.
    pub(super) value: &'a [u8],
}

impl Batch {
    pub(super) fn new(feed: Arc<Feed>) -> Self {
        Self {
            records: Vec::new(),
            next: 0,
            feed,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.next == self.records.len()
    }

    /// The first one.
    pub(super) fn first(&self) -> Option<Item<'_>> {
        self.records.get(self.next)?.as_ref().map(item)
    }

    /// Drops the first one.
    pub(super) fn take(&mut self) {
        self.records[self.next] = None;
        self.next += 1;
    }

    /// Moves the first one behind those of `other`, which is of the same feed.
    pub(super) fn move_to(&mut self, other: &mut Batch) {
        assert!(
            Arc::ptr_eq(&self.feed, &other.feed),
            "records stay with their feed"
        );
        if other.is_empty() {
            other.forget_taken();
        }
        other.records.push(self.records[self.next].take());
        self.next += 1;
    }

    /// Drops the records of a partition.
    pub(super) fn remove(&mut self, partition: i32) {
        self.forget_taken();
        self.records.retain(|record| {
            record
                .as_ref()
                .is_some_and(|r| item(r).partition != partition)
        });
    }

    fn forget_taken(&mut self) {
        self.records.drain(..self.next);
        self.next = 0;
    }
}

fn item(record: &Owned) -> Item<'_> {
    // SAFETY: librdkafka filled it in and changes it no more; key and value belong to it, and the item cannot
    // outlive it.
    unsafe {
        let message = record.0.as_ref();
        Item {
            partition: message.partition,
            offset: message.offset,
            error: message.err.is_error().then(|| message.err.into()),
            timestamp: sys::rd_kafka_message_timestamp(message, null_mut()),
            key: bytes(message.key.cast(), message.key_len),
            value: bytes(message.payload.cast(), message.len),
        }
    }
}

/// # Safety
/// `data` is null, or `len` bytes from it on live as long as `'a`.
unsafe fn bytes<'a>(data: *const u8, len: usize) -> &'a [u8] {
    if data.is_null() {
        return &[];
    }
    // SAFETY: what the caller says.
    unsafe { std::slice::from_raw_parts(data, len) }
}
