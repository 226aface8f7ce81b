//! The one connection that writes to the file, in turn with other processes.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::error::DatabaseError;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tokio::sync;
use tokio::time::{Instant, sleep};

/// How long to wait for another process that has locked the file and does nothing, before giving
/// up.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait at most for others that take turns: on a busy disk each may take seconds.
const TURN_TIMEOUT: Duration = Duration::from_mins(1);

/// How long SQLite itself waits for the write lock. It would look ever more rarely, ten times a
/// second in the end, and who appends all the time leaves moments only.
const LOOK: &str = "PRAGMA busy_timeout = 1";

/// The longest pause before it is looked again; and how long a process that knows of others leaves
/// the lock to them, so that they find it free.
const PAUSE: Duration = Duration::from_millis(10);

/// How long others that had the lock are reckoned with.
const CONTENDED: Duration = Duration::from_secs(1);

/// What writes. SQLite has one writer at a time, and waiting here is fair.
#[derive(Debug)]
pub(super) struct Writer {
    options: SqliteConnectOptions,
    /// None until it is needed, and after a transaction that was not committed.
    connection: sync::Mutex<Option<SqliteConnection>>,
    /// When another process was last seen to have the lock.
    seen: Mutex<Option<Instant>>,
}

/// A transaction that has the write lock.
///
/// It has taken the connection out of the [`Writer`], and [`commit`](Self::commit) gives it back.
/// In every other case, an error or a task that is cut short, the connection is closed, which rolls
/// back: SQLite may have done so already (a disk that is full, an error of the disk), and its state
/// need not be known.
pub(super) struct Writing<'a> {
    slot: sync::MutexGuard<'a, Option<SqliteConnection>>,
    pub(super) connection: SqliteConnection,
}

impl Writer {
    /// Writes to a file with these options.
    pub(super) fn new(options: SqliteConnectOptions) -> Self {
        Self { options, connection: sync::Mutex::default(), seen: Mutex::default() }
    }

    /// Begins with the write lock: if it cannot be had, nothing has been done.
    pub(super) async fn begin(&self) -> Result<Writing<'_>, sqlx::Error> {
        let mut slot = self.connection.lock().await;
        let mut connection = match slot.take() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let start = Instant::now();
        // Since when nothing has happened, as far as can be seen.
        let (mut since, mut version) = (start, None);
        if self.seen().is_some_and(|seen| seen.elapsed() < CONTENDED) {
            sleep(PAUSE).await;
        }
        loop {
            match sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await {
                Ok(_) => return Ok(Writing { slot, connection }),
                Err(error) if is_busy(&error) => {
                    if since.elapsed() >= BUSY_TIMEOUT || start.elapsed() >= TURN_TIMEOUT {
                        *slot = Some(connection);
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
            *self.seen() = Some(Instant::now());
            let now = data_version(&mut connection).await;
            if now.is_some() && now != version {
                (since, version) = (Instant::now(), now);
            }
            // Those who wait look at ever different times, so that each is lucky soon.
            sleep(PAUSE.mul_f64(fastrand::f64())).await;
        }
    }

    async fn connect(&self) -> Result<SqliteConnection, sqlx::Error> {
        let mut connection = self.options.connect().await?;
        // Not before it has been made: that takes locks of its own.
        sqlx::query(LOOK).execute(&mut connection).await?;
        Ok(connection)
    }

    pub(super) async fn close(&self) {
        if let Some(connection) = self.connection.lock().await.take() {
            // Whatever could not be done now is done when the file is opened.
            connection.close().await.ok();
        }
    }

    fn seen(&self) -> MutexGuard<'_, Option<Instant>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writing<'_> {
    pub(super) async fn commit(mut self) -> Result<(), sqlx::Error> {
        sqlx::query("COMMIT").execute(&mut self.connection).await?;
        *self.slot = Some(self.connection);
        Ok(())
    }
}

/// Another one whenever another process has committed something, if it can be told.
async fn data_version(connection: &mut SqliteConnection) -> Option<i64> {
    sqlx::query_scalar("PRAGMA data_version").fetch_one(connection).await.ok()
}

/// Whether another process has a lock. The lowest byte of a code is the kind of error.
fn is_busy(error: &sqlx::Error) -> bool {
    const SQLITE_BUSY: u32 = 5;
    let code = error.as_database_error().and_then(DatabaseError::code);
    code.and_then(|code| code.parse::<u32>().ok()).is_some_and(|code| code & 0xff == SQLITE_BUSY)
}
