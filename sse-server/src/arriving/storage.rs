//! A storage that is not there yet.

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;

use super::{Arriving, Attempt, Hopeless};
use crate::ServiceError;
use crate::storage::{Batch, NewEvent, Outcome, Storage, StoredEvent, Visitor};

type Opened = Arc<dyn Storage>;

/// A storage that fails for as long as it cannot be opened. Events have ids there.
pub struct ArrivingStorage(Arriving<Opened>);

impl ArrivingStorage {
    /// Tries to open it again and again, after this error. `name` is for the log.
    pub fn new<F>(
        name: String,
        error: &ServiceError,
        open: impl FnMut() -> F + Send + 'static,
    ) -> (Self, Hopeless<ServiceError>)
    where
        F: Future<Output = Attempt<Opened, ServiceError>> + Send,
    {
        let (arriving, hopeless) = Arriving::new(name, error, open);
        (Self(arriving), hopeless)
    }

    fn get(&self) -> Result<&Opened, ServiceError> {
        self.0.get().map_err(|problem| ServiceError::new("open the storage", problem))
    }
}

#[async_trait]
impl Storage for ArrivingStorage {
    async fn append(&self, events: &[NewEvent]) -> Result<Vec<u64>, ServiceError> {
        self.get()?.append(events).await
    }

    async fn append_once(&self, batches: &[Batch<'_>]) -> Result<Vec<Outcome>, ServiceError> {
        self.get()?.append_once(batches).await
    }

    async fn append_free(
        &self,
        batches: &[Batch<'_>],
    ) -> Result<Vec<Option<Outcome>>, ServiceError> {
        self.get()?.append_free(batches).await
    }

    async fn head(&self, channel: &str) -> Result<u64, ServiceError> {
        self.get()?.head(channel).await
    }

    async fn heads(&self, channels: &[&str]) -> Result<Vec<u64>, ServiceError> {
        self.get()?.heads(channels).await
    }

    async fn read(
        &self,
        channel: &str,
        after: u64,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, ServiceError> {
        self.get()?.read(channel, after, limit).await
    }

    async fn visit(
        &self,
        channel: &str,
        after: u64,
        limit: usize,
        visitor: Visitor,
    ) -> Result<(), ServiceError> {
        self.get()?.visit(channel, after, limit, visitor).await
    }

    /// Nothing is there to be removed before it has arrived.
    async fn trim(&self, before: SystemTime, limit: usize) -> Result<usize, ServiceError> {
        match self.get() {
            Ok(storage) => storage.trim(before, limit).await,
            Err(_) => Ok(0),
        }
    }

    async fn shorten(&self, keep: u64, limit: usize) -> Result<usize, ServiceError> {
        match self.get() {
            Ok(storage) => storage.shorten(keep, limit).await,
            Err(_) => Ok(0),
        }
    }

    async fn check_writing(&self) -> Result<(), ServiceError> {
        self.get()?.check_writing().await
    }

    fn is_late(&self) -> bool {
        self.get().is_ok_and(|storage| storage.is_late())
    }

    fn works_apart(&self) -> bool {
        self.get().is_ok_and(|storage| storage.works_apart())
    }

    async fn begins(&self, channel: &str) -> Result<u64, ServiceError> {
        self.get()?.begins(channel).await
    }

    async fn has_moved(&self) -> Result<bool, ServiceError> {
        self.get()?.has_moved().await
    }

    fn refuse(&self, event: &NewEvent) -> Option<String> {
        self.get().ok()?.refuse(event)
    }

    async fn close(&self) {
        if let Ok(storage) = self.get() {
            storage.close().await;
        }
    }
}
