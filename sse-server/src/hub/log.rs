//! One channel: where it ends, its last events, and the readers to wake.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use slab::Slab;
use tokio::time::Instant;

use super::event::KeptEvent;
use super::memory::Memory;
use super::pieces::ROUND_BYTES;
pub(super) use super::wake::Signal;

/// How much of a channel is kept in memory, in events and in bytes. A reader that is further behind
/// reads from storage.
const TAIL_EVENTS: usize = 1024;
const TAIL_BYTES: usize = 1 << 20;

/// One channel that somebody reads.
pub(super) struct Log {
    name: Arc<str>,
    /// Its events are stored.
    is_lasting: bool,
    state: Mutex<State>,
    /// From when its times are counted.
    began: Instant,
    /// When its last event became visible, in microseconds from then. 0: none did here.
    grown: AtomicU64,
}

struct State {
    /// The id of the last visible event. `None` until the storage has been asked.
    head: Option<u64>,
    /// The last visible events, without a gap, up to `head`.
    tail: Tail,
    /// Grows when the storage has lost what had been visible: positions from before mean nothing.
    generation: u64,
    /// Where this generation has begun.
    base: u64,
    /// It began because everything had been lost, and ids went on: whoever is beyond the base is of
    /// this generation.
    goes_on: bool,
    /// How many events without an id there have been, and the last of them.
    live_head: u64,
    live: Tail,
    /// Whom to wake: a reader, or many of them at rest.
    signals: Slab<Arc<Signal>>,
    readers: usize,
}

/// The last events of a log, within bounds.
struct Tail {
    events: VecDeque<Entry>,
    bytes: usize,
    memory: Arc<Memory>,
}

/// A visible event in its place in the log.
struct Entry {
    event: KeptEvent,
    /// Of an event without an id: the head when it came, after which it belongs.
    after: u64,
    /// When it became visible, in microseconds from when the log began.
    at: u64,
}

/// What became of an event that was [appended](Log::append).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Appended {
    /// It is visible, now or since before.
    Visible,
    /// Others have appended before it. They, and then it, must be read from storage.
    AfterOthers,
    /// It is older than what is visible, and no longer in memory; or the storage has begun anew.
    Unclear,
}

/// How far a reader has read a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At {
    /// The id of the last event that has gone out.
    pub(super) id: u64,
    /// How many of the events without an id have gone out.
    pub(super) live: u64,
    /// The generation of ids that this belongs to.
    pub(super) generation: u64,
}

/// What [`Log::ahead`] has found.
pub(super) enum Ahead {
    /// The reader has everything.
    Nothing,
    /// Events, each with whether it is one without an id; and where the reader is behind them.
    Events(Vec<(KeptEvent, bool)>, At),
    /// Not events from memory: they are in the storage, or gone, or the next one is too large to go
    /// out at once.
    Elsewhere,
}

/// What [`Log::read`] has found.
pub(super) enum Read {
    /// The events after the position, in order; none if there are none yet.
    Events(Vec<KeptEvent>),
    /// The events after the position are no longer in memory.
    NotInMemory,
}

impl Log {
    pub(super) fn new(name: Arc<str>, is_lasting: bool, memory: &Arc<Memory>) -> Self {
        let tail = || Tail { events: VecDeque::new(), bytes: 0, memory: memory.clone() };
        let state = State {
            head: None,
            tail: tail(),
            generation: 0,
            base: 0,
            goes_on: false,
            live_head: 0,
            live: tail(),
            signals: Slab::new(),
            readers: 0,
        };
        let (state, grown) = (Mutex::new(state), AtomicU64::new(0));
        Self { name, is_lasting, state, began: Instant::now(), grown }
    }

