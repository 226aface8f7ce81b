//! What an event source delivers.

use sse_proto::Event;

/// Something that a stream has delivered.
///
/// To care for events only, take [`into_event`](Self::into_event) and drop the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item {
    /// A connection is open: the first one, or one that resumes the stream.
    Open,
    /// An event.
    Event(Event<'static>),
    /// The server cannot continue from the last event ID (`stream-reset`): events are missing. State
    /// that was built from these channels must be read anew. Events go on from here.
    Reset {
        /// The channels, or none if the server's list was unreadable: then all of them.
        channels: Vec<String>,
    },
    /// A comment, if they were [asked for](sse_proto::DecoderConfig::comments).
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
pub(crate) fn owned(item: sse_proto::Item<'_>) -> Option<Item> {
    match item {
        sse_proto::Item::Event(event) => Some(Item::Event(event.into_owned())),
        sse_proto::Item::Reset { channels } => Some(Item::Reset { channels }),
        sse_proto::Item::Comment(comment) => Some(Item::Comment(comment.to_owned())),
        _ => None,
    }
}
