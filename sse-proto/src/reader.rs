//! A session and a decoder together: what a native driver reads the body of a response with.
//!
//! The [`Decoder`] finds frames, the [`Session`] is told what they mean for the connection, and the
//! driver gets what is for the application.

use alloc::string::String;
use alloc::vec::Vec;
use core::mem;

use crate::control::{ControlKind, ERROR_ID, StreamError};
use crate::decoder::{Chunk, DecodeError, Decoder, Fields, Found};
use crate::event::{DEFAULT_EVENT_TYPE, Event};
use crate::session::{Nanos, Session, SessionConfig, Terminator};

/// Something for the application.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item<'a> {
    /// An event.
    Event(Event<'a>),
    /// The server cannot continue from the last event ID (`stream-reset`): events are missing.
    /// State that was built from these channels must be read anew. Events go on from here.
    Reset {
        /// The channels, or none if the server's list was unreadable: then all of them.
        channels: Vec<String>,
    },
    /// An event of one of the [types](SessionConfig::error_events) that report errors. The session
    /// goes on.
    Error(Event<'a>),
    /// A comment, if they were [asked](SessionConfig::comments) for.
    Comment(&'a str),
}

/// Reads the bodies of one client's responses, one after the other, and tells the [`Session`]
/// within what they say.
///
/// ```
/// use sse_proto::{Item, Reader, ResponseHead, SessionConfig, Step};
///
/// let mut reader = Reader::new(SessionConfig::default(), 1);
/// let now = 0;
/// let Step::Connect(request) = reader.session_mut().poll(now) else { panic!("a first request") };
/// assert!(!request.sends_id);
/// let content_type = Some(&b"text/event-stream"[..]);
/// let head = ResponseHead { status: 200, content_type, retry_after: None };
/// reader.session_mut().handle_response(now, &head);
///
/// let mut items = reader.handle_bytes(now, b"id: 7\ndata: hello\n\n");
/// let Some(Ok(Item::Event(event))) = items.next_item() else { panic!("an event") };
/// assert_eq!(event.data(), "hello");
/// assert_eq!(reader.last_event_id(), Some("7"));
/// ```
#[derive(Debug)]
pub struct Reader {
    session: Session,
    decoder: Decoder,
    error_events: Vec<String>,
    terminators: Vec<Terminator>,
    /// The stream that the decoder reads: see [`Session::streams`].
    stream: u32,
    stream_error: Option<StreamError>,
}

/// What becomes of an event.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Swallowed,
    Delivered,
    Error,
    Reset,
    StreamError,
}

impl Reader {
    /// A reader with a session that has not connected yet. `seed` makes its jitter differ from that
    /// of others; any random number will do.
    pub fn new(mut config: SessionConfig, seed: u64) -> Self {
        Self {
            decoder: Decoder::with_config(config.decoder.clone()),
            error_events: mem::take(&mut config.error_events),
            terminators: mem::take(&mut config.terminators),
            session: Session::new(config, seed),
            stream: 0,
            stream_error: None,
        }
    }

    /// The session, to ask where it stands.
    pub const fn session(&self) -> &Session {
        &self.session
    }

    /// The session, to ask what to do and to tell what has happened. It knows the last event ID as
    /// of what has been read.
    ///
    /// Read a [chunk](Self::begin) to its end, or drop it, before you tell the session anything or
    /// poll it.
    pub fn session_mut(&mut self) -> &mut Session {
        if !self.session.is_open() {
            // So that an unfinished event takes no memory while there is no stream.
            self.decoder.end_of_stream();
        }
        let id = self.decoder.last_event_id().unwrap_or_default();
        self.session.set_last_event_id(id.as_bytes());
        &mut self.session
    }

    /// The last event ID that the stream has committed. The id of a `stream-error` does not count:
    /// a request that resumed from it would be refused for ever.
    pub fn last_event_id(&self) -> Option<&str> {
        self.decoder.last_event_id()
    }

    /// Continues from an id that was stored when the program last ran. To be called before the
    /// session is first polled.
    pub fn set_last_event_id(&mut self, id: Option<String>) {
        self.decoder.set_last_event_id(id);
    }

    /// What the server has said in the `stream-error` that has
    /// [closed](crate::Closed::StreamError) the session.
    pub const fn stream_error(&self) -> Option<&StreamError> {
        self.stream_error.as_ref()
    }

    /// Bytes of the body have arrived. The items that they complete are read as they are asked for;
    /// ask until there is none left.
    pub fn handle_bytes<'r, 'c>(&'r mut self, now: Nanos, chunk: &'c [u8]) -> Items<'r, 'c> {
        if !chunk.is_empty() {
            self.session.handle_arrival(now);
        }
        let chunk = self.begin(chunk);
        Items { reader: self, chunk }
    }

    /// Begins to read bytes of the body, for a driver that keeps them and delivers each item when
    /// it is asked for: by [`next_item`](Self::next_item), until there is none left. The same
    /// as [`handle_bytes`](Self::handle_bytes), but nothing is borrowed between one item and
    /// the next, and it is the driver's to call [`Session::handle_arrival`] before, and
    /// [`Session::handle_read`] when the chunk is read.
    #[inline]
    pub fn begin<'c>(&mut self, chunk: &'c [u8]) -> Chunk<'c> {
        if self.stream != self.session.streams() {
            self.stream = self.session.streams();
            self.decoder.end_of_stream();
        }
        self.decoder.begin(if self.session.is_open() { chunk } else { &[] })
    }

    /// The next item of a chunk that this reader has [begun](Self::begin); `None` when it has been
    /// read to its end, or an event in it has closed the session.
    ///
    /// # Errors
    ///
    /// A [`DecodeError`] when a limit is passed. It costs one event; the next call goes on after
    /// it.
    #[expect(clippy::inline_always, reason = "see `decoder/shortcuts.rs`")]
    #[inline(always)]
    pub fn next_item<'a, 'c: 'a>(
        &'a mut self,
        chunk: &'a mut Chunk<'c>,
    ) -> Option<Result<Item<'a>, DecodeError>> {
        if self.session.is_open() {
            if let Some(fields) = self.decoder.whole_event(chunk) {
                return match self.judge(chunk, &fields) {
                    Fate::Delivered => Some(Ok(Item::Event(self.decoder.event(chunk, &fields)))),
                    fate => self.next_after(chunk, fate, &fields),
                };
            }
        }
        self.next_found(chunk)
    }

    /// The data of the next event of a chunk that this reader has [begun](Self::begin), if they are
    /// all there is of it: no type, no last event ID, one line, and the reader has looked at it
    /// already. `None` says nothing of what comes: ask [`next_item`](Self::next_item) then.
    ///
    /// It is a shortcut for drivers that deliver copies. The data are two words, which are returned
    /// in registers; an item is returned through memory, and reading it again at once takes a tenth
    /// of what an event of an LLM costs.
    #[expect(clippy::inline_always, reason = "see `decoder/shortcuts.rs`")]
    #[inline(always)]
    pub fn next_data<'c>(&mut self, chunk: &mut Chunk<'c>) -> Option<&'c str> {
        if !self.session.is_open()
            || self.decoder.last_event_id().is_some()
            || self.error_events.iter().any(|name| name == DEFAULT_EVENT_TYPE)
        {
            return None;
        }
        let data = self.decoder.data_event(chunk)?;
        // Without a type it is no control event, so it is delivered unless it only marks the end.
        (self.judge(chunk, &Fields::of_data(data)) == Fate::Delivered).then_some(data)
    }

    /// The next item, of whatever kind. Not inlined, so that the caller stays small enough to be.
    #[inline(never)]
    fn next_found<'a, 'c: 'a>(
        &'a mut self,
        chunk: &'a mut Chunk<'c>,
    ) -> Option<Result<Item<'a>, DecodeError>> {
        while self.session.is_open() {
            match self.decoder.find(chunk)? {
                Ok(Found::Event(fields)) => match self.judge(chunk, &fields) {
                    Fate::Swallowed => {}
                    fate => return self.deliver(chunk, fate, &fields),
                },
                Ok(Found::Retry(milliseconds)) => self.session.set_reconnection_time(milliseconds),
                Ok(Found::Comment) => return Some(Ok(Item::Comment(self.decoder.comment()))),
                Err(error) => return Some(Err(error)),
            }
        }
        None
    }

    /// The same, if this event has been found.
    #[inline(never)]
    fn next_after<'a, 'c: 'a>(
        &'a mut self,
        chunk: &'a mut Chunk<'c>,
        fate: Fate,
        fields: &Fields<'c>,
    ) -> Option<Result<Item<'a>, DecodeError>> {
        match fate {
            Fate::Swallowed => self.next_found(chunk),
            _ => self.deliver(chunk, fate, fields),
        }
    }

    /// Tells the session of an event. Control events are known by their type alone, so that an
    /// event for the application is looked at only once, when it is delivered.
    #[inline]
    fn judge(&mut self, chunk: &Chunk<'_>, fields: &Fields<'_>) -> Fate {
        let control = ControlKind::of(self.decoder.event_type(fields));
        let is_message = control.is_none();
        if is_message && (!self.terminators.is_empty() || !self.error_events.is_empty()) {
            return self.judge_message(chunk, fields);
        }
        let is_delivered = self.session.handle_event(control, false);
        match control {
            Some(ControlKind::Reset) => Fate::Reset,
            Some(ControlKind::Error) => Fate::StreamError,
            _ if is_delivered => Fate::Delivered,
            _ => Fate::Swallowed,
        }
    }

    /// The same for an event that may report an error, or complete the stream.
    fn judge_message(&mut self, chunk: &Chunk<'_>, fields: &Fields<'_>) -> Fate {
        let event = self.decoder.event(chunk, fields);
        if self.error_events.iter().any(|name| name == event.event_type()) {
            // It is no progress, so the session is not told.
            return Fate::Error;
        }
        let (mut is_last, mut is_mark) = (false, false);
        for terminator in &self.terminators {
            match terminator {
                Terminator::Data(mark) => is_mark |= event.data() == mark,
                Terminator::EventType(name) => is_last |= event.event_type() == name,
            }
        }
        is_last |= is_mark;
        self.session.handle_event(None, is_last);
        if is_mark { Fate::Swallowed } else { Fate::Delivered }
    }

    /// Makes an item of an event that is not swallowed.
    fn deliver<'a, 'c: 'a>(
        &'a mut self,
        chunk: &'a Chunk<'c>,
        fate: Fate,
        fields: &Fields<'c>,
    ) -> Option<Result<Item<'a>, DecodeError>> {
        if fate == Fate::StreamError {
            self.end_by_error(chunk, fields);
            return None;
        }
        let event = self.decoder.event(chunk, fields);
        Some(Ok(match fate {
            Fate::Reset => Item::Reset { channels: StreamError::from_data(event.data()).channels },
            Fate::Error => Item::Error(event),
            _ => Item::Event(event),
        }))
    }

    /// The server has ended the stream for good. The id that says so is not one to resume from.
    fn end_by_error(&mut self, chunk: &Chunk<'_>, fields: &Fields<'_>) {
        let event = self.decoder.event(chunk, fields);
        self.stream_error = Some(StreamError::from_data(event.data()));
        if event.id() == Some(ERROR_ID) {
            self.decoder.take_back_event_id();
        }
    }
}

/// The items that a chunk completes, made by [`Reader::handle_bytes`].
#[derive(Debug)]
#[must_use = "items are read as they are asked for"]
pub struct Items<'r, 'c> {
    reader: &'r mut Reader,
    chunk: Chunk<'c>,
}

impl Items<'_, '_> {
    /// The next item; `None` when the chunk has been read to its end, or an event in it has closed
    /// the session.
    ///
    /// # Errors
    ///
    /// A [`DecodeError`] when a limit is passed. It costs one event; the next call goes on after
    /// it.
    #[expect(clippy::inline_always, reason = "see `decoder/shortcuts.rs`")]
    #[inline(always)]
    pub fn next_item(&mut self) -> Option<Result<Item<'_>, DecodeError>> {
        self.reader.next_item(&mut self.chunk)
    }

    /// The last event ID that the items so far have committed: see [`Reader::last_event_id`].
    pub fn last_event_id(&self) -> Option<&str> {
        self.reader.last_event_id()
    }
}
