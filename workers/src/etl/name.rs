//! Object names: `<prefix><dir>/<topic>-<topicId8>-p00003-<start:020>-<end:020>-<plan8>.parquet`. A listing
//! alone proves that no range is missing or covered twice. Pure.

use std::ops::Range;

use crate::log::Offset;

/// What one object's name says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    /// The folder below the prefix, without slashes at its ends: `dt=2026-01-31/hour=07`.
    pub dir: String,
    /// The topic's name.
    pub topic: String,
    /// [`Identity::topic_id8`](crate::log::Identity::topic_id8): a topic that was made anew under the same
    /// name never collides.
    pub topic_id8: String,
    /// The partition.
    pub partition: u32,
    /// The first offset of the batch.
    pub start: Offset,
    /// One after the last offset of the batch.
    pub end: Offset,
    /// The first 8 hex digits of the plan's hash.
    pub plan8: String,
}

impl ObjectName {
    /// The offsets `[start, end)` of the batch the object belongs to.
    pub fn range(&self) -> Range<Offset> {
        self.start..self.end
    }

    /// Reads the path of an object, relative to the prefix; `None` where it is not one of ours.
    pub fn parse(path: &str) -> Option<Self> {
        let (dir, file) = path.rsplit_once('/')?;
        let stem = file.strip_suffix(".parquet")?;
        // From the right, because a topic's name may contain dashes.
        let mut parts = stem.rsplitn(6, '-');
        let plan8 = hex8(parts.next()?)?;
        let end = digits(parts.next()?, 20)?;
        let start = digits(parts.next()?, 20)?;
        let partition = digits(parts.next()?.strip_prefix('p')?, 5)? as u32;
        let topic_id8 = hex8(parts.next()?)?;
        let topic = parts.next().filter(|topic| !topic.is_empty())?.to_owned();
        (start < end).then_some(Self {
            dir: dir.to_owned(),
            topic,
            topic_id8,
            partition,
            start,
            end,
            plan8,
        })
    }
}

impl std::fmt::Display for ObjectName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            dir,
            topic,
            topic_id8,
            partition,
            start,
            end,
            plan8,
        } = self;
        write!(
            f,
            "{dir}/{topic}-{topic_id8}-p{partition:05}-{start:020}-{end:020}-{plan8}.parquet"
        )
    }
}

fn digits(text: &str, width: usize) -> Option<u64> {
    (text.len() == width && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

fn hex8(text: &str) -> Option<String> {
    (text.len() == 8 && text.bytes().all(|b| b.is_ascii_hexdigit())).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_survives_the_round_trip() {
        let name = ObjectName {
            dir: "dt=2026-01-31/hour=07".to_owned(),
            topic: "shop-logs".to_owned(),
            topic_id8: "a1b2c3d4".to_owned(),
            partition: 3,
            start: 18_250,
            end: 20_111,
            plan8: "9f3c0a1b".to_owned(),
        };
        let text = name.to_string();
        assert_eq!(
            text,
            "dt=2026-01-31/hour=07/shop-logs-a1b2c3d4-p00003-00000000000000018250-00000000000000020111-9f3c0a1b.parquet"
        );
        assert_eq!(ObjectName::parse(&text), Some(name));
    }

    #[test]
    fn other_files_are_not_ours() {
        for other in [
            "dt=2026-01-31/part-00000.parquet",
            "dt=2026-01-31/t-a1b2c3d4-p00003-00000000000000000009-00000000000000000009-9f3c0a1b.parquet",
            "dt=2026-01-31/t-a1b2c3d4-p00003-1-2-9f3c0a1b.parquet",
            "_SUCCESS",
        ] {
            assert_eq!(ObjectName::parse(other), None, "{other}");
        }
    }
}
