//! What is wrong with a pod, in words. Pure.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use super::Reason;

/// Bytes of a process' last words that stand in a condition.
const WORDS: usize = 600;

/// What is wrong with a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// In one word.
    pub reason: Reason,
    /// What, why and what to do.
    pub message: String,
    /// It does not get better until a person acts.
    pub stalled: bool,
}

/// The first thing that is wrong with a pod, if it is more than a start that takes its time.
pub fn trouble(pod: &Pod) -> Option<Trouble> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    if let Some(text) = unschedulable(pod) {
        return Some(Trouble {
            reason: Reason::PodUnschedulable,
            message: format!(
                "no node takes pod {name}: {text}. See kubectl describe pod -n {namespace} {name}"
            ),
            stalled: false,
        });
    }
    containers(pod).find_map(|container| container_trouble(namespace, name, container))
}

/// Whether a container of the pod has done all that it had to, and ends at once when it is started again.
pub fn is_finished(pod: &Pod) -> bool {
    containers(pod).any(|container| {
        let ended = ended(container);
        let waits = container
            .state
            .as_ref()
            .is_some_and(|state| state.running.is_none());
        waits && ended.is_some_and(|(code, _)| code == 0)
    })
}

fn containers(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let statuses = pod
        .status
        .as_ref()
        .and_then(|status| status.container_statuses.as_ref());
    statuses.into_iter().flatten()
}

fn unschedulable(pod: &Pod) -> Option<&str> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let scheduled = conditions
        .iter()
        .find(|condition| condition.type_ == "PodScheduled")?;
    if scheduled.status == "True" {
        return None;
    }
    scheduled.message.as_deref()
}

fn container_trouble(namespace: &str, pod: &str, container: &ContainerStatus) -> Option<Trouble> {
    if container.ready {
        return None;
    }
    let waiting = container
        .state
        .as_ref()
        .and_then(|state| state.waiting.as_ref());
    let reason = waiting
        .and_then(|waiting| waiting.reason.as_deref())
        .unwrap_or_default();
    let text = waiting
        .and_then(|waiting| waiting.message.as_deref())
        .unwrap_or_default();
    let name = &container.name;
    match reason {
        "ImagePullBackOff" | "ErrImagePull" | "InvalidImageName" | "ErrImageNeverPull" => {
            Some(Trouble {
                reason: Reason::ImageUnavailable,
                message: format!(
                    "image {} of pod {pod} is not to be had ({reason}): check its name in spec.images, and spec.images.pullSecrets",
                    container.image
                ),
                stalled: true,
            })
        }
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
            Some(Trouble {
                reason: Reason::PodFailing,
                message: format!("container {name} of pod {pod} cannot be made ({reason}): {text}"),
                stalled: true,
            })
        }
        _ => failing(namespace, pod, container),
    }
}

/// A process that ended. Code 1 may pass by trying again; 2 is a usage that this image does not know; 3 is for a
/// person.
fn failing(namespace: &str, pod: &str, container: &ContainerStatus) -> Option<Trouble> {
    let (code, words) = ended(container)?;
    if code == 0
        || container
            .state
            .as_ref()
            .is_some_and(|state| state.running.is_some() && code == 1)
    {
        return None;
    }
    let name = &container.name;
    let words = last_words(&words);
    Some(Trouble {
        reason: Reason::PodFailing,
        message: format!(
            "container {name} of pod {pod} ended with code {code}: {words}. See kubectl logs -n {namespace} {pod} -c {name} --previous"
        ),
        stalled: code == 2 || code == 3,
    })
}

/// How the container ended last, and what it said.
fn ended(container: &ContainerStatus) -> Option<(i32, String)> {
    let now = container
        .state
        .as_ref()
        .and_then(|state| state.terminated.as_ref());
    let before = container
        .last_state
        .as_ref()
        .and_then(|state| state.terminated.as_ref());
    let ended = now.or(before)?;
    Some((ended.exit_code, ended.message.clone().unwrap_or_default()))
}

/// The last line that says something, cut to what a condition has room for.
fn last_words(text: &str) -> String {
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty());
    let line = line.unwrap_or("it said nothing");
    let mut end = line.len().min(WORDS);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    line[..end].trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(container: Value) -> Pod {
        let mut container = container;
        container["name"] = json!("etl");
        container["image"] = json!("worker:1");
        container["imageID"] = json!("");
        container["restartCount"] = json!(1);
        let pod = json!({
            "metadata": {"name": "shop-etl-0", "namespace": "data"},
            "status": {"containerStatuses": [container]},
        });
        serde_json::from_value(pod).unwrap()
    }

    fn ended(code: i32, message: &str) -> Value {
        json!({
            "ready": false,
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"exitCode": code, "message": message}},
        })
    }

    #[test]
    fn a_pod_that_starts_is_no_trouble() {
        let starting =
            json!({"ready": false, "state": {"waiting": {"reason": "ContainerCreating"}}});
        assert_eq!(trouble(&pod(starting)), None);
    }

    #[test]
    fn the_last_line_of_a_failure_is_told_with_its_command() {
        let trouble = trouble(&pod(ended(1, "connecting\nbroker is down.\n"))).unwrap();
        assert!(
            trouble
                .message
                .contains("code 1: broker is down. See kubectl logs -n data shop-etl-0"),
            "{}",
            trouble.message
        );
        assert!(!trouble.stalled);
    }

    #[test]
    fn what_a_person_must_mend_is_stalled() {
        assert!(trouble(&pod(ended(3, "x"))).unwrap().stalled);
        let image = json!({"ready": false, "state": {"waiting": {"reason": "ImagePullBackOff"}}});
        let image = trouble(&pod(image)).unwrap();
        assert_eq!(
            (image.reason, image.stalled),
            (Reason::ImageUnavailable, true)
        );
    }

    #[test]
    fn a_process_that_is_done_is_finished_and_no_trouble() {
        let done = pod(ended(0, ""));
        assert!(is_finished(&done));
        assert_eq!(trouble(&done), None);
    }
}
