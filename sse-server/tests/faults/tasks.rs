//! Tasks that end by a fault of the server: nobody is told that all is well.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use serde_json::json;
use sse_server::ServiceError;
use sse_server::hub::HubConfig;
use sse_server::relay::{Message, News, Relay};
use sse_server::storage::{MemoryStorage, NewEvent, Storage, StoredEvent};
use tokio::sync::{Notify, mpsc};

use crate::instances::{Instance, within};
use crate::server::until;

/// A storage of somebody's own, with faults that can be switched on.
#[derive(Default)]
struct Faulty {
    inner: MemoryStorage,
    append: AtomicBool,
    heads: AtomicBool,
}

#[async_trait]
impl Storage for Faulty {
    async fn append(&self, events: &[NewEvent]) -> Result<Vec<u64>, ServiceError> {
        assert!(!self.append.load(Ordering::SeqCst), "a fault in append");
        self.inner.append(events).await
    }

    async fn head(&self, channel: &str) -> Result<u64, ServiceError> {
        self.inner.head(channel).await
    }

    async fn heads(&self, channels: &[&str]) -> Result<Vec<u64>, ServiceError> {
        assert!(!self.heads.load(Ordering::SeqCst), "a fault in heads");
        self.inner.heads(channels).await
    }

    async fn read(
        &self,
        channel: &str,
        after: u64,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, ServiceError> {
        self.inner.read(channel, after, limit).await
    }

    async fn trim(&self, before: SystemTime, limit: usize) -> Result<usize, ServiceError> {
        self.inner.trim(before, limit).await
    }

    async fn shorten(&self, keep: u64, limit: usize) -> Result<usize, ServiceError> {
        self.inner.shorten(keep, limit).await
    }
}

/// Both say that only a new process helps.
async fn is_told(instance: &Instance) {
    until("readiness to tell", async || instance.status("/health/ready").await == 503).await;
    assert_eq!(instance.status("/health/live").await, 503);
}

async fn is_well(instance: &Instance) {
    assert_eq!(instance.status("/health/ready").await, 200);
    assert_eq!(instance.status("/health/live").await, 200);
}

#[tokio::test]
async fn a_server_that_cannot_publish_any_more_is_neither_ready_nor_alive() {
    let storage = Arc::new(Faulty::default());
    let instance = Instance::serve(storage.clone(), HubConfig::default()).await;
    let mut publisher = instance.publisher().await;
    publisher.publish("a", 1).await;
    is_well(&instance).await;
    storage.append.store(true, Ordering::SeqCst);
    let (status, _) = within("an answer", publisher.try_publish("a", &[json!(2)])).await;
    assert_eq!(status, 503);
    is_told(&instance).await;
}

#[tokio::test]
async fn a_server_that_does_not_follow_others_any_more_is_neither_ready_nor_alive() {
    let storage = Arc::new(Faulty::default());
    let config = HubConfig::default().refresh(Duration::from_millis(20));
    let instance = Instance::serve(storage.clone(), config).await;
    let _reader = instance.reader("channel=a", "").await;
    is_well(&instance).await;
    storage.heads.store(true, Ordering::SeqCst);
    is_told(&instance).await;
}

/// A relay whose receiving task ends when it is told to.
#[derive(Default)]
struct Deaf(Notify);

#[async_trait]
impl Relay for Deaf {
    async fn send(&self, _messages: &[Message]) -> Result<(), ServiceError> {
        Ok(())
    }

    async fn receive(&self, _news: mpsc::Sender<News>) {
        self.0.notified().await;
        panic!("a fault in receive");
    }
}

#[tokio::test]
async fn a_server_that_does_not_hear_the_relay_any_more_is_neither_ready_nor_alive() {
    let relay = Arc::new(Deaf::default());
    let config = HubConfig::default().relay(relay.clone());
    let instance = Instance::serve(Arc::new(MemoryStorage::new()), config).await;
    is_well(&instance).await;
    relay.0.notify_one();
    is_told(&instance).await;
}
