//! Appending to PostgreSQL: one statement, or a transaction if requests have keys.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use sqlx::{Connection, PgConnection, Postgres, Row, Transaction};

use super::super::requests::json;
use super::super::{Batch, NewEvent, Outcome, RequestKey};
use super::pool::Pool;
use super::{failed, in_time};
use crate::ServiceError;
use crate::services::postgres::Lent;

/// One statement, and so one round trip and one transaction.
///
/// Raising the counters locks their rows until the commit: others who append to the same channels
/// wait, so ids have no holes and become visible in their order. Everyone takes the locks in the
/// order of the names, so there is no deadlock.
///
/// The placeholder with the id 0 is what django-eventstream finds a reader from the beginning by.
const APPEND: &str = "
    WITH heads AS (
        INSERT INTO django_eventstream_eventcounter AS counter (name, value, updated)
        SELECT name, count, now() FROM unnest($1::text[], $2::bigint[]) AS new (name, count)
        ON CONFLICT (name) DO UPDATE
            SET value = counter.value + EXCLUDED.value, updated = EXCLUDED.updated
        RETURNING counter.name, counter.value
    ), placeholders AS (
        INSERT INTO django_eventstream_event (channel, type, data, eid, created)
        SELECT heads.name, '', '', 0, now()
        FROM heads JOIN unnest($1::text[], $2::bigint[]) AS new (name, count)
            ON new.name = heads.name AND new.count = heads.value
        ON CONFLICT DO NOTHING
    ), events AS (
        INSERT INTO django_eventstream_event (channel, type, data, sse_skip_users, eid, created)
        SELECT new.channel, new.type, new.data, new.skip, heads.value - new.followers, now()
        FROM unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[])
                AS new (channel, type, data, skip, followers)
            JOIN heads ON heads.name = new.channel
    )
    SELECT name, value FROM heads";

/// The same where all events are of one channel that has events: half the work for the database. It
/// does nothing to any other channel, and returns no row.
const APPEND_TO_ONE: &str = "
    WITH head AS (
        UPDATE django_eventstream_eventcounter SET value = value + $2::bigint, updated = now()
        WHERE name = $1::text AND value > 0
        RETURNING value
    ), events AS (
        INSERT INTO django_eventstream_event (channel, type, data, sse_skip_users, eid, created)
        SELECT $1, new.type, new.data, new.skip, head.value - $2 + new.place, now()
        FROM head, unnest($3::text[], $4::text[], $5::text[])
            WITH ORDINALITY AS new (type, data, skip, place)
    )
    SELECT value FROM head";

/// Takes the keys, in their order. Another transaction that has taken one and has not committed is
/// waited for.
const TAKE_KEYS: &str = "
    INSERT INTO sse_server_request (key, fingerprint, ids, created)
    SELECT key, fingerprint, '', now() FROM unnest($1::text[], $2::bytea[]) AS new (key, fingerprint)
    ORDER BY key
    ON CONFLICT DO NOTHING
    RETURNING key";

/// How often an append is tried that the database has rolled back in favour of another one.
const TRIES: usize = 5;

/// An attempt that came to nothing.
enum Failure {
    /// The database has decided that another transaction was first.
    RolledBack(ServiceError),
    /// The database takes no writes, perhaps.
    Refused(sqlx::Error),
    /// Somebody else holds a channel or a key.
    Held(ServiceError),
    Other(ServiceError),
}

/// `lock_not_available`: `lock_timeout` has passed.
const HELD: &str = "55P03";

/// Those of these channels that exist and that others have locked. The rest is locked from now on.
const LOCK_FREE: &str = "
    WITH free AS (
        SELECT name FROM django_eventstream_eventcounter
        WHERE name = ANY($1) ORDER BY name FOR NO KEY UPDATE SKIP LOCKED
    )
    SELECT name FROM django_eventstream_eventcounter
    WHERE name = ANY($1) AND name NOT IN (SELECT name FROM free)";

