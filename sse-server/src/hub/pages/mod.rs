//! Pages of history, rendered: those who replay the same part of a channel share it.
//!
//! What comes after a position is read from the storage once, however many ask for it at the same
//! time or shortly after each other: the first asks, the others wait for the answer, and what it
//! was stays here for a moment. More is read than fits into a page, a [stretch](Pages::load), and
//! the next stretch is read while one is being written.
//!
//! May enter: what a page is, how long it stays, and when the next may be taken. May not: what a
//! reader does with it.

mod page;
mod stretch;
mod turns;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared as SharedFuture, WeakShared};
use tokio::time::Instant;
use tracing::warn;

use super::Shared;
use super::event::KeptEvent;
use super::log::Log;
use super::pieces::ROUND_BYTES;
pub(super) use page::Page;
pub(super) use stretch::Stretch;
pub(super) use turns::{MANY, Served, turn};

/// How many bytes of pages are kept for others, all channels together.
const KEPT_BYTES: usize = 16 << 20;

/// How long they are. It is for those who replay together; and retention may remove what is in them
/// from the storage meanwhile.
const KEPT_FOR: Duration = Duration::from_secs(2);

/// How many bytes are read from the storage at a time, if only few replay; and how many are
/// together, if many do.
const STRETCH_BYTES: usize = 256 << 10;
const STRETCHES_BYTES: usize = 8 << 20;

/// How long to wait before storage that has failed is read again.
const STORAGE_PAUSE: Duration = Duration::from_secs(1);

/// What comes after a position.
#[derive(Clone)]
pub(super) enum Next {
    /// A page that has the next event, though perhaps not as its first; and the stretch that it is
    /// of.
    Page(Arc<Page>, Extent),
    /// An event that is too large for a page.
    Large(KeptEvent),
    /// Not the next event.
    Nothing,
}

/// Which events a stretch has, and how many were asked for: by the reader, or by another one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    pub(super) after: u64,
    pub(super) up_to: u64,
    pub(super) limit: usize,
}

impl Extent {
    /// How many there are.
    pub(super) fn events(self) -> usize {
        usize::try_from(self.up_to.saturating_sub(self.after)).unwrap_or(usize::MAX)
    }
}

/// A stretch under way. It moves as long as somebody waits for it.
pub(super) type Loading = SharedFuture<BoxFuture<'static, Next>>;

/// Pages that were read, the last of all channels.
#[derive(Default)]
pub(super) struct Pages {
    state: Mutex<State>,
    /// How many replay.
    replaying: AtomicUsize,
    serving: turns::Serving,
}

/// The address of a log, the generation of its ids, and an id.
type Key = (usize, u64, u64);

#[derive(Default)]
struct State {
    /// By the id of their first event.
    pages: BTreeMap<Key, Kept>,
    bytes: usize,
    /// In the order in which they came.
    order: VecDeque<(Instant, Key)>,
    /// What is being read, by the position it comes after.
    loading: HashMap<Key, WeakShared<BoxFuture<'static, Next>>>,
}

struct Kept {
    page: Arc<Page>,
    extent: Extent,
    /// Keeps the address from being that of another log.
    _log: Weak<Log>,
}

fn key(log: &Arc<Log>, generation: u64, id: u64) -> Key {
    (Arc::as_ptr(log).addr(), generation, id)
}

impl Pages {
    /// The page that has the event after a position, if it is here.
    pub(super) fn find(&self, log: &Arc<Log>, generation: u64, after: u64) -> Option<Next> {
        let mut state = self.state();
        state.forget(Instant::now());
        let (address, _, id) = key(log, generation, after + 1);
        let before = state.pages.range((address, generation, 0)..=(address, generation, id));
        let (_, Kept { page, extent, .. }) = before.last()?;
        page.index_of(id).map(|_| Next::Page(page.clone(), *extent))
    }

    /// Reads what comes after a position, unless that is under way already. About so many events
    /// are expected.
    pub(super) fn load(
        shared: &Arc<Shared>,
        log: &Arc<Log>,
        generation: u64,
        after: u64,
        limit: usize,
    ) -> Loading {
        let pages = &shared.pages;
        let key = key(log, generation, after);
        let mut state = pages.state();
        if let Some(loading) = state.loading.get(&key).and_then(WeakShared::upgrade) {
            return loading;
        }
        let replaying = pages.replaying.load(Ordering::Relaxed).max(1);
        let most = (STRETCHES_BYTES / replaying).clamp(ROUND_BYTES, STRETCH_BYTES);
        let loading = read(shared.clone(), log.clone(), generation, after, (limit, most));
        let loading = loading.boxed().shared();
        // What nobody has waited for to the end.
        if state.loading.len() >= 64 && state.loading.len().is_power_of_two() {
            state.loading.retain(|_, loading| loading.upgrade().is_some());
        }
        state.loading.insert(key, loading.downgrade().expect("it was not polled"));
        loading
    }

