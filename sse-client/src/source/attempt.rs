//! One attempt: its request, its response, and what is known when it fails.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use reqwest::Body;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use crate::error::{self, Cause, Refusal};
use crate::transport::{Answer, TryError};

/// What a Mercure hub continues from, after the request's `Last-Event-ID`.
const MERCURE_LAST_EVENT_ID: HeaderName = HeaderName::from_static("mercure-last-event-id");

/// The id by which a Mercure hub is asked for all that it has.
const MERCURE_EARLIEST: &str = "earliest";

pub(super) struct Attempt {
    pub(super) wire: Wire,
    /// The last event ID of the request.
    sent_id: Option<HeaderValue>,
    /// It should have had one.
    pub(super) is_id_withheld: bool,
    /// What is known about the failure, besides what the session knows.
    pub(super) cause: Option<Cause>,
    pub(super) refusal: Option<Refusal>,
}

/// What an attempt waits for besides time.
pub(super) enum Wire {
    Idle,
    Request(Requesting),
    Stream(Body),
    /// The text of a response that is no event stream. The session knows the head already, and is
    /// asked for the next step once the text is there, so that both are told together.
    Refusal(Pin<Box<dyn Future<Output = String> + Send>>),
}

type Requesting = Pin<Box<dyn Future<Output = Result<Answer, TryError>> + Send>>;

impl Attempt {
    /// None yet.
    pub(super) const fn none() -> Self {
        Self { wire: Wire::Idle, sent_id: None, is_id_withheld: false, cause: None, refusal: None }
    }

    /// One whose request is on its way.
    pub(super) const fn new(
        request: Requesting,
        sent_id: Option<HeaderValue>,
        is_id_withheld: bool,
    ) -> Self {
        Self { wire: Wire::Request(request), sent_id, is_id_withheld, cause: None, refusal: None }
    }

    pub(super) const fn is_under_way(&self) -> bool {
        !matches!(self.wire, Wire::Idle)
    }

    /// Whether a Mercure hub continues from another id than the one that was sent: then it does not
    /// know that one any more.
    pub(super) fn is_elsewhere(&self, headers: &HeaderMap) -> bool {
        match (&self.sent_id, headers.get(MERCURE_LAST_EVENT_ID)) {
            (Some(sent), Some(resumed)) => sent != resumed && sent != MERCURE_EARLIEST,
            _ => false,
        }
    }

    pub(super) fn note_cause(&mut self, error: reqwest::Error) {
        // The URL may hold a token, and is told elsewhere.
        self.cause = Some(error.without_url().into());
    }

    /// A failure on one line, with its cause and what the server said. What is known of it is
    /// taken.
    pub(super) fn fail(&mut self, what: &impl fmt::Display) -> (LastFailure, Option<Cause>) {
        let (cause, refusal) = (self.cause.take(), self.refusal.take());
        let body = refusal.as_ref().map(Refusal::body).unwrap_or_default();
        let text = error::describe(what, error::source(cause.as_ref()), body);
        (LastFailure { text, refusal }, cause)
    }
}

/// The last failure, as the application is told of it. It stays after the stream has recovered.
pub(super) struct LastFailure {
    pub(super) text: String,
    pub(super) refusal: Option<Refusal>,
}
