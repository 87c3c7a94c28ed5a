//! How a pod is, as its status says. Pure.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition};

/// Whether its probes say so. One that ends may still be ready.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    ready_condition(pod).is_some_and(|ready| ready.status == "True")
}

/// Since when it is not.
pub(crate) fn unready_since(pod: &Pod) -> Option<Timestamp> {
    let ready = ready_condition(pod).filter(|ready| ready.status != "True")?;
    ready.last_transition_time.as_ref().map(|time| time.0)
}

fn ready_condition(pod: &Pod) -> Option<&PodCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let mut conditions = conditions.iter();
    conditions.find(|condition| condition.type_ == "Ready")
}

/// Whether the process of this container runs now.
pub(crate) fn is_running(pod: &Pod, container: &str) -> bool {
    let mut own = containers(pod).filter(|status| status.name == container);
    own.any(|status| {
        let state = status.state.as_ref();
        state.is_some_and(|state| state.running.is_some())
    })
}

/// Those that come first, too: nothing starts before they have ended well.
pub(crate) fn containers(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.as_ref();
    let first = status.and_then(|status| status.init_container_statuses.as_ref());
    let statuses = status.and_then(|status| status.container_statuses.as_ref());
    first.into_iter().chain(statuses).flatten()
}
