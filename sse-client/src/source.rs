//! The event source: a socket and a clock for [`Session`], which decides everything.
//!
//! One rule shapes the code: **bytes first, clock second**. Time is told to the session only when
//! there is nothing to read. An application that is slow to ask, or a program that stood still, must
//! not take its own slowness for the server's silence.

use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use futures_core::stream::FusedStream;
use http_body::Body as _;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Body, Method, Url};
use sse_proto::{Closed, Failure, ResponseHead, Session, SessionConfig, State, Step};
use tokio::time::{Instant, Sleep};

use crate::builder::{BuildError, Builder};
use crate::error::{self, Cause, ClosedError, Error, Refusal, place};
use crate::events::Events;
use crate::handle::{Command, Controls, Handle, Status};
use crate::item::{self, Item};
use crate::transport::{self, Answer, Target, TryError};

/// How often the socket is looked at again when a time limit has passed. If the program stood still,
/// bytes that came meanwhile are noticed only now, and pass through tasks of the HTTP client, which
/// the runtime may run after this one.
const LOOKS: u8 = 3;

/// How long to wait for each of these looks.
const LOOK_AFTER: Duration = Duration::from_millis(10);

/// What a Mercure hub continues from, after the request's `Last-Event-ID`.
const MERCURE_LAST_EVENT_ID: HeaderName = HeaderName::from_static("mercure-last-event-id");

/// The id by which a Mercure hub is asked for all that it has.
const MERCURE_EARLIEST: &str = "earliest";

/// How far away a time is put that the clock cannot count to.
const FAR: Duration = Duration::from_hours(24 * 365);

/// How many chunks that complete no item are read in a row before others may run.
const CHUNKS_PER_POLL: usize = 32;

/// A stream of server-sent events that reconnects and resumes by itself.
///
/// See the [crate's documentation](crate) for an example and for what it does. Nothing happens unless
/// it is polled, and dropping it aborts the request.
pub struct EventSource {
    session: Session,
    target: Target,
    /// Of the last response, after redirects.
    url: Url,
    /// Of the same response.
    headers: HeaderMap,
    /// What the session's times count from.
    start: Instant,
    wire: Wire,
    timer: Option<Pin<Box<Sleep>>>,
    /// When the session wants to be asked again; `None`: not before something has happened.
    until: Option<Duration>,
    /// How many looks beyond `until` have been arranged, when that has passed in the middle of a try.
    looks: u8,
    /// When the last of them is due.
    next_look: Duration,
    /// What the last chunk has completed.
    items: VecDeque<Result<Item, Error>>,
    /// The last event ID as far as the application has seen the stream.
    delivered_id: Option<String>,
    /// The last event ID of the request that is on its way.
    sent_id: Option<HeaderValue>,
    /// It should have had one.
    id_withheld: bool,
    /// What is known about the failure of this try, besides what the session knows.
    cause: Option<Cause>,
    refusal: Option<Refusal>,
    last_failure: Option<String>,
    last_refusal: Option<Refusal>,
    max_error_body: usize,
    controls: Controls,
    is_over: bool,
}

/// What is being waited for besides time.
enum Wire {
    Idle,
    Request(Pin<Box<dyn Future<Output = Result<Answer, TryError>> + Send>>),
    Stream(Body),
    /// The text of a response that is no event stream. The session knows the head already, and is
    /// asked for the next step when the text is there to be told with it.
    Refusal(Pin<Box<dyn Future<Output = String> + Send>>),
}

impl EventSource {
    /// An event source for this URL, with the default configuration.
    ///
    /// # Errors
    ///
    /// If the URL is none of `http` or `https`, or the HTTP client cannot be made.
    pub fn get(url: impl AsRef<str>) -> Result<Self, BuildError> {
        Self::builder(url).build()
    }

    /// Sets up an event source for this URL.
    pub fn builder(url: impl AsRef<str>) -> Builder {
        Builder::new(url.as_ref())
    }

    /// Sets up a `POST`, to be made once: see [`Builder::method`]. For a language model, say; its body
    /// is set with [`Builder::body`] or, with the feature `json`, `Builder::json`.
    pub fn post(url: impl AsRef<str>) -> Builder {
        Self::builder(url).method(Method::POST)
    }

    /// Sets up an event source for these channels of a server that speaks the protocol of
    /// django-eventstream, as `sse-server` does: one `channel` parameter in the query for each.
    ///
    /// ```
    /// # use sse_client::EventSource;
    /// let source = EventSource::channels("https://example.com/events/", ["news", "für alle"]).build()?;
    /// let url = "https://example.com/events/?channel=news&channel=f%C3%BCr+alle";
    /// assert_eq!(source.url().as_str(), url);
    /// # Ok::<(), sse_client::BuildError>(())
    /// ```
    pub fn channels<C: AsRef<str>>(
        url: impl AsRef<str>,
        channels: impl IntoIterator<Item = C>,
    ) -> Builder {
        Self::builder(url).query(channels.into_iter().map(|channel| ("channel", channel)))
    }

