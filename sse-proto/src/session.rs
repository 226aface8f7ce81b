//! One client connection without its I/O: when to connect and with what, what to deliver, when to
//! wait and when to stop (WHATWG HTML, sections 9.2.2 to 9.2.4, and what practice adds to them).
//!
//! A driver owns a socket and a clock and does what the session says:
//!
//! 1. [`Session::poll`] tells the next [`Step`]: connect, read, sleep, or stop.
//! 2. What happens is told back: [`handle_response`](Session::handle_response),
//!    [`handle_bytes`](Session::handle_bytes), [`handle_end`](Session::handle_end),
//!    [`handle_error`](Session::handle_error).
//! 3. Again from 1, also when the time that a step names has come.
//!
//! What has arrived is to be told before the time is: a program that was busy, or asleep, must not
//! take its own silence for the server's.
//!
//! Time is a [`Duration`] since any moment that stays the same, such as the session's start. The
//! native client and the WASM client are two such drivers, so these rules are written, and proven,
//! once.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::backoff::{Backoff, Jitter};
use crate::control::{Control, ERROR_ID, StreamError};
use crate::decoder::{DecodeError, Decoder, DecoderConfig, Fields, Found, Frames};
use crate::event::Event;

/// Which failures are final.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Policy {
    /// Tries again after whatever may pass: network errors, the end of the stream, 408, 425, 429 and
    /// 5xx. Everything else is final.
    #[default]
    Resilient,
    /// Tries again after network errors and the end of the stream only, as the standard's
    /// `EventSource` does. Any status but 200 is final.
    Strict,
}

/// How a [`Session`] behaves.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[must_use]
pub struct SessionConfig {
    policy: Policy,
    backoff: Backoff,
    max_failures: Option<u32>,
    connect_timeout: Duration,
    idle_timeout: Option<Duration>,
    control_events: bool,
    decoder: DecoderConfig,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            backoff: Backoff::default(),
            max_failures: None,
            connect_timeout: Duration::from_secs(30),
            idle_timeout: Some(Duration::from_secs(45)),
            control_events: false,
            decoder: DecoderConfig::default(),
        }
    }
}

impl SessionConfig {
    /// Which failures are final. Default: [`Policy::Resilient`].
    pub const fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// How long to wait between tries. Default: [`Backoff::default`].
    pub const fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// How many failures in a row are final, whatever they are; 1 means to try once. Default: `None`,
    /// never give up. Only an event (or a keep-alive) ends the row: a server that accepts every
    /// connection and says nothing has not helped anyone.
    pub const fn max_failures(mut self, failures: Option<u32>) -> Self {
        self.max_failures = failures;
        self
    }

    /// How long a try may take until the response's head has arrived. Default: 30 s.
    pub const fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long a stream may be silent, without even a comment, before it counts as dead. Default:
    /// 45 s, twice django-eventstream's keep-alive and some. With `None` a connection that was lost
    /// without a word (a sleeping laptop, a NAT that forgot) may never be noticed.
    pub const fn idle_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.idle_timeout = timeout;
        self
    }

    /// Whether `stream-open` and `keep-alive` are delivered like other events. Default: no.
    pub const fn control_events(mut self, delivered: bool) -> Self {
        self.control_events = delivered;
        self
    }

    /// The limits of the decoder.
    pub const fn decoder(mut self, config: DecoderConfig) -> Self {
        self.decoder = config;
        self
    }
}

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

/// What to send besides the URL: `GET`, `Accept: text/event-stream`, `Cache-Control: no-cache`, and
/// the last event ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Request<'a> {
    /// The value of the `Last-Event-ID` header, in UTF-8. Without one the header is left out.
    pub last_event_id: Option<&'a str>,
    /// There is a last event ID, but HTTP cannot carry it unchanged: it has a control character, or
    /// white space at an end. The stream starts anew, so events may be missing.
    pub id_withheld: bool,
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
    /// A comment, if the decoder was [asked](DecoderConfig::comments) for them.
    Comment(&'a str),
}

/// Why a try did not last. It is followed by another one, unless that is too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// The connection could not be made, or broke.
    Network,
    /// The server ended the stream.
    Ended,
    /// The server answered with this status, which may pass.
    Status(u16),
    /// No response within [`SessionConfig::connect_timeout`].
    ConnectTimeout,
    /// Silence for longer than [`SessionConfig::idle_timeout`].
    IdleTimeout,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network => f.write_str("the connection failed"),
            Self::Ended => f.write_str("the server ended the stream"),
            Self::Status(status) => write!(f, "the server answered with status {status}"),
            Self::ConnectTimeout => f.write_str("the server did not answer in time"),
            Self::IdleTimeout => f.write_str("the stream was silent for too long"),
        }
    }
}

