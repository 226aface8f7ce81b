//! One client connection without its I/O: when to connect and with what, what to deliver, when to
//! wait and when to stop (WHATWG HTML, sections 9.2.2 to 9.2.4, and what practice adds to them).
//!
//! A driver owns a socket and a clock and does what the session says:
//!
//! 1. [`Session::poll`] tells the next [`Step`]: connect, read, sleep, or stop.
//! 2. What happens is told back: [`handle_response`](Session::handle_response),
//!    [`handle_bytes`](Session::handle_bytes), [`handle_end`](Session::handle_end),
//!    [`handle_error`](Session::handle_error), [`handle_unsent`](Session::handle_unsent).
//! 3. Again from 1, also when the time that a step names has come.
//!
//! What has arrived is to be told before the time is: a program that was busy, or asleep, must not
//! take its own silence for the server's.
//!
//! Time is a [`Duration`] since any moment that stays the same, such as the session's start. The
//! native client and the WASM client are two such drivers, so these rules are written, and proven,
//! once.

mod config;
mod outcome;
mod rows;
mod rules;

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

pub use self::config::{Policy, SessionConfig, Terminator};
pub use self::outcome::{Closed, Decision, Failure, Outcome, Stage};
pub use self::rows::{RowClosed, RowConfig, RowSession, RowStep};
pub(crate) use self::rules::nanos;
use self::rules::{Phase, Reader, Rules, limit};
use crate::control::{ERROR_ID, StreamError};
use crate::decoder::{DecodeError, Decoder, Fields, Found, Frames};
use crate::event::Event;

/// What the driver shall do next. A driver must know every step, so there will be no new one without
/// a new major version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// Drop any earlier response and send this request, now. Given once for each try.
    Connect(Request<'a>),
    /// Go on with the request or the response; poll again at the time given, if nothing has happened
    /// before.
    Read {
        /// When to poll again; `None`: there is no time limit.
        until: Option<Duration>,
    },
    /// Drop any response, and poll again at this time.
    Sleep {
        /// When to poll again.
        until: Duration,
    },
    /// Drop any response. It is over.
    Stop(&'a Closed),
}

/// What to send besides what the caller asked for, `Accept: text/event-stream` and `Cache-Control:
/// no-cache`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Request<'a> {
    /// The value of the `Last-Event-ID` header, in UTF-8. Without one the header is left out.
    pub last_event_id: Option<&'a str>,
    /// There is a last event ID, but HTTP cannot carry it unchanged: it has a control character, or
    /// white space at an end. The stream starts anew, so events may be missing.
    pub id_withheld: bool,
    /// The request is to be a `GET` without a body, whatever the caller asked for: it resumes a stream
    /// and must not repeat what began it ([`Policy::Resume`]).
    pub by_get: bool,
}

/// The head of a response, after redirects.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResponseHead<'a> {
    /// The status code.
    pub status: u16,
    /// The value of `Content-Type`.
    pub content_type: Option<&'a str>,
    /// How long `Retry-After` asks to wait.
    pub retry_after: Option<Duration>,
}

