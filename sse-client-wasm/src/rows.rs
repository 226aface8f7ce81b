//! Reads a stream into rows of bytes, which JavaScript knows how to decode.
//!
//! In place of the [`Decoder`](sse_proto::Decoder), which is quick and large, this is small. Every
//! byte is copied once, and nothing is checked to be text: the browser does that for all events of
//! a chunk at once, quicker and in no code of ours. What a line means is decided by
//! [`interpret`](sse_proto::interpret), as everywhere.

use alloc::vec::Vec;
use core::convert::Infallible;
use core::mem;

use sse_proto::grammar::BOM;
use sse_proto::interpret::{Buffers, Effect, process};
use sse_proto::{ControlKind, ERROR_ID, Session};

/// The stream, as far as it has been read. Memory that a large event has needed is kept for the
/// next one.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "they do not depend on each other")]
pub(crate) struct Rows {
    max_event_len: usize,
    max_line_len: usize,
    /// What the stream has committed; before it has, what it is resumed from. None if empty.
    last_event_id: Vec<u8>,
    /// Complete rows, then the data of the event that is being read.
    text: Vec<u8>,
    /// Where in the text these data begin.
    complete: usize,
    has_data: bool,
    has_id: bool,
    event_type: Vec<u8>,
    /// The event's; while it has none, the one before the last.
    id: Vec<u8>,
    /// The line that the end of a chunk has cut. While lines are dropped, not more than its first
    /// byte.
    line: Vec<u8>,
    /// A limit was passed: lines are dropped until a blank one.
    is_dropping: bool,
    /// The last byte was a CR, so an LF that comes next belongs to it.
    after_cr: bool,
    /// How much of a byte order mark has been read at the start of the stream.
    mark: usize,
}

impl Rows {
    /// Reads a stream that continues from this last event ID, with the greatest lengths of an event
    /// and of a line in bytes.
    pub(crate) const fn new(
        [max_event_len, max_line_len]: [usize; 2],
        last_event_id: Vec<u8>,
    ) -> Self {
        Self {
            max_event_len,
            max_line_len,
            last_event_id,
            text: Vec::new(),
            complete: 0,
            has_data: false,
            has_id: false,
            event_type: Vec::new(),
            id: Vec::new(),
            line: Vec::new(),
            is_dropping: false,
            after_cr: false,
            mark: 0,
        }
    }

    /// The last event ID that the stream has committed.
    pub(crate) fn last_event_id(&self) -> &[u8] {
        &self.last_event_id
    }

    /// The next bytes are the first of another stream. An unfinished event is discarded.
    pub(crate) fn end_of_stream(&mut self) {
        self.line.clear();
        self.is_dropping = false;
        self.after_cr = false;
        self.mark = 0;
        self.forget_event();
    }

    /// Bytes of the body have arrived. Of what they complete there is a row each: the data, the
    /// type (empty: `message`) and the last event ID, with a CR after each of the three, which
    /// none of them can have.
    ///
    /// A row whose type is an LF is no event. Without data, it tells that the last event ID is
    /// another one; with data, that an event was dropped because it was longer than the limits.
    pub(crate) fn read(&mut self, session: &mut Session, chunk: &[u8]) {
        self.text.copy_within(self.complete.., 0);
        self.text.truncate(self.text.len() - self.complete);
        self.complete = 0;
        let mut rest = chunk;
        while let [first, after_first @ ..] = rest {
            if !session.is_open() {
                break;
            }
            if mem::take(&mut self.after_cr) && *first == b'\n' {
                rest = after_first;
                continue;
            }
            // "The UTF-8 decode algorithm strips one leading UTF-8 Byte Order Mark (BOM), if any."
            if let Some((next, _)) = BOM.get(self.mark..).and_then(<[u8]>::split_first) {
                if first == next {
                    self.mark += 1;
                    rest = after_first;
                    continue;
                }
                self.line.extend_from_slice(&BOM[..self.mark]);
                self.mark = BOM.len();
            }
            let end = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let (piece, after) = rest.split_at(end.unwrap_or(rest.len()));
            if !self.is_dropping && self.line.len() + piece.len() > self.max_line_len {
                self.drop_event();
            }
            let Some((end, after)) = after.split_first() else {
                self.line.extend_from_slice(piece);
                if self.is_dropping {
                    self.line.truncate(1);
                }
                break;
            };
            rest = after;
            self.after_cr = *end == b'\r';
            if self.line.is_empty() {
                self.read_line(session, piece);
            } else {
                self.line.extend_from_slice(piece);
                let mut line = mem::take(&mut self.line);
                self.read_line(session, &line);
                line.clear();
                self.line = line;
            }
        }
    }

