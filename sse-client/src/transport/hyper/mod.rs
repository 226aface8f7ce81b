//! The transport of hyper-util's client, without reqwest.

mod driven;

use std::fmt;
use std::time::Duration;

use http::Version;
use http_body::Body;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::TokioTimer;

use self::driven::{Driven, Spawner};
use super::{RequestBody, ResponseBody, Transport, TransportError};
use crate::send::{BoxError, BoxFuture};

/// How often a peer that is silent is asked whether it is still there. Three answers that do not
/// come mean that it is not.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How many headers a response may have. Beyond, it is malice.
const MAX_HEADERS: usize = 1000;

/// hyper-util's client as a transport, with any connector. It knows no proxies.
///
/// The [default](Self::new) one speaks `http`, and with the feature `hyper-rustls` `with_rustls`
/// makes one that speaks `https` too.
#[derive(Clone)]
pub struct Hyper<C = HttpConnector>(Client<C, RequestBody>);

impl Hyper {
    /// A client for `http`. `connect_timeout` is for each address that a name has, together.
    pub fn new(connect_timeout: Duration) -> Self {
        Self::with_connector(connector(connect_timeout))
    }
}

#[cfg(feature = "hyper-rustls")]
impl Hyper<hyper_rustls::HttpsConnector<HttpConnector>> {
    /// A client for `http` and `https`, with the system's certificates.
    ///
    /// # Errors
    ///
    /// If rustls cannot be set up.
    pub fn with_rustls(connect_timeout: Duration) -> std::io::Result<Self> {
        let mut http = connector(connect_timeout);
        http.enforce_http(false);
        let https = hyper_rustls::HttpsConnectorBuilder::new()
            .try_with_platform_verifier()
            .map_err(std::io::Error::other)?
            .https_or_http();
        #[cfg(feature = "http2")]
        let https = https.enable_all_versions();
        #[cfg(not(feature = "http2"))]
        let https = https.enable_http1();
        Ok(Self::with_connector(https.wrap_connector(http)))
    }
}

impl<C: Connect + Clone + Send + Sync + 'static> Hyper<C> {
    /// A client that connects with this.
    pub fn with_connector(connector: C) -> Self {
        let mut builder = Client::builder(Spawner);
        builder.pool_timer(TokioTimer::new()).timer(TokioTimer::new());
        // RFC 9112, section 5.2: a user agent MUST replace obs-fold by spaces.
        builder.http1_allow_obsolete_multiline_headers_in_responses(true);
        builder.http1_max_headers(MAX_HEADERS);
        #[cfg(feature = "http2")]
        builder.http2_keep_alive_interval(KEEP_ALIVE).http2_keep_alive_timeout(KEEP_ALIVE);
        Self(builder.build(connector))
    }
}

impl<C> From<Client<C, RequestBody>> for Hyper<C> {
    fn from(client: Client<C, RequestBody>) -> Self {
        Self(client)
    }
}

impl<C: Connect + Clone + Send + Sync + 'static> Transport for Hyper<C> {
    fn send(
        &self,
        request: http::Request<RequestBody>,
    ) -> BoxFuture<Result<http::Response<ResponseBody>, TransportError>> {
        let response = self.0.request(request);
        Box::pin(async move { Ok(body(response.await.map_err(refused)?)) })
    }
}

impl<C> fmt::Debug for Hyper<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hyper")
    }
}

fn connector(connect_timeout: Duration) -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(connect_timeout));
    connector.set_nodelay(true);
    connector.set_keepalive(Some(KEEP_ALIVE));
    connector.set_keepalive_interval(Some(KEEP_ALIVE));
    connector.set_keepalive_retries(Some(3));
    connector
}

fn body<B>(response: http::Response<B>) -> http::Response<ResponseBody>
where
    B: Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    // A connection of HTTP/2 has other readers, and must answer pings when nobody reads.
    let is_shared = response.version() >= Version::HTTP_2;
    response.map(|body| {
        if is_shared { ResponseBody::new(body) } else { ResponseBody::of(Driven::new(body)) }
    })
}

fn refused(error: Error) -> TransportError {
    if !error.is_connect() {
        return TransportError::broken(error);
    }
    let mut cause: Option<&dyn std::error::Error> = Some(&error);
    while let Some(error) = cause {
        let io = error.downcast_ref::<std::io::Error>();
        if io.is_some_and(|error| error.kind() == std::io::ErrorKind::TimedOut) {
            return TransportError::not_connected_in_time(error.to_string());
        }
        cause = error.source();
    }
    TransportError::unsent(error)
}
