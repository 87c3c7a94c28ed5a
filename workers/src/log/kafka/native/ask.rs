//! Questions to the brokers about cluster and topics, and changes of a topic. Part of the unsafe adapter.

use std::ffi::{CStr, CString, c_char, c_int};
use std::ptr::{NonNull, null_mut};
use std::time::{Duration, Instant};

use rdkafka::bindings as sys;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{IsError, RDKafkaErrorCode};

use super::super::context::Events;

/// What a broker says about a topic.
#[derive(Debug)]
pub(in super::super) struct Description {
    /// As Kafka's own tools print it.
    pub(in super::super) topic_id: String,
    /// By number.
    pub(in super::super) partitions: Vec<PartitionState>,
}

/// What a broker says about a partition.
#[derive(Debug)]
pub(in super::super) struct PartitionState {
    pub(in super::super) has_leader: bool,
    pub(in super::super) replicas: usize,
}

/// Why a request failed.
#[derive(Debug)]
pub(in super::super) struct Failure {
    pub(in super::super) code: RDKafkaErrorCode,
    pub(in super::super) text: String,
}

/// A question to the brokers: of whom, for how long, and whether to go on, asked a few times a second.
pub(in super::super) struct Request<'a> {
    pub(in super::super) consumer: &'a BaseConsumer<Events>,
    pub(in super::super) patience: Duration,
    pub(in super::super) go_on: &'a dyn Fn() -> bool,
}

