//! The objects of a pipeline, in the order in which they are applied. Pure, and cannot fail: what could be
//! wrong was refused by [`validate`](crate::validate).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
pub use logpipe_api::names;
use logpipe_api::pipeline::Keep;

use crate::object::Object;
use crate::validate::Pipeline;

mod checkpoint;
mod etl;
pub mod kafka;
mod pod;
mod source;
mod topic;

pub use checkpoint::object_names as checkpoint_names;
pub use source::PRODUCER;
pub use topic::name as topic_name;

use names::Component;

/// Every object, in the order in which they are applied: what is needed comes before what needs it.
pub fn objects(pipeline: &Pipeline) -> Vec<Object> {
    let mut objects = Vec::new();
    if let Some(kafka) = &pipeline.kafka {
        objects.extend(kafka::objects(pipeline, kafka));
    }
    // Workers that run see a new partition as soon as the topic has it.
    objects.extend(checkpoint::objects(pipeline));
    objects.push(topic::job(pipeline));
    if let Some(source) = &pipeline.source {
        objects.push(source::stateful_set(pipeline, source));
    }
    objects.extend(etl::objects(pipeline));
    objects
}

/// The metadata of an object that goes with the pipeline.
fn metadata(pipeline: &Pipeline, component: Component, name: String) -> ObjectMeta {
    ObjectMeta {
        owner_references: Some(vec![owner(pipeline)]),
        ..free_metadata(pipeline, component, name)
    }
}

/// The metadata of an object that stays where volumes stay, because it belongs to what is on them.
fn kept_metadata(pipeline: &Pipeline, component: Component, name: String) -> ObjectMeta {
    match pipeline.keep {
        Keep::Retain => free_metadata(pipeline, component, name),
        Keep::Delete => metadata(pipeline, component, name),
    }
}

fn free_metadata(pipeline: &Pipeline, component: Component, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(pipeline.namespace.clone()),
        labels: Some(names::labels(&pipeline.name, component)),
        ..ObjectMeta::default()
    }
}

fn owner(pipeline: &Pipeline) -> OwnerReference {
    OwnerReference {
        api_version: "logpipe.dev/v1alpha1".to_owned(),
        kind: "LogPipeline".to_owned(),
        name: pipeline.name.clone(),
        uid: pipeline.uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}
