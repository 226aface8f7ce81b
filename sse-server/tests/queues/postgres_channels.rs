//! Channels of PostgreSQL's `NOTIFY`.

use std::time::Duration;

use sqlx::{Connection, PgConnection};
use sse_server::views::queues::{Payload, Queue, QueueError};
use testkit::services::Own;
use testkit::wait::until;

use crate::{back, get, next, reader, reset, serve_queue};

async fn run(database: &mut PgConnection, sql: &str) {
    let sql = sqlx::AssertSqlSafe(sql.to_owned());
    sqlx::raw_sql(sql).execute(database).await.expect("done");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_notified_arrives_when_it_is_committed_and_who_comes_back_goes_on_or_is_told() {
    let Some(postgres) = Own::postgres().await else { return };
    let url = postgres.url();
    let queue = Queue::builder().postgres_channels(&url).await.expect("it runs");
    let address = serve_queue(&queue).await;
    let (mut one, begin) = reader(address, "Prices").await;
    let (mut two, _) = reader(address, "Prices").await;
    let mut raw = PgConnection::connect(&url).await.expect("it runs");
    run(&mut raw, "BEGIN; NOTIFY \"Prices\", 'taken back'; ROLLBACK").await;
    run(&mut raw, "NOTIFY prices, 'of another one'").await;
    run(&mut raw, "BEGIN; NOTIFY \"Prices\", '1'; NOTIFY \"Prices\", '2'; COMMIT").await;
    for reader in [&mut one, &mut two] {
        assert_eq!(next(reader).await.0, "1");
        assert_eq!(next(reader).await.0, "2");
    }
    queue.send_text("Prices", "message", "it's 3").await.expect("sent");
    assert_eq!(next(&mut one).await.0, "it's 3");
    drop((one, two));
    let mut again = back(address, "Prices", &begin).await;
    for data in ["1", "2", "it's 3"] {
        assert_eq!(next(&mut again).await.0, data);
    }
    let mut unknown = back(address, "Prices", "1-1").await;
    reset(&mut unknown).await;
    assert_eq!(get(address, &format!("/{}", "x".repeat(64)), "").await.status, 400);
    for text in ["x".repeat(8000), "a\0b".to_owned()] {
        let sent = queue.send_text("Prices", "message", text).await;
        assert!(matches!(sent, Err(QueueError::NotAllowed(_))), "{sent:?}");
    }
    // Names with quotes are names.
    let (mut odd, _) = reader(address, "a%22%3B%20DROP").await;
    run(&mut raw, "NOTIFY \"a\"\"; DROP\", 'odd'").await;
    assert_eq!(next(&mut odd).await.0, "odd");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_killed_is_told_and_the_streams_go_on() {
    let Some(mut postgres) = Own::postgres().await else { return };
    let builder = Queue::builder().payload(Payload::Envelope);
    let queue = builder.postgres_channels(&postgres.url()).await.expect("it runs");
    let address = serve_queue(&queue).await;
    let (mut reader, _) = reader(address, "a").await;
    queue.send_event("a", "price", &17).await.expect("sent");
    let (_, before) = next(&mut reader).await;
    postgres.stop();
    assert!(queue.send_event("a", "price", &18).await.is_err());
    postgres.start().await;
    reset(&mut reader).await;
    queue.send_event("a", "price", &19).await.expect("sent");
    assert_eq!(next(&mut reader).await.0, "19");
    let mut away = back(address, "a", &before).await;
    reset(&mut away).await;
    // One of its processes, after which it ends all connections.
    postgres.kill_one();
    reset(&mut reader).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_readers_listen_by_one_connection_which_stops_listening_with_the_last() {
    let Some(postgres) = Own::postgres().await else { return };
    let url = postgres.url();
    let builder = Queue::builder().linger(Duration::from_millis(50));
    let queue = builder.postgres_channels(&url).await.expect("it runs");
    let address = serve_queue(&queue).await;
    let mut readers = Vec::new();
    for _ in 0..200 {
        readers.push(reader(address, "a").await.0);
    }
    let mut raw = PgConnection::connect(&url).await.expect("it runs");
    let count = "SELECT count(*) FROM pg_stat_activity
                 WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let connections: i64 = sqlx::query_scalar(count).fetch_one(&mut raw).await.expect("a count");
    assert!(connections <= 2, "{connections}");
    run(&mut raw, "NOTIFY a, 'to all'").await;
    for reader in &mut readers {
        assert_eq!(next(reader).await.0, "to all");
    }
    readers.clear();
    stops_listening(&mut raw).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_takes_nothing_is_told_later_and_holds_up_nobody() {
    let Some(postgres) = Own::postgres().await else { return };
    let url = postgres.url();
    let builder = Queue::builder().linger(Duration::ZERO).tail(64);
    let queue = builder.postgres_channels(&url).await.expect("it runs");
    let address = serve_queue(&queue).await;
    let (mut slow, _) = reader(address, "a").await;
    let (mut quick, _) = reader(address, "a").await;
    let mut raw = PgConnection::connect(&url).await.expect("it runs");
    // As many as the system's buffers between the two do not hold.
    for n in 0..120 {
        let first = n * 32;
        let notify = "SELECT pg_notify('a', n || ' ' || repeat('x', 7900))";
        run(&mut raw, &format!("{notify} FROM generate_series({first}, {first} + 31) AS n")).await;
        for n in first..first + 32 {
            assert!(next(&mut quick).await.0.starts_with(&format!("{n} ")));
        }
    }
    slow.until("event: stream-reset\n").await;
    run(&mut raw, "NOTIFY a, 'last'").await;
    slow.until("data: last\n\n").await;
    drop((slow, quick));
    stops_listening(&mut raw).await;
}

async fn stops_listening(raw: &mut PgConnection) {
    let last = "SELECT count(*) FROM pg_stat_activity
                WHERE datname = current_database() AND query = 'UNLISTEN \"a\"'";
    until("it to stop listening", async || {
        let count: i64 = sqlx::query_scalar(last).fetch_one(&mut *raw).await.expect("a count");
        count == 1
    })
    .await;
}
