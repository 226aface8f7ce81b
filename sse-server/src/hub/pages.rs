//! Pages of history, rendered: those who replay the same part of a channel share it.
//!
//! What comes after a position is read from the storage once, however many ask for it at the same
//! time or shortly after each other: the first asks, the others wait for the answer, and what it
//! is stays here for a moment. More is read than fits into a page, a [stretch](Pages::load), and the
//! next stretch is read while one is being written.
//!
//! May enter: what a page is, and how long it stays. May not: whose turn it is to read one.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::Write;
use std::ops::{ControlFlow, Range};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared as SharedFuture, WeakShared};
use sse_proto::{DEFAULT_EVENT_TYPE, Event, event_id};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::warn;

use super::Shared;
use super::event::KeptEvent;
use super::log::Log;
use super::pieces::ROUND_BYTES;
use super::publish::clean;
use crate::ServiceError;
use crate::storage::EventRef;

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

/// Events of a channel that follow each other, as they go to those who read nothing else; not more
/// than [`ROUND_BYTES`].
pub(super) struct Page {
    first: u64,
    bytes: Bytes,
    events: Box<[Place]>,
    /// The users who do not get an event, by the event's index, where there are any.
    skip_users: Box<[(usize, Box<[String]>)]>,
}

/// Where in a page an event is.
#[derive(Clone, Copy)]
struct Place {
    /// Where its `id` line begins and ends, and where it ends itself.
    id_start: u32,
    id_end: u32,
    end: u32,
}

impl Page {
    fn last(&self) -> u64 {
        self.first + self.events.len() as u64 - 1
    }

    /// Where an event is that is in it.
    pub(super) fn index_of(&self, id: u64) -> Option<usize> {
        let index = usize::try_from(id.checked_sub(self.first)?).ok()?;
        (index < self.events.len()).then_some(index)
    }

    /// The events from here on, at most so many, and with at most so many bytes, but one in any
    /// case; and how many bytes they have.
    pub(super) fn run(&self, from: usize, limit: usize, most: usize) -> (Range<usize>, usize) {
        let start = self.start(from);
        let to = self.events.len().min(from.saturating_add(limit.max(1)));
        let fits = |place: &Place| place.end as usize - start <= most;
        let count = self.events[from..to].partition_point(fits).max(1);
        (from..from + count, self.start(from + count) - start)
    }

    /// These events.
    pub(super) fn bytes(&self, events: Range<usize>) -> Bytes {
        self.bytes.slice(self.start(events.start)..self.start(events.end))
    }

    /// The type that a reader sees.
    pub(super) fn event_type(&self, index: usize) -> &str {
        let line = self.head(index).strip_prefix(b"event: ").and_then(|line| line.split_last());
        line.map_or(DEFAULT_EVENT_TYPE, |(_, name)| {
            str::from_utf8(name).expect("it was rendered from text")
        })
    }

    /// Whether this user gets an event.
    pub(super) fn is_for(&self, index: usize, user: &str) -> bool {
        let found = self.skip_users.binary_search_by_key(&index, |(index, _)| *index);
        let mut skipped = found.iter().flat_map(|&found| &self.skip_users[found].1);
        !skipped.any(|skipped| skipped == user)
    }

    /// Whether everyone gets all of them.
    pub(super) fn is_for_all(&self) -> bool {
        self.skip_users.is_empty()
    }

    /// What comes before the `id` line of an event.
    pub(super) fn head(&self, index: usize) -> &[u8] {
        &self.bytes[self.start(index)..self.events[index].id_start as usize]
    }

    /// What comes after the `id` line of an event.
    pub(super) fn tail(&self, index: usize) -> Bytes {
        let Place { id_end, end, .. } = self.events[index];
        self.bytes.slice(id_end as usize..end as usize)
    }

    fn start(&self, index: usize) -> usize {
        index.checked_sub(1).map_or(0, |before| self.events[before].end as usize)
    }

    /// What it takes of memory.
    fn size(&self) -> usize {
        self.bytes.len() + size_of_val(&*self.events) + size_of::<Self>()
    }
}

