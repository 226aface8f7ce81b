//! Reading on from an event.

use std::ops::ControlFlow;

use rusqlite::{Connection, Error, OptionalExtension, params};

use super::block::{Content, Events};
use crate::storage::EventRef;

/// Shows the events of a channel after this one, in order, until there are no more or it is enough.
pub(super) fn visit(
    connection: &Connection,
    channel: &str,
    after: i64,
    mut visitor: impl FnMut(EventRef<'_>) -> ControlFlow<()>,
) -> Result<(), Error> {
    let mut key = connection.prepare_cached("SELECT key FROM channel WHERE name = ?")?;
    let key: Option<i64> = key.query_row([channel], |row| row.get(0)).optional()?;
    let Some(key) = key else { return Ok(()) };
    // From the block on that has the event after this one, if there is one.
    let mut blocks = connection.prepare_cached(
        "SELECT first, count, events FROM block
         WHERE channel = ?1 AND first >= ifnull(
             (SELECT max(first) FROM block WHERE channel = ?1 AND first <= ?2), 0)
         ORDER BY first",
    )?;
    let mut blocks = blocks.query(params![key, after.saturating_add(1)])?;
    while let Some(block) = blocks.next()? {
        let (first, count): (i64, i64) = (block.get(0)?, block.get(1)?);
        let passed = after.saturating_sub(first - 1).clamp(0, count);
        if passed == count {
            continue;
        }
        let mut events = Events::parse(block.get_ref(2)?.as_blob()?)?;
        events.skip(usize::try_from(passed).expect("not negative"))?;
        for id in first + passed..first + count {
            let Content { event_type, data, users } = events.next()?;
            let event = EventRef { id: id.unsigned_abs(), event_type, data, skip_users: &users };
            if visitor(event).is_break() {
                return Ok(());
            }
        }
    }
    Ok(())
}
