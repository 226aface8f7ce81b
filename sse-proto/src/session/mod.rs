//! One client connection without its I/O and without its bytes: when to connect and with what, when
//! to wait and when to stop (WHATWG HTML, sections 9.2.2 to 9.2.4, and what practice adds to them).
//!
//! A driver owns a socket and a clock and does what the session says:
//!
//! 1. [`Session::poll`] tells the next [`Step`]: connect, read, sleep, or stop.
//! 2. What happens is told back: [`handle_response`](Session::handle_response),
//!    [`handle_arrival`](Session::handle_arrival), [`handle_end`](Session::handle_end),
//!    (with a body that takes time to send, [`handle_sending`](Session::handle_sending) too),
//!    [`handle_error`](Session::handle_error), [`handle_unsent`](Session::handle_unsent).
//! 3. Again from 1, also when the time that a step names has come.
//!
//! The bytes of the body are for a [`Reader`](crate::Reader), which has a session within and tells
//! it what the stream says: events, the last event ID, the reconnection time. The client for
//! browsers has a reader of its own, and the same session. So these rules are written, and proven,
//! once.
//!
//! A driver tells what has arrived before it tells the time: a program that was busy, or asleep,
//! must not take its own silence for the server's.
//!
//! Time is a number of [nanoseconds](Nanos) since any moment that stays the same, such as the
//! session's start.

mod backoff;
mod config;
mod outcome;
mod pulse;
mod response;
mod step;

pub use self::backoff::{Backoff, Nanos, nanos};
use self::backoff::{Jitter, NEVER};
use self::config::Terms;
pub use self::config::{Policy, SessionConfig, Terminator};
pub use self::outcome::{Closed, Decision, Failure, Outcome, Stage};
use self::pulse::Pulse;
pub use self::response::mime_essence;
use self::response::{is_event_stream, is_sendable, may_pass};
pub use self::step::{Request, ResponseHead, State, Step};
use crate::control::ControlKind;

/// The state machine of one client connection. See [`Step`] for how to drive it.
#[derive(Debug)]
pub struct Session {
    terms: Terms,
    phase: Phase,
    /// When the phase ends by itself: a time limit, or the end of a delay.
    until: Nanos,
    /// Failures since the last progress.
    failures: u32,
    /// When the first of the failures happened.
    failing_since: Nanos,
    /// The earliest time of the next try, even if the caller asks for it.
    earliest: Nanos,
    /// The last 401 has not been followed by an open stream.
    was_unauthorized: bool,
    /// The reconnection time in milliseconds, if a `retry` field has set one.
    reconnection_time: Option<u64>,
    last_event_id: LastEventId,
    /// How many streams have been opened.
    streams: u32,
    /// This one has delivered an event.
    has_events: bool,
    pulse: Pulse,
    jitter: Jitter,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Due,
    Connecting,
    /// The body of the request is being sent.
    Sending,
    Open,
    Waiting(Failure),
    Closed(Closed),
}

/// How many tries in a row keep to the reconnection time with [`Policy::Strict`].
const EXACT: u32 = 4;

/// What a session has to know of the last event ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LastEventId {
    /// "If the EventSource object's last event ID string is not the empty string", it is sent: this
    /// one is not.
    Empty,
    Sendable,
    /// HTTP cannot carry it.
    Withheld,
}

impl Session {
    /// A session that has not connected yet. `seed` makes its jitter differ from that of others;
    /// any random number will do.
    pub fn new(config: SessionConfig, seed: u64) -> Self {
        Self {
            terms: config.terms,
            phase: Phase::Due,
            until: NEVER,
            failures: 0,
            failing_since: 0,
            earliest: 0,
            was_unauthorized: false,
            reconnection_time: None,
            last_event_id: LastEventId::Empty,
            streams: 0,
            has_events: false,
            pulse: Pulse::default(),
            jitter: Jitter(seed),
        }
    }

    /// Where the session stands.
    pub const fn state(&self) -> State {
        match self.phase {
            Phase::Due | Phase::Connecting | Phase::Sending => State::Connecting,
            Phase::Open => State::Open,
            Phase::Waiting(failure) => State::Waiting { until: self.until, failure },
            Phase::Closed(closed) => State::Closed(closed),
        }
    }

