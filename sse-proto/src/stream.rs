//! A stream of bytes, such as the body of an HTTP response, as a stream of events.
//!
//! ```
//! use futures::{StreamExt, executor::block_on, stream};
//! use sse_proto::stream::Eventsource;
//!
//! # block_on(async {
//! let body = stream::iter([Ok::<_, std::io::Error>("id: 1\ndata: hel"), Ok("lo\n\ndata: lost")]);
//! let mut events = body.eventsource();
//! while let Some(event) = events.next().await {
//!     let event = event?;
//!     assert_eq!((event.event_type(), event.data(), event.id()), ("message", "hello", Some("1")));
//! }
//! assert_eq!(events.last_event_id(), Some("1"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! It reads one body and no more; a client that reconnects is made with
//! [`Reader`](crate::Reader).
//!
//! # Coming from `eventsource-stream`
//!
//! The names are the same, so the import is the first thing to change, and the compiler finds the
//! rest:
//!
//! | `eventsource_stream` | `sse_proto::stream` |
//! |---|---|
//! | `use eventsource_stream::Eventsource;` | `use sse_proto::stream::Eventsource;` |
//! | `Event` | [`Event<'static>`](Event) |
//! | `event.event` | [`event.event_type()`](Event::event_type) |
//! | `event.data` | [`event.data()`](Event::data) |
//! | `event.id` (empty if there is none) | [`event.last_event_id()`](Event::last_event_id) |
//! | `event.retry` | [`events.reconnection_time()`](EventStream::reconnection_time) |
//! | `events.last_event_id()` | [`events.last_event_id()`](EventStream::last_event_id), an `Option` |
//! | `events.set_last_event_id(id)` | [`events.set_last_event_id(Some(id))`](EventStream::set_last_event_id) |
//! | `EventStreamError::Transport(error)` | [`EventStreamError::Transport(error)`](EventStreamError::Transport) |
//! | `EventStreamError::Utf8`, `Parser` | none: every stream of bytes is an event stream |
//! | | [`EventStreamError::Limit`]: an event was too long |
//!
//! What is read differs where that crate departs from the standard: ill-formed UTF-8 becomes U+FFFD
//! in place of an error, a byte order mark is skipped, an event that ends with CR does not wait for
//! the byte after it, and a `retry` field counts without an event.

use alloc::string::String;
use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;

use futures_core::stream::{FusedStream, Stream, TryStream};
use pin_project_lite::pin_project;

use crate::owned::OwnedEvents;
use crate::{DecodeError, DecoderConfig, Event};

/// Makes a stream of events out of a stream of bytes.
pub trait Eventsource: Sized + TryStream<Ok: AsRef<[u8]>> {
    /// The events of this stream, read with the default limits.
    fn eventsource(self) -> EventStream<Self>;
}

impl<S: TryStream<Ok: AsRef<[u8]>>> Eventsource for S {
    fn eventsource(self) -> EventStream<Self> {
        EventStream::new(self)
    }
}

pin_project! {
    /// The events of a stream of bytes; see the [module](self) for an example.
    ///
    /// `S` is any stream of `Result<B, E>` whose `B` can be seen as bytes: `Bytes`, `Vec<u8>`,
    /// `&str`. One `B` at a time is read, and its events are held until they are asked for.
    ///
    /// Goes on after a passed [limit](EventStreamError::Limit). Ends with the stream of bytes, or
    /// after an error of it; an event that is unfinished then is discarded, as the standard says
    /// (section 9.2.6).
    #[must_use = "streams do nothing unless polled"]
    pub struct EventStream<S: TryStream> {
        // `None` once it has ended.
        #[pin]
        bytes: Option<S>,
        events: OwnedEvents,
    }
}

impl<S: TryStream<Ok: AsRef<[u8]>>> EventStream<S> {
    /// The events of a stream of bytes, read with the default limits.
    pub fn new(bytes: S) -> Self {
        Self { bytes: Some(bytes), events: OwnedEvents::default() }
    }

    /// The events of a stream of bytes, read with these limits.
    pub fn with_config(bytes: S, config: DecoderConfig) -> Self {
        Self { bytes: Some(bytes), events: OwnedEvents::with_config(config) }
    }
}

impl<S: TryStream> EventStream<S> {
    /// The last event ID as of the last item; `None` until the first one is set. To resume, send it
    /// as the header `Last-Event-ID`.
    pub fn last_event_id(&self) -> Option<&str> {
        self.events.last_event_id()
    }

    /// Sets the last event ID that the stream is resumed from: that of its events until it sets
    /// one.
    pub fn set_last_event_id(&mut self, id: Option<String>) {
        self.events.set_last_event_id(id);
    }

    /// The reconnection time that the server has set last, as of the last item. `None` if it has
    /// not.
    pub const fn reconnection_time(&self) -> Option<Duration> {
        self.events.reconnection_time()
    }
}

impl<S: TryStream<Ok: AsRef<[u8]>>> Stream for EventStream<S> {
    type Item = Result<Event<'static>, EventStreamError<S::Error>>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut this = self.project();
        loop {
            if let Some(item) = this.events.take() {
                return Poll::Ready(Some(item.map_err(EventStreamError::Limit)));
            }
            let Some(bytes) = this.bytes.as_mut().as_pin_mut() else {
                return Poll::Ready(None);
            };
            let end = match ready!(bytes.try_poll_next(cx)) {
                Some(Ok(chunk)) => {
                    this.events.read(chunk.as_ref());
                    continue;
                }
                Some(Err(error)) => Some(Err(EventStreamError::Transport(error))),
                None => None,
            };
            this.bytes.set(None);
            this.events.end_of_stream();
            return Poll::Ready(end);
        }
    }
}

impl<S: TryStream<Ok: AsRef<[u8]>>> FusedStream for EventStream<S> {
    fn is_terminated(&self) -> bool {
        self.bytes.is_none()
    }
}

impl<S: TryStream> fmt::Debug for EventStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("EventStream");
        debug.field("events", &self.events).field("ended", &self.bytes.is_none());
        debug.finish_non_exhaustive()
    }
}

/// Why an [`EventStream`] gave no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventStreamError<E> {
    /// An event was longer than a [limit](DecoderConfig) and has been dropped. The stream goes on.
    Limit(DecodeError),
    /// The stream of bytes failed. The stream of events has ended; a new request that sends the
    /// [last event ID](EventStream::last_event_id) resumes it.
    Transport(E),
}

impl<E: fmt::Display> fmt::Display for EventStreamError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Limit(error) => error.fmt(f),
            Self::Transport(error) => write!(f, "the stream was cut: {error}"),
        }
    }
}

impl<E: core::error::Error + 'static> core::error::Error for EventStreamError<E> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Limit(_) => None,
            Self::Transport(error) => Some(error),
        }
    }
}
