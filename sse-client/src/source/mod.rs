//! The event source: what the application holds, and asks.

mod attempt;
mod clock;
mod driver;
mod excerpt;
mod queue;
mod response;

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use futures_core::stream::FusedStream;
use http::HeaderMap;
use self_cell::self_cell;
use sse_proto::{Chunk, Event, Reader, SessionConfig};
use url::Url;
use web_time::Instant;

use self::attempt::{Attempt, LastFailure};
use self::clock::Clock;
use self::queue::Queue;
use crate::accepts::Accepts;
use crate::error::{Error, Refusal, place};
use crate::exchange::{self, Target};
use crate::handle::{Controls, Handle};
use crate::item::Item;
use crate::runtime::Runtime;
use crate::said::Said;
use crate::state::State;

/// How many steps are made in a row before others may run; a chunk that completes no item takes
/// two.
const STEPS_PER_POLL: usize = 32;

/// A stream of server-sent events that reconnects and resumes by itself.
///
/// See the [crate's documentation](crate) for an example and for what it does. Nothing happens
/// unless it is polled, and dropping it aborts the request.
pub struct EventSource {
    reader: Reader,
    target: Target,
    options: Options,
    /// How many tries there were.
    tries: u32,
    /// The head of the last response, refused or not; at first, the URL of the request.
    head: Head,
    clock: Clock,
    attempt: Attempt,
    /// What has arrived and has not been read to its end yet.
    arrived: Option<Arrived>,
    /// What is delivered before anything of that.
    items: Queue,
    last_failure: Option<LastFailure>,
    controls: Controls,
    is_over: bool,
}

/// What the builder says of responses.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) accepts: Accepts,
    /// Headers of responses that go with each further request.
    pub(crate) kept: Vec<http::HeaderName>,
    /// How much is kept of the body of a response that is no event stream, in bytes.
    pub(crate) max_error_body: usize,
}

struct Head {
    /// After redirects, without user name and password.
    url: Url,
    /// None before there is a response.
    status: Option<u16>,
    headers: HeaderMap,
}

self_cell! {
    /// Bytes of the body, and how far they have been read. An event is read when it is asked for,
    /// and copied once, from here to where it is delivered.
    struct Arrived {
        owner: Bytes,
        #[covariant]
        dependent: Chunk,
    }
}

impl EventSource {
    pub(crate) fn new(
        target: Target,
        config: SessionConfig,
        options: Options,
        runtime: Arc<dyn Runtime>,
        last_event_id: Option<String>,
    ) -> Self {
        let mut reader = Reader::new(config, seed());
        reader.set_last_event_id(last_event_id);
        let controls = Controls::new();
        controls.note_last_event_id(reader.last_event_id());
        let url = exchange::shown(&target.url);
        Self {
            reader,
            head: Head { url, status: None, headers: HeaderMap::new() },
            target,
            options,
            tries: 0,
            clock: Clock::new(runtime),
            attempt: Attempt::none(),
            arrived: None,
            items: Queue::default(),
            last_failure: None,
            controls,
            is_over: false,
        }
    }

    /// The next item; `None` when the stream is over. The same as `StreamExt::next`.
    ///
    /// Nothing is lost if the future is dropped before it is done.
    pub async fn next(&mut self) -> Option<Result<Item, Error>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// Watches and steers this source from other tasks.
    pub fn handle(&self) -> Handle {
        self.controls.handle()
    }

    /// The last event ID as far as the stream has been delivered: what to store, and to give to
    /// [`Builder::last_event_id`](crate::Builder::last_event_id) when the program runs again.
    ///
    /// Store it after what was delivered has been dealt with, or that may be missing after a crash.
    /// The `id` of a `stream-error` does not count, since nothing can be resumed from it.
    pub fn last_event_id(&self) -> Option<&str> {
        self.items.last_event_id(&self.reader)
    }

    /// The URL of the last response, after redirects; at first that of the request. Without user
    /// name and password. Every try starts from the URL of the request again.
    pub const fn url(&self) -> &Url {
        &self.head.url
    }

    /// The status code of the last response, refused or not; `None` at first.
    pub const fn status(&self) -> Option<u16> {
        self.head.status
    }

