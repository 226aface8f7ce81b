//! One connection: which protocol it speaks, and its requests.

mod direct;
mod http1;
mod http2;
mod requests;
mod takeover;
mod transport;

use std::sync::Arc;
use std::time::Duration;

use hyper_util::server::graceful::Watcher;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tracing::debug;

use super::admission::{Limit, Permit};
use super::consumer::Consumer;
use super::listener::{Remote, Stream};
use super::socket::Socket;
pub(super) use requests::Connections;
use requests::{Ended, Requests};

/// How long a refused client may take to read why.
const REFUSAL_TIME: Duration = Duration::from_secs(5);

/// Whether a connection is within the limits. If it is not, it is told so, as one of those that are
/// at the same time.
pub(super) type Admission = Result<Permit, (Limit, OwnedSemaphorePermit)>;

impl Connections {
    /// Serves a connection to its end.
    pub(super) async fn run(
        self: Arc<Self>,
        socket: Stream,
        peer: Remote,
        admission: Admission,
        watcher: Watcher,
    ) {
        let consumer = Arc::new(Consumer::default());
        let socket = Socket::new(socket, consumer.clone(), self.operations.write_timeout);
        let limit = admission.as_ref().err().map(|(limit, _)| *limit);
        let requests = Requests {
            common: self.clone(),
            peer,
            consumer: consumer.clone(),
            takeover: Arc::default(),
            limit,
        };
        let ended = if limit.is_some() {
            let refusing = Box::pin(self.start(socket, requests, watcher));
            timeout(REFUSAL_TIME, refusing).await.unwrap_or(Ok(()))
        } else {
            self.start(socket, requests, watcher).await
        };
        if let Err(error) = ended {
            let is_slow = consumer.is_slow();
            debug!(%peer, error, is_slow, "a connection ended early");
            if is_slow && consumer.close() {
                self.operations.metrics().slow_consumer();
            }
        }
        drop(admission);
    }

    /// Finds out which protocol is spoken, and speaks it.
    async fn start(&self, mut socket: Socket, requests: Requests, watcher: Watcher) -> Ended {
        if let Some(tls) = &self.operations.tls {
            // Apart, because it is large, and plain connections are many.
            let connection = self.start_tls(tls.acceptor(), socket, requests, watcher);
            return Box::pin(connection).await;
        }
        let begun = timeout(self.operations.head_timeout, socket.is_http2());
        let is_http2 = tokio::select! {
            begun = begun => begun.map_err(|_| "no request in time")??,
            () = self.draining() => return Ok(()),
        };
        self.speak(socket, is_http2, requests, watcher).await
    }

    async fn start_tls(
        &self,
        acceptor: TlsAcceptor,
        socket: Socket,
        requests: Requests,
        watcher: Watcher,
    ) -> Ended {
        let shaken = timeout(self.operations.head_timeout, acceptor.accept(socket));
        let socket = tokio::select! {
            shaken = shaken => shaken.map_err(|_| "no handshake in time")??,
            () = self.draining() => return Ok(()),
        };
        let is_http2 = socket.get_ref().1.alpn_protocol() == Some(b"h2");
        self.speak(socket, is_http2, requests, watcher).await
    }

    async fn speak<I>(
        &self,
        socket: I,
        is_http2: bool,
        requests: Requests,
        watcher: Watcher,
    ) -> Ended
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        if is_http2 {
            // Apart, because it is large, and connections of HTTP/1.1 are many.
            Box::pin(self.speak_http2(socket, requests, watcher)).await
        } else {
            self.speak_http1(socket, requests, watcher).await
        }
    }
}
