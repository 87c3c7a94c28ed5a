//! One operator at a time reconciles: the one that holds the lease. Touches the client.

use kube::Client;
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder, LeaseManagerError};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::Config;
use crate::desired::names::OPERATOR;

/// Seconds after which a lease that is not renewed is anybody's.
const DURATION: u64 = 15;
/// Seconds before its end at which it is renewed.
const GRACE: u64 = 5;

/// The lease, held or waited for.
pub struct Leadership {
    held: watch::Receiver<bool>,
    task: JoinHandle<Result<LeaseManager, LeaseManagerError>>,
}

impl Leadership {
    /// Begins to ask for the lease.
    pub async fn ask(client: Client, config: &Config) -> Result<Self, LeaseManagerError> {
        let manager = LeaseManagerBuilder::new(client, OPERATOR)
            .with_namespace(&config.own_namespace)
            .with_identity(&config.own_name)
            .with_duration(DURATION)
            .with_grace(GRACE)
            .build()
            .await?;
        let (held, task) = manager.watch().await;
        Ok(Self { held, task })
    }

    /// Comes to its end when the lease is held.
    pub async fn won(&mut self) {
        // The sender lives as long as the task, which lives as long as we listen.
        if self.held.wait_for(|held| *held).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Comes to its end when the lease is lost.
    pub fn lost(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut held = self.held.clone();
        async move {
            // An error is the end of the task, and nobody renews then.
            held.wait_for(|held| !*held).await.map(drop).ok();
        }
    }

    /// Gives the lease back, so that the next one need not wait for its end.
    pub async fn release(self) {
        drop(self.held);
        match self.task.await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(error = %error, "the lease could not be given back"),
            Err(error) => tracing::warn!(error = %error, "the lease's task did not end well"),
        }
    }
}
