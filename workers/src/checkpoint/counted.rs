//! A checkpoint store that counts what the one behind it does. Touches nothing itself.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;

use super::{CheckpointStore, StoreError, Swap};
use crate::counters::Counters;

/// See the module.
pub struct Counted {
    store: Arc<dyn CheckpointStore>,
    counters: Arc<Counters>,
}

impl Counted {
    /// Counts the swaps of `store`.
    pub fn new(store: Arc<dyn CheckpointStore>, counters: Arc<Counters>) -> Self {
        Self { store, counters }
    }
}

#[async_trait]
impl CheckpointStore for Counted {
    async fn read(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.read(key).await
    }

    async fn swap(
        &self,
        key: &str,
        expected: Option<&[u8]>,
        new: &[u8],
    ) -> Result<Swap, StoreError> {
        let start = Instant::now();
        let swapped = self.store.swap(key, expected, new).await;
        self.counters.swaps.since(start);
        match swapped {
            Ok(Swap::Done) => {}
            Ok(Swap::Conflict) => self.counters.swap_conflicts.add(1),
            Err(_) => self.counters.swap_failures.add(1),
        }
        swapped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::memory::MemoryStore;

    #[tokio::test]
    async fn a_swap_that_finds_another_value_is_counted_as_a_conflict() {
        let counters = Arc::new(Counters::default());
        let store = Counted::new(Arc::new(MemoryStore::new()), counters.clone());
        assert_eq!(store.swap("k", None, b"1").await.unwrap(), Swap::Done);
        assert_eq!(store.swap("k", None, b"2").await.unwrap(), Swap::Conflict);
        assert_eq!(counters.swaps.histogram().get_sample_count(), 2);
        assert_eq!(counters.swap_conflicts.get(), 1);
    }
}
