//! What an event source delivers.

use std::sync::Arc;

use sse_proto::{DecodeError, Event, Failure};
use web_time::Instant;

use crate::error::Error;

/// Something that a stream has delivered.
///
/// To care for events only, take [`into_event`](Self::into_event) and drop the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item {
    /// A connection is open: the first one, or one that resumes the stream.
    /// [`EventSource::headers`](crate::EventSource::headers) and
    /// [`url`](crate::EventSource::url) have the rest of its head.
    Open,
    /// An event.
    Event(Event<'static>),
    /// The server cannot continue from the last event ID (a `stream-reset`, or a response whose
    /// `Mercure-Last-Event-ID` or `Last-Event-ID` is another one): events are missing. State
    /// that was built from these channels must be read anew. Events go on from here.
    Reset {
        /// The channels, or none if the server's list was unreadable, or it has no channels: then
        /// all of them.
        channels: Vec<String>,
    },
    /// The connection is lost, or could not be made, and another try follows. Nothing is missing
    /// yet: the stream is resumed.
    Waiting {
        /// When the next try is due.
        until: Instant,
        /// What ended the last one.
        failure: Failure,
        /// The same on one line, with all that is known; see
        /// [`EventSource::last_failure`](crate::EventSource::last_failure).
        why: Arc<str>,
    },
    /// A comment, if they were [asked for](sse_proto::SessionConfig::comments).
    Comment(String),
}

impl Item {
    /// The event, if it is one.
    pub fn into_event(self) -> Option<Event<'static>> {
        match self {
            Self::Event(event) => Some(event),
            _ => None,
        }
    }
}

/// Copies what the session lends. `None` for a kind of item that this version does not know.
pub(crate) fn owned(item: Result<sse_proto::Item<'_>, DecodeError>) -> Option<Result<Item, Error>> {
    match item {
        Ok(sse_proto::Item::Event(event)) => Some(Ok(Item::Event(event.into_owned()))),
        Ok(sse_proto::Item::Reset { channels }) => Some(Ok(Item::Reset { channels })),
        Ok(sse_proto::Item::Error(event)) => Some(Err(Error::Event(event.into_owned()))),
        Ok(sse_proto::Item::Comment(comment)) => Some(Ok(Item::Comment(comment.to_owned()))),
        Ok(_) => None,
        Err(error) => Some(Err(error.into())),
    }
}
