//! Events whose data are JSON, as values of a type.

use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use futures_core::stream::FusedStream;
use serde::de::DeserializeOwned;
use sse_proto::Event;

use crate::error::Error;
use crate::events::Events;
use crate::source::EventSource;

/// The data of events, read as JSON; made by [`EventSource::json`] and [`Events::json`].
///
/// An event that cannot be read is an [`Error::Json`], which has the event; the stream goes on.
#[must_use = "a stream does nothing unless polled"]
pub struct Json<T> {
    events: Events,
    /// It makes values and holds none.
    makes: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Json<T> {
    pub(crate) const fn new(events: Events) -> Self {
        Self { events, makes: PhantomData }
    }

    /// The next value; `None` when the stream is over. Nothing is lost if the future is dropped before
    /// it is done.
    pub async fn next(&mut self) -> Option<Result<T, Error>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// The source that these are values of.
    pub const fn source(&self) -> &EventSource {
        self.events.source()
    }

    /// The same, to close it or to reconnect.
    pub const fn source_mut(&mut self) -> &mut EventSource {
        self.events.source_mut()
    }
}

impl<T: DeserializeOwned> Stream for Json<T> {
    type Item = Result<T, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = ready!(Pin::new(&mut self.get_mut().events).poll_next(cx));
        Poll::Ready(next.map(|event| {
            let event = event?;
            serde_json::from_str(event.data())
                .map_err(|source| Error::Json(Box::new(JsonError { event, source })))
        }))
    }
}

impl<T: DeserializeOwned> FusedStream for Json<T> {
    fn is_terminated(&self) -> bool {
        self.events.is_terminated()
    }
}

impl<T> fmt::Debug for Json<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Json").field(&self.events).finish()
    }
}

/// An event whose data are not the JSON that was expected.
#[derive(Debug, thiserror::Error)]
#[error("event {:?} with id {:?} is not the JSON expected", .event.event_type(), .event.last_event_id())]
pub struct JsonError {
    event: Event<'static>,
    source: serde_json::Error,
}

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
