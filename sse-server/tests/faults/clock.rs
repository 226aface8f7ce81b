//! Events and keys from when the clock was ahead keep nothing else from being removed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sqlx::Connection;
use sse_server::storage::{Batch, NewEvent, PostgresStorage, RequestKey, SqliteStorage, Storage};

use crate::services;

const DAY: i64 = 24 * 60 * 60 * 1000;

/// Removes in steps, as the server does, what is older than now; and returns how much that was.
async fn trim(storage: &dyn Storage) -> usize {
    let now = SystemTime::now() + Duration::from_millis(1);
    let mut trimmed = 0;
    loop {
        match storage.trim(now, 500).await.expect("it trims") {
            0 => return trimmed,
            step => trimmed += step,
        }
    }
}

async fn append(storage: &dyn Storage, channel: &str, count: usize) {
    let events: Vec<_> = (0..count).map(|_| NewEvent::new(channel, "t", "x")).collect();
    storage.append(&events).await.expect("appended");
}

async fn left(storage: &dyn Storage, channel: &str) -> usize {
    storage.read(channel, 0, 10_000).await.expect("it reads").len()
}

/// A SQLite file, in which it can be changed when things were made.
struct File {
    storage: SqliteStorage,
    folder: tempfile::TempDir,
}

impl File {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let storage = SqliteStorage::open(folder.path().join("events.db")).await.expect("it opens");
        Self { storage, folder }
    }

    /// All that is there now was made this much later, or earlier, than it was.
    fn shift(&self, table: &str, by: i64) {
        let path = self.folder.path().join("events.db");
        let file = rusqlite::Connection::open(path).expect("it opens");
        let shift = format!("UPDATE {table} SET created = created + ?");
        file.execute(&shift, [by]).expect("shifted");
    }
}

#[tokio::test]
async fn events_from_the_future_go_with_those_that_were_published_after_them() {
    // Fewer than a step removes, as many, and far more.
    for ahead in [1, 500, 3000] {
        let file = File::new().await;
        append(&file.storage, "a", ahead).await;
        file.shift("block", 400 * DAY);
        append(&file.storage, "a", 2000).await;
        assert_eq!(trim(&file.storage).await, ahead + 2000);
        assert_eq!(left(&file.storage, "a").await, 0);
    }
}

#[tokio::test]
async fn events_from_the_future_are_as_old_as_they_are_found_to_be_if_none_comes_after_them() {
    let file = File::new().await;
    append(&file.storage, "a", 1200).await;
    file.shift("block", 400 * DAY);
    let yesterday = SystemTime::now() - Duration::from_hours(24);
    assert_eq!(file.storage.trim(yesterday, 500).await.expect("it trims"), 0, "made just now");
    // When that has come to be long ago.
    assert_eq!(trim(&file.storage).await, 1200);
}

#[tokio::test]
async fn what_is_young_stays_behind_what_is_from_the_future() {
    let file = File::new().await;
    append(&file.storage, "a", 700).await;
    file.shift("block", -2 * DAY);
    append(&file.storage, "b", 600).await;
    let yesterday = SystemTime::now() - Duration::from_hours(24);
    let mut trimmed = 0;
    loop {
        match file.storage.trim(yesterday, 500).await.expect("it trims") {
            0 => break,
            step => trimmed += step,
        }
    }
    assert_eq!((trimmed, left(&file.storage, "b").await), (700, 600));
}

#[tokio::test]
async fn keys_of_requests_from_the_future_go_as_events_do() {
    let file = File::new().await;
    for n in 0..3 {
        let key = RequestKey::new("p", format!("key {n}"), b"");
        let batch = Batch { events: &[], key: Some(&key) };
        file.storage.append_once(&[batch]).await.expect("appended");
        if n == 1 {
            file.shift("request", 400 * DAY);
        }
    }
    assert_eq!(trim(&file.storage).await, 3);
}

#[tokio::test]
async fn postgres_forgets_events_from_the_future_too() {
    let Some(url) = services::postgres().await else { return };
    let storage = PostgresStorage::open(&url).await.expect("it opens");
    append(&storage, "a", 3).await;
    let mut connection = sqlx::PgConnection::connect(&url).await.expect("it runs");
    sqlx::query("UPDATE django_eventstream_event SET created = created + interval '400 days'")
        .execute(&mut connection)
        .await
        .expect("shifted");
    assert_eq!(storage.trim(UNIX_EPOCH, 500).await.expect("it trims"), 0, "made just now");
    assert_eq!(trim(&storage).await, 3);
    connection.close().await.expect("closed");
}
