//! Events in a SQLite file.

mod trim;
mod writer;

use std::collections::HashMap;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection, Row, SqliteConnection};
use writer::{BUSY_TIMEOUT, Writer, Writing};

use super::requests::{json, users_of};
use super::{Batch, NewEvent, Outcome, Storage, StoredEvent};
use crate::ServiceError;

/// The version of the tables below, in SQLite's `user_version`.
const SCHEMA_VERSION: i64 = 2;

/// `channel.head` outlives the events, so ids are never used twice. `event.seq` is the order of
/// insertion over all channels: trimming walks along it and needs no index on time.
const SCHEMA: &str = "
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
";

/// From version 1 to 2. `skip_users` and `ids` are JSON. `request.seq` is for trimming, too.
const UPGRADE: &str = "
    ALTER TABLE event ADD COLUMN skip_users TEXT;
    CREATE TABLE request (
        seq         INTEGER PRIMARY KEY,
        key         TEXT NOT NULL UNIQUE,
        fingerprint BLOB NOT NULL,
        ids         TEXT NOT NULL,
        created     INTEGER NOT NULL
    ) STRICT;
    PRAGMA user_version = 2;
";

/// A write as large as a few events, to see whether there is room for them. Made when it is first
/// needed.
const PROBE: &str = "
    CREATE TABLE IF NOT EXISTS probe (key INTEGER PRIMARY KEY, data BLOB) STRICT;
    REPLACE INTO probe VALUES (1, randomblob(32768));
";

/// Keeps events in a file, in write-ahead-log mode.
///
/// An append is one transaction with `synchronous=FULL`: when it returns, the events survive a
/// crash of the process, of the system, and a power cut. Readers never wait for the writer.
#[derive(Debug)]
pub struct SqliteStorage {
    writer: Writer,
    readers: SqlitePool,
}

impl SqliteStorage {
    /// Opens the file, creating it and its tables if they are missing.
    ///
    /// # Errors
    ///
    /// If the file cannot be opened or written, is no SQLite file, or was made by a later version.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, ServiceError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT)
            .disable_statement_logging();
        // Made now, if at all: a file that is moved away later is an error, not the beginning of
        // another.
        options.connect().await.map_err(failed("open"))?.close().await.map_err(failed("open"))?;
        let options = options.create_if_missing(false);
        let writer = Writer::new(options.clone());
        prepare(writer.begin().await.map_err(failed("write to the file"))?).await?;
        let readers = SqlitePoolOptions::new().max_connections(4).connect_lazy_with(options);
        Ok(Self { writer, readers })
    }
}

async fn prepare(mut writing: Writing<'_>) -> Result<(), ServiceError> {
    let version: i64 = sqlx::query_scalar("PRAGMA user_version")
        .fetch_one(&mut writing.connection)
        .await
        .map_err(failed("read the schema version"))?;
    let scripts = match version {
        SCHEMA_VERSION => &[][..],
        1 => &[UPGRADE],
        0 => &[SCHEMA, UPGRADE],
        later => {
            let text = format!("the file has schema version {later}, made by a later sse-server");
            return Err(ServiceError::new("open", text));
        }
    };
    for script in scripts {
        sqlx::raw_sql(*script)
            .execute(&mut writing.connection)
            .await
            .map_err(failed("create the tables"))?;
    }
    writing.commit().await.map_err(failed("create the tables"))
}

