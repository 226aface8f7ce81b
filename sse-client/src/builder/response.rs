//! What is taken from responses, and what is done with them.

use http::HeaderName;

use super::Builder;
use crate::error::BuildError;

impl Builder {
    /// Sends a header of a response with each further request: a session id (`Mcp-Session-Id`), or
    /// a token that ties the client to one of many servers. The newest value counts; it stays on
    /// its origin.
    pub fn keep_header(mut self, name: impl AsRef<str>) -> Self {
        match HeaderName::from_bytes(name.as_ref().as_bytes()) {
            Ok(name) => self.options.kept.push(name),
            Err(_) => self.refuse(BuildError::HeaderName { name: name.as_ref().to_owned() }),
        }
        self
    }

    /// Takes responses of this media type, such as `application/json`, as a whole: with any status
    /// from 200 to 299, the body is one event `message`, which completes the stream. A response of
    /// more than 16 MiB is [refused](crate::Closed::ContentType). The request says in `Accept` that
    /// it takes them, unless that is set.
    pub fn accepts(mut self, media_type: impl Into<String>) -> Self {
        self.options.accepts.whole.push(media_type.into().to_ascii_lowercase());
        self
    }

    /// Takes responses of this media type for event streams, besides `text/event-stream`; an empty
    /// one stands for responses without `Content-Type`. For servers that get it wrong.
    pub fn accepts_stream_as(mut self, media_type: impl Into<String>) -> Self {
        self.options.accepts.streams.push(media_type.into().to_ascii_lowercase());
        self
    }

    /// Takes responses of this status as those of 200, such as 201. A response without
    /// `Content-Type` completes the stream without an event, as 202 of MCP does.
    pub fn accepts_status(mut self, status: u16) -> Self {
        self.options.accepts.statuses.push(status);
        self
    }

    /// How much is kept of the body of a response that is no event stream, in bytes; see
    /// [`EventSource::last_refusal`](crate::EventSource::last_refusal) and
    /// [`ClosedError::body`](crate::ClosedError::body). Default: 4 KiB, for which it waits at most
    /// two seconds; with 0 it reads nothing of the body.
    pub fn max_error_body(mut self, bytes: usize) -> Self {
        self.options.max_error_body = bytes;
        self
    }
}
