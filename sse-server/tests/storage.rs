//! What the hub relies on, checked of every storage.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sse_server::storage::{MemoryStorage, NewEvent, SqliteStorage, Storage};

/// Each storage, empty, and what keeps its file alive.
async fn storages() -> Vec<(&'static str, Arc<dyn Storage>, Option<tempfile::TempDir>)> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let sqlite = SqliteStorage::open(folder.path().join("events.db")).await.expect("it opens");
    vec![
        ("memory", Arc::new(MemoryStorage::new()), None),
        ("sqlite", Arc::new(sqlite), Some(folder)),
    ]
}

fn event(channel: &str, data: u32) -> NewEvent {
    NewEvent { channel: channel.into(), event_type: "t".to_owned(), data: data.to_string() }
}

/// The ids and data after a position.
async fn read(
    storage: &dyn Storage,
    channel: &str,
    after: u64,
    limit: usize,
) -> Vec<(u64, String)> {
    let events = storage.read(channel, after, limit).await.expect("readable");
    events.into_iter().map(|event| (event.id, event.data)).collect()
}

#[tokio::test]
async fn ids_are_dense_per_channel_and_a_batch_is_answered_in_order() {
    for (name, storage, _folder) in storages().await {
        let batch = [event("a", 1), event("b", 2), event("a", 3), event("", 4)];
        assert_eq!(storage.append(&batch).await.expect("appended"), [1, 1, 2, 1], "{name}");
        assert_eq!(storage.append(&batch).await.expect("appended"), [3, 2, 4, 2], "{name}");
        assert!(storage.append(&[]).await.expect("nothing to do").is_empty(), "{name}");
        assert_eq!(storage.head("a").await.expect("readable"), 4, "{name}");
        assert_eq!(storage.head("never").await.expect("readable"), 0, "{name}");
        let after_one = [(2, "3".to_owned()), (3, "1".to_owned())];
        assert_eq!(read(&*storage, "a", 1, 2).await, after_one, "{name}");
        assert_eq!(read(&*storage, "a", 4, 2).await, [], "{name}");
        assert_eq!(read(&*storage, "a", u64::MAX, 2).await, [], "{name}");
        assert_eq!(read(&*storage, "never", 0, 2).await, [], "{name}");
    }
}

#[tokio::test]
async fn text_comes_back_as_it_was() {
    for (name, storage, _folder) in storages().await {
        let strange = "\0 a\r\nb\u{FEFF}é😀' \" \\";
        let event = NewEvent {
            channel: strange.into(),
            event_type: strange.to_owned(),
            data: strange.to_owned(),
        };
        storage.append(std::slice::from_ref(&event)).await.expect("appended");
        let read = storage.read(strange, 0, 1).await.expect("readable").remove(0);
        assert_eq!((read.event_type, read.data), (event.event_type, event.data), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_appends_neither_share_an_id_nor_leave_one_out() {
    for (name, storage, _folder) in storages().await {
        let appends = (0..8).map(|publisher| {
            let storage = storage.clone();
            tokio::spawn(async move {
                let mut ids = Vec::new();
                for n in 0..50 {
                    ids.extend(
                        storage.append(&[event("a", n + publisher * 50)]).await.expect("appended"),
                    );
                }
                ids
            })
        });
        let mut ids = HashSet::new();
        for append in appends.collect::<Vec<_>>() {
            for id in append.await.expect("no panic") {
                assert!(ids.insert(id), "{name}: {id} twice");
            }
        }
        assert_eq!(ids, (1..=400).collect(), "{name}");
        let data: HashSet<_> =
            read(&*storage, "a", 0, 1000).await.into_iter().map(|(_, data)| data).collect();
        assert_eq!(data.len(), 400, "{name}: every event is there once");
    }
}

#[tokio::test]
async fn trimming_takes_the_oldest_in_bounded_steps_and_leaves_the_head() {
    for (name, storage, _folder) in storages().await {
        let old: Vec<_> = (1..=5).map(|n| event(if n % 2 == 0 { "a" } else { "b" }, n)).collect();
        storage.append(&old).await.expect("appended");
        let long_ago = SystemTime::now() - Duration::from_hours(1);
        assert_eq!(storage.trim(long_ago, 100).await.expect("trimmed"), 0, "{name}");
        let later = SystemTime::now() + Duration::from_hours(1);
        assert_eq!(storage.trim(later, 3).await.expect("trimmed"), 3, "{name}");
        assert_eq!(storage.trim(later, 3).await.expect("trimmed"), 2, "{name}");
        assert_eq!(storage.trim(later, 3).await.expect("trimmed"), 0, "{name}");
        assert_eq!(storage.head("b").await.expect("readable"), 3, "{name}: it outlives the events");
        assert_eq!(storage.append(&[event("b", 6)]).await.expect("appended"), [4], "{name}");
        assert_eq!(read(&*storage, "b", 0, 10).await, [(4, "6".to_owned())], "{name}");
    }
}

#[tokio::test]
async fn a_sqlite_file_can_be_closed_and_opened_again() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("events.db");
    let storage = SqliteStorage::open(&path).await.expect("created");
    storage.append(&[event("a", 1)]).await.expect("appended");
    storage.close().await;
    let storage = SqliteStorage::open(&path).await.expect("opened");
    assert_eq!(read(&storage, "a", 0, 10).await, [(1, "1".to_owned())]);
    assert_eq!(storage.append(&[event("a", 2)]).await.expect("appended"), [2]);
}
