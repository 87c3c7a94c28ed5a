//! The kinds of objects that the operator makes: the one list that listing, applying and pruning share. Pure.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::DynamicObject;
use kube::core::ApiResource;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A kind of object that the operator makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Configuration, identities and checkpoints.
    ConfigMap,
    /// Who the ETL workers are.
    ServiceAccount,
    /// What they may.
    Role,
    /// The one to the other.
    RoleBinding,
    /// Names for Kafka.
    Service,
    /// How many brokers may be away at once.
    PodDisruptionBudget,
    /// What makes the topic.
    Job,
    /// Kafka, the source and the ETL workers.
    StatefulSet,
}

impl Kind {
    /// Each of them.
    pub const ALL: [Self; 8] = [
        Self::ConfigMap,
        Self::ServiceAccount,
        Self::Role,
        Self::RoleBinding,
        Self::Service,
        Self::PodDisruptionBudget,
        Self::Job,
        Self::StatefulSet,
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::ServiceAccount => "ServiceAccount",
            Self::Role => "Role",
            Self::RoleBinding => "RoleBinding",
            Self::Service => "Service",
            Self::PodDisruptionBudget => "PodDisruptionBudget",
            Self::Job => "Job",
            Self::StatefulSet => "StatefulSet",
        }
    }

    /// How the API server calls it.
    pub fn resource(self) -> ApiResource {
        match self {
            Self::ConfigMap => ApiResource::erase::<ConfigMap>(&()),
            Self::ServiceAccount => ApiResource::erase::<ServiceAccount>(&()),
            Self::Role => ApiResource::erase::<Role>(&()),
            Self::RoleBinding => ApiResource::erase::<RoleBinding>(&()),
            Self::Service => ApiResource::erase::<Service>(&()),
            Self::PodDisruptionBudget => ApiResource::erase::<PodDisruptionBudget>(&()),
            Self::Job => ApiResource::erase::<Job>(&()),
            Self::StatefulSet => ApiResource::erase::<StatefulSet>(&()),
        }
    }
}

/// An object as it should be, or as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// Its kind.
    pub kind: Kind,
    /// All of it.
    pub value: DynamicObject,
}

impl Object {
    /// Of a typed object.
    pub fn new(kind: Kind, typed: &impl Serialize) -> Self {
        let value = serde_json::to_value(typed).expect("an object is JSON");
        let value = serde_json::from_value(value).expect("an object has a type and metadata");
        Self { kind, value }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.value.metadata.name.as_deref().unwrap_or_default()
    }

    /// One of its labels.
    pub fn label(&self, key: &str) -> Option<&str> {
        let labels = self.value.metadata.labels.as_ref()?;
        labels.get(key).map(String::as_str)
    }

    /// With its type, if it can be read as one.
    pub fn typed<K: DeserializeOwned>(&self) -> Option<K> {
        serde_json::to_value(&self.value)
            .and_then(serde_json::from_value)
            .ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_named_as_the_api_server_names_it() {
        for kind in Kind::ALL {
            assert_eq!(kind.as_str(), kind.resource().kind);
        }
    }
}
