//! Publishing within one's own transactions, by SQL: what was committed is there, once and in
//! order, and nothing else is.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use sqlx::postgres::PgListener;
use sqlx::{Connection, PgConnection};
use sse_server::relay::PostgresRelay;
use sse_server::storage::{PostgresStorage, Storage, StoredEvent};
use sse_server::views::EventStreams;
use testkit::server::send;
use testkit::services::{Own, variable};
use testkit::wait::{until, within};
use tokio::net::TcpListener;

const WRITERS: usize = 64;

/// How many transactions each of them makes; every third is rolled back.
const TRANSACTIONS: usize = 12;

/// So long that only a notification can be the reason why something arrives in time.
const NEVER: Duration = Duration::from_hours(1);

async fn database() -> Option<(Own, PostgresStorage)> {
    let own = Own::postgres().await?;
    let storage = PostgresStorage::open(&own.url()).await.expect("it opens");
    for _ in 0..2 {
        storage.install_sse_publish().await.expect("it may");
    }
    Some((own, storage))
}

/// What one writer does: to one channel of four, or to two of them in the order of their names.
fn script(round: usize, writer: usize) -> String {
    let mut script = String::new();
    for number in 0..TRANSACTIONS {
        let is_kept = !(number + writer).is_multiple_of(3);
        let payload = format!("{round}-{writer}-{number}-{}", if is_kept { "kept" } else { "not" });
        let end = if is_kept { "COMMIT" } else { "ROLLBACK" };
        let (first, second) = (writer % 4, (writer + number) % 4);
        writeln!(script, "BEGIN;").expect("a string");
        for channel in [first.min(second), first.max(second)] {
            writeln!(script, "SELECT sse_publish('c{channel}', 'written', '{payload}');")
                .expect("a string");
        }
        writeln!(script, "{end};\n\\echo {end}ED {payload}").expect("a string");
    }
    script
}

/// Runs a script as people do.
fn psql(bin: &Path, url: &str, script: &str, folder: &Path, name: &str) -> std::process::Child {
    let file = folder.join(name);
    std::fs::write(&file, script).expect("writable");
    let mut psql = Command::new(bin.join("psql"));
    psql.args(["-X", "-q", "-t", "-A", "-v", "ON_ERROR_STOP=1", "-f"]).arg(file).arg(url);
    psql.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    psql.spawn().expect("psql is beside the server")
}

async fn all(storage: &PostgresStorage, channel: &str) -> Vec<StoredEvent> {
    let (mut events, mut after) = (Vec::new(), 0);
    loop {
        let page = storage.read(channel, after, 500).await.expect("it reads");
        let Some(last) = page.last() else { return events };
        after = last.id;
        events.extend(page);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_writers_that_roll_back_and_a_killed_server_leave_no_hole_and_no_phantom() {
    let Some((mut own, storage)) = database().await else { return };
    let bin = variable("SSE_TEST_POSTGRES_BIN").expect("it was started from there");
    let folder = tempfile::tempdir().expect("a folder");
    let mut committed = Vec::new();
    for round in 0..2 {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let name = format!("{round}-{writer}.sql");
                psql(bin.as_ref(), &own.url(), &script(round, writer), folder.path(), &name)
            })
            .collect();
        if round == 0 {
            let some = async || storage.head("c0").await.is_ok_and(|head| head >= 40);
            until("some to be written", some).await;
            own.kill();
        }
        let outputs: Vec<Output> =
            writers.into_iter().map(|writer| writer.wait_with_output().expect("it ends")).collect();
        for output in outputs {
            let text = String::from_utf8(output.stdout).expect("UTF-8");
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(round == 0 || output.status.success(), "{errors}");
            let done = text.lines().filter_map(|line| line.strip_prefix("COMMITED "));
            committed.extend(done.map(str::to_owned));
        }
        if round == 0 {
            own.start().await;
            own.answers().await;
        }
    }
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for channel in ["c0", "c1", "c2", "c3"] {
        let events = until_read(&storage, channel).await;
        let ids: Vec<u64> = events.iter().map(|event| event.id).collect();
        assert_eq!(ids, (1..=events.len() as u64).collect::<Vec<_>>(), "dense, in {channel}");
        assert_eq!(storage.head(channel).await.expect("it reads"), events.len() as u64);
        for event in events {
            assert_eq!(event.event_type, "written");
            *seen.entry(event.data).or_default() += 1;
        }
    }
    for (payload, times) in &seen {
        assert!(payload.ends_with("-kept"), "{payload} was rolled back");
        assert_eq!(*times, 2, "{payload} was committed as a whole");
    }
    for payload in &committed {
        assert!(seen.contains_key(payload), "{payload} was committed");
    }
    let of_second = (0..WRITERS * TRANSACTIONS)
        .filter(|number| !(number % TRANSACTIONS + number / TRANSACTIONS).is_multiple_of(3));
    assert!(committed.len() >= of_second.count(), "all of the second round");
}

