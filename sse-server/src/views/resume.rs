//! Where a stream of the application goes on.

use std::str::FromStr;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use sse_proto::ERROR_ID;

use crate::http::{after_error, resume_id};

/// What a request says of the last event that its client has got: `Last-Event-ID` (WHATWG HTML,
/// section 9.2.4), or `lastEventId` of the query, for clients that cannot set the header at first.
///
/// An extractor for axum's handlers. A client that comes back after a `stream-error` is refused
/// with 400, which makes an `EventSource` stop.
///
/// ```
/// use sse_server::views::Resume;
///
/// async fn lines(resume: Resume<u64>) -> String {
///     let first = resume.after().map_or(1, |line| line + 1);
///     format!("it goes on with line {first}")
/// }
/// # let _: axum::Router = axum::Router::new().route("/", axum::routing::get(lines));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resume<T = String> {
    /// The client has got nothing yet.
    New,
    /// It has got this event, and perhaps none after it.
    After(T),
    /// It has sent an id that is not one of these: from another server, or from a page that was
    /// open while the ids changed. Events may be missing; say so, or begin anew.
    Unknown(String),
}

impl<T> Resume<T> {
    /// The last event that the client has got, if that is known.
    pub fn after(self) -> Option<T> {
        match self {
            Self::After(id) => Some(id),
            Self::New | Self::Unknown(_) => None,
        }
    }
}

impl<T: FromStr> Resume<T> {
    /// What a request with these headers and this query (without `?`) says.
    ///
    /// # Errors
    ///
    /// If the client comes back after a `stream-error`.
    pub fn of(headers: &HeaderMap, query: &str) -> Result<Self, NoResume> {
        let Some(id) = resume_id(query, headers) else { return Ok(Self::New) };
        let id = String::from_utf8(id)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        if id == ERROR_ID {
            return Err(NoResume);
        }
        Ok(id.parse().map_or_else(|_| Self::Unknown(id), Self::After))
    }
}

/// The client comes back after a `stream-error`, which was final. As a response it is 400, which an
/// `EventSource` takes for the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stream has ended by a stream-error, which is final")]
pub struct NoResume;

impl IntoResponse for NoResume {
    fn into_response(self) -> Response {
        after_error()
    }
}

impl<T: FromStr + Send, S: Sync> FromRequestParts<S> for Resume<T> {
    type Rejection = NoResume;

    fn from_request_parts(
        parts: &mut Parts,
        _: &S,
    ) -> impl Future<Output = Result<Self, NoResume>> + Send {
        let resume = Self::of(&parts.headers, parts.uri.query().unwrap_or_default());
        std::future::ready(resume)
    }
}
