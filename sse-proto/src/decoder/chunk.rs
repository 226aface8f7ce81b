//! A chunk: how far it has been read, what is known about the rest of it, and the frames that it
//! completes.

use super::{DecodeError, Decoder, Frame};
use crate::scan::Plain;

/// A chunk of a stream, and how far a decoder has read it; made by [`Decoder::begin`].
///
/// The decoder loses what has not been read when this is dropped. To stop early and go on in
/// another way, keep [`rest`](Self::rest) and decode it first.
#[derive(Debug)]
#[must_use = "what is not read of a chunk is lost"]
pub struct Chunk<'c> {
    pub(super) bytes: &'c [u8],
    /// How many of them have been read.
    pub(super) at: usize,
    /// A stretch of the chunk that has been validated in advance.
    pub(super) plain: Plain<'c>,
    /// Where the stretch begins.
    pub(super) plain_start: usize,
    /// Up to where its line ends are listed. Not beyond `at` if there is no list.
    pub(super) listed_end: usize,
    /// Whether an event begins at `at`, and the decoder holds nothing of it yet.
    pub(super) is_fresh: bool,
    /// Whether to look at the next stretch too. Not after one that was not text to its end, since
    /// the rest of the chunk is most likely like it.
    pub(super) looks_ahead: bool,
    /// What the decoder has noted is about this chunk as long as both have the same number.
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

    /// The part of the rest that is text and has its line ends listed.
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

/// The frames that a chunk completes, made by [`Decoder::decode`].
///
/// Not an `Iterator`, because each frame borrows from the decoder until the next is asked for.
///
/// Ask until there is none left: the decoder loses what has not been read when this is dropped. To
/// stop early and go on later, keep [`rest`](Self::rest) and decode it first, or keep a [`Chunk`].
#[derive(Debug)]
#[must_use = "frames are read as they are asked for"]
pub struct Frames<'d, 'c> {
    decoder: &'d mut Decoder,
    chunk: Chunk<'c>,
}

impl<'d, 'c> Frames<'d, 'c> {
    pub(super) const fn new(decoder: &'d mut Decoder, chunk: Chunk<'c>) -> Self {
        Self { decoder, chunk }
    }

    /// The bytes of the chunk that have not been read yet.
    pub const fn rest(&self) -> &'c [u8] {
        self.chunk.rest()
    }

    /// The next frame; `None` when the chunk has been read to its end.
    ///
    /// # Errors
    ///
    /// A [`DecodeError`] when a limit is passed. It costs one event; the next call goes on after
    /// it.
    #[expect(
        clippy::inline_always,
        reason = "returned through memory, an event costs a fifth more"
    )]
    #[inline(always)]
    pub fn next_frame(&mut self) -> Option<Result<Frame<'_>, DecodeError>> {
        self.decoder.next_frame(&mut self.chunk)
    }

    /// The last event ID as of the last frame.
    pub fn last_event_id(&self) -> Option<&str> {
        self.decoder.last_event_id()
    }
}
