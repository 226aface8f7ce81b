//! Removing what is too old, along the order in which it was inserted, without an index on time;
//! and what is too much.
//!
//! A row is at least as old as each that comes after it, whatever the clock has said in between. So
//! rows from when it was ahead, which seem young, go with the next ones; they keep nothing.

use rusqlite::{Connection, Error, params};

use super::block::Events;

/// Removes at most `limit` events and keys of requests that were made before this time, the first
/// ones, and returns how many.
pub(super) fn trim(connection: &Connection, times: (i64, i64), limit: i64) -> Result<i64, Error> {
    let removed = match last_expired(connection, "block", times, limit)? {
        Some(last) => remove_first_blocks(connection, last, limit)?,
        None => 0,
    };
    let Some(last) = last_expired(connection, "request", times, limit - removed)? else {
        return Ok(removed);
    };
    let delete = "DELETE FROM request
         WHERE seq IN (SELECT seq FROM request WHERE seq <= ? ORDER BY seq LIMIT ?)";
    let requests = connection.execute(delete, params![last, limit - removed])?;
    Ok(removed + i64::try_from(requests).unwrap_or(i64::MAX))
}

/// Removes at most `limit` events of channels that have more than `keep`, the first ones, and
/// returns how many.
pub(super) fn shorten(connection: &Connection, keep: i64, limit: i64) -> Result<i64, Error> {
    // CROSS JOIN fixes the order: for each channel, a look at the beginning of an index.
    let mut excess = connection.prepare_cached(
        "WITH ends AS MATERIALIZED (
             SELECT key, max(head, ifnull((SELECT first + count - 1 FROM block
                 WHERE channel = key ORDER BY first DESC LIMIT 1), 0)) AS head FROM channel)
         SELECT block.seq, block.count, ends.head - ?1 - block.first + 1
         FROM ends CROSS JOIN block
         WHERE block.channel = ends.key AND block.first <= ends.head - ?1
         ORDER BY ends.key, block.first LIMIT ?2",
    )?;
    let columns = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    let excess: Vec<(i64, i64, i64)> =
        excess.query_map(params![keep, limit], columns)?.collect::<Result<_, _>>()?;
    let mut removed = 0;
    for (seq, count, excess) in excess {
        let due = count.min(excess).min(limit - removed);
        if due == count {
            remove_blocks(connection, seq, seq)?;
        } else if due > 0 {
            cut(connection, seq, due)?;
        }
        removed += due;
    }
    Ok(removed)
}

/// Removes the first blocks, up to this one, as long as they have at most `limit` events together.
/// If the first has more, it loses so many.
fn remove_first_blocks(connection: &Connection, last: i64, limit: i64) -> Result<i64, Error> {
    let mut blocks = connection
        .prepare_cached("SELECT seq, count FROM block WHERE seq <= ? ORDER BY seq LIMIT ?")?;
    let mut blocks = blocks.query(params![last, limit])?;
    let (mut removed, mut range) = (0, None);
    while let Some(block) = blocks.next()? {
        let (seq, count): (i64, i64) = (block.get(0)?, block.get(1)?);
        if removed + count > limit {
            if removed == 0 {
                drop(blocks);
                cut(connection, seq, limit)?;
                return Ok(limit);
            }
            break;
        }
        removed += count;
        range = Some((range.map_or(seq, |(first, _)| first), seq));
    }
    drop(blocks);
    if let Some((first, last)) = range {
        remove_blocks(connection, first, last)?;
    }
    Ok(removed)
}

/// Removes the blocks of these `seq`. Where their channels end is kept.
fn remove_blocks(connection: &Connection, first: i64, last: i64) -> Result<(), Error> {
    let mut keep = connection.prepare_cached(
        "UPDATE channel SET head = max(head, gone.last)
         FROM (SELECT channel, max(first + count - 1) AS last FROM block
               WHERE seq BETWEEN ? AND ? GROUP BY channel) AS gone
         WHERE channel.key = gone.channel",
    )?;
    keep.execute([first, last])?;
    let mut delete = connection.prepare_cached("DELETE FROM block WHERE seq BETWEEN ? AND ?")?;
    delete.execute([first, last]).map(drop)
}

/// Removes so many events from the beginning of a block, and not all.
fn cut(connection: &Connection, seq: i64, count: i64) -> Result<(), Error> {
    let left = connection.query_row("SELECT events FROM block WHERE seq = ?", [seq], |row| {
        let mut events = Events::parse(row.get_ref(0)?.as_blob()?)?;
        events.skip(usize::try_from(count).unwrap_or(usize::MAX))?;
        Ok(events.encode())
    })?;
    connection.execute(
        "UPDATE block SET first = first + ?2, count = count - ?2, events = ?3 WHERE seq = ?1",
        params![seq, count, left],
    )?;
    Ok(())
}

/// A row of a table that is too old, as all before it are then: the last such among the first
/// `limit` rows, or one further on. Further on only a few rows are looked at, at ever longer
/// distances, and the last one.
fn last_expired(
    connection: &Connection,
    table: &str,
    (before, now): (i64, i64),
    limit: i64,
) -> Result<Option<i64>, Error> {
    // After the last row none can come that shows how old it is. If it is from the future, it is
    // made now.
    let last = format!(
        "UPDATE {table} SET created = ?1
         WHERE seq = (SELECT max(seq) FROM {table}) AND created > ?1"
    );
    connection.execute(&last, [now])?;
    let among_first = format!(
        "SELECT max(seq) FILTER (WHERE created < ?), min(seq)
         FROM (SELECT seq, created FROM {table} ORDER BY seq LIMIT ?)"
    );
    let (found, first): (Option<i64>, Option<i64>) =
        connection.query_row(&among_first, params![before, limit], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    let Some(first) = first.filter(|_| found.is_none()) else { return Ok(found) };
    let mut further = connection.prepare(&format!(
        "SELECT seq, created FROM {table}
         WHERE seq >= min(?, (SELECT max(seq) FROM {table})) ORDER BY seq LIMIT 1"
    ))?;
    let mut distance = limit.max(1);
    let mut at = first;
    loop {
        let wanted = first.saturating_add(distance);
        let (seq, created): (i64, i64) =
            further.query_row([wanted], |row| Ok((row.get(0)?, row.get(1)?)))?;
        if created < before {
            return Ok(Some(seq));
        }
        if seq < wanted || seq == at {
            return Ok(None);
        }
        at = seq;
        distance = distance.saturating_mul(2);
    }
}
