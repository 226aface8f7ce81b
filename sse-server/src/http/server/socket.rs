//! A socket that does not wait for its peer for ever, and tells which protocol the peer speaks.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};
use tracing::debug;

use super::consumer::Consumer;
use super::listener::{Accepted, Stream};

/// How long a peer that has been too slow may take to hear so.
pub(super) const GRACE: Duration = Duration::from_secs(5);

/// How every HTTP/2 connection begins, and no HTTP/1 request.
const PREFACE: [u8; 3] = *b"PRI";

/// A connection's socket. A write fails when the peer takes nothing of it for a while; shortly
/// before, the streams are told, so that they can say why they end.
#[derive(Debug)]
pub(super) struct Socket<S = Stream> {
    stream: S,
    consumer: Arc<Consumer>,
    bound: Duration,
    /// Since the socket takes no more: when that has been for too long.
    stall: Option<Pin<Box<Sleep>>>,
    is_grace: bool,
    /// What was read of the beginning, and how much of that has been read again.
    start: [u8; PREFACE.len()],
    start_len: u8,
    start_read: u8,
}

impl<S: Accepted> Socket<S> {
    pub(super) fn new(socket: S, consumer: Arc<Consumer>, bound: Duration) -> Self {
        socket.prepare(bound + 2 * GRACE);
        Self::resumed(socket, consumer, bound)
    }

    /// That of a connection which was begun before.
    pub(super) fn resumed(socket: S, consumer: Arc<Consumer>, bound: Duration) -> Self {
        Self {
            stream: socket,
            consumer,
            bound,
            stall: None,
            is_grace: false,
            start: [0; PREFACE.len()],
            start_len: 0,
            start_read: 0,
        }
    }

    /// Whether nothing is under way: no write, and nothing to be read again.
    pub(super) fn is_calm(&self) -> bool {
        self.stall.is_none() && self.start_read == self.start_len
    }

    /// What was read of the beginning and has not been read again.
    pub(super) fn first(&self) -> &[u8] {
        &self.start[self.start_read.into()..self.start_len.into()]
    }

    pub(super) fn into_stream(self) -> S {
        self.stream
    }

    /// Waits for the first bytes, and tells whether they are HTTP/2. They can be read afterwards.
    pub(super) async fn is_http2(&mut self) -> io::Result<bool> {
        loop {
            let len = usize::from(self.start_len);
            if self.start[..len] != PREFACE[..len] {
                return Ok(false);
            }
            if len == PREFACE.len() {
                return Ok(true);
            }
            match self.stream.read(&mut self.start[len..]).await? {
                0 => return Ok(false),
                read => self.start_len += u8::try_from(read).expect("three at most"),
            }
        }
    }

    /// What came of a write; an error if nothing has come of any for too long.
    fn poll_written<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stall = None;
            self.is_grace = false;
            return written;
        }
        let bound = self.bound;
        let stall = self.stall.get_or_insert_with(|| Box::pin(tokio::time::sleep(bound)));
        ready!(stall.poll_unpin(cx));
        if mutant!("slow-for-ever") {
            stall.as_mut().reset(Instant::now() + bound);
            return Poll::Pending;
        }
        if self.is_grace {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        debug!(?bound, "a client takes nothing of what is written to it; the connection is to end");
        self.is_grace = true;
        self.consumer.set_slow();
        stall.as_mut().reset(Instant::now() + GRACE);
        // The streams are asked once more, as long as there is room for what they have to say.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<S: Accepted> AsyncRead for Socket<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.start_read < this.start_len {
            let left = &this.start[this.start_read.into()..this.start_len.into()];
            let len = left.len().min(buffer.remaining());
            buffer.put_slice(&left[..len]);
            this.start_read += u8::try_from(len).expect("three at most");
            // With what follows, or else hyper, which has read so little, would get a larger buffer
            // for the rest, and keep it.
            let more = Pin::new(&mut this.stream).poll_read(cx, buffer);
            return if more.is_pending() { Poll::Ready(Ok(())) } else { more };
        }
        Pin::new(&mut this.stream).poll_read(cx, buffer)
    }
}

impl<S: Accepted> AsyncWrite for Socket<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.poll_written(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.poll_written(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
