//! The newest events of a channel: what all its readers here have in common.
//!
//! A reader holds a place in the tail of its channel and no queue of its own.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::sync::watch;
use tokio::time::Instant;

use super::QueueError;
use super::position::{Notation, Position};
use crate::views::Event;

/// The most bytes of a channel's newest events that are kept.
const MOST_BYTES: usize = 4 << 20;

/// A channel that is read here.
pub(super) struct Feed {
    pub(super) name: Arc<str>,
    tail: Mutex<Tail>,
    moved: watch::Sender<()>,
}

struct Tail {
    readers: usize,
    /// Since when there are none.
    idle_since: Option<Instant>,
    subscription: Subscription,
    items: VecDeque<Item>,
    /// How many have been before those.
    gone: u64,
    bytes: usize,
    /// The position before the first item, and that of the last one.
    after: Position,
    last: Position,
}

/// Whether what is sent arrives.
#[derive(Clone, Debug)]
enum Subscription {
    /// Not yet, for this reason if there was a try.
    Opening(Option<String>),
    Open,
    /// Not any more.
    Lost(String),
    /// It never will.
    Refused(Arc<QueueError>),
}

#[derive(Clone)]
pub(super) struct Item {
    pub(super) at: Position,
    pub(super) bytes: Bytes,
    pub(super) is_reset: bool,
}

/// What a reader finds at its place.
pub(super) enum Found {
    Item(Item),
    /// Nothing yet.
    Nothing,
    /// The reader is too slow: it is not there any more.
    Gone,
    Refused(Arc<QueueError>),
}