/// Something for the application.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item<'a> {
    /// An event.
    Event(Event<'a>),
    /// The server cannot continue from the last event ID (`stream-reset`): events are missing. State
    /// that was built from these channels must be read anew. Events go on from here.
    Reset {
        /// The channels, or none if the server's list was unreadable: then all of them.
        channels: Vec<String>,
    },
    /// An event of one of the [types](SessionConfig::error_events) that report errors. The session goes
    /// on.
    Error(Event<'a>),
    /// A comment, if they were [asked](SessionConfig::comments) for.
    Comment(&'a str),
}

/// Where a session stands; `readyState` with its reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// A request is to be sent, or on its way.
    Connecting,
    /// The stream is open.
    Open,
    /// Between two tries.
    Waiting {
        /// When the next try is due.
        until: Duration,
        /// What ended the last one.
        failure: Failure,
    },
    /// It is over.
    Closed(Closed),
}

/// The state machine of one client connection. See [`Step`] for how to drive it.
#[derive(Debug)]
pub struct Session(Rules<Text>);

/// Events as text, with all that can be asked of a stream.
#[derive(Debug)]
struct Text {
    decoder: Decoder,
    config: SessionConfig,
}

impl Reader for Text {
    type Closed = Closed;

    fn end_of_stream(&mut self) {
        self.decoder.end_of_stream();
    }

    fn last_event_id(&self) -> Option<&[u8]> {
        self.decoder.last_event_id().map(str::as_bytes)
    }

    fn judge(&self, outcome: &Outcome) -> Decision {
        self.config.judge(outcome)
    }
}

impl Session {
    /// A session that has not connected yet. `seed` makes its jitter differ from that of others; any
    /// random number will do.
    pub fn new(config: SessionConfig, seed: u64) -> Self {
        let decoder = Decoder::with_config(config.decoder.clone());
        Self(Rules::new(config.terms(), Text { decoder, config }, seed))
    }

    /// Continues from an id that was stored when the program last ran. To be called before the first
    /// [`poll`](Self::poll).
    pub fn set_last_event_id(&mut self, id: Option<String>) {
        self.0.reader.decoder.set_last_event_id(id);
    }

    /// The last event ID that the stream has committed. The id of a `stream-error` does not count:
    /// who resumed from it would be refused for ever.
    pub fn last_event_id(&self) -> Option<&str> {
        self.0.reader.decoder.last_event_id()
    }

    /// Where the session stands.
    pub fn state(&self) -> State {
        match &self.0.phase {
            Phase::Due | Phase::Connecting => State::Connecting,
            Phase::Open => State::Open,
            &Phase::Waiting(failure) => {
                State::Waiting { until: Duration::from_nanos(self.0.until), failure }
            }
            Phase::Closed(closed) => State::Closed(closed.clone()),
        }
    }

    /// The reconnection time that the server has set by a `retry` field, if it has.
    pub fn reconnection_time(&self) -> Option<Duration> {
        self.0.reconnection_time.map(Duration::from_millis)
    }

    /// Whether the stream is open: [`State::Open`].
    pub const fn is_open(&self) -> bool {
        self.0.is_open()
    }

    /// Between two tries, what ended the last one: [`State::Waiting`].
    pub const fn failure(&self) -> Option<Failure> {
        self.0.failure()
    }

    /// Why it is over, if it is: [`State::Closed`].
    pub const fn closed(&self) -> Option<&Closed> {
        self.0.closed()
    }

    /// What to do now.
    pub fn poll(&mut self, now: Duration) -> Step<'_> {
        if self.0.poll(nanos(now)) {
            return Step::Connect(self.request());
        }
        match &self.0.phase {
            Phase::Closed(closed) => Step::Stop(closed),
            Phase::Waiting(_) => Step::Sleep { until: Duration::from_nanos(self.0.until) },
            _ => Step::Read { until: limit(self.0.until) },
        }
    }

    fn request(&self) -> Request<'_> {
        let resume = self.0.resume();
        Request {
            last_event_id: self.last_event_id().filter(|_| resume.has_id),
            id_withheld: resume.is_withheld,
            by_get: resume.by_get,
        }
    }

    /// The head of the response has arrived. Afterwards the session is open, waits, or is closed.
    pub fn handle_response(&mut self, now: Duration, head: &ResponseHead<'_>) {
        let content_type = head.content_type.map(str::as_bytes);
        let retry_after = nanos(head.retry_after.unwrap_or_default());
        self.0.handle_response(nanos(now), head.status, content_type, retry_after);
    }

    /// Bytes of the body have arrived. The items that they complete are read as they are asked for;
    /// ask until there is none.
    pub fn handle_bytes<'s, 'c>(&'s mut self, now: Duration, chunk: &'c [u8]) -> Items<'s, 'c> {
        let is_open = self.0.is_open();
        if is_open && !chunk.is_empty() {
            self.0.arrived(nanos(now));
        }
        let Rules { phase, failures, reconnection_time, reader, .. } = &mut self.0;
        let Text { decoder, config } = reader;
        let frames = decoder.decode(if is_open { chunk } else { &[] });
        let (mark, terminates_by_type) = match &config.terminator {
            Some(Terminator::Data(data)) => (Some(data.as_str()), false),
            Some(Terminator::EventType(_)) => (None, true),
            None => (None, false),
        };
        let reads_by_data = config.error_events.is_empty() && !terminates_by_type;
        Items { frames, phase, failures, reconnection_time, config, mark, reads_by_data }
    }

    /// The body has ended.
    pub fn handle_end(&mut self, now: Duration) {
        self.0.handle_end(nanos(now));
    }

    /// The request has failed, or the body has broken off. If it is certain that the server has seen
    /// nothing of the request, say so with [`handle_unsent`](Self::handle_unsent).
    pub fn handle_error(&mut self, now: Duration) {
        self.0.handle_error(nanos(now));
    }

    /// The request could not be sent, for this reason: [`Failure::Network`] if there is no connection,
    /// [`Failure::Headers`] if the caller had nothing to send on it.
    pub fn handle_unsent(&mut self, now: Duration, failure: Failure) {
        self.0.handle_unsent(nanos(now), failure);
    }

    /// Connects anew, without the delay that is due, for when the program knows more than the session:
    /// the network has changed, or someone pressed a button. Tries stay as far apart as
    /// [`Backoff::min`](crate::Backoff::min) says.
    ///
    /// An open stream is dropped for it and resumed from the last event ID, unless the policy allows
    /// no other request ([`Policy::Once`]): then this does nothing. Nor does it while a request is on
    /// its way, or when the session is closed.
    pub fn reconnect(&mut self, now: Duration) {
        self.0.reconnect(nanos(now));
    }

    /// Ends the session. Nothing is delivered after this.
    pub fn close(&mut self) {
        self.0.close();
    }
}