/// What comes after a position.
#[derive(Clone)]
pub(super) enum Next {
    /// A page that has the next event, though perhaps not as its first; and the last event of the
    /// stretch that it is of.
    Page(Arc<Page>, u64),
    /// An event that is too large for a page.
    Large(KeptEvent),
    /// Not the next event.
    Nothing,
}

/// A stretch under way. It moves as long as somebody waits for it.
pub(super) type Loading = SharedFuture<BoxFuture<'static, Next>>;

/// Pages that were read, the last of all channels.
#[derive(Default)]
pub(super) struct Pages {
    state: Mutex<State>,
    /// How many replay.
    replaying: AtomicUsize,
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
    /// The last event of the stretch.
    up_to: u64,
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
        let (_, Kept { page, up_to, .. }) = before.last()?;
        page.index_of(id).map(|_| Next::Page(page.clone(), *up_to))
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

    fn keep(&self, log: &Arc<Log>, generation: u64, pages: &[Arc<Page>]) {
        let Some(up_to) = pages.last().map(|page| page.last()) else { return };
        let now = Instant::now();
        let mut state = self.state();
        for page in pages {
            let key = key(log, generation, page.first);
            let kept = Kept { page: page.clone(), up_to, _log: Arc::downgrade(log) };
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
            }
        }
        tokio::time::sleep(STORAGE_PAUSE).await;
    };
    let (pages, large) = stretch.end();
    // Of a generation that is over by now nothing is of use.
    if log.end().1 == generation {
        shared.pages.keep(&log, generation, &pages);
    }
    shared.pages.state().loading.remove(&key(&log, generation, after));
    match (pages.first(), large) {
        (Some(page), _) => Next::Page(page.clone(), pages.last().unwrap_or(page).last()),
        (None, Some(event)) => Next::Large(event),
        (None, None) => Next::Nothing,
    }
}

/// A stretch that a storage has, and gives back with the visitor.
struct Seeing(Option<(Stretch, oneshot::Sender<Stretch>)>);

impl Drop for Seeing {
    fn drop(&mut self) {
        if let Some((stretch, back)) = self.0.take() {
            back.send(stretch).ok();
        }
    }
}

/// Pages that are being made.
pub(super) struct Stretch {
    pages: Vec<Arc<Page>>,
    large: Option<KeptEvent>,
    /// How many bytes there may be more.
    room: usize,
    /// The id of the next event; and as text, of which so much does not change.
    next: u64,
    id: String,
    id_prefix: usize,
    /// The page under way.
    out: BytesMut,
    events: Vec<Place>,
    skip_users: Vec<(usize, Box<[String]>)>,
}

impl Stretch {
    /// What comes after this event, at most so many bytes.
    fn new(channel: &str, after: u64, most: usize) -> Self {
        let mut id = event_id(channel, 0);
        id.pop();
        Self {
            pages: Vec::with_capacity(most / ROUND_BYTES + 1),
            large: None,
            room: most,
            next: after + 1,
            id_prefix: id.len(),
            id,
            out: BytesMut::new(),
            events: Vec::new(),
            skip_users: Vec::new(),
        }
    }

