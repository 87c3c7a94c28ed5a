//! The newest object of each partition, listed once for all threads that wait for it. Touches the store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Mutex;

use super::name::ObjectName;
use crate::log::Identity;
use crate::store::{ListError, Store};

/// Of each partition the object whose batch ends last.
pub(super) type Newest = BTreeMap<u32, ObjectName>;

/// The listings of one process. With millions of objects each takes minutes, and each thread needs one for each
/// assignment.
#[derive(Default)]
pub(super) struct Listings(Mutex<Option<(Instant, Arc<Newest>)>>);

impl Listings {
    /// A listing that began at `since` or later: of partitions that were taken over before, it has every object that
    /// an earlier owner announced and put. Who asks while one is under way waits for it, and for one more at most.
    pub(super) async fn newest(
        &self,
        store: &Store,
        log: &Identity,
        since: Instant,
    ) -> Result<Arc<Newest>, ListError> {
        let mut last = self.0.lock().await;
        if let Some((begun, newest)) = &*last
            && *begun >= since
        {
            return Ok(newest.clone());
        }
        let begun = Instant::now();
        let newest = Arc::new(store.newest(log).await?);
        *last = Some((begun, newest.clone()));
        Ok(newest)
    }
}