impl Request<'_> {
    /// What the topic is.
    pub(in super::super) fn topic(&self, topic: &str) -> Result<Description, Failure> {
        let name = c_string(topic)?;
        let answer = self.ask(
            sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS,
            // SAFETY: `ask` hands over living handles, and librdkafka copies the names.
            |client, options, queue| unsafe {
                let topics = sys::rd_kafka_TopicCollection_of_topic_names(&mut name.as_ptr(), 1);
                sys::rd_kafka_DescribeTopics(client, topics, options, queue);
                sys::rd_kafka_TopicCollection_destroy(topics);
            },
        )?;
        // SAFETY: the answer is alive, of this kind, and has one topic, because one was asked for; what is
        // borrowed from it is copied before it is dropped.
        unsafe {
            let result = sys::rd_kafka_event_DescribeTopics_result(answer.0.as_ptr());
            let mut count = 0;
            let topics = sys::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
            if count != 1 {
                return Err(Failure::unexpected("the answer is not about one topic"));
            }
            description(*topics)
        }
    }

    /// Makes a topic. No number of replicas means what the brokers say.
    pub(in super::super) fn create_topic(
        &self,
        topic: &str,
        partitions: u32,
        replicas: Option<u32>,
        configs: &[(String, String)],
    ) -> Result<(), Failure> {
        let name = c_string(topic)?;
        let pairs = c_pairs(configs)?;
        let replicas = replicas.map_or(-1, |replicas| replicas as c_int);
        let mut refused = [0; 256];
        // SAFETY: name and buffer are alive, and the buffer's size is said.
        let new = unsafe {
            sys::rd_kafka_NewTopic_new(
                name.as_ptr(),
                partitions as c_int,
                replicas,
                refused.as_mut_ptr(),
                refused.len(),
            )
        };
        if new.is_null() {
            // SAFETY: librdkafka ends the text in the buffer with a NUL.
            return Err(Failure::unexpected(&unsafe { text(refused.as_ptr()) }));
        }
        let answer = self.ask(
            sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_CREATETOPICS,
            // SAFETY: `ask` hands over living handles; librdkafka copies names and values.
            |client, options, queue| unsafe {
                for (key, value) in &pairs {
                    sys::rd_kafka_NewTopic_set_config(new, key.as_ptr(), value.as_ptr());
                }
                sys::rd_kafka_CreateTopics(client, &mut { new }, 1, options, queue);
                sys::rd_kafka_NewTopic_destroy(new);
            },
        )?;
        // SAFETY: the answer is alive, and of this kind: the queue was made for this question.
        unsafe {
            let result = sys::rd_kafka_event_CreateTopics_result(answer.0.as_ptr());
            let mut count = 0;
            let results = sys::rd_kafka_CreateTopics_result_topics(result, &raw mut count);
            check_results(results, count)
        }
    }

    /// Adds partitions until there are so many.
    pub(in super::super) fn grow_topic(&self, topic: &str, partitions: u32) -> Result<(), Failure> {
        let name = c_string(topic)?;
        // SAFETY: the name is alive, and no buffer is given.
        let new = unsafe {
            sys::rd_kafka_NewPartitions_new(name.as_ptr(), partitions as usize, null_mut(), 0)
        };
        if new.is_null() {
            return Err(Failure::unexpected("there must be at least one partition"));
        }
        let answer = self.ask(
            sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_CREATEPARTITIONS,
            // SAFETY: `ask` hands over living handles, and librdkafka copies what it is given.
            |client, options, queue| unsafe {
                sys::rd_kafka_CreatePartitions(client, &mut { new }, 1, options, queue);
                sys::rd_kafka_NewPartitions_destroy(new);
            },
        )?;
        // SAFETY: as in `create_topic`.
        unsafe {
            let result = sys::rd_kafka_event_CreatePartitions_result(answer.0.as_ptr());
            let mut count = 0;
            let results = sys::rd_kafka_CreatePartitions_result_topics(result, &raw mut count);
            check_results(results, count)
        }
    }

    /// A topic's settings.
    pub(in super::super) fn configs(&self, topic: &str) -> Result<Vec<(String, String)>, Failure> {
        let name = c_string(topic)?;
        let answer = self.ask(
            sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS,
            // SAFETY: `ask` hands over living handles, and librdkafka copies the name.
            |client, options, queue| unsafe {
                let kind = sys::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC;
                let mut resource = sys::rd_kafka_ConfigResource_new(kind, name.as_ptr());
                sys::rd_kafka_DescribeConfigs(client, &raw mut resource, 1, options, queue);
                sys::rd_kafka_ConfigResource_destroy(resource);
            },
        )?;
        let mut configs = Vec::new();
        // SAFETY: as in `create_topic`; arrays have as many entries as their counts say.
        unsafe {
            let result = sys::rd_kafka_event_DescribeConfigs_result(answer.0.as_ptr());
            let mut count = 0;
            let resources = sys::rd_kafka_DescribeConfigs_result_resources(result, &raw mut count);
            check_resources(resources, count)?;
            for at in 0..count {
                let mut entries = 0;
                let entry =
                    sys::rd_kafka_ConfigResource_configs(*resources.add(at), &raw mut entries);
                for at in 0..entries {
                    let name = text(sys::rd_kafka_ConfigEntry_name(*entry.add(at)));
                    let value = text(sys::rd_kafka_ConfigEntry_value(*entry.add(at)));
                    configs.push((name, value));
                }
            }
        }
        Ok(configs)
    }

    /// Sets some of a topic's settings, and leaves the others as they are.
    pub(in super::super) fn set_configs(
        &self,
        topic: &str,
        configs: &[(String, String)],
    ) -> Result<(), Failure> {
        let name = c_string(topic)?;
        let pairs = c_pairs(configs)?;
        let answer = self.ask(
            sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_INCREMENTALALTERCONFIGS,
            // SAFETY: `ask` hands over living handles; librdkafka copies names and values; each error is null
            // or given back.
            |client, options, queue| unsafe {
                let kind = sys::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC;
                let mut resource = sys::rd_kafka_ConfigResource_new(kind, name.as_ptr());
                for (key, value) in &pairs {
                    let error = sys::rd_kafka_ConfigResource_add_incremental_config(
                        resource,
                        key.as_ptr(),
                        sys::rd_kafka_AlterConfigOpType_t::RD_KAFKA_ALTER_CONFIG_OP_TYPE_SET,
                        value.as_ptr(),
                    );
                    if !error.is_null() {
                        sys::rd_kafka_error_destroy(error);
                    }
                }
                sys::rd_kafka_IncrementalAlterConfigs(client, &raw mut resource, 1, options, queue);
                sys::rd_kafka_ConfigResource_destroy(resource);
            },
        )?;
        // SAFETY: as in `topic`.
        unsafe {
            let result = sys::rd_kafka_event_IncrementalAlterConfigs_result(answer.0.as_ptr());
            let mut count = 0;
            let resources =
                sys::rd_kafka_IncrementalAlterConfigs_result_resources(result, &raw mut count);
            check_resources(resources, count)
        }
    }

    fn ask(
        &self,
        kind: sys::rd_kafka_admin_op_t,
        send: impl FnOnce(
            *mut sys::rd_kafka_t,
            *const sys::rd_kafka_AdminOptions_t,
            *mut sys::rd_kafka_queue_t,
        ),
    ) -> Result<Answer, Failure> {
        let client = self.consumer.client().native_ptr();
        // At least a little, so that one try is made.
        let patience = self.patience.max(Duration::from_millis(100));
        // SAFETY: the client is alive; the options are given back when the question is sent, the queue when
        // its owner is dropped (an answer that comes later is thrown away by librdkafka).
        let queue = unsafe {
            let options = sys::rd_kafka_AdminOptions_new(client, kind);
            let millis = c_int::try_from(patience.as_millis()).unwrap_or(c_int::MAX);
            sys::rd_kafka_AdminOptions_set_request_timeout(options, millis, null_mut(), 0);
            let queue = AnswerQueue(sys::rd_kafka_queue_new(client));
            send(client, options, queue.0);
            sys::rd_kafka_AdminOptions_destroy(options);
            queue
        };
        let deadline = Instant::now() + patience + Duration::from_secs(1);
        while Instant::now() < deadline && (self.go_on)() {
            // SAFETY: the queue is alive.
            let event = unsafe { sys::rd_kafka_queue_poll(queue.0, 50) };
            let Some(event) = NonNull::new(event) else {
                continue;
            };
            let answer = Answer(event);
            // SAFETY: the event is alive.
            unsafe {
                Failure::check(
                    sys::rd_kafka_event_error(event.as_ptr()),
                    sys::rd_kafka_event_error_string(event.as_ptr()),
                )?;
            }
            return Ok(answer);
        }
        Err(Failure {
            code: RDKafkaErrorCode::OperationTimedOut,
            text: "no answer".to_owned(),
        })
    }
}

