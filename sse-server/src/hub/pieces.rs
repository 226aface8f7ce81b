//! Events that are too large to be handed out at once.
//!
//! A reader gets such an event in pieces, and holds nothing of it in between: a reader that stands
//! still costs the same however large the event is. Where it is in the event is a number; the event
//! is in the log's tail, or in a memory that all readers share, or is read again from the storage.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::event::KeptEvent;
use super::log::Log;
use super::outgoing::Outgoing;

/// How many bytes a reader is handed at a time. More is read only when these have been taken, so
/// that a reader which stands still holds no more.
pub(super) const ROUND_BYTES: usize = 24 << 10;

/// Whether an event is handed out in pieces.
pub(super) fn is_large(event: &KeptEvent) -> bool {
    event.len() > ROUND_BYTES
}

/// How many bytes of large events are remembered for those who are within one. More readers than
/// fit read the same event from the storage again for each piece.
const REMEMBERED_BYTES: usize = 16 << 20;

/// An event that a reader has got a part of.
#[derive(Debug)]
pub(super) struct Begun {
    /// Which of the reader's channels it is of.
    pub(super) index: usize,
    /// The event, if it is stored nowhere.
    pub(super) live: Option<KeptEvent>,
    /// The id that it is written with, unless it is its own.
    id: Option<String>,
    /// How many of its bytes have gone out.
    sent: usize,
}

impl Begun {
    pub(super) const fn new(index: usize, live: Option<KeptEvent>, id: Option<String>) -> Self {
        Self { index, live, id, sent: 0 }
    }

    /// Appends the next piece, and says whether it was the last. It is a copy: what a reader that
    /// stands still has not taken would keep the whole event in memory otherwise.
    pub(super) fn write(&mut self, event: &KeptEvent, out: &mut Outgoing) -> bool {
        let line = self.id.as_ref().map(|id| format!("id: {id}\n"));
        let (bytes, tail) = (event.bytes(), event.tail());
        let parts: [&[u8]; 3] = match &line {
            Some(line) => [event.head(), line.as_bytes(), &tail],
            None => [&bytes, &[], &[]],
        };
        let mut skip = self.sent;
        let mut room = ROUND_BYTES;
        let pieces = parts.map(|part| {
            let rest = &part[skip.min(part.len())..];
            skip = skip.saturating_sub(part.len());
            let piece = &rest[..rest.len().min(room)];
            room -= piece.len();
            piece
        });
        out.put_all(&pieces);
        self.sent += ROUND_BYTES - room;
        self.sent == parts.iter().map(|part| part.len()).sum::<usize>()
    }
}

/// Large events that readers are within, the last that were read.
#[derive(Default)]
pub(super) struct Remembered(Mutex<Events>);

#[derive(Default)]
struct Events {
    events: VecDeque<Remembrance>,
    bytes: usize,
}

struct Remembrance {
    log: Weak<Log>,
    generation: u64,
    id: u64,
    event: KeptEvent,
}

impl Remembered {
    pub(super) fn find(&self, log: &Arc<Log>, generation: u64, id: u64) -> Option<KeptEvent> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it = |one: &&Remembrance| {
            one.id == id
                && one.generation == generation
                && std::ptr::eq(one.log.as_ptr(), Arc::as_ptr(log))
        };
        state.events.iter().find(is_it).map(|one| one.event.clone())
    }

    pub(super) fn add(&self, log: &Arc<Log>, generation: u64, id: u64, event: &KeptEvent) {
        let len = event.len();
        if len > REMEMBERED_BYTES || self.find(log, generation, id).is_some() {
            return;
        }
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.bytes += len;
        let log = Arc::downgrade(log);
        state.events.push_back(Remembrance { log, generation, id, event: event.clone() });
        while state.bytes > REMEMBERED_BYTES {
            let Some(oldest) = state.events.pop_front() else { break };
            state.bytes -= oldest.event.len();
        }
    }
}