/// How many batches may be found held one by one, each of which takes a moment.
const HELD_ALONE: usize = 5;

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        // serialization_failure, deadlock_detected
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        match code.as_deref() {
            Some("40001" | "40P01") => Self::RolledBack(failed("append")(error)),
            Some(HELD) => Self::Held(failed("append")(error).held()),
            _ => Self::Refused(error),
        }
    }
}

pub(super) async fn append(pool: &Pool, events: &[NewEvent]) -> Result<Vec<u64>, ServiceError> {
    let events: Vec<&NewEvent> = events.iter().collect();
    let mut tries = 1;
    loop {
        // What a driver's statements keep is a lot to move about.
        let attempt = Box::pin(attempt_plain(pool, &events));
        let attempt = in_time("append", async { Ok(attempt.await) }).await?;
        if let Some(ids) = again(pool, attempt, &mut tries)? {
            return Ok(ids);
        }
    }
}

pub(super) async fn append_once(
    pool: &Pool,
    batches: &[Batch<'_>],
) -> Result<Vec<Outcome>, ServiceError> {
    let mut tries = 1;
    loop {
        let attempt = in_time("append", async { Ok(attempt(pool, batches).await) }).await?;
        if let Some(outcomes) = again(pool, attempt, &mut tries)? {
            return Ok(outcomes);
        }
    }
}

/// The result of an attempt. `None`: try again.
fn again<T>(
    pool: &Pool,
    attempt: Result<T, Failure>,
    tries: &mut usize,
) -> Result<Option<T>, ServiceError> {
    let is_last = *tries >= TRIES;
    *tries += 1;
    match attempt {
        Ok(done) => Ok(Some(done)),
        Err(Failure::RolledBack(_)) if !is_last => Ok(None),
        // A server that takes no writes has done nothing; one that is about to end may have.
        Err(Failure::Refused(error)) => {
            let may_repeat = is_read_only(&error) && !is_last;
            if pool.is_replaced(&error) && may_repeat {
                Ok(None)
            } else {
                Err(failed("append")(error))
            }
        }
        Err(Failure::RolledBack(error) | Failure::Held(error) | Failure::Other(error)) => {
            Err(error)
        }
    }
}

fn is_read_only(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| code == "25006")
}

