//! From chunk to lines to frames.
//!
//! There is one way that reads everything, [`Frames::find`], and on it three shortcuts, each for what
//! nearly all input is made of: lines within a stretch that is known to be text, and whose line ends
//! are listed, need neither a check nor a search of their own; an event with one line of data is read in
//! one step; and a small chunk from the middle of a line is only put aside. None of them decides
//! anything that the long way would decide otherwise.

use alloc::string::String;
use core::mem;
use core::time::Duration;

use super::{DecodeError, Decoder, Fields, Frame, Mode, Step, has_nul};
use crate::event::Event;
use crate::grammar::{self, BOM, Name};
use crate::utf8::{Plain, checked, decode};

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
    /// A stretch of the chunk that was looked at in advance, and is text.
    plain: Plain<'c>,
    /// How many bytes of `rest`, from its start, lie in it.
    plain_len: usize,
    /// Whether an event begins at `rest`, of which the decoder holds nothing yet.
    is_fresh: bool,
    /// Whether to look at the next stretch too. Not after one that was not text to its end: the rest of
    /// the chunk is most likely of its kind.
    looks_ahead: bool,
}

/// How far is looked ahead: little enough to be still in the processor's nearest cache when the lines
/// are split.
const STRETCH: usize = 16 << 10;

/// Where a small program is worth more than a quick one, there is only the way that reads everything.
const LOOKS_AHEAD: bool = cfg!(not(target_arch = "wasm32"));

/// Below this looking ahead costs more than it saves.
const MIN_STRETCH: usize = 256;

/// What the next frame is made of, once it has been found.
#[derive(Debug)]
pub(crate) enum Found<'c> {
    Event(Fields<'c>),
    Retry(u64),
    Comment,
}

impl<'d, 'c> Frames<'d, 'c> {
    pub(super) const fn new(decoder: &'d mut Decoder, chunk: &'c [u8]) -> Self {
        Self {
            decoder,
            rest: chunk,
            plain: Plain::NOTHING,
            plain_len: 0,
            is_fresh: false,
            looks_ahead: true,
        }
    }

