//! Chunks to events: the interpretation of an event stream (WHATWG HTML, section 9.2.6).
//!
//! Lines that lie whole in a chunk are read where they are: the type, the id and a single line of
//! data are slices of the chunk until the blank line, and the event borrows them. Bytes are copied
//! only at a chunk's end, for the line and the event that it cuts, and from the second line of data
//! on. Each byte is looked at once, however it is chunked.

mod block;

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::mem;
use core::time::Duration;

use self::block::Block;
pub(crate) use self::block::Fields;
use crate::event::Event;
use crate::grammar::{self, BOM, Line, Name};

/// Capacity that a buffer keeps between events. One large event does not hold its memory for as long
/// as the connection lives.
const KEPT_CAPACITY: usize = 64 * 1024;

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
    max_event_len: usize,
    max_line_len: usize,
    comments: bool,
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
    Fail(DecodeError),
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
    pub const fn decode<'d, 'c>(&'d mut self, chunk: &'c [u8]) -> Frames<'d, 'c> {
        Frames { decoder: self, rest: chunk }
    }

    /// The stream has ended; the next bytes are the first of another one.
    ///
    /// An unfinished event is discarded, with its id ("Once the end of the file is reached, any
    /// pending data must be discarded", section 9.2.6). The last event ID stays, for the request that
    /// resumes the stream and for the events of a stream that sets none.
    pub fn end_of_stream(&mut self) {
        self.line.clear();
        self.block.clear();
        self.mode = Mode::Start;
        self.after_cr = false;
        self.dispatched = false;
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
    pub const fn buffered_len(&self) -> usize {
        let block = if self.dispatched { 0 } else { self.block.len() };
        self.line.len() + block
    }

    /// Forgets the event that the last frame has borrowed.
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
        let step = self.interpret(&line, &mut fields);
        self.block.hold(&mut fields);
        line.clear();
        line.shrink_to(KEPT_CAPACITY);
        self.line = line;
        step
    }

    /// "Process the field", or dispatch the event (section 9.2.6), for one complete line.
    fn interpret<'l>(&mut self, line: &'l [u8], fields: &mut Fields<'l>) -> Step {
        let limit = self.config.max_event_len;
        match grammar::line(line) {
            Line::Field(Name::Data, value) => {
                let has_data = fields.data.is_some() || self.block.data.is_set;
                let len = self.block.len_with(fields) + usize::from(has_data) + value.len();
                if len > limit {
                    return Step::Fail(DecodeError::EventTooLong { limit });
                }
                if has_data {
                    self.block.hold_data(fields);
                    self.block.push_data(value);
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
                if memchr::memchr(0, value).is_none() {
                    fields.id = Some(value);
                }
            }
            Line::Field(Name::Retry, value) => {
                return grammar::milliseconds(value).map_or(Step::Continue, Step::Retry);
            }
            Line::Comment(comment) if self.config.comments => {
                let comment = comment.strip_prefix(b" ").unwrap_or(comment);
                self.lent[1].clear();
                self.lent[1].push_str(&String::from_utf8_lossy(comment));
                return Step::Comment;
            }
            Line::Comment(_) | Line::Unknown => return Step::Continue,
            Line::Blank => return self.blank_line(fields),
        }
        if self.block.len_with(fields) > limit {
            return Step::Fail(DecodeError::EventTooLong { limit });
        }
        Step::Continue
    }

    /// "Dispatch the event" (section 9.2.6).
    fn blank_line(&mut self, fields: &mut Fields<'_>) -> Step {
        // "1. Set the last event ID string of the event source to the value of the last event ID
        // buffer." The buffer keeps its value from event to event, so only a new one changes it.
        if let Some(id) = fields.id.or(self.block.id.get()) {
            mem::swap(&mut self.last_event_id, &mut self.earlier_event_id);
            let committed = self.last_event_id.get_or_insert_default();
            committed.clear();
            match str::from_utf8(id) {
                Ok(id) => committed.push_str(id),
                Err(_) => committed.push_str(&String::from_utf8_lossy(id)),
            }
        }
        // "2. If the data buffer is an empty string, set the data buffer and the event type buffer to
        // the empty string and return."
        if fields.data.is_none() && !self.block.data.is_set {
            *fields = Fields::default();
            self.block.clear();
            return Step::Continue;
        }
        Step::Dispatch
    }

    /// Starts to drop the event that is being read.
    fn drop_event(&mut self, in_line: bool) {
        self.mode = Mode::Dropping { in_line };
        self.line.clear();
        self.block.clear();
    }
}

