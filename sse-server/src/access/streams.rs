//! The open streams whose permission can end, and the word that ends one.

use std::collections::BTreeMap;
use std::collections::btree_map::Range;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use futures_util::task::AtomicWaker;
use tokio::time::{Instant, Sleep};

use super::Principal;
use super::gate::Shared;
use crate::seams::time_of_day;

/// The longest wait for an expiry at a time: clocks are set, and machines sleep.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// Why a stream ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// These channels may not be read any more.
    Forbidden(Vec<Arc<str>>),
    /// It could not be found out for too long whether they may.
    Unchecked,
    /// The credentials have expired.
    Expired,
    /// The rules need to know more of the reader than was kept.
    Outdated,
}

/// An open stream, or one that is about to be: who reads, what, and whether that is over.
pub(super) struct Watch {
    pub(super) principal: Principal,
    pub(super) channels: Vec<Arc<str>>,
    is_ended: AtomicBool,
    state: Mutex<State>,
    waker: AtomicWaker,
}

struct State {
    ending: Option<Ending>,
    /// When it was found last that the channels may be read.
    checked: Instant,
    /// Since when that cannot be found out.
    failing: Option<Instant>,
}

impl Watch {
    pub(super) fn new(principal: Principal, channels: Vec<Arc<str>>) -> Self {
        let state = State { ending: None, checked: Instant::now(), failing: None };
        Self {
            principal,
            channels,
            is_ended: AtomicBool::new(false),
            state: Mutex::new(state),
            waker: AtomicWaker::new(),
        }
    }

    /// Ends the stream. The first reason counts. Returns whether this was it.
    pub(super) fn end(&self, ending: Ending) -> bool {
        let mut state = self.state();
        let is_first = state.ending.is_none();
        state.ending.get_or_insert(ending);
        drop(state);
        self.is_ended.store(true, Ordering::SeqCst);
        self.waker.wake();
        is_first
    }

    pub(super) fn is_ended(&self) -> bool {
        self.is_ended.load(Ordering::SeqCst)
    }

    pub(super) fn is_due(&self, period: Duration) -> bool {
        !self.is_ended() && self.state().checked.elapsed() >= period
    }

    pub(super) fn passed(&self) {
        let mut state = self.state();
        state.checked = Instant::now();
        state.failing = None;
    }