    /// The bytes of the chunk that have not been read yet.
    pub const fn rest(&self) -> &'c [u8] {
        self.rest
    }

    /// The next frame; `None` when the chunk has been read to its end.
    ///
    /// # Errors
    ///
    /// A [`DecodeError`] when a limit is passed. It costs one event; the next call goes on after it.
    #[expect(
        clippy::inline_always,
        reason = "returned through memory, an event costs a fifth more"
    )]
    #[inline(always)]
    pub fn next_frame(&mut self) -> Option<Result<Frame<'_>, DecodeError>> {
        if self.rest.is_empty() {
            return None;
        }
        if let Some(data) = self.next_data_event() {
            return Some(Ok(Frame::Event(self.data_event(data))));
        }
        Some(Ok(match self.find()? {
            Ok(Found::Event(fields)) => Frame::Event(self.event(&fields)),
            Ok(Found::Retry(milliseconds)) => Frame::Retry(Duration::from_millis(milliseconds)),
            Ok(Found::Comment) => Frame::Comment(self.comment()),
            Err(error) => return Some(Err(error)),
        }))
    }

    /// The data of the next event, if it is known that an event begins here, and it is but one line of
    /// data that is text.
    #[expect(
        clippy::inline_always,
        reason = "returned through memory, an event costs a fifth more"
    )]
    #[inline(always)]
    pub(crate) fn next_data_event(&mut self) -> Option<&'c str> {
        if !LOOKS_AHEAD || !self.is_fresh {
            return None;
        }
        let data = self.read_data_event()?;
        self.plain.text(data)
    }

    /// The event that these data make.
    #[inline]
    pub(crate) fn data_event<'a>(&'a self, data: &'a str) -> Event<'a> {
        Event::decoded("", self.decoder.last_event_id.as_deref(), data)
    }

    /// Reads up to the next frame, without looking at its text. Apart, so that what calls it stays small
    /// enough to be put in place.
    #[inline(never)]
    pub(crate) fn find(&mut self) -> Option<Result<Found<'c>, DecodeError>> {
        self.decoder.settle();
        let mut fields = Fields::default();
        let mut step =
            if self.decoder.is_between_lines() { Step::Continue } else { self.resume()? };
        if matches!(step, Step::Continue) && self.decoder.block.is_empty() {
            self.is_fresh = LOOKS_AHEAD && (self.plain_len > 0 || self.look_ahead());
            if self.is_fresh
                && let Some(fields) = self.read_event()
            {
                return Some(Ok(Found::Event(fields)));
            }
        }
        self.is_fresh = false;
        while matches!(step, Step::Continue) {
            step = self.read_ahead(&mut fields);
            if matches!(step, Step::Continue) {
                step = self.read_line(&mut fields)?;
            }
        }
        Some(self.conclude(&step, fields))
    }

    /// Goes on where the last chunk has ended, or the last error has left off, up to the start of a
    /// line. `None` if the chunk ends before it.
    #[inline]
    fn resume(&mut self) -> Option<Step> {
        if self.decoder.after_cr && !self.rest.is_empty() {
            // The LF of a CRLF that the end of the chunk has cut.
            self.decoder.after_cr = false;
            self.rest = self.rest.strip_prefix(b"\n").unwrap_or(self.rest);
        }
        match self.decoder.mode {
            Mode::Lines => {}
            Mode::Start => self.skip_byte_order_mark()?,
            Mode::Dropping { in_line } => self.drop_lines(in_line)?,
        }
        if self.decoder.line.is_empty() {
            return Some(Step::Continue);
        }
        // Not if a character is cut: the stretch would not be text from its start.
        if self.rest.first().is_some_and(|byte| !matches!(byte, 0x80..0xC0)) {
            self.look_ahead();
        }
        let end = self.split_line();
        let piece = end.unwrap_or_else(|| self.take_rest());
        if self.decoder.line.len() + piece.len() > self.decoder.config.max_line_len {
            return Some(Step::LineTooLong { in_line: end.is_none() });
        }
        self.decoder.line.extend_from_slice(piece);
        end.map(|_| self.decoder.interpret_held())
    }

    /// Reads a line that lies in the chunk. If it does not end there, its beginning is kept for the
    /// next chunk, with what there is of the event, and there is `None`.
    #[inline]
    fn read_line(&mut self, fields: &mut Fields<'c>) -> Option<Step> {
        let line = self.split_line();
        let piece = line.unwrap_or_else(|| self.take_rest());
        if piece.len() > self.decoder.config.max_line_len {
            return Some(Step::LineTooLong { in_line: line.is_none() });
        }
        if line.is_none() {
            self.decoder.line.extend_from_slice(piece);
            self.decoder.block.hold(self.plain, fields);
            return None;
        }
        Some(self.decoder.interpret(piece, self.plain, fields))
    }

    /// Reads the next event, if it lies in the plain stretch and is but one line of data.
    #[expect(
        clippy::inline_always,
        reason = "returned through memory, an event costs a fifth more"
    )]
    #[inline(always)]
    fn read_data_event(&mut self) -> Option<&'c [u8]> {
        let ahead = &self.rest[..self.plain_len];
        let end = self.decoder.line_ends.next()? - (self.plain.len() - ahead.len());
        let (data, rest) = grammar::data_event(ahead, end)?;
        self.decoder.line_ends.pass(ahead.len() - end - rest.len());
        self.rest = &self.rest[ahead.len() - rest.len()..];
        self.plain_len = rest.len();
        Some(data)
    }

    /// Reads the next event, if it lies in the plain stretch and is but fields with a value each, as nearly
    /// all are. No limit is below the length of the stretch. If it is anything else, nothing has happened.
    #[inline]
    fn read_event(&mut self) -> Option<Fields<'c>> {
        let mut fields = Fields::default();
        let mut ahead = &self.rest[..self.plain_len];
        let start = self.plain.len() - ahead.len();
        let mut at = start;
        let mut ends = self.decoder.line_ends.ahead().iter();
        let count = ends.len();
        loop {
            let end = usize::from(*ends.next()?);
            let (line, rest) = grammar::inner_line(ahead, end - at)?;
            if ahead.len() - rest.len() - line.len() == 2 {
                // CRLF
                ends.next();
            }
            at += ahead.len() - rest.len();
            ahead = rest;
            if line.is_empty() {
                break;
            }
            match grammar::known_field(line)? {
                (Name::Data, value) if fields.data.is_none() => fields.data = Some(value),
                (Name::Event, value) => fields.event_type = Some(value),
                (Name::Id, value) if !has_nul(value) => fields.id = Some(value),
                _ => return None,
            }
        }
        fields.data?;
        let passed = count - ends.len();
        self.decoder.line_ends.pass(passed);
        self.rest = &self.rest[at - start..];
        self.plain_len = ahead.len();
        self.decoder.commit_id(self.plain, fields.id);
        Some(fields)
    }

    /// Reads the lines that end within the plain stretch, if there is one. No limit is below its
    /// length, so they are short enough.
    #[inline]
    fn read_ahead(&mut self, fields: &mut Fields<'c>) -> Step {
        let mut step = Step::Continue;
        if !LOOKS_AHEAD || (self.plain_len == 0 && !self.look_ahead()) {
            return step;
        }
        while let Some(line) = self.listed_line() {
            step = self.decoder.interpret(line, self.plain, fields);
            if !matches!(step, Step::Continue) {
                break;
            }
        }
        step
    }

    /// Splits the next line off the rest, if it lies in the plain stretch.
    #[inline]
    fn listed_line(&mut self) -> Option<&'c [u8]> {
        let ahead = &self.rest[..self.plain_len];
        let end = self.decoder.line_ends.next()? - (self.plain.len() - ahead.len());
        let (line, rest) = grammar::inner_line(ahead, end)?;
        self.decoder.line_ends.pass(ahead.len() - end - rest.len());
        self.rest = &self.rest[ahead.len() - rest.len()..];
        self.plain_len = rest.len();
        Some(line)
    }

    /// Looks at the next stretch of the chunk, and tells whether any of it is text.
    #[inline]
    fn look_ahead(&mut self) -> bool {
        LOOKS_AHEAD && self.looks_ahead && self.rest.len() >= MIN_STRETCH && self.look_at_stretch()
    }

    fn look_at_stretch(&mut self) -> bool {
        let config = &self.decoder.config;
        let len = STRETCH.min(config.max_line_len).min(config.max_event_len);
        let stretch = &self.rest[..self.rest.len().min(len)];
        let len = self.decoder.line_ends.list(stretch);
        (self.plain, self.looks_ahead) = Plain::new(&stretch[..len]);
        self.plain_len = self.plain.len();
        self.decoder.line_ends.truncate(self.plain_len);
        self.plain_len > 0
    }

    /// Makes of a step what is found.
    #[inline]
    fn conclude(&mut self, step: &Step, mut fields: Fields<'c>) -> Result<Found<'c>, DecodeError> {
        let found = match *step {
            Step::Dispatch => {
                self.decoder.dispatched = true;
                return Ok(Found::Event(fields));
            }
            Step::Retry(milliseconds) => Found::Retry(milliseconds),
            Step::Comment => Found::Comment,
            Step::EventTooLong => {
                self.decoder.drop_event(false);
                return Err(DecodeError::EventTooLong { limit: self.decoder.config.max_event_len });
            }
            Step::LineTooLong { in_line } => {
                self.decoder.drop_event(in_line);
                return Err(DecodeError::LineTooLong { limit: self.decoder.config.max_line_len });
            }
            Step::Continue => unreachable!("there is more to read"),
        };
        self.decoder.block.hold(self.plain, &mut fields);
        Ok(found)
    }

    /// The type of an event that has been found, as it came over the wire.
    pub(crate) fn event_type(&self, fields: &Fields<'c>) -> &[u8] {
        match fields.event_type {
            Some(bytes) => bytes,
            None => self.decoder.block.event_type.get().unwrap_or_default().as_bytes(),
        }
    }

    /// The event that has been found.
    #[cfg_attr(
        not(target_arch = "wasm32"),
        expect(
            clippy::inline_always,
            reason = "returned through memory, an event costs a fifth more"
        ),
        inline(always)
    )]
    #[cfg_attr(target_arch = "wasm32", inline(never))]
    pub(crate) fn event(&mut self, fields: &Fields<'c>) -> Event<'_> {
        let plain = self.plain;
        let Decoder { block, last_event_id, lent: [lent_type, lent_data], .. } = &mut *self.decoder;
        let event_type = match fields.event_type {
            Some(bytes) => text(plain, bytes, lent_type),
            None => block.event_type.get().unwrap_or_default(),
        };
        let data = match fields.data {
            Some(bytes) => text(plain, bytes, lent_data),
            None => block.data.get(lent_data),
        };
        Event::decoded(event_type, last_event_id.as_deref(), data)
    }

    /// The last event ID as of the last frame.
    pub(crate) fn last_event_id(&self) -> Option<&str> {
        self.decoder.last_event_id()
    }

    /// Undoes what the last `id` field has done.
    pub(crate) fn take_back_event_id(&mut self) {
        self.decoder.last_event_id = self.decoder.earlier_event_id.take();
    }

    /// The comment that has been found.
    pub(crate) fn comment(&self) -> &str {
        &self.decoder.lent[1]
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
        in_line |= !self.take_rest().is_empty();
        self.decoder.mode = Mode::Dropping { in_line };
        None
    }

    /// Takes what is left of the chunk.
    #[inline]
    fn take_rest(&mut self) -> &'c [u8] {
        self.plain_len = 0;
        mem::take(&mut self.rest)
    }

    /// Splits the bytes up to the next line end off the rest.
    #[inline]
    fn split_line(&mut self) -> Option<&'c [u8]> {
        let mut known = 0;
        if LOOKS_AHEAD && self.plain_len > 0 {
            if let Some(line) = self.listed_line() {
                return Some(line);
            }
            // There is no line end in the stretch, unless it is a CR at its end.
            if self.decoder.line_ends.next().is_none() {
                known = self.plain_len;
            }
        }
        let (rest, line) = grammar::line_of_stream(&self.rest[known..]).ok()?;
        let line = &self.rest[..known + line.len()];
        self.decoder.after_cr = rest.is_empty() && self.rest.ends_with(b"\r");
        self.plain_len = 0;
        self.rest = rest;
        Some(line)
    }
}

/// Bytes of the chunk as text. Only text that has to be mended is copied.
#[inline]
fn text<'a>(plain: Plain<'a>, bytes: &'a [u8], lent: &'a mut String) -> &'a str {
    match plain.text(bytes) {
        Some(text) => text,
        None => checked_text(bytes, lent),
    }
}

/// The same for bytes of which nothing is known.
#[inline(never)]
fn checked_text<'a>(bytes: &'a [u8], lent: &'a mut String) -> &'a str {
    if let Some(text) = checked(bytes) {
        return text;
    }
    lent.clear();
    decode(bytes, lent);
    lent
}
