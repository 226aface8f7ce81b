//! The part of the set-up that the session decides by. What each setting means is said, and proven, in
//! `sse_proto`.

use std::time::Duration;

use sse_proto::{Backoff, Decision, Outcome, Policy, SessionConfig, Terminator};

use super::Builder;

/// When to reconnect, when to give up, and what to deliver.
impl Builder {
    /// Sets everything that the methods below do, and replaces what they have set.
    pub fn config(mut self, config: SessionConfig) -> Self {
        self.config = config;
        self
    }

    fn with(mut self, set: impl FnOnce(SessionConfig) -> SessionConfig) -> Self {
        self.config = set(self.config);
        self
    }

    /// Which failures are final. Default: [`Policy::Resilient`] for `GET`, [`Policy::Once`] for every
    /// other method.
    pub fn policy(self, policy: Policy) -> Self {
        self.with(|config| config.policy(policy))
    }

    /// Asks the caller, too, whether a failure is final; see [`SessionConfig::decide`].
    pub fn decide(self, decide: impl Fn(&Outcome) -> Decision + Send + Sync + 'static) -> Self {
        self.with(|config| config.decide(decide))
    }

    /// How long to wait between tries: first delay, cap, floor and jitter; see [`Backoff`].
    pub fn backoff(self, backoff: Backoff) -> Self {
        self.with(|config| config.backoff(backoff))
    }

    /// How many failures in a row are final. Default: `None`, never give up; see
    /// [`SessionConfig::max_failures`].
    pub fn max_failures(self, failures: Option<u32>) -> Self {
        self.with(|config| config.max_failures(failures))
    }

    /// How long failures in a row may go on. Default: `None`, never give up; see
    /// [`SessionConfig::give_up_after`].
    pub fn give_up_after(self, time: Option<Duration>) -> Self {
        self.with(|config| config.give_up_after(time))
    }

    /// How long a try may take until the response's head has arrived. Default: 30 s; see
    /// [`SessionConfig::connect_timeout`].
    pub fn connect_timeout(self, timeout: Duration) -> Self {
        self.with(|config| config.connect_timeout(timeout))
    }

    /// How long a stream may be silent before it counts as dead. Default: 45 s; see
    /// [`SessionConfig::idle_timeout`].
    pub fn idle_timeout(self, timeout: Option<Duration>) -> Self {
        self.with(|config| config.idle_timeout(timeout))
    }

    /// The event that completes the stream, such as `[DONE]`. Then the request is aborted, and the
    /// stream ends without an error. Default: none; see [`SessionConfig::until`].
    pub fn until(self, terminator: impl Into<Terminator>) -> Self {
        self.with(|config| config.until(terminator))
    }

    /// As [`until`](Self::until), and it is a failure if the stream ends without it; see
    /// [`SessionConfig::must_end_with`].
    pub fn must_end_with(self, terminator: impl Into<Terminator>) -> Self {
        self.with(|config| config.must_end_with(terminator))
    }

    /// Event types with which the server reports errors, such as `error`. Their events come as
    /// [`Error::Event`](crate::Error::Event), and the stream goes on. Default: none; see
    /// [`SessionConfig::error_events`].
    pub fn error_events<T: Into<String>>(self, types: impl IntoIterator<Item = T>) -> Self {
        self.with(|config| config.error_events(types))
    }

    /// Whether comments are delivered, as [`Item::Comment`](crate::Item::Comment). Default: no.
    pub fn comments(self, delivered: bool) -> Self {
        self.with(|config| config.comments(delivered))
    }

    /// The greatest length of an event in bytes. Default: 16 MiB; see
    /// [`DecoderConfig::max_event_len`](sse_proto::DecoderConfig::max_event_len).
    pub fn max_event_len(self, bytes: usize) -> Self {
        self.with(|config| config.max_event_len(bytes))
    }

    /// The greatest length of a line in bytes. Default: 16 MiB; see
    /// [`DecoderConfig::max_line_len`](sse_proto::DecoderConfig::max_line_len).
    pub fn max_line_len(self, bytes: usize) -> Self {
        self.with(|config| config.max_line_len(bytes))
    }
}
