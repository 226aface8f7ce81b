//! A session in little code: what it reads are rows of bytes, which whoever asked for them knows how
//! to decode.
//!
//! The client for browsers is made of this. Every byte is copied once, and nothing is checked to be
//! text: the browser does that for all events of a chunk at once, quicker and in no code of ours. The
//! [rules](super::rules) are those of every session, and the [interpretation](crate::interpret) is that
//! of every line.

use alloc::vec::Vec;
use core::convert::Infallible;
use core::mem;

use super::backoff::Backoff;
use super::config::{Policy, Terms};
use super::items::Kind;
use super::outcome::Failure;
use super::rules::{End, Phase, Reader, Rules};
use crate::control::ERROR_ID;
use crate::grammar::BOM;
use crate::interpret::{Buffers, Effect, process};

/// How a [`RowSession`] behaves; see the methods of [`SessionConfig`](super::SessionConfig) with the
/// same names. Times are in nanoseconds, and `u64::MAX` is for ever.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "they are described where the methods are")]
pub struct RowConfig {
    pub policy: Policy,
    pub fresh_credentials: bool,
    /// What the random part of the delay between tries grows to: see
    /// [`Backoff::max`](crate::Backoff::max).
    pub max_delay: u64,
    pub connect_timeout: u64,
    pub idle_timeout: u64,
    pub control_events: bool,
    /// The data that complete the stream, as [`Terminator::Data`](super::Terminator::Data). None if
    /// empty, which is the default.
    pub terminator: Vec<u8>,
    /// Whether a stream that ends without the terminator has failed. Default: no.
    pub must_complete: bool,
    pub max_event_len: usize,
    pub max_line_len: usize,
    /// What to continue from. None if empty, which is the default.
    pub last_event_id: Vec<u8>,
}

impl Default for RowConfig {
    fn default() -> Self {
        let terms = Terms::default();
        Self {
            policy: terms.policy,
            fresh_credentials: terms.fresh_credentials,
            max_delay: 30_000_000_000,
            connect_timeout: terms.connect_timeout,
            idle_timeout: terms.idle_timeout,
            control_events: false,
            terminator: Vec::new(),
            must_complete: terms.must_complete,
            max_event_len: 16 << 20,
            max_line_len: 16 << 20,
            last_event_id: Vec::new(),
        }
    }
}

/// What the driver of a [`RowSession`] shall do next, as [`Step`](super::Step) says. When to ask again
/// is [`RowSession::until`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are described in `Step` and `Request`")]
pub enum RowStep {
    Connect {
        /// Whether to send the last event ID: that of the last row, or the one it began with.
        sends_id: bool,
        by_get: bool,
    },
    Read,
    Sleep,
    Stop,
}

/// Why a [`RowSession`] is over, as [`Closed`](super::Closed) says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RowClosed {
    /// After this failure there is no other try.
    Failed(Failure),
    /// The terminator came.
    Complete,
    /// The server said so in the stream (`stream-error`). It is the last row.
    StreamError,
    /// [`RowSession::close`] was called.
    ByCaller,
}

impl From<End<'_>> for RowClosed {
    fn from(end: End<'_>) -> Self {
        match end {
            End::ByCaller => Self::ByCaller,
            End::After(failure, _) | End::GaveUp(failure) => Self::Failed(failure),
        }
    }
}

/// As [`Session`](super::Session), for programs that are to be small: in WebAssembly it is a quarter of
/// the code. What [`handle_bytes`](Self::handle_bytes) tells is to be decoded as UTF-8, with U+FFFD for
/// what is none, and to be split.
///
/// Time is a number of nanoseconds since any moment that stays the same. Memory that a large event has
/// needed is kept for the next one.
#[derive(Debug)]
pub struct RowSession(Rules<Rows>);

