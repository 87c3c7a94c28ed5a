//! Raises `metadata.version` once every broker has the current template: by it brokers agree on what they write down,
//! and a newer image does not raise it by itself. Dials the pods of our own brokers, and touches nothing else.
//!
//! It is never lowered: Kafka cannot read what was written in a newer way.

use k8s_openapi::api::apps::v1::StatefulSet;
use logpipe_api::pipeline::metadata_version::name;
use logpipe_probe::wire::features::Levels;

use super::roll::unsettled;
use super::{Broker, admin, observed};
use crate::object::Kind;
use crate::observe::Live;
use crate::pending::Pending;
use crate::validate::{Kafka, Pipeline};

/// How `metadata.version` is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetadataVersion {
    /// The one that the cluster has, by its name, as soon as that is known.
    pub finalised: Option<String>,
    /// Why it is not looked at yet, or cannot be the one that the manifest asks for.
    pub pending: Option<Pending>,
}

/// What was found, and for which template and which wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    revision: String,
    wanted: Option<i16>,
    version: MetadataVersion,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Decision {
    /// Nothing.
    Stay,
    /// To this level.
    Raise(i16),
    /// What the manifest asks for cannot be.
    Refuse(String),
}

/// Reads `metadata.version` and raises it. `found` is what was found before: while neither the template nor the
/// manifest has another one, nothing is asked. Nothing is known while brokers are on their way.
pub(crate) async fn step(
    pipeline: &Pipeline,
    live: &Live,
    found: &mut Option<Found>,
) -> MetadataVersion {
    let Some((kafka, brokers, revision)) = settled(pipeline, live) else {
        return MetadataVersion::default();
    };
    let wanted = kafka.metadata_version;
    let known = found.as_ref();
    if let Some(known) = known.filter(|one| one.revision == revision && one.wanted == wanted) {
        return known.version.clone();
    }
    match check(&brokers, kafka.replicas, wanted).await {
        Ok(version) => {
            *found = Some(Found {
                revision,
                wanted,
                version: version.clone(),
            });
            version
        }
        Err(why) => MetadataVersion {
            finalised: None,
            pending: Some(Pending::waiting(why)),
        },
    }
}

/// The brokers and their template, when all of them are ready and have it.
fn settled<'a>(pipeline: &'a Pipeline, live: &Live) -> Option<(&'a Kafka, Vec<Broker>, String)> {
    let kafka = pipeline.kafka.as_ref()?;
    let set: StatefulSet = live.typed(Kind::StatefulSet, &pipeline.names.kafka())?;
    let brokers = observed(&set, live)?;
    let has_it = |broker: &Broker| broker.ready && !broker.outdated;
    if brokers.len() != kafka.replicas as usize || !brokers.iter().all(has_it) {
        return None;
    }
    Some((kafka, brokers, set.status?.update_revision?))
}

/// The error is why it has to wait.
async fn check(
    brokers: &[Broker],
    replicas: i32,
    wanted: Option<i16>,
) -> Result<MetadataVersion, String> {
    let text = |error: admin::AdminError| error.to_string();
    let levels = admin::levels(brokers).await.map_err(text)?;
    let mut level = finalised(&levels);
    let pending = match decide(wanted, &levels) {
        Decision::Stay => None,
        Decision::Refuse(why) => Some(Pending::stalled(why)),
        Decision::Raise(to) => {
            let cluster = admin::describe_cluster(brokers).await.map_err(text)?;
            if let Some(why) = unsettled(brokers, replicas, &cluster) {
                return Err(why);
            }
            admin::raise(brokers, to).await.map_err(text)?;
            tracing::info!(
                from = name(level),
                to = name(to),
                "metadata.version was raised"
            );
            level = to;
            None
        }
    };
    Ok(MetadataVersion {
        finalised: Some(name(level)),
        pending,
    })
}

/// A broker that has just started may not know the last change yet.
fn finalised(levels: &[Levels]) -> i16 {
    levels
        .iter()
        .map(|levels| levels.finalised)
        .max()
        .unwrap_or(0)
}

fn decide(wanted: Option<i16>, levels: &[Levels]) -> Decision {
    let finalised = finalised(levels);
    let supported = levels.iter().map(|levels| levels.supported).min();
    let supported = supported.unwrap_or(finalised);
    match wanted {
        Some(wanted) if wanted > supported => Decision::Refuse(format!(
            "spec.kafka.managed.metadataVersion asks for {}, and images.kafka knows {} at most: name a newer image, or \
             lower or remove metadataVersion; until then it stays at {}",
            name(wanted),
            name(supported),
            name(finalised),
        )),
        Some(wanted) if wanted < finalised => Decision::Refuse(format!(
            "spec.kafka.managed.metadataVersion asks for {}, and Kafka already has {}, which cannot be taken back: write \
             that, or remove metadataVersion",
            name(wanted),
            name(finalised),
        )),
        Some(wanted) if wanted > finalised => Decision::Raise(wanted),
        None if supported > finalised => Decision::Raise(supported),
        _ => Decision::Stay,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn brokers(supported: [i16; 3], finalised: i16) -> Vec<Levels> {
        let levels = |supported| Levels {
            supported,
            finalised,
        };
        supported.map(levels).into()
    }

    #[test]
    fn it_follows_the_image_as_far_as_every_broker_does() {
        let decide = |supported, finalised| decide(None, &brokers(supported, finalised));
        assert_eq!(decide([30; 3], 29), Decision::Raise(30));
        assert_eq!(decide([30, 29, 30], 28), Decision::Raise(29));
        assert_eq!(decide([30, 29, 30], 29), Decision::Stay);
        assert_eq!(decide([30; 3], 30), Decision::Stay);
        // Brokers of a person's own making.
        assert_eq!(decide([29; 3], 30), Decision::Stay);
    }

    #[test]
    fn it_is_held_where_the_manifest_says() {
        let decide = |wanted| decide(Some(wanted), &brokers([30; 3], 28));
        assert_eq!(decide(28), Decision::Stay);
        assert_eq!(decide(29), Decision::Raise(29));
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_remedy() {
        let refused = |wanted, finalised| match decide(Some(wanted), &brokers([29; 3], finalised)) {
            Decision::Refuse(why) => why,
            other => panic!("{other:?}"),
        };
        let above = refused(30, 29);
        assert!(
            above.contains("asks for 4.3-IV0, and images.kafka knows 4.2-IV1 at most"),
            "{above}"
        );
        let below = refused(28, 29);
        assert!(
            below.contains("already has 4.2-IV1, which cannot be taken back"),
            "{below}"
        );
    }
}
