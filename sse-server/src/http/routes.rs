//! Which path is answered by what.

use std::sync::Arc;

use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{DefaultBodyLimit, OriginalUri, RawPathParams, Request, State};
use axum::http::request::Parts;
use axum::response::Redirect;
use axum::routing::{MethodRouter, any, get, post};
use axum::{Router, middleware};

#[cfg(feature = "server")]
use super::admin::metrics;
use super::admin::{count::count, health, presence};
use super::app::{App, HttpConfig, MAX_REQUEST};
#[cfg(feature = "server")]
use super::cors;
use super::fallbacks::{only, unknown_path, with_slash};
use super::publishing::{permissions, publish};
use super::streams::endpoint::Endpoint;
#[cfg(feature = "server")]
use super::streams::held;
use super::streams::{events, page};
use super::{hosts, limits};
use crate::hub::Hub;

/// The routes of a server over this hub, to be served by [`serve`](super::serve) or within another
/// axum application.
pub fn router(hub: Hub, config: HttpConfig) -> Router {
    routes(Arc::new(App::new(hub, config)))
}

/// The routes of a server of its own.
pub(super) fn routes(app: Arc<App>) -> Router {
    let mut streams = streams(&app);
    if app.config.endpoints.has_defaults() {
        let to_events = get(|| async { Redirect::temporary("./events/") });
        streams = streams.route("/", to_events.fallback(only("GET, HEAD")));
    }
    let mut others = others(&app).merge(publishers_routes());
    #[cfg(feature = "server")]
    if app.config.has_metrics {
        others = others.route("/metrics", get(metrics::metrics).fallback(only("GET, HEAD")));
    }
    others = others
        .route("/page/client.js", get(page::client).fallback(only("GET, HEAD")))
        .merge(health_routes())
        .fallback(unknown_path);
    let mut all = limited(&app, streams, publishing(), others);
    let base = &app.config.base_path;
    if !base.is_empty() {
        // Health is where it is always looked for, too.
        let limits = middleware::from_fn_with_state(app.config.limits, limits::check);
        let outside = health_routes().fallback(unknown_path).layer(limits);
        all = outside.route(base, any(with_slash)).nest(&format!("{base}/"), all);
    }
    served(all, app)
}

/// The routes of a hub within another application: nothing at `/`, nothing for paths that are not
/// its own, no health; and no publishing, unless there are tokens for it.
pub(crate) fn embedded(hub: Hub, config: HttpConfig) -> Router {
    let app = Arc::new(App::new(hub, config));
    let (mut publish, mut others) = (Router::new(), others(&app));
    if !app.config.publishers.is_empty() {
        publish = publishing();
        others = others.merge(publishers_routes());
    }
    if page::HAS_CLIENT {
        others = others.route("/page/client.js", get(page::client).fallback(only("GET, HEAD")));
    }
    let all = limited(&app, streams(&app), publish, others);
    served(all, app)
}

/// Where streams are.
fn streams(app: &App) -> Router<Arc<App>> {
    let endpoints = &app.config.endpoints;
    // A part of a path may begin with a colon or a star.
    let mut streams = Router::new().without_v07_checks();
    for (endpoint, _) in endpoints.iter() {
        streams = streams.route(endpoint.path(), stream(endpoint.clone()));
    }
    for path in endpoints.without_slash() {
        streams = streams.route(&path, any(with_slash));
    }
    streams
}

fn publishing() -> Router<Arc<App>> {
    Router::new()
        .route("/publish", any(with_slash))
        .route("/publish/", post(publish::publish).fallback(only("POST")))
}

/// What publishers may, beside publishing.
fn publishers_routes() -> Router<Arc<App>> {
    Router::new()
        .route("/permissions/changed", post(permissions::changed).fallback(only("POST")))
        .route("/permissions/changed/", post(permissions::changed).fallback(only("POST")))
        .route("/channels", any(with_slash))
        .route("/channels/", get(presence::channels).fallback(only("GET, HEAD")))
}

/// What proxies ask for, if they hold streams.
#[cfg_attr(not(feature = "server"), expect(unused_variables, reason = "no proxy holds streams"))]
fn others(app: &App) -> Router<Arc<App>> {
    #[cfg(feature = "server")]
    if app.grip.is_some() {
        return Router::new()
            .route("/grip/next/{token}", get(held::next))
            .route("/grip/public/{channels}", get(held::public));
    }
    Router::new()
}

/// All routes, with what is looked at before they are asked.
fn limited(
    app: &Arc<App>,
    streams: Router<Arc<App>>,
    publishing: Router<Arc<App>>,
    others: Router<Arc<App>>,
) -> Router<Arc<App>> {
    // What a page of another origin may read includes the refusals of a request that is too large.
    let limits = middleware::from_fn_with_state(app.config.limits, limits::check);
    let streams = streams.layer(middleware::from_fn_with_state(app.clone(), hosts::check));
    let (streams, publishing) = (streams.layer(limits.clone()), publishing.layer(limits.clone()));
    #[cfg(feature = "server")]
    let (streams, publishing) = shared(app, streams, publishing);
    others.layer(limits).merge(streams).merge(publishing)
}

/// What pages of other origins may read.
#[cfg(feature = "server")]
fn shared(
    app: &App,
    mut streams: Router<Arc<App>>,
    mut publishing: Router<Arc<App>>,
) -> (Router<Arc<App>>, Router<Arc<App>>) {
    if let Some(cors) = &app.config.cors {
        let shared = |methods| middleware::from_fn_with_state((cors.clone(), methods), cors::apply);
        streams = streams.layer(shared("GET, HEAD"));
        if cors.publish {
            publishing = publishing.layer(shared("POST"));
        }
    }
    (streams, publishing)
}

fn served(all: Router<Arc<App>>, app: Arc<App>) -> Router {
    all.layer(DefaultBodyLimit::max(MAX_REQUEST))
        .layer(middleware::from_fn_with_state(app.clone(), count))
        .with_state(app)
}

fn health_routes() -> Router<Arc<App>> {
    Router::new()
        .route("/health/live", get(health::live).fallback(only("GET, HEAD")))
        .route("/health/ready", get(health::ready).fallback(only("GET, HEAD")))
}

/// A place of streams.
fn stream(endpoint: Arc<Endpoint>) -> MethodRouter<Arc<App>> {
    let answer = async move |State(app): State<Arc<App>>,
                             parameters: Result<RawPathParams, RawPathParamsRejection>,
                             OriginalUri(uri): OriginalUri,
                             request: Request| {
        let (parts, _) = request.into_parts();
        let Parts { method, uri: here, headers, .. } = &parts;
        let asked = events::Asked { method, here, uri: &uri, headers, parts: &parts };
        events::answer(&app, &endpoint, parameters, asked).await
    };
    get(answer).fallback(only("GET, HEAD"))
}
