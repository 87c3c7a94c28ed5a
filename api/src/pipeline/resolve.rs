//! The defaults that a schema cannot express because they derive from other fields. Pure.

use super::{LogPipeline, Rotation};

/// Why a quantity of bytes cannot be read. The schema and its rules refuse such a value, so it is only
/// met in a resource that has not been validated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Not a whole number with one of the suffixes.
    #[error(
        "{0:?} is not a quantity of bytes: write a whole number with k, M, G, Ki, Mi or Gi, such as 64Mi"
    )]
    Malformed(String),
    /// More than 64 bits hold.
    #[error("{0:?} is more bytes than 64 bits can count")]
    TooLarge(String),
}

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
        bytes(&self.max_bytes)
    }
}

/// A number of bytes as people write it: `64Mi`, `3k`, `1000`.
pub fn bytes(text: &str) -> Result<u64, QuantityError> {
    let malformed = || QuantityError::Malformed(text.to_owned());
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, suffix) = text.split_at(digits);
    let unit: u64 = match suffix {
        "" => 1,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        _ => return Err(malformed()),
    };
    if number.is_empty() {
        return Err(malformed());
    }
    let number: Option<u64> = number.parse().ok();
    number
        .and_then(|number| number.checked_mul(unit))
        .ok_or_else(|| QuantityError::TooLarge(text.to_owned()))
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

    #[test]
    fn each_suffix_has_its_power() {
        assert_eq!(bytes("1048576"), Ok(1_048_576));
        assert_eq!(bytes("3k"), Ok(3_000));
        assert_eq!(bytes("3M"), Ok(3_000_000));
        assert_eq!(bytes("3G"), Ok(3_000_000_000));
        assert_eq!(bytes("3Ki"), Ok(3_072));
        assert_eq!(bytes("64Mi"), Ok(67_108_864));
        assert_eq!(bytes("2Gi"), Ok(2_147_483_648));
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for text in ["", "Mi", "64mi", "64 Mi", "-1Mi", "1.5Gi", "64Mib", "٣Mi"] {
            assert_eq!(
                bytes(text),
                Err(QuantityError::Malformed(text.to_owned())),
                "{text}"
            );
        }
    }

    #[test]
    fn a_number_beyond_64_bits_is_refused_and_not_wrapped() {
        for text in ["18446744073709551616", "18446744073709551615Ki"] {
            assert_eq!(
                bytes(text),
                Err(QuantityError::TooLarge(text.to_owned())),
                "{text}"
            );
        }
        assert_eq!(bytes("18446744073709551615"), Ok(u64::MAX));
    }
}
