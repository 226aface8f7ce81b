//! One connection: which protocol it speaks, and its requests.

mod awake;
mod direct;
mod http1;
mod http2;
mod quick;
mod requests;
mod takeover;
mod transport;

use std::sync::Arc;
use std::time::Duration;

use hyper_util::server::graceful::Watcher;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tracing::debug;

use super::admission::{Limit, Permit};
use super::consumer::Consumer;
use super::listener::{Accepted, Remote, remote};
use super::socket::Socket;
use crate::http::fanout::Idle;
pub(in crate::http) use direct::LAST_CHUNK;
use direct::Open;
pub(in crate::http) use requests::Connections;
use requests::{Ended, Requests};
use transport::Io;

/// How long a refused client may take to read why.
const REFUSAL_TIME: Duration = Duration::from_secs(5);

/// What a connection holds as long as it is open.
pub(in crate::http) struct Held {
    pub(in crate::http) connections: Arc<Connections>,
    permit: Permit,
    /// Until it is dropped, a shutdown waits.
    watcher: Watcher,
}

/// Whether a connection is within the limits. If it is not, it is told so, as one of those that are
/// at the same time.
pub(super) type Admission = Result<Permit, (Limit, OwnedSemaphorePermit)>;

impl Connections {
    /// Serves a connection to its end.
    pub(super) async fn run(
        self: Arc<Self>,
        socket: impl Accepted,
        peer: Remote,
        admission: Admission,
        watcher: Watcher,
    ) {
        let consumer = Arc::new(Consumer::default());
        let socket = Socket::new(socket, consumer.clone(), self.operations.write_timeout);
        let is_refused = admission.is_err();
        let requests = Requests {
            common: self.clone(),
            peer,
            consumer: consumer.clone(),
            takeover: Arc::default(),
            admission,
            watcher,
        };
        let ended = if is_refused {
            let refusing = Box::pin(self.start(socket, requests));
            timeout(REFUSAL_TIME, refusing).await.unwrap_or(Ok(()))
        } else {
            self.start(socket, requests).await
        };
        self.report(ended, peer, &consumer);
    }

    /// Goes on with a connection whose stream was [at rest](crate::http::fanout).
    pub(in crate::http) async fn resume(self: Arc<Self>, idle: Idle) {
        let Idle { socket, stream, held, is_kept, left, may_rest } = idle;
        let given = socket.give().and_then(|socket| Ok((remote(&socket)?, socket)));
        let (peer, socket) = match given {
            Ok(given) => given,
            Err(error) => return debug!(%error, "a client is gone"),
        };
        let consumer = Arc::new(Consumer::default());
        let Held { permit, watcher, .. } = held;
        let requests = Requests {
            common: self.clone(),
            peer,
            consumer: consumer.clone(),
            takeover: Arc::default(),
            admission: Ok(permit),
            watcher,
        };
        let socket = Socket::resumed(socket, consumer.clone(), self.operations.write_timeout);
        let source = (stream.resume)(*stream, consumer.clone());
        let open = Open::resumed(source, &left, is_kept, may_rest);
        let ended = self.resume_http1(socket, requests, open).await;
        self.report(ended, peer, &consumer);
    }

    fn report(&self, ended: Ended, peer: Remote, consumer: &Consumer) {
        if let Err(error) = ended {
            let is_slow = consumer.is_slow();
            debug!(%peer, error, is_slow, "a connection ended early");
            if is_slow && consumer.close() {
                self.operations.metrics().slow_consumer();
            }
        }
    }

    /// Finds out which protocol is spoken, and speaks it.
    async fn start<S: Accepted>(
        self: &Arc<Self>,
        mut socket: Socket<S>,
        requests: Requests,
    ) -> Ended {
        if let Some(tls) = &self.operations.tls {
            // Apart, because it is large, and plain connections are many.
            let connection = self.start_tls(tls.acceptor(), socket, requests);
            return Box::pin(connection).await;
        }
        let begun = timeout(self.operations.head_timeout, socket.is_http2());
        let is_http2 = tokio::select! {
            begun = begun => begun.map_err(|_| "no request in time")??,
            () = self.draining() => return Ok(()),
        };
        self.speak(socket, is_http2, requests).await
    }

    async fn start_tls<S: Accepted>(
        self: &Arc<Self>,
        acceptor: TlsAcceptor,
        socket: Socket<S>,
        requests: Requests,
    ) -> Ended {
        let shaken = timeout(self.operations.head_timeout, acceptor.accept(socket));
        let socket = tokio::select! {
            shaken = shaken => shaken.map_err(|_| "no handshake in time")??,
            () = self.draining() => return Ok(()),
        };
        let is_http2 = socket.get_ref().1.alpn_protocol() == Some(b"h2");
        self.speak(socket, is_http2, requests).await
    }

    async fn speak(self: &Arc<Self>, socket: impl Io, is_http2: bool, requests: Requests) -> Ended {
        if is_http2 {
            // Apart, because it is large, and connections of HTTP/1.1 are many.
            Box::pin(self.speak_http2(socket, requests)).await
        } else {
            self.speak_http1(socket, requests).await
        }
    }
}
