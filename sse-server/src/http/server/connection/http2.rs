//! HTTP/2 (RFC 9113), spoken without hyper.
//!
//! hyper gives a response to h2 a frame at a time, as soon as there is a single byte of window for
//! it, and asks the body no more until that was taken: what waits is not bounded by the window, and
//! no timer runs while it waits. Here h2 gets what the window has room for, and a clock runs while
//! it has none.
//!
//! May enter: how requests come and answers go (section 8). May not: what is in them.

use std::error::Error;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::FutureExt;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Ping, PingPong, Reason, RecvStream, SendStream};
use http_body::{Body as _, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep, sleep, timeout};
use tracing::debug;

use super::requests::{Connections, Ended, Requests};
use crate::http::server::consumer::Consumer;
use crate::http::server::socket::GRACE;

/// The largest head of a request, in bytes as they are counted in section 10.5.1.
const MAX_HEAD: u32 = 64 << 10;

/// How many requests one connection can have open. Browsers share one among all tabs.
const MAX_REQUESTS: u32 = 200;

/// How many bytes of one response wait in h2 for the socket, beside what waits for the window.
const MAX_SEND_BUFFER: usize = 16 << 10;

/// How many bytes a publisher may send before they are read, of one request and of all.
const WINDOW: u32 = 1 << 20;

/// How often the other end has to show that it is there, and how long it may take.
const PING: Duration = Duration::from_secs(20);

/// What concerns one connection of HTTP/1.1 is no part of a response (section 8.2.2).
const CONNECTION_HEADERS: [HeaderName; 5] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

impl Connections {
    /// Speaks HTTP/2 to the end of the connection.
    pub(super) async fn speak_http2<I>(&self, io: I, requests: Requests) -> Ended
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let bound = self.operations.head_timeout;
        let mut builder = Builder::new();
        builder
            .max_header_list_size(MAX_HEAD)
            .max_concurrent_streams(MAX_REQUESTS)
            .max_send_buffer_size(MAX_SEND_BUFFER)
            .initial_window_size(WINDOW)
            .initial_connection_window_size(WINDOW);
        let shaken = timeout(bound, builder.handshake(io));
        let mut connection = tokio::select! {
            shaken = shaken => shaken.map_err(|_| "no request in time")??,
            () = self.draining() => return Ok(()),
        };
        let mut presence = Presence::new(connection.ping_pong());
        let mut idleness = Idleness { bound, clock: None, is_told: false };
        let mut draining = pin!(self.draining());
        let mut is_draining = false;
        let mut is_retiring = false;
        let requests = Arc::new(requests);
        // Ends with the connection, answers that are under way included.
        let mut answers = JoinSet::new();
        let ended = poll_fn(|cx| {
            if !is_draining && draining.as_mut().poll(cx).is_ready() {
                is_draining = true;
                connection.graceful_shutdown();
            }
            presence.poll(cx)?;
            while let Poll::Ready(asked) = connection.poll_accept(cx) {
                let Some(asked) = asked else { return Poll::Ready(Ok(())) };
                let (request, respond) = asked?;
                answers.spawn(requests.clone().answer(request, respond));
            }
            while let Poll::Ready(Some(_)) = answers.poll_join_next(cx) {}
            if !is_retiring && requests.consumer.is_retired() {
                is_retiring = true;
                connection.graceful_shutdown();
                cx.waker().wake_by_ref();
            }
            idleness.poll(&mut connection, answers.is_empty(), cx)
        });
        ended.await
    }
}

/// Asks the other end now and then whether it is there.
struct Presence {
    pings: Option<PingPong>,
    is_asked: bool,
    clock: Pin<Box<Sleep>>,
}

impl Presence {
    fn new(pings: Option<PingPong>) -> Self {
        Self { pings, is_asked: false, clock: Box::pin(sleep(PING)) }
    }

    /// Fails if there was no answer.
    fn poll(&mut self, cx: &mut Context<'_>) -> Result<(), Box<dyn Error + Send + Sync>> {
        let Some(pings) = &mut self.pings else { return Ok(()) };
        if self.is_asked && pings.poll_pong(cx)?.is_ready() {
            self.is_asked = false;
            self.clock.as_mut().reset(Instant::now() + PING);
        }
        while self.clock.poll_unpin(cx).is_ready() {
            if self.is_asked {
                return Err("the other end does not answer".into());
            }
            pings.send_ping(Ping::opaque())?;
            self.is_asked = true;
            self.clock.as_mut().reset(Instant::now() + PING);
            // So that the answer wakes.
            if pings.poll_pong(cx)?.is_ready() {
                self.is_asked = false;
            }
        }
        Ok(())
    }
}

/// Ends a connection that asks for nothing.
struct Idleness {
    bound: Duration,
    /// Since nothing is under way.
    clock: Option<Pin<Box<Sleep>>>,
    /// The other end was told that no more requests are taken.
    is_told: bool,
}

impl Idleness {
    fn poll<I>(
        &mut self,
        connection: &mut Connection<I, Bytes>,
        is_idle: bool,
        cx: &mut Context<'_>,
    ) -> Poll<Ended>
    where
        I: AsyncRead + AsyncWrite + Unpin,
    {
        if !is_idle {
            self.clock = None;
            return Poll::Pending;
        }
        loop {
            let bound = if self.is_told { GRACE } else { self.bound };
            let clock = self.clock.get_or_insert_with(|| Box::pin(sleep(bound)));
            ready!(clock.poll_unpin(cx));
            if self.is_told {
                return Poll::Ready(Ok(()));
            }
            debug!(bound = ?self.bound, "nothing is asked for; the connection is to end");
            self.is_told = true;
            self.clock = None;
            // By GOAWAY (section 6.8): a request that crosses it is answered.
            connection.graceful_shutdown();
            cx.waker().wake_by_ref();
        }
    }
}

