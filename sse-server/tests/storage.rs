//! Every storage, put to the checks that any storage has to pass, and what is particular to each.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::Connection;
use sse_server::metrics::{Metrics, TimedStorage};
use sse_server::storage::conformance::{self, Subject};
use sse_server::storage::{
    Batch, MemoryStorage, NewEvent, Outcome, PostgresStorage, RedisStorage, RequestKey, Retention,
    SqliteStorage, Storage,
};
use testkit::{port, services};

struct Memory(Arc<MemoryStorage>);

#[async_trait]
impl Subject for Memory {
    async fn open(&self) -> Arc<dyn Storage> {
        self.0.clone()
    }
}

/// As the server has its storage: within another one, which measures.
struct Measured(Arc<MemoryStorage>);

#[async_trait]
impl Subject for Measured {
    async fn open(&self) -> Arc<dyn Storage> {
        Arc::new(TimedStorage::new(self.0.clone(), Metrics::default()))
    }
}

struct Sqlite(PathBuf);

#[async_trait]
impl Subject for Sqlite {
    async fn open(&self) -> Arc<dyn Storage> {
        Arc::new(SqliteStorage::open(&self.0).await.expect("it opens"))
    }
}

struct Postgres(String);

#[async_trait]
impl Subject for Postgres {
    async fn open(&self) -> Arc<dyn Storage> {
        Arc::new(PostgresStorage::open(&self.0).await.expect("it opens"))
    }
}

struct Redis(String);

impl Redis {
    async fn ask<T: redis::FromRedisValue>(&self, command: &[&str]) -> T {
        let client = redis::Client::open(&*self.0).expect("a URL");
        let mut connection = client.get_multiplexed_async_connection().await.expect("it runs");
        let mut asked = redis::cmd(command[0]);
        asked.arg(&command[1..]).query_async(&mut connection).await.expect("an answer")
    }

    /// As if there had never been such a channel, whoever has used this Redis before.
    async fn forget(&self, channel: &str) {
        self.ask::<i64>(&["DEL", &format!("event_counter:{channel}")]).await;
        self.ask::<i64>(&["HDEL", "sse_server:log", &format!("head:{channel}")]).await;
    }
}

#[async_trait]
impl Subject for Redis {
    async fn open(&self) -> Arc<dyn Storage> {
        Arc::new(RedisStorage::open(&self.0, Retention::default()).await.expect("it opens"))
    }

    async fn expire(&self, _storage: &dyn Storage, channel: &str, up_to: u64) {
        for id in 1..=up_to {
            self.ask::<i64>(&["DEL", &format!("event:{channel}:{id}")]).await;
        }
    }

    fn trims(&self) -> bool {
        false
    }
}

