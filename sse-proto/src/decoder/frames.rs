//! The way from a chunk to a frame: lines are split off, and each is interpreted, until one
//! completes something. It reads everything; [`shortcuts`](super::shortcuts) are quicker for what
//! nearly all input is made of, and are tried on the way.

use alloc::string::String;
use core::time::Duration;

use super::{Chunk, DecodeError, Decoder, Fields, Frame, Mode, Step};
use crate::event::Event;
use crate::grammar::{self, BOM};
use crate::scan::{Plain, checked, decode};

/// What the next frame is made of, once it has been found.
#[derive(Debug)]
pub(crate) enum Found<'c> {
    Event(Fields<'c>),
    Retry(u64),
    Comment,
}

impl Decoder {
    /// The next frame of a chunk that this decoder has begun; `None` when it has been read to its
    /// end. Read one chunk after the other, in the order of the stream.
    ///
    /// # Errors
    ///
    /// A [`DecodeError`] when a limit is passed. It costs one event; the next call goes on after
    /// it.
    #[expect(clippy::inline_always, reason = "see `shortcuts`")]
    #[inline(always)]
    pub fn next_frame<'a, 'c: 'a>(
        &'a mut self,
        chunk: &'a mut Chunk<'c>,
    ) -> Option<Result<Frame<'a>, DecodeError>> {
        if chunk.at == chunk.bytes.len() {
            return None;
        }
        if let Some(data) = self.data_event(chunk) {
            return Some(Ok(Frame::Event(Event::decoded("", self.last_event_id(), data))));
        }
        Some(Ok(match self.find(chunk)? {
            Ok(Found::Event(fields)) => Frame::Event(self.event(chunk, &fields)),
            Ok(Found::Retry(milliseconds)) => Frame::Retry(Duration::from_millis(milliseconds)),
            Ok(Found::Comment) => Frame::Comment(self.comment()),
            Err(error) => return Some(Err(error)),
        }))
    }

    /// Reads up to the next frame, without looking at its text. Not inlined, so that its callers
    /// stay small enough to be.
    #[inline(never)]
    pub(crate) fn find<'c>(
        &mut self,
        chunk: &mut Chunk<'c>,
    ) -> Option<Result<Found<'c>, DecodeError>> {
        if chunk.turn != self.turn {
            self.take_up(chunk);
        }
        self.settle();
        let mut fields = Fields::default();
        let mut step = if self.is_between_lines() { Step::Continue } else { self.resume(chunk)? };
        if matches!(step, Step::Continue) && self.block.is_empty() {
            chunk.is_fresh = chunk.at < chunk.listed_end || self.look_ahead(chunk);
            if chunk.is_fresh {
                let fields = loop {
                    match self.read_event(chunk) {
                        None if self.look_again(chunk) => {}
                        fields => break fields,
                    }
                };
                if let Some(fields) = fields {
                    return Some(Ok(Found::Event(fields)));
                }
            }
        }
        chunk.is_fresh = false;
        while matches!(step, Step::Continue) {
            step = self.read_ahead(chunk, &mut fields);
            if matches!(step, Step::Continue) {
                step = self.read_line(chunk, &mut fields)?;
            }
        }
        Some(self.conclude(chunk, &step, fields))
    }

    /// Forgets what is known about the chunk: another one has been begun since.
    #[cold]
    fn take_up(&mut self, chunk: &mut Chunk<'_>) {
        self.turn = self.turn.wrapping_add(1);
        chunk.turn = self.turn;
        chunk.listed_end = 0;
    }

    /// Goes on from the end of the last chunk, or from the last error, up to the start of a line.
    /// `None` if the chunk ends before it.
    #[inline]
    fn resume(&mut self, chunk: &mut Chunk<'_>) -> Option<Step> {
        if self.after_cr && !chunk.rest().is_empty() {
            // The LF of a CRLF that the end of the chunk has cut.
            self.after_cr = false;
            chunk.at += usize::from(chunk.rest().starts_with(b"\n"));
        }
        match self.mode {
            Mode::Lines => {}
            Mode::Start => self.skip_byte_order_mark(chunk)?,
            Mode::Dropping { in_line } => self.drop_lines(chunk, in_line)?,
        }
        if self.line.is_empty() {
            return Some(Step::Continue);
        }
        // If a character was cut, the stretch would not be text from its start.
        if chunk.rest().first().is_some_and(|byte| !matches!(byte, 0x80..0xC0)) {
            self.look_ahead(chunk);
        }
        let end = self.split_line(chunk);
        let piece = end.unwrap_or_else(|| chunk.take_rest());
        if self.line.len() + piece.len() > self.config.max_line_len {
            return Some(Step::LineTooLong { in_line: end.is_none() });
        }
        self.line.extend_from_slice(piece);
        end.map(|_| self.interpret_held())
    }

    /// Reads the next line. If it does not end in this chunk, keeps its beginning for the next one,
    /// with what there is of the event, and returns `None`.
    #[inline]
    fn read_line<'c>(&mut self, chunk: &mut Chunk<'c>, fields: &mut Fields<'c>) -> Option<Step> {
        let line = self.split_line(chunk);
        let piece = line.unwrap_or_else(|| chunk.take_rest());
        if piece.len() > self.config.max_line_len {
            return Some(Step::LineTooLong { in_line: line.is_none() });
        }
        if line.is_none() {
            self.line.extend_from_slice(piece);
            self.block.hold(chunk.plain, fields);
            return None;
        }
        Some(self.interpret(piece, chunk.plain, fields))
    }

    /// What a step has found.
    #[inline]
    fn conclude<'c>(
        &mut self,
        chunk: &Chunk<'c>,
        step: &Step,
        mut fields: Fields<'c>,
    ) -> Result<Found<'c>, DecodeError> {
        let found = match *step {
            Step::Dispatch => {
                self.dispatched = true;
                return Ok(Found::Event(fields));
            }
            Step::Retry(milliseconds) => Found::Retry(milliseconds),
            Step::Comment => Found::Comment,
            Step::EventTooLong => {
                self.drop_event(false);
                return Err(DecodeError::EventTooLong { limit: self.config.max_event_len });
            }
            Step::LineTooLong { in_line } => {
                self.drop_event(in_line);
                return Err(DecodeError::LineTooLong { limit: self.config.max_line_len });
            }
            Step::Continue => unreachable!("there is more to read"),
        };
        self.block.hold(chunk.plain, &mut fields);
        Ok(found)
    }

    /// The type of an event that has been found, as it came over the wire.
    pub(crate) fn event_type<'a>(&'a self, fields: &Fields<'a>) -> &'a [u8] {
        match fields.event_type {
            Some(bytes) => bytes,
            None => self.block.event_type.get().unwrap_or_default().as_bytes(),
        }
    }

    /// The event that has been found.
    #[expect(clippy::inline_always, reason = "see `shortcuts`")]
    #[inline(always)]
    pub(crate) fn event<'a>(&'a mut self, chunk: &Chunk<'a>, fields: &Fields<'a>) -> Event<'a> {
        let plain = chunk.plain;
        let Decoder { block, last_event_id, lent: [lent_type, lent_data], .. } = self;
        let event_type = match fields.event_type {
            Some(bytes) => text(plain, bytes, lent_type),
            None => block.event_type.get().unwrap_or_default(),
        };
        let data = match fields.data {
            Some(bytes) => text(plain, bytes, lent_data),
            None => block.data.get(lent_data),
        };
        Event::decoded(event_type, last_event_id.committed.as_deref(), data)
    }

    /// Undoes what the last `id` field has done.
    pub(crate) fn take_back_event_id(&mut self) {
        self.last_event_id.take_back();
    }

    /// The comment that has been found.
    pub(crate) fn comment(&self) -> &str {
        &self.lent[1]
    }

    /// "The UTF-8 decode algorithm strips one leading UTF-8 Byte Order Mark (BOM), if any" (section
    /// 9.2.5). `None` if the chunk ends before it is clear whether there is one.
    fn skip_byte_order_mark(&mut self, chunk: &mut Chunk<'_>) -> Option<()> {
        let missing = &BOM[self.line.len()..];
        if chunk.rest().starts_with(missing) {
            chunk.at += missing.len();
            self.line.clear();
        } else if missing.starts_with(chunk.rest()) {
            self.line.extend_from_slice(chunk.take_rest());
            return None;
        }
        self.mode = Mode::Lines;
        Some(())
    }

    /// Drops lines up to and including a blank one. `None` if the chunk ends before it.
    fn drop_lines(&mut self, chunk: &mut Chunk<'_>, mut in_line: bool) -> Option<()> {
        while let Some(line) = self.split_line(chunk) {
            if line.is_empty() && !in_line {
                self.mode = Mode::Lines;
                return Some(());
            }
            in_line = false;
        }
        in_line |= !chunk.take_rest().is_empty();
        self.mode = Mode::Dropping { in_line };
        None
    }

    /// Splits the next line off the rest. `None` if it does not end in this chunk.
    #[inline]
    fn split_line<'c>(&mut self, chunk: &mut Chunk<'c>) -> Option<&'c [u8]> {
        let mut known = 0;
        if chunk.at < chunk.listed_end {
            if let Some(line) = self.listed_line(chunk) {
                return Some(line);
            }
            // There is no line end in the stretch, unless it is a CR at its end.
            if self.line_ends.next().is_none() {
                known = chunk.listed_end - chunk.at;
            }
        }
        let start = chunk.rest();
        let (line, rest) = grammar::first_line(&start[known..])?;
        self.after_cr = rest.is_empty() && start.ends_with(b"\r");
        chunk.at = chunk.bytes.len() - rest.len();
        chunk.listed_end = 0;
        Some(&start[..known + line.len()])
    }
}

/// Bytes of the chunk as text. Only ill-formed text is copied, to be mended.
#[inline]
fn text<'a>(plain: Plain<'a>, bytes: &'a [u8], lent: &'a mut String) -> &'a str {
    match plain.text(bytes) {
        Some(text) => text,
        None => checked_text(bytes, lent),
    }
}

/// The same for bytes that nothing is known about.
#[inline(never)]
fn checked_text<'a>(bytes: &'a [u8], lent: &'a mut String) -> &'a str {
    if let Some(text) = checked(bytes) {
        return text;
    }
    lent.clear();
    decode(bytes, lent);
    lent
}
