//! Where an event source stands, and why it is over.

use std::fmt;
use std::time::Duration;

use sse_proto::{Failure, StreamError};

use crate::said::Said;

/// Where a connection stands; `readyState` with its reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// A request is to be sent, or on its way.
    Connecting,
    /// The stream is open.
    Open,
    /// Between two tries.
    Waiting {
        /// When the next try is due, since the source was made.
        until: Duration,
        /// What ended the last one.
        failure: Failure,
    },
    /// It is over.
    Closed(Closed),
}

/// Why a stream is over.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Closed {
    /// [`EventSource::close`](crate::EventSource::close) was called.
    ByCaller,
    /// The event came that [completes](crate::Builder::until) the stream.
    Complete,
    /// The server ended the stream, and there is to be no other request: its normal end under
    /// [`Policy::Once`](crate::Policy::Once).
    Ended,
    /// Status 204: the server wants no more requests (WHATWG HTML, section 9.2.1).
    NoContent,
    /// A status that trying again will not mend.
    Status(u16),
    /// The response is no event stream but has this type, or none; or it is to be taken [as a
    /// whole](crate::Builder::accepts) and is too long for that.
    ContentType(Option<String>),
    /// The response has a content coding that is not known, or whose feature is off, or a transfer
    /// coding, other than `chunked`, that nobody has asked for.
    ContentCoding,
    /// The request cannot be made as it was asked for, whatever the server.
    Local,
    /// The server said so in the stream (`stream-error`).
    StreamError(StreamError),
    /// After this failure there may be no other try: as many in a row, or for as long, as
    /// [`SessionConfig`](crate::SessionConfig) allows, or the policy allows none.
    GaveUp(Failure),
}

impl Closed {
    /// Whether all is well: the stream is complete, or has ended where it may, or the caller wanted
    /// no more.
    pub const fn is_normal(&self) -> bool {
        matches!(self, Self::ByCaller | Self::Complete | Self::Ended)
    }

    /// What the session says, with what only the head of the response and the last event tell.
    pub(crate) fn of(
        closed: sse_proto::Closed,
        content_type: impl FnOnce() -> Option<String>,
        error: Option<&StreamError>,
    ) -> Self {
        match closed {
            sse_proto::Closed::Complete => Self::Complete,
            sse_proto::Closed::StreamError => Self::StreamError(error.cloned().unwrap_or_default()),
            sse_proto::Closed::Failed(failure) => match failure {
                Failure::Ended => Self::Ended,
                Failure::Status(204) => Self::NoContent,
                Failure::Status(status) => Self::Status(status),
                Failure::ContentType => Self::ContentType(content_type()),
                Failure::ContentCoding => Self::ContentCoding,
                Failure::Local => Self::Local,
                failure => Self::GaveUp(failure),
            },
            sse_proto::Closed::GaveUp(failure) => Self::GaveUp(failure),
            _ => Self::ByCaller,
        }
    }
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByCaller => f.write_str("closed by the caller"),
            Self::Complete => f.write_str("the stream is complete"),
            Self::Ended => f.write_str("the server ended the stream"),
            Self::NoContent => f.write_str("the server wants no more requests (status 204)"),
            Self::Status(status) => write!(f, "the server refused with status {status}"),
            Self::ContentType(Some(found)) => {
                write!(f, "the response is {:?}, not text/event-stream", Said(found))
            }
            Self::ContentType(None) => {
                f.write_str("the response has no Content-Type, text/event-stream is needed")
            }
            Self::ContentCoding => f.write_str("the response cannot be decoded"),
            Self::Local => Failure::Local.fmt(f),
            Self::StreamError(error) => {
                write!(f, "the server ended the stream: {}", Said(&error.to_string()))
            }
            Self::GaveUp(failure) => write!(f, "gave up: {failure}"),
        }
    }
}

/// With the beginning of what the server said.
impl fmt::Debug for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByCaller => f.write_str("ByCaller"),
            Self::Complete => f.write_str("Complete"),
            Self::Ended => f.write_str("Ended"),
            Self::NoContent => f.write_str("NoContent"),
            Self::Status(status) => write!(f, "Status({status})"),
            Self::ContentType(found) => write!(f, "ContentType({:?})", found.as_deref().map(Said)),
            Self::ContentCoding => f.write_str("ContentCoding"),
            Self::Local => f.write_str("Local"),
            Self::StreamError(error) => write!(f, "StreamError({})", Said(&error.to_string())),
            Self::GaveUp(failure) => write!(f, "GaveUp({failure:?})"),
        }
    }
}

impl std::error::Error for Closed {}