    /// The headers of the last response, refused or not; empty at first. They may hold secrets,
    /// such as cookies.
    pub const fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// Where the connection stands. It can be ahead of what has been delivered, and changes only
    /// when the stream is polled.
    pub fn state(&self) -> State {
        match self.reader.session().state() {
            sse_proto::State::Open => State::Open,
            sse_proto::State::Waiting { until, failure } => {
                State::Waiting { until: Duration::from_nanos(until), failure }
            }
            sse_proto::State::Closed(closed) => State::Closed(self.why(closed)),
            _ => State::Connecting,
        }
    }

    /// When the next try is due, while waiting for it.
    pub fn next_try(&self) -> Option<Instant> {
        match self.state() {
            State::Waiting { until, .. } => self.clock.at(until),
            _ => None,
        }
    }

    /// The last failure on one line, with the causes that the transport names and the beginning of
    /// the response's body. It stays after the stream has recovered.
    pub fn last_failure(&self) -> Option<&str> {
        self.last_failure.as_ref().map(|failure| &*failure.text)
    }

    /// The response of that failure, if it was one that is no event stream.
    pub const fn last_refusal(&self) -> Option<&Refusal> {
        match &self.last_failure {
            Some(failure) => failure.refusal.as_ref(),
            None => None,
        }
    }

    /// Aborts the request and ends the stream. Nothing is delivered after this, not even what has
    /// arrived already.
    pub fn close(&mut self) {
        self.reader.session_mut().close();
        self.items.clear();
        self.end();
        self.publish();
    }

    /// Connects anew, without the delay that is due: for when the network has changed, or someone
    /// has pressed a button. What has arrived is still delivered. Tries stay as far apart as
    /// [`Backoff::min`](sse_proto::Backoff::min) says; see
    /// [`Session::reconnect`](sse_proto::Session::reconnect) for when this does nothing.
    pub fn reconnect(&mut self) {
        if self.is_over || self.reader.session().closed().is_some() {
            return;
        }
        self.read_all();
        let now = self.clock.now();
        self.reader.session_mut().reconnect(now);
        self.step();
    }
}

impl EventSource {
    /// The next item, if it is an event that has arrived already. Nearly every call ends here,
    /// and it is small enough to be inlined.
    #[expect(clippy::inline_always, reason = "returned through memory, an event costs more")]
    #[inline(always)]
    pub(crate) fn ready_event(&mut self) -> Option<Event<'static>> {
        self.obey();
        if !self.items.is_empty() {
            return None;
        }
        match self.read_data() {
            None => self.read_event(),
            event => event,
        }
    }

    /// Goes on until there is an item.
    #[inline(never)]
    fn poll_on(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Item, Error>>> {
        self.clock.hold();
        let item = self.poll_steps(cx);
        self.clock.release();
        item
    }

    fn poll_steps(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Item, Error>>> {
        if self.items.is_empty() {
            self.controls.note_last_event_id(self.reader.last_event_id());
        }
        for _ in 0..STEPS_PER_POLL {
            self.obey();
            if let Some(item) = self.items.pop() {
                return Poll::Ready(Some(item));
            }
            if self.is_over {
                return Poll::Ready(None);
            }
            if self.arrived.is_some() {
                if let Some(event) = self.read_data().or_else(|| self.read_event()) {
                    return Poll::Ready(Some(Ok(Item::Event(event))));
                }
                if self.items.is_empty() {
                    self.finish_chunk();
                }
            } else if self.poll_wire(cx).is_pending()
                && self.poll_time(cx).is_pending()
                && !self.controls.listen(cx)
            {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Stream for EventSource {
    type Item = Result<Item, Error>;

    #[inline]
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if let Some(event) = this.ready_event() {
            return Poll::Ready(Some(Ok(Item::Event(event))));
        }
        this.poll_on(cx)
    }
}

impl FusedStream for EventSource {
    fn is_terminated(&self) -> bool {
        self.is_over && self.items.is_empty()
    }
}

/// Any number, another one for each source.
fn seed() -> u64 {
    // There is no entropy but JavaScript's.
    #[cfg(all(feature = "fetch", target_family = "wasm"))]
    return js_sys::Math::random().to_bits();
    #[allow(unreachable_code, reason = "everywhere else")]
    fastrand::u64(..)
}

/// Shows neither headers nor credentials.
impl fmt::Debug for EventSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventSource")
            .field("url", &place(&self.head.url))
            .field("state", &self.state())
            .field("last_event_id", &self.last_event_id().map(Said))
            .field("last_failure", &self.last_failure())
            .finish_non_exhaustive()
    }
}