    /// Whether the stream is open: [`State::Open`].
    #[inline]
    pub const fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    /// Between two tries, what ended the last one: [`State::Waiting`].
    pub const fn failure(&self) -> Option<Failure> {
        match self.phase {
            Phase::Waiting(failure) => Some(failure),
            _ => None,
        }
    }

    /// Why it is over, if it is: [`State::Closed`].
    pub const fn closed(&self) -> Option<Closed> {
        match self.phase {
            Phase::Closed(closed) => Some(closed),
            _ => None,
        }
    }

    /// The reconnection time that the server has set by a `retry` field, if it has, in
    /// milliseconds.
    pub const fn reconnection_time(&self) -> Option<u64> {
        self.reconnection_time
    }

    /// How many streams have been opened so far: another number means another stream.
    pub const fn streams(&self) -> u32 {
        self.streams
    }

    /// When to poll again, as the last [`Step`] has told; [`Nanos::MAX`] if there is no time limit.
    pub const fn until(&self) -> Nanos {
        self.until
    }

    /// What to do now.
    pub fn poll(&mut self, now: Nanos) -> Step {
        if now >= self.until {
            match self.phase {
                Phase::Connecting => self.fail(now, Failure::ConnectTimeout, Stage::Sent, 0),
                Phase::Sending => self.fail(now, Failure::SendTimeout, Stage::Sent, 0),
                Phase::Open => {
                    self.pulse.forget();
                    self.fail(now, Failure::IdleTimeout, Stage::Open, 0);
                }
                Phase::Waiting(_) => self.phase = Phase::Due,
                _ => {}
            }
        }
        match self.phase {
            Phase::Due => {
                self.phase = Phase::Connecting;
                self.until = now.saturating_add(self.terms.response_timeout());
                self.earliest = now.saturating_add(self.terms.backoff.floor());
                Step::Connect(self.request())
            }
            Phase::Connecting | Phase::Sending | Phase::Open => Step::Read,
            Phase::Waiting(_) => Step::Sleep,
            Phase::Closed(closed) => Step::Stop(closed),
        }
    }

    fn request(&self) -> Request {
        Request {
            sends_id: self.last_event_id == LastEventId::Sendable,
            id_withheld: self.last_event_id == LastEventId::Withheld,
            by_get: self.terms.policy() == Policy::Resume && self.is_repeatable(),
        }
    }

    /// Whether the policy lets the request be made again at all.
    fn is_repeatable(&self) -> bool {
        match self.terms.policy() {
            Policy::Resilient | Policy::Strict => true,
            Policy::Once => false,
            Policy::Resume => self.last_event_id == LastEventId::Sendable,
        }
    }

    /// The connection has taken something of the request's body, and there is more. For drivers
    /// that can see it.
    pub fn handle_sending(&mut self, now: Nanos) {
        if self.is_asking() {
            self.phase = Phase::Sending;
            self.until = now.saturating_add(self.terms.send_timeout);
        }
    }

    /// The connection has taken the whole request. For drivers that can see it.
    pub fn handle_sent(&mut self, now: Nanos) {
        if self.is_asking() {
            self.phase = Phase::Connecting;
            self.until = now.saturating_add(self.terms.response_timeout());
        }
    }

    /// Whether a request is on its way.
    const fn is_asking(&self) -> bool {
        matches!(self.phase, Phase::Connecting | Phase::Sending)
    }

    /// The head of the response has arrived. Afterwards the session is open, waits, or is closed.
    pub fn handle_response(&mut self, now: Nanos, head: &ResponseHead<'_>) {
        if !self.is_asking() {
            return;
        }
        let failure = match head.status {
            // "If res's status is 200 and res's `Content-Type` is text/event-stream": "announce the
            // connection".
            200 if head.content_type.is_some_and(is_event_stream) => {
                self.was_unauthorized = false;
                self.streams = self.streams.wrapping_add(1);
                self.phase = Phase::Open;
                self.has_events = false;
                self.pulse.start(now);
                self.handle_read(now);
                return;
            }
            200 => Failure::ContentType,
            status => Failure::Status(status),
        };
        let retry_after = head.retry_after.unwrap_or(0);
        self.fail(now, failure, Stage::Sent, retry_after);
    }

