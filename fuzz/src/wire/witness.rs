//! The witness: a stream that is read from the beginning of a run to its end, and never cut by us.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::connection::Connection;
use super::socket::is_reset;
use super::tape::Tape;

/// How often it sees that it has its turn, and how late it may be before it was held up.
const BEAT: Duration = Duration::from_millis(250);
const LATE: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub(crate) struct Witness {
    tape: Arc<Mutex<Tape>>,
    changes: watch::Receiver<u64>,
    start: Instant,
    task: JoinHandle<()>,
}

impl Witness {
    /// Reads a connection from here on.
    pub(crate) fn of(connection: Connection) -> Self {
        let (mut reader, start, tape) = connection.into_parts();
        let tape = Arc::new(Mutex::new(tape));
        let (change, changes) = watch::channel(0);
        let shared = Arc::clone(&tape);
        let task = tokio::spawn(async move {
            let mut buffer = vec![0; 64 << 10];
            loop {
                let due = start.elapsed() + BEAT;
                let read = timeout_at(start + due, reader.read(&mut buffer)).await;
                let at = start.elapsed();
                let is_over = {
                    let mut tape = lock(&shared);
                    if at > due + LATE {
                        // A machine that stands still, or has too much to do.
                        tape.held_up.push((due, at));
                    }
                    let Ok(read) = read else { continue };
                    match read {
                        Ok(0) => tape.close(at, false),
                        Ok(len) => tape.put(&buffer[..len], at),
                        Err(error) => tape.close(at, is_reset(&error)),
                    }
                    tape.end.is_some()
                };
                change.send_modify(|count| *count += 1);
                if is_over {
                    // The socket is kept: closing it is the server's part.
                    std::future::pending::<()>().await;
                }
            }
        });
        Self { tape, changes, start, task }
    }

    pub(crate) fn tape(&self) -> MutexGuard<'_, Tape> {
        lock(&self.tape)
    }

    pub(crate) const fn start(&self) -> Instant {
        self.start
    }

    /// Waits until something is there; whether it came before the deadline.
    pub(crate) async fn until(&self, deadline: Instant, is_there: impl Fn(&Tape) -> bool) -> bool {
        let mut changes = self.changes.clone();
        loop {
            changes.borrow_and_update();
            {
                let tape = self.tape();
                if is_there(&tape) {
                    return true;
                }
                if tape.end.is_some() {
                    return false;
                }
            }
            if timeout_at(deadline, changes.changed()).await.is_err() {
                return is_there(&self.tape());
            }
        }
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(tape: &Mutex<Tape>) -> MutexGuard<'_, Tape> {
    // What a panicking check has left is still what was read.
    tape.lock().unwrap_or_else(PoisonError::into_inner)
}