    /// The rows of the last chunk.
    pub(crate) fn complete(&self) -> &[u8] {
        &self.text[..self.complete]
    }

    /// One complete line.
    fn read_line(&mut self, session: &mut Session, line: &[u8]) {
        if self.is_dropping {
            self.is_dropping = !line.is_empty();
            return;
        }
        match process(line, self) {
            Ok(Effect::Dispatch) => self.dispatch(session),
            Ok(Effect::Retry(milliseconds)) => session.set_reconnection_time(milliseconds),
            Ok(Effect::Nothing | Effect::Comment(_)) => {
                let id = if self.has_id { self.id.len() } else { 0 };
                let data = self.text.len() - self.complete;
                if data + self.event_type.len() + id > self.max_event_len {
                    self.drop_event();
                }
            }
        }
    }

    /// The event is complete: tells the session, and makes a row. Whether it completes the stream,
    /// who reads the rows tells.
    fn dispatch(&mut self, session: &mut Session) {
        let control = ControlKind::of(&self.event_type);
        if control == Some(ControlKind::Error) && self.last_event_id == ERROR_ID.as_bytes() {
            // A request that resumed from it would be refused.
            mem::swap(&mut self.last_event_id, &mut self.id);
        }
        if session.handle_event(control, false) { self.end_row() } else { self.note(&[]) }
    }

    /// Makes the data a row.
    fn end_row(&mut self) {
        self.text.extend_from_slice(b"\r");
        self.text.extend_from_slice(&self.event_type);
        self.text.extend_from_slice(b"\r");
        self.text.extend_from_slice(&self.last_event_id);
        self.text.extend_from_slice(b"\r");
        self.complete = self.text.len();
        self.forget_event();
    }

    /// A row that is no event, in place of the event.
    fn note(&mut self, data: &[u8]) {
        self.text.truncate(self.complete);
        self.text.extend_from_slice(data);
        replace(&mut self.event_type, b"\n");
        self.end_row();
    }

    /// Starts to drop the event that is being read.
    fn drop_event(&mut self) {
        self.is_dropping = true;
        self.note(b"!");
    }

    fn forget_event(&mut self) {
        self.text.truncate(self.complete);
        self.event_type.clear();
        self.has_data = false;
        self.has_id = false;
    }
}

impl Buffers<'_> for Rows {
    /// None: [`Rows::read_line`] checks the limits, once for each line.
    type Refusal = Infallible;

    fn set_event_type(&mut self, value: &[u8]) -> Result<(), Infallible> {
        replace(&mut self.event_type, value);
        Ok(())
    }

    fn append_data(&mut self, value: &[u8]) -> Result<(), Infallible> {
        if mem::replace(&mut self.has_data, true) {
            self.text.extend_from_slice(b"\n");
        }
        self.text.extend_from_slice(value);
        Ok(())
    }

    fn set_last_event_id(&mut self, value: &[u8]) -> Result<(), Infallible> {
        self.has_id = true;
        replace(&mut self.id, value);
        Ok(())
    }

    /// The buffer keeps its value from event to event, so only a new one changes anything.
    fn commit_last_event_id(&mut self) {
        if self.has_id {
            mem::swap(&mut self.last_event_id, &mut self.id);
        }
    }

    fn has_data(&self) -> bool {
        self.has_data
    }

    /// An event without data has only its id to tell.
    fn clear(&mut self) {
        if self.has_id { self.note(&[]) } else { self.forget_event() }
    }
}

fn replace(buffer: &mut Vec<u8>, value: &[u8]) {
    buffer.clear();
    buffer.extend_from_slice(value);
}
