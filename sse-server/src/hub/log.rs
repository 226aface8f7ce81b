//! One channel: where it ends, its last events, and who is to be woken.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Context;

use futures_util::task::AtomicWaker;
use slab::Slab;
use sse_proto::Rendered;

/// How much of a channel is kept in memory, in events and in bytes. A reader that is further behind
/// reads from storage.
const TAIL_EVENTS: usize = 1024;
const TAIL_BYTES: usize = 1 << 20;

/// One channel that somebody reads.
pub(super) struct Log {
    name: Arc<str>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The id of the last visible event. `None` until the storage has been asked.
    head: Option<u64>,
    /// The last visible events, without a gap, up to `head`.
    tail: VecDeque<Rendered>,
    tail_bytes: usize,
    readers: Slab<Arc<Signal>>,
}

/// What [`Log::read`] has found.
pub(super) enum Read {
    /// The events after the position, in order; none if there are none yet.
    Events(Vec<Rendered>),
    /// The events after the position are no longer in memory.
    NotInMemory,
}

impl Log {
    pub(super) fn new(name: Arc<str>) -> Self {
        Self { name, state: Mutex::default() }
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(super) fn head(&self) -> Option<u64> {
        self.state().head
    }

    /// Takes note that the log reaches at least up to here, and returns how far it does: an event may
    /// have become visible since.
    pub(super) fn learn_head(&self, at_least: u64) -> u64 {
        let mut state = self.state();
        match state.head {
            Some(head) if head >= at_least => head,
            _ => {
                state.forget_tail();
                *state.head.insert(at_least)
            }
        }
    }

    /// Makes an event visible and wakes the readers. It has been stored.
    pub(super) fn append(&self, id: u64, event: Rendered) {
        let mut state = self.state();
        match state.head {
            Some(head) if id <= head => return,
            Some(head) if id == head + 1 => {}
            // Others have appended in between. They are in storage; the tail starts anew.
            _ => state.forget_tail(),
        }
        state.head = Some(id);
        state.tail_bytes += event.bytes().len();
        state.tail.push_back(event);
        while state.tail.len() > TAIL_EVENTS
            || (state.tail_bytes > TAIL_BYTES && state.tail.len() > 1)
        {
            let dropped = state.tail.pop_front().expect("longer than one");
            state.tail_bytes -= dropped.bytes().len();
        }
        state.wake_all();
    }

    /// The events after a position, at most `limit`.
    pub(super) fn read(&self, position: u64, limit: usize) -> Read {
        let state = self.state();
        let Some(head) = state.head else {
            return Read::NotInMemory;
        };
        let behind = usize::try_from(head.saturating_sub(position)).unwrap_or(usize::MAX);
        match state.tail.len().checked_sub(behind) {
            Some(start) => Read::Events(state.tail.range(start..).take(limit).cloned().collect()),
            None => Read::NotInMemory,
        }
    }

    /// Adds a reader to be woken, and returns its place.
    pub(super) fn join(&self, signal: Arc<Signal>) -> usize {
        self.state().readers.insert(signal)
    }

    /// Removes a reader, and tells whether there are others.
    pub(super) fn leave(&self, place: usize) -> bool {
        let mut state = self.state();
        state.readers.remove(place);
        !state.readers.is_empty()
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
    fn forget_tail(&mut self) {
        self.tail.clear();
        self.tail_bytes = 0;
    }

    fn wake_all(&self) {
        self.readers.iter().for_each(|(_, signal)| signal.raise());
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Tells a subscriber that one of its logs has grown. Raised any number of times, it wakes once.
#[derive(Debug, Default)]
pub(super) struct Signal {
    is_raised: AtomicBool,
    waker: AtomicWaker,
}

impl Signal {
    pub(super) fn raise(&self) {
        if !self.is_raised.swap(true, Ordering::AcqRel) {
            self.waker.wake();
        }
    }

    /// Whether it has been raised since it was lowered the last time. If not, `cx` is woken when it
    /// is.
    pub(super) fn lower(&self, cx: &Context<'_>) -> bool {
        self.waker.register(cx.waker());
        self.is_raised.swap(false, Ordering::AcqRel)
    }
}
