//! Events whose data are JSON, as values of a type.

use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use futures_core::stream::FusedStream;
use serde::de::DeserializeOwned;

use crate::error::{Error, JsonError};
use crate::events::Events;
use crate::source::EventSource;

/// The data of events, read as JSON; made by [`EventSource::json`] and [`Events::json`].
///
/// An event that cannot be read is an [`Error::Json`], which has the event; the stream goes on.
/// Events with empty data, which some servers send to prime or to keep alive a stream, are passed
/// over.
#[must_use = "a stream does nothing unless polled"]
pub struct Json<T> {
    events: Events,
    /// It makes values and holds none.
    makes: PhantomData<fn() -> T>,
}

impl EventSource {
    /// The data of the events, read as JSON. To pass over some of them, use [`Events::only`] first.
    ///
    /// As [`events`](Self::events), it does not tell that the connection is lost or cannot be made.
    pub const fn json<T: DeserializeOwned>(self) -> Json<T> {
        self.events().json()
    }
}

impl Events {
    /// The data of each event, read as JSON. It tells no more of the connection than
    /// [`EventSource::events`].
    pub const fn json<T: DeserializeOwned>(self) -> Json<T> {
        Json { events: self, makes: PhantomData }
    }
}

impl<T: DeserializeOwned> Json<T> {
    /// The next value; `None` when the stream is over. Nothing is lost if the future is dropped
    /// before it is done.
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
        let events = &mut self.get_mut().events;
        loop {
            let event = match ready!(Pin::new(&mut *events).poll_next(cx)) {
                Some(Ok(event)) if event.data().trim_ascii().is_empty() => continue,
                Some(event) => event?,
                None => return Poll::Ready(None),
            };
            let value = serde_json::from_str(event.data())
                .map_err(|source| Error::Json(Box::new(JsonError { event, source })));
            return Poll::Ready(Some(value));
        }
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
