//! Publishing over a storage whose answers are lost.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use async_trait::async_trait;
use sse_proto::Cursor;

use crate::ServiceError;
use crate::hub::{Delivery, Hub, Outgoing, Subscriber};
use crate::storage::{Batch, MemoryStorage, NewEvent, Outcome, RequestKey, Storage, StoredEvent};

/// A storage that stores, and whose answer is lost if it is told so.
#[derive(Default)]
struct Lossy {
    inner: MemoryStorage,
    loses_answers: AtomicBool,
}

impl Lossy {
    fn answer<T>(&self, answer: Result<T, ServiceError>) -> Result<T, ServiceError> {
        if self.loses_answers.load(Ordering::SeqCst) {
            return Err(ServiceError::new("append", "the connection broke"));
        }
        answer
    }
}

#[async_trait]
impl Storage for Lossy {
    async fn append(&self, events: &[NewEvent]) -> Result<Vec<u64>, ServiceError> {
        let ids = self.inner.append(events).await;
        self.answer(ids)
    }

    async fn append_once(&self, batches: &[Batch<'_>]) -> Result<Vec<Outcome>, ServiceError> {
        let outcomes = self.inner.append_once(batches).await;
        self.answer(outcomes)
    }

    async fn head(&self, channel: &str) -> Result<u64, ServiceError> {
        self.inner.head(channel).await
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

/// Closes the hub, and returns what a reader has got.
async fn seen(hub: &Hub, mut reader: Subscriber) -> String {
    hub.close();
    let mut out = Outgoing::default();
    while poll_fn(|cx| reader.poll_deliver(cx, &mut out)).await != Delivery::Closed {}
    String::from_utf8(out.into_bytes().to_vec()).expect("text")
}

#[tokio::test]
async fn what_is_not_stored_is_shown_once_however_often_its_request_is_sent() {
    let storage = Arc::new(Lossy::default());
    let hub = Hub::new(storage.clone());
    let reader = hub.subscribe(&["a".into()], &Cursor::new()).await.expect("a reader");
    let events = || {
        let event = |text| NewEvent::new("a", "message", text);
        vec![event("stored"), event("not stored").store(false)]
    };
    let send = async |name: usize| {
        let submitted = hub
            .submit(events(), Some(RequestKey::new("p", name, b"")))
            .await
            .expect("there is room");
        submitted.await.map_err(|error| error.to_string())
    };
    storage.loses_answers.store(true, Ordering::SeqCst);
    send(1).await.expect_err("the answer is lost");
    send(1).await.expect_err("it still is");
    storage.loses_answers.store(false, Ordering::SeqCst);
    for _ in 0..3 {
        assert_eq!(send(1).await, Ok(vec![1, 0]));
    }
    // One that was answered at once, and is sent again.
    for _ in 0..3 {
        assert_eq!(send(2).await, Ok(vec![2, 0]));
    }
    let seen = seen(&hub, reader).await;
    assert_eq!(seen.matches("data: stored").count(), 2, "{seen}");
    assert_eq!(seen.matches("data: not stored").count(), 2, "{seen}");
}

#[tokio::test]
async fn what_is_not_stored_does_not_fail_with_what_could_not_be() {
    let storage = Arc::new(Lossy::default());
    let hub = Hub::new(storage.clone());
    let reader = hub.subscribe(&["a".into()], &Cursor::new()).await.expect("a reader");
    storage.loses_answers.store(true, Ordering::SeqCst);
    // All of these wait when the first is taken, so they are one group.
    let mut submitted = Vec::new();
    for stored in [&[true][..], &[false], &[false, true], &[false, false]] {
        let event = |stored: &bool| NewEvent::new("a", "message", "x").store(*stored);
        let events = stored.iter().map(event).collect();
        submitted.push(hub.submit(events, None).await.expect("there is room"));
    }
    let mut answers = Vec::new();
    for submitted in submitted {
        answers.push(submitted.await.ok());
    }
    assert_eq!(answers, [None, Some(vec![0]), None, Some(vec![0, 0])]);
    assert_eq!(seen(&hub, reader).await.matches("data: x").count(), 3);
}