/// The stream, as far as it has been read.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "they do not depend on each other")]
struct Rows {
    control_events: bool,
    terminator: Vec<u8>,
    max_event_len: usize,
    max_line_len: usize,
    /// Complete rows, then the data of the event that is being read.
    text: Vec<u8>,
    /// Where in the text these data begin.
    complete: usize,
    has_data: bool,
    has_id: bool,
    event_type: Vec<u8>,
    /// The event's; while it has none, the one before the last.
    id: Vec<u8>,
    last_event_id: Vec<u8>,
    /// The line that the end of a chunk has cut. While lines are dropped, not more than its first byte.
    line: Vec<u8>,
    /// A limit was passed: lines are dropped until a blank one.
    is_dropping: bool,
    /// The last byte was a CR, so an LF that comes next belongs to it.
    after_cr: bool,
    /// How much of a byte order mark has been read at the start of the stream.
    mark: usize,
}

impl Reader for Rows {
    type Closed = RowClosed;

    fn end_of_stream(&mut self) {
        self.line.clear();
        self.is_dropping = false;
        self.after_cr = false;
        self.mark = 0;
        self.forget_event();
    }

    fn last_event_id(&self) -> Option<&[u8]> {
        Some(&self.last_event_id)
    }
}

impl RowSession {
    /// A session that has not connected yet; see [`Session::new`](super::Session::new).
    pub fn new(config: RowConfig, seed: u64) -> Self {
        let terms = Terms {
            policy: config.policy,
            fresh_credentials: config.fresh_credentials,
            backoff: Backoff::up_to(config.max_delay),
            connect_timeout: config.connect_timeout,
            idle_timeout: config.idle_timeout,
            must_complete: config.must_complete,
            ..Terms::default()
        };
        let rows = Rows {
            control_events: config.control_events,
            terminator: config.terminator,
            max_event_len: config.max_event_len,
            max_line_len: config.max_line_len,
            text: Vec::new(),
            complete: 0,
            has_data: false,
            has_id: false,
            event_type: Vec::new(),
            id: Vec::new(),
            last_event_id: config.last_event_id,
            line: Vec::new(),
            is_dropping: false,
            after_cr: false,
            mark: 0,
        };
        Self(Rules::new(terms, rows, seed))
    }

    /// See [`Session::poll`](super::Session::poll).
    pub fn poll(&mut self, now: u64) -> RowStep {
        if self.0.poll(now) {
            let resume = self.0.resume();
            return RowStep::Connect { sends_id: resume.has_id, by_get: resume.by_get };
        }
        match self.0.phase {
            Phase::Closed(_) => RowStep::Stop,
            Phase::Waiting(_) => RowStep::Sleep,
            _ => RowStep::Read,
        }
    }

    /// When to poll again, unless something happens before; `u64::MAX`: there is no time limit.
    pub const fn until(&self) -> u64 {
        self.0.until
    }

    /// See [`Session::is_open`](super::Session::is_open).
    pub const fn is_open(&self) -> bool {
        self.0.is_open()
    }

    /// See [`Session::failure`](super::Session::failure).
    pub const fn failure(&self) -> Option<Failure> {
        self.0.failure()
    }

    /// Why it is over, if it is.
    pub fn closed(&self) -> Option<RowClosed> {
        self.0.closed().copied()
    }

    /// The reconnection time in milliseconds that the server has set, if it has.
    pub const fn reconnection_time(&self) -> Option<u64> {
        self.0.reconnection_time
    }

    /// See [`Session::handle_response`](super::Session::handle_response).
    pub fn handle_response(
        &mut self,
        now: u64,
        status: u16,
        content_type: Option<&[u8]>,
        retry_after: u64,
    ) {
        self.0.handle_response(now, status, content_type, retry_after);
    }

    /// See [`Session::handle_end`](super::Session::handle_end).
    pub fn handle_end(&mut self, now: u64) {
        self.0.handle_end(now);
    }

    /// See [`Session::handle_error`](super::Session::handle_error).
    pub fn handle_error(&mut self, now: u64) {
        self.0.handle_error(now);
    }

    /// See [`Session::handle_unsent`](super::Session::handle_unsent).
    pub fn handle_unsent(&mut self, now: u64, failure: Failure) {
        self.0.handle_unsent(now, failure);
    }

    /// See [`Session::reconnect`](super::Session::reconnect).
    pub fn reconnect(&mut self, now: u64) {
        self.0.reconnect(now);
    }

    /// See [`Session::close`](super::Session::close).
    pub fn close(&mut self) {
        self.0.close();
    }