/// Why a session is over.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Closed {
    /// [`Session::close`] was called.
    ByCaller,
    /// Status 204: the server wants no more requests (section 9.2.1).
    NoContent,
    /// A status that trying again will not mend.
    Status(u16),
    /// The response is no event stream but has this type, or none.
    ContentType(Option<String>),
    /// The server said so in the stream (`stream-error`).
    StreamError(StreamError),
    /// As many failures in a row as [`SessionConfig::max_failures`] allows; this was the last.
    GaveUp(Failure),
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByCaller => f.write_str("closed by the caller"),
            Self::NoContent => f.write_str("the server wants no more requests (status 204)"),
            Self::Status(status) => write!(f, "the server refused with status {status}"),
            Self::ContentType(Some(found)) => {
                write!(f, "the response is {found:?}, not text/event-stream")
            }
            Self::ContentType(None) => {
                f.write_str("the response has no Content-Type, text/event-stream is needed")
            }
            Self::StreamError(error) => write!(f, "the server ended the stream: {error}"),
            Self::GaveUp(failure) => write!(f, "gave up: {failure}"),
        }
    }
}

impl core::error::Error for Closed {}

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
pub struct Session {
    config: SessionConfig,
    decoder: Decoder,
    jitter: Jitter,
    phase: Phase,
    /// Failures since the last progress.
    failures: u32,
    /// The reconnection time, if a `retry` field has set one.
    reconnection_time: Option<Duration>,
}

#[derive(Debug)]
enum Phase {
    Due,
    Connecting { deadline: Duration },
    Open { deadline: Option<Duration> },
    Waiting { until: Duration, failure: Failure },
    Closed(Closed),
}

impl Session {
    /// A session that has not connected yet. `seed` makes its jitter differ from that of others; any
    /// random number will do.
    pub fn new(config: SessionConfig, seed: u64) -> Self {
        Self {
            decoder: Decoder::with_config(config.decoder.clone()),
            config,
            jitter: Jitter(seed),
            phase: Phase::Due,
            failures: 0,
            reconnection_time: None,
        }
    }

    /// Continues from an id that was stored when the program last ran. To be called before the first
    /// [`poll`](Self::poll).
    pub fn set_last_event_id(&mut self, id: Option<String>) {
        self.decoder.set_last_event_id(id);
    }

    /// The last event ID that the stream has committed. The id of a `stream-error` does not count:
    /// who resumed from it would be refused for ever.
    pub fn last_event_id(&self) -> Option<&str> {
        self.decoder.last_event_id()
    }

    /// Where the session stands.
    pub fn state(&self) -> State {
        match &self.phase {
            Phase::Due | Phase::Connecting { .. } => State::Connecting,
            Phase::Open { .. } => State::Open,
            &Phase::Waiting { until, failure } => State::Waiting { until, failure },
            Phase::Closed(closed) => State::Closed(closed.clone()),
        }
    }

    /// What to do now.
    pub fn poll(&mut self, now: Duration) -> Step<'_> {
        match self.phase {
            Phase::Connecting { deadline } if now >= deadline => {
                self.fail(now, Failure::ConnectTimeout, None);
            }
            Phase::Open { deadline: Some(deadline) } if now >= deadline => {
                self.fail(now, Failure::IdleTimeout, None);
            }
            Phase::Waiting { until, .. } if now >= until => self.phase = Phase::Due,
            _ => {}
        }
        if matches!(self.phase, Phase::Due) {
            let deadline = now.saturating_add(self.config.connect_timeout);
            self.phase = Phase::Connecting { deadline };
            return Step::Connect(self.request());
        }
        match &self.phase {
            Phase::Closed(closed) => Step::Stop(closed),
            &Phase::Waiting { until, .. } => Step::Sleep { until },
            &Phase::Open { deadline } => Step::Read { until: deadline },
            &Phase::Due => Step::Read { until: None },
            &Phase::Connecting { deadline } => Step::Read { until: Some(deadline) },
        }
    }

    fn request(&self) -> Request<'_> {
        let id = self.last_event_id().filter(|id| !id.is_empty());
        let sendable = |id: &&str| !id.chars().any(char::is_control) && id.trim_ascii() == *id;
        let last_event_id = id.filter(sendable);
        Request { last_event_id, id_withheld: last_event_id != id }
    }

    /// The head of the response has arrived. Afterwards the session is open, waits, or is closed.
    pub fn handle_response(&mut self, now: Duration, head: &ResponseHead<'_>) {
        if !matches!(self.phase, Phase::Connecting { .. }) {
            return;
        }
        match head.status {
            200 if is_event_stream(head.content_type) => {
                self.decoder.end_of_stream();
                self.phase = Phase::Open { deadline: self.idle_deadline(now) };
            }
            200 => self.stop(Closed::ContentType(head.content_type.map(ToString::to_string))),
            204 => self.stop(Closed::NoContent),
            status if self.config.policy == Policy::Resilient && may_pass(status) => {
                self.fail(now, Failure::Status(status), head.retry_after);
            }
            status => self.stop(Closed::Status(status)),
        }
    }

    /// Bytes of the body have arrived. The items that they complete are read as they are asked for;
    /// ask until there is none.
    pub fn handle_bytes<'s, 'c>(&'s mut self, now: Duration, chunk: &'c [u8]) -> Items<'s, 'c> {
        let is_open = matches!(self.phase, Phase::Open { .. });
        if is_open && !chunk.is_empty() {
            self.phase = Phase::Open { deadline: self.idle_deadline(now) };
        }
        let Self { decoder, phase, failures, reconnection_time, config, .. } = self;
        let frames = decoder.decode(if is_open { chunk } else { &[] });
        Items { frames, phase, failures, reconnection_time, control_events: config.control_events }
    }

    /// The body has ended.
    pub fn handle_end(&mut self, now: Duration) {
        if matches!(self.phase, Phase::Open { .. }) {
            self.fail(now, Failure::Ended, None);
        }
    }

    /// The request has failed, or the body has broken off.
    pub fn handle_error(&mut self, now: Duration) {
        if matches!(self.phase, Phase::Connecting { .. } | Phase::Open { .. }) {
            self.fail(now, Failure::Network, None);
        }
    }

    /// Ends the session. Nothing is delivered after this.
    pub fn close(&mut self) {
        if !matches!(self.phase, Phase::Closed(_)) {
            self.stop(Closed::ByCaller);
        }
    }

    fn idle_deadline(&self, now: Duration) -> Option<Duration> {
        self.config.idle_timeout.map(|timeout| now.saturating_add(timeout))
    }

    fn fail(&mut self, now: Duration, failure: Failure, retry_after: Option<Duration>) {
        self.decoder.end_of_stream();
        self.failures = self.failures.saturating_add(1);
        if self.config.max_failures.is_some_and(|max| self.failures >= max) {
            return self.stop(Closed::GaveUp(failure));
        }
        let asked_for = retry_after.max(self.reconnection_time);
        let delay = self.config.backoff.delay(self.failures, asked_for, self.jitter.next());
        self.phase = Phase::Waiting { until: now.saturating_add(delay), failure };
    }

    fn stop(&mut self, closed: Closed) {
        self.decoder.end_of_stream();
        self.phase = Phase::Closed(closed);
    }
}

