//! The one connection that writes to the file, in turn with other processes, on a thread of its
//! own.
//!
//! A transaction is one message to the thread and one answer, however many rows it has. What waits
//! meanwhile is the [hub](crate::hub)'s next group.
//!
//! The way to the thread and back costs as much as a small transaction. So on a [thread that does
//! nothing but publish](crate::hub::PublishThread) a transaction is done [where it
//! stands](Writer::write_here), unless there is somebody to wait for.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, Error, ErrorCode};
use tokio::sync::oneshot;

use super::connect;
use crate::ServiceError;
use crate::blocking::may_block;

/// How long to wait for another process that has locked the file and does nothing, before giving
/// up.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait at most for others that take turns: on a busy disk each may take seconds.
const TURN_TIMEOUT: Duration = Duration::from_mins(1);

/// How long SQLite itself waits for the write lock. It would look ever more rarely, ten times a
/// second in the end; a process that appends all the time leaves moments only.
const LOOK: Duration = Duration::from_millis(1);

/// The longest pause before the next look; and how long a process that knows of others leaves the
/// lock to them, so that they find it free.
const PAUSE: Duration = Duration::from_millis(10);

/// How long others that had the lock are expected to come again.
const CONTENDED: Duration = Duration::from_secs(1);

/// A transaction has ended with a panic.
const FAULT: &str = "a fault of the server has ended it";

type Work = Box<dyn FnOnce(&mut File) + Send>;

/// What writes. SQLite has one writer at a time; those who wait have their turn in the order in
/// which they came.
#[derive(Debug)]
pub(super) struct Writer {
    work: mpsc::Sender<Work>,
    file: Arc<Mutex<File>>,
}

impl Writer {
    /// Writes to this file. The thread ends with the last handle.
    pub(super) fn new(path: PathBuf) -> Result<Self, ServiceError> {
        let (work, jobs) = mpsc::channel::<Work>();
        let file = File { path, connection: None, seen: None };
        let file = Arc::new(Mutex::new(file));
        let theirs = file.clone();
        thread::Builder::new()
            .name("sqlite-writer".to_owned())
            .spawn(move || {
                for job in jobs {
                    // A panic is an error of its own transaction, which is rolled back with the
                    // connection, and the end of no other.
                    catch_unwind(AssertUnwindSafe(|| job(&mut lock(&theirs)))).ok();
                }
            })
            .map_err(|error| ServiceError::new("start a thread", error))?;
        Ok(Self { work, file })
    }

    /// Does this in one transaction, on the thread of the caller. None: that may not wait for a
    /// disk, or another program has the file; nothing was done.
    pub(super) fn write_here<T>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Connection) -> Result<T, ServiceError>,
    ) -> Option<Result<T, ServiceError>> {
        if !may_block() {
            return None;
        }
        let mut file = self.file.try_lock().ok()?;
        let is_calm = file.seen.is_none_or(|seen| seen.elapsed() > CONTENDED);
        if !is_calm || execute(file.connection.as_ref()?, "BEGIN IMMEDIATE").is_err() {
            return None;
        }
        let done = catch_unwind(AssertUnwindSafe(|| file.commit(operation, work)));
        Some(done.unwrap_or_else(|_| Err(ServiceError::new(operation, FAULT))))
    }

    /// Does this in one transaction that has the write lock; nothing has been done if it cannot be
    /// had, or if there is an error. A caller that does not wait for the answer takes nothing back.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Connection) -> Result<T, ServiceError> + Send + 'static,
    ) -> Result<T, ServiceError> {
        let (answer, answered) = oneshot::channel();
        let job: Work = Box::new(move |file| {
            // The caller may be gone.
            answer.send(file.write(operation, work)).ok();
        });
        let ended = || ServiceError::new(operation, FAULT);
        self.work.send(job).map_err(|_| ended())?;
        answered.await.map_err(|_| ended())?
    }

    /// Closes the connection, once all that was asked before is done.
    pub(super) async fn close(&self) {
        let (answer, answered) = oneshot::channel();
        let job: Work = Box::new(move |file| {
            // What cannot be done now is done when the file is opened.
            file.connection.take().map(Connection::close);
            answer.send(()).ok();
        });
        if self.work.send(job).is_ok() {
            answered.await.ok();
        }
    }
}

