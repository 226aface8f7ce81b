//! What is on its way to one reader: events that all readers share, and between them what is its
//! own.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::event::{CHUNK_END, KeptEvent, put_chunk_size};
use super::pages::Page;

/// Shorter data are copied behind an `id` line: sharing them would cost more.
const WORTH_SHARING: usize = 256;

/// How bytes go out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// As they are.
    #[default]
    Plain,
    /// As chunks of HTTP/1.1 (RFC 9112, section 7.1).
    Chunked,
}

/// Bytes for one reader, in order.
///
/// Filled by a [`Subscriber`](super::Subscriber) and by the stream around it, emptied by whatever
/// writes to the client: as a [`Buf`], whose slices go to the socket in one vectored write, or
/// joined by [`into_bytes`](Self::into_bytes). Events are the memory that all readers share;
/// nothing of them is copied.
#[derive(Debug, Default)]
pub struct Outgoing {
    framing: Framing,
    /// Never an empty one.
    parts: VecDeque<Bytes>,
    /// The reader's own bytes behind the last part.
    own: BytesMut,
    /// How many bytes there are, framing included.
    len: usize,
    /// How many bytes have been put, framing apart; and the last of them.
    content_len: usize,
    last: Option<u8>,
}

impl Outgoing {
    /// Nothing yet.
    pub fn new(framing: Framing) -> Self {
        Self { framing, ..Self::default() }
    }

    /// How many bytes of content have been put, without framing.
    pub const fn content_len(&self) -> usize {
        self.content_len
    }

    /// Whether there is nothing to write.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether what has been put ends a line.
    pub fn ends_line(&self) -> bool {
        self.last == Some(b'\n')
    }

    /// Adds bytes of this reader's own; as one chunk, if these are chunks.
    pub fn put(&mut self, bytes: &[u8]) {
        self.put_all(&[bytes]);
    }

    /// The same, of several parts that belong together.
    pub(crate) fn put_all(&mut self, parts: &[&[u8]]) {
        let len = parts.iter().map(|part| part.len()).sum();
        // A chunk of no bytes would be the last one.
        if len == 0 {
            return;
        }
        let before = self.own.len();
        if self.is_chunked() {
            put_chunk_size(len, &mut self.own);
        }
        for part in parts {
            self.own.put_slice(part);
        }
        if self.is_chunked() {
            self.own.put_slice(CHUNK_END);
        }
        self.len += self.own.len() - before;
        self.content_len += len;
        self.last = parts.iter().rev().find_map(|part| part.last()).copied();
    }

    /// Adds bytes that others may share; as one chunk, if these are chunks.
    pub fn put_shared(&mut self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        self.content_len += bytes.len();
        self.last = bytes.last().copied();
        if self.is_chunked() {
            let before = self.own.len();
            put_chunk_size(bytes.len(), &mut self.own);
            self.len += self.own.len() - before;
        }
        self.share(bytes);
        if self.is_chunked() {
            self.own.put_slice(CHUNK_END);
            self.len += CHUNK_END.len();
        }
    }

    /// Adds an event, with the id of its own channel.
    pub(super) fn put_event(&mut self, event: &KeptEvent) {
        self.content_len += event.len();
        self.last = Some(b'\n');
        self.share(if self.is_chunked() { event.chunk().clone() } else { event.bytes() });
    }

    /// Adds an event with another id: that line is the reader's own.
    pub(super) fn put_event_with_id(&mut self, event: &KeptEvent, id: &str) {
        let chunk_tail = self.is_chunked().then(|| event.chunk_tail());
        self.put_with_id(event.head(), id, event.tail(), chunk_tail);
    }

    /// The same, of an event on a page.
    pub(super) fn put_from_page(&mut self, page: &Page, index: usize, id: &str) {
        self.put_with_id(page.head(index), id, page.tail(index), None);
    }

    /// Adds an event in parts. The tail may be there with the end of its chunk, too.
    fn put_with_id(&mut self, head: &[u8], id: &str, tail: Bytes, chunk_tail: Option<Bytes>) {
        let own = [head, b"id: ", id.as_bytes(), b"\n"];
        if tail.len() < WORTH_SHARING {
            return self.put_all(&[own[0], own[1], own[2], own[3], &tail]);
        }
        let len = own.iter().map(|part| part.len()).sum::<usize>() + tail.len();
        let before = self.own.len();
        if self.is_chunked() {
            put_chunk_size(len, &mut self.own);
        }
        for part in own {
            self.own.put_slice(part);
        }
        self.len += self.own.len() - before;
        self.content_len += len;
        self.last = Some(b'\n');
        if let Some(chunk_tail) = chunk_tail {
            return self.share(chunk_tail);
        }
        self.share(tail);
        if self.is_chunked() {
            self.own.put_slice(CHUNK_END);
            self.len += CHUNK_END.len();
        }
    }

    /// Adds all that is in another one, which must be framed in the same way.
    pub(crate) fn append(&mut self, mut other: Self) {
        debug_assert_eq!(self.framing, other.framing);
        if self.is_empty() {
            let content_len = self.content_len;
            *self = other;
            self.content_len += content_len;
            return;
        }
        self.seal();
        self.parts.append(&mut other.parts);
        self.own = other.own;
        self.len += other.len;
        self.content_len += other.content_len;
        self.last = other.last.or(self.last);
    }

