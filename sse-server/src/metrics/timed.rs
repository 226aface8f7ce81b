//! A storage and a relay whose every operation is measured.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use async_trait::async_trait;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use tokio::sync::mpsc;

use super::{Metrics, Operation};
use crate::ServiceError;
use crate::relay::{Message, News, Relay};
use crate::storage::{Batch, NewEvent, Outcome, Storage, StoredEvent, Visitor};

pub(super) const STORAGE_OPERATIONS: [&str; 6] =
    ["append", "head", "heads", "read", "shorten", "trim"];
pub(super) const RELAY_OPERATIONS: [&str; 2] = ["send", "send_notice"];

/// Another storage, measured.
pub struct TimedStorage {
    storage: Arc<dyn Storage>,
    metrics: Metrics,
}

impl TimedStorage {
    /// Measures this storage.
    pub fn new(storage: Arc<dyn Storage>, metrics: Metrics) -> Self {
        Self { storage, metrics }
    }

    async fn timed<T>(
        &self,
        operation: &'static str,
        work: impl Future<Output = Result<T, ServiceError>>,
    ) -> Result<T, ServiceError> {
        let shared = &self.metrics.shared;
        timed(&shared.storage, &shared.storage_errors, operation, work).await
    }
}

/// Another relay, measured.
pub struct TimedRelay {
    relay: Arc<dyn Relay>,
    metrics: Metrics,
}

impl TimedRelay {
    /// Measures this relay.
    pub fn new(relay: Arc<dyn Relay>, metrics: Metrics) -> Self {
        Self { relay, metrics }
    }

    async fn timed(
        &self,
        operation: &'static str,
        work: impl Future<Output = Result<(), ServiceError>>,
    ) -> Result<(), ServiceError> {
        let shared = &self.metrics.shared;
        timed(&shared.relay, &shared.relay_errors, operation, work).await
    }
}

async fn timed<T, E>(
    times: &Family<Operation, Histogram, fn() -> Histogram>,
    errors: &Family<Operation, Counter>,
    operation: &'static str,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let begun = Instant::now();
    let result = work.await;
    let operation = Operation { operation };
    times.get_or_create(&operation).observe(begun.elapsed().as_secs_f64());
    if result.is_err() {
        errors.get_or_create(&operation).inc();
    }
    result
}

#[async_trait]
impl Storage for TimedStorage {
    async fn append(&self, events: &[NewEvent]) -> Result<Vec<u64>, ServiceError> {
        self.timed("append", self.storage.append(events)).await
    }

    async fn append_once(&self, batches: &[Batch<'_>]) -> Result<Vec<Outcome>, ServiceError> {
        self.timed("append", self.storage.append_once(batches)).await
    }

    async fn append_free(
        &self,
        batches: &[Batch<'_>],
    ) -> Result<Vec<Option<Outcome>>, ServiceError> {
        self.timed("append", self.storage.append_free(batches)).await
    }

    async fn head(&self, channel: &str) -> Result<u64, ServiceError> {
        self.timed("head", self.storage.head(channel)).await
    }

    async fn heads(&self, channels: &[&str]) -> Result<Vec<u64>, ServiceError> {
        self.timed("heads", self.storage.heads(channels)).await
    }

    async fn read(
        &self,
        channel: &str,
        after: u64,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, ServiceError> {
        self.timed("read", self.storage.read(channel, after, limit)).await
    }

    async fn visit(
        &self,
        channel: &str,
        after: u64,
        limit: usize,
        visitor: Visitor,
    ) -> Result<(), ServiceError> {
        self.timed("read", self.storage.visit(channel, after, limit, visitor)).await
    }

    async fn trim(&self, before: SystemTime, limit: usize) -> Result<usize, ServiceError> {
        self.timed("trim", self.storage.trim(before, limit)).await
    }

    async fn shorten(&self, keep: u64, limit: usize) -> Result<usize, ServiceError> {
        self.timed("shorten", self.storage.shorten(keep, limit)).await
    }

    async fn check_writing(&self) -> Result<(), ServiceError> {
        self.timed("check_writing", self.storage.check_writing()).await
    }

    fn is_late(&self) -> bool {
        self.storage.is_late()
    }

    fn works_apart(&self) -> bool {
        self.storage.works_apart()
    }

    async fn begins(&self, channel: &str) -> Result<u64, ServiceError> {
        self.storage.begins(channel).await
    }

    async fn has_moved(&self) -> Result<bool, ServiceError> {
        self.timed("has_moved", self.storage.has_moved()).await
    }

    fn refuse(&self, event: &NewEvent) -> Option<String> {
        self.storage.refuse(event)
    }

    fn is_lasting(&self) -> bool {
        self.storage.is_lasting()
    }

    async fn close(&self) {
        self.storage.close().await;
    }
}

#[async_trait]
impl Relay for TimedRelay {
    async fn send(&self, messages: &[Message]) -> Result<(), ServiceError> {
        self.timed("send", self.relay.send(messages)).await
    }

    async fn send_notice(&self, notice: &str) -> Result<(), ServiceError> {
        self.timed("send_notice", self.relay.send_notice(notice)).await
    }

    async fn receive(&self, news: mpsc::Sender<News>) {
        self.relay.receive(news).await;
    }

    fn carries_events(&self) -> bool {
        self.relay.carries_events()
    }

    fn echoes(&self) -> bool {
        self.relay.echoes()
    }
}
