//! What the server answers over HTTP: streams, the publish API, the live page, health.
//!
//! May enter: the hub. May not: SQL, and any decision about what a subscriber has missed. The bytes
//! of the stream are django-eventstream's; `docs/protocol.md` describes them.

mod admin;
mod cors;
mod error;
mod hosts;
mod limits;
mod publishing;
mod server;
mod streams;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{DefaultBodyLimit, OriginalUri, RawPathParams, Request, State};
use axum::http::HeaderMap;
use axum::http::{Method, StatusCode, Uri, header};
use axum::middleware;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{MethodRouter, any, get, post};
use axum::{Extension, Router};

use crate::access::{Access, PublishToken, Publishers};
use crate::hub::{Hub, MAX_EVENT_LEN};
pub use admin::metrics::metrics_router;
use admin::{health, metrics, presence};
pub use cors::{Cors, CorsError};
use error::Refusal;
pub use limits::Limits;
use publishing::{permissions, publish};
use server::caller::Caller;
pub use server::caller::Peer;
pub use server::listener::listen;
pub use server::operations::Operations;
pub use server::serve::{serve, serve_with};
pub use server::tls::{Tls, TlsError};
pub use streams::compression::Coding;
pub use streams::endpoint::{Endpoint, EndpointError, Endpoints};
use streams::{events, page};

/// The largest publish request in bytes, whatever the limit for one event.
const MAX_REQUEST: usize = 16 << 20;

/// What the HTTP side of a server needs to know.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[must_use]
pub struct HttpConfig {
    publishers: Publishers,
    access: Option<Access>,
    keep_alive: Duration,
    max_event_len: usize,
    endpoints: Endpoints,
    cors: Option<Arc<Cors>>,
    limits: Limits,
    operations: Operations,
    has_metrics: bool,
}

impl HttpConfig {
    /// The default settings. Whoever knows the token may publish to all channels, and say that permissions
    /// have changed.
    pub fn new(publish_token: impl Into<String>) -> Self {
        Self {
            publishers: Publishers::new(vec![PublishToken::for_all(publish_token)]),
            access: None,
            keep_alive: Duration::from_secs(20),
            max_event_len: MAX_EVENT_LEN,
            endpoints: Endpoints::default(),
            cors: None,
            limits: Limits::default(),
            operations: Operations::default(),
            has_metrics: true,
        }
    }

    /// Which pages of other origins may read streams. Default: none, only those of the server's own.
    pub fn cors(mut self, cors: Cors) -> Self {
        self.cors = Some(Arc::new(cors));
        self
    }

    /// How large requests may be. Default: that of [`Limits`].
    pub const fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Where streams are. Default: at `/events/` and `/events/{channel}/`.
    pub fn endpoints(mut self, endpoints: Endpoints) -> Self {
        self.endpoints = endpoints;
        self
    }

    /// Another token with which one may publish.
    pub fn publish_token(self, token: PublishToken) -> Self {
        self.publishers.push(token);
        self
    }

    /// The tokens with which one may publish, to exchange them later.
    pub const fn publishers(&self) -> &Publishers {
        &self.publishers
    }

    /// Who may read which channels. Default: everyone may read all.
    pub fn access(mut self, access: Access) -> Self {
        self.access = Some(access);
        self
    }

    /// The limits for streams, and where requests are counted. Give the same to [`serve_with`].
    pub fn operations(mut self, operations: Operations) -> Self {
        self.operations = operations;
        self
    }

    /// No `/metrics`: they are told elsewhere, by [`metrics_router`].
    pub const fn without_metrics(mut self) -> Self {
        self.has_metrics = false;
        self
    }

    /// How long a stream is silent before a keep-alive is sent. Default: 20 s, as django-eventstream;
    /// clients take a stream for dead after about twice that.
    pub const fn keep_alive(mut self, period: Duration) -> Self {
        self.keep_alive = period;
        self
    }

