//! The transport of any service that answers HTTP requests.

use std::fmt;
use std::future::poll_fn;

use bytes::Bytes;
use http_body::Body;
use tower_service::Service;

use super::{RequestBody, ResponseBody, Transport, TransportError};
use crate::send::{BoxError, BoxFuture, MaybeSend, MaybeSync};

/// A `tower::Service` as a transport: a stack of layers on some client, or an `axum::Router` in a
/// test.
///
/// It is cloned for each request. The service should follow no redirects, and decode no bodies.
#[derive(Clone)]
pub struct Tower<S>(S);

impl<S> Tower<S> {
    /// Asks this service.
    pub const fn new(service: S) -> Self {
        Self(service)
    }
}

impl<S, B> Transport for Tower<S>
where
    S: Service<http::Request<RequestBody>, Response = http::Response<B>>
        + Clone
        + MaybeSend
        + MaybeSync,
    S::Error: Into<BoxError> + MaybeSend,
    S::Future: MaybeSend,
    B: Body<Data = Bytes> + MaybeSend + 'static,
    B::Error: Into<BoxError>,
{
    fn send(
        &self,
        request: http::Request<RequestBody>,
    ) -> BoxFuture<Result<http::Response<ResponseBody>, TransportError>> {
        let mut service = self.0.clone();
        Box::pin(async move {
            let ready = poll_fn(|cx| service.poll_ready(cx)).await;
            ready.map_err(TransportError::unsent)?;
            let response = service.call(request).await.map_err(TransportError::broken)?;
            Ok(response.map(ResponseBody::new))
        })
    }
}

impl<S> fmt::Debug for Tower<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tower")
    }
}
