//! One request answered with a stream that the application makes.

use std::any::Any;
use std::fmt;
use std::io;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse;
use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, Stream, StreamExt};
use http_body::Frame;
use sse_proto::{KEEP_ALIVE, OPENING};
use tokio::time::{Instant, Sleep, sleep};

use super::{Emitter, Event, Lag, emitter, lag};
use crate::caught::{caught, text_of};
use crate::http::{event_stream, reconnection_time};

/// The most events that go out together, and about the most bytes.
const MOST_EVENTS: usize = 64;
const MOST_BYTES: usize = 16 << 10;

/// A comment, which every reader ignores, and every proxy passes on.
const COMMENT: &[u8] = b":\n\n";

/// How long a stream of the application is silent before a comment is sent: 20 s, as with channels.
const SILENCE: Duration = Duration::from_secs(20);

/// Within what time readers come back to a server that shuts down.
const SPREAD: Duration = Duration::from_secs(5);

/// A response that is a stream of events, made by the application for one reader.
///
/// For axum it is a response; any other server of `http` types takes what
/// [`into_http`](Self::into_http) makes of it.
///
/// - The response has the headers that keep proxies and browsers from holding events back.
/// - Events that are ready together go out together, at once, at most 64 or about 16 KiB.
/// - The next event is asked for when the connection takes it. A reader that is slow makes its own
///   stream wait, unless [`lag`](Self::lag) says otherwise.
/// - When the reader is gone, the stream is dropped.
/// - If the stream panics or yields an error, its reader gets a `stream-error`, the log gets the
///   reason, and nobody else notices anything.
///
/// A stream that blocks its thread stops others that need the thread; give it to
/// [`blocking`](Self::blocking). Must be polled in a Tokio runtime with a clock.
///
/// ```
/// use futures_util::{StreamExt, stream};
/// use sse_server::views::{Event, Resume, StreamView};
///
/// async fn numbers(resume: Resume<u64>) -> StreamView {
///     let first = resume.after().map_or(1, |number| number + 1);
///     StreamView::new(stream::iter(first..).map(|number| Event::json(&number).id(number)))
/// }
/// # let _: axum::Router = axum::Router::new().route("/", axum::routing::get(numbers));
/// ```
#[must_use]
pub struct StreamView {
    events: BoxStream<'static, Event>,
    keep_alive: Duration,
    end: Option<BoxFuture<'static, ()>>,
    has_control_events: bool,
}

impl StreamView {
    /// The events of this stream. When it ends, the response does; an `EventSource` then comes
    /// back, and is told to stop by [`finished`](Self::finished).
    pub fn new<S>(stream: S) -> Self
    where
        S: Stream + Send + 'static,
        S::Item: Into<Event>,
    {
        let events = AssertUnwindSafe(stream.map(Into::into)).catch_unwind();
        let told = |panic: Box<dyn Any + Send>| Event::fault(text_of(&*panic));
        Self {
            events: events.map(move |event| event.unwrap_or_else(told)).boxed(),
            keep_alive: SILENCE,
            end: None,
            has_control_events: false,
        }
    }

    /// The events that this closure sends. It waits in [`Emitter::send`] until its reader has taken
    /// what came before, is dropped when the reader is gone, and ends the stream by returning.
    ///
    /// ```
    /// use sse_server::views::{Event, Gone, StreamView};
    ///
    /// let view = StreamView::produce(|events| async move {
    ///     for step in ["fetch", "unpack", "build"] {
    ///         events.send(Event::text(step).event_type("step")).await?;
    ///     }
    ///     Ok::<_, Gone>(())
    /// });
    /// # let _ = view;
    /// ```
    pub fn produce<F, R, E>(closure: F) -> Self
    where
        F: FnOnce(Emitter) -> R + Send + 'static,
        R: Future<Output = Result<(), E>> + Send + 'static,
        E: fmt::Display + 'static,
    {
        Self::new(emitter::produced(closure))
    }

    /// The events of an iterator that may block. It runs on a thread of its own kind
    /// ([`spawn_blocking`](tokio::task::spawn_blocking)), a few events ahead of its reader, and is
    /// dropped after the first event that nobody takes.
    pub fn blocking<I>(iterator: I) -> Self
    where
        I: IntoIterator + Send + 'static,
        I::Item: Into<Event>,
    {
        Self::new(emitter::blocking(iterator))
    }

    /// There is nothing more, and nothing will come: 204, after which an `EventSource` does not ask
    /// again (WHATWG HTML, section 9.2.3).
    pub fn finished() -> Response<Body> {
        StatusCode::NO_CONTENT.into_response()
    }

    /// How long the stream is silent before a comment is sent. Default: 20 s. Shorter keeps proxies
    /// from closing it, and notices earlier that a reader is gone.
    pub const fn keep_alive(mut self, period: Duration) -> Self {
        self.keep_alive = period;
        self
    }

