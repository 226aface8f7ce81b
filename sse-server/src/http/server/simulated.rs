//! Connections over a simulated network, served as those of sockets are. For `sse-server/sim`.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connection::Connections;
use super::listener::{Accept, Accepted, Remote, Stream};
use super::serve::run;
use crate::http::app::{App, HttpConfig};
use crate::http::routes::routes;
use crate::hub::Hub;

/// Where connections of a simulated network come in.
#[expect(async_fn_in_trait, reason = "a simulation is one thread")]
pub trait SimulatedListener {
    /// What a connection is read from and written to.
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// The next connection, and where its other end is.
    async fn accept(&self) -> io::Result<(Self::Stream, SocketAddr)>;
}

/// Serves the routes of a server over this hub until `shutdown` completes, as
/// [`serve_alone`](crate::http::serve_alone) does. Streams stay with the tasks of their
/// connections: only a socket of the system can be given to a loop.
pub async fn serve_simulated(
    listener: impl SimulatedListener,
    hub: &Hub,
    config: HttpConfig,
    shutdown: impl Future<Output = ()>,
) {
    let operations = config.operations.clone();
    let router = routes(Arc::new(App::new(hub.clone(), config)));
    let connections = Connections::new(router, operations.clone(), None);
    run(Simulated(listener), connections, hub, &operations, shutdown).await;
}

/// A listener or a stream of a simulated network.
struct Simulated<T>(T);

impl<L: SimulatedListener> Accept for Simulated<L> {
    type Stream = Simulated<L::Stream>;

    async fn accept(&self) -> io::Result<(Self::Stream, Remote)> {
        let (stream, peer) = self.0.accept().await?;
        Ok((Simulated(stream), Remote::At(peer)))
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Accepted for Simulated<S> {
    const IS_SOCKET: bool = false;

    fn prepare(&self, _bound: Duration) {}

    fn into_socket(self) -> Option<Stream> {
        None
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Simulated<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Simulated<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
