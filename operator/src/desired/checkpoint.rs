//! The ConfigMaps of the checkpoints. We make them, the ETL workers write them, and nobody makes one twice:
//! see [`apply`](crate::apply). Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use logpipe_api::names::{CHECKPOINT_ABOUT, CHECKPOINT_DATA_KEY};
use logpipe_api::settings::{PLAN_KEY, checkpoint_object, partition_key};

use super::kept_metadata;
use super::names::Component;
use crate::object::{Kind, Object};
use crate::validate::Pipeline;

/// Those of each partition, and of the plans.
pub(super) fn objects(pipeline: &Pipeline) -> Vec<Object> {
    let object_names = names(pipeline);
    object_names
        .into_iter()
        .map(|name| object(pipeline, name))
        .collect()
}

/// Their names.
pub(super) fn names(pipeline: &Pipeline) -> Vec<String> {
    let prefix = pipeline.names.checkpoint();
    object_names(&prefix, pipeline.topic.partitions)
}

/// The names of the objects of `partitions` partitions and of the plans, each once.
pub fn object_names(prefix: &str, partitions: u32) -> Vec<String> {
    let object = |partition| checkpoint_object(prefix, &partition_key(partition));
    let mut names: Vec<String> = (0..partitions).map(object).collect();
    names.dedup();
    names.push(checkpoint_object(prefix, PLAN_KEY));
    names
}

fn object(pipeline: &Pipeline, name: String) -> Object {
    let map = ConfigMap {
        metadata: kept_metadata(pipeline, Component::Checkpoint, name),
        data: Some(BTreeMap::from([(
            CHECKPOINT_DATA_KEY.to_owned(),
            CHECKPOINT_ABOUT.to_owned(),
        )])),
        ..ConfigMap::default()
    };
    Object::new(Kind::ConfigMap, &map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_of_many_partitions_stands_once() {
        let names = object_names("shop-checkpoint", 273);
        assert_eq!(names.len(), 256 + 3 + 1);
        assert_eq!(
            names[256 + 2..],
            ["shop-checkpoint-g00002", "shop-checkpoint-plan"]
        );
    }
}
