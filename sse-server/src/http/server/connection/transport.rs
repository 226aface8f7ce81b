//! A connection's socket as hyper and we share it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use super::takeover::Takeover;
use crate::http::server::listener::{Accepted, Stream};
use crate::http::server::socket::Socket;

/// What is read of the other end while a stream is open: only whether it is still there. If it
/// sends another request already, the rest of it waits in the socket.
const READ_AT_ONCE: usize = 256;

/// What a connection reads from and writes to.
pub(super) trait Io: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Whether it can ever be nothing but a socket.
    const CAN_BE_PLAIN: bool;

    /// Whether it is nothing but a socket, and nothing is under way on it.
    fn is_plain(&self) -> bool;

    /// The socket, with nothing around it.
    fn into_plain(self) -> Option<Stream>;

    /// What was read of a socket's beginning and is to be read again.
    fn first(&self) -> &[u8];

    /// Whether it is a socket whose first request is a POST.
    fn begins_as_post(&self) -> bool {
        self.first().starts_with(b"PO")
    }
}

impl<S: Accepted> Io for Socket<S> {
    const CAN_BE_PLAIN: bool = S::IS_SOCKET;

    fn is_plain(&self) -> bool {
        S::IS_SOCKET && self.is_calm()
    }

    fn into_plain(self) -> Option<Stream> {
        self.into_stream().into_socket()
    }

    fn first(&self) -> &[u8] {
        Self::first(self)
    }
}

impl<S: Accepted> Io for TlsStream<Socket<S>> {
    const CAN_BE_PLAIN: bool = false;

    fn is_plain(&self) -> bool {
        false
    }

    fn into_plain(self) -> Option<Stream> {
        None
    }

    fn first(&self) -> &[u8] {
        &[]
    }
}

/// A connection's socket, with what was read too far; it remembers whether all was flushed.
pub(super) struct Transport<I> {
    pub(super) io: I,
    pub(super) ahead: Bytes,
    pub(super) takeover: Arc<Takeover>,
}

impl<I: Io> Transport<I> {
    /// Whether it can be given to a [loop of streams](crate::http::fanout).
    pub(super) fn can_rest(&self) -> bool {
        self.ahead.is_empty() && self.io.is_plain()
    }
}

impl<I: AsyncRead + Unpin> Transport<I> {
    /// Whether the other end sends nothing any more, so that it is gone as far as can be known;
    /// looks no further once there is something to be read.
    pub(super) fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            return Poll::Pending;
        }
        let mut bytes = [0; READ_AT_ONCE];
        let mut bytes = ReadBuf::new(&mut bytes);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut bytes))?;
        if mutant!("gone-not-seen") {
            return Poll::Pending;
        }
        if bytes.filled().is_empty() {
            return Poll::Ready(Ok(()));
        }
        self.ahead = Bytes::copy_from_slice(bytes.filled());
        Poll::Pending
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Transport<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buffer);
        }
        let len = self.ahead.len().min(buffer.remaining());
        buffer.put_slice(&self.ahead.split_to(len));
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Transport<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.takeover.set_flushed(false);
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.takeover.set_flushed(false);
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper flushes when it has nothing left to write; and if it has answered before it had
        // read all of a request, it may go on to the next one before that.
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        self.takeover.set_flushed(true);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use axum::response::Response;
    use tokio::io::AsyncWriteExt;

    use super::super::takeover::Direct;
    use super::*;

    #[tokio::test]
    async fn a_connection_is_not_given_away_before_all_is_flushed() {
        let (io, _other) = tokio::io::duplex(100);
        let takeover = Arc::new(Takeover::default());
        let mut socket = Transport { io, ahead: Bytes::new(), takeover: takeover.clone() };
        let response = Response::default();
        takeover.give(Direct { response, is_kept: true });
        socket.write_all(b"HTTP/1.1 401").await.expect("there is room");
        assert!(takeover.take().is_none());
        socket.flush().await.expect("there is room");
        assert!(takeover.take().is_some());
    }
}
