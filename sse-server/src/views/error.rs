//! What can go wrong with events of the application.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use tracing::error;

use crate::hub::PublishError;

/// An event was not sent, or a channel not read.
///
/// For handlers that end with `?` it is a response: 503 where trying again later may help, 500 for
/// what only the application can mend. The reason is in the log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The value is none that JSON can have.
    #[error("the value cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// No channel can have such an event. The text says what would do.
    #[error("{0}")]
    NotAllowed(String),
    /// It could not be stored, or the storage not read.
    #[error(transparent)]
    Publish(#[from] PublishError),
}

impl IntoResponse for SendError {
    fn into_response(self) -> Response {
        error!(error = %self, "the application could not send an event");
        match self {
            Self::Publish(PublishError::Storage(_) | PublishError::Closed) => {
                let text = "events cannot be stored or read at the moment; try again later";
                let head = [(header::RETRY_AFTER, "1")];
                (StatusCode::SERVICE_UNAVAILABLE, head, text).into_response()
            }
            _ => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}
