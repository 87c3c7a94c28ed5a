//! The defaults that a schema cannot express because they derive from other fields. Pure.

use super::{LogPipeline, Rotation};
use crate::quantity::{self, QuantityError};

impl LogPipeline {
    /// The topic of the raw lines: `spec.kafka.topic.name`, or else the pipeline's own name.
    pub fn topic_name(&self) -> String {
        match &self.spec.kafka.topic.name {
            Some(name) => name.clone(),
            None => self.own_name().to_owned(),
        }
    }

    /// The folder of this pipeline's files in the bucket, with its closing slash:
    /// `spec.sink.s3.prefix`, or else the pipeline's own name.
    pub fn prefix(&self) -> String {
        match &self.spec.sink.s3.prefix {
            Some(prefix) => prefix.clone(),
            None => format!("{}/", self.own_name()),
        }
    }

    /// The consumer group of the ETL: `spec.etl.groupId`, or else `<namespace>.<name>`.
    pub fn group_id(&self) -> String {
        if let Some(group) = &self.spec.etl.group_id {
            return group.clone();
        }
        let namespace = self.metadata.namespace.as_deref().unwrap_or("default");
        format!("{namespace}.{}", self.own_name())
    }

    /// `metadata.name`; empty only where nobody has named the resource, which validation refuses.
    fn own_name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }
}

impl Rotation {
    /// `maxBytes` as a number of bytes.
    pub fn max_bytes(&self) -> Result<u64, QuantityError> {
        quantity::bytes(&self.max_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LogPipelineSpec;

    fn pipeline() -> LogPipeline {
        let minimal = r#"{"source": {"generator": {}}, "sink": {"s3": {"bucket": "logs"}}}"#;
        let spec: LogPipelineSpec = serde_json::from_str(minimal).unwrap();
        LogPipeline::new("shop", spec)
    }

    #[test]
    fn topic_and_prefix_are_named_after_the_pipeline() {
        assert_eq!(pipeline().topic_name(), "shop");
        assert_eq!(pipeline().prefix(), "shop/");
    }

    #[test]
    fn what_the_manifest_names_wins() {
        let mut named = pipeline();
        named.spec.kafka.topic.name = Some("raw-lines".to_owned());
        named.spec.sink.s3.prefix = Some("team=a/shop/".to_owned());
        assert_eq!(named.topic_name(), "raw-lines");
        assert_eq!(named.prefix(), "team=a/shop/");
    }
}
