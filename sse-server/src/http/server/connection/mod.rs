//! One connection: which protocol it speaks, and its requests.

mod direct;
mod http2;

use std::convert::Infallible;
use std::future::ready;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderValue, Version, header};
use axum::response::{IntoResponse, Response};
use axum::{BoxError, Router};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::Either;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::TokioTimer;
use hyper_util::server::graceful::Watcher;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tracing::debug;

use super::admission::{Limit, Permit};
use super::operations::Operations;
use super::socket::{Link, Socket};
use crate::http::Peer;
use crate::http::error::Refusal;
pub(in crate::http) use direct::{Direct, LongLived};

/// The most that is read ahead of a connection, which bounds a request's head too.
const MAX_READ_BUFFER: usize = 128 << 10;

/// How long whoever is refused may take to listen.
const REFUSAL_TIME: Duration = Duration::from_secs(5);

/// What is known of whoever has sent a request: an extension of it.
#[derive(Clone, Debug)]
pub(in crate::http) struct Caller {
    pub(in crate::http) client: IpAddr,
    pub(in crate::http) link: Arc<Link>,
}

/// Whether a connection is within the limits. If it is not, it is told so, as one of those that are at
/// the same time.
pub(super) type Admission = Result<Permit, (Limit, OwnedSemaphorePermit)>;

type Ended = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// What the connections of a server have in common.
pub(super) struct Connections {
    router: TowerToHyperService<Router>,
    operations: Operations,
    http1: http1::Builder,
    is_draining: watch::Sender<bool>,
}

impl Connections {
    pub(super) fn new(router: Router, operations: Operations) -> Self {
        let mut http1 = http1::Builder::new();
        http1
            .timer(TokioTimer::new())
            .header_read_timeout(operations.head_timeout)
            // Who has no more to ask still gets the answer, as with `nc -N`.
            .half_close(true)
            .max_buf_size(MAX_READ_BUFFER);
        let router = TowerToHyperService::new(router);
        Self { router, operations, http1, is_draining: watch::Sender::new(false) }
    }

    /// From now on, connections that have not asked for anything are closed.
    pub(super) fn drain(&self) {
        self.is_draining.send_replace(true);
    }

    /// Serves a connection to its end.
    pub(super) async fn run(
        self: Arc<Self>,
        socket: TcpStream,
        peer: SocketAddr,
        admission: Admission,
        watcher: Watcher,
    ) {
        let link = Arc::new(Link::default());
        let socket = Socket::new(socket, link.clone(), self.operations.write_timeout);
        let limit = admission.as_ref().err().map(|(limit, _)| *limit);
        let requests = Requests { common: self.clone(), peer, link: link.clone(), limit };
        let ended = if limit.is_some() {
            let refusing = Box::pin(self.start(socket, requests, watcher));
            timeout(REFUSAL_TIME, refusing).await.unwrap_or(Ok(()))
        } else {
            self.start(socket, requests, watcher).await
        };
        if let Err(error) = ended {
            let is_slow = link.is_slow();
            debug!(%peer, error, is_slow, "a connection ended early");
            if is_slow && link.close() {
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

    async fn draining(&self) {
        // The sender is here.
        self.is_draining.subscribe().wait_for(|is_draining| *is_draining).await.ok();
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

/// The requests of one connection.
struct Requests {
    common: Arc<Connections>,
    peer: SocketAddr,
    link: Arc<Link>,
    /// There is no room for the connection: all that it hears.
    limit: Option<Limit>,
}

impl Service<hyper::Request<Incoming>> for Requests {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn call(&self, request: hyper::Request<Incoming>) -> Self::Future {
        let answerable = direct::Request::of(&request);
        let response = self.respond(request, &self.link);
        let link = self.link.clone();
        Box::pin(async move {
            let response = response.await;
            Ok(match answerable {
                Some(answerable) => answerable.answer(response, &link).await,
                None => response,
            })
        })
    }
}

impl Requests {
    /// Has the router answer a request, if there is room for its connection. `link` is what the response is told
    /// by.
    fn respond<B>(
        &self,
        mut request: hyper::Request<B>,
        link: &Arc<Link>,
    ) -> impl Future<Output = Response> + Send + use<B>
    where
        B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        self.link.ask();
        let response = if let Some(limit) = self.limit {
            let mut answer = Refusal::from(limit).into_response();
            if request.version() < Version::HTTP_2 {
                let close = HeaderValue::from_static("close");
                answer.headers_mut().insert(header::CONNECTION, close);
            }
            Either::Left(ready(Ok(answer)))
        } else {
            let client = self.common.operations.client(self.peer.ip(), request.headers());
            let extensions = request.extensions_mut();
            extensions.insert(Peer(self.peer));
            extensions.insert(Caller { client, link: link.clone() });
            Either::Right(self.common.router.call(request))
        };
        response.map(|response| response.unwrap_or_else(|never: Infallible| match never {}))
    }
}
