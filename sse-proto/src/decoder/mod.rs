//! Chunks to events: cuts chunks into lines, and has each of them [interpreted](crate::interpret).
//!
//! Lines that lie whole in a chunk are read where they are: the type, the id and a single line of
//! data are slices of the chunk until the blank line, and the event borrows them. Bytes are copied
//! only at a chunk's end, for the line and the event that it cuts, and from the second line of data
//! on. The work is linear in the bytes, however they are chunked.

mod buffers;
mod chunk;
mod data;
mod frames;
mod shortcuts;

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::mem;
use core::time::Duration;

pub(crate) use self::buffers::Fields;
use self::buffers::{Block, KEPT_CAPACITY, LastEventId, Layers, TooLong};
pub use self::chunk::{Chunk, Frames};
pub(crate) use self::frames::Found;
use crate::event::Event;
use crate::interpret::{Effect, process};
use crate::scan::{LineEnds, Plain, decode};

/// What a [`Decoder`] accepts and delivers.
///
/// ```
/// use sse_proto::{Decoder, DecoderConfig};
///
/// let decoder = Decoder::with_config(DecoderConfig::default().max_event_len(1 << 20));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
#[must_use]
pub struct DecoderConfig {
    pub(crate) max_event_len: usize,
    pub(crate) max_line_len: usize,
    pub(crate) comments: bool,
}

impl Default for DecoderConfig {
    fn default() -> Self {
        Self { max_event_len: 16 << 20, max_line_len: 16 << 20, comments: false }
    }
}

impl DecoderConfig {
    /// The greatest length of an event in bytes: of its type, its own id and its data together.
    /// Default: 16 MiB. A server that sends a greater one costs this much memory and no more; the
    /// event is dropped and [reported](DecodeError::EventTooLong).
    pub const fn max_event_len(mut self, bytes: usize) -> Self {
        self.max_event_len = bytes;
        self
    }

    /// The greatest length of a line in bytes, without its end. Default: 16 MiB. A line that is cut
    /// by the end of a chunk is held until its end has come, so this bounds memory as
    /// [`max_event_len`](Self::max_event_len) does.
    pub const fn max_line_len(mut self, bytes: usize) -> Self {
        self.max_line_len = bytes;
        self
    }

    /// Whether comments are delivered, as [`Frame::Comment`]. Default: no.
    pub const fn comments(mut self, delivered: bool) -> Self {
        self.comments = delivered;
        self
    }
}

/// Something that was read from an event stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Frame<'a> {
    /// An event was dispatched.
    Event(Event<'a>),
    /// The server sets the reconnection time. It applies at once, whether or not an event follows.
    Retry(Duration),
    /// A comment line, without its colon and one space after it. Only if
    /// [asked for](DecoderConfig::comments).
    Comment(&'a str),
}

/// A limit was passed. Everything up to the next blank line is dropped, an `id` or `retry` field
/// included, and this is reported once; the events after it are read as usual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// An event is longer than [`DecoderConfig::max_event_len`], which is given in bytes.
    EventTooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// A line is longer than [`DecoderConfig::max_line_len`], which is given in bytes.
    LineTooLong {
        /// The limit in bytes.
        limit: usize,
    },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, limit) = match self {
            Self::EventTooLong { limit } => ("an event", limit),
            Self::LineTooLong { limit } => ("a line", limit),
        };
        write!(f, "{what} of the stream is longer than {limit} bytes and was dropped")
    }
}

impl core::error::Error for DecodeError {}

/// Reads one event stream after another, keeping the last event ID between them.
///
/// See the [crate's documentation](crate) for an example.
#[derive(Debug, Default)]
pub struct Decoder {
    config: DecoderConfig,
    last_event_id: LastEventId,
    /// The line that the end of a chunk has cut.
    line: Vec<u8>,
    block: Block,
    mode: Mode,
    /// The last byte was a CR, so an LF that comes first in the next chunk belongs to it.
    after_cr: bool,
    /// The event in `block` has been delivered, and must be forgotten before the next line.
    dispatched: bool,
    /// The line ends of the stretch of a [`Chunk`] that has been looked at in advance.
    line_ends: LineEnds,
    /// The number of the chunk that they are about.
    turn: u64,
    /// Text that had to be copied, and that the current frame borrows: a type, and data or a
    /// comment.
    lent: [String; 2],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    /// At the start of the stream, where a byte order mark may stand; `line` has what there is of
    /// it.
    #[default]
    Start,
    Lines,
    /// A limit was passed: lines are dropped until a blank one.
    Dropping {
        in_line: bool,
    },
}

