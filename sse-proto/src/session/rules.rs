//! What a session decides, whatever reads its bytes: when to connect, how long to wait, when to stop.
//!
//! Times are numbers of nanoseconds here, which last for 584 years: arithmetic with them is a fifth of
//! the code that it is with `Duration`.

use super::backoff::{Jitter, NEVER};
use super::config::{Policy, Terms};
use super::outcome::{Decision, Failure, Outcome, Stage};

/// What a session reads its bytes with.
pub(super) trait Reader {
    /// Why a session is over, in the words of its own.
    type Closed: for<'a> From<End<'a>>;

    /// The next bytes are the first of another stream.
    fn end_of_stream(&mut self);

    /// What the stream has committed, as it came over the wire or mended.
    fn last_event_id(&self) -> Option<&[u8]>;

    /// The last word on a failure.
    fn judge(&self, outcome: &Outcome) -> Decision {
        outcome.decision
    }
}

/// How a session ends without a word of the stream.
#[derive(Clone, Copy)]
pub(super) enum End<'a> {
    ByCaller,
    /// With the content type of the response.
    After(Failure, Option<&'a [u8]>),
    /// It might have passed, but there have been too many.
    GaveUp(Failure),
}

#[derive(Debug)]
pub(super) enum Phase<C> {
    Due,
    Connecting,
    Open,
    Waiting(Failure),
    Closed(C),
}

/// What of the last event ID is sent.
#[derive(Clone, Copy)]
pub(super) struct Resume {
    pub(super) has_id: bool,
    pub(super) is_withheld: bool,
    pub(super) by_get: bool,
}

#[derive(Debug)]
pub(super) struct Rules<R: Reader> {
    pub(super) terms: Terms,
    pub(super) reader: R,
    pub(super) phase: Phase<R::Closed>,
    /// When the phase ends by itself: a time limit, or the end of a delay.
    pub(super) until: u64,
    /// Failures since the last progress.
    pub(super) failures: u32,
    /// The reconnection time in milliseconds, if a `retry` field has set one.
    pub(super) reconnection_time: Option<u64>,
    /// When the first of the failures happened.
    failing_since: u64,
    /// The last 401 has not been followed by an open stream.
    was_unauthorized: bool,
    /// When the next try may be made at the earliest, whoever asks for it.
    earliest: u64,
    jitter: Jitter,
}

impl<R: Reader> Rules<R> {
    pub(super) const fn new(terms: Terms, reader: R, seed: u64) -> Self {
        Self {
            terms,
            reader,
            phase: Phase::Due,
            until: NEVER,
            failures: 0,
            reconnection_time: None,
            failing_since: 0,
            was_unauthorized: false,
            earliest: 0,
            jitter: Jitter(seed),
        }
    }

    pub(super) const fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    pub(super) const fn failure(&self) -> Option<Failure> {
        match self.phase {
            Phase::Waiting(failure) => Some(failure),
            _ => None,
        }
    }

    pub(super) const fn closed(&self) -> Option<&R::Closed> {
        match &self.phase {
            Phase::Closed(closed) => Some(closed),
            _ => None,
        }
    }

    /// Whether to connect now.
    pub(super) fn poll(&mut self, now: u64) -> bool {
        if now >= self.until {
            match self.phase {
                Phase::Connecting => self.fail(now, Failure::ConnectTimeout, Stage::Sent, 0, None),
                Phase::Open => self.fail(now, Failure::IdleTimeout, Stage::Open, 0, None),
                Phase::Waiting(_) => self.phase = Phase::Due,
                _ => {}
            }
        }
        let is_due = matches!(self.phase, Phase::Due);
        if is_due {
            self.phase = Phase::Connecting;
            self.until = now.saturating_add(self.terms.connect_timeout);
            self.earliest = now.saturating_add(self.terms.backoff.floor());
        }
        is_due
    }

    pub(super) fn resume(&self) -> Resume {
        let id = self.reader.last_event_id().unwrap_or_default();
        let has_id = !id.is_empty() && is_sendable(id);
        Resume {
            has_id,
            is_withheld: !has_id && !id.is_empty(),
            by_get: has_id && self.terms.policy == Policy::Resume,
        }
    }

    /// Whether the policy lets the request be made again at all.
    fn is_repeatable(&self) -> bool {
        match self.terms.policy {
            Policy::Resilient | Policy::Strict => true,
            Policy::Once => false,
            Policy::Resume => self.resume().by_get,
        }
    }

    pub(super) fn handle_response(
        &mut self,
        now: u64,
        status: u16,
        content_type: Option<&[u8]>,
        retry_after: u64,
    ) {
        if !matches!(self.phase, Phase::Connecting) {
            return;
        }
        let failure = match status {
            200 if content_type.is_some_and(is_event_stream) => {
                self.reader.end_of_stream();
                self.was_unauthorized = false;
                self.phase = Phase::Open;
                self.arrived(now);
                return;
            }
            200 => Failure::ContentType,
            status => Failure::Status(status),
        };
        self.fail(now, failure, Stage::Sent, retry_after, content_type);
    }

