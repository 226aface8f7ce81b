//! An event as the hub keeps it: what it is, beside the bytes that its readers get.

use std::fmt;
use std::io::Write as _;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use sse_proto::{DEFAULT_EVENT_TYPE, Event, Rendered};

/// An event, rendered once for all its readers. A clone is the same memory.
///
/// It is made when the event becomes visible or is read from the storage. The tail of its
/// [log](super::log::Log) holds it; so does the [memory of large
/// events](super::pieces::Remembered), and a subscriber for one round of delivery. What waits for a
/// socket holds its bytes, not the event.
#[derive(Clone)]
pub(super) struct KeptEvent(Arc<Kept>);

struct Kept {
    /// `None`: the default type.
    event_type: Option<Box<str>>,
    /// The users who do not get it.
    skip_users: Box<[String]>,
    /// The event as a chunk of HTTP/1.1 (RFC 9112, section 7.1): its size, the event, a line end.
    chunk: Bytes,
    /// Where in the chunk the event begins, and where its `id` line begins and ends.
    start: usize,
    id_start: usize,
    id_end: usize,
}

/// What ends a chunk.
pub(super) const CHUNK_END: &[u8] = b"\r\n";

/// What begins a chunk of so many bytes.
pub(super) fn put_chunk_size(len: usize, out: &mut impl BufMut) {
    write!(out.writer(), "{len:x}\r\n").expect("writing to memory cannot fail");
}

impl KeptEvent {
    pub(super) fn new(event: &Event<'_>, skip_users: &[String]) -> Self {
        let rendered = Rendered::new(event);
        let bytes = rendered.bytes();
        let mut chunk = BytesMut::with_capacity(bytes.len() + 12);
        put_chunk_size(bytes.len(), &mut chunk);
        let start = chunk.len();
        chunk.put_slice(bytes);
        chunk.put_slice(CHUNK_END);
        let event_type = event.event_type();
        Self(Arc::new(Kept {
            event_type: (event_type != DEFAULT_EVENT_TYPE).then(|| event_type.into()),
            skip_users: skip_users.into(),
            start,
            id_start: start + rendered.head().len(),
            id_end: start + bytes.len() - rendered.tail().len(),
            chunk: chunk.freeze(),
        }))
    }

    /// The type that a reader sees.
    pub(super) fn event_type(&self) -> &str {
        self.0.event_type.as_deref().unwrap_or(DEFAULT_EVENT_TYPE)
    }

    /// Whether this user gets it.
    pub(super) fn is_for(&self, user: &str) -> bool {
        !self.0.skip_users.iter().any(|skipped| skipped == user)
    }

    /// Whether everyone gets it.
    pub(super) fn is_for_all(&self) -> bool {
        self.0.skip_users.is_empty()
    }

    /// The users who do not get it.
    pub(super) fn skip_users(&self) -> &[String] {
        &self.0.skip_users
    }

    /// How many bytes the event has.
    pub(super) fn len(&self) -> usize {
        self.end() - self.0.start
    }

    /// The event, with the id of its own channel.
    pub(super) fn bytes(&self) -> Bytes {
        self.0.chunk.slice(self.0.start..self.end())
    }

    /// The same as a chunk of HTTP/1.1.
    pub(super) fn chunk(&self) -> &Bytes {
        &self.0.chunk
    }

    /// What comes before the `id` line: the type, unless it is the default.
    pub(super) fn head(&self) -> &[u8] {
        &self.0.chunk[self.0.start..self.0.id_start]
    }

    /// What comes after the `id` line: the data.
    pub(super) fn tail(&self) -> Bytes {
        self.0.chunk.slice(self.0.id_end..self.end())
    }

    /// The same, and the end of its chunk.
    pub(super) fn chunk_tail(&self) -> Bytes {
        self.0.chunk.slice(self.0.id_end..)
    }

    fn end(&self) -> usize {
        self.0.chunk.len() - CHUNK_END.len()
    }
}

impl PartialEq for KeptEvent {
    /// Whether readers get the same.
    fn eq(&self, other: &Self) -> bool {
        self.0.chunk == other.0.chunk
    }
}

impl fmt::Debug for KeptEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptEvent").field("type", &self.event_type()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_is_the_one_that_a_reader_sees_and_the_parts_are_of_one_memory() {
        for (event_type, seen) in [("", "message"), ("message", "message"), ("a b", "a b")] {
            for id in [None, Some("a:1")] {
                let event = Event::builder("x\nevent: y").event_type(event_type);
                let event = match id {
                    Some(id) => event.id(id).build(),
                    None => event.build(),
                };
                let event = event.expect("valid");
                let kept = KeptEvent::new(&event, &[]);
                assert_eq!(kept.event_type(), seen);
                let text = event.to_string();
                assert_eq!((kept.len(), &*kept.bytes()), (text.len(), text.as_bytes()));
                assert_eq!(*kept.chunk(), format!("{:x}\r\n{text}\r\n", text.len()));
                assert_eq!(kept.chunk_tail(), [&kept.tail()[..], b"\r\n"].concat());
                let id_line = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
                let whole = [kept.head(), id_line.as_bytes(), &kept.tail()].concat();
                assert_eq!(whole, text.as_bytes());
                let memory = kept.chunk().as_ptr_range();
                assert!(memory.contains(&kept.bytes().as_ptr()));
            }
        }
    }
}