    /// Adds bytes that are no content, and so are never framed.
    pub(crate) fn put_unframed(&mut self, bytes: &[u8]) {
        self.own.put_slice(bytes);
        self.len += bytes.len();
    }

    /// All of it in one piece: without a copy, if it is one.
    pub fn into_bytes(mut self) -> Bytes {
        self.seal();
        match self.parts.len() {
            0 | 1 => self.parts.pop_front().unwrap_or_default(),
            _ => self.copy_to_bytes(self.len),
        }
    }

    fn is_chunked(&self) -> bool {
        self.framing == Framing::Chunked
    }

    fn share(&mut self, bytes: Bytes) {
        self.seal();
        self.len += bytes.len();
        self.parts.push_back(bytes);
    }

    /// Makes a part of the reader's own bytes, so that another part can follow.
    fn seal(&mut self) {
        if !self.own.is_empty() {
            self.parts.push_back(self.own.split().freeze());
        }
    }
}

impl Buf for Outgoing {
    fn remaining(&self) -> usize {
        self.len
    }

    fn chunk(&self) -> &[u8] {
        self.parts.front().map_or(&self.own, |part| part)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let own = Some(&self.own[..]).filter(|own| !own.is_empty());
        let parts = self.parts.iter().map(|part| &part[..]).chain(own);
        parts.zip(slices).map(|(part, slice)| *slice = IoSlice::new(part)).count()
    }

    fn advance(&mut self, mut count: usize) {
        self.len -= count;
        while let Some(part) = self.parts.front_mut() {
            if count < part.len() {
                return part.advance(count);
            }
            count -= part.len();
            self.parts.pop_front();
        }
        self.own.advance(count);
    }
}

#[cfg(test)]
mod tests {
    use sse_proto::Event;

    use super::*;

    fn event(data: &str) -> KeptEvent {
        let event = Event::builder(data).event_type("t").id("a:1").build();
        KeptEvent::new(&event.expect("valid"), &[])
    }

    /// Fills it with all that can be in it, and tells what is in it then.
    fn filled(mut out: Outgoing) -> (Outgoing, String) {
        let long = "x".repeat(1000);
        out.put(b"");
        out.put(b":opening\n\n");
        out.put_event(&event("1"));
        out.put_event_with_id(&event("2"), "a:1,b:2");
        out.put_event_with_id(&event(&long), "a:1,b:3");
        out.put_shared(Bytes::from_static(b"data: piece"));
        let content = format!(
            ":opening\n\nevent: t\nid: a:1\ndata: 1\n\nevent: t\nid: a:1,b:2\ndata: 2\n\n\
             event: t\nid: a:1,b:3\ndata: {long}\n\ndata: piece"
        );
        (out, content)
    }

    /// The content of chunks, which must be whole.
    fn unframed(mut bytes: &[u8]) -> String {
        let mut content = String::new();
        while !bytes.is_empty() {
            let end = bytes.windows(2).position(|two| two == b"\r\n").expect("a size");
            let size = str::from_utf8(&bytes[..end]).expect("digits");
            let size = usize::from_str_radix(size, 16).expect("a size");
            assert!(size > 0, "that would be the last one");
            let chunk = &bytes[end + 2..end + 2 + size];
            content += str::from_utf8(chunk).expect("text");
            assert_eq!(&bytes[end + 2 + size..end + 4 + size], b"\r\n");
            bytes = &bytes[end + 4 + size..];
        }
        content
    }

    #[test]
    fn the_content_is_the_same_with_and_without_chunks() {
        let (plain, content) = filled(Outgoing::new(Framing::Plain));
        assert_eq!((plain.content_len(), plain.remaining()), (content.len(), content.len()));
        assert!(!plain.ends_line());
        assert_eq!(plain.into_bytes(), content);
        let (chunked, _) = filled(Outgoing::new(Framing::Chunked));
        assert_eq!(chunked.content_len(), content.len());
        assert_eq!(unframed(&chunked.into_bytes()), content);
    }

    #[test]
    fn any_number_of_bytes_can_be_taken_at_a_time() {
        let whole = filled(Outgoing::new(Framing::Chunked)).0.into_bytes();
        for step in 1..whole.len() {
            let (mut out, _) = filled(Outgoing::new(Framing::Chunked));
            out.append(filled(Outgoing::new(Framing::Chunked)).0);
            let mut taken = Vec::new();
            while out.has_remaining() {
                let mut slices = [IoSlice::new(&[]); 3];
                let count = out.chunks_vectored(&mut slices);
                let bytes: Vec<u8> = slices[..count].iter().flat_map(|it| it.to_vec()).collect();
                assert!(!bytes.is_empty());
                let step = step.min(bytes.len());
                taken.extend_from_slice(&bytes[..step]);
                out.advance(step);
            }
            assert_eq!(taken, [&whole[..], &whole].concat());
            assert!(out.is_empty());
        }
    }

    #[test]
    fn an_event_alone_is_the_memory_that_all_readers_share() {
        let event = event("shared");
        for (mut out, shared) in [
            (Outgoing::new(Framing::Plain), event.bytes()),
            (Outgoing::new(Framing::Chunked), event.chunk().clone()),
        ] {
            out.put_event(&event);
            assert_eq!(out.into_bytes().as_ptr(), shared.as_ptr());
        }
    }
}
