//! No storage at all: events reach those who listen.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;

use super::requests::{Requests, on_own_clock};
use super::{Batch, NewEvent, Outcome, Storage, StoredEvent};
use crate::ServiceError;

/// Keeps no events.
///
/// Events have no ids, as with django-eventstream when it has no storage: a reader that is not
/// connected when one is published never gets it. A resume id is accepted and means nothing. The
/// names of requests are known to this value alone, until the process ends.
#[derive(Debug, Default)]
pub struct NoStorage {
    requests: Mutex<Requests>,
}

impl NoStorage {
    /// One that knows nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn requests(&self) -> MutexGuard<'_, Requests> {
        // No change can panic half-way.
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Storage for NoStorage {
    /// Nothing happens, and every id is 0.
    async fn append(&self, events: &[NewEvent]) -> Result<Vec<u64>, ServiceError> {
        Ok(vec![0; events.len()])
    }

    async fn append_once(&self, batches: &[Batch<'_>]) -> Result<Vec<Outcome>, ServiceError> {
        let mut requests = self.requests();
        let append = |batch| requests.append_once(batch, |events| vec![0; events.len()]);
        Ok(batches.iter().map(append).collect())
    }

    async fn head(&self, _channel: &str) -> Result<u64, ServiceError> {
        Ok(0)
    }

    async fn read(
        &self,
        _channel: &str,
        _after: u64,
        _limit: usize,
    ) -> Result<Vec<StoredEvent>, ServiceError> {
        Ok(Vec::new())
    }

    async fn trim(&self, before: SystemTime, limit: usize) -> Result<usize, ServiceError> {
        let trimmed = on_own_clock(before).map(|before| self.requests().trim(before, limit));
        Ok(trimmed.unwrap_or(0))
    }

    async fn shorten(&self, _keep: u64, _limit: usize) -> Result<usize, ServiceError> {
        Ok(0)
    }

    fn is_lasting(&self) -> bool {
        false
    }
}
