//! Scenarios on a real cluster: each in its own namespace, so many at once as the nodes have room for. `hack/e2e`
//! runs them; without a cluster they say so, and pass.

mod autoscaler;
mod brokers;
mod checkpoint;
mod config;
mod decommission;
mod external;
mod files;
mod idle;
mod invalid;
mod kafka_upgrade;
mod quickstart;
mod rack;
mod scale;
mod suspend;
mod template;
mod topic;
mod upgrade;

use std::time::Duration;

/// Long enough for a start of everything on a machine with other things to do.
const START: Duration = Duration::from_mins(4);