/// The frames that a chunk completes, made by [`Decoder::decode`].
///
/// Not an `Iterator`, because each frame borrows from the decoder until the next is asked for.
///
/// Ask until there is none: what has not been read when this is dropped is lost to the decoder. To
/// stop early and go on later, keep [`rest`](Self::rest) and decode it first.
#[derive(Debug)]
#[must_use = "frames are read as they are asked for"]
pub struct Frames<'d, 'c> {
    decoder: &'d mut Decoder,
    rest: &'c [u8],
}

/// A line, or what there is of one.
enum Taken<'c> {
    /// A whole line, in the chunk.
    Line(&'c [u8]),
    /// The end of a line that has been put behind its beginning, in the decoder.
    Held,
    /// More bytes than a line may have; `in_line` if its end has not come yet.
    TooLong { in_line: bool },
}

/// What the next frame is made of, once it has been found.
#[derive(Debug)]
pub(crate) enum Found<'c> {
    Event(Fields<'c>),
    Retry(u64),
    Comment,
}

impl<'c> Frames<'_, 'c> {
    /// The bytes of the chunk that have not been read yet.
    pub const fn rest(&self) -> &'c [u8] {
        self.rest
    }

    /// The next frame; `None` when the chunk has been read to its end.
    ///
    /// # Errors
    ///
    /// A [`DecodeError`] when a limit is passed. It costs one event; the next call goes on after it.
    pub fn next_frame(&mut self) -> Option<Result<Frame<'_>, DecodeError>> {
        Some(self.find()?.map(|found| match found {
            Found::Event(fields) => Frame::Event(self.event(&fields)),
            Found::Retry(milliseconds) => Frame::Retry(Duration::from_millis(milliseconds)),
            Found::Comment => Frame::Comment(self.comment()),
        }))
    }

    /// Reads up to the next frame, without looking at its text.
    pub(crate) fn find(&mut self) -> Option<Result<Found<'c>, DecodeError>> {
        self.decoder.settle();
        let mut fields = Fields::default();
        loop {
            let Some(taken) = self.take_line() else {
                self.decoder.block.hold(&mut fields);
                return None;
            };
            let mut in_dropped_line = false;
            let step = match taken {
                Taken::Line(line) => self.decoder.interpret(line, &mut fields),
                Taken::Held => self.decoder.interpret_held(),
                Taken::TooLong { in_line } => {
                    in_dropped_line = in_line;
                    Step::Fail(DecodeError::LineTooLong { limit: self.decoder.config.max_line_len })
                }
            };
            let found = match step {
                Step::Continue => continue,
                Step::Dispatch => {
                    self.decoder.dispatched = true;
                    return Some(Ok(Found::Event(fields)));
                }
                Step::Retry(milliseconds) => Found::Retry(milliseconds),
                Step::Comment => Found::Comment,
                Step::Fail(error) => {
                    self.decoder.drop_event(in_dropped_line);
                    return Some(Err(error));
                }
            };
            self.decoder.block.hold(&mut fields);
            return Some(Ok(found));
        }
    }

    /// The type of an event that has been found, as it came over the wire.
    pub(crate) fn event_type(&self, fields: &Fields<'c>) -> &[u8] {
        fields.event_type.or(self.decoder.block.event_type.get()).unwrap_or_default()
    }

    /// The event that has been found.
    pub(crate) fn event(&mut self, fields: &Fields<'c>) -> Event<'_> {
        let Decoder { block, last_event_id, lent: [lent_type, lent_data], .. } = &mut *self.decoder;
        let event_type = fields.event_type.or(block.event_type.get()).unwrap_or_default();
        let data = fields.data.unwrap_or(&block.data.bytes);
        Event::decoded(text(event_type, lent_type), last_event_id.as_deref(), text(data, lent_data))
    }

    /// Undoes what the last `id` field has done.
    pub(crate) fn take_back_event_id(&mut self) {
        self.decoder.last_event_id = self.decoder.earlier_event_id.take();
    }

    /// The comment that has been found.
    pub(crate) fn comment(&self) -> &str {
        &self.decoder.lent[1]
    }

    /// Takes the next line that is not to be dropped, or keeps its beginning for the next chunk.
    fn take_line(&mut self) -> Option<Taken<'c>> {
        match self.decoder.mode {
            Mode::Start => self.skip_byte_order_mark()?,
            Mode::Lines => {}
            Mode::Dropping { in_line } => self.drop_lines(in_line)?,
        }
        let max_len = self.decoder.config.max_line_len;
        let line = self.split_line();
        let held = &mut self.decoder.line;
        let piece = line.unwrap_or(self.rest);
        if held.len() + piece.len() > max_len {
            if line.is_none() {
                self.rest = &[];
            }
            return Some(Taken::TooLong { in_line: line.is_none() });
        }
        match line {
            Some(line) if held.is_empty() => Some(Taken::Line(line)),
            Some(end) => {
                held.extend_from_slice(end);
                Some(Taken::Held)
            }
            None => {
                held.extend_from_slice(mem::take(&mut self.rest));
                None
            }
        }
    }

    /// "If a leading U+FEFF BYTE ORDER MARK character is found, ignore it" (section 9.2.5; the
    /// decoding that comes before it does so). `None` if the chunk ends before that is clear.
    fn skip_byte_order_mark(&mut self) -> Option<()> {
        let Decoder { mode, line, .. } = &mut *self.decoder;
        let missing = &BOM[line.len()..];
        if let Some(rest) = self.rest.strip_prefix(missing) {
            self.rest = rest;
            line.clear();
        } else if missing.starts_with(self.rest) {
            line.extend_from_slice(mem::take(&mut self.rest));
            return None;
        }
        *mode = Mode::Lines;
        Some(())
    }

    /// Drops lines up to and including a blank one. `None` if the chunk ends before it.
    fn drop_lines(&mut self, mut in_line: bool) -> Option<()> {
        while let Some(line) = self.split_line() {
            if line.is_empty() && !in_line {
                self.decoder.mode = Mode::Lines;
                return Some(());
            }
            in_line = false;
        }
        in_line |= !mem::take(&mut self.rest).is_empty();
        self.decoder.mode = Mode::Dropping { in_line };
        None
    }

    /// Splits what comes before the next line end off the rest, which must not be the LF of a CRLF
    /// that the end of a chunk has cut.
    fn split_line(&mut self) -> Option<&'c [u8]> {
        if self.decoder.after_cr && !self.rest.is_empty() {
            self.decoder.after_cr = false;
            self.rest = self.rest.strip_prefix(b"\n").unwrap_or(self.rest);
        }
        let (rest, line) = grammar::line_of_stream(self.rest).ok()?;
        self.decoder.after_cr = rest.is_empty() && self.rest.ends_with(b"\r");
        self.rest = rest;
        Some(line)
    }
}

/// Decodes UTF-8, each maximal invalid sequence as U+FFFD (Encoding Standard, "UTF-8 decode"). Only
/// text that needs it is copied.
fn text<'a>(bytes: &'a [u8], lent: &'a mut String) -> &'a str {
    if let Ok(text) = str::from_utf8(bytes) {
        return text;
    }
    lent.clear();
    lent.push_str(&String::from_utf8_lossy(bytes));
    lent
}
