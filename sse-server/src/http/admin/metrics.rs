//! `GET /metrics`: what the server counts, for Prometheus.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};

use super::health;
use crate::http::app::{App, HttpConfig};
use crate::http::error::Refusal;
use crate::http::fallbacks::{only, unknown_path};
use crate::http::hosts;
use crate::http::publishing::token::authorize;
use crate::http::server::caller::Peer;
use crate::hub::Hub;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Headers in which proxies name their client. With one of these, the peer is not the client.
const FORWARDING: [&str; 4] = ["forwarded", "via", "x-forwarded-for", "x-real-ip"];

/// The metrics and the state of health alone, for an address of their own: open to everyone who can
/// reach it. `config` must have the same [`Operations`](crate::http::Operations) as the server's.
pub fn metrics_router(hub: Hub, config: HttpConfig) -> Router {
    Router::new()
        .route("/metrics", get(open).fallback(only("GET, HEAD")))
        .route("/health/live", get(health::live).fallback(only("GET, HEAD")))
        .route("/health/ready", get(health::ready).fallback(only("GET, HEAD")))
        .fallback(unknown_path)
        .with_state(Arc::new(App { hub, config, grip: None }))
}

/// For requests from this machine itself, and for tokens for all channels.
pub(in crate::http) async fn metrics(
    state: State<Arc<App>>,
    peer: Option<Extension<Peer>>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let peer = peer.map(|Extension(Peer(peer))| peer);
    let is_local = peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback())
        && !FORWARDING.iter().any(|name| headers.contains_key(*name));
    if is_local {
        match hosts::allow(&state.config.operations, peer, &uri, &headers) {
            Ok(()) => return Ok(all(state)),
            Err(refusal) if !headers.contains_key(header::AUTHORIZATION) => return Err(refusal),
            Err(_) => {}
        }
    }
    if !authorize(&headers, &state.config.publishers)?.is_for_all() {
        let text = "only a token for all channels is good for this";
        return Err(Refusal::new(StatusCode::FORBIDDEN, "forbidden", text));
    }
    Ok(all(state))
}

/// For everyone who can reach the address.
async fn open(
    state: State<Arc<App>>,
    peer: Option<Extension<Peer>>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    hosts::allow(&state.config.operations, peer.map(|Extension(Peer(peer))| peer), &uri, &headers)?;
    Ok(all(state))
}

fn all(State(app): State<Arc<App>>) -> Response {
    let operations = &app.config.operations;
    let (connections, streams) = operations.open();
    let text = operations.metrics().encode(connections, streams, app.hub.channels());
    ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response()
}