/// The items that a chunk completes, made by [`Session::handle_bytes`].
#[derive(Debug)]
#[must_use = "items are read as they are asked for"]
pub struct Items<'s, 'c> {
    frames: Frames<'s, 'c>,
    phase: &'s mut Phase<Closed>,
    failures: &'s mut u32,
    /// In milliseconds.
    reconnection_time: &'s mut Option<u64>,
    config: &'s SessionConfig,
    /// The data that end the stream, if there are such.
    mark: Option<&'s str>,
    /// Whether nothing depends on the type of an event that names none.
    reads_by_data: bool,
}

/// What becomes of an event.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Swallowed,
    Delivered,
    /// Delivered, and the stream is complete.
    Last,
    /// Not delivered, and the stream is complete.
    Mark,
    Error,
    Reset,
    StreamError,
}

/// Which control event a type means, or none.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Open,
    KeepAlive,
    Reset,
    Error,
    Other,
}

impl Kind {
    #[inline]
    fn of(event_type: &[u8]) -> Self {
        // Not patterns: these are compared byte by byte, in much code.
        let is = |name: &[u8]| event_type == name;
        if is(b"stream-open") {
            Self::Open
        } else if is(b"keep-alive") {
            Self::KeepAlive
        } else if is(b"stream-reset") {
            Self::Reset
        } else if is(b"stream-error") {
            Self::Error
        } else {
            Self::Other
        }
    }
}

/// What has been found, and is to be looked at.
enum Next<'c> {
    Comment,
    Event(Fate, Fields<'c>),
}

