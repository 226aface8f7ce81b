//! Removing what is too old, along the order in which it was inserted, without an index on time.
//!
//! A row is at least as old as each that comes after it, whatever the clock has said in between. So
//! rows from when it was ahead, which seem young, go with the next ones; they keep nothing.

use rusqlite::{Connection, Error, params};

/// Removes at most `limit` rows of a table that were made before this time, the first ones, and
/// returns how many.
pub(super) fn trim(
    connection: &Connection,
    table: &str,
    (before, now): (i64, i64),
    limit: i64,
) -> Result<usize, Error> {
    // After the last row none can come that shows how old it is. If it is from the future, it is
    // made now.
    let last = format!(
        "UPDATE {table} SET created = ?1
         WHERE seq = (SELECT max(seq) FROM {table}) AND created > ?1"
    );
    connection.execute(&last, [now])?;
    let Some(last) = last_expired(connection, table, before, limit)? else { return Ok(0) };
    let delete = format!(
        "DELETE FROM {table}
         WHERE seq IN (SELECT seq FROM {table} WHERE seq <= ? ORDER BY seq LIMIT ?)"
    );
    connection.execute(&delete, params![last, limit])
}

/// A row that is too old, as all before it are then: the last such among the first `limit` rows, or
/// one further on. Further on only a few rows are looked at, at ever longer distances, and the last
/// one.
fn last_expired(
    connection: &Connection,
    table: &str,
    before: i64,
    limit: i64,
) -> Result<Option<i64>, Error> {
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