/// "Content-Type is text/event-stream", whatever its parameters (section 9.2.3).
fn is_event_stream(content_type: Option<&str>) -> bool {
    let essence = content_type.and_then(|value| value.split(';').next());
    essence.is_some_and(|essence| essence.trim_ascii().eq_ignore_ascii_case("text/event-stream"))
}

/// Request Timeout, Too Early, Too Many Requests, and the server's own errors.
const fn may_pass(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500..=599)
}

/// The items that a chunk completes, made by [`Session::handle_bytes`].
#[derive(Debug)]
#[must_use = "items are read as they are asked for"]
pub struct Items<'s, 'c> {
    frames: Frames<'s, 'c>,
    phase: &'s mut Phase,
    failures: &'s mut u32,
    reconnection_time: &'s mut Option<Duration>,
    control_events: bool,
}

impl<'c> Items<'_, 'c> {
    /// The next item; `None` when the chunk has been read to its end, or a `stream-error` in it has
    /// closed the session.
    ///
    /// # Errors
    ///
    /// A [`DecodeError`] when a limit is passed. It costs one event; the next call goes on after it.
    pub fn next_item(&mut self) -> Option<Result<Item<'_>, DecodeError>> {
        while matches!(self.phase, Phase::Open { .. }) {
            let fields = match self.frames.find()? {
                Ok(Found::Event(fields)) => fields,
                Ok(Found::Comment) => return Some(Ok(Item::Comment(self.frames.comment()))),
                Ok(Found::Retry(milliseconds)) => {
                    *self.reconnection_time = Some(Duration::from_millis(milliseconds));
                    continue;
                }
                Err(error) => return Some(Err(error)),
            };
            let control = self.control(&fields);
            if control != Some(Control::Open) {
                *self.failures = 0;
            }
            match control {
                Some(Control::Reset { channels }) => return Some(Ok(Item::Reset { channels })),
                Some(Control::Error(error)) => {
                    *self.phase = Phase::Closed(Closed::StreamError(error));
                }
                Some(_) if !self.control_events => {}
                _ => return Some(Ok(Item::Event(self.frames.event(&fields)))),
            }
        }
        None
    }

    /// The control event that these fields make. Told by the type alone, so that an event for the
    /// application is looked at only once, when it is delivered.
    fn control(&mut self, fields: &Fields<'c>) -> Option<Control> {
        match self.frames.event_type(fields) {
            b"stream-open" | b"stream-reset" | b"stream-error" | b"keep-alive" => {}
            _ => return None,
        }
        let event = self.frames.event(fields);
        let control = Control::of(&event);
        if matches!(control, Some(Control::Error(_))) && event.id() == Some(ERROR_ID) {
            self.frames.take_back_event_id();
        }
        control
    }
}
