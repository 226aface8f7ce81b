//! Which path is answered by what.

use std::sync::Arc;

use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{DefaultBodyLimit, OriginalUri, RawPathParams, State};
use axum::http::{HeaderMap, Method, Uri};
use axum::response::Redirect;
use axum::routing::{MethodRouter, any, get, post};
use axum::{Extension, Router, middleware};

use super::admin::{health, metrics, presence};
use super::app::{App, HttpConfig, MAX_REQUEST};
use super::fallbacks::{only, unknown_path, with_slash};
use super::publishing::{permissions, publish};
use super::server::caller::{Caller, Peer};
use super::streams::endpoint::Endpoint;
use super::streams::{events, held, page};
use super::{cors, hosts, limits};
use crate::hub::Hub;

/// The routes of a server over this hub, to be served by [`serve`](super::serve) or within another
/// axum application.
pub fn router(hub: Hub, config: HttpConfig) -> Router {
    routes(Arc::new(App::new(hub, config)))
}

pub(super) fn routes(app: Arc<App>) -> Router {
    let endpoints = &app.config.endpoints;
    // A part of a path may begin with a colon or a star.
    let mut streams = Router::new().without_v07_checks();
    for (endpoint, _) in endpoints.iter() {
        streams = streams.route(endpoint.path(), stream(endpoint.clone()));
    }
    for path in endpoints.without_slash() {
        streams = streams.route(&path, any(with_slash));
    }
    if endpoints.has_defaults() {
        let to_events = get(|| async { Redirect::temporary("./events/") });
        streams = streams.route("/", to_events.fallback(only("GET, HEAD")));
    }
    let publishing = Router::new()
        .route("/publish", any(with_slash))
        .route("/publish/", post(publish::publish).fallback(only("POST")));
    let mut others = Router::new();
    if app.config.has_metrics {
        others = others.route("/metrics", get(metrics::metrics).fallback(only("GET, HEAD")));
    }
    if app.grip.is_some() {
        others = others
            .route("/grip/next/{token}", get(held::next))
            .route("/grip/public/{channels}", get(held::public));
    }
    let others = others
        .route("/permissions/changed", post(permissions::changed).fallback(only("POST")))
        .route("/permissions/changed/", post(permissions::changed).fallback(only("POST")))
        .route("/channels", any(with_slash))
        .route("/channels/", get(presence::channels).fallback(only("GET, HEAD")))
        .route("/page/client.js", get(page::client).fallback(only("GET, HEAD")))
        .merge(health_routes())
        .fallback(unknown_path);
    // What a page of another origin may read includes the refusals of a request that is too large.
    let limited = middleware::from_fn_with_state(app.config.limits, limits::check);
    let streams = streams.layer(middleware::from_fn_with_state(app.clone(), hosts::check));
    let (mut streams, mut publishing) =
        (streams.layer(limited.clone()), publishing.layer(limited.clone()));
    if let Some(cors) = &app.config.cors {
        let shared = |methods| middleware::from_fn_with_state((cors.clone(), methods), cors::apply);
        streams = streams.layer(shared("GET, HEAD"));
        if cors.publish {
            publishing = publishing.layer(shared("POST"));
        }
    }
    let mut all = others.layer(limited.clone()).merge(streams).merge(publishing);
    let base = &app.config.base_path;
    if !base.is_empty() {
        // Health is where it is always looked for, too.
        let outside = health_routes().fallback(unknown_path).layer(limited);
        all = outside.route(base, any(with_slash)).nest(&format!("{base}/"), all);
    }
    all.layer(DefaultBodyLimit::max(MAX_REQUEST))
        .layer(middleware::from_fn_with_state(app.clone(), metrics::count))
        .with_state(app)
}

fn health_routes() -> Router<Arc<App>> {
    Router::new()
        .route("/health/live", get(health::live).fallback(only("GET, HEAD")))
        .route("/health/ready", get(health::ready).fallback(only("GET, HEAD")))
}

/// Where streams are.
fn stream(endpoint: Arc<Endpoint>) -> MethodRouter<Arc<App>> {
    let answer = async move |State(app): State<Arc<App>>,
                             parameters: Result<RawPathParams, RawPathParamsRejection>,
                             method: Method,
                             here: Uri,
                             OriginalUri(uri): OriginalUri,
                             peer: Option<Extension<Peer>>,
                             caller: Option<Extension<Caller>>,
                             headers: HeaderMap| {
        let asked = events::Asked { method: &method, here: &here, uri: &uri, headers: &headers };
        events::answer(&app, &endpoint, parameters, asked, (peer, caller)).await
    };
    get(answer).fallback(only("GET, HEAD"))
}
