//! How much a request may ask for, before anybody looks at what it asks.
//!
//! What the parser of HTTP itself refuses (a URL of 64 KiB, more than 100 headers, a head of 128
//! KiB) never comes here, and is answered by a status without a body.

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::error::Refusal;

/// How large requests may be. All but the number of channels apply to every path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub struct Limits {
    pub(crate) url: usize,
    pub(crate) header_size: usize,
    pub(crate) headers: usize,
    pub(crate) channels: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { url: 16 << 10, header_size: 32 << 10, headers: 64, channels: 10 }
    }
}

impl Limits {
    /// The longest path and query together, in bytes. Default: 16384. Ids in the query are
    /// percent-encoded twice, so many channels with long names need more; 65,000 is the most that
    /// makes sense. Beyond it: 414.
    pub const fn url(mut self, bytes: usize) -> Self {
        self.url = bytes;
        self
    }

    /// The most bytes that the names and values of all headers may have. Default: 32768, which ten
    /// channels with the longest names need for their id; 65,000 is the most that makes sense.
    /// Beyond it: 431.
    pub const fn header_size(mut self, bytes: usize) -> Self {
        self.header_size = bytes;
        self
    }

    /// The most headers. Default: 64; browsers send about 20, and proxies add some. 100 is the most
    /// that makes sense. Beyond it: 431.
    pub const fn headers(mut self, count: usize) -> Self {
        self.headers = count;
        self
    }

    /// The most channels of a stream. Default: 10, as django-eventstream. Each event's id lists
    /// them all, so many make every event longer. Beyond it: a `stream-error`, as
    /// django-eventstream's.
    pub const fn channels(mut self, count: usize) -> Self {
        self.channels = count;
        self
    }

    pub(crate) const fn most_channels(&self) -> usize {
        self.channels
    }

    /// What is too much about a request, if anything is.
    fn refuse(&self, request: &Request) -> Option<Refusal> {
        let uri = request.uri();
        let url = uri.path().len() + uri.query().map_or(0, |query| 1 + query.len());
        if url > self.url {
            let text = format!(
                "the URL has {url} bytes; the limit is {} (request-limits.url); ask for fewer channels",
                self.url
            );
            return Some(Refusal::new(StatusCode::URI_TOO_LONG, "url-too-long", text));
        }
        let refuse = |text| {
            let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            Some(Refusal::new(status, "headers-too-large", text))
        };
        let headers = request.headers();
        // Browsers have a header for each cookie on HTTP/2, and one for all of them on HTTP/1.1.
        let cookies = headers.get_all(header::COOKIE).iter().count();
        let count = headers.len() - cookies.saturating_sub(1);
        if count > self.headers {
            let limit = self.headers;
            return refuse(format!(
                "there are {count} headers; the limit is {limit} (request-limits.headers)"
            ));
        }
        let size = headers.iter().map(|(name, value)| name.as_str().len() + value.len());
        let size: usize = size.sum();
        if size > self.header_size {
            let limit = self.header_size;
            return refuse(format!(
                "the headers have {size} bytes; the limit is {limit} (request-limits.header-size); send \
                 fewer cookies"
            ));
        }
        None
    }
}

/// Passes on requests that keep to the limits.
pub(super) async fn check(State(limits): State<Limits>, request: Request, next: Next) -> Response {
    match limits.refuse(&request) {
        Some(refusal) => refusal.into_response(),
        None => next.run(request).await,
    }
}
