//! Checkpoints in memory: the real thing for tests, models and simulations. It can be told to fail as
//! stores on a network do. Touches nothing.
//!
//! Clones share one store.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::{CheckpointStore, StoreError, Swap};

/// Values in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
}

/// What the next swap does instead of succeeding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails, and nothing is written.
    BeforeWrite,
    /// It swaps, or finds a conflict, as ever, but the answer is lost: the caller gets an error.
    AfterWrite,
}

#[derive(Debug, Default)]
struct State {
    values: HashMap<String, Vec<u8>>,
    fault: Option<Fault>,
}

impl MemoryStore {
    /// A store without values.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets the next swap, of whichever key, fail.
    pub fn fail_next(&self, fault: Fault) {
        self.lock().fault = Some(fault);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A value is replaced in one step, so a panic elsewhere cannot have left half of one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn swap(&mut self, key: &str, expected: Option<&[u8]>, new: &[u8]) -> Swap {
        if self.values.get(key).map(Vec::as_slice) != expected {
            return Swap::Conflict;
        }
        self.values.insert(key.to_owned(), new.to_owned());
        Swap::Done
    }
}

#[async_trait]
impl CheckpointStore for MemoryStore {
    async fn read(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.lock().values.get(key).cloned())
    }

    async fn swap(
        &self,
        key: &str,
        expected: Option<&[u8]>,
        new: &[u8],
    ) -> Result<Swap, StoreError> {
        let mut state = self.lock();
        let lost = |answer: &str| StoreError {
            key: key.to_owned(),
            place: "memory".to_owned(),
            action: "swap it",
            source: answer.into(),
        };
        match state.fault.take() {
            None => Ok(state.swap(key, expected, new)),
            Some(Fault::BeforeWrite) => Err(lost("a test asked for this fault, before the write")),
            Some(Fault::AfterWrite) => {
                state.swap(key, expected, new);
                Err(lost("a test asked for this fault, after the write"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::contract;

    #[tokio::test(flavor = "multi_thread")]
    async fn it_keeps_the_contract() {
        contract::all(&|| Arc::new(MemoryStore::new())).await;
    }

    #[tokio::test]
    async fn a_fault_before_the_write_changes_nothing_and_comes_once() {
        let store = MemoryStore::new();
        store.fail_next(Fault::BeforeWrite);
        assert!(store.swap("p0", None, b"a").await.is_err());
        assert_eq!(store.read("p0").await.unwrap(), None);
        assert_eq!(store.swap("p0", None, b"a").await.unwrap(), Swap::Done);
    }

    #[tokio::test]
    async fn a_fault_after_the_write_hides_what_it_came_to() {
        let store = MemoryStore::new();
        store.fail_next(Fault::AfterWrite);
        assert!(store.swap("p0", None, b"a").await.is_err());
        assert_eq!(store.read("p0").await.unwrap(), Some(b"a".to_vec()));
        store.fail_next(Fault::AfterWrite);
        assert!(store.swap("p0", None, b"b").await.is_err());
        assert_eq!(store.read("p0").await.unwrap(), Some(b"a".to_vec()));
    }
}