/// Appends what is not locked. Channels that others have locked are seen beforehand; a key, or a
/// channel that is just being made, only by running into it, and then each batch is tried alone.
pub(super) async fn append_free(
    pool: &Pool,
    batches: &[Batch<'_>],
) -> Result<Vec<Option<Outcome>>, ServiceError> {
    let mut tries = 1;
    loop {
        let attempt = in_time("append", async { Ok(attempt_free(pool, batches).await) }).await?;
        match again(pool, attempt, &mut tries) {
            Ok(Some(outcomes)) => return Ok(outcomes),
            Ok(None) => {}
            Err(error) if error.is_held() => break,
            Err(error) => return Err(error),
        }
    }
    let mut outcomes = Vec::with_capacity(batches.len());
    let mut held: Vec<&Batch<'_>> = Vec::new();
    for batch in batches {
        let waits = held.len() >= HELD_ALONE || held.iter().any(|held| share(held, batch));
        let alone = std::slice::from_ref(batch);
        let attempt = async { Ok(attempt_free(pool, alone).await) };
        outcomes.push(match if waits { None } else { Some(in_time("append", attempt).await?) } {
            Some(Ok(mut outcome)) => outcome.pop().flatten(),
            Some(Err(Failure::Held(_) | Failure::RolledBack(_))) | None => None,
            Some(Err(Failure::Refused(error))) => return Err(failed("append")(error)),
            Some(Err(Failure::Other(error))) => return Err(error),
        });
        if outcomes.last().is_some_and(Option::is_none) {
            held.push(batch);
        }
    }
    Ok(outcomes)
}

/// Whether two batches have a key or a channel in common.
fn share(one: &Batch<'_>, other: &Batch<'_>) -> bool {
    let same_key = one.key.is_some_and(|key| other.key.is_some_and(|o| o.name() == key.name()));
    let is_in_other = |event: &NewEvent| other.events.iter().any(|o| o.channel == event.channel);
    same_key || one.events.iter().any(is_in_other)
}

async fn attempt_free(pool: &Pool, batches: &[Batch<'_>]) -> Result<Vec<Option<Outcome>>, Failure> {
    let mut transaction = pool.get().begin().await?;
    sqlx::raw_sql("SET LOCAL lock_timeout = '50ms'").execute(&mut *transaction).await?;
    let events = batches.iter().flat_map(|batch| batch.events);
    let names: BTreeSet<&str> = events.map(|event| &*event.channel).collect();
    let names: Vec<&str> = names.into_iter().collect();
    let held = sqlx::query_scalar(LOCK_FREE).bind(&names).fetch_all(&mut *transaction).await?;
    let held: HashSet<String> = held.into_iter().collect();
    let is_free =
        |batch: &&Batch<'_>| !batch.events.iter().any(|event| held.contains(&*event.channel));
    let free: Vec<Batch<'_>> = batches.iter().filter(is_free).copied().collect();
    let mut appended = append_in(&mut transaction, &free).await?.into_iter();
    transaction.commit().await?;
    Ok(batches.iter().map(|batch| if is_free(&batch) { appended.next() } else { None }).collect())
}

/// One statement.
async fn attempt_plain(pool: &Pool, events: &[&NewEvent]) -> Result<Vec<u64>, Failure> {
    let Some(mut lent) = pool.appending().try_take().await? else {
        return insert(&mut *pool.get().acquire().await?, events).await;
    };
    let ids = insert(lent.connection(), events).await;
    keep(lent, &ids);
    ids
}

/// One transaction.
async fn attempt(pool: &Pool, batches: &[Batch<'_>]) -> Result<Vec<Outcome>, Failure> {
    let Some(mut lent) = pool.appending().try_take().await? else {
        return transact(pool.get().begin().await?, batches).await;
    };
    let outcomes = match lent.connection().begin().await {
        Ok(transaction) => transact(transaction, batches).await,
        Err(error) => Err(error.into()),
    };
    keep(lent, &outcomes);
    outcomes
}

async fn transact(
    mut transaction: Transaction<'_, Postgres>,
    batches: &[Batch<'_>],
) -> Result<Vec<Outcome>, Failure> {
    let outcomes = append_in(&mut transaction, batches).await?;
    transaction.commit().await?;
    Ok(outcomes)
}

/// Uses the connection again, unless it may be the reason why this came to nothing.
fn keep<T>(lent: Lent, result: &Result<T, Failure>) {
    if matches!(result, Ok(_) | Err(Failure::RolledBack(_) | Failure::Held(_))) {
        lent.keep();
    }
}

/// The keys are locked before the counters, and each in their order.
async fn append_in(
    transaction: &mut PgConnection,
    batches: &[Batch<'_>],
) -> Result<Vec<Outcome>, Failure> {
    let keys = || batches.iter().filter_map(|batch| batch.key);
    let names: Vec<&str> = keys().map(RequestKey::name).collect();
    let fingerprints: Vec<&[u8]> = keys().map(|key| &key.fingerprint()[..]).collect();
    let taken = sqlx::query_scalar(TAKE_KEYS)
        .bind(&names)
        .bind(&fingerprints)
        .fetch_all(&mut *transaction)
        .await?;
    let taken: HashSet<String> = taken.into_iter().collect();
    // A statement of its own, which sees what was committed while the first one waited.
    let others: Vec<&str> = names.iter().copied().filter(|name| !taken.contains(*name)).collect();
    let known =
        sqlx::query("SELECT key, fingerprint, ids FROM sse_server_request WHERE key = ANY($1)")
            .bind(&others)
            .fetch_all(&mut *transaction)
            .await?;
    let known: HashMap<&str, (&[u8], &str)> =
        known.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect();

    let is_new = |batch: &Batch<'_>| batch.key.is_none_or(|key| taken.contains(key.name()));
    let new = batches.iter().filter(|batch| is_new(batch));
    let events: Vec<&NewEvent> = new.flat_map(|batch| batch.events).collect();
    let mut ids = insert(&mut *transaction, &events).await?.into_iter();
    let mut outcomes = Vec::with_capacity(batches.len());
    let mut answers = Vec::new();
    for batch in batches {
        outcomes.push(match batch.key {
            Some(key) if !is_new(batch) => {
                let Some((fingerprint, ids)) = known.get(key.name()) else {
                    // It was trimmed between the two statements.
                    let text = "the key of a request has just expired";
                    return Err(Failure::RolledBack(ServiceError::new("append", text)));
                };
                let ids = serde_json::from_str(ids).map_err(|error| {
                    let operation = "understand the key of a request";
                    Failure::Other(ServiceError::new(operation, error))
                })?;
                Outcome::of_known(key, fingerprint, ids)
            }
            _ => {
                let ids: Vec<u64> = ids.by_ref().take(batch.events.len()).collect();
                answers.extend(batch.key.map(|key| (key.name(), json(&ids))));
                Outcome::Appended(ids)
            }
        });
    }
    let (names, answers): (Vec<&str>, Vec<String>) = answers.into_iter().unzip();
    sqlx::query(
        "UPDATE sse_server_request AS request SET ids = new.ids
             FROM unnest($1::text[], $2::text[]) AS new (key, ids) WHERE request.key = new.key",
    )
    .bind(&names)
    .bind(&answers)
    .execute(&mut *transaction)
    .await?;
    Ok(outcomes)
}

async fn insert(to: &mut PgConnection, events: &[&NewEvent]) -> Result<Vec<u64>, Failure> {
    let Some(first) = events.first() else { return Ok(Vec::new()) };
    let types: Vec<&str> = events.iter().map(|event| &*event.event_type).collect();
    let data: Vec<String> = events.iter().map(|event| encode(&event.data)).collect();
    let skip = |event: &&NewEvent| (!event.skip_users.is_empty()).then(|| json(&event.skip_users));
    let skip: Vec<Option<String>> = events.iter().map(skip).collect();
    if events.iter().all(|event| event.channel == first.channel) {
        let count = i64::try_from(events.len()).expect("they are in memory");
        // It reads the answer to its end, which comes after the commit.
        let head: Option<i64> = sqlx::query_scalar(APPEND_TO_ONE)
            .bind(&*first.channel)
            .bind(count)
            .bind(&types)
            .bind(&data)
            .bind(&skip)
            .fetch_optional(&mut *to)
            .await?;
        if let Some(head) = head {
            return Ok((head - count + 1..=head).map(i64::unsigned_abs).collect());
        }
    }
    Box::pin(insert_into_any(to, events, &types, &data, &skip)).await
}

async fn insert_into_any(
    to: &mut PgConnection,
    events: &[&NewEvent],
    types: &[&str],
    data: &[String],
    skip: &[Option<String>],
) -> Result<Vec<u64>, Failure> {
    // How many events each channel gets; then, from the last event on, how many follow each.
    let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
    let mut followers = vec![0; events.len()];
    for (event, followers) in events.iter().zip(&mut followers).rev() {
        let count = counts.entry(&event.channel).or_default();
        *followers = *count;
        *count += 1;
    }
    let names: Vec<&str> = counts.keys().copied().collect();
    let counts: Vec<i64> = counts.values().copied().collect();
    let channels: Vec<&str> = events.iter().map(|event| &*event.channel).collect();
    let rows = sqlx::query(APPEND)
        .bind(&names)
        .bind(&counts)
        .bind(&channels)
        .bind(types)
        .bind(data)
        .bind(skip)
        .bind(&followers)
        .fetch_all(to)
        .await?;
    let heads: BTreeMap<&str, i64> =
        rows.iter().map(|row| (row.get::<&str, _>(0), row.get(1))).collect();
    let id = |(event, followers): (&&NewEvent, &i64)| {
        (heads[&*event.channel] - followers).unsigned_abs()
    };
    Ok(events.iter().zip(&followers).map(id).collect())
}

/// The column holds JSON: a string with the data in it, whatever they are themselves. Escaped to
/// ASCII it would be what Python writes; what it reads is the same.
fn encode(data: &str) -> String {
    serde_json::to_string(data).expect("a string is JSON")
}
