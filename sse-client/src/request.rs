//! The request of one try, as the caller may change it.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method};
use url::Url;

use crate::exchange::LAST_EVENT_ID;
use crate::said::Said;

/// Where a request carries the last event ID.
#[derive(Clone, Debug)]
pub(crate) enum Position {
    Header(HeaderName),
    /// A parameter of this name.
    Query(String),
}

impl Default for Position {
    fn default() -> Self {
        Self::Header(LAST_EVENT_ID)
    }
}

/// The request of one try, before it is sent: see
/// [`Builder::request_with`](crate::Builder::request_with).
///
/// Its parts are as the builder has set them, or of a `GET` without a body if the policy
/// [resumes](sse_proto::Policy::Resume) by one. What is missing of the headers that each request
/// has, such as `Accept`, is added later.
#[derive(Clone)]
#[non_exhaustive]
pub struct TryRequest {
    /// The method.
    pub method: Method,
    /// The URL; `http` or `https`.
    pub url: Url,
    /// The headers, those that [were kept](crate::Builder::keep_header) included. Each replaces
    /// all of its name.
    pub headers: HeaderMap,
    /// The body.
    pub body: Option<Bytes>,
    pub(crate) number: u32,
    pub(crate) last_event_id: Option<String>,
}

impl TryRequest {
    /// Which try it is, from 1 on.
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// The last event ID, if there is one that can be sent: the request carries it, in the header
    /// `Last-Event-ID` or where the builder says.
    pub fn last_event_id(&self) -> Option<&str> {
        self.last_event_id.as_deref()
    }

    /// The same, and the request does not carry it: the caller puts it where the server looks for
    /// it, and in the form that it has there.
    pub const fn take_last_event_id(&mut self) -> Option<String> {
        self.last_event_id.take()
    }
}

/// Shows neither headers nor credentials.
impl std::fmt::Debug for TryRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TryRequest")
            .field("method", &self.method)
            .field("url", &crate::error::place(&self.url))
            .field("number", &self.number)
            .field("last_event_id", &self.last_event_id().map(Said))
            .finish_non_exhaustive()
    }
}
