//! What the operator itself is told, by environment variables. Pure: reading the environment is `main`'s.

use std::collections::BTreeMap;

/// The operator's own settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The image of generator, producer and ETL, where a manifest names none.
    pub worker_image: String,
    /// The image of Kafka, where a manifest names none.
    pub kafka_image: String,
    /// The namespaces that are watched; all when there is none.
    pub namespaces: Vec<String>,
    /// The domain of the cluster's names.
    pub cluster_domain: String,
    /// The namespace of the operator's own pod, and of the lease.
    pub own_namespace: String,
    /// The operator's own pod, which holds the lease.
    pub own_name: String,
    /// Where health is told, as `address:port`.
    pub listen: String,
}

/// A variable is missing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the environment variable {0} must be set, and is not: see hack/operator.yaml")]
pub struct ConfigError(&'static str);

impl Config {
    /// Takes them from the variables of a process.
    pub fn from_env(
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let variables: BTreeMap<String, String> = variables.into_iter().collect();
        let get = |name| variables.get(name).filter(|text| !text.is_empty()).cloned();
        let need = |name| get(name).ok_or(ConfigError(name));
        let namespaces = get("LOGPIPE_WATCH_NAMESPACES").unwrap_or_default();
        let namespaces = namespaces.split(',').map(str::trim);
        Ok(Self {
            worker_image: need("LOGPIPE_WORKER_IMAGE")?,
            kafka_image: need("LOGPIPE_KAFKA_IMAGE")?,
            namespaces: namespaces
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect(),
            cluster_domain: get("LOGPIPE_CLUSTER_DOMAIN")
                .unwrap_or_else(|| "cluster.local".to_owned()),
            own_namespace: need("LOGPIPE_POD_NAMESPACE")?,
            own_name: need("LOGPIPE_POD_NAME")?,
            listen: get("LOGPIPE_LISTEN").unwrap_or_else(|| "[::]:8080".to_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables() -> BTreeMap<String, String> {
        let pairs = [
            ("LOGPIPE_WORKER_IMAGE", "worker:1"),
            ("LOGPIPE_KAFKA_IMAGE", "kafka:4"),
            ("LOGPIPE_POD_NAMESPACE", "logpipe-system"),
            ("LOGPIPE_POD_NAME", "operator-0"),
        ];
        pairs
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }

    #[test]
    fn every_namespace_is_watched_unless_some_are_listed() {
        let mut variables = variables();
        assert_eq!(
            Config::from_env(variables.clone()).unwrap().namespaces,
            Vec::<String>::new()
        );
        variables.insert("LOGPIPE_WATCH_NAMESPACES".to_owned(), "a, b,".to_owned());
        assert_eq!(Config::from_env(variables).unwrap().namespaces, ["a", "b"]);
    }

    #[test]
    fn a_missing_variable_is_named() {
        let mut variables = variables();
        variables.remove("LOGPIPE_KAFKA_IMAGE");
        let error = Config::from_env(variables).unwrap_err();
        assert!(error.to_string().contains("LOGPIPE_KAFKA_IMAGE"), "{error}");
    }
}