    /// Reads it from the storage.
    pub(super) async fn read(
        shared: &Shared,
        channel: &str,
        after: u64,
        (limit, most): (usize, usize),
    ) -> Result<Self, ServiceError> {
        let (back, stretch) = oneshot::channel();
        let mut seeing = Seeing(Some((Self::new(channel, after, most), back)));
        let visitor = Box::new(move |event: EventRef<'_>| {
            seeing.0.as_mut().map_or(ControlFlow::Break(()), |(stretch, _)| stretch.see(event))
        });
        shared.storage.visit(channel, after, limit, visitor).await?;
        stretch.await.map_err(|error| ServiceError::new("read events", error))
    }

    /// Whether it has the first event.
    pub(super) fn is_begun(&self) -> bool {
        self.large.is_some() || !self.pages.is_empty() || !self.events.is_empty()
    }

    /// Renders an event, if it is the next one.
    fn see(&mut self, event: EventRef<'_>) -> ControlFlow<()> {
        // Dense ids make a gap visible, wherever it comes from.
        if event.id != self.next {
            return ControlFlow::Break(());
        }
        self.id.truncate(self.id_prefix);
        write!(self.id, "{}", event.id).expect("writing to memory cannot fail");
        let event_type = clean(event.event_type);
        // With what stands around them, or a little less if there are line ends in the data.
        let len = event_type.len() + self.id.len() + event.data.len() + 21;
        if len > ROUND_BYTES && self.is_begun() {
            return ControlFlow::Break(());
        }
        if self.out.len() + len > ROUND_BYTES {
            self.turn();
        }
        if self.out.capacity() == 0 {
            self.out.reserve(ROUND_BYTES);
        }
        let rendered = Event::builder(event.data).event_type(&event_type).id(&self.id).build();
        let rendered = rendered.expect("a clean type, and an id that is percent-encoded");
        let start = self.out.len();
        let id_start = start + if event_type.is_empty() { 0 } else { event_type.len() + 8 };
        rendered.encode_into(&mut self.out);
        let len = self.out.len() - start;
        if self.out.len() > ROUND_BYTES {
            let whole = self.out.split_off(start);
            if len > ROUND_BYTES && !self.is_begun() {
                let users: Vec<String> =
                    event.skip_users.iter().map(|&user| user.to_owned()).collect();
                self.large = Some(KeptEvent::new(&rendered, &users));
            }
            self.turn();
            if len > ROUND_BYTES {
                return ControlFlow::Break(());
            }
            self.out.reserve(ROUND_BYTES);
            self.out.extend_from_slice(&whole);
            return self.add(event, 0, id_start - start);
        }
        self.add(event, start, id_start)
    }

    /// Takes note of the event that was rendered last.
    fn add(&mut self, event: EventRef<'_>, start: usize, id_start: usize) -> ControlFlow<()> {
        let at = |place: usize| u32::try_from(place).expect("a page is smaller");
        if !event.skip_users.is_empty() {
            let users = event.skip_users.iter().map(|&user| user.to_owned()).collect();
            self.skip_users.push((self.events.len(), users));
        }
        let id_end = id_start + self.id.len() + "id: \n".len();
        self.events.push(Place {
            id_start: at(id_start),
            id_end: at(id_end),
            end: at(self.out.len()),
        });
        self.next += 1;
        self.room = self.room.saturating_sub(self.out.len() - start);
        if self.room > 0 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    /// Ends the page under way, if there is an event in it.
    fn turn(&mut self) {
        if self.events.is_empty() {
            return;
        }
        let out = std::mem::take(&mut self.out);
        // One that is far from full takes no more than it has.
        let is_full = out.len() >= out.capacity() / 4 * 3;
        let bytes = if is_full { out.freeze() } else { Bytes::copy_from_slice(&out) };
        self.pages.push(Arc::new(Page {
            first: self.next - self.events.len() as u64,
            bytes,
            events: std::mem::take(&mut self.events).into(),
            skip_users: std::mem::take(&mut self.skip_users).into(),
        }));
    }

    fn end(mut self) -> (Vec<Arc<Page>>, Option<KeptEvent>) {
        self.turn();
        (self.pages, self.large)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::publish::render_stored;
    use super::*;
    use crate::storage::StoredEvent;

    /// What a stretch makes of these events, with ids from 1 on.
    fn stretch(events: &[StoredEvent], most: usize) -> (Vec<Arc<Page>>, Option<KeptEvent>) {
        let mut stretch = Stretch::new("a b", 0, most);
        for event in events {
            let users: Vec<&str> = event.skip_users.iter().map(|user| &**user).collect();
            let StoredEvent { id, event_type, data, .. } = event;
            let seen = EventRef { id: *id, event_type, data, skip_users: &users };
            if stretch.see(seen).is_break() {
                break;
            }
        }
        stretch.end()
    }

    fn events() -> impl Strategy<Value = Vec<StoredEvent>> {
        let line =
            prop_oneof![8 => Just(0), 1 => Just(ROUND_BYTES / 2), 1 => Just(ROUND_BYTES - 40)];
        let data =
            (line, "\\PC{0,9}", prop::bool::weighted(0.1)).prop_map(|(len, end, is_broken)| {
                // Line ends become seven bytes each.
                let text = if is_broken { "\n".repeat(len / 4) } else { "x".repeat(len) };
                text + &end
            });
        let event_type = prop_oneof![Just(""), Just("message"), Just("t"), Just("a\r\nb")];
        let users = prop::collection::vec("u[0-3]", 0..2);
        prop::collection::vec((event_type, data, users), 1..60).prop_map(|events| {
            let event = |(id, (event_type, data, users)): (u64, (&str, String, Vec<String>))| {
                StoredEvent::new(id, event_type, data).skip_users(users)
            };
            (1..).zip(events).map(event).collect()
        })
    }

    proptest! {
        #[test]
        fn pages_are_the_events_one_after_the_other_and_none_is_large(events in events()) {
            let (pages, large) = stretch(&events, 1 << 30);
            let mut left = events.iter();
            for page in &pages {
                prop_assert!(page.bytes.len() <= ROUND_BYTES);
                for index in 0..page.events.len() {
                    let event = left.next().expect("no more than there were");
                    prop_assert_eq!(page.index_of(event.id), Some(index));
                    let whole = render_stored("a b", event.id, event);
                    prop_assert_eq!(page.bytes(index..index + 1), whole.bytes());
                    prop_assert_eq!(page.head(index), whole.head());
                    prop_assert_eq!(page.tail(index), whole.tail());
                    prop_assert_eq!(page.event_type(index), whole.event_type());
                    for user in ["u1", "u2"] {
                        prop_assert_eq!(page.is_for(index, user), whole.is_for(user));
                    }
                }
                let is_for_all = |id: u64| events[id as usize - 1].skip_users.is_empty();
                prop_assert_eq!(page.is_for_all(), (page.first..=page.last()).all(is_for_all));
            }
            // It ends before an event that is large, or with it, if that is all.
            if let Some(event) = large {
                prop_assert!(pages.is_empty());
                prop_assert!(event.len() > ROUND_BYTES);
            } else if let Some(event) = left.next() {
                let len = render_stored("a b", event.id, event).len();
                prop_assert!(len > ROUND_BYTES - 21, "{} bytes are a reason to end", len);
            }
        }

        #[test]
        fn a_run_has_at_most_so_many_events_and_bytes_and_one_in_any_case(
            events in events(), limit in 1_usize..9, most in 0_usize..2000,
        ) {
            for page in stretch(&events, 1 << 30).0 {
                let mut from = 0;
                while from < page.events.len() {
                    let (run, bytes) = page.run(from, limit, most);
                    prop_assert_eq!(page.bytes(run.clone()).len(), bytes);
                    prop_assert_eq!(run.start, from);
                    prop_assert!(run.len() == 1 || bytes <= most && run.len() <= limit);
                    let is_last = run.end == page.events.len() || run.len() == limit;
                    prop_assert!(is_last || page.bytes(from..run.end + 1).len() > most);
                    from = run.end;
                }
            }
        }
    }

    #[test]
    fn a_stretch_ends_where_an_event_is_missing_or_there_is_enough() {
        let events = |ids: &[u64]| {
            ids.iter().map(|&id| StoredEvent::new(id, "", "x".repeat(1000))).collect::<Vec<_>>()
        };
        let last = |ids: &[u64], most| {
            let (pages, _) = stretch(&events(ids), most);
            pages.last().map(|page| page.last())
        };
        assert_eq!(last(&[1, 2, 4], 1 << 30), Some(2));
        assert_eq!(last(&[2, 3], 1 << 30), None);
        assert_eq!(last(&[1, 2, 3, 4, 5], 3000), Some(3));
    }
}