/// What to do after a line.
enum Step {
    Continue,
    Dispatch,
    Retry(u64),
    /// The comment has been put into `lent`.
    Comment,
    EventTooLong,
    LineTooLong {
        in_line: bool,
    },
}

impl Decoder {
    /// A decoder with the default limits, before the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// A decoder with these limits.
    pub fn with_config(config: DecoderConfig) -> Self {
        Self { config, ..Self::default() }
    }

    /// Takes the next bytes of the stream. What they complete is read as the result is asked for.
    #[inline]
    pub fn decode<'d, 'c>(&'d mut self, chunk: &'c [u8]) -> Frames<'d, 'c> {
        let chunk = self.begin(chunk);
        Frames::new(self, chunk)
    }

    /// Begins to read the next bytes of the stream, for a caller that keeps them: the same as
    /// [`decode`](Self::decode), but nothing is borrowed between one frame and the next.
    ///
    /// ```
    /// use sse_proto::{Decoder, Frame};
    ///
    /// let mut decoder = Decoder::new();
    /// let mut chunk = decoder.begin(b"data: a\n\ndata: b\n\n");
    /// let frame = decoder.next_frame(&mut chunk);
    /// let Some(Ok(Frame::Event(event))) = frame else { panic!("an event") };
    /// assert_eq!(event.data(), "a");
    /// assert_eq!(chunk.rest(), b"data: b\n\n");
    /// ```
    #[inline]
    pub fn begin<'c>(&mut self, chunk: &'c [u8]) -> Chunk<'c> {
        self.turn = self.turn.wrapping_add(1);
        let bytes = if self.is_inside_line(chunk) { &[] } else { chunk };
        Chunk::new(bytes, self.turn)
    }

    /// The stream has ended; the next bytes are the first of another one.
    ///
    /// An unfinished event is discarded, with its id ("Once the end of the file is reached, any
    /// pending data must be discarded", section 9.2.6). The last event ID stays, for the request
    /// that resumes the stream and for the events of a stream that sets none.
    pub fn end_of_stream(&mut self) {
        self.forget_line();
        self.block.clear();
        self.mode = Mode::Start;
        self.after_cr = false;
        self.dispatched = false;
        self.turn = self.turn.wrapping_add(1);
    }

    /// The last event ID, as a blank line has committed it: `None` until the first one.
    pub fn last_event_id(&self) -> Option<&str> {
        self.last_event_id.committed.as_deref()
    }

    /// Sets the last event ID, for example to one that was stored when the program last ran.
    pub fn set_last_event_id(&mut self, id: Option<String>) {
        self.last_event_id.committed = id;
    }

    /// How many bytes are held of an event whose end has not come yet. Never more than the two
    /// limits of [`DecoderConfig`] together.
    pub fn buffered_len(&self) -> usize {
        // At the start the line has only pieces of a byte order mark.
        let line = if self.mode == Mode::Start { 0 } else { self.line.len() };
        let block = if self.dispatched { 0 } else { self.block.len() };
        line + block
    }

    /// Whether the next byte is the first of a line, and of nothing else.
    fn is_between_lines(&self) -> bool {
        self.mode == Mode::Lines && self.line.is_empty() && !self.after_cr
    }

    /// Forgets the event that the last frame has borrowed.
    #[inline]
    fn settle(&mut self) {
        if mem::take(&mut self.dispatched) {
            self.block.clear();
            self.lent.iter_mut().for_each(|text| {
                text.clear();
                text.shrink_to(KEPT_CAPACITY);
            });
        }
    }

    /// Interprets the line that earlier chunks have begun.
    fn interpret_held(&mut self) -> Step {
        let mut line = mem::take(&mut self.line);
        let mut fields = Fields::default();
        let step = self.interpret(&line, Plain::NOTHING, &mut fields);
        if let Some(value) = fields.data.take() {
            let start = line.len() - value.len();
            self.block.data.swap_in(&mut line, start);
        } else {
            self.block.hold(Plain::NOTHING, &mut fields);
        }
        self.line = line;
        self.forget_line();
        step
    }

    #[inline]
    fn forget_line(&mut self) {
        self.line.clear();
        if self.line.capacity() > KEPT_CAPACITY {
            self.line.shrink_to(KEPT_CAPACITY);
        }
    }

    /// Interprets one complete line. Not inlined: it has three callers, and is so much code that
    /// the compiler would then inline nothing in it.
    #[inline(never)]
    fn interpret<'l>(&mut self, line: &'l [u8], plain: Plain<'_>, fields: &mut Fields<'l>) -> Step {
        let Self { config, last_event_id, block, lent, .. } = self;
        let max_event_len = config.max_event_len;
        let mut buffers = Layers { block, fields, last_event_id, plain, max_event_len };
        match process(line, &mut buffers) {
            Ok(Effect::Dispatch) => Step::Dispatch,
            Ok(Effect::Retry(milliseconds)) => Step::Retry(milliseconds),
            Ok(Effect::Comment(comment)) if config.comments => {
                let comment = comment.strip_prefix(b" ").unwrap_or(comment);
                lent[1].clear();
                decode(comment, &mut lent[1]);
                Step::Comment
            }
            Ok(Effect::Nothing | Effect::Comment(_)) => Step::Continue,
            Err(TooLong) => Step::EventTooLong,
        }
    }

    /// Starts to drop the event that is being read.
    fn drop_event(&mut self, in_line: bool) {
        self.mode = Mode::Dropping { in_line };
        self.forget_line();
        self.block.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn what_is_held_of_an_event_is_the_sum_of_its_fields_and_of_the_line() {
        let mut decoder = Decoder::new();
        for (chunk, held) in [
            ("event: abc\n", 3),
            ("id: 12\n", 5),
            ("data: defg\n", 9),
            ("data: h\n", 11),
            ("data: i", 18),
            ("\n\n", 0),
            ("id: 345\n", 3),
        ] {
            let mut frames = decoder.decode(chunk.as_bytes());
            while frames.next_frame().is_some() {}
            drop(frames);
            assert_eq!(decoder.buffered_len(), held, "after {chunk:?}");
        }
    }

    /// An odd event does not cost its memory for as long as the stream lasts.
    #[test]
    fn what_was_long_once_is_not_kept() {
        let long = "x".repeat(3 * KEPT_CAPACITY);
        let broken = [long.as_bytes(), b"\xff"].concat();
        for parts in [
            &[&b":"[..], long.as_bytes(), b"\n"][..],
            &[b"event: ", long.as_bytes(), b"\n", b"data: 1\n\n"],
            &[b"id: ", long.as_bytes(), b"\n", b"data: 1\n\n"],
            &[b"data: ", long.as_bytes(), b"\n\n"],
            &[b"data: ", long.as_bytes(), b"\ndata: ", long.as_bytes(), b"\n\n"],
            &[b"data: ", &broken, b"\ndata: ", &broken, b"\n\n"],
        ] {
            let mut decoder = Decoder::new();
            let most = |decoder: &Decoder| {
                let Block { event_type, id, data } = &decoder.block;
                [decoder.line.capacity(), event_type.kept(), id.kept(), data.kept()]
                    .into_iter()
                    .max()
            };
            let mut highest = None;
            for part in parts.iter().chain(&[&b"data: 2\n\n"[..]]) {
                let mut frames = decoder.decode(part);
                while frames.next_frame().is_some() {}
                drop(frames);
                highest = highest.max(most(&decoder));
            }
            assert!(highest > Some(KEPT_CAPACITY), "it was held in parts");
            assert!(
                most(&decoder) <= Some(KEPT_CAPACITY),
                "{:?}",
                String::from_utf8_lossy(parts[0])
            );
        }
    }

    /// Each byte is copied once into the line, and the line moves each time it has doubled. So the
    /// work is linear, however small the chunks are.
    #[test]
    fn a_long_line_in_tiny_chunks_is_moved_only_when_it_has_doubled() {
        const LEN: usize = 4 << 20;
        for (len, filler) in [(1, &b"a"[..]), (3, b"a"), (16, b"a"), (16, "\u{e9}".as_bytes())] {
            let line = [b"data: ", &*filler.repeat(LEN / filler.len())].concat();
            let mut decoder = Decoder::new();
            let mut fed = 0;
            let mut moves = vec![];
            let mut place = None;
            for chunk in line.chunks(len) {
                assert!(decoder.decode(chunk).next_frame().is_none());
                fed += chunk.len();
                assert_eq!(decoder.buffered_len(), fed);
                let now = Some((decoder.line.as_ptr(), decoder.line.capacity()));
                if now != place {
                    moves.push(fed);
                    place = now;
                }
            }
            assert!(moves.is_sorted_by(|before, after| 2 * before <= after + 64), "{moves:?}");

            let mut frames = decoder.decode(b"\n\n");
            let Some(Ok(Frame::Event(event))) = frames.next_frame() else {
                panic!("the event is whole");
            };
            assert_eq!(event.data().as_bytes(), &line[6..]);
            let in_place = place.map(|(start, _)| start.wrapping_add(6));
            assert_eq!(Some(event.data().as_ptr()), in_place, "the data are read where they are");
        }
    }
}
