//! What has been read and not been delivered yet, and the last event ID as of what has been.
//!
//! The text of short events lies in one buffer, one after the other, and an event gets memory of its own
//! when it is delivered. An application that drops an event before it asks for the next one then gives
//! its memory to the next one; a hundred allocations in a row, and as many releases later, cost several
//! times as much.

use std::collections::VecDeque;
use std::mem;

use sse_proto::{DecodeError, Event};

use crate::error::Error;
use crate::item::{self, Item};

/// Up to this length in bytes an event is put into the buffer. Copying a longer one costs more than
/// it saves.
const SHORT: usize = 2048;

/// More memory than this is given back when the buffer is empty.
const KEPT_CAPACITY: usize = 64 << 10;

#[derive(Debug, Default)]
pub(super) struct Queue {
    entries: VecDeque<Entry>,
    /// Type, id and data of the short events.
    text: String,
    /// Where the next of them begins.
    start: usize,
    delivered: Delivered,
    /// The last event ID, if it is no part of `text`.
    id: Option<String>,
}

/// The last event ID as of the last event that was delivered. Most ids are followed by another before
/// anyone asks, so they are copied only when their text goes.
#[derive(Debug, Default)]
enum Delivered {
    #[default]
    Apart,
    /// The part of `text` that begins here and is so long.
    InText { start: usize, len: usize },
}

#[derive(Debug)]
enum Entry {
    /// The lengths of its parts. An empty type is the default one.
    Short { event_type: u16, id: Option<u16>, data: u16 },
    /// Apart, since nearly all are short events: they should lie close together.
    Item(Box<Result<Item, Error>>),
}

impl Queue {
    /// An empty queue, with what was delivered when the program last ran.
    pub(super) fn new(last_event_id: Option<String>) -> Self {
        Self { id: last_event_id, ..Self::default() }
    }

    /// As of what has been delivered.
    pub(super) fn last_event_id(&self) -> Option<&str> {
        match self.delivered {
            Delivered::InText { start, len } => self.text.get(start..start + len),
            Delivered::Apart => self.id.as_deref(),
        }
    }

    /// Keeps the memory of an id for the next one.
    pub(super) fn set_last_event_id(&mut self, new: Option<&str>) {
        self.delivered = Delivered::Apart;
        assign(&mut self.id, new);
    }

    /// Drops what has not been delivered.
    pub(super) fn clear(&mut self) {
        self.entries = VecDeque::new();
        self.forget_text();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn push(&mut self, item: Result<Item, Error>) {
        self.entries.push_back(Entry::Item(Box::new(item)));
    }

    /// Takes in what the session lends.
    pub(super) fn push_lent(&mut self, item: Result<sse_proto::Item<'_>, DecodeError>) {
        match item {
            Ok(sse_proto::Item::Event(event)) => self.push_event(event),
            Ok(item) => self.entries.extend(item::owned(item).map(Box::new).map(Entry::Item)),
            Err(error) => self.push(Err(error.into())),
        }
    }

    fn push_event(&mut self, event: Event<'_>) {
        let (id, data) = (event.id(), event.data());
        let event_type = match event.event_type() {
            "message" => "",
            event_type => event_type,
        };
        let id_text = id.unwrap_or_default();
        let len = event_type.len() + id_text.len() + data.len();
        if len > SHORT {
            return self.push(Ok(Item::Event(event.into_owned())));
        }
        self.text.reserve(len);
        // A call that copies nothing costs as much as one that copies a short text.
        if !event_type.is_empty() {
            self.text.push_str(event_type);
        }
        if !id_text.is_empty() {
            self.text.push_str(id_text);
        }
        self.text.push_str(data);
        self.entries.push_back(Entry::Short {
            event_type: short(event_type),
            id: id.map(short),
            data: short(data),
        });
    }

    /// The next item, if it is a short event, as nearly all are. Apart from [`pop`](Self::pop), so that
    /// the event is made where it is wanted: merged with other items, it would be copied once more.
    #[expect(clippy::inline_always, reason = "returned through memory, an event costs more")]
    #[inline(always)]
    pub(super) fn pop_event(&mut self) -> Option<Event<'static>> {
        let &Entry::Short { event_type, id, data } = self.entries.front()? else {
            return None;
        };
        self.entries.pop_front();
        Some(self.event(event_type.into(), id.map(Into::into), data.into()))
    }

