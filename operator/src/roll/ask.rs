//! Questions to our own brokers: who is alive and which copies are in sync, how the controllers are, and which
//! `metadata.version` there is; and the request that raises that. Touches the network: the addresses of the pods of our own StatefulSet, and no other.

use std::time::Duration;

use logpipe_probe::wire::features::{self, Levels, Refused};
use logpipe_probe::wire::{self, CLIENT_PORT, Malformed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Broker;

/// For a question with its answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// An answer that is larger is not read: some 100 bytes a partition.
const LARGEST: usize = 32 * 1024 * 1024;

/// What Kafka said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// Brokers that take part.
    pub(super) alive: Vec<i32>,
    /// The first partition with a copy that is not in sync.
    pub(super) behind: Option<String>,
    /// The leader of the controllers.
    pub(super) leader: i32,
    /// The controllers, with the end of their log.
    pub(super) voters: Vec<(i32, i64)>,
}

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    /// No connection, or it broke.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// Too slow.
    #[error("there is no answer within {} s: is the operator allowed to reach port {CLIENT_PORT} of the brokers?", PATIENCE.as_secs())]
    Slow,
    /// Not what Kafka says.
    #[error("{0}")]
    Malformed(#[from] Malformed),
    /// Kafka was asked to do something, and does not.
    #[error("{0}")]
    Refused(#[from] Refused),
    /// There is no leader that could be asked.
    #[error("the controllers have no leader")]
    NoLeader,
    /// There is nowhere to ask.
    #[error("a broker's pod has no address yet")]
    NoAddress,
}

/// Asks any broker for the leader of the controllers, and that one, which knows best, for the copies.
pub(super) async fn ask(brokers: &[Broker]) -> Result<Seen, AskError> {
    let any = brokers.first().ok_or(AskError::NoLeader)?;
    let answer = question(any, &wire::describe_quorum()).await?;
    let quorum = wire::read_quorum(&answer)?;
    let leader = brokers.iter().find(|broker| broker.id == quorum.leader);
    let leader = leader.ok_or(AskError::NoLeader)?;
    let answer = question(leader, &wire::metadata()).await?;
    let metadata = wire::read_metadata(&answer)?;
    Ok(Seen {
        alive: metadata.alive,
        behind: metadata.behind,
        leader: quorum.leader,
        voters: quorum.voters,
    })
}

/// What each broker says of `metadata.version`.
pub(super) async fn levels(brokers: &[Broker]) -> Result<Vec<Levels>, AskError> {
    let mut levels = Vec::new();
    for broker in brokers {
        let answer = question(broker, &features::features()).await?;
        levels.push(features::read_features(&answer)?);
    }
    Ok(levels)
}

/// Raises `metadata.version`. Any broker passes it on to the leader of the controllers, which looks at all of them.
pub(super) async fn raise(brokers: &[Broker], level: i16) -> Result<(), AskError> {
    let any = brokers.first().ok_or(AskError::NoLeader)?;
    let answer = question(any, &features::raise(level)).await?;
    Ok(features::read_raised(&answer)??)
}

async fn question(broker: &Broker, request: &[u8]) -> Result<Vec<u8>, AskError> {
    let address = broker.address.as_deref().ok_or(AskError::NoAddress)?;
    let exchange = async {
        let mut stream = TcpStream::connect((address, CLIENT_PORT)).await?;
        stream.write_all(request).await?;
        let length = stream.read_i32().await?;
        let length = usize::try_from(length)
            .ok()
            .filter(|length| *length <= LARGEST);
        let mut answer = vec![0; length.ok_or(Malformed)?];
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    };
    timeout(PATIENCE, exchange)
        .await
        .map_err(|_| AskError::Slow)?
}