    /// Takes note that a check failed, and ends the stream if that has gone on for too long.
    pub(super) fn failed(&self, patience: Duration) {
        let since = *self.state().failing.get_or_insert_with(Instant::now);
        if since.elapsed() >= patience {
            self.end(Ending::Unchecked);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All of them, by user.
#[derive(Default)]
pub(super) struct Streams {
    watches: BTreeMap<Key, Arc<Watch>>,
    next: u64,
}

/// The user, none for those without a name, and a number.
pub(super) type Key = (Option<Arc<str>>, u64);

impl Streams {
    pub(super) fn add(&mut self, watch: Arc<Watch>) -> Key {
        let key = (watch.principal.name().map(Arc::from), self.next);
        self.next += 1;
        self.watches.insert(key.clone(), watch);
        key
    }

    pub(super) fn remove(&mut self, key: &Key) {
        self.watches.remove(key);
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Watch>> {
        self.watches.values()
    }

    /// The streams of a user that have this channel.
    pub(super) fn of(&self, user: Option<&str>, channel: &str) -> Vec<Arc<Watch>> {
        let user: Option<Arc<str>> = user.map(Arc::from);
        let range: Range<'_, Key, Arc<Watch>> =
            self.watches.range((user.clone(), 0)..=(user, u64::MAX));
        let watches = range.map(|(_, watch)| watch);
        let concerned =
            watches.filter(|watch| watch.channels.iter().any(|known| **known == *channel));
        concerned.cloned().collect()
    }
}

/// Held by an open stream, which asks it before and after whatever it does. Dropped, the stream is
/// forgotten.
pub(crate) struct Guard {
    shared: Arc<Shared>,
    watch: Arc<Watch>,
    key: Key,
    expiry: Option<Pin<Box<Sleep>>>,
    /// The check that the next page of a replay waits for.
    checking: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Guard {
    pub(super) fn new(shared: Arc<Shared>, watch: Arc<Watch>, key: Key) -> Self {
        let expiry = watch.principal.expires().map(|expires| Box::pin(wait(expires)));
        Self { shared, watch, key, expiry, checking: None }
    }

    pub(crate) fn principal(&self) -> &Principal {
        &self.watch.principal
    }

    /// Whether the stream has to end, and why. If not, `cx` is woken when it does.
    pub(crate) fn poll_ending(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        self.watch.waker.register(cx.waker());
        if let Some(expires) = self.watch.principal.expires() {
            while let Some(sleep) = &mut self.expiry {
                if sleep.poll_unpin(cx).is_pending() {
                    break;
                }
                if time_of_day() >= expires {
                    self.watch.end(Ending::Expired);
                    self.expiry = None;
                } else {
                    self.expiry = Some(Box::pin(wait(expires)));
                }
            }
        }
        self.ending().map_or(Poll::Pending, Poll::Ready)
    }

    /// Why the stream has to end, if it has to.
    pub(crate) fn ending(&self) -> Option<Ending> {
        if !self.watch.is_ended() || mutant!("end-not-heeded") {
            return None;
        }
        self.watch.state().ending.clone()
    }

    /// Checks again whether the channels may be read. Ready when that is done, whatever came out,
    /// or when the hub was closed: then there is nothing more to read.
    pub(crate) fn poll_check(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let checking = self.checking.get_or_insert_with(|| {
            let (shared, watch) = (self.shared.clone(), self.watch.clone());
            Box::pin(async move {
                tokio::select! {
                    biased;
                    () = shared.check(&watch) => {}
                    // Then nothing follows that would have to be checked.
                    () = shared.hub.closed(), if !mutant!("checked-beyond-the-end") => {}
                }
            })
        });
        let checked = checking.poll_unpin(cx);
        if checked.is_ready() {
            self.checking = None;
        }
        checked
    }
}

/// Sleeps until then, or for a while, whichever is sooner.
fn wait(until: SystemTime) -> Sleep {
    let left = until.duration_since(time_of_day()).unwrap_or_default();
    tokio::time::sleep(left.min(LONGEST_WAIT))
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.shared.streams().remove(&self.key);
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("principal", &self.watch.principal).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn};

    use async_trait::async_trait;

    use super::super::{Access, AccessError, ChannelManager, Occasion};
    use super::*;
    use crate::hub::Hub;
    use crate::storage::MemoryStorage;

    /// Lets everybody in, and then gives no answer any more.
    struct Hangs;

    #[async_trait]
    impl ChannelManager for Hangs {
        async fn refused(
            &self,
            _: &Principal,
            _: &[Arc<str>],
            occasion: Occasion,
        ) -> Result<Vec<Arc<str>>, AccessError> {
            match occasion {
                Occasion::Opening => Ok(Vec::new()),
                _ => pending().await,
            }
        }
    }

    async fn let_in(hub: &Hub) -> Guard {
        let access = Access::new(Arc::new(Hangs), hub);
        access.admit(Principal::anonymous(), &["a".into()]).await.expect("let in")
    }

    /// It ends before a check that gets no answer is given up.
    async fn is_done(guard: &mut Guard) {
        let done = poll_fn(|cx| guard.poll_check(cx));
        tokio::time::timeout(Duration::from_secs(1), done).await.expect("the hub is closed");
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_check_is_done_as_soon_as_the_hub_is_closed() {
        let hub = Hub::new(Arc::new(MemoryStorage::new()));
        let mut guard = let_in(&hub).await;
        let waits = poll_fn(|cx| Poll::Ready(guard.poll_check(cx).is_pending())).await;
        assert!(waits, "for the answer");
        hub.close();
        is_done(&mut guard).await;
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_for_a_check_of_a_closed_hub_does_not_wait_for_it() {
        let hub = Hub::new(Arc::new(MemoryStorage::new()));
        let mut guard = let_in(&hub).await;
        hub.close();
        is_done(&mut guard).await;
    }
}
