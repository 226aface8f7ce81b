//! Streams of what an application wants to see of an event source.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use futures_core::stream::FusedStream;
use sse_proto::Event;

use crate::error::Error;
use crate::item::Item;
use crate::source::EventSource;

/// How many items are passed over in a row before others may run.
const ITEMS_PER_POLL: usize = 128;

/// The events of an [`EventSource`] and nothing else; made by [`EventSource::events`].
#[derive(Debug)]
#[must_use = "a stream does nothing unless polled"]
pub struct Events {
    source: EventSource,
    /// `None`: all.
    types: Option<Vec<String>>,
}

impl EventSource {
    /// The events and nothing else: for callers that need not know when a connection opens, or that
    /// a [`Reset`](Item::Reset) has left a gap. Errors are delivered as they are here.
    ///
    /// It does not tell that the connection is lost or cannot be made: see
    /// [`Handle::changed`](crate::Handle::changed), [`EventSource::last_failure`], or the log at
    /// `warn`. To see it in the loop, match on [`Item::Waiting`] of the source.
    pub const fn events(self) -> Events {
        Events { source: self, types: None }
    }
}

impl Events {
    /// Passes over events of other types than these. An event that names no type is a `message`.
    pub fn only<T: Into<String>>(mut self, types: impl IntoIterator<Item = T>) -> Self {
        self.types = Some(types.into_iter().map(Into::into).collect());
        self
    }

    /// The next event; `None` when the stream is over. Nothing is lost if the future is dropped
    /// before it is done.
    pub async fn next(&mut self) -> Option<Result<Event<'static>, Error>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// The source that these are events of.
    pub const fn source(&self) -> &EventSource {
        &self.source
    }

    /// The same, to close it or to reconnect.
    pub const fn source_mut(&mut self) -> &mut EventSource {
        &mut self.source
    }

    #[inline]
    fn is_wanted(&self, event: &Event<'_>) -> bool {
        let types = self.types.as_ref();
        types.is_none_or(|types| types.iter().any(|name| name == event.event_type()))
    }
}

impl Stream for Events {
    type Item = Result<Event<'static>, Error>;

    #[inline]
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        for _ in 0..ITEMS_PER_POLL {
            if let Some(event) = this.source.ready_event() {
                if this.is_wanted(&event) {
                    return Poll::Ready(Some(Ok(event)));
                }
                continue;
            }
            match ready!(Pin::new(&mut this.source).poll_next(cx)) {
                Some(Ok(Item::Event(event))) if this.is_wanted(&event) => {
                    return Poll::Ready(Some(Ok(event)));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl FusedStream for Events {
    fn is_terminated(&self) -> bool {
        self.source.is_terminated()
    }
}
