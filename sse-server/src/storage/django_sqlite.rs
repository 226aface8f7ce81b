//! Events in a SQLite file that is a Django site's database: in the tables of django-eventstream's
//! `DjangoModelStorage`.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use rusqlite::{Connection, Error, ErrorCode, OpenFlags, OptionalExtension, params};

use super::requests::{json, users_of};
use super::{Batch, NewEvent, Outcome, RequestKey, Storage, StoredEvent};
use crate::ServiceError;

/// How long to wait for Django, which locks the file for each of its transactions.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// How long SQLite itself waits to write. It would look ever more rarely, and a site that writes
/// all the time leaves moments only.
const LOOK: Duration = Duration::from_millis(1);

/// The longest pause before the next look; and how long the lock is left to others that have just
/// had it.
const PAUSE: Duration = Duration::from_millis(10);

/// What a channel and an event type may have, in characters. SQLite would take more; Django's forms
/// would not.
const MAX_NAME: usize = 255;

/// What is ours beside Django's tables. The column is one that Django does not know, and leaves
/// empty.
const OURS: &str = "
    CREATE TABLE IF NOT EXISTS sse_server_request (
        key         TEXT PRIMARY KEY,
        fingerprint BLOB NOT NULL,
        ids         TEXT NOT NULL,
        created     TEXT NOT NULL
    );
";

/// Now, as Django writes times.
const NOW: &str = "strftime('%Y-%m-%d %H:%M:%f', 'now')";

/// Keeps events in the tables of a Django site's SQLite database.
///
/// Both may append and read at the same time: an append is one transaction, and takes its ids from
/// Django's counters. As durable as the file's settings make it. Django's transactions lock the
/// whole file, and so do ours, for a moment; a site that has much to write is better off with
/// PostgreSQL.
#[derive(Debug)]
pub struct DjangoSqliteStorage {
    /// In turn: SQLite has one writer at a time.
    writer: Arc<Mutex<Writer>>,
    reader: Arc<Mutex<Connection>>,
}

#[derive(Debug)]
struct Writer {
    connection: Connection,
    /// Somebody else had the lock when it was wanted last.
    is_contended: bool,
}

impl Writer {
    /// Does this in one transaction that has the write lock.
    fn write<T>(
        &mut self,
        operation: &'static str,
        work: impl FnOnce(&Connection) -> Result<T, ServiceError>,
    ) -> Result<T, ServiceError> {
        let failed = |error: Error| ServiceError::new(operation, error);
        if std::mem::take(&mut self.is_contended) {
            thread::sleep(PAUSE);
        }
        self.run("BEGIN IMMEDIATE").map_err(failed)?;
        let done = work(&self.connection).and_then(|done| {
            // Readers may have to end before it.
            self.run("COMMIT").map_err(failed).map(|()| done)
        });
        if done.is_err() {
            // If it cannot be rolled back, it has been already.
            self.connection.execute_batch("ROLLBACK").ok();
        }
        done
    }

    /// Tries again while somebody else has the lock.
    fn run(&mut self, statement: &str) -> Result<(), Error> {
        let start = Instant::now();
        loop {
            let done = self.connection.execute_batch(statement);
            let Err(error) = &done else { return Ok(()) };
            let is_busy = error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy);
            if !is_busy || start.elapsed() >= BUSY_TIMEOUT {
                return done;
            }
            self.is_contended = true;
            // Those who wait look at ever different times, so that each is lucky soon.
            thread::sleep(PAUSE.mul_f64(fastrand::f64()));
        }
    }
}

impl DjangoSqliteStorage {
    /// Whether a file has the tables. A file that is not there has none.
    pub fn is_one(path: impl AsRef<Path>) -> bool {
        let Ok(connection) = connect(path.as_ref(), true) else { return false };
        let name = "SELECT 1 FROM sqlite_master WHERE name = 'django_eventstream_event'";
        connection.query_row(name, [], |_| Ok(())).is_ok()
    }

