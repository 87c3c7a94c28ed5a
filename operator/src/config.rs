//! What the operator itself is told, by environment variables and two flags. Pure: reading them is `main`'s.

use std::collections::BTreeMap;

/// What `--help` says.
pub const HELP: &str = "\
The operator of Logpipe: a LogPipeline becomes Kafka, a source, checkpoints and ETL workers in its cluster.
It runs in the cluster, by the chart or by hack/operator.yaml, and takes no arguments.

Usage: logpipe-operator [--help | --version]

Environment variables:
  LOGPIPE_WORKER_IMAGE      the image of generator, producer and ETL, where a manifest names none; must be set
  LOGPIPE_KAFKA_IMAGE       the image of Kafka, where a manifest names none; must be set
  LOGPIPE_POD_NAMESPACE     the namespace of the operator's pod, and of its lease; must be set
  LOGPIPE_POD_NAME          the name of the operator's pod, which holds the lease; must be set
  LOGPIPE_WATCH_NAMESPACES  the namespaces that are watched, with commas between them; all when it is empty
  LOGPIPE_CLUSTER_DOMAIN    the domain of the cluster's names [default: cluster.local]
  LOGPIPE_LISTEN            where health and metrics are told [default: [::]:8080]
  LOGPIPE_LOG               what is logged: error, warn, info, debug, or a filter [default: info]

Exit codes: 0 told to stop; 1 failed, or the lease was lost; 2 wrong usage.
";

/// What the command line asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// To run.
    Run,
    /// [`HELP`].
    Help,
    /// Its version.
    Version,
}

/// An argument that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no argument {0:?}: settings are environment variables, see --help")]
pub struct UsageError(String);

impl Asked {
    /// Takes it from the arguments behind the program's name. The first one decides.
    pub fn from_args(arguments: impl IntoIterator<Item = String>) -> Result<Self, UsageError> {
        match arguments.into_iter().next() {
            None => Ok(Self::Run),
            Some(argument) => match argument.as_str() {
                "-h" | "--help" => Ok(Self::Help),
                "-V" | "--version" => Ok(Self::Version),
                _ => Err(UsageError(argument)),
            },
        }
    }
}

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
#[error("the environment variable {0} must be set, and is not: see --help and hack/operator.yaml")]
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
impl Config {
    /// For tests to which its values are all one.
    pub(crate) fn any() -> Self {
        let names = ["WORKER_IMAGE", "KAFKA_IMAGE", "POD_NAMESPACE", "POD_NAME"];
        let variables = names.map(|name| (format!("LOGPIPE_{name}"), "x".to_owned()));
        Self::from_env(variables).unwrap()
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
    fn help_names_each_variable() {
        for name in variables().into_keys() {
            assert!(HELP.contains(&format!("  {name} ")), "{name}");
        }
        // Those that may be left out, as the code asks for them.
        let code = include_str!("config.rs");
        let optional = code.split("get(\"").skip(1);
        let optional: Vec<_> = optional.filter_map(|rest| rest.split('"').next()).collect();
        assert!(optional.len() >= 3, "{optional:?}");
        for name in optional {
            assert!(HELP.contains(&format!("  {name} ")), "{name}");
        }
    }

    #[test]
    fn two_flags_are_known_and_nothing_else() {
        let asked = |text: &str| Asked::from_args(text.split_whitespace().map(str::to_owned));
        assert_eq!(asked(""), Ok(Asked::Run));
        assert_eq!(asked("--help"), Ok(Asked::Help));
        assert_eq!(asked("-V"), Ok(Asked::Version));
        let error = asked("--namespace shop").unwrap_err().to_string();
        assert!(error.contains("\"--namespace\""), "{error}");
    }

    #[test]
    fn a_missing_variable_is_named() {
        let mut variables = variables();
        variables.remove("LOGPIPE_KAFKA_IMAGE");
        let error = Config::from_env(variables).unwrap_err();
        assert!(error.to_string().contains("LOGPIPE_KAFKA_IMAGE"), "{error}");
    }
}
