//! Connections that read. Reading never waits for the writer.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::connect;
use super::writer::BUSY_TIMEOUT;
use crate::ServiceError;

/// How many read at the same time.
const READERS: usize = 4;

/// What reads. A question is answered by a thread of the runtime's that may block.
#[derive(Debug)]
pub(super) struct Readers {
    shared: Arc<Shared>,
    places: Arc<Semaphore>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    /// Reads from this file.
    pub(super) fn new(path: PathBuf) -> Self {
        let shared = Shared { path, idle: Mutex::default() };
        Self { shared: Arc::new(shared), places: Arc::new(Semaphore::new(READERS)) }
    }

    /// Asks something.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        operation: &'static str,
        question: impl FnOnce(&Connection) -> Result<T, rusqlite::Error> + Send + 'static,
    ) -> Result<T, ServiceError> {
        let failed = |error: rusqlite::Error| ServiceError::new(operation, error);
        let closed = |_| ServiceError::new(operation, "the storage was closed");
        let place = self.places.clone().acquire_owned().await.map_err(closed)?;
        let shared = self.shared.clone();
        let answered = spawn_blocking(move || {
            let _place = place;
            let idle = shared.idle().pop();
            let connection = idle.map_or_else(|| shared.connect(), Ok)?;
            let answer = question(&connection)?;
            // After an error the next one gets a new connection.
            shared.idle().push(connection);
            Ok(answer)
        });
        answered.await.map_err(|error| ServiceError::new(operation, error))?.map_err(failed)
    }

    /// Closes the connections, once those that are in use are idle.
    pub(super) async fn close(&self) {
        let all = u32::try_from(READERS).expect("a few");
        if let Ok(_places) = self.places.acquire_many(all).await {
            self.places.close();
            self.shared.idle().clear();
        }
    }
}

impl Shared {
    fn connect(&self) -> Result<Connection, rusqlite::Error> {
        let connection = connect(&self.path)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        Ok(connection)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