    pub(super) fn pop(&mut self) -> Option<Result<Item, Error>> {
        if let Some(event) = self.pop_event() {
            return Some(Ok(Item::Event(event)));
        }
        let Entry::Item(item) = self.entries.pop_front()? else {
            unreachable!("no short event is at the front");
        };
        if let Ok(Item::Event(event)) = &*item {
            self.set_last_event_id(event.id());
        }
        Some(*item)
    }

    /// Gives the text of delivered events back; for when the queue is empty.
    pub(super) fn forget_text(&mut self) {
        if let Delivered::InText { start, len } = mem::take(&mut self.delivered) {
            assign(&mut self.id, self.text.get(start..start + len));
        }
        self.text.clear();
        self.text.shrink_to(KEPT_CAPACITY);
        self.start = 0;
    }

    /// The short event at the start, with memory of its own.
    #[inline]
    fn event(&mut self, event_type: usize, id: Option<usize>, data: usize) -> Event<'static> {
        let start = self.start;
        let id_start = start + event_type;
        self.start = id_start + id.unwrap_or_default() + data;
        match id {
            Some(len) => self.delivered = Delivered::InText { start: id_start, len },
            None => self.set_last_event_id(None),
        }
        Event::from_text(self.text[start..self.start].into(), event_type, id)
            .expect("what came in a line has no line end, and an id no NUL")
    }
}

/// Keeps the memory of an id for the next one.
#[inline]
fn assign(id: &mut Option<String>, new: Option<&str>) {
    match new {
        None => *id = None,
        Some(new) if id.as_deref() != Some(new) => {
            let id = id.get_or_insert_default();
            id.clear();
            id.push_str(new);
        }
        Some(_) => {}
    }
}

/// The length of a part of a short event.
#[inline]
fn short(part: &str) -> u16 {
    u16::try_from(part.len()).expect("the whole is short")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event<'a>(event_type: &'a str, id: Option<&'a str>, data: &'a str) -> Event<'a> {
        let event = Event::builder(data).event_type(event_type);
        let event = if let Some(id) = id { event.id(id) } else { event };
        event.build().expect("valid")
    }

    #[test]
    fn the_id_of_what_was_delivered_outlives_its_text() {
        let mut queue = Queue::new(Some("0".to_owned()));
        assert_eq!(queue.last_event_id(), Some("0"));
        for (id, forget) in [("1", Queue::forget_text as fn(&mut _)), ("2", Queue::clear)] {
            queue.push_lent(Ok(sse_proto::Item::Event(event("", Some(id), "a"))));
            queue.push_lent(Ok(sse_proto::Item::Event(event("", Some("3"), "b"))));
            assert!(queue.pop().is_some());
            assert_eq!(queue.last_event_id(), Some(id));
            if id == "1" {
                assert!(queue.pop().is_some());
                assert_eq!(queue.last_event_id(), Some("3"));
                forget(&mut queue);
                assert_eq!(queue.last_event_id(), Some("3"));
            } else {
                forget(&mut queue);
                assert_eq!(queue.last_event_id(), Some("2"));
            }
            assert!(queue.is_empty() && queue.text.is_empty());
        }
        queue.set_last_event_id(None);
        assert_eq!(queue.last_event_id(), None);
    }

    #[test]
    fn what_goes_in_comes_out_in_order() {
        let long = "é".repeat(SHORT);
        let events = [
            event("", None, ""),
            event("message", Some(""), "a\nb"),
            event("é", Some("1"), &long),
            event("x", Some("ü"), "nul\0"),
            event(&long, None, "c"),
            event("", Some(&long), "d"),
            event("y", None, "e"),
        ];
        let mut queue = Queue::default();
        for _ in 0..2 {
            for event in &events {
                queue.push_lent(Ok(sse_proto::Item::Event(event.clone())));
                queue.push(Ok(Item::Open));
            }
            for event in &events {
                let item = queue.pop().expect("there is one").expect("good news");
                assert_eq!(item.into_event().as_ref(), Some(event));
                assert_eq!(queue.last_event_id(), event.id());
                assert!(matches!(queue.pop(), Some(Ok(Item::Open))));
                assert_eq!(queue.last_event_id(), event.id());
            }
            assert!(queue.pop().is_none() && queue.is_empty());
            queue.forget_text();
            assert!(queue.text.is_empty());
        }
    }
}
