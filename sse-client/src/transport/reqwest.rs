//! The transport of reqwest.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use ::reqwest::redirect::Policy;
use ::reqwest::{Body, Client, ClientBuilder, Error};
use bytes::Bytes;
use http::Uri;
use http_body::Body as _;
use hyper_util::client::proxy::matcher::Matcher;
use url::Url;

use super::{
    Pieces, RequestBody, ResponseBody, ResponseUrl, Transport, TransportError, USER_AGENT,
};
use crate::error::BuildError;
use crate::send::{BoxError, BoxFuture};

/// How often a peer that is silent is asked whether it is still there. Three answers that do not
/// come mean that it is not.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How many headers a response may have. Beyond, it is malice.
const MAX_HEADERS: usize = 1000;

/// reqwest's client as a transport.
#[derive(Clone, Debug)]
pub struct Reqwest(Client);

impl Reqwest {
    /// The default client.
    pub(crate) fn with_defaults(connect_timeout: Duration) -> Result<Self, BuildError> {
        let client = Self::client_builder(connect_timeout).build();
        let client = client.map_err(|error| BuildError::Client { reason: described(&error) })?;
        Ok(Self(client))
    }

    /// What the default client is made of, to be set further: certificates, proxies. Give the
    /// client to [`Builder::client`](crate::Builder::client).
    ///
    /// It follows no redirects, names itself, asks a silent peer every 15 s whether it is still
    /// there, by TCP and HTTP/2, and forgives what old servers do to headers.
    pub fn client_builder(connect_timeout: Duration) -> ClientBuilder {
        let client = Client::builder()
            .redirect(Policy::none())
            .connect_timeout(connect_timeout)
            .user_agent(USER_AGENT)
            .tcp_keepalive(KEEP_ALIVE)
            .tcp_keepalive_interval(KEEP_ALIVE)
            .tcp_keepalive_retries(3)
            // RFC 9112, section 5.2: a user agent MUST replace obs-fold by spaces.
            .http1_allow_obsolete_multiline_headers_in_responses(true)
            .http1_max_headers(MAX_HEADERS);
        #[cfg(feature = "http2")]
        let client =
            client.http2_keep_alive_interval(KEEP_ALIVE).http2_keep_alive_timeout(KEEP_ALIVE);
        client
    }
}

impl From<Client> for Reqwest {
    /// See [`Builder::client`](crate::Builder::client) for what it should be like.
    fn from(client: Client) -> Self {
        Self(client)
    }
}

impl Transport for Reqwest {
    fn send(
        &self,
        request: http::Request<RequestBody>,
    ) -> BoxFuture<Result<http::Response<ResponseBody>, TransportError>> {
        let request = request.map(|body| {
            if RequestBody::is_short(body.len()) {
                // It can be sent again, should the caller's client follow redirects.
                Body::from(body.into_bytes())
            } else {
                Body::wrap(body)
            }
        });
        let client = self.0.clone();
        Box::pin(async move {
            let mut request = ::reqwest::Request::try_from(request).map_err(refused)?;
            if request.body().and_then(Body::as_bytes).is_some_and(<[u8]>::is_empty) {
                *request.body_mut() = None;
            }
            let response = client.execute(request).await.map_err(refused)?;
            let url = response.url().clone();
            let mut response = http::Response::from(response).map(|body| {
                // The URL may hold a token, and is told elsewhere.
                ResponseBody::of(Unnamed(body))
            });
            response.extensions_mut().insert(ResponseUrl(url));
            Ok(response)
        })
    }

    /// The default one has; and that of a caller's client is the caller's.
    fn has_user_agent(&self) -> bool {
        true
    }
}

/// A body whose errors do not tell the URL.
struct Unnamed(Body);

impl Pieces for Unnamed {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BoxError>>> {
        let frame = Pin::new(&mut self.0).poll_frame(cx);
        frame
            .map_ok(|frame| frame.into_data().unwrap_or_default())
            .map_err(|error| error.without_url().into())
    }
}

/// There is no connection, and perhaps it is the proxy that is not there: a server that is down
/// looks the same.
#[derive(Debug, thiserror::Error)]
#[error("the environment names the proxy {proxy}")]
struct Proxied {
    proxy: Uri,
    source: Error,
}

/// The proxy that clients of reqwest's take for this URL, unless they are told otherwise. It is
/// found by what they find it with.
fn proxy(url: &Url) -> Option<Uri> {
    let url = url.as_str().parse().ok()?;
    Some(Matcher::from_system().intercept(&url)?.uri().clone())
}

fn refused(error: Error) -> TransportError {
    let (is_connect, is_timeout) = (error.is_connect(), error.is_timeout());
    let is_local = error.is_builder();
    let proxy = error.url().filter(|_| is_connect).and_then(proxy);
    let error = error.without_url();
    let error: BoxError = match proxy {
        Some(proxy) => Proxied { proxy, source: error }.into(),
        None => error.into(),
    };
    match (is_connect, is_timeout) {
        _ if is_local => TransportError::local(error),
        (true, true) => TransportError::not_connected_in_time(error),
        (true, false) => TransportError::unsent(error),
        (false, _) => TransportError::broken(error),
    }
}

fn described(error: &Error) -> String {
    crate::error::describe(&"reqwest", std::error::Error::source(error), "")
}
