//! Accepting connections, and ending them in good order.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tracing::{debug, info, warn};

use crate::hub::Hub;

/// How long a client may take to send a request's head, and so also how long a connection may be
/// idle. Publishers keep theirs open, and lose a request if it is closed under them.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// The most that is read ahead of a connection, which bounds a request's head too.
const MAX_READ_BUFFER: usize = 128 << 10;

/// How long requests that are under way may take to finish at shutdown.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Pause after a failed accept: with no file descriptor free, the next try would fail at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The other end of a connection, as an extension of each of its requests. [`serve`] sets it; whoever serves
/// the router by other means can.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// Serves HTTP/1.1 and 1.0 until `shutdown` completes. Then no connection is accepted any more, the
/// hub is closed, which ends every stream on an event's boundary, and other requests get a few
/// seconds to finish.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    hub: &Hub,
    shutdown: impl Future<Output = ()>,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(MAX_READ_BUFFER);
    let connections = GracefulShutdown::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut shutdown => break,
        };
        let (socket, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // The client's doing, unlike a lack of resources.
                if !matches!(
                    error.kind(),
                    ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset
                ) {
                    warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
                continue;
            }
        };
        // An event is written in one piece; there is nothing that waiting could be joined with.
        socket.set_nodelay(true).ok();
        let router = TowerToHyperService::new(router.clone());
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(Peer(peer));
            router.call(request)
        });
        let connection = connections.watch(http.serve_connection(TokioIo::new(socket), service));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                debug!(%error, "a connection ended early");
            }
        });
    }
    drop(listener);
    info!(connections = connections.count(), "shutting down");
    hub.close();
    if tokio::time::timeout(DRAIN_TIMEOUT, connections.shutdown()).await.is_err() {
        warn!("some requests did not finish in {} s and were cut", DRAIN_TIMEOUT.as_secs());
    }
}
