//! Chunks to events: the interpretation of an event stream (WHATWG HTML, section 9.2.6).
//!
//! Lines that lie whole in a chunk are read where they are: the type, the id and a single line of
//! data are slices of the chunk until the blank line, and the event borrows them. Bytes are copied
//! only at a chunk's end, for the line and the event that it cuts, and from the second line of data
//! on. The work is linear in the bytes, however they are chunked.

mod block;
mod chunk;
mod data;
mod frames;

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::mem;
use core::time::Duration;

pub(crate) use self::block::Fields;
use self::block::{Block, KEPT_CAPACITY};
pub use self::chunk::{Chunk, Frames};
pub(crate) use self::frames::Found;
use crate::event::Event;
use crate::grammar::{self, Line, Name};
use crate::line_ends::LineEnds;
use crate::single_line::has_low_byte;
use crate::utf8::{Plain, decode};

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

    /// The greatest length of a line in bytes, without its end. Default: 16 MiB. A line that is cut by
    /// the end of a chunk is held until its end has come, so this bounds memory as
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
    /// The "last event ID string" of the event source: what a blank line has committed.
    last_event_id: Option<String>,
    /// The one before it, whose memory the next one gets.
    earlier_event_id: Option<String>,
    /// The line that the end of a chunk has cut.
    line: Vec<u8>,
    block: Block,
    mode: Mode,
    /// The last byte was a CR, so an LF that comes first in the next chunk belongs to it.
    after_cr: bool,
    /// The event in `block` has been handed out and is to be forgotten.
    dispatched: bool,
    /// Those of the stretch of a [`Chunk`] that was looked at in advance.
    line_ends: LineEnds,
    /// Of the chunk that they are about: each has another one.
    turn: u64,
    /// Text that had to be copied, lent to the frame that is handed out: a type and data.
    lent: [String; 2],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    /// At the start of the stream, where a byte order mark may stand; `line` has what there is of it.
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

    /// Begins to read the next bytes of the stream, for who keeps them: the same as
    /// [`decode`](Self::decode), but nothing is borrowed between one frame and the next.
    ///
    /// ```
    /// use sse_proto::{Decoder, Frame};
    ///
    /// let mut decoder = Decoder::new();
    /// let mut chunk = decoder.begin(b"data: a\n\ndata: b\n\n");
    /// let Some(Ok(Frame::Event(event))) = decoder.next_frame(&mut chunk) else { panic!("an event") };
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
    /// pending data must be discarded", section 9.2.6). The last event ID stays, for the request that
    /// resumes the stream and for the events of a stream that sets none.
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
        self.last_event_id.as_deref()
    }

    /// Sets the last event ID, for example to one that was stored when the program last ran.
    pub fn set_last_event_id(&mut self, id: Option<String>) {
        self.last_event_id = id;
    }

    /// How many bytes are held of an event whose end has not come yet. Never more than the two limits
    /// of [`DecoderConfig`] together.
    pub fn buffered_len(&self) -> usize {
        // At the start the line has but pieces of a byte order mark.
        let line = if self.mode == Mode::Start { 0 } else { self.line.len() };
        let block = if self.dispatched { 0 } else { self.block.len() };
        line + block
    }

    /// Takes in a small chunk that neither begins nor ends a line: in a stream of long lines in small
    /// chunks, that is nearly all of them.
    #[inline]
    fn is_inside_line(&mut self, chunk: &[u8]) -> bool {
        let Self { line, config, mode, .. } = self;
        let is_inside = !line.is_empty()
            && *mode == Mode::Lines
            && line.len() + chunk.len() <= config.max_line_len
            && grammar::is_short_piece(chunk);
        if is_inside {
            line.extend_from_slice(chunk);
        }
        is_inside
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

    /// Interprets the line that the chunks before this one have begun.
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

    /// "Process the field", or dispatch the event (section 9.2.6), for one complete line. In one place
    /// only: there is so much of it that nothing in it would be put in place if there were three.
    #[inline(never)]
    fn interpret<'l>(&mut self, line: &'l [u8], plain: Plain<'_>, fields: &mut Fields<'l>) -> Step {
        let limit = self.config.max_event_len;
        match grammar::line(line) {
            Line::Field(Name::Data, value) => {
                let has_data = fields.data.is_some() || self.block.data.is_set();
                let len = self.block.len_with(fields) + usize::from(has_data) + value.len();
                if len > limit {
                    return Step::EventTooLong;
                }
                if has_data {
                    self.block.hold_data(plain, fields);
                    self.block.data.push(plain, value);
                } else {
                    fields.data = Some(value);
                }
                return Step::Continue;
            }
            // "Set the event type buffer to the field value."
            Line::Field(Name::Event, value) => fields.event_type = Some(value),
            // "If the field value does not contain U+0000 NULL, then set the last event ID buffer to
            // the field value. Otherwise, ignore the field."
            Line::Field(Name::Id, value) => {
                if !has_nul(value) {
                    fields.id = Some(value);
                }
            }
            Line::Field(Name::Retry, value) => {
                return grammar::milliseconds(value).map_or(Step::Continue, Step::Retry);
            }
            Line::Comment(comment) if self.config.comments => {
                let comment = comment.strip_prefix(b" ").unwrap_or(comment);
                self.lent[1].clear();
                decode(comment, &mut self.lent[1]);
                return Step::Comment;
            }
            Line::Comment(_) | Line::Unknown => return Step::Continue,
            Line::Blank => return self.blank_line(plain, fields),
        }
        if self.block.len_with(fields) > limit {
            return Step::EventTooLong;
        }
        Step::Continue
    }

    /// "Dispatch the event" (section 9.2.6).
    #[inline]
    fn blank_line(&mut self, plain: Plain<'_>, fields: &mut Fields<'_>) -> Step {
        // "1. Set the last event ID string of the event source to the value of the last event ID
        // buffer." The buffer keeps its value from event to event, so only a new one changes it.
        self.commit_id(plain, fields.id);
        // "2. If the data buffer is an empty string, set the data buffer and the event type buffer to
        // the empty string and return."
        if fields.data.is_none() && !self.block.data.is_set() {
            *fields = Fields::default();
            self.block.clear();
            return Step::Continue;
        }
        Step::Dispatch
    }

    /// Makes the event's own id, if it has one, the last event ID.
    #[inline]
    fn commit_id(&mut self, plain: Plain<'_>, id: Option<&[u8]>) {
        if id.is_none() && !self.block.id.is_set() {
            return;
        }
        mem::swap(&mut self.last_event_id, &mut self.earlier_event_id);
        let committed = self.last_event_id.get_or_insert_default();
        committed.clear();
        match id {
            Some(id) => match plain.text(id) {
                Some(text) => committed.push_str(text),
                None => decode(id, committed),
            },
            None => committed.push_str(self.block.id.get().unwrap_or_default()),
        }
    }

    /// Starts to drop the event that is being read.
    fn drop_event(&mut self, in_line: bool) {
        self.mode = Mode::Dropping { in_line };
        self.forget_line();
        self.block.clear();
    }
}

#[inline]
#[expect(clippy::manual_contains, reason = "`contains` is more code")]
fn has_nul(value: &[u8]) -> bool {
    if cfg!(target_arch = "wasm32") {
        return value.iter().any(|&byte| byte == 0);
    }
    // An id is short, and hardly ever has a byte that is as low as that.
    has_low_byte(value) && memchr::memchr(0, value).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    /// Each byte is copied once into the line, which moves each time it has grown twice as long, and once
    /// more at most. So the work is linear, however small the chunks are.
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