    /// Opens a file that has the tables, which Django's `migrate` makes. Must be called in a Tokio
    /// runtime, as everything else.
    ///
    /// # Errors
    ///
    /// If it cannot be opened or written, or has no such tables.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, ServiceError> {
        let path = path.as_ref().to_owned();
        let opened = tokio::task::spawn_blocking(move || {
            let writer = connect(&path, false)?;
            let column = "SELECT 1 FROM pragma_table_info('django_eventstream_event')
                          WHERE name = 'sse_skip_users'";
            if writer.query_row(column, [], |_| Ok(())).optional()?.is_none() {
                writer.execute_batch(
                    "ALTER TABLE django_eventstream_event ADD COLUMN sse_skip_users text",
                )?;
            }
            writer.execute_batch(OURS)?;
            writer.busy_timeout(LOOK)?;
            let writer = Writer { connection: writer, is_contended: false };
            let (writer, reader) = (Mutex::new(writer), Mutex::new(connect(&path, true)?));
            Ok::<_, Error>(Self { writer: Arc::new(writer), reader: Arc::new(reader) })
        });
        let opened = opened.await.map_err(|error| ServiceError::new("open", error))?;
        opened.map_err(|error| ServiceError::new("open", error))
    }

    /// Does this in one transaction that has the write lock.
    async fn write<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Connection) -> Result<T, ServiceError> + Send + 'static,
    ) -> Result<T, ServiceError> {
        let writer = self.writer.clone();
        let done = tokio::task::spawn_blocking(move || {
            writer.lock().unwrap_or_else(PoisonError::into_inner).write(operation, work)
        });
        done.await.map_err(|error| ServiceError::new(operation, error))?
    }

    async fn read<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, ServiceError> {
        let reader = self.reader.clone();
        let done = tokio::task::spawn_blocking(move || {
            work(&reader.lock().unwrap_or_else(PoisonError::into_inner))
        });
        let done = done.await.map_err(|error| ServiceError::new(operation, error))?;
        done.map_err(|error| ServiceError::new(operation, error))
    }
}

fn connect(path: &Path, only_reads: bool) -> Result<Connection, Error> {
    let mode = if only_reads {
        OpenFlags::SQLITE_OPEN_READ_ONLY
    } else {
        OpenFlags::SQLITE_OPEN_READ_WRITE
    };
    let connection = Connection::open_with_flags(path, mode | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

/// Appends, in a transaction that has the write lock, and returns the ids.
fn append(connection: &Connection, events: &[NewEvent]) -> Result<Vec<u64>, Error> {
    let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
    for event in events {
        *counts.entry(&event.channel).or_default() += 1;
    }
    let mut count_up = connection.prepare_cached(&format!(
        "INSERT INTO django_eventstream_eventcounter (name, value, updated)
         VALUES (?1, ?2, {NOW})
         ON CONFLICT (name) DO UPDATE SET value = value + ?2, updated = excluded.updated
         RETURNING value - ?2"
    ))?;
    let mut insert = connection.prepare_cached(&format!(
        "INSERT INTO django_eventstream_event (channel, type, data, eid, created, sse_skip_users)
         VALUES (?, ?, ?, ?, {NOW}, ?)"
    ))?;
    let mut heads: HashMap<&str, i64> = HashMap::with_capacity(counts.len());
    for (name, count) in counts {
        let head: i64 = count_up.query_row(params![name, count], |row| row.get(0))?;
        if head == 0 {
            // What django-eventstream finds a reader from the beginning by.
            connection.execute(
                &format!(
                    "INSERT OR IGNORE INTO django_eventstream_event
                         (channel, type, data, eid, created) VALUES (?, '', '', 0, {NOW})"
                ),
                [name],
            )?;
        }
        heads.insert(name, head);
    }
    let mut ids = Vec::with_capacity(events.len());
    for event in events {
        let head = heads.get_mut(&*event.channel).expect("counted above");
        *head += 1;
        let skip = (!event.skip_users.is_empty()).then(|| json(&event.skip_users));
        insert.execute(params![
            &*event.channel,
            event.event_type,
            encode(&event.data),
            *head,
            skip
        ])?;
        ids.push(head.unsigned_abs());
    }
    Ok(ids)
}

/// Appends a batch, unless its key is known.
fn append_once(
    connection: &Connection,
    events: &[NewEvent],
    key: Option<&RequestKey>,
) -> Result<Outcome, ServiceError> {
    let failed = |error| ServiceError::new("append", error);
    let Some(key) = key else {
        return append(connection, events).map(Outcome::Appended).map_err(failed);
    };
    let known = connection
        .query_row(
            "SELECT fingerprint, ids FROM sse_server_request WHERE key = ?",
            [key.name()],
            |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, String>(1)?)),
        )
        .optional()
        .map_err(failed)?;
    if let Some((fingerprint, ids)) = known {
        let ids = serde_json::from_str(&ids)
            .map_err(|error| ServiceError::new("understand the key of a request", error))?;
        return Ok(Outcome::of_known(key, &fingerprint, ids));
    }
    let ids = append(connection, events).map_err(failed)?;
    let insert = format!("INSERT INTO sse_server_request VALUES (?, ?, ?, {NOW})");
    let row = params![key.name(), &key.fingerprint()[..], json(&ids)];
    connection.execute(&insert, row).map_err(failed)?;
    Ok(Outcome::Appended(ids))
}

/// The column holds JSON: a string with the data in it, whatever they are themselves.
fn encode(data: &str) -> String {
    serde_json::to_string(data).expect("a string is JSON")
}

