//! What every reconciliation needs, and what is remembered from one to the next.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use kube::runtime::events::{Recorder, Reporter};
use kube::{Client, Resource};
use logpipe_api::LogPipeline;
use tokio::sync::OnceCell;

use crate::config::Config;
use crate::desired::names::OPERATOR;
use crate::memory::Memory;
use crate::metrics::Metrics;
use crate::validate::Fault;
use crate::{conflicts, lock};

/// What every reconciliation needs.
pub struct Context {
    pub(crate) client: Client,
    pub(crate) config: Config,
    pub(crate) recorder: Recorder,
    pub(crate) metrics: Arc<Metrics>,
    /// Every namespace was listed once.
    pub(crate) listed: OnceCell<()>,
    /// The namespaces that are being deleted and would take the operator's rights with them.
    pub(crate) terminating: Mutex<HashSet<String>>,
    /// By UID, for what must not happen too often.
    pub(crate) memory: Mutex<HashMap<String, Memory>>,
}

impl Context {
    /// A context that reports as the operator's own pod.
    pub fn new(client: Client, config: Config) -> Self {
        let reporter = Reporter {
            controller: OPERATOR.to_owned(),
            instance: Some(config.own_name.clone()),
        };
        Self {
            recorder: Recorder::new(client.clone(), reporter),
            client,
            config,
            metrics: Arc::default(),
            listed: OnceCell::new(),
            terminating: Mutex::default(),
            memory: Mutex::default(),
        }
    }

    /// Counts there, and lets it see the pipelines.
    #[must_use]
    pub fn observed_by(mut self, metrics: Arc<Metrics>) -> Self {
        self.metrics = metrics;
        self
    }

    /// Where this pipeline conflicts with those that were there before.
    pub(crate) fn conflicts(&self, object: &LogPipeline) -> Vec<Fault> {
        let all = self.metrics.pipelines();
        conflicts::faults(object, all.iter().filter_map(|guard| guard.0.as_ref().ok()))
    }

    pub(crate) fn remember<T>(
        &self,
        object: &impl Resource,
        change: impl FnOnce(&mut Memory) -> T,
    ) -> T {
        let uid = object.meta().uid.clone().unwrap_or_default();
        change(lock(&self.memory).entry(uid).or_default())
    }

    /// Its reconciliation does not fail any more. One that was forgotten stays so.
    pub(crate) fn calm(&self, object: &impl Resource) {
        let uid = object.meta().uid.as_deref().unwrap_or_default();
        if let Some(memory) = lock(&self.memory).get_mut(uid) {
            memory.failures = 0;
        }
    }

    pub(crate) fn forget(&self, object: &impl Resource) {
        let uid = object.meta().uid.clone().unwrap_or_default();
        lock(&self.memory).remove(&uid);
    }
}