    pub(crate) fn new(
        target: Target,
        config: SessionConfig,
        last_event_id: Option<String>,
        max_error_body: usize,
    ) -> Self {
        let mut session = Session::new(config, fastrand::u64(..));
        session.set_last_event_id(last_event_id.clone());
        Self {
            session,
            url: transport::shown(&target.url),
            headers: HeaderMap::new(),
            target,
            start: Instant::now(),
            wire: Wire::Idle,
            timer: None,
            until: Some(Duration::ZERO),
            looks: 0,
            next_look: Duration::ZERO,
            items: VecDeque::new(),
            delivered_id: last_event_id,
            sent_id: None,
            id_withheld: false,
            cause: None,
            refusal: None,
            last_failure: None,
            last_refusal: None,
            max_error_body,
            controls: Controls::new(),
            is_over: false,
        }
    }

    /// The next item; `None` when the stream is over. The same as `StreamExt::next`.
    ///
    /// Nothing is lost if the future is dropped before it is done.
    pub async fn next(&mut self) -> Option<Result<Item, Error>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// The events and nothing else: for whoever does not have to know when a connection opens, or that
    /// a [`Reset`](Item::Reset) has left a gap. Errors are delivered as they are here.
    pub const fn events(self) -> Events {
        Events::new(self)
    }

    /// The data of the events, read as JSON. To pass over some of them, use [`Events::only`] first.
    #[cfg(feature = "json")]
    pub const fn json<T: serde::de::DeserializeOwned>(self) -> crate::Json<T> {
        self.events().json()
    }

    /// Watches and steers this source from other tasks.
    pub fn handle(&self) -> Handle {
        self.controls.handle()
    }

    /// The last event ID as far as the stream has been delivered: what to store, and to give to
    /// [`Builder::last_event_id`] when the program runs again.
    ///
    /// Store it after what was delivered has been dealt with, or that may be missing after a crash.
    /// The `id` of a `stream-error` does not count, since nothing can be resumed from it.
    pub fn last_event_id(&self) -> Option<&str> {
        self.delivered_id.as_deref()
    }

    /// The URL of the last response, after redirects; at first that of the request. Without user
    /// name and password. Every try starts from the URL of the request again.
    pub const fn url(&self) -> &Url {
        &self.url
    }

    /// The headers of the last response, refused or not; empty at first. They may hold secrets, such as
    /// cookies.
    pub const fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Where the connection stands. It can be ahead of what has been delivered, and changes only when
    /// the stream is polled.
    pub fn state(&self) -> State {
        self.session.state()
    }

    /// When the next try is due, while waiting for it.
    pub fn next_try(&self) -> Option<std::time::Instant> {
        match self.session.state() {
            State::Waiting { until, .. } => self.start.into_std().checked_add(until),
            _ => None,
        }
    }

    /// The last failure on one line, with the causes that the transport names and the beginning of
    /// the response's body. It stays after the stream has recovered.
    pub fn last_failure(&self) -> Option<&str> {
        self.last_failure.as_deref()
    }

    /// The response of that failure, if it was one that is no event stream.
    pub const fn last_refusal(&self) -> Option<&Refusal> {
        self.last_refusal.as_ref()
    }

    /// Aborts the request and ends the stream. Nothing is delivered after this, not even what has
    /// arrived already.
    pub fn close(&mut self) {
        self.session.close();
        self.items = VecDeque::new();
        self.end();
        self.publish();
    }

    /// Connects anew, without the delay that is due: for when the network has changed, or someone has
    /// pressed a button. What has arrived is still delivered. Tries stay as far apart as
    /// [`Backoff::min`](sse_proto::Backoff::min) says; see
    /// [`Session::reconnect`] for when this does nothing.
    pub fn reconnect(&mut self) {
        if self.is_over || matches!(self.session.state(), State::Closed(_)) {
            return;
        }
        self.session.reconnect(self.now());
        self.step();
    }

    /// Tells the handles where the session stands.
    fn publish(&self) {
        self.controls.publish(match self.session.state() {
            State::Connecting => Status::Connecting,
            State::Open => Status::Open,
            State::Waiting { until, failure } => {
                let until = self.start.into_std().checked_add(until);
                let until = until.unwrap_or_else(|| std::time::Instant::now() + FAR);
                let why = self.last_failure.as_deref().unwrap_or_default().into();
                Status::Waiting { until, failure, why }
            }
            State::Closed(reason) => Status::Closed(reason),
            _ => return,
        });
    }