/// Before 4.4.1, django-eventstream wrote the data themselves.
fn decode(column: String) -> String {
    serde_json::from_str(&column).unwrap_or(column)
}

#[async_trait]
impl Storage for DjangoSqliteStorage {
    async fn append(&self, events: &[NewEvent]) -> Result<Vec<u64>, ServiceError> {
        let events = events.to_vec();
        let append = move |connection: &Connection| {
            append(connection, &events).map_err(|error| ServiceError::new("append", error))
        };
        self.write("append", append).await
    }

    async fn append_once(&self, batches: &[Batch<'_>]) -> Result<Vec<Outcome>, ServiceError> {
        let owned = |batch: &Batch<'_>| (batch.events.to_vec(), batch.key.cloned());
        let batches: Vec<_> = batches.iter().map(owned).collect();
        let append = move |connection: &Connection| {
            let batches = batches.iter();
            batches.map(|(events, key)| append_once(connection, events, key.as_ref())).collect()
        };
        self.write("append", append).await
    }

    async fn head(&self, channel: &str) -> Result<u64, ServiceError> {
        Ok(self.heads(&[channel]).await?[0])
    }

    async fn heads(&self, channels: &[&str]) -> Result<Vec<u64>, ServiceError> {
        let channels: Vec<String> = channels.iter().map(|&name| name.to_owned()).collect();
        let ask = move |connection: &Connection| {
            let mut head = connection.prepare_cached(
                "SELECT value FROM django_eventstream_eventcounter WHERE name = ?",
            )?;
            let mut head = |name: &String| {
                let found: Option<i64> = head.query_row([name], |row| row.get(0)).optional()?;
                Ok(found.unwrap_or(0).unsigned_abs())
            };
            channels.iter().map(&mut head).collect()
        };
        self.read("read where channels end", ask).await
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
                "SELECT eid, type, data, sse_skip_users FROM django_eventstream_event
                 WHERE channel = ? AND eid > ? ORDER BY eid LIMIT ?",
            )?;
            let events = events.query_map(params![channel, after, limit], |row| {
                let id = row.get::<_, i64>(0)?.unsigned_abs();
                let skip_users: Option<String> = row.get(3)?;
                Ok(StoredEvent::new(id, row.get::<_, String>(1)?, decode(row.get(2)?))
                    .skip_users(users_of(skip_users.as_deref())))
            })?;
            events.collect()
        };
        Self::read(self, "read events", ask).await
    }

    async fn trim(&self, before: SystemTime, limit: usize) -> Result<usize, ServiceError> {
        let trim = move |connection: &Connection| {
            let failed = |error| ServiceError::new("trim", error);
            let before = before.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
            let mut trimmed = 0;
            for (table, which) in [
                // A placeholder must go with the events after it, or django-eventstream would take
                // the first one that is left for the channel's first.
                ("django_eventstream_event", "AND eid > 0"),
                ("sse_server_request", ""),
            ] {
                let delete = format!(
                    "DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM {table}
                     WHERE created < strftime('%Y-%m-%d %H:%M:%f', ?, 'unixepoch') {which}
                     ORDER BY created, rowid LIMIT ?)"
                );
                let left = i64::try_from(limit - trimmed).unwrap_or(i64::MAX);
                trimmed += connection.execute(&delete, params![before, left]).map_err(failed)?;
            }
            Ok(trimmed)
        };
        self.write("trim", trim).await
    }

    async fn shorten(&self, keep: u64, limit: usize) -> Result<usize, ServiceError> {
        let keep = i64::try_from(keep).unwrap_or(i64::MAX);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let shorten = move |connection: &Connection| {
            let delete = "DELETE FROM django_eventstream_event WHERE id IN (
                 SELECT event.id FROM django_eventstream_eventcounter AS counter
                 CROSS JOIN django_eventstream_event AS event
                 WHERE event.channel = counter.name AND event.eid > 0
                     AND event.eid <= counter.value - ?1
                 LIMIT ?2)";
            connection
                .execute(delete, params![keep, limit])
                .map_err(|error| ServiceError::new("trim", error))
        };
        self.write("trim", shorten).await
    }

    fn refuse(&self, event: &NewEvent) -> Option<String> {
        let names = [("channel", &*event.channel), ("event type", &*event.event_type)];
        let long = names.into_iter().find(|(_, text)| text.chars().count() > MAX_NAME);
        long.map(|(what, _)| format!("the {what} is longer than {MAX_NAME} characters"))
    }

    async fn check_writing(&self) -> Result<(), ServiceError> {
        let operation = "write to the file";
        let probe = move |connection: &Connection| {
            let write = "REPLACE INTO sse_server_request VALUES ('', '', '[]', '1970-01-01')";
            connection.execute_batch(write).map_err(|error| ServiceError::new(operation, error))
        };
        self.write(operation, probe).await
    }
}
