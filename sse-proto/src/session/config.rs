//! How a session behaves, as far as the caller decides it.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use super::backoff::{Backoff, NEVER, Nanos, SECOND, nanos};
use super::outcome::{Decision, Outcome};
use crate::decoder::DecoderConfig;

/// Which failures are final. [`SessionConfig::decide`] is for what none of these fits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Policy {
    /// Tries again after whatever may pass: network errors, the end of the stream, 408, 425, 429
    /// and 5xx, and 409 when a stream was open before, which the server may still hold. Everything
    /// else is final.
    #[default]
    Resilient,
    /// Tries again after network errors and the end of the stream only, as the standard's
    /// `EventSource` does. Any status but 200 is final. A reconnection time that the server has set
    /// is kept to a fifth, for the first tries in a row.
    Strict,
    /// Asks once, whatever comes of it: for requests that cost or change something, such as a
    /// `POST` to a language model. The end of the stream is its [normal
    /// end](super::Closed::is_normal); every other failure is final. Not even a status such as
    /// 429 leads to a second request, because the server that answers may not be the one that
    /// has done the work. [`SessionConfig::decide`] can allow what a certain server is known to
    /// do.
    Once,
    /// As [`Once`](Self::Once) until the stream has set a last event ID; from then on as
    /// [`Resilient`](Self::Resilient), with [requests](super::Request::by_get) that only resume and
    /// never repeat. This is how streams of the Model Context Protocol (2025-11-25) are resumed.
    Resume,
}

/// The event that says that a stream is complete.
///
/// A text converts into [`Data`](Self::Data).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Terminator {
    /// An event of any type with exactly these data, such as `[DONE]`. It is a mark, not a message,
    /// and is not delivered.
    Data(String),
    /// An event of this type, such as `message_stop`. It is delivered, as the last one.
    EventType(String),
}

impl From<&str> for Terminator {
    fn from(data: &str) -> Self {
        Self::Data(data.into())
    }
}

impl From<String> for Terminator {
    fn from(data: String) -> Self {
        Self::Data(data)
    }
}

/// How a [`Session`](super::Session) behaves.
///
/// A time limit of zero has passed before anything can happen: each try fails, or each stream is
/// dead. To have no limit is `None`, where that is possible.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
#[must_use]
pub struct SessionConfig {
    pub(super) terms: Terms,
    pub(crate) error_events: Vec<String>,
    pub(crate) terminators: Vec<Terminator>,
    pub(crate) decoder: DecoderConfig,
}

/// What of it is for the session itself; the rest is for a [`Reader`](crate::Reader).
#[derive(Clone, Debug)]
pub(super) struct Terms {
    /// What the caller has set.
    policy: Option<Policy>,
    pub(super) default_policy: Policy,
    decide: Option<Decide>,
    pub(super) fresh_credentials: bool,
    pub(super) backoff: Backoff,
    pub(super) max_failures: Option<u32>,
    pub(super) give_up_after: Nanos,
    connect_timeout: Option<Nanos>,
    response_timeout: Option<Nanos>,
    pub(super) send_timeout: Nanos,
    first_event_timeout: Option<Nanos>,
    idle_timeout: Option<Nanos>,
    /// The end of the stream without the terminator is a failure.
    pub(super) must_complete: bool,
    pub(super) control_events: bool,
}

/// How long a silent stream of a server is read that has shown that it keeps streams alive: more
/// than twice django-eventstream's keep-alive.
const KEPT_ALIVE: Nanos = 45 * SECOND;

/// How long all else may take, unless the caller says so. A model may think for minutes, and a
/// server may have nothing to say.
const PATIENCE: Nanos = 600 * SECOND;

impl Terms {
    pub(super) const fn policy(&self) -> Policy {
        match self.policy {
            Some(policy) => policy,
            None => self.default_policy,
        }
    }

    /// Whether it may be that only one request is made: then its answer is worth waiting for.
    const fn is_precious(&self) -> bool {
        matches!(self.policy(), Policy::Once | Policy::Resume)
    }

    /// How long to wait for the head of the response.
    pub(super) fn response_timeout(&self) -> Nanos {
        let default = if self.is_precious() { PATIENCE } else { PATIENCE / 2 };
        self.response_timeout.or(self.connect_timeout).unwrap_or(default)
    }

    /// How long a stream may be silent, that has had events, of a server that has shown that it
    /// keeps streams alive.
    pub(super) fn silence(&self, has_events: bool, is_kept_alive: bool) -> Nanos {
        let first = if has_events { None } else { self.first_event_timeout };
        let is_short = is_kept_alive && !self.is_precious();
        let default = if is_short { KEPT_ALIVE } else { PATIENCE };
        first.or(self.idle_timeout).unwrap_or(default)
    }

