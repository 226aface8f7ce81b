//! How far a chunk has been read, and what is known about the rest of it.

use crate::utf8::Plain;

/// A chunk of a stream, and how far a decoder has read it; made by [`Decoder::begin`](crate::Decoder::begin).
///
/// What has not been read when this is dropped is lost to the decoder. To stop early and go on in another
/// way, keep [`rest`](Self::rest) and decode it first.
#[derive(Debug)]
#[must_use = "what is not read of a chunk is lost"]
pub struct Chunk<'c> {
    pub(super) bytes: &'c [u8],
    /// How many of them have been read.
    pub(super) at: usize,
    /// A stretch of them that was looked at in advance, and is text.
    pub(super) plain: Plain<'c>,
    /// Where it begins.
    pub(super) plain_start: usize,
    /// Up to where its line ends are listed; not beyond `at` if there is no such list.
    pub(super) listed_end: usize,
    /// Whether an event begins at `at`, of which the decoder holds nothing yet.
    pub(super) is_fresh: bool,
    /// Whether to look at the next stretch too. Not after one that was not text to its end: the rest of
    /// the chunk is most likely of its kind.
    pub(super) looks_ahead: bool,
    /// What the decoder has noted is about this chunk as long as it counts the same turn.
    pub(super) turn: u64,
}

impl<'c> Chunk<'c> {
    #[inline]
    pub(super) const fn new(bytes: &'c [u8], turn: u64) -> Self {
        Self {
            bytes,
            at: 0,
            plain: Plain::NOTHING,
            plain_start: 0,
            listed_end: 0,
            is_fresh: false,
            looks_ahead: true,
            turn,
        }
    }

    /// The bytes that have not been read yet.
    #[inline]
    pub const fn rest(&self) -> &'c [u8] {
        self.bytes.split_at(self.at).1
    }

    /// What of the rest is text whose line ends are listed.
    #[inline]
    pub(super) fn listed(&self) -> &'c [u8] {
        self.bytes.get(self.at..self.listed_end).unwrap_or_default()
    }

    /// Takes what is left.
    #[inline]
    pub(super) fn take_rest(&mut self) -> &'c [u8] {
        let rest = self.rest();
        self.at = self.bytes.len();
        rest
    }
}