/// Appends, in a transaction that has the write lock.
async fn append(
    connection: &mut SqliteConnection,
    events: &[NewEvent],
) -> Result<Vec<u64>, ServiceError> {
    let failed = failed("append");
    let mut counts: HashMap<&str, i64> = HashMap::new();
    for event in events {
        *counts.entry(&event.channel).or_default() += 1;
    }
    // For each channel its key, and the id that its next event gets.
    let mut channels: HashMap<&str, (i64, i64)> = HashMap::new();
    for (name, count) in counts {
        let row = sqlx::query(
            "INSERT INTO channel (name, head) VALUES (?1, ?2)
             ON CONFLICT (name) DO UPDATE SET head = head + ?2
             RETURNING key, head - ?2 + 1",
        )
        .bind(name)
        .bind(count)
        .fetch_one(&mut *connection)
        .await
        .map_err(failed)?;
        channels.insert(name, (row.get(0), row.get(1)));
    }

    let now = milliseconds(SystemTime::now());
    let mut ids = Vec::with_capacity(events.len());
    for event in events {
        let (key, next) = channels.get_mut(&*event.channel).expect("counted above");
        let skip_users = (!event.skip_users.is_empty()).then(|| json(&event.skip_users));
        sqlx::query(
            "INSERT INTO event (channel, id, type, data, created, skip_users)
             VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(*key)
        .bind(*next)
        .bind(&event.event_type)
        .bind(&event.data)
        .bind(now)
        .bind(skip_users)
        .execute(&mut *connection)
        .await
        .map_err(failed)?;
        ids.push(next.unsigned_abs());
        *next += 1;
    }
    Ok(ids)
}

/// Appends a batch, unless its key is known, in a transaction that has the write lock.
async fn append_once(
    connection: &mut SqliteConnection,
    batch: &Batch<'_>,
) -> Result<Outcome, ServiceError> {
    let failed = failed("append");
    let Some(key) = batch.key else {
        return append(connection, batch.events).await.map(Outcome::Appended);
    };
    let known = sqlx::query("SELECT fingerprint, ids FROM request WHERE key = ?")
        .bind(key.name())
        .fetch_optional(&mut *connection)
        .await
        .map_err(failed)?;
    if let Some(known) = known {
        let ids = serde_json::from_str(known.get(1))
            .map_err(|error| ServiceError::new("understand the key of a request", error))?;
        return Ok(Outcome::of_known(key, known.get(0), ids));
    }
    let ids = append(connection, batch.events).await?;
    sqlx::query("INSERT INTO request (key, fingerprint, ids, created) VALUES (?, ?, ?, ?)")
        .bind(key.name())
        .bind(&key.fingerprint()[..])
        .bind(json(&ids))
        .bind(milliseconds(SystemTime::now()))
        .execute(&mut *connection)
        .await
        .map_err(failed)?;
    Ok(Outcome::Appended(ids))
}

#[async_trait]
impl Storage for SqliteStorage {
    async fn append(&self, events: &[NewEvent]) -> Result<Vec<u64>, ServiceError> {
        let failed = failed("append");
        let mut writing = self.writer.begin().await.map_err(failed)?;
        let ids = append(&mut writing.connection, events).await?;
        writing.commit().await.map_err(failed)?;
        Ok(ids)
    }

    async fn append_once(&self, batches: &[Batch<'_>]) -> Result<Vec<Outcome>, ServiceError> {
        let failed = failed("append");
        let mut writing = self.writer.begin().await.map_err(failed)?;
        let mut outcomes = Vec::with_capacity(batches.len());
        for batch in batches {
            outcomes.push(append_once(&mut writing.connection, batch).await?);
        }
        writing.commit().await.map_err(failed)?;
        Ok(outcomes)
    }

    async fn head(&self, channel: &str) -> Result<u64, ServiceError> {
        let head: Option<i64> = sqlx::query_scalar("SELECT head FROM channel WHERE name = ?")
            .bind(channel)
            .fetch_optional(&self.readers)
            .await
            .map_err(failed("read a channel's head"))?;
        Ok(head.unwrap_or(0).unsigned_abs())
    }

    async fn read(
        &self,
        channel: &str,
        after: u64,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, ServiceError> {
        let rows = sqlx::query(
            "SELECT id, type, data, skip_users FROM event
             WHERE channel = (SELECT key FROM channel WHERE name = ?) AND id > ?
             ORDER BY id LIMIT ?",
        )
        .bind(channel)
        .bind(i64::try_from(after).unwrap_or(i64::MAX))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.readers)
        .await
        .map_err(failed("read events"))?;
        let event = |row: &SqliteRow| {
            let event = StoredEvent::new(
                row.get::<i64, _>(0).unsigned_abs(),
                row.get::<&str, _>(1),
                row.get::<&str, _>(2),
            );
            let skip_users: Option<&str> = row.get(3);
            event.skip_users(users_of(skip_users))
        };
        Ok(rows.iter().map(event).collect())
    }

    async fn trim(&self, before: SystemTime, limit: usize) -> Result<usize, ServiceError> {
        let failed = failed("trim");
        let mut writing = self.writer.begin().await.map_err(failed)?;
        let times = (milliseconds(before), milliseconds(SystemTime::now()));
        let mut trimmed = 0;
        for table in ["event", "request"] {
            let left = i64::try_from(limit - trimmed).unwrap_or(i64::MAX);
            let gone = trim::trim(&mut writing.connection, table, times, left);
            trimmed += usize::try_from(gone.await.map_err(failed)?).unwrap_or(usize::MAX);
        }
        writing.commit().await.map_err(failed)?;
        Ok(trimmed)
    }

    async fn shorten(&self, keep: u64, limit: usize) -> Result<usize, ServiceError> {
        let failed = failed("trim");
        let mut writing = self.writer.begin().await.map_err(failed)?;
        // CROSS JOIN fixes the order: for each channel, a look at the beginning of an index.
        let done = sqlx::query(
            "DELETE FROM event WHERE seq IN (
                 SELECT event.seq FROM channel CROSS JOIN event
                 WHERE event.channel = channel.key AND event.id <= channel.head - ?1
                 LIMIT ?2)",
        )
        .bind(i64::try_from(keep).unwrap_or(i64::MAX))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .execute(&mut writing.connection)
        .await
        .map_err(failed)?;
        writing.commit().await.map_err(failed)?;
        Ok(usize::try_from(done.rows_affected()).unwrap_or(usize::MAX))
    }

    async fn check_writing(&self) -> Result<(), ServiceError> {
        let failed = failed("write to the file");
        let mut writing = self.writer.begin().await.map_err(failed)?;
        sqlx::raw_sql(PROBE).execute(&mut writing.connection).await.map_err(failed)?;
        writing.commit().await.map_err(failed)
    }

    async fn close(&self) {
        self.readers.close().await;
        // The last connection to close moves the write-ahead log into the file and removes it.
        self.writer.close().await;
    }
}

fn failed(operation: &'static str) -> impl Fn(sqlx::Error) -> ServiceError + Copy {
    move |error| ServiceError::new(operation, error)
}

fn milliseconds(time: SystemTime) -> i64 {
    let since_1970 = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX)
}
