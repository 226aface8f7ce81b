//! How requests reach a server: HTTP clients, behind one small trait. A transport makes one
//! request, follows nothing, repeats nothing, and knows nothing of event streams.

mod body;
#[cfg(all(feature = "fetch", target_family = "wasm"))]
mod fetch;
#[cfg(all(feature = "hyper", not(target_family = "wasm")))]
mod hyper;
#[cfg(all(feature = "reqwest", not(target_family = "wasm")))]
mod reqwest;
#[cfg(feature = "tower")]
mod tower;

use std::fmt;
use std::sync::Arc;

use url::Url;

pub(crate) use self::body::Pieces;
pub use self::body::{RequestBody, ResponseBody};
#[cfg(all(feature = "fetch", target_family = "wasm"))]
pub use self::fetch::Fetch;
#[cfg(all(feature = "hyper", not(target_family = "wasm")))]
pub use self::hyper::Hyper;
#[cfg(all(feature = "reqwest", not(target_family = "wasm")))]
pub use self::reqwest::Reqwest;
#[cfg(feature = "tower")]
pub use self::tower::Tower;
use crate::send::{BoxError, BoxFuture, MaybeSync};

/// An HTTP client: what an [`EventSource`](crate::EventSource) asks with. Given to
/// [`Builder::transport`](crate::Builder::transport).
///
/// A request is made once: without following redirects, which is the source's, and without a time
/// limit but for connecting. The future is dropped to abort it, and the body to end the response.
/// A body that is coded, by a coding that the request has asked for, may be left to the source to
/// decode.
///
/// ```
/// use sse_client::http::{Request, Response};
/// use sse_client::transport::{RequestBody, ResponseBody, Transport, TransportError};
/// use sse_client::{BoxFuture, EventSource, runtime};
///
/// /// Answers each request with the same events.
/// struct Recorded(&'static str);
///
/// impl Transport for Recorded {
///     fn send(
///         &self,
///         _: Request<RequestBody>,
///     ) -> BoxFuture<Result<Response<ResponseBody>, TransportError>> {
///         let response = Response::builder().header("Content-Type", "text/event-stream");
///         let response = response.body(ResponseBody::from(self.0));
///         Box::pin(async move { response.map_err(TransportError::local) })
///     }
/// }
///
/// # #[cfg(feature = "tokio-runtime")]
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let builder = EventSource::get("http://recorded/").transport(Recorded("data: a\n\n"));
/// let mut events = builder.runtime(runtime::Tokio).events()?;
/// assert_eq!(events.next().await.unwrap()?.data(), "a");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
pub trait Transport: MaybeSync {
    /// Sends the request, and waits for the head of the response.
    ///
    /// # Errors
    ///
    /// The kind of a [`TransportError`] says what the server can have seen of it.
    fn send(
        &self,
        request: http::Request<RequestBody>,
    ) -> BoxFuture<Result<http::Response<ResponseBody>, TransportError>>;

    /// Whether it gives requests a `User-Agent` by itself, if they have none. Default: no; then
    /// the source gives them one.
    fn has_user_agent(&self) -> bool {
        false
    }
}

impl<T: Transport + ?Sized> Transport for Arc<T> {
    fn send(
        &self,
        request: http::Request<RequestBody>,
    ) -> BoxFuture<Result<http::Response<ResponseBody>, TransportError>> {
        (**self).send(request)
    }

    fn has_user_agent(&self) -> bool {
        (**self).has_user_agent()
    }
}

/// The URL of a response, in its extensions, if the transport cannot but follow redirects, as
/// browsers do.
#[derive(Clone, Debug)]
pub struct ResponseUrl(pub Url);

/// Why there is no response.
#[derive(Debug)]
pub struct TransportError {
    pub(crate) kind: Kind,
    pub(crate) cause: BoxError,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Unsent,
    NotConnected,
    Broken,
    Local,
}

impl TransportError {
    /// There is no connection, so no server has seen the request.
    pub fn unsent(cause: impl Into<BoxError>) -> Self {
        Self { kind: Kind::Unsent, cause: cause.into() }
    }

    /// The same, since connecting has taken too long.
    pub fn not_connected_in_time(cause: impl Into<BoxError>) -> Self {
        Self { kind: Kind::NotConnected, cause: cause.into() }
    }

    /// It broke, and a server may have seen the request.
    pub fn broken(cause: impl Into<BoxError>) -> Self {
        Self { kind: Kind::Broken, cause: cause.into() }
    }

    /// The request cannot be made as it is, whatever the server: it is not tried again.
    pub fn local(cause: impl Into<BoxError>) -> Self {
        Self { kind: Kind::Local, cause: cause.into() }
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

impl std::error::Error for TransportError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.source()
    }
}

/// A name for a client that has none of its own: servers refuse requests without.
pub(crate) const USER_AGENT: &str =
    concat!("ssekit-client/", env!("CARGO_PKG_VERSION"), " (+", env!("CARGO_PKG_REPOSITORY"), ")");
