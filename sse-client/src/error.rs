//! What can go wrong on a stream.

use std::error::Error as StdError;
use std::fmt;

use sse_proto::{DecodeError, Event};
use url::Url;

use crate::coding::UnknownCoding;
use crate::redirect::RedirectRefused;
use crate::said::Said;
use crate::send::BoxError;
use crate::state::Closed;

/// Why an event source cannot be set up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The URL cannot be read.
    #[error("bad URL: {reason}")]
    Url {
        /// What is wrong with it.
        reason: String,
    },
    /// The URL is neither `http` nor `https`.
    #[error("the scheme of the URL is {scheme:?}; http or https is needed")]
    Scheme {
        /// What it is instead.
        scheme: String,
    },
    /// The URL is `https`, but this crate was built without TLS. Enable the feature `rustls`,
    /// `native-tls` or `hyper-rustls`, or give a [transport](crate::Builder::transport) that has
    /// it.
    #[error("https needs the feature rustls, native-tls or hyper-rustls of ssekit-client")]
    NoTls,
    /// There is nothing to send requests with. Enable the feature `reqwest`, `hyper` or (on wasm32)
    /// `fetch`, or give a [transport](crate::Builder::transport).
    #[error("there is no transport; see the features of ssekit-client, and Builder::transport")]
    NoTransport,
    /// There is no timer. Enable the feature `tokio-runtime` or (on wasm32) `fetch`, or give a
    /// [runtime](crate::Builder::runtime).
    #[error("there is no timer; see the features of ssekit-client, and Builder::runtime")]
    NoRuntime,
    /// The body of a `reqwest::RequestBuilder` is a stream, which could be sent only once.
    #[error("the body of the request is a stream, which cannot be sent again; give its bytes")]
    StreamedBody,
    /// A request of reqwest's is wrong in itself.
    #[error("bad request: {reason}")]
    Request {
        /// What reqwest says.
        reason: String,
    },
    /// A header's name has a character that no name can have.
    #[error("{name:?} cannot be the name of a header")]
    HeaderName {
        /// The name.
        name: String,
    },
    /// A header's value has a control character.
    #[error("the value of header {name} has a control character at byte {position}")]
    HeaderValue {
        /// The name of the header.
        name: String,
        /// Where in the value, as an offset in bytes.
        position: usize,
    },
    /// `Last-Event-ID` was set as a header, where it would never change. Use
    /// [`Builder::last_event_id`](crate::Builder::last_event_id).
    #[error("the header Last-Event-ID is set with last_event_id")]
    LastEventIdHeader,
    /// The body cannot be written as JSON.
    #[cfg(feature = "json")]
    #[error("the body cannot be written as JSON: {reason}")]
    Json {
        /// What serde says.
        reason: String,
    },
    /// The default HTTP client cannot be made, for example for lack of certificates.
    #[error("no HTTP client: {reason}")]
    Client {
        /// What reqwest says.
        reason: String,
    },
}

/// An item that is bad news. Failures that pass are not items: see
/// [`last_failure`](crate::EventSource::last_failure).
///
/// Messages quote the beginning of what the server said, on one line.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It is over, and trying again will not help. The stream ends after this.
    #[error(transparent)]
    Closed(Box<ClosedError>),
    /// A limit was passed, and one event is lost. The stream goes on.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A header cannot carry the last event ID unchanged, so the stream that is open now did not
    /// resume: events may be missing. The stream goes on.
    #[error(
        "the last event ID {:?} cannot be sent in a header, so the stream started anew",
        Said(id)
    )]
    IdWithheld {
        /// The last event ID.
        id: String,
    },
    /// The server has sent an event of a type that [reports
    /// errors](sse_proto::SessionConfig::error_events). The stream goes on, if the server does not
    /// end it.
    #[error("the server sent an event {:?}{}", Said(.0.event_type()), Text(.0.data()))]
    Event(Event<'static>),
    /// An event is not the JSON that [`json`](crate::EventSource::json) expects. The stream goes
    /// on.
    #[cfg(feature = "json")]
    #[error(transparent)]
    Json(Box<JsonError>),
}

impl Error {
    /// Whether the stream has ended with this.
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::Closed(_))
    }
}

/// The message: this is what a `main` that returns the error prints.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Closed(_) => "Closed",
            Self::Decode(_) => "Decode",
            Self::IdWithheld { .. } => "IdWithheld",
            Self::Event(_) => "Event",
            #[cfg(feature = "json")]
            Self::Json(_) => "Json",
        };
        write!(f, "{name}({self})")
    }
}

