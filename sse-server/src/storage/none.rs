//! No storage at all: events reach those who listen.

use std::time::SystemTime;

use async_trait::async_trait;

use super::{NewEvent, Storage, StorageError, StoredEvent};

/// Keeps nothing.
///
/// Events have no ids, as with django-eventstream when it has no storage: whoever is not connected when
/// one is published never gets it. A resume id is accepted and means nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoStorage;

#[async_trait]
impl Storage for NoStorage {
    /// Nothing happens, and every id is 0.
    async fn append(&self, events: &[NewEvent]) -> Result<Vec<u64>, StorageError> {
        Ok(vec![0; events.len()])
    }

    async fn head(&self, _channel: &str) -> Result<u64, StorageError> {
        Ok(0)
    }

    async fn read(
        &self,
        _channel: &str,
        _after: u64,
        _limit: usize,
    ) -> Result<Vec<StoredEvent>, StorageError> {
        Ok(Vec::new())
    }

    async fn trim(&self, _before: SystemTime, _limit: usize) -> Result<usize, StorageError> {
        Ok(0)
    }

    async fn shorten(&self, _keep: u64, _limit: usize) -> Result<usize, StorageError> {
        Ok(0)
    }

    fn is_lasting(&self) -> bool {
        false
    }
}