    /// The last word on a failure.
    pub(super) fn judge(&self, outcome: &Outcome) -> Decision {
        self.decide.as_ref().map_or(outcome.decision, |decide| (decide.0)(outcome))
    }
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            policy: None,
            default_policy: Policy::Resilient,
            decide: None,
            fresh_credentials: false,
            backoff: Backoff::default(),
            max_failures: None,
            give_up_after: NEVER,
            connect_timeout: None,
            response_timeout: None,
            send_timeout: 60 * SECOND,
            first_event_timeout: None,
            idle_timeout: None,
            must_complete: false,
            control_events: false,
        }
    }
}

/// The caller's say in what is final.
#[derive(Clone)]
struct Decide(Arc<dyn Fn(&Outcome) -> Decision + Send + Sync>);

impl fmt::Debug for Decide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}

impl SessionConfig {
    /// Which failures are final. Default: [`Policy::Resilient`].
    pub const fn policy(mut self, policy: Policy) -> Self {
        self.terms.policy = Some(policy);
        self
    }

    /// What the policy is if [`policy`](Self::policy) is not called. For drivers, which know what
    /// kind of request is made; one that learns it later says so to the
    /// [session](super::Session::set_default_policy).
    pub const fn default_policy(mut self, policy: Policy) -> Self {
        self.terms.default_policy = policy;
        self
    }

    /// Asks the caller, too, whether a failure is final. The function gets each failure with what
    /// the policy says of it, and has the last word. Only the limits
    /// ([`max_failures`](Self::max_failures), [`give_up_after`](Self::give_up_after)) and the
    /// delays hold all the same. A `stream-error`, and an event that [completes](Self::until)
    /// the stream, are no failures.
    ///
    /// ```
    /// use sse_proto::{Decision, Failure, Policy, SessionConfig, Stage};
    ///
    /// // Asks again only if nothing can have been done yet: this server counts before it works.
    /// let config = SessionConfig::default().policy(Policy::Once).max_failures(Some(3));
    /// let config = config.decide(|outcome| match (outcome.stage, outcome.failure) {
    ///     (Stage::Unsent, _) | (Stage::Sent, Failure::Status(429)) => Decision::Retry,
    ///     _ => outcome.decision,
    /// });
    /// ```
    pub fn decide(mut self, decide: impl Fn(&Outcome) -> Decision + Send + Sync + 'static) -> Self {
        self.terms.decide = Some(Decide(Arc::new(decide)));
        self
    }

    /// Whether each request carries credentials that are made for it. Then a 401 is answered with
    /// one more request, whatever the policy; a second 401, without an open stream between
    /// them, is final. Default: no, the same credentials would be refused again.
    pub const fn fresh_credentials(mut self, fresh: bool) -> Self {
        self.terms.fresh_credentials = fresh;
        self
    }

    /// How long to wait between tries. Default: [`Backoff::default`].
    ///
    /// ```
    /// use core::time::Duration;
    /// use sse_proto::{Backoff, SessionConfig};
    ///
    /// let backoff = Backoff::default().max(Duration::from_secs(60)).jitter(50);
    /// let config = SessionConfig::default().backoff(backoff);
    /// ```
    pub const fn backoff(mut self, backoff: Backoff) -> Self {
        self.terms.backoff = backoff;
        self
    }

    /// How many failures in a row are final, whatever they are; 1 means to try once. Default:
    /// `None`, never give up. Only an event (or a keep-alive) ends the row: a server that
    /// accepts every connection and says nothing has not helped anyone.
    pub const fn max_failures(mut self, failures: Option<u32>) -> Self {
        self.terms.max_failures = failures;
        self
    }

    /// How long failures in a row may go on: a try that would come later than this after the first
    /// of them is not made. Default: `None`, never give up. It suits a program that has someone
    /// to tell; [`max_failures`](Self::max_failures) suits a test. A try that is under way is
    /// not cut short. With zero the first failure is final.
    pub const fn give_up_after(mut self, time: Option<Duration>) -> Self {
        self.terms.give_up_after = nanos_or_never(time);
        self
    }

