//! A connection's socket: TCP, or TLS on it, with us at either end.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::{TlsAcceptor, TlsStream};

use super::target::Target;

/// How long a connection may take to be made, and TLS on it.
pub(super) const CONNECT: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) enum Socket {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Socket {
    /// Connects; `protocol` is what TLS offers, `buffer` how many bytes are buffered for a reader
    /// that does not read.
    pub(crate) async fn open(
        target: &Target,
        protocol: &[u8],
        buffer: Option<u32>,
    ) -> io::Result<Self> {
        let deadline = Instant::now() + CONNECT;
        let late = |text: &str| io::Error::new(io::ErrorKind::TimedOut, text);
        let connecting = timeout_at(deadline, connect(target, buffer)).await;
        let socket = connecting.unwrap_or_else(|_| Err(late("it does not accept a connection")))?;
        socket.set_nodelay(true)?;
        if !target.is_https() {
            return Ok(Self::Plain(socket));
        }
        let connecting = target.trust().connect(target.name(), socket, protocol);
        let connecting = timeout_at(deadline, connecting).await;
        let stream = connecting.unwrap_or_else(|_| Err(late("it does not end the TLS handshake")));
        Ok(Self::Tls(Box::new(stream?.into())))
    }

    /// Shakes hands with a client.
    pub(crate) async fn accept(acceptor: &TlsAcceptor, socket: TcpStream) -> io::Result<Self> {
        Ok(Self::Tls(Box::new(acceptor.accept(socket).await?.into())))
    }

    /// What the server has chosen of what was on offer, by TLS.
    pub(crate) fn protocol(&self) -> Option<&[u8]> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => stream.get_ref().1.alpn_protocol(),
        }
    }

    /// What is below TLS.
    pub(crate) fn tcp(&mut self) -> &mut TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => stream.get_mut().0,
        }
    }

    /// Closes this side at once: without TLS's goodbye.
    pub(crate) async fn cut(mut self) {
        // Who has gone already need not be told.
        drop(self.tcp().shutdown().await);
    }
}

async fn connect(target: &Target, buffer: Option<u32>) -> io::Result<TcpStream> {
    let addresses = tokio::net::lookup_host((target.name(), target.port())).await?;
    let mut last = io::Error::other("the name has no address");
    for address in addresses {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(bytes) = buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        match socket.connect(address).await {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Whether a failed read is a reset. A TLS connection that ends without a goodbye has ended all the
/// same.
pub(super) fn is_reset(error: &io::Error) -> bool {
    error.kind() != io::ErrorKind::UnexpectedEof
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
