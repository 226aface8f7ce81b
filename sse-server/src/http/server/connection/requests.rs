//! What connections have in common, and how the requests of one get to the router.

use std::convert::Infallible;
use std::future::ready;
use std::sync::Arc;

use axum::http::{HeaderValue, Version, header};
use axum::response::{IntoResponse, Response};
use axum::{BoxError, Router};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::Either;
use hyper::server::conn::http1;
use hyper::service::Service as _;
use hyper_util::rt::TokioTimer;
use hyper_util::server::graceful::Watcher;
use hyper_util::service::TowerToHyperService;
use tokio::sync::watch;

use super::takeover::Takeover;
use super::{Admission, Held};
use crate::http::error::Refusal;
use crate::http::fanout::Fanout;
use crate::http::publishing::quick::Quick;
use crate::http::server::caller::{Caller, Peer};
use crate::http::server::consumer::Consumer;
use crate::http::server::listener::Remote;
use crate::http::server::operations::Operations;

/// The most that is read ahead of a connection, which bounds a request's head too.
const MAX_READ_BUFFER: usize = 128 << 10;

pub(super) type Ended = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// What the connections of a server have in common.
pub(in crate::http) struct Connections {
    router: TowerToHyperService<Router>,
    pub(super) operations: Operations,
    pub(super) http1: http1::Builder,
    pub(super) fanout: Fanout,
    /// The publish API, if nothing is around it.
    pub(super) quick: Option<Quick>,
    is_draining: watch::Sender<bool>,
}

impl Connections {
    pub(in crate::http) fn new(
        router: Router,
        operations: Operations,
        quick: Option<Quick>,
    ) -> Self {
        let mut http1 = http1::Builder::new();
        http1
            .timer(TokioTimer::new())
            .header_read_timeout(operations.head_timeout)
            // A client that has closed its sending side still gets the answer, as with `nc -N`.
            .half_close(true)
            .max_buf_size(MAX_READ_BUFFER);
        let router = TowerToHyperService::new(router);
        let is_draining = watch::Sender::new(false);
        Self { router, operations, http1, fanout: Fanout::default(), quick, is_draining }
    }

    /// From now on, connections that have not asked for anything are closed.
    pub(in crate::http) fn drain(&self) {
        self.is_draining.send_replace(true);
    }

    pub(super) fn is_draining(&self) -> bool {
        *self.is_draining.borrow()
    }

    pub(super) async fn draining(&self) {
        // The sender is here.
        self.is_draining.subscribe().wait_for(|is_draining| *is_draining).await.ok();
    }
}

/// The requests of one connection.
pub(super) struct Requests {
    pub(super) common: Arc<Connections>,
    pub(super) peer: Remote,
    pub(super) consumer: Arc<Consumer>,
    pub(super) takeover: Arc<Takeover>,
    /// If there is no room for the connection, that is all that it hears.
    pub(super) admission: Admission,
    /// Until it is dropped, a shutdown waits.
    pub(super) watcher: Watcher,
}

impl Requests {
    /// What is held as long as the connection is open, unless it is refused.
    pub(super) fn held(self) -> Option<Held> {
        let Self { common: connections, admission, watcher, .. } = self;
        Some(Held { connections, permit: admission.ok()?, watcher })
    }

    /// Has the router answer a request, if there is room for its connection. `consumer` is who
    /// takes the response.
    pub(super) fn respond<B>(
        &self,
        mut request: hyper::Request<B>,
        consumer: &Arc<Consumer>,
    ) -> impl Future<Output = Response> + Send + use<B>
    where
        B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        self.consumer.has_asked();
        let response = if let Err((limit, _)) = &self.admission {
            let mut answer = Refusal::from(*limit).into_response();
            if request.version() < Version::HTTP_2 {
                let close = HeaderValue::from_static("close");
                answer.headers_mut().insert(header::CONNECTION, close);
            }
            Either::Left(ready(Ok(answer)))
        } else {
            let operations = &self.common.operations;
            let client = operations.client(self.peer, request.headers());
            let extensions = request.extensions_mut();
            extensions.insert(Peer(self.peer.address()));
            extensions.insert(Caller {
                client,
                is_by_proxy: operations.is_trusted(self.peer),
                scheme: if operations.tls.is_some() { "https" } else { "http" },
                consumer: consumer.clone(),
            });
            Either::Right(self.common.router.call(request))
        };
        response.map(|response| response.unwrap_or_else(|never: Infallible| match never {}))
    }
}