    /// The response cannot be read, although it may be an event stream: with
    /// [`Failure::ContentCoding`], say. No other try follows, unless the caller's
    /// [say](SessionConfig::decide) is another. This may show only when it is open.
    pub fn handle_unreadable(&mut self, now: Nanos, failure: Failure) {
        if let Some(stage) = self.stage() {
            self.fail(now, failure, stage, 0);
        }
    }

    /// Something of the body has arrived: from now on silence counts. To be told before what has
    /// arrived is read.
    pub fn handle_arrival(&mut self, now: Nanos) {
        if self.is_open() {
            self.pulse.beat(now);
            self.handle_read(now);
        }
    }

    /// What has arrived is read to its end: from now on silence counts. For drivers that let it
    /// wait, whose own slowness would count as the server's silence.
    pub fn handle_read(&mut self, now: Nanos) {
        if self.is_open() {
            let silence = self.terms.silence(self.has_events, self.pulse.keeps_alive());
            self.until = now.saturating_add(silence);
        }
    }

    /// The response was read as a whole, since the caller takes it in place of a stream. The
    /// session is closed as [complete](Closed::Complete).
    pub fn complete(&mut self) {
        if self.is_open() {
            self.phase = Phase::Closed(Closed::Complete);
        }
    }

    /// The body has ended.
    pub fn handle_end(&mut self, now: Nanos) {
        if self.is_open() {
            let is_early = self.terms.must_complete;
            let failure = if is_early { Failure::Incomplete } else { Failure::Ended };
            self.fail(now, failure, Stage::Open, 0);
        }
    }

    /// The request has failed, or the body has broken off. If it is certain that the server has
    /// seen nothing of the request, say so with [`handle_unsent`](Self::handle_unsent).
    pub fn handle_error(&mut self, now: Nanos) {
        if let Some(stage) = self.stage() {
            self.fail(now, Failure::Network, stage, 0);
        }
    }

    /// How far a try has come that has a request on its way, or a response.
    const fn stage(&self) -> Option<Stage> {
        match self.phase {
            Phase::Connecting | Phase::Sending => Some(Stage::Sent),
            Phase::Open => Some(Stage::Open),
            _ => None,
        }
    }

    /// The request could not be sent, for this reason: [`Failure::Network`] or
    /// [`Failure::ConnectTimeout`] if there is no connection, [`Failure::Headers`] if the caller
    /// had nothing to send on it, [`Failure::Local`] if it would fail again.
    pub fn handle_unsent(&mut self, now: Nanos, failure: Failure) {
        if self.is_asking() {
            self.fail(now, failure, Stage::Unsent, 0);
        }
    }

    /// Connects anew, without the delay that is due, for when the program knows more than the
    /// session: the network has changed, or someone pressed a button. Tries stay as far apart
    /// as [`Backoff::min`] says.
    ///
    /// An open stream is dropped for it and resumed from the last event ID, unless the policy
    /// allows no other request ([`Policy::Once`]): then this does nothing. Nor does it while a
    /// request is on its way, or when the session is closed.
    pub fn reconnect(&mut self, now: Nanos) {
        let failure = match self.phase {
            Phase::Waiting(failure) => failure,
            Phase::Open if self.is_repeatable() => Failure::ByCaller,
            _ => return,
        };
        self.until = self.earliest;
        self.phase = if now < self.earliest { Phase::Waiting(failure) } else { Phase::Due };
    }

    /// Ends the session. Nothing is delivered after this.
    pub fn close(&mut self) {
        if !matches!(self.phase, Phase::Closed(_)) {
            self.phase = Phase::Closed(Closed::ByCaller);
        }
    }

    /// The stream has set the last event ID, or it was stored when the program last ran. The
    /// session keeps only whether it can be sent; the reader of the stream has the ID.
    pub fn set_last_event_id(&mut self, id: &[u8]) {
        self.last_event_id = match id {
            [] => LastEventId::Empty,
            id if is_sendable(id) => LastEventId::Sendable,
            _ => LastEventId::Withheld,
        };
    }

