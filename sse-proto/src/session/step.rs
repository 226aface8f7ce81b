//! What a session tells its driver, and is told of a response.

use super::backoff::Nanos;
use super::outcome::{Closed, Failure};

/// What the driver shall do next. A driver must know every step, so there will be no new one
/// without a new major version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Drop any earlier response and send this request, now. Given once for each try.
    Connect(Request),
    /// Go on with the request or the response; poll again [in time](super::Session::until), if
    /// nothing has happened before.
    Read,
    /// Drop any response, and poll again [in time](super::Session::until).
    Sleep,
    /// Drop any response. It is over.
    Stop(Closed),
}

/// What to send besides what the caller asked for, `Accept: text/event-stream` and `Cache-Control:
/// no-cache`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Request {
    /// Send the last event ID as the `Last-Event-ID` header, in UTF-8. Otherwise leave the header
    /// out.
    pub sends_id: bool,
    /// There is a last event ID, but HTTP cannot carry it unchanged: it has a control character
    /// other than a tab, or white space at an end. The stream starts anew, and may lack events.
    pub id_withheld: bool,
    /// Send a `GET` without a body, whatever the caller asked for: it resumes a stream and must
    /// not repeat what began it ([`Policy::Resume`](super::Policy::Resume)).
    pub by_get: bool,
}

/// The head of a response, after redirects.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResponseHead<'a> {
    /// The status code.
    pub status: u16,
    /// The value of `Content-Type`; if it has come several times, the values with commas between
    /// them.
    pub content_type: Option<&'a [u8]>,
    /// How long `Retry-After` asks to wait.
    pub retry_after: Option<Nanos>,
}

/// Where a session stands; `readyState` with its reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// A request is due, or on its way.
    Connecting,
    /// The stream is open.
    Open,
    /// Between two tries.
    Waiting {
        /// When the next try is due.
        until: Nanos,
        /// What ended the last one.
        failure: Failure,
    },
    /// It is over.
    Closed(Closed),
}
