//! Appending, in a transaction that has the write lock.

use std::collections::HashMap;
use std::time::SystemTime;

use rusqlite::{Connection, OptionalExtension, params};

use super::milliseconds;
use crate::ServiceError;
use crate::storage::requests::json;
use crate::storage::{Batch, NewEvent, Outcome, RequestKey};

/// Appends, and returns the ids.
pub(super) fn append(
    connection: &Connection,
    events: &[NewEvent],
) -> Result<Vec<u64>, rusqlite::Error> {
    let mut counts: HashMap<&str, i64> = HashMap::new();
    for event in events {
        *counts.entry(&event.channel).or_default() += 1;
    }
    // For each channel its key, and the id that its next event gets.
    let mut channels: HashMap<&str, (i64, i64)> = HashMap::with_capacity(counts.len());
    let mut extend = connection.prepare_cached(
        "INSERT INTO channel (name, head) VALUES (?1, ?2)
         ON CONFLICT (name) DO UPDATE SET head = head + ?2
         RETURNING key, head - ?2 + 1",
    )?;
    for (name, count) in counts {
        let next = extend.query_row(params![name, count], |row| Ok((row.get(0)?, row.get(1)?)))?;
        channels.insert(name, next);
    }

    let now = milliseconds(SystemTime::now());
    let mut insert = connection.prepare_cached(
        "INSERT INTO event (channel, id, type, data, created, skip_users)
         VALUES (?, ?, ?, ?, ?, ?)",
    )?;
    let mut ids = Vec::with_capacity(events.len());
    for event in events {
        let (key, next) = channels.get_mut(&*event.channel).expect("counted above");
        let skip_users = (!event.skip_users.is_empty()).then(|| json(&event.skip_users));
        insert.execute(params![*key, *next, event.event_type, event.data, now, skip_users])?;
        ids.push(next.unsigned_abs());
        *next += 1;
    }
    Ok(ids)
}

/// Appends a batch, unless its key is known.
pub(super) fn append_once(
    connection: &Connection,
    events: &[NewEvent],
    key: Option<&RequestKey>,
) -> Result<Outcome, ServiceError> {
    let failed = |error| ServiceError::new("append", error);
    let Some(key) = key else {
        return append(connection, events).map(Outcome::Appended).map_err(failed);
    };
    let known = connection
        .prepare_cached("SELECT fingerprint, ids FROM request WHERE key = ?")
        .and_then(|mut known| {
            let columns =
                |row: &rusqlite::Row<'_>| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, String>(1)?));
            known.query_row([key.name()], columns).optional()
        })
        .map_err(failed)?;
    if let Some((fingerprint, ids)) = known {
        let ids = serde_json::from_str(&ids)
            .map_err(|error| ServiceError::new("understand the key of a request", error))?;
        return Ok(Outcome::of_known(key, &fingerprint, ids));
    }
    let ids = append(connection, events).map_err(failed)?;
    connection
        .prepare_cached("INSERT INTO request (key, fingerprint, ids, created) VALUES (?, ?, ?, ?)")
        .and_then(|mut insert| {
            let created = milliseconds(SystemTime::now());
            insert.execute(params![key.name(), &key.fingerprint()[..], json(&ids), created])
        })
        .map_err(failed)?;
    Ok(Outcome::Appended(ids))
}

/// Batches that can be sent to another thread.
pub(super) fn owned(batches: &[Batch<'_>]) -> Vec<(Vec<NewEvent>, Option<RequestKey>)> {
    batches.iter().map(|batch| (batch.events.to_vec(), batch.key.cloned())).collect()
}