    /// Whether what comes after a position is here, or under way.
    pub(super) fn is_ahead(&self, log: &Arc<Log>, generation: u64, after: u64) -> bool {
        let state = self.state();
        let loading = state.loading.get(&key(log, generation, after));
        loading.is_some_and(|loading| loading.upgrade().is_some())
            || state.pages.contains_key(&key(log, generation, after + 1))
    }

    /// Forgets what is too old.
    pub(super) fn forget(&self) {
        self.state().forget(Instant::now());
    }

    fn keep(&self, log: &Arc<Log>, generation: u64, pages: &[Arc<Page>], extent: Extent) {
        let now = Instant::now();
        let mut state = self.state();
        for page in pages {
            let key = key(log, generation, page.first);
            let kept = Kept { page: page.clone(), extent, _log: Arc::downgrade(log) };
            state.bytes += page.size();
            // What was there has its place in the order still, and goes with that.
            match state.pages.insert(key, kept) {
                Some(before) => state.bytes -= before.page.size(),
                None => state.order.push_back((now, key)),
            }
        }
        while state.bytes > KEPT_BYTES && state.forget_first() {}
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic in one of the short sections would leave a state that is still in order.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn forget(&mut self, now: Instant) {
        while self.order.front().is_some_and(|(since, _)| now - *since >= KEPT_FOR) {
            self.forget_first();
        }
    }

    /// Forgets the page that is here for longest, if there is one.
    fn forget_first(&mut self) -> bool {
        let Some((_, key)) = self.order.pop_front() else { return false };
        if let Some(kept) = self.pages.remove(&key) {
            self.bytes -= kept.page.size();
        }
        true
    }
}

/// Counts a reader to those who replay, as long as it is there.
pub(super) struct Replaying(Arc<Shared>);

impl Replaying {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        shared.pages.replaying.fetch_add(1, Ordering::Relaxed);
        Self(shared)
    }
}

impl Drop for Replaying {
    fn drop(&mut self) {
        self.0.pages.replaying.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Reads a stretch, however long that takes, and returns what begins it.
async fn read(
    shared: Arc<Shared>,
    log: Arc<Log>,
    generation: u64,
    after: u64,
    (limit, most): (usize, usize),
) -> Next {
    let name = log.name();
    let stretch = loop {
        match shared.stretch_from(name, after, limit, most).await {
            Ok(stretch) => break stretch,
            Err(error) => {
                warn!(channel = &**name, %error, "cannot read events; will retry");
                if mutant!("failure-taken-for-a-gap") {
                    shared.pages.state().loading.remove(&key(&log, generation, after));
                    return Next::Nothing;
                }
            }
        }
        tokio::time::sleep(STORAGE_PAUSE).await;
    };
    let (pages, large) = stretch.end();
    let up_to = pages.last().map_or(after, |page| page.last());
    let extent = Extent { after, up_to, limit };
    // Of a generation that is over by now nothing is of use.
    if log.end().1 == generation {
        shared.pages.keep(&log, generation, &pages, extent);
    }
    shared.pages.state().loading.remove(&key(&log, generation, after));
    match (pages.first(), large) {
        (Some(page), _) => Next::Page(page.clone(), extent),
        (None, Some(event)) => Next::Large(event),
        (None, None) => Next::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory::Memory;
    use super::stretch::tests::pages;
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pages_are_kept_for_a_moment_and_bounded_in_bytes() {
        let memory = Arc::new(Memory::new(0));
        let [log, other] = [(); 2].map(|()| Arc::new(Log::new("a".into(), true, &memory)));
        let kept = Pages::default();
        let found = |log, generation, after| match kept.find(log, generation, after) {
            Some(Next::Page(page, extent)) => Some((page.first, extent.up_to)),
            _ => None,
        };
        let one = pages(1, 100);
        let keep = |pages: &[Arc<Page>]| {
            let up_to = pages.last().expect("a page").last();
            kept.keep(&log, 0, pages, Extent { after: pages[0].first - 1, up_to, limit: 100 });
            up_to
        };
        let up_to = keep(&one);
        assert_eq!(found(&log, 0, 0), Some((1, up_to)));
        assert_eq!(found(&log, 0, up_to - 1).map(|(_, up_to)| up_to), Some(up_to));
        for (log, generation, after) in [(&log, 0, up_to), (&log, 1, 0), (&other, 0, 0)] {
            assert_eq!(found(log, generation, after), None);
        }
        // The same again counts once.
        let bytes = kept.state().bytes;
        keep(&one);
        assert_eq!(kept.state().bytes, bytes);
        tokio::time::advance(KEPT_FOR / 2).await;
        let mut first = 1000;
        while first < 200_000 {
            let more = pages(first, 100);
            first = keep(&more) + 1;
            assert!(kept.state().bytes <= KEPT_BYTES);
        }
        assert_eq!(found(&log, 0, 0), None, "the first go first");
        assert!(found(&log, 0, first - 2).is_some());
        assert!(kept.state().bytes > KEPT_BYTES / 2);
        tokio::time::advance(KEPT_FOR).await;
        assert_eq!(found(&log, 0, first - 2), None);
        let state = kept.state();
        assert_eq!((state.bytes, state.pages.len(), state.order.len()), (0, 0, 0));
    }
}