fn event(channel: &str, data: &str) -> NewEvent {
    NewEvent::new(channel, "t", data)
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_conforms() {
    conformance::all(&Memory(Arc::default())).await;
}

/// What a storage does by default must be passed on, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_storage_that_is_measured_conforms() {
    conformance::all(&Measured(Arc::default())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_conforms() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    conformance::all(&Sqlite(folder.path().join("events.db"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_conforms() {
    let Some(postgres) = services::postgres().await else { return };
    conformance::all(&Postgres(postgres)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_conforms() {
    let Some(redis) = services::redis() else { return };
    conformance::all(&Redis(redis)).await;
}

/// What django-eventstream 5.3.4 writes and reads.
#[tokio::test]
async fn redis_keys_are_those_of_django_eventstream() {
    let Some(url) = services::redis() else { return };
    let redis = Redis(url.clone());
    let retention = Retention::default().age(Duration::from_secs(100)).events(2);
    let storage = RedisStorage::open(&url, retention).await.expect("it opens");
    redis.forget("keys:é").await;
    let batch = ["1", "{\"a\": 1}", "3"].map(|data| event("keys:é", data));
    storage.append(&batch).await.expect("appended");
    assert_eq!(redis.ask::<String>(&["GET", "event_counter:keys:é"]).await, "3");
    let value: String = redis.ask(&["GET", "event:keys:é:2"]).await;
    assert_eq!(value, r#"{"type":"t","data":"{\"a\": 1}"}"#);
    let expires: u64 = redis.ask(&["PTTL", "event:keys:é:3"]).await;
    assert!((1..=100_000).contains(&expires), "{expires} ms");
    assert_eq!(redis.ask::<i64>(&["EXISTS", "event:keys:é:1"]).await, 0, "a channel keeps two");
    let theirs = r#"{"type": "message", "data": "{\"a\": 1}"}"#;
    redis.ask::<String>(&["SET", "event:keys:é:4", theirs]).await;
    redis.ask::<u64>(&["INCR", "event_counter:keys:é"]).await;
    let read = storage.read("keys:é", 3, 9).await.expect("it reads");
    assert_eq!((read[0].id, &*read[0].event_type, &*read[0].data), (4, "message", "{\"a\": 1}"));
}

#[tokio::test]
async fn redis_appends_nothing_if_a_counter_is_no_number() {
    let Some(url) = services::redis() else { return };
    let storage = RedisStorage::open(&url, Retention::default()).await.expect("it opens");
    let redis = Redis(url);
    redis.forget("sane").await;
    redis.ask::<String>(&["SET", "event_counter:strange", "x"]).await;
    storage.append(&[event("sane", "1"), event("strange", "1")]).await.expect_err("refused");
    assert_eq!(storage.head("sane").await.expect("readable"), 0);
    assert_eq!(storage.append(&[event("sane", "1")]).await.expect("appended"), [1]);
}

/// What django-eventstream 5.3.4 writes and reads.
#[tokio::test]
async fn postgres_tables_are_those_of_django_eventstream() {
    let Some(url) = services::postgres().await else { return };
    let storage = PostgresStorage::open(&url).await.expect("it opens");
    let batch = ["{\"a\": 1}", "raw"].map(|data| event("tables", data));
    storage.append(&batch).await.expect("appended");
    let pool = sqlx::PgPool::connect(&url).await.expect("it runs");
    let rows: Vec<(i64, String, String)> = sqlx::query_as(
        "SELECT eid, type, data FROM django_eventstream_event WHERE channel = 'tables' ORDER BY eid",
    )
    .fetch_all(&pool)
    .await
    .expect("the table");
    let row = |id, kind: &str, data: &str| (id, kind.to_owned(), data.to_owned());
    let expected = [row(0, "", ""), row(1, "t", r#""{\"a\": 1}""#), row(2, "t", "\"raw\"")];
    assert_eq!(rows, expected, "with the placeholder, and JSON within JSON");
    // As 5.x writes, and as versions before 4.4.1 did.
    for (id, data) in [(3, r#""{\"b\": 2}""#), (4, r#"{"b": 2}"#)] {
        sqlx::query(
            "INSERT INTO django_eventstream_event (channel, type, data, eid, created)
             VALUES ('tables', 'message', $1, $2, now())",
        )
        .bind(data)
        .bind(id)
        .execute(&pool)
        .await
        .expect("inserted");
    }
    let read = storage.read("tables", 2, 9).await.expect("it reads");
    let data: Vec<_> = read.iter().map(|event| &*event.data).collect();
    assert_eq!(data, ["{\"b\": 2}", "{\"b\": 2}"]);
    pool.close().await;
}

#[tokio::test]
async fn postgres_tables_of_a_later_version_are_left_alone() {
    let Some(url) = services::postgres().await else { return };
    PostgresStorage::open(&url).await.expect("it opens").close().await;
    let pool = sqlx::PgPool::connect(&url).await.expect("it runs");
    sqlx::query("UPDATE sse_server_schema SET version = 99").execute(&pool).await.expect("updated");
    let error = PostgresStorage::open(&url).await.expect_err("too new").to_string();
    assert!(error.contains("version 99, made by a later sse-server"), "{error}");
    pool.close().await;
}

#[tokio::test]
async fn a_wrong_address_is_told_at_once() {
    let nobody = port::Port::reserve();
    let error = PostgresStorage::open(&format!("postgres://{nobody}/x")).await;
    let error = error.expect_err("nobody is there").to_string();
    assert!(error.starts_with("connect: "), "{error}");
    let url = format!("redis://{nobody}");
    let error = RedisStorage::open(&url, Retention::default()).await;
    let error = error.expect_err("nobody is there").to_string();
    assert!(error.starts_with("connect: "), "{error}");
}

#[tokio::test]
async fn a_sqlite_file_can_be_closed_and_opened_again() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("events.db");
    let storage = SqliteStorage::open(&path).await.expect("created");
    storage.append(&[event("a", "1")]).await.expect("appended");
    storage.close().await;
    assert_eq!(std::fs::read_dir(folder.path()).expect("readable").count(), 1, "one file is left");
    let storage = SqliteStorage::open(&path).await.expect("opened");
    assert_eq!(storage.append(&[event("a", "2")]).await.expect("appended"), [2]);
}

/// The tables as the first version made them, with an event in them.
const SQLITE_1: &str = "
    CREATE TABLE channel (
        key  INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        head INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE event (
        seq     INTEGER PRIMARY KEY,
        channel INTEGER NOT NULL REFERENCES channel (key),
        id      INTEGER NOT NULL,
        type    TEXT NOT NULL,
        data    TEXT NOT NULL,
        created INTEGER NOT NULL,
        UNIQUE (channel, id)
    ) STRICT;
    INSERT INTO channel VALUES (1, 'a', 1);
    INSERT INTO event VALUES (1, 1, 1, 't', 'old', 0);
    PRAGMA user_version = 1;
";

const POSTGRES_1: &str = "
    CREATE TABLE sse_server_schema (version integer NOT NULL);
    INSERT INTO sse_server_schema VALUES (1);
    CREATE TABLE django_eventstream_eventcounter (
        id      bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
        name    varchar(255) NOT NULL UNIQUE,
        value   bigint NOT NULL,
        updated timestamptz NOT NULL
    );
    CREATE TABLE django_eventstream_event (
        id      bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
        channel varchar(255) NOT NULL,
        type    varchar(255) NOT NULL,
        data    text NOT NULL,
        eid     bigint NOT NULL,
        created timestamptz NOT NULL,
        UNIQUE (channel, eid)
    );
    CREATE INDEX django_eventstream_event_created ON django_eventstream_event (created);
    INSERT INTO django_eventstream_eventcounter (name, value, updated) VALUES ('a', 1, now());
    INSERT INTO django_eventstream_event (channel, type, data, eid, created)
        VALUES ('a', '', '', 0, now()), ('a', 't', '\"old\"', 1, now());
";

/// What is there stays, and what is new can be stored; also by the next process.
async fn goes_on_with_what_is_there(open: impl AsyncFn() -> Arc<dyn Storage>) {
    for round in 0..2 {
        let storage = open().await;
        let read = storage.read("a", 0, 1).await.expect("it reads");
        assert_eq!((&*read[0].data, read[0].skip_users.len()), ("old", 0));
        let events = [event("a", "new").skip_users(vec!["u1".to_owned()])];
        let key = RequestKey::new("p", "k", b"");
        let batch = Batch { events: &events, key: Some(&key) };
        let outcomes = storage.append_once(&[batch]).await.expect("it appends");
        let expected = [Outcome::Appended(vec![2]), Outcome::Known(vec![2])];
        assert_eq!(outcomes, expected[round..=round]);
        let read = storage.read("a", 1, 9).await.expect("it reads");
        assert_eq!((read.len(), &read[0].skip_users[..]), (1, &["u1".to_owned()][..]));
        storage.close().await;
    }
}

#[tokio::test]
async fn a_sqlite_file_of_the_first_version_goes_on() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("events.db");
    let old = rusqlite::Connection::open(&path).expect("created");
    old.execute_batch(SQLITE_1).expect("made");
    old.close().expect("closed");
    goes_on_with_what_is_there(async || Sqlite(path.clone()).open().await).await;
}

#[tokio::test]
async fn postgres_tables_of_the_first_version_go_on() {
    let Some(url) = services::postgres().await else { return };
    let mut old = sqlx::PgConnection::connect(&url).await.expect("it runs");
    sqlx::raw_sql(POSTGRES_1).execute(&mut old).await.expect("made");
    goes_on_with_what_is_there(async || Postgres(url.clone()).open().await).await;
    // As Django and instances of the version before append.
    sqlx::raw_sql(
        "INSERT INTO django_eventstream_event (channel, type, data, eid, created)
         VALUES ('a', 't', '\"theirs\"', 3, now())",
    )
    .execute(&mut old)
    .await
    .expect("inserted");
    let read = Postgres(url).open().await.read("a", 2, 9).await.expect("it reads");
    assert_eq!((&*read[0].data, read[0].skip_users.len()), ("theirs", 0));
    old.close().await.expect("closed");
}

#[tokio::test]
async fn redis_forgets_keys_of_requests_with_the_events() {
    let Some(url) = services::redis() else { return };
    let redis = Redis(url.clone());
    let retention = Retention::default().age(Duration::from_secs(100));
    let storage = RedisStorage::open(&url, retention).await.expect("it opens");
    redis.ask::<i64>(&["DEL", "sse_server:request:p expiring"]).await;
    let key = RequestKey::new("p", "expiring", b"");
    let events = [event("expiring", "1").skip_users(vec!["u1".to_owned()])];
    storage.append_once(&[Batch { events: &events, key: Some(&key) }]).await.expect("appended");
    let expires: u64 = redis.ask(&["PTTL", "sse_server:request:p expiring"]).await;
    assert!((1..=100_000).contains(&expires), "{expires} ms");
}