/// An event whose data are not the JSON that was expected.
#[cfg(feature = "json")]
#[derive(thiserror::Error)]
#[error("event {:?} with id {:?} is not the JSON expected", Said(.event.event_type()), Said(.event.last_event_id()))]
pub struct JsonError {
    pub(crate) event: Event<'static>,
    pub(crate) source: serde_json::Error,
}

#[cfg(feature = "json")]
impl JsonError {
    /// The event as it came.
    pub const fn event(&self) -> &Event<'static> {
        &self.event
    }

    /// What is wrong with its data, and where.
    pub const fn json_error(&self) -> &serde_json::Error {
        &self.source
    }
}

/// The message, with what is wrong.
#[cfg(feature = "json")]
impl fmt::Debug for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JsonError({self}: {})", Said(&self.source.to_string()))
    }
}

/// A response that was no event stream; see
/// [`EventSource::last_refusal`](crate::EventSource::last_refusal).
#[derive(Clone, PartialEq, Eq)]
pub struct Refusal {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Refusal {
    /// Its status code; 200 if it was of a wrong type.
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// The beginning of its body, as UTF-8 text, up to
    /// [`Builder::max_error_body`](crate::Builder::max_error_body).
    pub fn body(&self) -> &str {
        &self.body
    }
}

/// Shows the beginning of the body.
impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, body } = self;
        f.debug_struct("Refusal").field("status", status).field("body", &Said(body)).finish()
    }
}

/// Why a stream is over, and what is known about it.
///
/// The message names the URL without its query, which may hold a token, and the causes.
pub struct ClosedError {
    pub(crate) reason: Closed,
    pub(crate) url: Url,
    pub(crate) body: String,
    pub(crate) source: Option<BoxError>,
}

impl ClosedError {
    /// What ended it.
    pub const fn reason(&self) -> &Closed {
        &self.reason
    }

    /// The URL of the last response, after redirects, or of the request if there was none. Without
    /// user name and password.
    pub const fn url(&self) -> &Url {
        &self.url
    }

    /// The beginning of the body of the response that was refused, as UTF-8 text, up to
    /// [`Builder::max_error_body`](crate::Builder::max_error_body). Of a stream that ended before
    /// it was complete, what came at its end that is no field of an event: often the error that the
    /// server had to tell. Else empty.
    pub fn body(&self) -> &str {
        &self.body
    }
}

impl fmt::Display for ClosedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = format!("{}: {}", place(&self.url), self.reason);
        f.write_str(&describe(&what, source(self.source.as_ref()), &self.body))
    }
}

/// The message: this is what a `main` that returns the error prints.
impl fmt::Debug for ClosedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClosedError({self})")
    }
}

/// The source is the transport's error, or why a redirect was not followed. The message has it
/// already.
impl StdError for ClosedError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        source(self.source.as_ref())
    }
}

/// A URL as far as it may be shown to anyone: no credentials, no query, and not the rest of what is
/// very long.
pub(crate) fn place(url: &Url) -> String {
    Said(&format!("{}{}", url.origin().ascii_serialization(), url.path())).to_string()
}

/// The same, as the standard library wants it.
pub(crate) fn source(cause: Option<&BoxError>) -> Option<&(dyn StdError + 'static)> {
    cause.map(|cause| &**cause as &(dyn StdError + 'static))
}

/// A text of the server's after a colon; nothing if it said nothing.
struct Text<'a>(&'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.trim() {
            "" => Ok(()),
            text => write!(f, ": {:?}", Said(text)),
        }
    }
}

/// A failure on one line, with its causes and what the server said.
pub(crate) fn describe(
    failure: &impl fmt::Display,
    mut cause: Option<&(dyn StdError + 'static)>,
    body: &str,
) -> String {
    let mut text = failure.to_string();
    while let Some(error) = cause {
        let mut said = error.to_string();
        // That of an HTTP client may quote what the server said, such as why it leaves.
        if !is_ours(error) {
            said = Said(&said).to_string();
        }
        // Some errors say what their sources say.
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text.push_str(&Text(body).to_string());
    text
}

/// Whether all that it quotes is [`Said`] already.
fn is_ours(error: &(dyn StdError + 'static)) -> bool {
    error.is::<RedirectRefused>() || error.is::<UnknownCoding>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_no_query_and_a_bounded_body_on_one_line() {
        let error = ClosedError {
            reason: Closed::Status(403),
            url: Url::parse("http://localhost:1/events?token=secret").expect("a URL"),
            body: format!(" no\n{}", "é".repeat(1000)),
            source: None,
        };
        let expected = format!(
            "http://localhost:1/events: the server refused with status 403: \"no\\n{}\"…",
            "é".repeat(197)
        );
        assert_eq!(error.to_string(), expected);
        assert!(!format!("{error:?}").contains("secret"));
    }
}
