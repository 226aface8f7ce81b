//! One attempt: its request, its response, and what is known when it fails.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use http::header::{HeaderMap, HeaderName};
use tracing::Span;

use super::excerpt::Excerpt;
use crate::error::{self, Refusal};
use crate::exchange::{Answer, LAST_EVENT_ID, TryError};
use crate::send::{BoxError, BoxFuture};
use crate::transport::ResponseBody;

/// What a Mercure hub continues from, after the request's `Last-Event-ID`.
const MERCURE_LAST_EVENT_ID: HeaderName = HeaderName::from_static("mercure-last-event-id");

/// The id by which a Mercure hub is asked for all that it has.
const MERCURE_EARLIEST: &str = "earliest";

pub(super) struct Attempt {
    pub(super) wire: Wire,
    /// The last event ID of the request.
    sent_id: Option<String>,
    /// It should have had one.
    pub(super) is_id_withheld: bool,
    /// What is known about the failure, besides what the session knows.
    pub(super) cause: Option<BoxError>,
    pub(super) refusal: Option<Refusal>,
    /// The end of what has arrived.
    pub(super) excerpt: Excerpt,
    /// For the log.
    pub(super) span: Span,
}

/// What an attempt waits for besides time.
pub(super) enum Wire {
    Idle,
    Request(BoxFuture<Result<Answer, TryError>>, Upload),
    Stream(ResponseBody),
    /// A response that is taken as a whole, and what has arrived of it.
    Whole(ResponseBody, Vec<u8>),
    /// The text of a response that is no event stream. The session knows the head already, and is
    /// asked for the next step once the text is there, so that both are told together.
    Refusal(BoxFuture<String>),
}

/// What is known of a request that is on its way: above all, how far its body is sent.
#[derive(Default)]
pub(super) struct Upload {
    /// It is no `GET`.
    pub(super) is_other: Arc<AtomicBool>,
    /// In bytes; 0 if it is too short to be watched.
    pub(super) total: usize,
    /// What the connection has taken.
    pub(super) sent: Arc<AtomicUsize>,
    /// The same as of when the session was last told.
    pub(super) seen: usize,
}

impl Attempt {
    /// None yet.
    pub(super) fn none() -> Self {
        Self::new(Wire::Idle, None, false, Span::none())
    }

    /// One whose request is on its way.
    pub(super) fn new(
        wire: Wire,
        sent_id: Option<String>,
        is_id_withheld: bool,
        span: Span,
    ) -> Self {
        let excerpt = Excerpt::default();
        Self { wire, sent_id, is_id_withheld, cause: None, refusal: None, excerpt, span }
    }

    pub(super) const fn is_under_way(&self) -> bool {
        !matches!(self.wire, Wire::Idle)
    }

    /// Whether a Mercure hub continues from another id than the one that was sent: then it does not
    /// know that one any more. Hubs before 1.0 say it as `Last-Event-ID`.
    pub(super) fn is_elsewhere(&self, headers: &HeaderMap) -> bool {
        let Some(sent) = self.sent_id.as_deref().filter(|id| *id != MERCURE_EARLIEST) else {
            return false;
        };
        [MERCURE_LAST_EVENT_ID, LAST_EVENT_ID]
            .iter()
            .any(|name| headers.get_all(name).iter().any(|id| id.as_bytes() != sent.as_bytes()))
    }

    /// A failure on one line, with its cause and what the server said. What is known of it is
    /// taken.
    pub(super) fn fail(&mut self, what: &impl fmt::Display) -> (LastFailure, Option<BoxError>) {
        let (cause, refusal) = (self.cause.take(), self.refusal.take());
        let body = refusal.as_ref().map(Refusal::body).unwrap_or_default();
        let text = error::describe(what, error::source(cause.as_ref()), body);
        (LastFailure { text: text.into(), refusal }, cause)
    }
}

/// The last failure, as the application is told of it. It stays after the stream has recovered.
pub(super) struct LastFailure {
    pub(super) text: Arc<str>,
    pub(super) refusal: Option<Refusal>,
}
