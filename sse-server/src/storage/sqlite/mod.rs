//! Events in a SQLite file.

mod append;
mod readers;
mod trim;
mod writer;

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use readers::Readers;
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use writer::Writer;

use super::requests::users_of;
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
    readers: Readers,
}

impl SqliteStorage {
    /// Opens the file, creating it and its tables if they are missing. Must be called in a Tokio
    /// runtime, as everything else.
    ///
    /// # Errors
    ///
    /// If the file cannot be opened or written, is no SQLite file, or was made by a later version.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, ServiceError> {
        let path = path.as_ref().to_owned();
        let writer = Writer::new(path.clone())?;
        let readers = Readers::new(path.clone());
        // Made now, if at all: a file that is moved away later is an error, not the beginning of
        // another.
        let made = tokio::task::spawn_blocking(move || make(&path)).await;
        made.map_err(|error| ServiceError::new("open", error))?
            .map_err(|error| ServiceError::new("open", error))?;
        writer.write("write to the file", prepare).await?;
        Ok(Self { writer, readers })
    }
}

/// Creates the file, if it is missing, in write-ahead-log mode.
fn make(path: &Path) -> Result<(), rusqlite::Error> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(writer::BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.close().map_err(|(_, error)| error)
}

/// Another connection to the file, which must be there.
fn connect(path: &Path) -> Result<Connection, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    Ok(connection)
}

fn prepare(connection: &Connection) -> Result<(), ServiceError> {
    let version: i64 = connection
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(|error| ServiceError::new("read the schema version", error))?;
    let scripts = match version {
        SCHEMA_VERSION => &[][..],
        1 => &[UPGRADE],
        0 => &[SCHEMA, UPGRADE],
        later => {
            let text = format!("the file has schema version {later}, made by a later sse-server");
            return Err(ServiceError::new("open", text));
        }
    };
    let script = scripts.concat();
    connection.execute_batch(&script).map_err(|error| ServiceError::new("create the tables", error))
}

#[async_trait]
impl Storage for SqliteStorage {
    async fn append(&self, events: &[NewEvent]) -> Result<Vec<u64>, ServiceError> {
        let failed = |error| ServiceError::new("append", error);
        let here = |connection: &Connection| append::append(connection, events).map_err(failed);
        if let Some(done) = self.writer.write_here("append", here) {
            return done;
        }
        let events = events.to_vec();
        let append = move |connection: &Connection| {
            append::append(connection, &events).map_err(|error| ServiceError::new("append", error))
        };
        self.writer.write("append", append).await
    }

    async fn append_once(&self, batches: &[Batch<'_>]) -> Result<Vec<Outcome>, ServiceError> {
        let batches = append::owned(batches);
        let append = move |connection: &Connection| {
            let batches = batches.iter();
            batches
                .map(|(events, key)| append::append_once(connection, events, key.as_ref()))
                .collect()
        };
        self.writer.write("append", append).await
    }

    async fn head(&self, channel: &str) -> Result<u64, ServiceError> {
        Ok(self.heads(&[channel]).await?[0])
    }

    async fn heads(&self, channels: &[&str]) -> Result<Vec<u64>, ServiceError> {
        let channels: Vec<String> = channels.iter().map(|&channel| channel.to_owned()).collect();
        let ask = move |connection: &Connection| {
            let mut head = connection.prepare_cached("SELECT head FROM channel WHERE name = ?")?;
            let mut head = |channel: &String| {
                let found: Option<i64> = head.query_row([channel], |row| row.get(0)).optional()?;
                Ok(found.unwrap_or(0).unsigned_abs())
            };
            channels.iter().map(&mut head).collect()
        };
        self.readers.read("read where channels end", ask).await
    }

    async fn read(
        &self,
        channel: &str,
        after: u64,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, ServiceError> {
        let channel = channel.to_owned();
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let ask = move |connection: &Connection| {
            let mut events = connection.prepare_cached(
                "SELECT id, type, data, skip_users FROM event
                 WHERE channel = (SELECT key FROM channel WHERE name = ?) AND id > ?
                 ORDER BY id LIMIT ?",
            )?;
            let events = events.query_map(params![channel, after, limit], |row| {
                let event = StoredEvent::new(
                    row.get::<_, i64>(0)?.unsigned_abs(),
                    row.get::<_, String>(1)?,
                    row.get::<_, String>(2)?,
                );
                let skip_users: Option<String> = row.get(3)?;
                Ok(event.skip_users(users_of(skip_users.as_deref())))
            })?;
            events.collect()
        };
        self.readers.read("read events", ask).await
    }

    async fn trim(&self, before: SystemTime, limit: usize) -> Result<usize, ServiceError> {
        let trim = move |connection: &Connection| {
            let times = (milliseconds(before), milliseconds(SystemTime::now()));
            let mut trimmed = 0;
            for table in ["event", "request"] {
                let left = i64::try_from(limit - trimmed).unwrap_or(i64::MAX);
                trimmed += trim::trim(connection, table, times, left)
                    .map_err(|error| ServiceError::new("trim", error))?;
            }
            Ok(trimmed)
        };
        self.writer.write("trim", trim).await
    }

    async fn shorten(&self, keep: u64, limit: usize) -> Result<usize, ServiceError> {
        let keep = i64::try_from(keep).unwrap_or(i64::MAX);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        // CROSS JOIN fixes the order: for each channel, a look at the beginning of an index.
        let shorten = move |connection: &Connection| {
            let delete = "DELETE FROM event WHERE seq IN (
                 SELECT event.seq FROM channel CROSS JOIN event
                 WHERE event.channel = channel.key AND event.id <= channel.head - ?1
                 LIMIT ?2)";
            connection
                .execute(delete, params![keep, limit])
                .map_err(|error| ServiceError::new("trim", error))
        };
        self.writer.write("trim", shorten).await
    }

    async fn check_writing(&self) -> Result<(), ServiceError> {
        let operation = "write to the file";
        let probe = move |connection: &Connection| {
            connection.execute_batch(PROBE).map_err(|error| ServiceError::new(operation, error))
        };
        self.writer.write(operation, probe).await
    }

    async fn close(&self) {
        self.readers.close().await;
        // The last connection to close moves the write-ahead log into the file and removes it.
        self.writer.close().await;
    }
}

fn milliseconds(time: SystemTime) -> i64 {
    let since_1970 = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX)
}
