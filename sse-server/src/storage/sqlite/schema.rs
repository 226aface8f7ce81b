//! The tables, and how those of earlier versions become them.

use std::collections::HashMap;

use rusqlite::{Connection, Error, params};

use super::block::Block;
use crate::ServiceError;
use crate::storage::requests::users_of;

/// The version of the tables below, in SQLite's `user_version`.
const VERSION: i64 = 4;

/// A [block](super::block) has what one transaction has appended to one channel, or a part of it,
/// from the id `first` on. `block.seq` is the order of insertion over all channels: trimming walks
/// along it and needs no index on time.
///
/// A channel's head is the end of its last block. What is trimmed leaves its end in
/// `channel.head`, so ids are never used twice. Up to version 3 each append wrote the head there
/// too, which is one page more to write.
const CHANNEL: &str = "
    CREATE TABLE channel (
        key  INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        head INTEGER NOT NULL
    ) STRICT;
";
const BLOCK: &str = "
    CREATE TABLE block (
        seq     INTEGER PRIMARY KEY,
        channel INTEGER NOT NULL REFERENCES channel (key),
        first   INTEGER NOT NULL,
        count   INTEGER NOT NULL,
        created INTEGER NOT NULL,
        events  BLOB NOT NULL,
        UNIQUE (channel, first)
    ) STRICT;
";

/// The key of a channel and its head.
pub(super) const HEAD: &str = "
    SELECT key, max(head, ifnull((SELECT first + count - 1 FROM block
        WHERE channel = key ORDER BY first DESC LIMIT 1), 0))
    FROM channel WHERE name = ?
";

/// `ids` is JSON. `request.seq` is for trimming, too.
const REQUEST: &str = "
    CREATE TABLE request (
        seq         INTEGER PRIMARY KEY,
        key         TEXT NOT NULL UNIQUE,
        fingerprint BLOB NOT NULL,
        ids         TEXT NOT NULL,
        created     INTEGER NOT NULL
    ) STRICT;
";

/// Up to version 2 each event was a row of its own; `skip_users` is JSON, and new in version 2.
const SKIP_USERS: &str = "ALTER TABLE event ADD COLUMN skip_users TEXT;";

/// Makes the tables, or those of this version out of earlier ones.
pub(super) fn prepare(connection: &Connection) -> Result<(), ServiceError> {
    let version: i64 = connection
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(|error| ServiceError::new("read the schema version", error))?;
    let scripts = match version {
        VERSION => return Ok(()),
        3 => &[][..],
        2 => &[BLOCK],
        1 => &[SKIP_USERS, REQUEST, BLOCK],
        0 => &[CHANNEL, REQUEST, BLOCK],
        later => {
            let text = format!("the file has schema version {later}, made by a later sse-server");
            return Err(ServiceError::new("open", text));
        }
    };
    let make = || {
        connection.execute_batch(&scripts.concat())?;
        if matches!(version, 1 | 2) {
            gather(connection)?;
        }
        connection.pragma_update(None, "user_version", VERSION)
    };
    make().map_err(|error| ServiceError::new("create the tables", error))
}

/// Events that become a block.
struct Gathered {
    block: Block,
    channel: i64,
    first: i64,
}

/// Moves events from rows of their own to blocks. Only those of one millisecond come together, so
/// that each goes when it is due.
fn gather(connection: &Connection) -> Result<(), Error> {
    let mut events = connection
        .prepare("SELECT channel, id, created, type, data, skip_users FROM event ORDER BY seq")?;
    let mut rows = events.query([])?;
    let mut made = None;
    let mut gathered: Vec<Gathered> = Vec::new();
    // For each channel the last block of it.
    let mut lasts: HashMap<i64, usize> = HashMap::new();
    while let Some(row) = rows.next()? {
        let (channel, id, created): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let text = |column| row.get_ref(column)?.as_str().map_err(Error::from);
        let (event_type, data) = (text(3)?, text(4)?);
        let users = users_of(row.get::<_, Option<String>>(5)?.as_deref());
        if made != Some(created) {
            insert(connection, &mut gathered, made.unwrap_or_default())?;
            lasts.clear();
            made = Some(created);
        }
        let users = || users.iter().map(|user| &**user);
        let last = lasts.get(&channel).and_then(|&last| gathered.get_mut(last));
        let is_added = last.is_some_and(|Gathered { block, first, .. }| {
            let is_next = i64::try_from(block.count()).is_ok_and(|count| *first + count == id);
            is_next && block.add(event_type, data, users()).is_some()
        });
        if !is_added {
            let mut block = Block::default();
            block.add(event_type, data, users()).expect("the first always has room");
            lasts.insert(channel, gathered.len());
            gathered.push(Gathered { block, channel, first: id });
        }
    }
    insert(connection, &mut gathered, made.unwrap_or_default())?;
    drop(rows);
    events.finalize()?;
    connection.execute_batch("DROP TABLE event")
}

fn insert(
    connection: &Connection,
    gathered: &mut Vec<Gathered>,
    created: i64,
) -> Result<(), Error> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO block (channel, first, count, created, events) VALUES (?, ?, ?, ?, ?)",
    )?;
    for Gathered { block, channel, first } in gathered.drain(..) {
        let count = i64::try_from(block.count()).expect("bounded");
        insert.execute(params![channel, first, count, created, block.encode()])?;
    }
    Ok(())
}