impl<'c> Items<'_, 'c> {
    /// The next item; `None` when the chunk has been read to its end, or a `stream-error` in it has
    /// closed the session.
    ///
    /// # Errors
    ///
    /// A [`DecodeError`] when a limit is passed. It costs one event; the next call goes on after it.
    #[expect(clippy::inline_always, reason = "returned through memory, an item costs a fifth more")]
    #[inline(always)]
    pub fn next_item(&mut self) -> Option<Result<Item<'_>, DecodeError>> {
        // Without a type it is no control event, and here nobody asks for its type either.
        if self.reads_by_data
            && matches!(self.phase, Phase::Open)
            && let Some(data) = self.frames.next_data_event()
        {
            *self.failures = 0;
            if self.mark.is_some_and(|mark| mark == data) {
                *self.phase = Phase::Closed(Closed::Complete);
                return None;
            }
            return Some(Ok(Item::Event(self.frames.data_event(data))));
        }
        self.next_found()
    }

    /// The next item, of whatever kind. Apart, so that what calls it stays small enough to be put in
    /// place.
    #[inline(never)]
    fn next_found(&mut self) -> Option<Result<Item<'_>, DecodeError>> {
        let (fate, fields) = match self.find()? {
            Ok(Next::Event(fate, fields)) => (fate, fields),
            Ok(Next::Comment) => return Some(Ok(Item::Comment(self.frames.comment()))),
            Err(error) => return Some(Err(error)),
        };
        if fate == Fate::StreamError {
            let error = StreamError::from_data(self.frames.event(&fields).data());
            self.end_by_error(&fields, error);
            return None;
        }
        let event = self.frames.event(&fields);
        Some(Ok(match fate {
            Fate::Reset => Item::Reset { channels: StreamError::from_data(event.data()).channels },
            Fate::Error => Item::Error(event),
            _ => Item::Event(event),
        }))
    }

    /// The last event ID that the items so far have committed: see [`Session::last_event_id`].
    pub fn last_event_id(&self) -> Option<&str> {
        self.frames.last_event_id()
    }

    /// Reads up to the next thing that is not swallowed, and notes what follows from it, save for what
    /// a `stream-error` says.
    fn find(&mut self) -> Option<Result<Next<'c>, DecodeError>> {
        while matches!(self.phase, Phase::Open) {
            let fields = match self.frames.find()? {
                Ok(Found::Event(fields)) => fields,
                Ok(Found::Comment) => return Some(Ok(Next::Comment)),
                Ok(Found::Retry(milliseconds)) => {
                    *self.reconnection_time = Some(milliseconds);
                    continue;
                }
                Err(error) => return Some(Err(error)),
            };
            let fate = self.fate(&fields);
            match fate {
                Fate::Swallowed => continue,
                Fate::Mark => {
                    *self.phase = Phase::Closed(Closed::Complete);
                    continue;
                }
                Fate::Last => *self.phase = Phase::Closed(Closed::Complete),
                _ => {}
            }
            return Some(Ok(Next::Event(fate, fields)));
        }
        None
    }

    /// What becomes of an event; whether it is progress is noted. Control events are told by the type
    /// alone, so that an event for the application is looked at only once, when it is delivered.
    fn fate(&mut self, fields: &Fields<'c>) -> Fate {
        let fate = match Kind::of(self.frames.event_type(fields)) {
            // The server is there, but has not helped anyone yet.
            Kind::Open => return self.fate_of_control(),
            Kind::KeepAlive => self.fate_of_control(),
            Kind::Reset => Fate::Reset,
            Kind::Error => Fate::StreamError,
            Kind::Other => self.fate_of_message(fields),
        };
        if fate != Fate::Error {
            *self.failures = 0;
        }
        fate
    }

    fn fate_of_message(&mut self, fields: &Fields<'c>) -> Fate {
        if self.is_error(fields) {
            return Fate::Error;
        }
        match &self.config.terminator {
            Some(Terminator::Data(data)) if self.frames.event(fields).data() == data => Fate::Mark,
            Some(Terminator::EventType(name)) if self.frames.event(fields).event_type() == name => {
                Fate::Last
            }
            _ => Fate::Delivered,
        }
    }

    const fn fate_of_control(&self) -> Fate {
        if self.config.control_events { Fate::Delivered } else { Fate::Swallowed }
    }

    /// The server has ended the stream for good. The id that says so is not one to resume from.
    fn end_by_error(&mut self, fields: &Fields<'c>, error: StreamError) {
        if self.frames.event(fields).id() == Some(ERROR_ID) {
            self.frames.take_back_event_id();
        }
        *self.phase = Phase::Closed(Closed::StreamError(error));
    }

    fn is_error(&mut self, fields: &Fields<'c>) -> bool {
        let types = &self.config.error_events;
        !types.is_empty() && {
            let event = self.frames.event(fields);
            types.iter().any(|name| name == event.event_type())
        }
    }
}