/// Where an answer comes.
struct AnswerQueue(*mut sys::rd_kafka_queue_t);

impl Drop for AnswerQueue {
    fn drop(&mut self) {
        // SAFETY: it is ours, and its client outlives the request that holds it.
        unsafe { sys::rd_kafka_queue_destroy(self.0) }
    }
}

struct Answer(NonNull<sys::rd_kafka_event_t>);

impl Drop for Answer {
    fn drop(&mut self) {
        // SAFETY: it is ours.
        unsafe { sys::rd_kafka_event_destroy(self.0.as_ptr()) }
    }
}

impl Failure {
    fn unexpected(text: &str) -> Self {
        Self {
            code: RDKafkaErrorCode::BadMessage,
            text: text.to_owned(),
        }
    }

    /// # Safety
    /// `reason` is null or a text.
    unsafe fn check(code: sys::rd_kafka_resp_err_t, reason: *const c_char) -> Result<(), Self> {
        if !code.is_error() {
            return Ok(());
        }
        Err(Self {
            code: code.into(),
            // SAFETY: what the caller says.
            text: unsafe { text(reason) },
        })
    }
}

fn c_string(text: &str) -> Result<CString, Failure> {
    CString::new(text).map_err(|_| Failure {
        code: RDKafkaErrorCode::InvalidArgument,
        text: format!("{text:?} contains a NUL"),
    })
}

fn c_pairs(configs: &[(String, String)]) -> Result<Vec<(CString, CString)>, Failure> {
    let pairs = configs.iter();
    pairs
        .map(|(key, value)| Ok((c_string(key)?, c_string(value)?)))
        .collect()
}

/// # Safety
/// `results` has `count` living entries.
unsafe fn check_results(
    results: *mut *const sys::rd_kafka_topic_result_t,
    count: usize,
) -> Result<(), Failure> {
    for at in 0..count {
        // SAFETY: what the caller says.
        unsafe {
            let result = *results.add(at);
            let code = sys::rd_kafka_topic_result_error(result);
            Failure::check(code, sys::rd_kafka_topic_result_error_string(result))?;
        }
    }
    Ok(())
}

/// # Safety
/// `resources` has `count` living entries.
unsafe fn check_resources(
    resources: *mut *const sys::rd_kafka_ConfigResource_t,
    count: usize,
) -> Result<(), Failure> {
    for at in 0..count {
        // SAFETY: what the caller says.
        unsafe {
            let resource = *resources.add(at);
            let code = sys::rd_kafka_ConfigResource_error(resource);
            Failure::check(code, sys::rd_kafka_ConfigResource_error_string(resource))?;
        }
    }
    Ok(())
}

/// # Safety
/// `text` is null, or a text that nobody changes meanwhile.
unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: what the caller says.
    unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .into_owned()
}

/// # Safety
/// `topic` is alive.
unsafe fn description(
    topic: *const sys::rd_kafka_TopicDescription_t,
) -> Result<Description, Failure> {
    // SAFETY: all of it belongs to the topic, which is alive; the arrays have as many entries as their counts say.
    unsafe {
        let error = sys::rd_kafka_TopicDescription_error(topic);
        if !error.is_null() {
            let code = sys::rd_kafka_error_code(error);
            Failure::check(code, sys::rd_kafka_error_string(error))?;
        }
        let id = sys::rd_kafka_TopicDescription_topic_id(topic);
        let id = text(sys::rd_kafka_Uuid_base64str(id));
        let mut count = 0;
        let infos = sys::rd_kafka_TopicDescription_partitions(topic, &raw mut count);
        let partitions = (0..count).map(|at| {
            let info = *infos.add(at);
            let leader = sys::rd_kafka_TopicPartitionInfo_leader(info);
            let mut replicas = 0;
            sys::rd_kafka_TopicPartitionInfo_replicas(info, &raw mut replicas);
            PartitionState {
                has_leader: !leader.is_null() && sys::rd_kafka_Node_id(leader) >= 0,
                replicas,
            }
        });
        Ok(Description {
            // Kafka's tools use the alphabet for URLs.
            topic_id: id.replace('+', "-").replace('/', "_"),
            partitions: partitions.collect(),
        })
    }
}
