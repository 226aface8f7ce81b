//! A connection to PostgreSQL for statements that follow each other closely.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnection, PgPool};
use sqlx::{Connection, Postgres};
use tokio::runtime::{Handle, Id};
use tokio::sync::{Mutex, OwnedMutexGuard};

/// How long after its last use a connection is taken for one that is still there.
pub(crate) const FRESH: Duration = Duration::from_millis(100);

/// How long it is kept. Then the pool decides whether it is too old.
const KEPT: Duration = Duration::from_mins(1);

/// A pool's connection that is not given back after each statement: a connection that is given back
/// is asked whether it is still there, which is a round trip, and a task, for each statement.
///
/// It is made where it is first used. A connection that lives on the runtime of the task that waits
/// for it wakes that task without the help of another thread.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pool: PgPool,
    place: Arc<Mutex<Option<Held>>>,
}

impl Kept {
    /// Takes it from this pool, and another one when it is lost.
    pub(crate) fn new(pool: PgPool) -> Self {
        Self { pool, place: Arc::default() }
    }

    /// The connection, once nobody else has it.
    pub(crate) async fn take(&self) -> Result<Lent, sqlx::Error> {
        self.lend(self.place.clone().lock_owned().await).await
    }

    /// The connection. None: somebody else has it.
    pub(crate) async fn try_take(&self) -> Result<Option<Lent>, sqlx::Error> {
        match self.place.clone().try_lock_owned() {
            Ok(place) => self.lend(place).await.map(Some),
            Err(_) => Ok(None),
        }
    }

    async fn lend(&self, mut place: OwnedMutexGuard<Option<Held>>) -> Result<Lent, sqlx::Error> {
        let here = Handle::current().id();
        if let Some(mut held) = place.take()
            && held.runtime == here
            && (held.used.elapsed() <= FRESH || held.connection().ping().await.is_ok())
        {
            return Ok(Lent { held, place });
        }
        let (connection, now) = (Some(self.pool.acquire().await?), Instant::now());
        Ok(Lent { held: Held { connection, runtime: here, since: now, used: now }, place })
    }

    /// Gives it back, and closes the pool.
    pub(crate) async fn close(&self) {
        drop(self.place.lock().await.take().map(Held::into_inner));
        self.pool.close().await;
    }
}

/// The connection, for one use.
#[derive(Debug)]
pub(crate) struct Lent {
    held: Held,
    place: OwnedMutexGuard<Option<Held>>,
}

impl Lent {
    pub(crate) fn connection(&mut self) -> &mut PgConnection {
        self.held.connection()
    }

    /// Has it used again: no statement is under way, and the last one has not shown it to be lost.
    pub(crate) fn keep(self) {
        let Self { mut held, mut place } = self;
        if held.since.elapsed() < KEPT {
            held.used = Instant::now();
            *place = Some(held);
        } else {
            drop(held.into_inner());
        }
    }
}

/// A connection that is closed when it is dropped: in the midst of a statement it would be of no
/// use to the next one.
#[derive(Debug)]
struct Held {
    connection: Option<PoolConnection<Postgres>>,
    runtime: Id,
    since: Instant,
    used: Instant,
}

impl Held {
    fn connection(&mut self) -> &mut PgConnection {
        self.connection.as_mut().expect("it is there until it is dropped")
    }

    /// The connection, which the pool gets back when it is dropped.
    fn into_inner(mut self) -> Option<PoolConnection<Postgres>> {
        self.connection.take()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.connection.take().map(PoolConnection::detach));
    }
}
