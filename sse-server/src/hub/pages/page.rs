//! What a page is.

use std::ops::Range;

use bytes::Bytes;
use sse_proto::DEFAULT_EVENT_TYPE;

/// Events of a channel that follow each other, as they go to those who read nothing else; not more
/// than [`ROUND_BYTES`](crate::hub::pieces::ROUND_BYTES).
pub(in crate::hub) struct Page {
    pub(super) first: u64,
    pub(super) bytes: Bytes,
    pub(super) events: Box<[Place]>,
    /// The users who do not get an event, by the event's index, where there are any.
    pub(super) skip_users: Box<[(usize, Box<[String]>)]>,
}

/// Where in a page an event is.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// Where its `id` line begins and ends, and where it ends itself.
    pub(super) id_start: u32,
    pub(super) id_end: u32,
    pub(super) end: u32,
}

impl Page {
    pub(super) fn last(&self) -> u64 {
        self.first + self.events.len() as u64 - 1
    }

    /// Where an event is that is in it.
    pub(in crate::hub) fn index_of(&self, id: u64) -> Option<usize> {
        let index = usize::try_from(id.checked_sub(self.first)?).ok()?;
        (index < self.events.len()).then_some(index)
    }

    /// The events from here on, at most so many, and with at most so many bytes, but one in any
    /// case; and how many bytes they have.
    pub(in crate::hub) fn run(
        &self,
        from: usize,
        limit: usize,
        most: usize,
    ) -> (Range<usize>, usize) {
        let start = self.start(from);
        let to = self.events.len().min(from.saturating_add(limit.max(1)));
        let fits = |place: &Place| place.end as usize - start <= most;
        let count = self.events[from..to].partition_point(fits).max(1);
        (from..from + count, self.start(from + count) - start)
    }

    /// These events.
    pub(in crate::hub) fn bytes(&self, events: Range<usize>) -> Bytes {
        self.bytes.slice(self.start(events.start)..self.start(events.end))
    }

    /// The type that a reader sees.
    pub(in crate::hub) fn event_type(&self, index: usize) -> &str {
        let line = self.head(index).strip_prefix(b"event: ").and_then(|line| line.split_last());
        line.map_or(DEFAULT_EVENT_TYPE, |(_, name)| {
            str::from_utf8(name).expect("it was rendered from text")
        })
    }

    /// Whether this user gets an event.
    pub(in crate::hub) fn is_for(&self, index: usize, user: &str) -> bool {
        let found = self.skip_users.binary_search_by_key(&index, |(index, _)| *index);
        let mut skipped = found.iter().flat_map(|&found| &self.skip_users[found].1);
        !skipped.any(|skipped| skipped == user)
    }

    /// Whether everyone gets all of them.
    pub(in crate::hub) fn is_for_all(&self) -> bool {
        self.skip_users.is_empty()
    }

    /// What comes before the `id` line of an event.
    pub(in crate::hub) fn head(&self, index: usize) -> &[u8] {
        &self.bytes[self.start(index)..self.events[index].id_start as usize]
    }

    /// What comes after the `id` line of an event.
    pub(in crate::hub) fn tail(&self, index: usize) -> Bytes {
        let Place { id_end, end, .. } = self.events[index];
        self.bytes.slice(id_end as usize..end as usize)
    }

    fn start(&self, index: usize) -> usize {
        index.checked_sub(1).map_or(0, |before| self.events[before].end as usize)
    }

    /// What it takes of memory.
    pub(super) fn size(&self) -> usize {
        self.bytes.len() + size_of_val(&*self.events) + size_of::<Self>()
    }
}
