//! Appending, in a transaction that has the write lock.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::block::Block;
use super::{milliseconds, schema};
use crate::ServiceError;
use crate::storage::requests::json;
use crate::storage::{Batch, NewEvent, Outcome, RequestKey};

/// Events on their way into the file, of each channel in blocks.
///
/// They are put together before the transaction, so that nothing else has to wait for it.
#[derive(Debug, Default)]
pub(super) struct Appending {
    channels: Vec<Channel>,
    places: HashMap<Arc<str>, usize>,
    /// Of each event the place of its channel.
    order: Vec<usize>,
}

#[derive(Debug)]
struct Channel {
    name: Arc<str>,
    /// At least one.
    blocks: Vec<Block>,
}

impl Appending {
    /// These events, in this order.
    pub(super) fn new(events: &[NewEvent]) -> Self {
        let mut appending = Self::default();
        appending.order.reserve_exact(events.len());
        for event in events {
            let place = appending.place(&event.channel);
            appending.order.push(place);
            let channel = &mut appending.channels[place];
            if channel.last().add_new(event).is_none() {
                channel.blocks.push(Block::default());
                channel.last().add_new(event).expect("the first always has room");
            }
        }
        appending
    }

    /// Adds others that come after them.
    fn extend(&mut self, other: Self) {
        let places: Vec<usize> =
            other.channels.iter().map(|channel| self.place(&channel.name)).collect();
        self.order.extend(other.order.into_iter().map(|place| places[place]));
        for (theirs, place) in other.channels.into_iter().zip(places) {
            let channel = &mut self.channels[place];
            for block in theirs.blocks {
                if channel.last().extend(&block).is_none() {
                    channel.blocks.push(block);
                }
            }
        }
    }

    fn place(&mut self, name: &Arc<str>) -> usize {
        // In most batches all are of one channel.
        if let Some(&place) = self.order.last()
            && Arc::ptr_eq(&self.channels[place].name, name)
        {
            return place;
        }
        if let Some(&place) = self.places.get(name) {
            return place;
        }
        let place = self.channels.len();
        self.places.insert(name.clone(), place);
        self.channels.push(Channel { name: name.clone(), blocks: vec![Block::default()] });
        place
    }

    /// Appends them, and returns the ids.
    pub(super) fn append(&self, connection: &Connection) -> Result<Vec<u64>, rusqlite::Error> {
        let now = milliseconds(SystemTime::now());
        // In steps: as one statement, with RETURNING, it would be prepared to be taken back alone,
        // which costs more than all of them.
        let mut find = connection.prepare_cached(schema::HEAD)?;
        let mut make =
            connection.prepare_cached("INSERT INTO channel (name, head) VALUES (?, 0)")?;
        let mut insert = connection.prepare_cached(
            "INSERT INTO block (channel, first, count, created, events) VALUES (?, ?, ?, ?, ?)",
        )?;
        // For each channel the id that its next event gets.
        let mut next = Vec::with_capacity(self.channels.len());
        for Channel { name, blocks } in &self.channels {
            let columns = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
            let (key, head): (i64, i64) = match find.query_row([name], columns).optional()? {
                Some(known) => known,
                None => (make.insert([name])?, 0),
            };
            let mut first = head + 1;
            next.push(first.unsigned_abs());
            for block in blocks {
                let count = i64::try_from(block.count()).expect("bounded");
                insert.execute(params![key, first, count, now, block.encode()])?;
                first += count;
            }
        }
        let id = |&place: &usize| {
            let id = next[place];
            next[place] += 1;
            id
        };
        Ok(self.order.iter().map(id).collect())
    }
}

impl Channel {
    fn last(&mut self) -> &mut Block {
        self.blocks.last_mut().expect("at least one")
    }
}

/// Batches that can be sent to another thread.
pub(super) fn owned(batches: &[Batch<'_>]) -> Vec<(Appending, Option<RequestKey>)> {
    let owned = |batch: &Batch<'_>| (Appending::new(batch.events), batch.key.cloned());
    batches.iter().map(owned).collect()
}

/// Appends batches, but not those whose key is known. All that is new is appended together.
pub(super) fn append_once(
    connection: &Connection,
    batches: Vec<(Appending, Option<RequestKey>)>,
) -> Result<Vec<Outcome>, ServiceError> {
    let failed = |error| ServiceError::new("append", error);
    let mut new = Appending::default();
    // What was known of each, or how many events are its own.
    let mut found = Vec::with_capacity(batches.len());
    for (events, key) in batches {
        let known = match &key {
            Some(key) => known(connection, key)?,
            None => None,
        };
        found.push((known.ok_or(events.order.len()), key));
        if found.last().is_some_and(|(known, _)| known.is_err()) {
            new.extend(events);
        }
    }
    let mut ids = new.append(connection).map_err(failed)?.into_iter();
    let mut outcomes = Vec::with_capacity(found.len());
    for (known, key) in found {
        outcomes.push(match known {
            Ok(outcome) => outcome,
            Err(count) => {
                let ids: Vec<u64> = ids.by_ref().take(count).collect();
                if let Some(key) = &key {
                    remember(connection, key, &ids).map_err(failed)?;
                }
                Outcome::Appended(ids)
            }
        });
    }
    Ok(outcomes)
}

/// What became of a request before, if there was one with this key.
fn known(connection: &Connection, key: &RequestKey) -> Result<Option<Outcome>, ServiceError> {
    let known = connection
        .prepare_cached("SELECT fingerprint, ids FROM request WHERE key = ?")
        .and_then(|mut known| {
            let columns = |row: &Row<'_>| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, String>(1)?));
            known.query_row([key.name()], columns).optional()
        })
        .map_err(|error| ServiceError::new("append", error))?;
    let Some((fingerprint, ids)) = known else { return Ok(None) };
    let ids = serde_json::from_str(&ids)
        .map_err(|error| ServiceError::new("understand the key of a request", error))?;
    Ok(Some(Outcome::of_known(key, &fingerprint, ids)))
}

fn remember(
    connection: &Connection,
    key: &RequestKey,
    ids: &[u64],
) -> Result<usize, rusqlite::Error> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO request (key, fingerprint, ids, created) VALUES (?, ?, ?, ?)",
    )?;
    let created = milliseconds(SystemTime::now());
    insert.execute(params![key.name(), &key.fingerprint()[..], json(&ids), created])
}