#[derive(Debug)]
struct File {
    path: PathBuf,
    /// None until it is needed, and after a transaction that was not committed.
    connection: Option<Connection>,
    /// When another process was last seen to have the lock.
    seen: Option<Instant>,
}

fn lock(file: &Mutex<File>) -> MutexGuard<'_, File> {
    // A panic costs the connection, and leaves the rest in order.
    file.lock().unwrap_or_else(PoisonError::into_inner)
}

impl File {
    /// After an error the connection is closed, which rolls back: SQLite may have done so already
    /// (a disk that is full, an error of the disk), and its state need not be known. So it is if
    /// `work` panics.
    fn write<T>(
        &mut self,
        operation: &'static str,
        work: impl FnOnce(&Connection) -> Result<T, ServiceError>,
    ) -> Result<T, ServiceError> {
        let failed = |error| ServiceError::new(operation, error);
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect().map_err(failed)?,
        };
        if let Err(error) = self.wait_for_turn(&connection) {
            if is_busy(&error) {
                self.connection = Some(connection);
            }
            return Err(failed(error));
        }
        self.connection = Some(connection);
        self.commit(operation, work)
    }

    /// Does this in the transaction that was begun.
    fn commit<T>(
        &mut self,
        operation: &'static str,
        work: impl FnOnce(&Connection) -> Result<T, ServiceError>,
    ) -> Result<T, ServiceError> {
        let failed = |error| ServiceError::new(operation, error);
        let none = || ServiceError::new(operation, "there is no connection");
        let connection = self.connection.take().ok_or_else(none)?;
        let done = work(&connection)?;
        execute(&connection, "COMMIT").map_err(failed)?;
        self.connection = Some(connection);
        Ok(done)
    }

    fn connect(&self) -> Result<Connection, Error> {
        let connection = connect(&self.path)?;
        connection.busy_timeout(LOOK)?;
        Ok(connection)
    }

    /// Begins a transaction that has the write lock.
    fn wait_for_turn(&mut self, connection: &Connection) -> Result<(), Error> {
        let start = Instant::now();
        // Since when nothing has happened, as far as can be seen.
        let (mut since, mut version) = (start, None);
        if self.seen.is_some_and(|seen| seen.elapsed() < CONTENDED) {
            thread::sleep(PAUSE);
        }
        loop {
            match connection.execute_batch("BEGIN IMMEDIATE") {
                Err(error) if is_busy(&error) => {
                    if since.elapsed() >= BUSY_TIMEOUT || start.elapsed() >= TURN_TIMEOUT {
                        return Err(error);
                    }
                }
                result => return result,
            }
            self.seen = Some(Instant::now());
            let now = data_version(connection);
            if now.is_some() && now != version {
                (since, version) = (Instant::now(), now);
            }
            // Those who wait look at ever different times, so that each is lucky soon.
            thread::sleep(PAUSE.mul_f64(fastrand::f64()));
        }
    }
}

/// Executes what returns no rows, and is executed often.
fn execute(connection: &Connection, sql: &str) -> Result<(), Error> {
    connection.prepare_cached(sql)?.execute([]).map(drop)
}

/// Another one whenever another process has committed something, if it can be told.
fn data_version(connection: &Connection) -> Option<i64> {
    connection.query_row("PRAGMA data_version", [], |row| row.get(0)).ok()
}

/// Whether another process has a lock.
fn is_busy(error: &Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_costs_its_own_transaction_and_no_other() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("test.db");
        Connection::open(&path).expect("it can be made");
        let writer = Writer::new(path).expect("a thread");
        let execute = |connection: &Connection, sql| {
            connection.execute_batch(sql).map_err(|error| ServiceError::new("test", error))
        };
        writer.write("test", move |it| execute(it, "CREATE TABLE t (n)")).await.expect("written");
        let fault = move |connection: &Connection| -> Result<(), ServiceError> {
            execute(connection, "INSERT INTO t VALUES (1)")?;
            panic!("a fault");
        };
        writer.write("test", fault).await.expect_err("a fault");
        let count = |connection: &Connection| {
            let count = connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0));
            count.map_err(|error| ServiceError::new("test", error))
        };
        let counted: i64 = writer.write("test", count).await.expect("it goes on");
        assert_eq!(counted, 0, "what the fault had written was taken back");
    }
}