/// The pool may have connections to the server that was killed.
async fn until_read(storage: &PostgresStorage, channel: &str) -> Vec<StoredEvent> {
    until("it to read again", async || storage.head(channel).await.is_ok()).await;
    all(storage, channel).await
}

#[tokio::test]
async fn a_commit_publishes_and_is_told_once_for_each_channel() {
    let Some((own, storage)) = database().await else { return };
    let url = own.url();
    let relay = PostgresRelay::open(&url).await.expect("it opens");
    let reading = PostgresStorage::open(&url).await.expect("it opens");
    let streams =
        EventStreams::builder().storage(storage).relay(relay).hub(|hub| hub.refresh(NEVER)).build();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it listens");
    tokio::spawn(axum::serve(listener, streams.router()).into_future());
    let request = b"GET /events/a/ HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut reader = send(address, request).await;
    reader.opening().await;
    let mut told = PgListener::connect(&url).await.expect("it connects");
    told.listen("sse_server").await.expect("it may");
    let mut writer = PgConnection::connect(&url).await.expect("it connects");
    let mut transaction = writer.begin().await.expect("it begins");
    for (channel, data) in [("a", "1"), ("a", "\"2\"\n"), ("a", "3"), ("b", "1"), ("b", "2")] {
        let number: i64 = sqlx::query_scalar("SELECT sse_publish($1, '', $2)")
            .bind(channel)
            .bind(data)
            .fetch_one(&mut *transaction)
            .await
            .expect("published");
        assert!(number >= 1);
    }
    assert_eq!(reading.head("a").await.expect("it reads"), 0, "not before the commit");
    transaction.commit().await.expect("committed");
    reader.until("event: message\nid: a:1\ndata: 1\n\n").await;
    reader.until("id: a:2\ndata: \"2\"\ndata: \n\n").await;
    reader.until("id: a:3\ndata: 3\n\n").await;
    // Who wants no notification at the commit has none, until it is sent.
    sqlx::raw_sql("SET sse_server.notify = 'off'; SELECT sse_publish('a', '', '4')")
        .execute(&mut writer)
        .await
        .expect("published");
    sqlx::query("SET sse_server.notify = 'on'").execute(&mut writer).await.expect("set");
    assert_eq!(reading.head("a").await.expect("it reads"), 4);
    let by_hand = "SELECT pg_notify('sse_server', '{\"channel\":\"a\",\"pub_id\":4}')";
    sqlx::query(by_hand).execute(&mut writer).await.expect("sent");
    reader.until("id: a:4\ndata: 4\n\n").await;
    // What the server publishes by itself does not go by way of the function, and is told by the
    // relay.
    sqlx::query("NOTIFY sse_server, 'the end'").execute(&mut writer).await.expect("sent");
    let mut payloads = Vec::new();
    loop {
        let notification = within("a notification", told.recv()).await.expect("connected");
        match notification.payload() {
            "the end" => break,
            payload => payloads.push(payload.to_owned()),
        }
    }
    payloads.sort_unstable();
    assert_eq!(
        payloads,
        [
            r#"{"channel" : "a", "pub_id" : 3}"#,
            r#"{"channel" : "b", "pub_id" : 2}"#,
            r#"{"channel":"a","pub_id":4}"#,
        ]
    );
    for refused in
        ["'', 't', 'x'", "'a', E't\\n', 'x'", "'a', 'stream-error', 'x'", "'a', 't', NULL"]
    {
        let query = format!("SELECT sse_publish({refused})");
        let result = sqlx::raw_sql(sqlx::AssertSqlSafe(query)).execute(&mut writer).await;
        let error = result.expect_err(refused);
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        assert_eq!(code.as_deref(), Some("22023"), "{refused}: {error}");
    }
}