    pub(super) const fn is_lasting(&self) -> bool {
        self.is_lasting
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(super) fn head(&self) -> Option<u64> {
        self.state().head
    }

    /// Where it ends, and in which generation of its ids.
    pub(super) fn end(&self) -> (u64, u64) {
        let state = self.state();
        (state.head.unwrap_or_default(), state.generation)
    }

    /// Where the present generation of its ids has begun: who is told of a loss goes on from there.
    pub(super) fn base(&self) -> u64 {
        self.state().base
    }

    /// Whether this event is not the one that it has seen with this id, or none that it remembers.
    pub(super) fn is_stranger(&self, id: u64, event: impl FnOnce() -> KeptEvent) -> bool {
        let state = self.state();
        let Some(head) = state.head.filter(|head| id <= *head) else { return false };
        let known = usize::try_from(head - id).ok().and_then(|back| {
            let index = state.tail.events.len().checked_sub(back + 1)?;
            state.tail.events.get(index)
        });
        known.is_none_or(|known| known.event != event())
    }

    /// How many events without an id there have been.
    pub(super) fn live_head(&self) -> u64 {
        self.state().live_head
    }

    /// Takes note that the log reaches at least up to here, and returns how far it does: an event
    /// may have become visible since.
    pub(super) fn learn_head(&self, at_least: u64) -> u64 {
        let mut state = self.state();
        match state.head {
            Some(head) if head >= at_least => head,
            _ => {
                state.tail.clear();
                state.head = Some(at_least);
                state.wake_all();
                at_least
            }
        }
    }

    /// Whether a position of the generation before is one of the present generation: of a reader
    /// that had learned at another instance what this one did not know yet.
    pub(super) fn is_of_present(&self, at: At) -> bool {
        let state = self.state();
        at.generation + 1 == state.generation
            && state.goes_on
            // Who is at the base has everything up to there, of whichever generation.
            && at.id >= state.base + u64::from(mutant!("loss-told-at-its-end"))
            && !mutant!("loss-told-twice")
    }

    /// Takes note that the storage has lost events that had been visible, and ends here now. Every
    /// reader is told. If ids go on, all that are given from now on are behind this one.
    pub(super) fn begin_anew(&self, head: u64, goes_on: bool) {
        let mut state = self.state();
        state.begin_anew(head);
        state.goes_on = goes_on;
        state.wake_all();
    }

    /// Makes an event visible and wakes the readers, if it is the next one. It has been stored.
    pub(super) fn append(&self, id: u64, event: KeptEvent) -> Appended {
        let mut state = self.state();
        match state.head {
            Some(head) if id <= head => {
                let back = usize::try_from(head - id).unwrap_or(usize::MAX).saturating_add(1);
                let known = state.tail.events.len().checked_sub(back);
                return match known.map(|index| &state.tail.events[index]) {
                    Some(known) if known.event == event => Appended::Visible,
                    _ => Appended::Unclear,
                };
            }
            Some(head) if id > head + 1 && !mutant!("append-out-of-order") => {
                return Appended::AfterOthers;
            }
            Some(_) => {}
            // The storage has not been asked yet; the answer will have this event.
            None => state.tail.clear(),
        }
        state.head = Some(id);
        let at = self.grows();
        state.tail.push(Entry { event, after: 0, at });
        state.wake_all();
        Appended::Visible
    }

    /// Makes an event visible that has no id: only the readers of this moment get it.
    pub(super) fn append_live(&self, event: KeptEvent) {
        let mut state = self.state();
        let after = state.head.unwrap_or_default();
        state.live_head += 1;
        let at = self.grows();
        state.live.push(Entry { event, after, at });
        state.wake_all();
    }

    /// How long ago its last event became visible, if one did here.
    pub(super) fn age(&self) -> Option<Duration> {
        match self.grown.load(Ordering::Relaxed) {
            0 => None,
            grown => Some(self.began.elapsed().saturating_sub(Duration::from_micros(grown))),
        }
    }

    /// Takes note that an event becomes visible, and returns when that is.
    fn grows(&self) -> u64 {
        let now = micros(self.began.elapsed()).max(1);
        self.grown.store(now, Ordering::Relaxed);
        now
    }

    /// Forgets what became visible longer ago than this. Who has not read it reads it from storage;
    /// what has no id is gone, which a reader is told.
    pub(super) fn forget(&self, age: Duration) {
        let before = micros(self.began.elapsed().saturating_sub(age));
        let mut state = self.state();
        state.tail.forget(before);
        state.live.forget(before);
    }

    /// The events after a position, at most `limit`.
    pub(super) fn read(&self, position: u64, limit: usize) -> Read {
        let state = self.state();
        match state.head {
            Some(head) => match state.tail.after(head, position) {
                Some(entries) => {
                    Read::Events(entries.take(limit).map(|entry| entry.event.clone()).collect())
                }
                None => Read::NotInMemory,
            },
            None => Read::NotInMemory,
        }
    }

    /// The events without an id after this many of them, as far as they belong before the next
    /// event with one; and how many of those may be read before the next without.
    pub(super) fn read_live(
        &self,
        live_position: u64,
        position: u64,
        limit: usize,
    ) -> (Read, usize) {
        let state = self.state();
        let Some(entries) = state.live.after(state.live_head, live_position) else {
            return (Read::NotInMemory, limit);
        };
        let mut entries = entries.take(limit).peekable();
        let due = std::iter::from_fn(|| entries.next_if(|entry| entry.after <= position));
        let due = due.map(|entry| entry.event.clone()).collect();
        let ahead = entries.peek().map_or(u64::MAX, |next| next.after - position);
        (Read::Events(due), usize::try_from(ahead).unwrap_or(usize::MAX))
    }

    /// The events after a position, with an id and without, in the order in which readers get them;
    /// at most [`ROUND_BYTES`].
    pub(super) fn ahead(&self, from: At) -> Ahead {
        let state = self.state();
        // A reader that comes from another instance may be ahead of this one. It waits: nothing
        // else could do more for it, and whoever tried would be asked again at once.
        let head = state.head.filter(|&head| from.id <= head || !mutant!("ahead-spins"));
        let Some(head) = head else { return Ahead::Elsewhere };
        let stored = state.tail.after(head, from.id);
        let live = state.live.after(state.live_head, from.live);
        let (Some(mut stored), Some(live)) = (stored, live) else { return Ahead::Elsewhere };
        if state.generation != from.generation {
            return Ahead::Elsewhere;
        }
        let mut live = live.peekable();
        let (mut events, mut bytes, mut to) = (Vec::new(), 0, from);
        loop {
            let next = live.next_if(|entry| entry.after <= to.id).map(|entry| (entry, true));
            let Some((entry, is_live)) = next.or_else(|| Some((stored.next()?, false))) else {
                break;
            };
            bytes += entry.event.len();
            if bytes > ROUND_BYTES {
                break;
            }
            if is_live {
                to.live += 1;
            } else {
                to.id += 1;
            }
            events.push((entry.event.clone(), is_live));
        }
        match (events.is_empty(), bytes) {
            (true, 0) => Ahead::Nothing,
            // One that goes out in pieces.
            (true, _) => Ahead::Elsewhere,
            (false, _) => Ahead::Events(events, to),
        }
    }

    /// Adds a reader to be woken, and returns the place of its signal.
    pub(super) fn join(&self, signal: Arc<Signal>) -> usize {
        let mut state = self.state();
        state.readers += 1;
        state.signals.insert(signal)
    }

    /// Removes a reader, and tells whether there are others.
    pub(super) fn leave(&self, place: usize) -> bool {
        let mut state = self.state();
        state.signals.remove(place);
        state.readers -= 1;
        state.readers > 0
    }

    /// Adds a signal, and no reader: that of many that rest, or of one that has rested.
    pub(super) fn add_signal(&self, signal: Arc<Signal>) -> usize {
        self.state().signals.insert(signal)
    }

    /// Removes a signal. Its reader stays one.
    pub(super) fn remove_signal(&self, place: usize) {
        self.state().signals.remove(place);
    }

    /// How many readers it has.
    pub(super) fn readers(&self) -> usize {
        self.state().readers
    }

    pub(super) fn wake_all(&self) {
        self.state().wake_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic in one of the short sections above would leave a state that is still in order.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn begin_anew(&mut self, head: u64) {
        self.tail.clear();
        self.head = Some(head);
        self.base = head;
        self.generation += 1;
    }

    fn wake_all(&self) {
        let most = if mutant!("one-reader-woken") { 1 } else { usize::MAX };
        self.signals.iter().take(most).for_each(|(_, signal)| signal.raise());
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl Tail {
    fn push(&mut self, entry: Entry) {
        let len = entry.event.len();
        self.bytes += len;
        self.memory.grows(len);
        self.events.push_back(entry);
        while self.events.len() > TAIL_EVENTS || (self.bytes > TAIL_BYTES && self.events.len() > 1)
        {
            self.drop_first();
        }
    }

    fn drop_first(&mut self) {
        if let Some(dropped) = self.events.pop_front() {
            let len = dropped.event.len();
            self.bytes -= len;
            self.memory.shrinks(len);
        }
    }

    /// Forgets what became visible before this.
    fn forget(&mut self, before: u64) {
        while self.events.front().is_some_and(|entry| entry.at < before) {
            self.drop_first();
        }
        if self.events.capacity() > 64 && self.events.len() < self.events.capacity() / 4 {
            self.events.shrink_to(2 * self.events.len());
        }
    }

    /// The events after a position, if this is the end of a log up to `head`. `None`: not all of
    /// them are here.
    fn after(&self, head: u64, position: u64) -> Option<impl Iterator<Item = &Entry>> {
        let behind = usize::try_from(head.saturating_sub(position)).unwrap_or(usize::MAX);
        let behind =
            if mutant!("tail-taken-for-all") { behind.min(self.events.len()) } else { behind };
        let start = self.events.len().checked_sub(behind)?;
        Some(self.events.range(start..))
    }

    fn clear(&mut self) {
        self.events.clear();
        self.memory.shrinks(std::mem::take(&mut self.bytes));
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.clear();
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("name", &self.name).finish_non_exhaustive()
    }
}