    /// The request turns out to be of another kind than the driver could know
    /// [before](SessionConfig::default_policy): this is the policy from now on, unless the caller
    /// has set one. The time limit of a request that is on its way changes with it.
    pub fn set_default_policy(&mut self, policy: Policy) {
        let before = self.terms.response_timeout();
        self.terms.default_policy = policy;
        if matches!(self.phase, Phase::Connecting) {
            let begun = self.until.saturating_sub(before);
            self.until = begun.saturating_add(self.terms.response_timeout());
        }
    }

    /// The stream has set the reconnection time, in milliseconds.
    pub const fn set_reconnection_time(&mut self, milliseconds: u64) {
        self.reconnection_time = Some(milliseconds);
    }

    /// The stream has delivered an event: a control event, or one for the application. Returns
    /// whether the application gets it. If it `is_last`, it completes the stream, unless it is
    /// a control event.
    #[inline]
    pub const fn handle_event(&mut self, control: Option<ControlKind>, is_last: bool) -> bool {
        // After a stream-open the server is there, but has not helped anyone yet.
        if !matches!(control, Some(ControlKind::Open)) {
            self.failures = 0;
        }
        match control {
            Some(ControlKind::Open | ControlKind::KeepAlive) => self.terms.control_events,
            Some(ControlKind::Reset) => true,
            Some(ControlKind::Error) => {
                self.phase = Phase::Closed(Closed::StreamError);
                true
            }
            None => {
                self.has_events = true;
                self.pulse.interrupt();
                if is_last {
                    self.phase = Phase::Closed(Closed::Complete);
                }
                !is_last
            }
        }
    }

    /// A try has failed. `asked_for` is how long the response asks to wait.
    fn fail(&mut self, now: Nanos, failure: Failure, stage: Stage, asked_for: Nanos) {
        if self.failures == 0 {
            self.failing_since = now;
        }
        self.failures = self.failures.saturating_add(1);
        let decision = if self.may_try_again(failure) { Decision::Retry } else { Decision::Stop };
        if failure == Failure::Status(401) {
            self.was_unauthorized = true;
        }
        let outcome = Outcome { failure, stage, failures: self.failures, decision };
        if self.terms.judge(&outcome) == Decision::Stop {
            self.phase = Phase::Closed(Closed::Failed(failure));
            return;
        }
        // Longer than anyone waits, and short enough to be multiplied.
        let reconnection_time = self.reconnection_time.unwrap_or(0).min(u64::from(u32::MAX));
        let asked_for = asked_for.max(reconnection_time * 1_000_000);
        let backoff = &self.terms.backoff;
        let is_exact = self.terms.policy() == Policy::Strict && self.failures <= EXACT;
        let range = if is_exact && reconnection_time > 0 {
            backoff.fifth_of(asked_for)
        } else {
            backoff.range(self.failures)
        };
        // Nobody knows how many requests such a try was: a browser follows twenty redirects, and
        // tells only that it has failed.
        let is_unanswered = failure == Failure::Network && stage == Stage::Sent;
        let sure = if is_unanswered { range / 2 } else { 0 };
        let delay = backoff.delay_nanos(range - sure, asked_for, self.jitter.next());
        self.until = now.saturating_add(sure).saturating_add(delay);
        let is_too_late = self.until.saturating_sub(self.failing_since) > self.terms.give_up_after;
        self.phase =
            if is_too_late || self.terms.max_failures.is_some_and(|max| self.failures >= max) {
                Phase::Closed(Closed::GaveUp(failure))
            } else {
                Phase::Waiting(failure)
            };
    }

    /// What the policy says of a failure.
    fn may_try_again(&self, failure: Failure) -> bool {
        match failure {
            Failure::Status(401) if self.terms.fresh_credentials => !self.was_unauthorized,
            Failure::Status(status) => {
                // Another one may hold the stream: ours, which the server has not missed yet.
                let is_held = status == 409 && self.streams > 0;
                self.terms.policy() != Policy::Strict
                    && (is_held || may_pass(status))
                    && self.is_repeatable()
            }
            Failure::ContentType | Failure::ContentCoding | Failure::Local => false,
            _ => self.is_repeatable(),
        }
    }
}