    /// The most bytes that the type and the data of a published event may have together. Default:
    /// 1 MiB. Everyone who reads the channel gets them all, so a larger limit is paid many times.
    pub const fn max_event_len(mut self, bytes: usize) -> Self {
        self.max_event_len = bytes;
        self
    }
}

/// What every handler has at hand.
#[derive(Debug)]
struct App {
    hub: Hub,
    config: HttpConfig,
}

/// The routes of a server over this hub, to be served by [`serve`] or within another axum
/// application.
pub fn router(hub: Hub, config: HttpConfig) -> Router {
    let app = Arc::new(App { hub, config });
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
    let others = others
        .route("/permissions/changed", post(permissions::changed).fallback(only("POST")))
        .route("/permissions/changed/", post(permissions::changed).fallback(only("POST")))
        .route("/channels", any(with_slash))
        .route("/channels/", get(presence::channels).fallback(only("GET, HEAD")))
        .route("/page/client.js", get(page::client).fallback(only("GET, HEAD")))
        .route("/health/live", get(health::live).fallback(only("GET, HEAD")))
        .route("/health/ready", get(health::ready).fallback(only("GET, HEAD")))
        .fallback(unknown_path);
    // What a page of another origin may read includes the refusals of a request that is too large.
    let limited = middleware::from_fn_with_state(app.clone(), limits::check);
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
    others
        .layer(limited)
        .merge(streams)
        .merge(publishing)
        .layer(DefaultBodyLimit::max(MAX_REQUEST))
        .layer(middleware::from_fn_with_state(app.clone(), metrics::count))
        .with_state(app)
}

/// Where streams are.
fn stream(endpoint: Arc<Endpoint>) -> MethodRouter<Arc<App>> {
    let answer = async move |State(app): State<Arc<App>>,
                             parameters: Result<RawPathParams, RawPathParamsRejection>,
                             here: Uri,
                             OriginalUri(uri): OriginalUri,
                             peer: Option<Extension<Peer>>,
                             caller: Option<Extension<Caller>>,
                             headers: HeaderMap| {
        let uris = (&here, &uri);
        events::answer(&app, &endpoint, parameters, uris, (peer, caller), &headers).await
    };
    get(answer).fallback(only("GET, HEAD"))
}

/// Leads from a path without its final slash to the one with it, method, body and query included. By a relative
/// reference, because a proxy may have left out the first part of the path (RFC 9110, section 10.2.2).
async fn with_slash(OriginalUri(uri): OriginalUri) -> Response {
    let last = uri.path().rsplit('/').next().unwrap_or_default();
    // Browsers take a backslash for a slash.
    let last = last.replace('\\', "%5C");
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    // The dot, because what has a colon before its first slash is a scheme.
    Redirect::permanent(&format!("./{last}/{query}")).into_response()
}

/// Answers the methods that a path does not have.
fn only(
    allowed: &'static str,
) -> impl Fn(Method) -> std::future::Ready<Response> + Clone + Send + Sync + 'static {
    move |method| {
        let allow = [(header::ALLOW, allowed)];
        std::future::ready(if method == Method::OPTIONS {
            (StatusCode::NO_CONTENT, allow).into_response()
        } else {
            let text = format!("{method} is not possible here; use {allowed}");
            let refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", text);
            (allow, refusal).into_response()
        })
    }
}

async fn unknown_path(State(app): State<Arc<App>>, request: Request) -> Refusal {
    // The paths with their parameters, and what they are good for where it is not plain.
    let places = app.config.endpoints.iter().map(|(endpoint, is_default)| match endpoint.path() {
        path @ "/events/" if is_default => format!("{path}?channel=NAME"),
        path => path.replace("{channel}", "NAME"),
    });
    let places = places.collect::<Vec<_>>().join(", ");
    let text = format!(
        "there is nothing at {}; streams are at {places}, publishing is POST /publish/",
        request.uri().path()
    );
    Refusal::new(StatusCode::NOT_FOUND, "not-found", text)
}