impl Feed {
    /// With one reader.
    pub(super) fn new(name: &str) -> Self {
        // Of no other subscription, and of none of a process before this one.
        let start = Position(fastrand::u64(..), 0);
        let tail = Tail {
            readers: 1,
            idle_since: None,
            subscription: Subscription::Opening(None),
            items: VecDeque::new(),
            gone: 0,
            bytes: 0,
            after: start,
            last: start,
        };
        Self { name: name.into(), tail: Mutex::new(tail), moved: watch::Sender::new(()) }
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn join(&self) {
        self.tail().readers += 1;
    }

    /// Returns whether it was the last one.
    pub(super) fn leave(&self, now: Instant) -> bool {
        let mut tail = self.tail();
        tail.readers -= 1;
        tail.idle_since = Some(now);
        tail.readers == 0
    }

    /// Whether nobody has read it since then.
    pub(super) fn is_idle_since(&self, since: Instant) -> bool {
        let tail = self.tail();
        tail.readers == 0 && tail.idle_since == Some(since)
    }

    /// Nothing arrives any more, for this reason.
    pub(super) fn lost(&self, why: &str) {
        let mut tail = self.tail();
        tail.subscription = match tail.subscription {
            Subscription::Opening(_) => Subscription::Opening(Some(why.to_owned())),
            Subscription::Open | Subscription::Lost(_) => Subscription::Lost(why.to_owned()),
            Subscription::Refused(_) => return,
        };
    }

    pub(super) fn refuse(&self, error: QueueError) {
        self.tail().subscription = Subscription::Refused(Arc::new(error));
        self.moved.send_replace(());
    }

    /// For waiting until there is more at some place than [`find`](Self::find) has found.
    pub(super) fn moved(&self) -> watch::Receiver<()> {
        self.moved.subscribe()
    }

    /// From now on everything arrives, from this position on if the queue has any. If it did
    /// before, and is not said to be whole, something may have been missed since.
    pub(super) fn opened(&self, notation: Notation, at: Option<Position>, is_whole: bool) {
        let mut tail = self.tail();
        let is_first = matches!(tail.subscription, Subscription::Opening(_));
        tail.subscription = Subscription::Open;
        match at {
            Some(at) if is_first => (tail.after, tail.last) = (at, at),
            Some(at) => tail.restart(at),
            None if is_whole || is_first => {}
            None => tail.reset(notation, None),
        }
        drop(tail);
        self.moved.send_replace(());
    }

    pub(super) fn add(&self, at: Option<Position>, notation: Notation, event: Event, most: usize) {
        let mut tail = self.tail();
        let at = at.unwrap_or_else(|| tail.next());
        let Some(item) = Item::event(at, notation, event) else { return };
        tail.push(item, most);
        drop(tail);
        self.moved.send_replace(());
    }

    /// What is at this position is no event.
    pub(super) fn passed(&self, at: Option<Position>) {
        let mut tail = self.tail();
        tail.last = at.unwrap_or(tail.last);
    }

    /// Whether it is known from where on its events are here.
    pub(super) fn has_been_open(&self) -> bool {
        !matches!(self.tail().subscription, Subscription::Opening(_))
    }

    /// Events are missing here.
    pub(super) fn reset(&self, notation: Notation, at: Option<Position>) {
        self.tail().reset(notation, at);
        self.moved.send_replace(());
    }

    pub(super) fn is_refused(&self) -> bool {
        matches!(self.tail().subscription, Subscription::Refused(_))
    }

    /// Waits until it is known whether it can be read.
    pub(super) async fn is_open(&self) -> Result<(), Arc<QueueError>> {
        let mut moved = self.moved();
        loop {
            match &self.tail().subscription {
                Subscription::Open => return Ok(()),
                Subscription::Refused(error) => return Err(error.clone()),
                Subscription::Opening(_) | Subscription::Lost(_) => {}
            }
            // The sender is a part of this.
            moved.changed().await.ok();
        }
    }

    /// Why it is not open.
    pub(super) fn problem(&self) -> String {
        match &self.tail().subscription {
            Subscription::Opening(Some(why)) | Subscription::Lost(why) => why.clone(),
            _ => "no answer".to_owned(),
        }
    }

    /// The place after all that is there.
    pub(super) fn end(&self) -> (u64, Position) {
        let tail = self.tail();
        (tail.gone + tail.items.len() as u64, tail.last)
    }

    /// The position before this place, if that is known yet.
    pub(super) fn position_before(&self, place: u64) -> Option<Position> {
        let tail = self.tail();
        match usize::try_from(place.checked_sub(tail.gone)?).ok()? {
            0 => Some(tail.after),
            index => tail.items.get(index - 1).map(|item| item.at),
        }
    }

    /// The place of the first one that is there, and the position before it.
    pub(super) fn start(&self) -> (u64, Position) {
        let tail = self.tail();
        (tail.gone, tail.after)
    }

    /// The place after this position, if it is one of those that are there.
    pub(super) fn place_after(&self, position: Position) -> Option<u64> {
        let tail = self.tail();
        if position == tail.after {
            return Some(tail.gone);
        }
        let index = tail.items.partition_point(|item| item.at < position);
        // Of a reset and an event at its position, the last one.
        let same = tail.items.range(index..).take_while(|item| item.at == position).count();
        (same > 0).then(|| tail.gone + (index + same) as u64)
    }

    /// Where everything after this position is, if all of it is there.
    pub(super) fn place_from(&self, position: Position) -> Option<u64> {
        let tail = self.tail();
        let index = tail.items.partition_point(|item| item.at <= position);
        (position >= tail.after).then(|| tail.gone + index as u64)
    }

    pub(super) fn find(&self, place: u64) -> Found {
        let tail = self.tail();
        let Some(index) = place.checked_sub(tail.gone) else { return Found::Gone };
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        match (tail.items.get(index), &tail.subscription) {
            (Some(item), _) => Found::Item(item.clone()),
            (None, Subscription::Refused(error)) => Found::Refused(error.clone()),
            (None, _) => Found::Nothing,
        }
    }
}

impl Item {
    pub(super) fn event(at: Position, notation: Notation, event: Event) -> Option<Self> {
        let mut bytes = BytesMut::new();
        let is_fault = event.id(notation.write(at)).encode(&mut bytes);
        debug_assert!(!is_fault, "it was checked");
        (!is_fault).then(|| Self { at, bytes: bytes.freeze(), is_reset: false })
    }

    /// Events are missing before this position.
    pub(super) fn reset(at: Position, notation: Notation) -> Self {
        let mut bytes = BytesMut::new();
        Event::reset_at(&notation.write(at)).encode(&mut bytes);
        Self { at, bytes: bytes.freeze(), is_reset: true }
    }
}

impl Tail {
    const fn next(&self) -> Position {
        Position(self.last.0, self.last.1 + 1)
    }

    fn reset(&mut self, notation: Notation, at: Option<Position>) {
        let at = at.unwrap_or_else(|| self.next());
        // Positions may begin anew with it.
        if at < self.last {
            self.gone += self.items.len() as u64;
            self.items.clear();
            self.bytes = 0;
            self.after = Position(at.0, at.1.saturating_sub(1));
        }
        self.push(Item::reset(at, notation), usize::MAX);
    }

    /// Begins anew here. Readers have to look what they have missed.
    fn restart(&mut self, at: Position) {
        // One more, so that no reader is there already.
        self.gone += self.items.len() as u64 + 1;
        self.items.clear();
        self.bytes = 0;
        (self.after, self.last) = (at, at);
    }

    fn push(&mut self, item: Item, most: usize) {
        self.last = item.at;
        self.bytes += item.bytes.len();
        self.items.push_back(item);
        while self.items.len() > most || (self.bytes > MOST_BYTES && self.items.len() > 1) {
            let Some(item) = self.items.pop_front() else { break };
            self.after = item.at;
            self.bytes -= item.bytes.len();
            self.gone += 1;
        }
    }
}
