//! What the operator remembers of a pipeline, for what must not happen too often or too soon. Pure. It is lost at each
//! start, and nothing depends on it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::brokers::metadata_version::Found;
use crate::object::Object;
use crate::observe::Live;
use crate::status::pods;

/// How long a StatefulSet's controller may take to make pods. The second reconciliation comes after it.
const PODS_TAKE: Duration = Duration::from_secs(25);

/// What is known of one pipeline from one reconciliation to the next.
#[derive(Clone, Default)]
pub(crate) struct Memory {
    /// Reconciliations that failed one after the other.
    pub(crate) failures: u32,
    /// When progress was written last.
    pub(crate) progress: Option<Instant>,
    /// What was found of Kafka's `metadata.version`.
    pub(crate) metadata_version: Option<Found>,
    /// Beyond how many brokers Kafka was seen to know no others.
    pub(crate) forgotten: Option<i32>,
    /// Since when what is called so has fewer pods than it should.
    lacking: HashMap<String, Instant>,
}

impl Memory {
    /// What lacks pods for longer than it takes to make them: they are refused by a quota or a policy, or for want of an
    /// account. Events say so, which we do not read; a StatefulSet's status does not.
    pub(crate) fn lacking<'a>(&mut self, live: &'a Live, now: Instant) -> Vec<&'a Object> {
        let mut lacking: Vec<&Object> = live.objects.iter().collect();
        lacking.retain(|object| pods::are_missing(object, live));
        self.lacking
            .retain(|name, _| lacking.iter().any(|object| object.name() == name));
        lacking.retain(|object| {
            let since = self.lacking.entry(object.name().to_owned()).or_insert(now);
            now.duration_since(*since) >= PODS_TAKE
        });
        lacking
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;

    use super::*;
    use crate::desired::names::COMPONENT;
    use crate::object::Kind;

    #[test]
    fn pods_that_are_not_made_are_reported_after_a_while() {
        let set = json!({
            "metadata": {"name": "shop-etl", "namespace": "data", "labels": {COMPONENT: "etl"}},
            "spec": {"replicas": 2},
        });
        let pod: Pod =
            serde_json::from_value(json!({"metadata": {"labels": {COMPONENT: "etl"}}})).unwrap();
        let mut live = Live {
            objects: vec![Object::new(Kind::StatefulSet, &set)],
            pods: vec![pod.clone()],
            claims: Vec::new(),
        };
        let (mut memory, begun) = (Memory::default(), Instant::now());
        let (soon, late) = (
            begun + Duration::from_secs(5),
            begun + Duration::from_secs(30),
        );
        assert_eq!(memory.lacking(&live, begun).len(), 0);
        assert_eq!(memory.lacking(&live, soon).len(), 0);
        let found = memory.lacking(&live, late);
        assert_eq!(
            pods::not_made(found[0]),
            "not all pods of StatefulSet shop-etl are made: kubectl describe statefulset shop-etl -n data says why"
        );
        live.pods.push(pod);
        assert_eq!(memory.lacking(&live, late).len(), 0);
        live.pods.pop();
        assert_eq!(memory.lacking(&live, late).len(), 0, "it begins anew");
    }
}
