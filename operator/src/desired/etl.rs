//! The ETL workers: who they are, what they may, and their StatefulSet. Pure.

use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec};
use k8s_openapi::api::core::v1::{EnvVar, PodTemplateSpec, ServiceAccount};
use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject};
use logpipe_api::pipeline::Suspend;
use logpipe_api::settings::Settings;

use super::names::Component;
use super::pod::{self, Defaults};
use super::{checkpoint, metadata};
use crate::object::{Kind, Object};
use crate::validate::Pipeline;

const DEFAULTS: Defaults<'_> = Defaults {
    cpu: "250m",
    memory: "512Mi",
    memory_limit: "1Gi",
};

/// An upload, its commit and leaving the group. Nothing is lost when it is not enough.
const GRACE_SECONDS: i64 = 120;

/// Every object of the ETL workers.
pub(super) fn objects(pipeline: &Pipeline) -> Vec<Object> {
    let mut objects = Vec::new();
    if pipeline.etl.account.is_none() {
        objects.push(Object::new(Kind::ServiceAccount, &account(pipeline)));
    }
    objects.push(Object::new(Kind::Role, &role(pipeline)));
    objects.push(Object::new(Kind::RoleBinding, &binding(pipeline)));
    objects.push(Object::new(Kind::StatefulSet, &stateful_set(pipeline)));
    objects
}

/// The name of the account that the workers run as.
fn account_name(pipeline: &Pipeline) -> String {
    let own = pipeline.etl.account.clone();
    own.unwrap_or_else(|| pipeline.names.etl())
}

fn account(pipeline: &Pipeline) -> ServiceAccount {
    ServiceAccount {
        metadata: metadata(pipeline, Component::Etl, pipeline.names.etl()),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}

/// `get` and `patch` on the checkpoints by name, and nothing else: no worker can make or remove one.
fn role(pipeline: &Pipeline) -> Role {
    Role {
        metadata: metadata(pipeline, Component::Etl, pipeline.names.etl()),
        rules: Some(vec![PolicyRule {
            api_groups: Some(vec![String::new()]),
            resources: Some(vec!["configmaps".to_owned()]),
            resource_names: Some(checkpoint::names(pipeline)),
            verbs: vec!["get".to_owned(), "patch".to_owned()],
            ..PolicyRule::default()
        }]),
    }
}

fn binding(pipeline: &Pipeline) -> RoleBinding {
    let name = pipeline.names.etl();
    RoleBinding {
        metadata: metadata(pipeline, Component::Etl, name.clone()),
        role_ref: RoleRef {
            api_group: "rbac.authorization.k8s.io".to_owned(),
            kind: "Role".to_owned(),
            name,
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name: account_name(pipeline),
            namespace: Some(pipeline.namespace.clone()),
            ..Subject::default()
        }]),
    }
}

fn stateful_set(pipeline: &Pipeline) -> StatefulSet {
    let replicas = match pipeline.suspend {
        Suspend::All => 0,
        Suspend::None | Suspend::Sources => pipeline.etl.replicas,
    };
    StatefulSet {
        metadata: metadata(pipeline, Component::Etl, pipeline.names.etl()),
        spec: Some(StatefulSetSpec {
            replicas: Some(replicas),
            // A worker that cannot start must not keep the others from it.
            pod_management_policy: Some("Parallel".to_owned()),
            selector: pod::selector(pipeline, Component::Etl),
            template: template(pipeline),
            ..StatefulSetSpec::default()
        }),
        ..StatefulSet::default()
    }
}

fn template(pipeline: &Pipeline) -> PodTemplateSpec {
    let secrets = &pipeline.kafka_secrets | &pipeline.s3_secrets;
    let (mut volumes, mut mounts) = pod::secrets(&secrets);
    volumes.push(pod::scratch("tmp", "64Mi"));
    mounts.push(pod::mount("tmp", "/tmp"));
    let mut container = pod::worker(pipeline, "etl", env(pipeline));
    pod::expose_metrics(&mut container, pod::METRICS);
    container.resources = Some(pod::resources(DEFAULTS, pipeline.etl.resources.as_ref()));
    container.volume_mounts = Some(mounts);
    let mut spec = pod::spec(pipeline, GRACE_SECONDS, vec![container]);
    spec.service_account_name = Some(account_name(pipeline));
    // For the checkpoints.
    spec.automount_service_account_token = Some(true);
    spec.volumes = Some(volumes);
    spec.topology_spread_constraints = Some(pod::spread(pipeline, Component::Etl, None));
    pod::template(pipeline, Component::Etl, spec)
}

fn env(pipeline: &Pipeline) -> Vec<EnvVar> {
    let mut variables = pipeline.etl.settings.to_env();
    variables.extend(pipeline.kafka_settings.to_env());
    variables.extend(pipeline.s3.to_env());
    let mut env = vec![
        pod::env_field("LOGPIPE_POD_NAME", "metadata.name"),
        pod::env_field("LOGPIPE_POD_UID", "metadata.uid"),
    ];
    env.extend(pod::env(variables));
    // The only two references: who takes partitions over, and which member of the group it is.
    for variable in &mut env {
        match variable.name.as_str() {
            "LOGPIPE_ETL_OWNER" => variable.value = Some("$(LOGPIPE_POD_UID)".to_owned()),
            "LOGPIPE_ETL_INSTANCE" => variable.value = Some("$(LOGPIPE_POD_NAME)".to_owned()),
            _ => {}
        }
    }
    env
}
