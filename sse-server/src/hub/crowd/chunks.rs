//! What goes out to a reader at rest.

use std::time::Duration;

use bytes::Bytes;

use super::super::event::{CHUNK_END, put_chunk_size};

/// Chunks of HTTP/1.1 for one reader.
pub(crate) struct Chunks<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) shared: Option<&'a Bytes>,
    /// How many bytes of content they have, and how many events.
    pub(crate) content_len: usize,
    pub(crate) events: u64,
    /// How long the last of them has been there.
    pub(crate) lag: Option<Duration>,
}

impl Chunks<'_> {
    pub(crate) const fn bytes(&self) -> &[u8] {
        self.bytes
    }

    /// What comes after so many bytes.
    pub(crate) fn rest(&self, written: usize) -> Bytes {
        match self.shared {
            Some(bytes) => bytes.slice(written..),
            None => Bytes::copy_from_slice(&self.bytes[written..]),
        }
    }
}

/// Appends a chunk of these parts, and returns how many bytes they have.
pub(crate) fn put_chunk(parts: &[&[u8]], out: &mut Vec<u8>) -> usize {
    let len = parts.iter().map(|part| part.len()).sum();
    put_chunk_size(len, out);
    for part in parts {
        out.extend_from_slice(part);
    }
    out.extend_from_slice(CHUNK_END);
    len
}
