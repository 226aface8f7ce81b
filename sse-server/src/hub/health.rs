//! Whether the hub can do its work: its tasks run, its storage answers, and appending works.
//!
//! Appending is judged by the last append that wrote something. Where there has been none for a
//! while, or it has failed, the storage is asked to write something small; at most once every ten
//! seconds, however often it is asked.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::ServiceError;
use crate::storage::Storage;

/// How long it is believed that appending works, or does not, after it did.
const TRUSTED: Duration = Duration::from_secs(10);
const DISTRUSTED: Duration = Duration::from_secs(1);

/// Why the hub cannot do its work.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unready {
    /// The hub was closed.
    #[error("the server is shutting down")]
    Closed,
    /// A task of the server has ended, which none should. Only a new process helps.
    #[error("a task has ended by a fault of the server ({0}); restart it")]
    TaskEnded(&'static str),
    /// The storage cannot be read.
    #[error("the storage does not answer: cannot {0}")]
    Reading(Arc<ServiceError>),
    /// The storage can be read, and nothing can be appended to it.
    #[error("nothing can be published: cannot {0}")]
    Writing(Arc<ServiceError>),
}

/// The tasks that have to run as long as the hub does.
#[derive(Debug, Default)]
pub(super) struct Tasks(Mutex<Vec<(&'static str, AbortHandle)>>);

impl Tasks {
    pub(super) fn add(&self, name: &'static str, task: AbortHandle) {
        self.tasks().push((name, task));
    }

    /// The name of one that has ended.
    pub(super) fn ended(&self) -> Option<&'static str> {
        self.tasks().iter().find(|(_, task)| task.is_finished()).map(|(name, _)| *name)
    }

    fn tasks(&self) -> MutexGuard<'_, Vec<(&'static str, AbortHandle)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is known about appending.
#[derive(Debug, Default)]
pub(super) struct Writing {
    state: Mutex<State>,
    /// Held while the storage is asked.
    asking: Arc<sync::Mutex<()>>,
}

#[derive(Debug, Default)]
struct State {
    /// An append is under way. After one that has failed, what it comes to is waited for.
    is_appending: bool,
    last: Option<(Instant, Result<(), Arc<ServiceError>>)>,
}

impl State {
    /// What is known, if that is enough.
    fn known(&self) -> Option<Result<(), Arc<ServiceError>>> {
        match &self.last {
            Some((at, Ok(()))) if at.elapsed() < TRUSTED => Some(Ok(())),
            Some((at, Err(error))) if self.is_appending || at.elapsed() < DISTRUSTED => {
                Some(Err(error.clone()))
            }
            // One that is under way may hang: it is no sign that appending works.
            _ if self.is_appending && mutant!("under-way-is-well") => Some(Ok(())),
            _ => None,
        }
    }
}

impl Writing {
    pub(super) fn begins(&self) {
        self.state().is_appending = true;
    }

    /// It is over. None: nothing was written, and none the wiser.
    pub(super) fn ends(&self, result: Option<Result<(), Arc<ServiceError>>>) {
        let mut state = self.state();
        state.is_appending = false;
        if let Some(result) = result {
            state.last = Some((Instant::now(), result));
        }
    }

    /// Whether appending works.
    pub(super) async fn check(
        self: &Arc<Self>,
        storage: &Arc<dyn Storage>,
    ) -> Result<(), Arc<ServiceError>> {
        let asking = self.asking.clone().lock_owned().await;
        if let Some(known) = self.state().known() {
            return known;
        }
        let (this, storage) = (self.clone(), storage.clone());
        // A task of its own: the caller may not wait for its end, and a write that is cut short
        // would cost a connection.
        let asked = tokio::spawn(async move {
            let result = storage.check_writing().await.map_err(Arc::new);
            let mut state = this.state();
            if !state.is_appending {
                state.last = Some((Instant::now(), result.clone()));
            }
            drop((state, asking));
            result
        });
        let panicked = |error| Arc::new(ServiceError::new("write", error));
        asked.await.map_err(panicked)?
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::SystemTime;

    use async_trait::async_trait;

    use super::*;
    use crate::hub::Hub;
    use crate::storage::{Batch, MemoryStorage, NewEvent, Outcome, RequestKey, StoredEvent};

    /// A storage to which nothing small can be written, and whose appends hang if they are told to.
    #[derive(Default)]
    struct Full {
        inner: MemoryStorage,
        hangs: AtomicBool,
    }

    #[async_trait]
    impl Storage for Full {
        async fn append(&self, events: &[NewEvent]) -> Result<Vec<u64>, ServiceError> {
            if self.hangs.load(Ordering::SeqCst) {
                pending::<()>().await;
            }
            self.inner.append(events).await
        }

        async fn append_once(&self, batches: &[Batch<'_>]) -> Result<Vec<Outcome>, ServiceError> {
            self.inner.append_once(batches).await
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

        async fn check_writing(&self) -> Result<(), ServiceError> {
            Err(ServiceError::new("write", "the disk is full"))
        }
    }

    fn event() -> Vec<NewEvent> {
        vec![NewEvent::new("a", "message", "1")]
    }

    async fn cannot_write(hub: &Hub) -> bool {
        matches!(hub.check().await, Err(Unready::Writing(_)))
    }

    /// Has an append hang, and waits until it does.
    async fn hang(hub: &Hub, storage: &Full) {
        storage.hangs.store(true, Ordering::SeqCst);
        let publishing = hub.clone();
        tokio::spawn(async move { publishing.publish(event()).await });
        let begins = async {
            while !hub.shared.writing.state().is_appending {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(DISTRUSTED, begins).await.expect("it begins");
    }

    #[tokio::test(start_paused = true)]
    async fn a_first_append_that_hangs_is_no_sign_that_appending_works() {
        let storage = Arc::new(Full::default());
        let hub = Hub::new(storage.clone());
        hang(&hub, &storage).await;
        assert!(cannot_write(&hub).await);
    }

    #[tokio::test(start_paused = true)]
    async fn an_append_that_hangs_long_after_the_last_is_no_sign_either() {
        let storage = Arc::new(Full::default());
        let hub = Hub::new(storage.clone());
        hub.publish(event()).await.expect("stored");
        hang(&hub, &storage).await;
        hub.check().await.expect("one has worked just now");
        tokio::time::advance(TRUSTED).await;
        assert!(cannot_write(&hub).await);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_stored_is_no_sign_that_anything_can_be() {
        let hub = Hub::new(Arc::new(Full::default()));
        let live = event().into_iter().map(|event| event.store(false)).collect();
        assert_eq!(hub.publish(live).await.expect("shown"), [0]);
        assert!(cannot_write(&hub).await);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_stored_before_is_no_sign_that_anything_can_be() {
        let hub = Hub::new(Arc::new(Full::default()));
        let key = || Some(RequestKey::new("p", "key", b"1"));
        let once = async || hub.submit(event(), key()).await.expect("taken").await;
        assert_eq!(once().await.expect("stored"), [1]);
        hub.check().await.expect("it was stored just now");
        tokio::time::advance(TRUSTED).await;
        assert_eq!(once().await.expect("known"), [1]);
        assert!(cannot_write(&hub).await);
    }
}