    /// Bytes have arrived on the open stream.
    pub(super) const fn arrived(&mut self, now: u64) {
        self.until = now.saturating_add(self.terms.idle_timeout);
    }

    pub(super) fn handle_end(&mut self, now: u64) {
        if self.is_open() {
            let is_early = self.terms.must_complete;
            let failure = if is_early { Failure::Incomplete } else { Failure::Ended };
            self.fail(now, failure, Stage::Open, 0, None);
        }
    }

    pub(super) fn handle_error(&mut self, now: u64) {
        let stage = match self.phase {
            Phase::Connecting => Stage::Sent,
            Phase::Open => Stage::Open,
            _ => return,
        };
        self.fail(now, Failure::Network, stage, 0, None);
    }

    pub(super) fn handle_unsent(&mut self, now: u64, failure: Failure) {
        if matches!(self.phase, Phase::Connecting) {
            self.fail(now, failure, Stage::Unsent, 0, None);
        }
    }

    pub(super) fn reconnect(&mut self, now: u64) {
        let failure = match self.phase {
            Phase::Waiting(failure) => failure,
            Phase::Open if self.is_repeatable() => Failure::ByCaller,
            _ => return,
        };
        self.reader.end_of_stream();
        self.until = self.earliest;
        self.phase = if now < self.earliest { Phase::Waiting(failure) } else { Phase::Due };
    }

    pub(super) fn close(&mut self) {
        if !matches!(self.phase, Phase::Closed(_)) {
            self.stop(End::ByCaller);
        }
    }

    /// A try has failed. `asked_for` is how long the response asks to wait.
    fn fail(
        &mut self,
        now: u64,
        failure: Failure,
        stage: Stage,
        asked_for: u64,
        content_type: Option<&[u8]>,
    ) {
        self.reader.end_of_stream();
        if self.failures == 0 {
            self.failing_since = now;
        }
        self.failures = self.failures.saturating_add(1);
        let decision = if self.may_try_again(failure) { Decision::Retry } else { Decision::Stop };
        if failure == Failure::Status(401) {
            self.was_unauthorized = true;
        }
        let outcome = Outcome { failure, stage, failures: self.failures, decision };
        if self.reader.judge(&outcome) == Decision::Stop {
            return self.stop(End::After(failure, content_type));
        }
        // Longer than anyone waits, and short enough to be multiplied.
        let reconnection_time = self.reconnection_time.unwrap_or(0).min(u64::from(u32::MAX));
        let asked_for = asked_for.max(reconnection_time * 1_000_000);
        let delay = self.terms.backoff.delay_nanos(self.failures, asked_for, self.jitter.next());
        self.until = now.saturating_add(delay);
        if self.terms.max_failures.is_some_and(|max| self.failures >= max)
            || self.until.saturating_sub(self.failing_since) > self.terms.give_up_after
        {
            return self.stop(End::GaveUp(failure));
        }
        self.phase = Phase::Waiting(failure);
    }

    /// What the policy says of a failure.
    fn may_try_again(&self, failure: Failure) -> bool {
        match failure {
            Failure::Status(401) if self.terms.fresh_credentials => !self.was_unauthorized,
            Failure::Status(status) => {
                self.terms.policy != Policy::Strict && may_pass(status) && self.is_repeatable()
            }
            Failure::ContentType => false,
            _ => self.is_repeatable(),
        }
    }

    fn stop(&mut self, end: End<'_>) {
        self.reader.end_of_stream();
        self.phase = Phase::Closed(end.into());
    }
}

/// Whether HTTP can carry an ID unchanged: no control character, no white space at an end. Those of C1
/// are two bytes, of which the first begins no other character that may stand there.
fn is_sendable(id: &[u8]) -> bool {
    let mut last = 0;
    for &byte in id {
        let is_control =
            byte < b' ' || byte == 0x7F || (last == 0xC2 && matches!(byte, 0x80..0xA0));
        if is_control || (last == 0 && byte == b' ') {
            return false;
        }
        last = byte;
    }
    last != b' '
}

/// "Content-Type is text/event-stream", whatever its parameters (section 9.2.3).
fn is_event_stream(content_type: &[u8]) -> bool {
    let wanted = b"text/event-stream";
    let mut found = 0;
    for byte in content_type {
        match byte {
            b';' => break,
            b' ' | b'\t' if found == 0 || found == wanted.len() => {}
            _ if wanted.get(found) == Some(&byte.to_ascii_lowercase()) => found += 1,
            _ => return false,
        }
    }
    found == wanted.len()
}

/// Request Timeout, Too Early, Too Many Requests, and the server's own errors.
const fn may_pass(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500..=599)
}
