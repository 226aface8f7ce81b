//! The connection that appends to PostgreSQL, which is kept: when it is lost, given up in the midst
//! of a statement, or not enough.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use sqlx::{Connection, PgConnection};
use sse_server::storage::{NewEvent, PostgresStorage, Storage};
use tokio::time::timeout;

use crate::instances::within;
use crate::server::until;
use crate::services;

/// How many connections a storage has at most.
const MOST: i64 = 8;

async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.expect("it runs")
}

fn event(n: usize) -> [NewEvent; 1] {
    [NewEvent::new("a", "message", n.to_string())]
}

/// What is stored in the channel, which has no holes.
async fn stored(storage: &PostgresStorage) -> Vec<String> {
    let events = storage.read("a", 0, 1000).await.expect("read");
    let ids: Vec<u64> = events.iter().map(|event| event.id).collect();
    assert_eq!(ids, (1..=events.len() as u64).collect::<Vec<_>>());
    assert_eq!(storage.head("a").await.expect("read"), events.len() as u64);
    events.into_iter().map(|event| event.data).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn appends_at_the_same_time_have_connections_of_their_own() {
    let Some(url) = services::postgres().await else { return };
    let storage = Arc::new(PostgresStorage::open(&url).await.expect("open"));
    let mut other = connect(&url).await;
    // Whoever appends first holds the kept connection, and the row, until this lets go of it.
    storage.append(&event(0)).await.expect("appended");
    let hold = "BEGIN; UPDATE django_eventstream_eventcounter SET value = value";
    sqlx::raw_sql(hold).execute(&mut other).await.expect("held");
    let append = |n| {
        let storage = storage.clone();
        tokio::spawn(async move {
            loop {
                match storage.append(&event(n)).await {
                    Ok(ids) => return ids[0],
                    Err(error) => assert!(error.is_held(), "{error}"),
                }
            }
        })
    };
    let all: Vec<_> = (1..=4).map(append).collect();
    let waiting = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'";
    until("all to wait for the row", async || {
        let mut look = connect(&url).await;
        sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut look).await.expect("asked") == 4
    })
    .await;
    sqlx::raw_sql("COMMIT").execute(&mut other).await.expect("let go");
    let mut ids: Vec<u64> = join_all(all).await.into_iter().map(|id| id.expect("done")).collect();
    ids.sort_unstable();
    assert_eq!(ids, [2, 3, 4, 5]);
    join_all((5..=40).map(append)).await;
    let connections = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let connections: i64 =
        sqlx::query_scalar(connections).fetch_one(&mut other).await.expect("asked");
    assert!(connections <= MOST, "{connections} connections");
    assert_eq!(stored(&storage).await.len(), 41);
    storage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_its_connections_were_cut_a_storage_appends_again() {
    let Some(url) = services::postgres().await else { return };
    let storage = PostgresStorage::open(&url).await.expect("open");
    let mut other = connect(&url).await;
    let mut answered = Vec::new();
    for n in 0..3 {
        storage.append(&event(n)).await.expect("appended");
        let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid()";
        sqlx::query(cut).execute(&mut other).await.expect("cut");
        answered.push(n.to_string());
        until("it to append again", async || storage.append(&event(n)).await.is_ok()).await;
        answered.push(n.to_string());
    }
    // One that has failed was cut before it began: it is not stored.
    assert_eq!(stored(&storage).await, answered);
    storage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_that_is_given_up_does_not_answer_for_the_next_one() {
    let Some(url) = services::postgres().await else { return };
    let storage = PostgresStorage::open(&url).await.expect("open");
    storage.append(&event(0)).await.expect("appended");
    let mut other = connect(&url).await;
    let hold = "BEGIN; UPDATE django_eventstream_eventcounter SET value = value";
    sqlx::raw_sql(hold).execute(&mut other).await.expect("held");
    // It is dropped while it waits for the row.
    timeout(Duration::from_millis(50), storage.append(&event(1))).await.expect_err("held");
    let elsewhere = [NewEvent::new("b", "message", "1")];
    let ids = within("an id", storage.append(&elsewhere)).await.expect("appended");
    assert_eq!(ids, [1], "of the other channel");
    sqlx::raw_sql("COMMIT").execute(&mut other).await.expect("let go");
    let id = within("an id", storage.append(&event(2))).await.expect("appended")[0];
    let stored = stored(&storage).await;
    assert_eq!(stored[usize::try_from(id).expect("small") - 1], "2");
    storage.close().await;
}
