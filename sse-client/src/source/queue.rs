//! Items that wait to be delivered besides what is read on demand: nearly always none.

use std::collections::VecDeque;

use sse_proto::Reader;

use crate::error::Error;
use crate::item::Item;

/// A last event ID, which may be none.
type Id = Option<String>;

#[derive(Debug, Default)]
pub(super) struct Queue {
    /// With the last event ID as of the item, if that has been read ahead.
    entries: VecDeque<(Result<Item, Error>, Option<Id>)>,
    /// The last event ID as of what has been delivered, if the reader is ahead of that.
    delivered: Option<Id>,
}

impl Queue {
    /// As of what has been delivered.
    pub(super) fn last_event_id<'a>(&'a self, reader: &'a Reader) -> Option<&'a str> {
        match &self.delivered {
            Some(id) => id.as_deref(),
            None => reader.last_event_id(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn push(&mut self, item: Result<Item, Error>) {
        self.entries.push_back((item, None));
    }

    /// From now on the reader is ahead, and this is the last event ID as of what has been
    /// delivered.
    pub(super) fn keep_last_event_id(&mut self, id: Option<&str>) {
        self.delivered.get_or_insert_with(|| id.map(str::to_owned));
    }

    /// The same for an item that has been read ahead, with the last event ID as of it.
    pub(super) fn push_ahead(&mut self, item: Result<Item, Error>, id: Option<&str>) {
        self.entries.push_back((item, Some(id.map(str::to_owned))));
    }

    pub(super) fn pop(&mut self) -> Option<Result<Item, Error>> {
        let (item, id) = self.entries.pop_front()?;
        if id.is_some() {
            self.delivered = id;
        }
        self.catch_up();
        Some(item)
    }

    /// When nothing is left, the application has seen as much as the reader.
    pub(super) fn catch_up(&mut self) {
        if self.entries.is_empty() {
            self.delivered = None;
        }
    }

    /// Drops what has not been delivered, for good.
    pub(super) fn clear(&mut self) {
        self.entries = VecDeque::new();
    }
}
