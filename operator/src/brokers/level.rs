//! Raises `metadata.version` once every broker has the current template: by it brokers agree on what they write down,
//! and a newer image does not raise it by itself. Dials the pods of our own brokers, and touches nothing else.
//!
//! It is never lowered: Kafka cannot read what was written in a newer way.

use k8s_openapi::api::apps::v1::StatefulSet;
use logpipe_api::pipeline::metadata_version::name;
use logpipe_probe::wire::features::Levels;

use super::roll::unsettled;
use super::{Broker, ask, of};
use crate::object::Kind;
use crate::observe::Live;
use crate::validate::Pipeline;

/// How `metadata.version` is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level {
    /// The one that the cluster has, by its name.
    pub finalised: String,
    /// Why it cannot be the one that the manifest asks for, and the remedy.
    pub refused: Option<String>,
}

/// What was found, and for which template and which wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    revision: String,
    wanted: Option<i16>,
    /// How it is.
    pub(crate) level: Level,
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

/// Looks at `metadata.version` and raises it; the error is why that has to wait. `known` is what was found before: while
/// neither the template nor the manifest has another one, nothing is asked. Nothing comes back while brokers are on
/// their way.
pub(crate) async fn step(
    pipeline: &Pipeline,
    live: &Live,
    known: Option<&Found>,
) -> Option<Result<Found, String>> {
    let kafka = pipeline.kafka.as_ref()?;
    let set: StatefulSet = live.typed(Kind::StatefulSet, &pipeline.names.kafka())?;
    let brokers = of(&set, live)?;
    let all = brokers.len() == kafka.replicas as usize;
    if !all
        || brokers
            .iter()
            .any(|broker| broker.outdated || !broker.ready)
    {
        return None;
    }
    let revision = set.status?.update_revision?;
    let wanted = kafka.metadata_version;
    let known = known.filter(|known| known.revision == revision && known.wanted == wanted);
    if let Some(known) = known {
        return Some(Ok(known.clone()));
    }
    let looked = look(&brokers, kafka.replicas, wanted).await;
    Some(looked.map(|level| Found {
        revision,
        wanted,
        level,
    }))
}

async fn look(brokers: &[Broker], replicas: i32, wanted: Option<i16>) -> Result<Level, String> {
    let said = |error: ask::AskError| error.to_string();
    let levels = ask::levels(brokers).await.map_err(said)?;
    let finalised = finalised(&levels);
    let level = match decide(wanted, &levels) {
        Decision::Stay => Level {
            finalised: name(finalised),
            refused: None,
        },
        Decision::Refuse(why) => Level {
            finalised: name(finalised),
            refused: Some(why),
        },
        Decision::Raise(to) => {
            let seen = ask::ask(brokers).await.map_err(said)?;
            if let Some(why) = unsettled(brokers, replicas, &seen) {
                return Err(why);
            }
            ask::raise(brokers, to).await.map_err(said)?;
            tracing::info!(
                from = name(finalised),
                to = name(to),
                "metadata.version was raised"
            );
            Level {
                finalised: name(to),
                refused: None,
            }
        }
    };
    Ok(level)
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
