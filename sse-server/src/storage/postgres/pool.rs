//! The connections to PostgreSQL, and others when they lead to the wrong server.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::error::DatabaseError;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use tracing::warn;

use super::PATIENCE;

/// How many connections there are at most.
const CONNECTIONS: u32 = 8;

/// How long new connections are given before there are others.
const PAUSE: Duration = Duration::from_secs(1);

/// `read_only_sql_transaction`: a standby, or a primary that has been set aside. And `admin_shutdown`,
/// `crash_shutdown`, `cannot_connect_now`. Behind the same address there may be another server by now.
const WRONG_SERVER: [&str; 4] = ["25006", "57P01", "57P02", "57P03"];

/// A pool that is replaced as a whole: all its connections lead to the same server.
#[derive(Debug)]
pub(super) struct Pool {
    options: PgConnectOptions,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    pool: PgPool,
    /// When it took the place of another one.
    since: Option<Instant>,
}

impl Pool {
    /// Connects when a connection is needed.
    pub(super) fn new(options: PgConnectOptions) -> Self {
        let current = Current { pool: connect(&options), since: None };
        Self { options, current: Mutex::new(current) }
    }

    pub(super) fn get(&self) -> PgPool {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).pool.clone()
    }

    /// Takes note of an error. If it comes from the wrong server, the next request goes over new connections;
    /// whether that is so now. What is under way over the old ones may end there.
    pub(super) fn is_replaced(&self, error: &sqlx::Error) -> bool {
        let code = error.as_database_error().and_then(DatabaseError::code);
        if !code.is_some_and(|code| WRONG_SERVER.contains(&&*code)) {
            return false;
        }
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.since.is_some_and(|since| since.elapsed() < PAUSE) {
            return false;
        }
        warn!(%error, "this PostgreSQL takes no writes; will connect again");
        *current = Current { pool: connect(&self.options), since: Some(Instant::now()) };
        true
    }
}

/// How long to wait for a lock that another program has. Instances that append to one channel wait for each other
/// far shorter; a program that holds a channel for longer must not hold up the others.
const LOCK_TIMEOUT: &str = "SET lock_timeout = '500ms'";

fn connect(options: &PgConnectOptions) -> PgPool {
    PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(PATIENCE / 2)
        .after_connect(|connection, _| {
            Box::pin(async move { sqlx::raw_sql(LOCK_TIMEOUT).execute(connection).await.map(drop) })
        })
        .connect_lazy_with(options.clone())
}
