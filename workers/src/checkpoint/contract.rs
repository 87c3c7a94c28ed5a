//! What every [`CheckpointStore`] must do, as a suite that every implementation runs in its tests:
//! [`all`], or its parts one by one. Touches only the store it is given.
//!
//! A part takes a factory of new, empty stores, and panics where the store breaks its contract.

use std::sync::Arc;

use super::{CheckpointStore, MAX_BYTES, Swap};

/// Makes a new, empty store.
pub type Factory<'a> = &'a (dyn Fn() -> Arc<dyn CheckpointStore> + Sync);

/// How many tasks race for one value.
const RACERS: u8 = 16;

/// The whole suite.
pub async fn all(factory: Factory<'_>) {
    a_key_without_value_reads_as_none(factory).await;
    only_the_first_creates(factory).await;
    a_swap_needs_the_value_that_stands(factory).await;
    values_are_kept_to_the_byte(factory).await;
    keys_are_independent(factory).await;
    every_race_has_one_winner(factory).await;
}

async fn swap(store: &dyn CheckpointStore, key: &str, expected: Option<&[u8]>, new: &[u8]) -> Swap {
    let outcome = store.swap(key, expected, new).await;
    outcome.expect("the store can be written")
}

async fn read(store: &dyn CheckpointStore, key: &str) -> Option<Vec<u8>> {
    store.read(key).await.expect("the store can be read")
}

/// And expecting a value there is a conflict that writes nothing.
pub async fn a_key_without_value_reads_as_none(factory: Factory<'_>) {
    let store = factory();
    assert_eq!(read(&*store, "p00000").await, None);
    assert_eq!(
        swap(&*store, "p00000", Some(b"a"), b"b").await,
        Swap::Conflict
    );
    assert_eq!(
        swap(&*store, "p00000", Some(b""), b"b").await,
        Swap::Conflict
    );
    assert_eq!(read(&*store, "p00000").await, None);
}

/// Whoever comes second learns of it, also with the same value.
pub async fn only_the_first_creates(factory: Factory<'_>) {
    let store = factory();
    assert_eq!(swap(&*store, "p00000", None, b"a").await, Swap::Done);
    assert_eq!(swap(&*store, "p00000", None, b"b").await, Swap::Conflict);
    assert_eq!(swap(&*store, "p00000", None, b"a").await, Swap::Conflict);
    assert_eq!(read(&*store, "p00000").await.as_deref(), Some(&b"a"[..]));
}

/// To the byte; a conflict leaves the value alone.
pub async fn a_swap_needs_the_value_that_stands(factory: Factory<'_>) {
    let store = factory();
    swap(&*store, "p00000", None, b"one").await;
    for wrong in [&b"on"[..], b"one ", b"onE", b""] {
        let outcome = swap(&*store, "p00000", Some(wrong), b"two").await;
        assert_eq!(outcome, Swap::Conflict);
        assert_eq!(read(&*store, "p00000").await.as_deref(), Some(&b"one"[..]));
    }
    assert_eq!(
        swap(&*store, "p00000", Some(b"one"), b"two").await,
        Swap::Done
    );
    assert_eq!(
        swap(&*store, "p00000", Some(b"one"), b"three").await,
        Swap::Conflict
    );
    assert_eq!(read(&*store, "p00000").await.as_deref(), Some(&b"two"[..]));
}

/// Whatever they hold, from nothing to the largest checkpoint.
pub async fn values_are_kept_to_the_byte(factory: Factory<'_>) {
    let store = factory();
    let every_byte: Vec<u8> = (0..=255).cycle().take(MAX_BYTES).collect();
    let values = [b"\n\r\n".to_vec(), Vec::new(), every_byte, b"{}\n".to_vec()];
    let mut standing: Option<Vec<u8>> = None;
    for value in values {
        let outcome = swap(&*store, "p00000", standing.as_deref(), &value).await;
        assert_eq!(outcome, Swap::Done);
        assert_eq!(read(&*store, "p00000").await.as_ref(), Some(&value));
        standing = Some(value);
    }
}

/// One's value is none of the others' concern, also where one's name begins with another's.
pub async fn keys_are_independent(factory: Factory<'_>) {
    let store = factory();
    let keys = ["p00000", "p00001", "p0000", "producer-a-0", "producer-a"];
    for key in keys {
        assert_eq!(swap(&*store, key, None, key.as_bytes()).await, Swap::Done);
    }
    assert_eq!(
        swap(&*store, "p0000", Some(b"p0000"), b"new").await,
        Swap::Done
    );
    for key in keys {
        let expected = if key == "p0000" { "new" } else { key };
        assert_eq!(
            read(&*store, key).await.as_deref(),
            Some(expected.as_bytes())
        );
    }
}

/// And its value stands. This is what exactly-once rests on.
pub async fn every_race_has_one_winner(factory: Factory<'_>) {
    let store = factory();
    let mut standing: Option<Vec<u8>> = None;
    for round in 0..10_u8 {
        let start = Arc::new(tokio::sync::Barrier::new(usize::from(RACERS)));
        let racers: Vec<_> = (0..RACERS)
            .map(|racer| {
                let (store, start) = (Arc::clone(&store), Arc::clone(&start));
                let expected = standing.clone();
                tokio::spawn(async move {
                    start.wait().await;
                    swap(&*store, "p00000", expected.as_deref(), &[round, racer]).await
                })
            })
            .collect();
        let mut winners = Vec::new();
        for (racer, task) in (0..).zip(racers) {
            if task.await.expect("a racer does not panic") == Swap::Done {
                winners.push(vec![round, racer]);
            }
        }
        assert_eq!(winners.len(), 1, "round {round}: {winners:?} won");
        standing = winners.pop();
        assert_eq!(read(&*store, "p00000").await, standing);
    }
}
