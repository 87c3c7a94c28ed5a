//! What is wrong with a pod, in words. Pure.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};
use kube::ResourceExt;
use serde_json::Value;

use super::Reason;
use crate::desired::names::COMPONENT;
use crate::object::{Kind, Object};
use crate::observe::Live;
use crate::observe::pods::containers;

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

/// How long volumes may take before it is said that they do.
const VOLUMES_TAKE: SignedDuration = SignedDuration::from_secs(30);

/// How long a disk may take to come from another node: six minutes when that one is dead, and some.
const DISKS_TAKE: SignedDuration = SignedDuration::from_mins(8);

/// The first thing that is wrong with a pod, if it is more than a start that takes its time. One that ends says no
/// more what is wrong: it loses its volumes, and its processes are told to go.
pub fn trouble(pod: &Pod, now: Timestamp) -> Option<Trouble> {
    if pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
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
    if let Some((missing, stalled)) = volumes(pod, now) {
        return Some(Trouble {
            reason: Reason::VolumesMissing,
            message: format!(
                "pod {name} waits for its volumes. Are these in namespace {namespace}: {missing}? \
                 See kubectl describe pod -n {namespace} {name}"
            ),
            stalled,
        });
    }
    containers(pod).find_map(|container| container_trouble(namespace, name, container))
}

/// Whether a StatefulSet has fewer pods than it wants, or a Job that is not done has none.
pub fn are_missing(object: &Object, live: &Live) -> bool {
    let number = |pointer| object.value.data.pointer(pointer).and_then(Value::as_u64);
    let wanted = match object.kind {
        Kind::StatefulSet => number("/spec/replicas").unwrap_or(0),
        Kind::Job => 1_u64.saturating_sub(number("/status/succeeded").unwrap_or(0)),
        _ => return false,
    };
    let is_of =
        |pod: &&Pod| pod.labels().get(COMPONENT).map(String::as_str) == object.label(COMPONENT);
    (live.pods.iter().filter(is_of).count() as u64) < wanted
}

/// What to do about pods that are missing.
pub fn not_made(object: &Object) -> String {
    let kind = object.kind.as_str();
    let (what, name) = (kind.to_lowercase(), object.name());
    let namespace = object
        .value
        .metadata
        .namespace
        .as_deref()
        .unwrap_or_default();
    format!(
        "not all pods of {kind} {name} are made: kubectl describe {what} {name} -n {namespace} says why"
    )
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

/// What a pod mounts, when it has a node and no sandbox for a while: the kubelet mounts first. Whether a Secret is
/// there we do not ask: we may read none. And whether a person must act: a disk may still be on its way.
fn volumes(pod: &Pod, now: Timestamp) -> Option<(String, bool)> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let mut conditions = conditions.iter();
    let sandbox = conditions.find(|one| one.type_ == "PodReadyToStartContainers")?;
    let takes = now.duration_since(sandbox.last_transition_time.as_ref()?.0);
    if sandbox.status != "False" || takes < VOLUMES_TAKE {
        return None;
    }
    let (mut names, mut disks) = (Vec::new(), false);
    for volume in pod.spec.as_ref()?.volumes.iter().flatten() {
        let secret = volume.secret.as_ref();
        let secret = secret.and_then(|secret| secret.secret_name.as_ref());
        names.extend(secret.map(|name| format!("Secret {name}")));
        let map = volume.config_map.as_ref();
        names.extend(map.map(|map| format!("ConfigMap {}", map.name)));
        let claim = volume.persistent_volume_claim.as_ref();
        names.extend(claim.map(|claim| format!("PersistentVolumeClaim {}", claim.claim_name)));
        disks |= claim.is_some();
    }
    let stalled = !disks || takes >= DISKS_TAKE;
    (!names.is_empty()).then(|| (names.join(", "), stalled))
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
    let ended = ended(container)?;
    let code = ended.exit_code;
    if code == 0 {
        return None;
    }
    let name = &container.name;
    let message = if ended.reason.as_deref() == Some("OOMKilled") {
        format!(
            "container {name} of pod {pod} took more memory than its limit and was killed: raise its resources.limits.memory"
        )
    } else {
        let words = last_words(ended.message.as_deref().unwrap_or_default());
        format!(
            "container {name} of pod {pod} ended with code {code}: {words}. See kubectl logs -n {namespace} {pod} -c {name} --previous"
        )
    };
    Some(Trouble {
        reason: Reason::PodFailing,
        message,
        stalled: code == 2 || code == 3,
    })
}

/// How the container ended last.
fn ended(container: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    let now = container
        .state
        .as_ref()
        .and_then(|state| state.terminated.as_ref());
    let before = container
        .last_state
        .as_ref()
        .and_then(|state| state.terminated.as_ref());
    now.or(before)
}