impl Requests {
    /// Answers one request, unless it is taken back before.
    async fn answer(
        self: Arc<Self>,
        request: hyper::Request<RecvStream>,
        mut respond: SendResponse<Bytes>,
    ) {
        let consumer = Arc::new(Consumer::of_stream(self.consumer.clone()));
        let response = tokio::select! {
            response = self.respond(Received::body_of(request), &consumer) => response,
            _ = poll_fn(|cx| respond.poll_reset(cx)) => return,
        };
        let (mut head, body) = response.into_parts();
        for name in &CONNECTION_HEADERS {
            head.headers.remove(name);
        }
        if let Some(len) = body.size_hint().exact().filter(|_| !body.is_end_stream()) {
            head.headers.entry(header::CONTENT_LENGTH).or_insert(len.into());
        }
        let date = HeaderValue::try_from(httpdate::fmt_http_date(SystemTime::now()));
        head.headers.entry(header::DATE).or_insert(date.expect("a date is ASCII"));
        let is_ended = body.is_end_stream();
        let sent = respond.send_response(Response::from_parts(head, ()), is_ended);
        let stream = match sent {
            Ok(stream) => stream,
            Err(error) => {
                debug!(%error, "a response cannot be sent");
                return respond.send_reset(Reason::INTERNAL_ERROR);
            }
        };
        if is_ended {
            return;
        }
        let operations = &self.common.operations;
        let mut sending =
            Sending { stream, consumer, bound: operations.write_timeout, grace: None };
        if let Err(error) = sending.send(body).await {
            debug!(%error, "a response ended early");
            if sending.grace.is_some() && sending.consumer.close() {
                operations.metrics().slow_consumer();
            }
        }
    }
}

/// A response's body on its way.
struct Sending {
    stream: SendStream<Bytes>,
    consumer: Arc<Consumer>,
    bound: Duration,
    /// Nothing was taken for too long: until when the rest must be.
    grace: Option<Instant>,
}

impl Sending {
    /// Sends a body to its end. Of what it has no more is taken than is handed on.
    async fn send(&mut self, mut body: Body) -> Result<(), Box<dyn Error + Send + Sync>> {
        loop {
            let stream = &mut self.stream;
            let frame = poll_fn(|cx| match stream.poll_reset(cx)? {
                Poll::Ready(reason) => Poll::Ready(Err(h2::Error::from(reason))),
                Poll::Pending => Pin::new(&mut body).poll_frame(cx).map(Ok),
            });
            let Some(frame) = frame.await? else {
                self.stream.send_data(Bytes::new(), true)?;
                return Ok(());
            };
            let frame = frame.inspect_err(|_| self.stream.send_reset(Reason::INTERNAL_ERROR))?;
            let Ok(mut data) = frame.into_data() else { continue };
            while !data.is_empty() {
                let len = self.room(data.len()).await?;
                let is_last = len == data.len() && body.is_end_stream();
                self.stream.send_data(data.split_to(len), is_last)?;
                if is_last {
                    return Ok(());
                }
            }
        }
    }

    /// Waits until there is room for some of so many bytes. If that takes too long, the body is
    /// told, and what it then says must be taken soon.
    async fn room(&mut self, wanted: usize) -> Result<usize, Box<dyn Error + Send + Sync>> {
        self.stream.reserve_capacity(wanted);
        let mut until = self.grace.unwrap_or_else(|| Instant::now() + self.bound);
        loop {
            let stream = &mut self.stream;
            let room = poll_fn(|cx| match stream.poll_reset(cx)? {
                Poll::Ready(reason) => Poll::Ready(Err(h2::Error::from(reason))),
                Poll::Pending if stream.capacity() > 0 => Poll::Ready(Ok(stream.capacity())),
                Poll::Pending => match ready!(stream.poll_capacity(cx)) {
                    Some(room) => Poll::Ready(room),
                    None => Poll::Ready(Err(Reason::CANCEL.into())),
                },
            });
            match tokio::time::timeout_at(until, room).await {
                Ok(room) => match room?.min(wanted) {
                    0 => {}
                    room => return Ok(room),
                },
                Err(_) if self.grace.is_some() => {
                    self.stream.send_reset(Reason::CANCEL);
                    return Err("nothing of it was taken for too long".into());
                }
                Err(_) => {
                    debug!(bound = ?self.bound, "a client takes nothing of a stream; it is to end");
                    self.consumer.set_slow();
                    until = Instant::now() + GRACE;
                    self.grace = Some(until);
                }
            }
        }
    }
}

/// The body of a request.
struct Received {
    stream: RecvStream,
    /// What was read is made room for once it is asked for more.
    taken: usize,
    /// What is left of the length that the request has said.
    left: Option<u64>,
}

impl Received {
    fn body_of(request: hyper::Request<RecvStream>) -> hyper::Request<Self> {
        // One that is wrong is refused by h2.
        let len = request.headers().get(header::CONTENT_LENGTH).and_then(|len| len.to_str().ok());
        let left = len.and_then(|len| len.parse().ok());
        request.map(|stream| Self { stream, taken: 0, left })
    }
}

impl http_body::Body for Received {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let this = self.get_mut();
        // A stream that is over has no window.
        this.stream.flow_control().release_capacity(std::mem::take(&mut this.taken)).ok();
        let data = ready!(this.stream.poll_data(cx));
        Poll::Ready(data.map(|data| {
            data.map(|data| {
                this.taken = data.len();
                this.left = this.left.map(|left| left.saturating_sub(data.len() as u64));
                Frame::data(data)
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
