//! One client connection without its I/O: when to connect and with what, what to deliver, when to
//! wait and when to stop (WHATWG HTML, sections 9.2.2 to 9.2.4, and what practice adds to them).
//!
//! A driver owns a socket and a clock and does what the session says:
//!
//! 1. [`Session::poll`] tells the next [`Step`]: connect, read, sleep, or stop.
//! 2. What happens is told back: [`handle_response`](Session::handle_response),
//!    [`handle_bytes`](Session::handle_bytes), [`handle_end`](Session::handle_end),
//!    [`handle_error`](Session::handle_error), [`handle_unsent`](Session::handle_unsent). A driver that
//!    delivers an item when it is asked for one calls [`begin`](Session::begin) in place of `handle_bytes`.
//! 3. Again from 1, also when the time that a step names has come.
//!
//! What has arrived is to be told before the time is: a program that was busy, or asleep, must not
//! take its own silence for the server's.
//!
//! Time is a [`Duration`] since any moment that stays the same, such as the session's start. The
//! native client and the WASM client are two such drivers, so these rules are written, and proven,
//! once.

mod backoff;
mod config;
mod items;
mod outcome;
mod rows;
mod rules;

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

pub use self::backoff::Backoff;
use self::backoff::{limit, nanos};
pub use self::config::{Policy, SessionConfig, Terminator};
pub use self::items::Items;
pub use self::outcome::{Closed, Decision, Failure, Outcome, Stage};
pub use self::rows::{RowClosed, RowConfig, RowSession, RowStep};
use self::rules::{Phase, Reader, Rules};
use crate::decoder::Decoder;
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
    /// Whether nothing depends on the type of an event that names none.
    reads_by_data: bool,
    /// Whether every event is delivered that is no control event, and none ends the stream.
    delivers_all: bool,
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
        let ends_by_type = matches!(config.terminator, Some(Terminator::EventType(_)));
        let reads_by_data = config.error_events.is_empty() && !ends_by_type;
        let delivers_all = config.error_events.is_empty() && config.terminator.is_none();
        let terms = config.terms();
        Self(Rules::new(terms, Text { decoder, config, reads_by_data, delivers_all }, seed))
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
