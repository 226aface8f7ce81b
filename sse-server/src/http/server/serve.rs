//! Accepting connections, and ending them in good order.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::sync::Semaphore;
use tracing::{debug, info, warn};

use super::connection::Connections;
use super::listener::{Accept, Listener};
use super::operations::Operations;
use crate::http::app::{App, HttpConfig};
use crate::http::publishing::quick::Quick;
use crate::http::routes::routes;
use crate::hub::Hub;

/// How many connections beyond the limit are told so at the same time. Others are closed at once.
const MAX_REFUSALS: usize = 256;

/// Pause after a failed accept: with no file descriptor free, the next try would fail at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves HTTP/1 and HTTP/2 until `shutdown` completes, with the default [`Operations`]: see
/// [`serve_with`].
pub async fn serve(
    listener: impl Into<Listener>,
    router: Router,
    hub: &Hub,
    shutdown: impl Future<Output = ()>,
) {
    serve_with(listener, router, hub, &Operations::default(), shutdown).await;
}

/// Serves HTTP/1.0, HTTP/1.1 and HTTP/2 until `shutdown` completes: by TLS if `operations` has a
/// certificate, otherwise plain, where HTTP/2 is for those who know ("prior knowledge").
///
/// Streams of HTTP/1.1 are written without hyper, straight from memory that all readers share. A
/// layer around the router that changes the bodies of answers goes on doing so; one that only
/// watches them sees no more than the first frame of a stream.
///
/// Then, after the drain delay, no connection is accepted any more, and the hub is closed, which
/// ends every stream on an event's boundary, after it was told when to come back. Other requests
/// get the drain time to finish.
pub async fn serve_with(
    listener: impl Into<Listener>,
    router: Router,
    hub: &Hub,
    operations: &Operations,
    shutdown: impl Future<Output = ()>,
) {
    let connections = Connections::new(router, operations.clone(), None);
    run(listener.into(), connections, hub, operations, shutdown).await;
}

/// Serves the routes of a server over this hub as they are, with nothing around them, until
/// `shutdown` completes: as [`serve_with`] and [`router`](crate::http::router), with the operations
/// of `config`; and quicker for publishers, if the hub has a
/// [thread](crate::hub::HubConfig::publish_on) for them.
pub async fn serve_alone(
    listener: impl Into<Listener>,
    hub: &Hub,
    config: HttpConfig,
    shutdown: impl Future<Output = ()>,
) {
    let operations = config.operations.clone();
    let app = Arc::new(App::new(hub.clone(), config));
    let router = routes(app.clone());
    let connections = Connections::new(router, operations.clone(), Quick::new(app));
    run(listener.into(), connections, hub, &operations, shutdown).await;
}

pub(super) async fn run(
    listener: impl Accept,
    connections: Connections,
    hub: &Hub,
    operations: &Operations,
    shutdown: impl Future<Output = ()>,
) {
    let connections = Arc::new(connections);
    let graceful = GracefulShutdown::new();
    let refusals = Arc::new(Semaphore::new(MAX_REFUSALS));
    let mut shutdown = std::pin::pin!(async {
        shutdown.await;
        operations.set_ending();
        let delay = operations.drain_delay;
        if !delay.is_zero() {
            info!("not ready any more; shutting down in {delay:?}");
            tokio::time::sleep(delay).await;
        }
    });
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
        let admission = match operations.admit_connection(peer) {
            Ok(permit) => {
                operations.metrics().connection();
                Ok(permit)
            }
            Err(limit) => {
                debug!(%peer, %limit, "a connection is refused");
                operations.metrics().refused(503, limit.name());
                match refusals.clone().try_acquire_owned() {
                    Ok(place) => Err((limit, place)),
                    Err(_) => continue,
                }
            }
        };
        tokio::spawn(connections.clone().run(socket, peer, admission, graceful.watcher()));
    }
    drop(listener);
    let bound = operations.drain_time;
    info!(connections = graceful.count(), "shutting down, within {bound:?}");
    hub.close();
    connections.drain();
    if tokio::time::timeout(bound, graceful.shutdown()).await.is_err() {
        warn!("some connections did not finish within {bound:?} and are cut");
    }
    hub.told().await;
}
