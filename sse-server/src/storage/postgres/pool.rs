//! The connections to PostgreSQL, and others when they lead to the wrong server.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use sqlx::error::DatabaseError;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, Connection};
use tracing::warn;

use super::PATIENCE;
use crate::identity::{self, Identity};
use crate::services::postgres::{FRESH, Kept};

/// How many connections there are at most, beside the one that appends.
const CONNECTIONS: u32 = 7;

/// How long new connections are given before there are others.
const PAUSE: Duration = Duration::from_secs(1);

/// `read_only_sql_transaction`: a standby, or a primary that has been set aside. And
/// `admin_shutdown`, `crash_shutdown`, `cannot_connect_now`. Behind the same address there may be
/// another server by now.
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
    /// What is appended goes over one connection as long as one is enough.
    appending: Kept,
    leads_to: Arc<LeadsTo>,
    /// When it took the place of another one.
    since: Option<Instant>,
    /// The connections of that one led to several servers.
    was_mixed: bool,
}

impl Pool {
    /// Connects when a connection is needed.
    pub(super) fn new(options: PgConnectOptions) -> Self {
        let current = Mutex::new(Current::new(&options, None));
        Self { options, current }
    }

    pub(super) fn get(&self) -> PgPool {
        self.settled().pool.clone()
    }

    /// The connection that appends; if somebody has it, another one is as good.
    pub(super) fn appending(&self) -> Kept {
        self.settled().appending.clone()
    }

    pub(super) async fn close(&self) {
        let (pool, appending) = {
            let current = self.current();
            (current.pool.clone(), current.appending.clone())
        };
        appending.close().await;
        pool.close().await;
    }

    /// The connections, which are others if these lead to several servers.
    fn settled(&self) -> MutexGuard<'_, Current> {
        let mut current = self.current();
        if current.leads_to.several.load(Ordering::Relaxed) {
            // Once, at a fail-over. Behind a balancer of loads it would be for each request.
            if !current.was_mixed || current.is_settled() {
                current.replace(&self.options);
                current.was_mixed = true;
            }
        }
        current
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a new connection leads to another server. If so, the next request goes over new
    /// connections.
    pub(super) async fn has_moved(&self) -> Result<bool, sqlx::Error> {
        let mut new = self.options.connect().await?;
        let there = identity::of_postgres(&mut new).await?;
        new.close().await?;
        let mut current = self.current();
        let has_moved = current.leads_to.is_elsewhere_than(&there);
        if has_moved {
            current.replace(&self.options);
        }
        Ok(has_moved)
    }

    /// Takes note of an error. If it comes from the wrong server, the next request goes over new
    /// connections; whether that is so now. What is under way over the old ones may end there.
    pub(super) fn is_replaced(&self, error: &sqlx::Error) -> bool {
        let code = error.as_database_error().and_then(DatabaseError::code);
        if !code.is_some_and(|code| WRONG_SERVER.contains(&&*code)) {
            return false;
        }
        let mut current = self.current();
        if !current.is_settled() {
            return false;
        }
        warn!(%error, "this PostgreSQL takes no writes; will connect again");
        current.replace(&self.options);
        true
    }
}

/// How long to wait for a lock that another program has. Instances that append to one channel wait
/// for each other far shorter; a program that holds a channel for longer must not hold up the
/// others.
const LOCK_TIMEOUT: &str = "SET lock_timeout = '500ms'";

/// Which server the connections of a pool lead to.
#[derive(Debug, Default)]
struct LeadsTo {
    first: OnceLock<String>,
    /// Some lead to another one than others.
    several: AtomicBool,
}

impl LeadsTo {
    /// Whether the first connection led to another server. If there is none yet, this is the first.
    fn is_elsewhere_than(&self, server: &Identity) -> bool {
        server.as_ref().is_some_and(|server| self.first.get_or_init(|| server.clone()) != server)
    }
}

impl Current {
    fn new(options: &PgConnectOptions, since: Option<Instant>) -> Self {
        let leads_to = Arc::<LeadsTo>::default();
        let pool = connections(CONNECTIONS, options, &leads_to);
        let appending = Kept::new(connections(1, options, &leads_to));
        Self { pool, appending, leads_to, since, was_mixed: false }
    }

    /// Whether new connections have had their time.
    fn is_settled(&self) -> bool {
        self.since.is_none_or(|since| since.elapsed() >= PAUSE)
    }

    fn replace(&mut self, options: &PgConnectOptions) {
        *self = Self::new(options, Some(Instant::now()));
    }
}

/// A pool of so many connections, whose server is taken note of.
fn connections(max: u32, options: &PgConnectOptions, leads_to: &Arc<LeadsTo>) -> PgPool {
    let known = leads_to.clone();
    PgPoolOptions::new()
        .max_connections(max)
        .acquire_timeout(PATIENCE / 2)
        // Asking each connection whether it is still there costs a round trip each time.
        .test_before_acquire(false)
        .before_acquire(|connection, known| {
            Box::pin(async move {
                if known.idle_for > FRESH {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .after_connect(move |connection, _| {
            let known = known.clone();
            Box::pin(async move {
                sqlx::raw_sql(LOCK_TIMEOUT).execute(&mut *connection).await?;
                if known.is_elsewhere_than(&identity::of_postgres(connection).await?) {
                    known.several.store(true, Ordering::Relaxed);
                }
                Ok(())
            })
        })
        .connect_lazy_with(options.clone())
}
