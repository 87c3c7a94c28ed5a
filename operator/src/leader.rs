//! One operator at a time reconciles: the one that holds the lease. Touches the client.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::{Api, Client};
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder, LeaseManagerError};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::Config;
use crate::desired::names::OPERATOR;

/// Seconds after which a lease that is not renewed is anybody's.
const DURATION: u64 = 15;
/// Seconds before its end at which it is renewed: so early that there is time for a second and a third time.
const GRACE: u64 = 10;

/// How long one request about the lease may take.
const TIMEOUT: Duration = Duration::from_secs(3);

/// When a lease that was not renewed is given up: before another one may take it.
const LAST_MOMENT: SignedDuration = SignedDuration::from_secs(DURATION as i64 - 1);

/// The lease, held or waited for.
pub struct Leadership {
    held: watch::Receiver<bool>,
    task: JoinHandle<Result<LeaseManager, LeaseManagerError>>,
    leases: Api<Lease>,
    own_name: String,
}

/// A client for the lease alone: it gives up while there is time to ask again. Others may wait for long answers.
pub fn client(mut server: kube::Config) -> kube::Result<Client> {
    server.connect_timeout = Some(TIMEOUT);
    server.read_timeout = Some(TIMEOUT);
    server.reset_reader_on_write = true;
    Client::try_from(server)
}

impl Leadership {
    /// Begins to ask for the lease.
    pub async fn ask(client: Client, config: &Config) -> Result<Self, LeaseManagerError> {
        let manager = LeaseManagerBuilder::new(client.clone(), OPERATOR)
            .with_namespace(&config.own_namespace)
            .with_identity(&config.own_name)
            .with_duration(DURATION)
            .with_grace(GRACE)
            .build()
            .await?;
        let (held, task) = manager.watch().await;
        Ok(Self {
            held,
            task,
            leases: Api::namespaced(client, &config.own_namespace),
            own_name: config.own_name.clone(),
        })
    }

    /// Comes to its end when the lease is held.
    pub async fn won(&mut self) {
        // The sender lives as long as the task, which lives as long as we listen.
        if self.held.wait_for(|held| *held).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Comes to its end when the lease is lost, or was not renewed in time.
    pub fn lost(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut held = self.held.clone();
        let expired = expired(self.leases.clone(), self.own_name.clone());
        async move {
            tokio::select! {
                // An error is the end of the task, and nobody renews then.
                _ = held.wait_for(|held| !*held) => {}
                () = expired => {}
            }
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

/// Comes to its end when the lease is about to be anybody's. The manager goes on trying to renew it, and says nothing.
async fn expired(leases: Api<Lease>, own_name: String) {
    let mut renewed = Timestamp::now();
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let left = LAST_MOMENT - Timestamp::now().duration_since(renewed);
        if !left.is_positive() {
            return;
        }
        let lease = tokio::time::timeout(left.unsigned_abs(), leases.get(OPERATOR)).await;
        let spec = lease.ok().and_then(Result::ok).and_then(|lease| lease.spec);
        let Some(spec) = spec else { continue };
        if is_of_another(&spec, &own_name) {
            return;
        }
        if let (Some(_), Some(time)) = (spec.holder_identity, spec.renew_time) {
            renewed = time.0;
        }
    }
}

/// Whether it was taken by another one, who reconciles already.
fn is_of_another(lease: &LeaseSpec, own_name: &str) -> bool {
    let holder = lease.holder_identity.as_deref();
    holder.is_some_and(|holder| holder != own_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_that_another_one_holds_is_lost_at_once() {
        let held_by = |holder: Option<&str>| LeaseSpec {
            holder_identity: holder.map(str::to_owned),
            ..LeaseSpec::default()
        };
        assert!(is_of_another(&held_by(Some("operator-1")), "operator-0"));
        for holder in [Some("operator-0"), None] {
            assert!(!is_of_another(&held_by(holder), "operator-0"));
        }
    }
}
