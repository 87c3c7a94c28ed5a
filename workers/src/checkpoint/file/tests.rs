use std::error::Error as _;

use super::*;
use crate::checkpoint::contract;

const KEY: &str = "p00000";

fn open(dir: &Path) -> FileStore {
    FileStore::open(dir).unwrap()
}

/// A store whose value was `one` and is `two`.
async fn two(dir: &Path) -> FileStore {
    let store = open(dir);
    assert_eq!(store.swap(KEY, None, b"one").await.unwrap(), Swap::Done);
    let swapped = store.swap(KEY, Some(b"one"), b"two").await;
    assert_eq!(swapped.unwrap(), Swap::Done);
    store
}

async fn explain(store: &FileStore) -> String {
    let error = store.read(KEY).await.unwrap_err();
    format!("{error}: {}", error.source().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    let count = std::sync::atomic::AtomicU32::new(0);
    contract::all(&|| {
        let count = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Arc::new(open(&dir.path().join(format!("deep/{count}"))))
    })
    .await;
}

#[tokio::test]
async fn reopening_keeps_the_value() {
    let dir = tempfile::tempdir().unwrap();
    drop(two(dir.path()).await);
    let store = open(dir.path());
    assert_eq!(store.read(KEY).await.unwrap().unwrap(), b"two");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_stores_of_one_folder_race_like_two_processes() {
    let dir = tempfile::tempdir().unwrap();
    let mut standing = None;
    for round in 0..20_u8 {
        let racers: Vec<_> = (0..4_u8)
            .map(|racer| {
                let (store, expected) = (open(dir.path()), standing.clone());
                tokio::spawn(async move {
                    let expected: Option<Vec<u8>> = expected;
                    store.swap(KEY, expected.as_deref(), &[round, racer]).await
                })
            })
            .collect();
        let mut winners = Vec::new();
        for (racer, task) in (0..).zip(racers) {
            if task.await.unwrap().unwrap() == Swap::Done {
                winners.push(vec![round, racer]);
            }
        }
        assert_eq!(winners.len(), 1);
        standing = winners.pop();
    }
}

#[tokio::test]
async fn the_value_before_is_kept_for_people() {
    let dir = tempfile::tempdir().unwrap();
    two(dir.path()).await;
    let file = |name: &str| fs::read(dir.path().join(name)).unwrap();
    assert_eq!(decode(&file("p00000.checkpoint")), Ok(&b"two"[..]));
    assert_eq!(decode(&file("p00000.checkpoint.previous")), Ok(&b"one"[..]));
}

#[tokio::test]
async fn a_damaged_file_is_an_error_that_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let store = two(dir.path()).await;
    let path = dir.path().join("p00000.checkpoint");
    let whole = fs::read(&path).unwrap();
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        assert!(
            explain(&store).await.contains("is damaged"),
            "{length} bytes"
        );
    }
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        fs::write(&path, &changed).unwrap();
        assert!(store.read(KEY).await.is_err(), "byte {at}");
    }
    fs::write(&path, vec![0; 200]).unwrap();
    let text = explain(&store).await;
    assert!(text.contains("p00000.checkpoint is damaged"), "{text}");
    assert!(text.contains("p00000.checkpoint.previous"), "{text}");
    assert!(
        text.contains("holds the value of one step before"),
        "{text}"
    );
    // Nor can it be swapped, whatever one expects.
    assert!(store.swap(KEY, None, b"three").await.is_err());
    assert!(store.swap(KEY, Some(b"one"), b"three").await.is_err());
    assert_eq!(fs::read(&path).unwrap(), vec![0; 200]);
    // What the message says works.
    fs::rename(dir.path().join("p00000.checkpoint.previous"), &path).unwrap();
    assert_eq!(store.read(KEY).await.unwrap().unwrap(), b"one");
}

#[tokio::test]
async fn a_damaged_first_value_has_no_copy_to_go_back_to() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.swap(KEY, None, b"one").await.unwrap();
    fs::write(dir.path().join("p00000.checkpoint"), "").unwrap();
    let text = explain(&store).await;
    assert!(
        text.contains("logpipe checkpoint rebuild") && !text.contains("previous"),
        "{text}"
    );
}

#[tokio::test]
async fn a_newer_file_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let path = dir.path().join("p00000.checkpoint");
    let newer = b"logpipe checkpoint v2 sha=1\nvalue";
    fs::write(&path, newer).unwrap();
    let text = explain(&store).await;
    assert!(text.contains("has format version 2"), "{text}");
    assert!(text.contains("run the newer release"), "{text}");
    assert!(store.swap(KEY, None, b"one").await.is_err());
    assert_eq!(fs::read(&path).unwrap(), newer);
}

#[tokio::test]
async fn a_write_that_fails_leaves_the_old_value() {
    let dir = tempfile::tempdir().unwrap();
    let store = two(dir.path()).await;
    // A folder in the way of the new file fails as a full disk does, on every system and for root.
    let next = dir.path().join("p00000.checkpoint.next");
    fs::create_dir(&next).unwrap();
    let error = store.swap(KEY, Some(b"two"), b"three").await.unwrap_err();
    assert!(error.to_string().contains("failed to swap it"), "{error}");
    assert_eq!(store.read(KEY).await.unwrap().unwrap(), b"two");
    fs::remove_dir(&next).unwrap();
    let swapped = store.swap(KEY, Some(b"two"), b"three").await;
    assert_eq!(swapped.unwrap(), Swap::Done);
}

#[tokio::test]
async fn what_a_crash_left_unfinished_is_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let store = two(dir.path()).await;
    fs::write(dir.path().join("p00000.checkpoint.next"), "logpipe ch").unwrap();
    assert_eq!(store.read(KEY).await.unwrap().unwrap(), b"two");
    let swapped = store.swap(KEY, Some(b"two"), b"three").await;
    assert_eq!(swapped.unwrap(), Swap::Done);
    assert_eq!(store.read(KEY).await.unwrap().unwrap(), b"three");
}

#[tokio::test]
async fn a_key_cannot_leave_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for key in ["", "../p0", "a/b", "P0", "a.b", "a\0"] {
        assert!(store.read(key).await.is_err(), "{key:?}");
        assert!(store.swap(key, None, b"one").await.is_err(), "{key:?}");
    }
}