    /// How long to wait for a connection. Default: 30 s. A session does not see connections; this
    /// is for the driver's [transport](Self::connection_limit). Set without
    /// [`response_timeout`](Self::response_timeout), it is the limit for the head of the response
    /// as well.
    pub const fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.terms.connect_timeout = Some(nanos(timeout));
        self
    }

    /// What [`connect_timeout`](Self::connect_timeout) is.
    pub const fn connection_limit(&self) -> Duration {
        match self.terms.connect_timeout {
            Some(timeout) => Duration::from_nanos(timeout),
            None => Duration::from_secs(30),
        }
    }

    /// How long the connection may take nothing of the request's body. Default: 60 s. It counts
    /// only with a driver that tells [what is sent](super::Session::handle_sending); with others
    /// [`response_timeout`](Self::response_timeout) includes the sending.
    pub const fn send_timeout(mut self, timeout: Duration) -> Self {
        self.terms.send_timeout = nanos(timeout);
        self
    }

    /// How long to wait for the head of the response, since the request was sent, as far as the
    /// driver [tells](super::Session::handle_sent), or begun. Default: 5 minutes, since some
    /// servers send the head with the first event only; 10 minutes with [`Policy::Once`] and
    /// [`Policy::Resume`], since a model may think before it answers. Shorter notices a server
    /// that hangs sooner.
    pub const fn response_timeout(mut self, timeout: Duration) -> Self {
        self.terms.response_timeout = Some(nanos(timeout));
        self
    }

    /// How long a stream may be silent before its first event. Default: as
    /// [`idle_timeout`](Self::idle_timeout).
    pub const fn first_event_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.terms.first_event_timeout = Some(nanos_or_never(timeout));
        self
    }

    /// How long a stream may be silent, without even a comment, before it counts as dead.
    ///
    /// Default: 45 s if the server has shown that it keeps its streams alive, by three comments or
    /// keep-alives in a row, at most 30 s apart and nothing between them; else 10 minutes, as
    /// nothing obliges a server to break its silence. It is 10 minutes for all servers with
    /// [`Policy::Once`] and [`Policy::Resume`]. A shorter time notices sooner that a connection was
    /// lost without a word (a sleeping laptop, a NAT that forgot), and breaks streams of servers
    /// that have nothing to say. With `None` such a loss may never be noticed.
    pub const fn idle_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.terms.idle_timeout = Some(nanos_or_never(timeout));
        self
    }

    /// Whether `stream-open` and `keep-alive` are delivered like other events. Default: no.
    pub const fn control_events(mut self, delivered: bool) -> Self {
        self.terms.control_events = delivered;
        self
    }

    /// Event types with which the server reports errors, such as `error`. Their events come as
    /// [`Item::Error`](crate::Item::Error) and are no progress, so a server that sends nothing else
    /// is asked less and less often. Default: none.
    pub fn error_events<T: Into<String>>(mut self, types: impl IntoIterator<Item = T>) -> Self {
        self.error_events = types.into_iter().map(Into::into).collect();
        self
    }

    /// An event that completes the stream: after it the session is
    /// [closed](super::Closed::Complete), and does not connect again. Called several times, any of
    /// the events completes it. A stream that ends without one is treated like any other; use
    /// [`must_end_with`](Self::must_end_with) if that is a loss. Default: none.
    pub fn until(mut self, terminator: impl Into<Terminator>) -> Self {
        self.terminators.push(terminator.into());
        self
    }

    /// As [`until`](Self::until), and a stream that ends without any of these events has
    /// [failed](super::Failure::Incomplete): half an answer is not taken for a whole one.
    pub fn must_end_with(self, terminator: impl Into<Terminator>) -> Self {
        self.until(terminator).must_complete(true)
    }

    /// Whether a stream that ends before it is complete has [failed](super::Failure::Incomplete).
    /// Default: no.
    pub const fn must_complete(mut self, must: bool) -> Self {
        self.terms.must_complete = must;
        self
    }

    /// The limits of the decoder, and whether it delivers comments. It replaces what the methods
    /// below have set.
    pub const fn decoder(mut self, config: DecoderConfig) -> Self {
        self.decoder = config;
        self
    }

    /// See [`DecoderConfig::max_event_len`].
    pub const fn max_event_len(mut self, bytes: usize) -> Self {
        self.decoder.max_event_len = bytes;
        self
    }

    /// See [`DecoderConfig::max_line_len`].
    pub const fn max_line_len(mut self, bytes: usize) -> Self {
        self.decoder.max_line_len = bytes;
        self
    }

    /// See [`DecoderConfig::comments`].
    pub const fn comments(mut self, delivered: bool) -> Self {
        self.decoder.comments = delivered;
        self
    }
}

const fn nanos_or_never(time: Option<Duration>) -> Nanos {
    match time {
        Some(time) => nanos(time),
        None => NEVER,
    }
}
