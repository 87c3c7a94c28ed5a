//! Requests to our own brokers, as of an admin client: who is alive and where the copies are, how the controllers are,
//! and which `metadata.version` there is; and to raise that, move copies and forget a broker. Touches the network: the
//! addresses of the pods of our own StatefulSet, and no other.

use std::time::Duration;

use logpipe_probe::wire::features::{self, Levels};
use logpipe_probe::wire::members::{self, Member};
use logpipe_probe::wire::reassign::{self, Move, OfTopic};
use logpipe_probe::wire::{self, CLIENT_PORT, Malformed, Metadata, Refused, Voter};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Broker;

/// For a request with its answer.
const TIMEOUT: Duration = Duration::from_secs(3);

/// An answer that is larger is not read: with some 100 bytes a partition, of 40,000 of them. What is made of it takes
/// several times as much.
const MAX_ANSWER: usize = 4 * 1024 * 1024;

/// How the cluster is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClusterState {
    /// The brokers that take part, and where the copies are.
    pub(super) metadata: Metadata,
    /// The leader of the controllers.
    pub(super) leader: i32,
    /// The controllers that vote.
    pub(super) voters: Vec<Voter>,
}

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum AdminError {
    /// No connection, or it broke.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// Too slow.
    #[error("there is no answer within {} s: is the operator allowed to reach port {CLIENT_PORT} of the brokers?", TIMEOUT.as_secs())]
    Slow,
    /// Not what Kafka says.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Kafka was asked to do something, and does not.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// There is no leader that could be asked.
    #[error("the controllers have no leader")]
    NoLeader,
    /// There is nowhere to ask.
    #[error("a broker's pod has no address yet")]
    NoAddress,
}

/// Asks any broker for the leader of the controllers, and that one, which knows best, for the copies.
pub(super) async fn describe_cluster(brokers: &[Broker]) -> Result<ClusterState, AdminError> {
    let answer = request(any(brokers)?, &wire::describe_quorum()).await?;
    let quorum = wire::read_quorum(&answer)?;
    let leader = brokers.iter().find(|broker| broker.id == quorum.leader);
    let leader = leader.ok_or(AdminError::NoLeader)?;
    let answer = request(leader, &wire::metadata()).await?;
    Ok(ClusterState {
        metadata: wire::read_metadata(&answer)?,
        leader: quorum.leader,
        voters: quorum.voters,
    })
}

/// What each broker says of `metadata.version`.
pub(super) async fn levels(brokers: &[Broker]) -> Result<Vec<Levels>, AdminError> {
    let mut levels = Vec::new();
    for broker in brokers {
        let answer = request(broker, &features::features()).await?;
        levels.push(features::read_features(&answer)?);
    }
    Ok(levels)
}

/// Raises `metadata.version`. The leader of the controllers looks at all brokers once more.
pub(super) async fn raise(brokers: &[Broker], level: i16) -> Result<(), AdminError> {
    let answer = request(any(brokers)?, &features::raise(level)).await?;
    Ok(features::read_raised(&answer)??)
}

/// The partitions with copies on their way to other brokers.
pub(super) async fn moving(brokers: &[Broker]) -> Result<Vec<OfTopic>, AdminError> {
    let answer = request(any(brokers)?, &reassign::moving()).await?;
    Ok(reassign::read_moving(&answer)??)
}

/// Has copies moved.
pub(super) async fn reassign(brokers: &[Broker], moves: &[Move]) -> Result<(), AdminError> {
    let answer = request(any(brokers)?, &reassign::reassign(moves)).await?;
    Ok(reassign::read_reassigned(&answer)??)
}

/// The brokers that the cluster knows, also those that are gone.
pub(super) async fn members(brokers: &[Broker]) -> Result<Vec<Member>, AdminError> {
    let answer = request(any(brokers)?, &members::members()).await?;
    Ok(members::read_members(&answer)??)
}

/// Has the cluster forget a broker.
pub(super) async fn unregister(brokers: &[Broker], id: i32) -> Result<(), AdminError> {
    let answer = request(any(brokers)?, &members::unregister(id)).await?;
    Ok(members::read_unregistered(&answer)??)
}

/// One that answers: it passes on what is for the leader of the controllers.
fn any(brokers: &[Broker]) -> Result<&Broker, AdminError> {
    let ready = brokers.iter().find(|broker| broker.ready);
    ready.or(brokers.first()).ok_or(AdminError::NoLeader)
}

async fn request(broker: &Broker, bytes: &[u8]) -> Result<Vec<u8>, AdminError> {
    let address = broker.address.as_deref().ok_or(AdminError::NoAddress)?;
    let exchange = async {
        let mut stream = TcpStream::connect((address, CLIENT_PORT)).await?;
        stream.write_all(bytes).await?;
        let length = stream.read_i32().await?;
        let length = usize::try_from(length)
            .ok()
            .filter(|length| *length <= MAX_ANSWER);
        let mut answer = vec![0; length.ok_or(Malformed)?];
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    };
    timeout(TIMEOUT, exchange)
        .await
        .map_err(|_| AdminError::Slow)?
}