    /// Bytes of the body have arrived. Of what they complete there is a row each: the data, the type
    /// (empty: `message`) and the last event ID, with a CR after each of the three, which none of them
    /// can have.
    ///
    /// A row whose type is an LF is no event. Without data, it tells that the last event ID is another
    /// one; with data, that an event was dropped because it was longer than the limits.
    pub fn handle_bytes(&mut self, now: u64, chunk: &[u8]) -> &[u8] {
        let rows = &mut self.0.reader;
        rows.text.copy_within(rows.complete.., 0);
        rows.text.truncate(rows.text.len() - rows.complete);
        rows.complete = 0;
        if self.0.is_open() && !chunk.is_empty() {
            self.0.arrived(now);
        }
        let mut rest = chunk;
        while let [first, after_first @ ..] = rest {
            if !self.0.is_open() {
                break;
            }
            let rows = &mut self.0.reader;
            if mem::take(&mut rows.after_cr) && *first == b'\n' {
                rest = after_first;
                continue;
            }
            // "If a leading U+FEFF BYTE ORDER MARK character is found, ignore it" (section 9.2.5).
            if let Some((next, _)) = BOM.get(rows.mark..).and_then(<[u8]>::split_first) {
                if first == next {
                    rows.mark += 1;
                    rest = after_first;
                    continue;
                }
                rows.line.extend_from_slice(&BOM[..rows.mark]);
                rows.mark = BOM.len();
            }
            let end = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let (piece, after) = rest.split_at(end.unwrap_or(rest.len()));
            if !rows.is_dropping && rows.line.len() + piece.len() > rows.max_line_len {
                rows.drop_event();
            }
            let Some((end, after)) = after.split_first() else {
                rows.line.extend_from_slice(piece);
                if rows.is_dropping {
                    rows.line.truncate(1);
                }
                break;
            };
            rest = after;
            rows.after_cr = *end == b'\r';
            if rows.line.is_empty() {
                self.read_line(piece);
            } else {
                rows.line.extend_from_slice(piece);
                let mut line = mem::take(&mut rows.line);
                self.read_line(&line);
                line.clear();
                self.0.reader.line = line;
            }
        }
        let rows = &self.0.reader;
        &rows.text[..rows.complete]
    }

    /// One complete line.
    fn read_line(&mut self, line: &[u8]) {
        let rows = &mut self.0.reader;
        if rows.is_dropping {
            rows.is_dropping = !line.is_empty();
            return;
        }
        match process(line, rows) {
            Ok(Effect::Dispatch) => self.dispatch(),
            Ok(Effect::Retry(milliseconds)) => self.0.reconnection_time = Some(milliseconds),
            Ok(Effect::Nothing | Effect::Comment(_)) => rows.check(),
        }
    }

    /// The event is complete.
    fn dispatch(&mut self) {
        let rows = &mut self.0.reader;
        let kind = Kind::of(&rows.event_type);
        if kind != Kind::Open {
            self.0.failures = 0;
        }
        let is_delivered = match kind {
            Kind::Open | Kind::KeepAlive => rows.control_events,
            Kind::Error => {
                if rows.last_event_id == ERROR_ID.as_bytes() {
                    mem::swap(&mut rows.last_event_id, &mut rows.id);
                }
                self.0.phase = Phase::Closed(RowClosed::StreamError);
                true
            }
            Kind::Other
                if !rows.terminator.is_empty()
                    && rows.text[rows.complete..] == rows.terminator[..] =>
            {
                self.0.phase = Phase::Closed(RowClosed::Complete);
                false
            }
            Kind::Reset | Kind::Other => true,
        };
        if is_delivered { rows.end_row() } else { rows.note(&[]) }
    }
}

impl Buffers<'_> for Rows {
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

    /// What is left of an event without data is its id.
    fn clear(&mut self) {
        if self.has_id { self.note(&[]) } else { self.forget_event() }
    }
}

impl Rows {
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

    /// Drops the event that is being read if it has become too long.
    fn check(&mut self) {
        let id = if self.has_id { self.id.len() } else { 0 };
        if self.text.len() - self.complete + self.event_type.len() + id > self.max_event_len {
            self.drop_event();
        }
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

fn replace(buffer: &mut Vec<u8>, value: &[u8]) {
    buffer.clear();
    buffer.extend_from_slice(value);
}