    fn end(&mut self) {
        self.wire = Wire::Idle;
        self.timer = None;
        self.until = None;
        self.is_over = true;
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Does what handles have asked for.
    fn obey(&mut self) {
        match self.controls.command() {
            Some(Command::Close) => self.close(),
            Some(Command::Reconnect) => self.reconnect(),
            None => {}
        }
    }

    /// Takes the next item out of the buffer.
    fn deliver(&mut self) -> Option<Result<Item, Error>> {
        let item = self.items.pop_front()?;
        if let Ok(Item::Event(event)) = &item {
            assign(&mut self.delivered_id, event.id());
        }
        self.settle_id();
        Some(item)
    }

    /// When nothing is buffered, the application has seen as much as the session: a block without
    /// data sets an id and is no item. Not at the end, since a `stream-error` has an id from which
    /// nothing can be resumed.
    fn settle_id(&mut self) {
        if self.items.is_empty() && !matches!(self.session.state(), State::Closed(_)) {
            assign(&mut self.delivered_id, self.session.last_event_id());
        }
    }

    /// Goes on with the request or the response. Ready when something has happened.
    fn poll_wire(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.wire {
            Wire::Idle => return Poll::Pending,
            Wire::Request(request) => match ready!(request.as_mut().poll(cx)) {
                Ok(answer) => self.handle_answer(answer),
                Err(error) => self.handle_error(error),
            },
            Wire::Stream(body) => match ready!(Pin::new(body).poll_frame(cx)) {
                // Trailers mean nothing here.
                Some(Ok(frame)) => frame.into_data().map_or((), |chunk| self.handle_chunk(&chunk)),
                Some(Err(error)) => self.handle_error(TryError::Broken(error)),
                None => {
                    self.session.handle_end(self.now());
                    self.step();
                }
            },
            Wire::Refusal(text) => {
                let body = ready!(text.as_mut().poll(cx));
                if let Some(refusal) = &mut self.refusal {
                    refusal.body = body;
                }
                self.step();
            }
        }
        self.looks = 0;
        Poll::Ready(())
    }

    fn handle_answer(&mut self, answer: Answer) {
        let content_type = answer.content_type();
        let head = ResponseHead {
            status: answer.status,
            content_type: content_type.as_deref(),
            retry_after: answer.retry_after(),
        };
        self.session.handle_response(self.now(), &head);
        self.url = answer.url;
        self.headers = answer.headers;
        if self.session.state() != State::Open {
            self.cause = answer.refusal.map(Cause::from);
            self.refusal = Some(Refusal { status: answer.status, body: String::new() });
            self.until = None;
            self.wire = Wire::Refusal(Box::pin(transport::text(answer.body, self.max_error_body)));
            return;
        }
        tracing::debug!("{} is open", place(&self.url));
        if self.id_withheld {
            let id = self.session.last_event_id().unwrap_or_default().to_owned();
            self.items.push_back(Err(Error::IdWithheld { id }));
        }
        self.items.push_back(Ok(Item::Open));
        if self.is_elsewhere() {
            self.items.push_back(Ok(Item::Reset { channels: Vec::new() }));
        }
        self.wire = Wire::Stream(answer.body);
        self.publish();
        self.step();
    }

    /// Whether a Mercure hub continues from another id than the one that was sent: then it does not
    /// know that one any more.
    fn is_elsewhere(&self) -> bool {
        match (&self.sent_id, self.headers.get(MERCURE_LAST_EVENT_ID)) {
            (Some(sent), Some(resumed)) => sent != resumed && sent != MERCURE_EARLIEST,
            _ => false,
        }
    }

    fn handle_error(&mut self, error: TryError) {
        let now = self.now();
        match error {
            TryError::Headers(cause) => {
                self.cause = Some(cause);
                self.session.handle_unsent(now, Failure::Headers);
            }
            TryError::Unsent(error) => {
                self.note_cause(error);
                self.session.handle_unsent(now, Failure::Network);
            }
            TryError::Broken(error) => {
                self.note_cause(error);
                self.session.handle_error(now);
            }
        }
        self.step();
    }

    fn note_cause(&mut self, error: reqwest::Error) {
        // The URL may hold a token, and is told elsewhere.
        self.cause = Some(error.without_url().into());
    }

    fn handle_chunk(&mut self, chunk: &[u8]) {
        let mut items = self.session.handle_bytes(self.now(), chunk);
        while let Some(item) = items.next_item() {
            match item {
                Ok(item) => self.items.extend(item::owned(item)),
                Err(error) => self.items.push_back(Err(error.into())),
            }
        }
        self.settle_id();
        self.step();
    }

    /// Does what the session says.
    fn step(&mut self) {
        let now = self.now();
        match self.session.poll(now) {
            Step::Connect(request) => {
                // The session has seen to it that a header can carry it.
                let id = request.last_event_id;
                let id = id.and_then(|id| HeaderValue::from_bytes(id.as_bytes()).ok());
                self.id_withheld = request.id_withheld;
                let by_get = request.by_get;
                // Of a failure that was cut short before it was told.
                (self.cause, self.refusal) = (None, None);
                tracing::debug!(?id, "connecting to {}", place(&self.target.url));
                self.wire = Wire::Request(Box::pin(self.target.request(id.clone(), by_get)));
                self.sent_id = id;
                self.publish();
                self.step();
            }
            Step::Read { until } => self.until = until,
            Step::Sleep { until } => {
                self.until = Some(until);
                self.wire = Wire::Idle;
                self.note_failure(until.saturating_sub(now));
            }
            Step::Stop(closed) => {
                let reason = closed.clone();
                self.stop(reason);
            }
        }
    }

    fn note_failure(&mut self, delay: Duration) {
        let State::Waiting { failure, .. } = self.session.state() else {
            return;
        };
        let text = self.describe(&failure);
        tracing::info!("{}: reconnecting in {delay:.1?}: {text}", place(&self.url));
        self.last_failure = Some(text);
        self.last_refusal = self.refusal.take();
        self.cause = None;
        self.publish();
    }

    fn stop(&mut self, reason: Closed) {
        self.end();
        if reason.is_normal() {
            tracing::debug!("{}: {reason}", place(&self.url));
        } else {
            self.fail(reason);
        }
        self.publish();
    }

    fn fail(&mut self, reason: Closed) {
        let text = self.describe(&reason);
        tracing::info!("{}: {text}", place(&self.url));
        self.last_failure = Some(text);
        self.last_refusal = self.refusal.take();
        let error = ClosedError {
            reason,
            url: self.url.clone(),
            body: self.last_refusal.as_ref().map(Refusal::body).unwrap_or_default().to_owned(),
            source: self.cause.take(),
        };
        self.items.push_back(Err(Error::Closed(Box::new(error))));
    }

    fn describe(&self, what: &impl fmt::Display) -> String {
        let body = self.refusal.as_ref().map(Refusal::body).unwrap_or_default();
        error::describe(what, error::source(self.cause.as_ref()), body)
    }

    /// Waits until the session wants to be asked again, and asks. Ready when that has been done.
    fn poll_time(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(mut until) = self.until else {
            return Poll::Pending;
        };
        let now = self.now();
        if now >= until && !matches!(self.wire, Wire::Idle) && self.looks < LOOKS {
            if self.looks == 0 || now >= self.next_look {
                self.looks += 1;
                self.next_look = now.saturating_add(LOOK_AFTER);
            }
            until = self.next_look;
        }
        if now >= until {
            self.looks = 0;
            self.step();
            return Poll::Ready(());
        }
        // What the clock cannot count to does not come.
        let Some(until) = self.start.checked_add(until) else {
            return Poll::Pending;
        };
        // Made here because only here there is a runtime for certain.
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        if timer.deadline() != until {
            timer.as_mut().reset(until);
        }
        timer.as_mut().poll(cx)
    }
}

/// Keeps the memory of an id for the next one.
fn assign(id: &mut Option<String>, new: Option<&str>) {
    if id.as_deref() == new {
        return;
    }
    match new {
        Some(new) => {
            let id = id.get_or_insert_default();
            id.clear();
            id.push_str(new);
        }
        None => *id = None,
    }
}

impl Stream for EventSource {
    type Item = Result<Item, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        for _ in 0..CHUNKS_PER_POLL {
            this.obey();
            if let Some(item) = this.deliver() {
                return Poll::Ready(Some(item));
            }
            if this.is_over {
                return Poll::Ready(None);
            }
            if this.poll_wire(cx).is_pending()
                && this.poll_time(cx).is_pending()
                && !this.controls.listen(cx)
            {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl FusedStream for EventSource {
    fn is_terminated(&self) -> bool {
        self.is_over && self.items.is_empty()
    }
}

/// Shows neither headers nor credentials.
impl fmt::Debug for EventSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventSource")
            .field("url", &place(&self.url))
            .field("state", &self.state())
            .field("last_event_id", &self.last_event_id())
            .field("last_failure", &self.last_failure())
            .finish_non_exhaustive()
    }
}
