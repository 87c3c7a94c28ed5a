//! The names of Kafka's `metadata.version` and their levels. Kafka's protocol has the levels only; people know the names.

/// Those of the images that the operator can run. The rule of `spec.kafka.managed.metadataVersion` has them, too.
const KNOWN: [(&str, i16); 3] = [("4.2-IV0", 28), ("4.2-IV1", 29), ("4.3-IV0", 30)];

/// The level of a name, such as `4.2-IV1`, or of a release, such as `4.2`, which is the last one of its names.
pub fn level(text: &str) -> Option<i16> {
    let is_it = |name: &str| {
        name == text
            || name
                .split_once("-IV")
                .is_some_and(|(release, _)| release == text)
    };
    let mut known = KNOWN.iter().rev();
    known.find(|(name, _)| is_it(name)).map(|(_, level)| *level)
}

/// The name of a level; of one of a newer Kafka, the number.
pub fn name(level: i16) -> String {
    let known = KNOWN.iter().find(|(_, known)| *known == level);
    known.map_or_else(|| format!("level {level}"), |(name, _)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_the_last_of_its_names() {
        assert_eq!(level("4.2-IV0"), Some(28));
        assert_eq!(level("4.2"), Some(29));
        assert_eq!(level("4.3"), Some(30));
        for unknown in ["4", "4.20", "4.4", "4.2-IV", "", "4.2-IV1-IV1"] {
            assert_eq!(level(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn a_level_of_a_newer_kafka_is_a_number() {
        assert_eq!(name(29), "4.2-IV1");
        assert_eq!(name(99), "level 99");
    }
}
