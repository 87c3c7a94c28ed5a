//! Every object of a namespace, whatever its kind: what stays behind, and what changes when nothing should.

use std::collections::BTreeMap;
use std::fs;

use anyhow::Context;
use kube::ResourceExt;
use kube::api::{Api, DynamicObject, ListParams};
use kube::core::ApiResource;
use kube::discovery::{Discovery, Scope, verbs};

use crate::Bed;
use crate::bed::variable;

/// Resource version and object, by kind and name.
pub type Objects = BTreeMap<String, (String, DynamicObject)>;

/// Told twice by the API server, or about others: no object of a pipeline.
const LEFT_OUT: &[&str] = &["Event", "PodMetrics"];

/// The operator in the audit log.
const WHO: &str = "\"username\":\"system:serviceaccount:logpipe-system:logpipe-operator\"";

impl Bed {
    /// Every kind that a namespace may hold.
    pub async fn kinds(&self) -> anyhow::Result<Vec<ApiResource>> {
        let discovery = Discovery::new(self.client.clone()).run().await?;
        let mut kinds = Vec::new();
        for (resource, capabilities) in discovery
            .groups()
            .flat_map(kube::discovery::ApiGroup::recommended_resources)
        {
            let listed = capabilities.scope == Scope::Namespaced
                && capabilities.supports_operation(verbs::LIST);
            if listed && !LEFT_OUT.contains(&resource.kind.as_str()) {
                kinds.push(resource);
            }
        }
        Ok(kinds)
    }

    /// Every object of the namespace.
    pub async fn objects(&self, kinds: &[ApiResource]) -> anyhow::Result<Objects> {
        self.objects_of(&self.namespace, kinds).await
    }

    pub(crate) async fn objects_of(
        &self,
        namespace: &str,
        kinds: &[ApiResource],
    ) -> anyhow::Result<Objects> {
        let mut objects = Objects::new();
        for kind in kinds {
            let api: Api<DynamicObject> =
                Api::namespaced_with(self.client.clone(), namespace, kind);
            for object in api.list(&ListParams::default()).await?.items {
                let version = object.resource_version().unwrap_or_default();
                let key = format!("{}/{}", kind.kind, object.name_any());
                objects.insert(key, (version, object));
            }
        }
        Ok(objects)
    }
}

/// How often the operator wrote into a namespace, by the API server's audit log, where there is one.
pub fn operator_writes(namespace: &str) -> anyhow::Result<Option<usize>> {
    let Some(path) = variable("LOGPIPE_E2E_AUDIT_LOG") else {
        return Ok(None);
    };
    let text = fs::read_to_string(&path).with_context(|| format!("failed to read {path}"))?;
    let place = format!("\"namespace\":\"{namespace}\"");
    let writes = text
        .lines()
        .filter(|line| line.contains(WHO) && line.contains(&place));
    Ok(Some(writes.count()))
}
