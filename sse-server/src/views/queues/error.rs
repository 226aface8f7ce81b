//! What can go wrong with a channel of a queue, and what a reader is told of it.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use sse_proto::StreamError;
use tracing::warn;

use crate::ServiceError;
use crate::http::Refusal;

/// A channel cannot be read, or an event not be sent.
///
/// As a response it has the status that each variant names, and a body like that of the other
/// refusals: `{"error": "not-found", "message": "…"}`. A browser's `EventSource` gives up at any of
/// them; a client that does not finds `Retry-After` with 503.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// 400: no channel of this queue has such a name. The text says what would do.
    #[error("{0}")]
    Name(String),
    /// 403: this reader may not read it. For the closure of [`QueueView`](super::QueueView).
    #[error("you may not read this channel")]
    Forbidden,
    /// 404: there is no such channel.
    #[error("{0}")]
    NotFound(String),
    /// 503: as many channels are read as [may be](super::QueueBuilder::max_channels).
    #[error("{0} channels are read already; try again later")]
    TooMany(usize),
    /// 400: the queue cannot carry such an event. The text says what would do.
    #[error("{0}")]
    NotAllowed(String),
    /// 400: the value is none that JSON can have.
    #[error("the value cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// 503: the queue does not answer, or refuses. A reader is not told why; the log is.
    #[error("the queue cannot be used: {0}")]
    Unavailable(#[from] ServiceError),
    /// 500: a closure of the application has panicked.
    #[error("the application has panicked: {0}")]
    Panicked(String),
}

impl QueueError {
    /// The status, a word for programs, and what the reader may know.
    fn told(&self) -> (StatusCode, &'static str, String) {
        let (status, code) = match self {
            Self::Name(_) | Self::NotAllowed(_) | Self::Json(_) => {
                (StatusCode::BAD_REQUEST, "bad-request")
            }
            Self::Forbidden => (StatusCode::FORBIDDEN, "forbidden"),
            Self::NotFound(_) => (StatusCode::NOT_FOUND, "not-found"),
            Self::TooMany(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            Self::Unavailable(_) => {
                let text = "the queue does not answer; try again".to_owned();
                return (StatusCode::SERVICE_UNAVAILABLE, "unavailable", text);
            }
            Self::Panicked(_) => {
                let text = "the server cannot make this stream".to_owned();
                return (StatusCode::INTERNAL_SERVER_ERROR, "internal-error", text);
            }
        };
        (status, code, self.to_string())
    }

    /// The same, for one more reader.
    pub(super) fn again(&self) -> Self {
        match self {
            Self::Name(text) => Self::Name(text.clone()),
            Self::Forbidden => Self::Forbidden,
            Self::TooMany(most) => Self::TooMany(*most),
            other => Self::NotFound(other.to_string()),
        }
    }

    /// For a stream that has begun.
    pub(super) fn to_stream_error(&self) -> StreamError {
        let (_, condition, text) = self.told();
        StreamError { condition: condition.to_owned(), text, channels: Vec::new() }
    }
}

impl IntoResponse for QueueError {
    fn into_response(self) -> Response {
        if matches!(self, Self::Unavailable(_) | Self::Panicked(_)) {
            warn!(error = %self, "a stream of a queue could not begin");
        }
        let (status, code, text) = self.told();
        Refusal::new(status, code, text).into_response()
    }
}

impl From<crate::hub::NotAllowed> for QueueError {
    fn from(why: crate::hub::NotAllowed) -> Self {
        Self::NotAllowed(why.to_string())
    }
}
