//! Requests with a name that could not be stored, as far as is known.
//!
//! The storage may have stored the name, and only its answer was lost. Sent again, such a request
//! is known, and its events need not be stored again; but nobody has seen those of them that are
//! stored nowhere.

use tokio::time::Instant;

use crate::seams::HashMap;
use crate::storage::{Outcome, RequestKey};

/// How many are remembered. Of more the oldest are forgotten.
const MOST: usize = 1024;

/// By name, and since when.
#[derive(Debug, Default)]
pub(super) struct Doubts(HashMap<String, Instant>);

impl Doubts {
    /// Nobody knows whether this was stored.
    pub(super) fn add(&mut self, key: &RequestKey) {
        if mutant!("doubt-forgotten") {
            return;
        }
        self.0.insert(key.name().to_owned(), Instant::now());
        if self.0.len() > MOST {
            let oldest = self.0.iter().min_by_key(|(_, since)| **since);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                self.0.remove(&oldest);
            }
        }
    }

    /// It is known now what became of a request. Returns whether it had been stored when nobody
    /// knew.
    pub(super) fn settle(&mut self, key: Option<&RequestKey>, outcome: &Outcome) -> bool {
        let was_in_doubt = key.is_some_and(|key| self.0.remove(key.name()).is_some());
        was_in_doubt && matches!(outcome, Outcome::Known(_))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::SystemTime;

    use async_trait::async_trait;
    use sse_proto::Cursor;

    use super::*;
    use crate::ServiceError;
    use crate::hub::{Delivery, Hub, Outgoing};
    use crate::storage::{Batch, MemoryStorage, NewEvent, Storage, StoredEvent};

    /// A storage that stores, and whose answer is lost if it is told so.
    #[derive(Default)]
    struct Lossy {
        inner: MemoryStorage,
        loses_answers: AtomicBool,
    }

    #[async_trait]
    impl Storage for Lossy {
        async fn append(&self, events: &[NewEvent]) -> Result<Vec<u64>, ServiceError> {
            self.inner.append(events).await
        }

        async fn append_once(&self, batches: &[Batch<'_>]) -> Result<Vec<Outcome>, ServiceError> {
            let outcomes = self.inner.append_once(batches).await;
            if self.loses_answers.load(Ordering::SeqCst) {
                return Err(ServiceError::new("append", "the connection broke"));
            }
            outcomes
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

    #[tokio::test]
    async fn what_is_not_stored_is_shown_once_however_often_its_request_is_sent() {
        let storage = Arc::new(Lossy::default());
        let hub = Hub::new(storage.clone());
        let mut reader = hub.subscribe(&["a".into()], &Cursor::new()).await.expect("a reader");
        let events = || {
            let event = |text| NewEvent::new("a", "message", text);
            vec![event("stored"), event("not stored").store(false)]
        };
        let send = async |name| {
            let submitted = hub.submit(events(), Some(key(name))).await.expect("there is room");
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
        hub.close();
        let mut out = Outgoing::default();
        while poll_fn(|cx| reader.poll_deliver(cx, &mut out)).await != Delivery::Closed {}
        let seen = String::from_utf8(out.into_bytes().to_vec()).expect("text");
        assert_eq!(seen.matches("data: stored").count(), 2, "{seen}");
        assert_eq!(seen.matches("data: not stored").count(), 2, "{seen}");
    }

    fn key(name: usize) -> RequestKey {
        RequestKey::new("p", name, b"")
    }

    #[test]
    fn what_was_in_doubt_is_settled_once() {
        let mut doubts = Doubts::default();
        let known = Outcome::Known(vec![]);
        assert!(!doubts.settle(Some(&key(1)), &known), "it was answered before");
        doubts.add(&key(1));
        assert!(!doubts.settle(None, &known));
        assert!(!doubts.settle(Some(&key(2)), &known));
        assert!(doubts.settle(Some(&key(1)), &known));
        assert!(!doubts.settle(Some(&key(1)), &known));
        doubts.add(&key(1));
        assert!(!doubts.settle(Some(&key(1)), &Outcome::Appended(vec![])), "it is stored now");
        assert!(!doubts.settle(Some(&key(1)), &known), "and was shown then");
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_of_many_are_forgotten() {
        let mut doubts = Doubts::default();
        for name in 0..=MOST {
            doubts.add(&key(name));
            tokio::time::advance(std::time::Duration::from_millis(1)).await;
        }
        assert_eq!(doubts.0.len(), MOST);
        assert!(!doubts.settle(Some(&key(0)), &Outcome::Known(vec![])));
        assert!(doubts.settle(Some(&key(1)), &Outcome::Known(vec![])));
    }
}
