//! Refusals: a status, a word for programs, and a sentence that says what to do.

use std::sync::Arc;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;
use sse_proto::StreamError;

/// How long a message may be that is kept until somebody reads it, in bytes.
const MAX_SHORT: usize = 500;

/// An answer that is not what was asked for: `{"error": "not-found", "message": "…"}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    /// In seconds, if trying again may help.
    retry_after: u32,
    body: Body,
}

/// The code of a refusal, or the condition of a stream-error: an extension of the response, for
/// those who counts them.
#[derive(Clone, Debug)]
pub(super) struct ErrorCode(pub(super) &'static str);

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Body {
    error: &'static str,
    message: String,
}

impl Body {
    /// The same, and no longer than a few hundred bytes, however long what it quotes is.
    pub(super) fn shortened(mut self) -> Self {
        if self.message.len() > MAX_SHORT {
            let end = (0..=MAX_SHORT).rev().find(|&at| self.message.is_char_boundary(at));
            self.message.truncate(end.unwrap_or_default());
            self.message.push('…');
        }
        self
    }
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, error: &'static str, message: impl Into<String>) -> Self {
        Self { status, retry_after: 1, body: Body { error, message: message.into() } }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", message)
    }

    pub(crate) fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", message)
    }

    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
    }

    /// The same refusal, of somebody who may come back after so many seconds.
    pub(crate) fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = seconds;
        self
    }

    /// What the answer says, without the status.
    pub(super) fn into_body(self) -> Body {
        self.body
    }

    /// The same refusal, about one of several things.
    pub(crate) fn about(mut self, subject: impl std::fmt::Display) -> Self {
        self.body.message = format!("{subject}: {}", self.body.message);
        self
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let code = ErrorCode(self.body.error);
        let mut response = (self.status, Extension(code), Json(self.body)).into_response();
        let headers = response.headers_mut();
        match self.status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, self.retry_after.into());
            }
            _ => {}
        }
        response
    }
}

/// The error of a stream that has channels which its reader may not read.
pub(super) fn forbidden(channels: &[Arc<str>]) -> StreamError {
    StreamError {
        condition: "forbidden".to_owned(),
        text: format!("Permission denied to channels: {}", channels.join(", ")),
        channels: channels.iter().map(ToString::to_string).collect(),
    }
}
