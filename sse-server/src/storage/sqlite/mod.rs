//! Events in a SQLite file.

mod append;
mod block;
mod log_file;
mod read;
mod readers;
mod schema;
mod trim;
mod writer;

use std::ops::ControlFlow;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use append::Appending;
use async_trait::async_trait;
use readers::Readers;
use rusqlite::{Connection, OpenFlags, OptionalExtension};
use writer::Writer;

use super::{Batch, NewEvent, Outcome, Storage, StoredEvent, Visitor};
use crate::ServiceError;

/// A write as large as a few events, to see whether there is room for them. Made when it is first
/// needed.
const PROBE: &str = "
    CREATE TABLE IF NOT EXISTS probe (key INTEGER PRIMARY KEY, data BLOB) STRICT;
    REPLACE INTO probe VALUES (1, randomblob(32768));
";

/// How long the write-ahead log becomes before it is moved into the file, in pages of 4 KiB. That
/// takes two syncs of the disk, for which publishers wait; a request of 10,000 events has
/// some 600 pages.
const CHECKPOINT_PAGES: i64 = 4000;

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
        let made =
            tokio::task::spawn_blocking(move || make(&path).map(|()| log_file::lay_out(&path)))
                .await;
        made.map_err(|error| ServiceError::new("open", error))?
            .map_err(|error| ServiceError::new("open", error))?;
        writer.write("write to the file", schema::prepare).await?;
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
    // A channel is never removed, and each block is made with the key of its channel at hand.
    connection.pragma_update(None, "foreign_keys", false)?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    Ok(connection)
}

#[async_trait]
impl Storage for SqliteStorage {
    async fn append(&self, events: &[NewEvent]) -> Result<Vec<u64>, ServiceError> {
        let events = Appending::new(events);
        let here = |connection: &Connection| {
            events.append(connection).map_err(|error| ServiceError::new("append", error))
        };
        if let Some(done) = self.writer.write_here("append", here) {
            return done;
        }
        let append = move |connection: &Connection| {
            events.append(connection).map_err(|error| ServiceError::new("append", error))
        };
        self.writer.write("append", append).await
    }

    async fn append_once(&self, batches: &[Batch<'_>]) -> Result<Vec<Outcome>, ServiceError> {
        let batches = append::owned(batches);
        let append = move |connection: &Connection| append::append_once(connection, batches);
        self.writer.write("append", append).await
    }

    async fn head(&self, channel: &str) -> Result<u64, ServiceError> {
        Ok(self.heads(&[channel]).await?[0])
    }

    async fn heads(&self, channels: &[&str]) -> Result<Vec<u64>, ServiceError> {
        let channels: Vec<String> = channels.iter().map(|&channel| channel.to_owned()).collect();
        let ask = move |connection: &Connection| {
            let mut head = connection.prepare_cached(schema::HEAD)?;
            let mut head = |channel: &String| {
                let found: Option<i64> = head.query_row([channel], |row| row.get(1)).optional()?;
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
        let ask = move |connection: &Connection| {
            let mut events = Vec::new();
            read::visit(connection, &channel, after, |event| {
                // Before it is made: none may be asked for.
                if events.len() < limit {
                    events.push(StoredEvent::from(event));
                }
                if events.len() < limit {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            })?;
            Ok(events)
        };
        self.readers.read("read events", ask).await
    }

    async fn visit(
        &self,
        channel: &str,
        after: u64,
        _limit: usize,
        visitor: Visitor,
    ) -> Result<(), ServiceError> {
        let channel = channel.to_owned();
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        let ask = move |connection: &Connection| read::visit(connection, &channel, after, visitor);
        self.readers.read("read events", ask).await
    }

    async fn trim(&self, before: SystemTime, limit: usize) -> Result<usize, ServiceError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let trim = move |connection: &Connection| {
            let times = (milliseconds(before), milliseconds(SystemTime::now()));
            removed(trim::trim(connection, times, limit))
        };
        self.writer.write("trim", trim).await
    }

    async fn shorten(&self, keep: u64, limit: usize) -> Result<usize, ServiceError> {
        let keep = i64::try_from(keep).unwrap_or(i64::MAX);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let shorten =
            move |connection: &Connection| removed(trim::shorten(connection, keep, limit));
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

fn removed(count: Result<i64, rusqlite::Error>) -> Result<usize, ServiceError> {
    let count = count.map_err(|error| ServiceError::new("trim", error))?;
    Ok(usize::try_from(count).unwrap_or_default())
}

fn milliseconds(time: SystemTime) -> i64 {
    let since_1970 = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX)
}