/// The error that a worker ends with and its causes, or else the last line; cut to what a condition has room for.
fn last_words(text: &str) -> String {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        // Where Java was when it failed says nothing to who mends it.
        .filter(|line| !line.is_empty() && !line.starts_with("at "))
        .collect();
    let error = lines.iter().rposition(|line| line.starts_with("error: "));
    let first = error.unwrap_or(lines.len().saturating_sub(1));
    let words: Vec<&str> = lines[first..]
        .iter()
        .map(|line| {
            line.trim_start_matches("error: ")
                .trim_start_matches("because: ")
        })
        .collect();
    if words.is_empty() {
        return "it said nothing".to_owned();
    }
    let mut words = words.join(": ");
    words.truncate(words.floor_char_boundary(WORDS));
    words.trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use serde_json::json;

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
        assert_eq!(trouble(&pod(starting), Timestamp::UNIX_EPOCH), None);
    }

    #[test]
    fn an_error_is_reported_with_its_causes_and_the_command_for_more() {
        let trouble = trouble(
            &pod(ended(1, "connecting\nbroker is down.\n")),
            Timestamp::UNIX_EPOCH,
        )
        .unwrap();
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
    fn of_a_java_program_the_exception_is_reported() {
        let words =
            "ERROR Exiting\nConfigException: Invalid value never\n\tat a.B.c(D.java:1)\n\tat e.F";
        assert_eq!(last_words(words), "ConfigException: Invalid value never");
    }

    #[test]
    fn what_a_person_must_mend_is_stalled() {
        assert!(
            trouble(&pod(ended(3, "x")), Timestamp::UNIX_EPOCH)
                .unwrap()
                .stalled
        );
        let image = json!({"ready": false, "state": {"waiting": {"reason": "ImagePullBackOff"}}});
        let image = trouble(&pod(image), Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(
            (image.reason, image.stalled),
            (Reason::ImageUnavailable, true)
        );
    }

    #[test]
    fn a_container_that_comes_first_is_looked_at() {
        let mut pod = pod(ended(0, ""));
        let status = pod.status.as_mut().unwrap();
        status.init_container_statuses = status.container_statuses.take();
        let first = &mut status.init_container_statuses.as_mut().unwrap()[0];
        first.state = serde_json::from_value(
            json!({"waiting": {"reason": "RunContainerError", "message": "no such file"}}),
        )
        .unwrap();
        let trouble = trouble(&pod, Timestamp::UNIX_EPOCH).unwrap();
        assert!(trouble.message.contains("no such file") && trouble.stalled);
    }

    #[test]
    fn a_process_that_ended_well_is_no_trouble() {
        assert_eq!(trouble(&pod(ended(0, "")), Timestamp::UNIX_EPOCH), None);
    }

    #[test]
    fn the_memory_limit_is_named() {
        let mut container = ended(137, "");
        container["lastState"]["terminated"]["reason"] = json!("OOMKilled");
        let trouble = trouble(&pod(container), Timestamp::UNIX_EPOCH).unwrap();
        assert!(
            trouble.message.contains("resources.limits.memory"),
            "{}",
            trouble.message
        );
    }

    fn without_a_sandbox(volume: &Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "shop-etl-0", "namespace": "data"},
            "spec": {"containers": [], "volumes": [volume]},
            "status": {"conditions": [
                {"type": "PodScheduled", "status": "True", "lastTransitionTime": "1970-01-01T00:00:00Z"},
                {"type": "PodReadyToStartContainers", "status": "False", "lastTransitionTime": "1970-01-01T01:00:00Z"},
            ]},
        }))
        .unwrap()
    }

    fn an_hour_and(seconds: i64) -> Timestamp {
        Timestamp::from_second(3600 + seconds).unwrap()
    }

    #[test]
    fn a_pod_without_its_secret_names_it() {
        let secret = json!({"name": "s", "secret": {"secretName": "s3-key"}});
        let pod = without_a_sandbox(&secret);
        assert_eq!(trouble(&pod, an_hour_and(29)), None);
        let trouble = trouble(&pod, an_hour_and(30)).unwrap();
        let text = &trouble.message;
        assert!(text.contains("Secret s3-key") && trouble.stalled, "{text}");
    }

    #[test]
    fn a_disk_on_its_way_from_a_dead_node_is_nobodys_to_mend() {
        let disk = json!({"name": "d", "persistentVolumeClaim": {"claimName": "data-0"}});
        let pod = without_a_sandbox(&disk);
        let late = trouble(&pod, an_hour_and(6 * 60 + 30)).unwrap();
        assert!(late.message.contains("PersistentVolumeClaim data-0") && !late.stalled);
        assert!(trouble(&pod, an_hour_and(8 * 60)).unwrap().stalled);
    }

    #[test]
    fn a_pod_that_ends_is_no_trouble() {
        let secret = json!({"name": "s", "secret": {"secretName": "s3-key"}});
        for mut pod in [without_a_sandbox(&secret), pod(ended(143, ""))] {
            pod.metadata.deletion_timestamp = Some(Time(an_hour_and(0)));
            assert_eq!(trouble(&pod, an_hour_and(60)), None);
        }
    }
}