    /// Ends when this completes: the reader is told by `retry` to come back after a random time of
    /// at most 5 s. For the server's shutdown, which would otherwise wait for streams without an
    /// end.
    pub fn until(mut self, end: impl Future<Output = ()> + Send + 'static) -> Self {
        let end = caught(end).map(drop);
        self.end = Some(match self.end.take() {
            Some(other) => futures_util::future::select(other, end.boxed()).map(drop).boxed(),
            None => end.boxed(),
        });
        self
    }

    /// What happens if events come faster than the reader takes them. Default: [`Lag::Wait`].
    pub fn lag(mut self, lag: Lag) -> Self {
        self.events = match lag {
            Lag::Wait => self.events,
            Lag::Reset(most) => lag::ahead(self.events, most, true),
            Lag::End(most) => lag::ahead(self.events, most, false),
        };
        self
    }

    /// Begins as the streams of channels do, with 2 KiB of comment and `stream-open`, and sends
    /// `keep-alive` events in the place of comments: for readers of django-eventstream's protocol.
    pub const fn control_events(mut self) -> Self {
        self.has_control_events = true;
        self
    }

    /// The same view, of other events.
    pub(super) fn map_events(
        mut self,
        map: impl FnOnce(BoxStream<'static, Event>) -> BoxStream<'static, Event>,
    ) -> Self {
        self.events = map(self.events);
        self
    }

    /// The response, for servers without axum.
    pub fn into_http(self) -> Response<ViewBody> {
        let (parts, _) = event_stream(Body::empty()).into_parts();
        Response::from_parts(
            parts,
            ViewBody {
                events: Some(self.events),
                silence: self.keep_alive,
                keep_alive: None,
                end: self.end,
                has_control_events: self.has_control_events,
                has_begun: false,
            },
        )
    }
}

impl IntoResponse for StreamView {
    fn into_response(self) -> axum::response::Response {
        self.into_http().map(Body::new)
    }
}

impl fmt::Debug for StreamView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamView").field("keep_alive", &self.keep_alive).finish_non_exhaustive()
    }
}

/// The body of a [`StreamView`]. Nothing is asked of the stream before this is polled.
pub struct ViewBody {
    /// None: the last bytes have gone out.
    events: Option<BoxStream<'static, Event>>,
    silence: Duration,
    /// From the first poll on.
    keep_alive: Option<Pin<Box<Sleep>>>,
    end: Option<BoxFuture<'static, ()>>,
    has_control_events: bool,
    has_begun: bool,
}

impl ViewBody {
    /// Writes what is ready. Returns whether that was all.
    fn write_ready(&mut self, cx: &mut Context<'_>, out: &mut BytesMut) -> bool {
        let Some(events) = &mut self.events else { return true };
        for _ in 0..MOST_EVENTS {
            match events.poll_next_unpin(cx) {
                Poll::Ready(Some(event)) if event.encode(out) => return true,
                Poll::Ready(Some(_)) if out.len() < MOST_BYTES => {}
                Poll::Ready(Some(_)) | Poll::Pending => return false,
                Poll::Ready(None) => return true,
            }
        }
        false
    }
}

impl http_body::Body for ViewBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.events.is_none() {
            return Poll::Ready(None);
        }
        let mut out = BytesMut::new();
        if !std::mem::replace(&mut self.has_begun, true) {
            out.extend_from_slice(if self.has_control_events { OPENING } else { COMMENT });
        }
        if self.end.as_mut().is_some_and(|end| end.poll_unpin(cx).is_ready()) {
            let wait = reconnection_time(SPREAD).as_millis();
            out.extend_from_slice(format!("retry: {wait}\n\n").as_bytes());
            (self.events, self.end) = (None, None);
        } else if self.write_ready(cx, &mut out) {
            (self.events, self.end) = (None, None);
            if out.is_empty() {
                return Poll::Ready(None);
            }
        }
        let silence = self.silence;
        let alive = self.keep_alive.get_or_insert_with(|| Box::pin(sleep(silence)));
        if out.is_empty() {
            if alive.poll_unpin(cx).is_pending() {
                return Poll::Pending;
            }
            out.extend_from_slice(if self.has_control_events { KEEP_ALIVE } else { COMMENT });
        }
        // A period too long for the clock is none.
        if let (Some(alive), Some(due)) =
            (&mut self.keep_alive, Instant::now().checked_add(silence))
        {
            alive.as_mut().reset(due);
        }
        Poll::Ready(Some(Ok(Frame::data(out.freeze()))))
    }

    fn is_end_stream(&self) -> bool {
        self.events.is_none()
    }
}

impl fmt::Debug for ViewBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ViewBody").field("is_ended", &self.events.is_none()).finish_non_exhaustive()
    }
}
