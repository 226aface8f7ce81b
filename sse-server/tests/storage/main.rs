//! Every storage, put to the checks that any storage has to pass, and what is particular to each.

mod versions;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use sqlx::Connection;
use sse_server::metrics::{Metrics, TimedStorage};
use sse_server::storage::conformance::{self, Subject};
use sse_server::storage::{
    Batch, DjangoSqliteStorage, MemoryStorage, NewEvent, Outcome, PostgresStorage, RedisStorage,
    RequestKey, Retention, SqliteStorage, Storage, StoredEvent,
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

/// The database of a Django site, as its `migrate` makes it (django-eventstream 5.3.4).
struct OfDjango(PathBuf);

const MADE_BY_DJANGO: &str = r#"
    CREATE TABLE "django_eventstream_event" (
        "id" integer NOT NULL PRIMARY KEY AUTOINCREMENT,
        "channel" varchar(255) NOT NULL, "type" varchar(255) NOT NULL, "data" text NOT NULL,
        "eid" bigint NOT NULL, "created" datetime NOT NULL);
    CREATE TABLE "django_eventstream_eventcounter" (
        "id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "name" varchar(255) NOT NULL UNIQUE,
        "value" bigint NOT NULL, "updated" datetime NOT NULL);
    CREATE UNIQUE INDEX "django_eventstream_event_channel_eid_uniq"
        ON "django_eventstream_event" ("channel", "eid");
"#;

#[async_trait]
impl Subject for OfDjango {
    async fn open(&self) -> Arc<dyn Storage> {
        Arc::new(DjangoSqliteStorage::open(&self.0).await.expect("it opens"))
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

    /// As if there had never been such a channel, although other tests have used this Redis.
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
async fn a_django_site_in_sqlite_conforms() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("db.sqlite3");
    assert!(!DjangoSqliteStorage::is_one(&path), "nothing is there");
    let made = rusqlite::Connection::open(&path).expect("created");
    assert!(!DjangoSqliteStorage::is_one(&path), "it is empty");
    made.execute_batch(MADE_BY_DJANGO).expect("SQL");
    assert!(DjangoSqliteStorage::is_one(&path));
    conformance::all(&OfDjango(path)).await;
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

/// Without it django-eventstream takes a reader from the beginning for one that has missed events.
#[tokio::test]
async fn postgres_has_a_placeholder_before_the_first_event_whoever_made_the_counter() {
    let Some(url) = services::postgres().await else { return };
    let storage = PostgresStorage::open(&url).await.expect("it opens");
    let pool = sqlx::PgPool::connect(&url).await.expect("it runs");
    sqlx::query(
        "INSERT INTO django_eventstream_eventcounter (name, value, updated)
         VALUES ('begun', 0, now())",
    )
    .execute(&pool)
    .await
    .expect("inserted");
    for channel in ["begun", "new"] {
        for (first, count) in [(1, 1), (2, 3), (5, 1)] {
            let ids: Vec<u64> = (first..first + count).collect();
            let batch: Vec<_> = ids.iter().map(|id| event(channel, &id.to_string())).collect();
            assert_eq!(storage.append(&batch).await.expect("appended"), ids);
        }
        let rows: Vec<(i64, String)> = sqlx::query_as(
            "SELECT eid, data FROM django_eventstream_event WHERE channel = $1 ORDER BY eid",
        )
        .bind(channel)
        .fetch_all(&pool)
        .await
        .expect("the table");
        let of_events = (1..=5).map(|id| (id, format!("\"{id}\"")));
        let expected: Vec<_> = [(0, String::new())].into_iter().chain(of_events).collect();
        assert_eq!(rows, expected, "{channel}");
    }
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

/// Events of one append are stored together; what is kept is counted in events all the same.
#[tokio::test]
async fn a_sqlite_file_keeps_as_many_events_as_it_should_of_large_and_small_batches() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let storage = SqliteStorage::open(folder.path().join("events.db")).await.expect("created");
    let mut head = 0;
    for size in [1, 300, 2, 1000, 7, 100] {
        let batch: Vec<_> = (head + 1..=head + size).map(|n| event("a", &n.to_string())).collect();
        storage.append(&batch).await.expect("appended");
        head += size;
        for keep in [1000, 999, 301, 70] {
            let kept =
                |events: &[StoredEvent]| events.first().map_or(0, |first| head + 1 - first.id);
            let before = storage.read("a", 0, 5000).await.expect("it reads");
            let mut removed = 0;
            loop {
                match storage.shorten(keep, 99).await.expect("it trims") {
                    0 => break,
                    step => removed += step as u64,
                }
            }
            let events = storage.read("a", 0, 5000).await.expect("it reads");
            assert_eq!(kept(&events), kept(&before).min(keep), "of {head}");
            assert_eq!(removed, kept(&before) - kept(&events));
            let ids = head + 1 - kept(&events)..=head;
            let expected: Vec<_> =
                ids.map(|id| StoredEvent::new(id, "t", id.to_string())).collect();
            assert_eq!(events, expected);
        }
    }
}

/// Requests with keys and without that are appended together are stored together, too.
#[tokio::test]
async fn requests_of_one_group_get_the_ids_of_their_own_events() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("events.db");
    let storage = SqliteStorage::open(&path).await.expect("created");
    let key = |n: usize| RequestKey::new("p", n, b"");
    let (first, second) = (key(1), key(2));
    let known = [event("b", "known")];
    let outcomes = storage.append_once(&[Batch { events: &known, key: Some(&first) }]).await;
    assert_eq!(outcomes.expect("appended"), [Outcome::Appended(vec![1])]);
    let (one, two) = ([event("a", "1"), event("b", "2")], [event("b", "3"), event("a", "4")]);
    let batches = [
        Batch { events: &one, key: None },
        Batch { events: &known, key: Some(&first) },
        Batch { events: &two, key: Some(&second) },
        Batch { events: &[], key: None },
        Batch { events: &one, key: None },
    ];
    let expected = [
        Outcome::Appended(vec![1, 2]),
        Outcome::Known(vec![1]),
        Outcome::Appended(vec![3, 2]),
        Outcome::Appended(vec![]),
        Outcome::Appended(vec![3, 4]),
    ];
    assert_eq!(storage.append_once(&batches).await.expect("appended"), expected);
    let again = storage.append_once(&batches[2..3]).await.expect("asked");
    assert_eq!(again, [Outcome::Known(vec![3, 2])]);
    let read = storage.read("b", 0, 9).await.expect("it reads");
    let data: Vec<_> = read.iter().map(|event| &*event.data).collect();
    assert_eq!(data, ["known", "2", "3", "2"]);
    let file = rusqlite::Connection::open(&path).expect("it opens");
    let blocks: i64 =
        file.query_row("SELECT count(*) FROM block", [], |row| row.get(0)).expect("counted");
    assert_eq!(blocks, 3, "one for each append and channel");
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
