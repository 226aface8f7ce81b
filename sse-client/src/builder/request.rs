//! What is sent: method, URL, headers, body, and where to resume.

use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::Builder;
use crate::error::BuildError;
use crate::exchange::{LAST_EVENT_ID, Preparer, Provider};
use crate::request::{Position, TryRequest};
use crate::send::{BoxError, MaybeSend, MaybeSync};

impl Builder {
    /// The method of the request. Default: `GET`.
    ///
    /// With any other the default policy is [`Policy::Once`](sse_proto::Policy::Once): such a
    /// request may cost or change something, and is made again only if [`policy`](Self::policy) or
    /// [`SessionConfig::decide`](sse_proto::SessionConfig::decide) says so.
    ///
    /// A redirect by 303 turns it into a `GET` without a body, as do 301 and 302 after a `POST`;
    /// any other redirect repeats method and body. To another origin (scheme, host or port) the
    /// body is not sent: the stream is then [closed](crate::Closed::Status) with the status of
    /// the redirect, and the error says where it led to.
    pub fn method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    /// The body of the request; set `Content-Type` with [`header`](Self::header). It is not copied
    /// for a try, and kept for as long as the source lives.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// The body of the request, as JSON, and `Content-Type: application/json`, unless another one
    /// was set.
    #[cfg(feature = "json")]
    pub fn json(mut self, body: &impl serde::Serialize) -> Self {
        match serde_json::to_vec(body) {
            Ok(body) => {
                let json = HeaderValue::from_static("application/json");
                self.headers.entry(header::CONTENT_TYPE).or_insert(json);
                self.body(body)
            }
            Err(error) => {
                self.refuse(BuildError::Json { reason: error.to_string() });
                self
            }
        }
    }

    /// Adds parameters to the query of the URL, encoded as forms are.
    pub fn query<N, V>(mut self, parameters: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: AsRef<str>,
        V: AsRef<str>,
    {
        if let Ok(url) = &mut self.url {
            let mut parameters = parameters.into_iter().peekable();
            if parameters.peek().is_some() {
                url.query_pairs_mut().extend_pairs(parameters);
            }
        }
        self
    }

    /// Adds a header to every request. A redirect to another origin (scheme, host or port) drops
    /// it, whatever it is: any may be a secret. Only `Accept`, `Accept-Language`,
    /// `Accept-Encoding`, `Cache-Control` and `User-Agent` go along.
    ///
    /// A request names this crate as its `User-Agent`, unless one is set here or by a client that
    /// is given; some servers refuse requests without.
    pub fn header(mut self, name: impl AsRef<str>, value: impl AsRef<[u8]>) -> Self {
        match checked(name.as_ref(), value.as_ref()) {
            Ok((name, value)) => {
                self.headers.append(name, value);
            }
            Err(error) => self.refuse(error),
        }
        self
    }

    /// Sets `Authorization: Bearer TOKEN`, with what [`header`](Self::header) says.
    pub fn bearer_token(mut self, token: impl AsRef<str>) -> Self {
        let value = format!("Bearer {}", token.as_ref());
        match checked(header::AUTHORIZATION.as_str(), value.as_bytes()) {
            Ok((name, value)) => {
                self.headers.insert(name, value);
            }
            Err(error) => self.refuse(error),
        }
        self
    }

    /// Asks this function for headers before every try: for tokens that expire. They replace those
    /// of the same names, and a redirect to another origin drops them, too.
    ///
    /// A try in which it fails has [failed](sse_proto::Failure::Headers), and is followed by
    /// another one if the policy allows it. It counts towards the
    /// [`response_timeout`](sse_proto::SessionConfig::response_timeout). With such a function a
    /// status 401 is answered with one more request, whatever the policy; a second 401, without an
    /// open stream between them, is final.
    ///
    /// ```
    /// use sse_client::EventSource;
    /// use sse_client::http::header::{AUTHORIZATION, HeaderMap};
    ///
    /// # async fn fresh_token() -> Result<String, std::io::Error> { Ok(String::new()) }
    /// let builder = EventSource::builder("https://example.com/events/").headers_with(async || {
    ///     let mut headers = HeaderMap::new();
    ///     headers.insert(AUTHORIZATION, format!("Bearer {}", fresh_token().await?).parse()?);
    ///     Ok(headers)
    /// });
    /// ```
    pub fn headers_with<F, R>(mut self, provider: F) -> Self
    where
        F: Fn() -> R + MaybeSync,
        R: Future<Output = Result<HeaderMap, BoxError>> + MaybeSend + 'static,
    {
        self.provider = Some(Provider(Arc::new(move |()| Box::pin(provider()))));
        self
    }

    /// Lets this function change each request before it is sent: a URL with a token that expires,
    /// another one to resume by, another method or body. It runs after
    /// [`headers_with`](Self::headers_with), and fails as that does. A request of which it makes
    /// something else than a `GET` is made once, as with [`method`](Self::method).
    ///
    /// ```
    /// use sse_client::EventSource;
    ///
    /// // The answer of a model, resumed by another request than the one that has begun it.
    /// let url = "https://api.example/v1/responses/resp_1?stream=true";
    /// let builder = EventSource::get(url).request_with(async |mut request| {
    ///     if let Some(id) = request.take_last_event_id() {
    ///         request.url.query_pairs_mut().append_pair("starting_after", &id);
    ///     }
    ///     Ok(request)
    /// });
    /// ```
    pub fn request_with<F, R>(mut self, prepare: F) -> Self
    where
        F: Fn(TryRequest) -> R + MaybeSync,
        R: Future<Output = Result<TryRequest, BoxError>> + MaybeSend + 'static,
    {
        self.preparer = Some(Preparer(Arc::new(move |request| Box::pin(prepare(request)))));
        self
    }

    /// Sends the last event ID in this header, in place of `Last-Event-ID`.
    pub fn position_in_header(mut self, name: impl AsRef<str>) -> Self {
        match HeaderName::from_bytes(name.as_ref().as_bytes()) {
            Ok(name) => self.position = Position::Header(name),
            Err(_) => self.refuse(BuildError::HeaderName { name: name.as_ref().to_owned() }),
        }
        self
    }

    /// Sends the last event ID as this parameter of the query, in place of the header: for servers
    /// that look there (`lastEventID`, `lastEvent`, `since`), and pages whose other origin does not
    /// permit the header.
    pub fn position_in_query(mut self, name: impl Into<String>) -> Self {
        self.position = Position::Query(name.into());
        self
    }

    /// Adds a header that was checked before. One of the client's own is set otherwise.
    #[cfg(all(feature = "reqwest", not(target_family = "wasm")))]
    pub(crate) fn add(&mut self, name: HeaderName, mut value: HeaderValue) {
        if name == LAST_EVENT_ID {
            return self.refuse(BuildError::LastEventIdHeader);
        }
        value.set_sensitive(true);
        self.headers.append(name, value);
    }

    #[cfg(all(feature = "reqwest", not(target_family = "wasm")))]
    pub(crate) fn refused(mut self, error: BuildError) -> Self {
        self.refuse(error);
        self
    }
}

pub(super) fn checked(name: &str, value: &[u8]) -> Result<(HeaderName, HeaderValue), BuildError> {
    let header = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| BuildError::HeaderName { name: name.to_owned() })?;
    if header == LAST_EVENT_ID {
        return Err(BuildError::LastEventIdHeader);
    }
    let mut value = HeaderValue::from_bytes(value).map_err(|_| BuildError::HeaderValue {
        name: name.to_owned(),
        position: value
            .iter()
            .position(|&byte| byte.is_ascii_control() && byte != b'\t')
            .unwrap_or_default(),
    })?;
    // Any header may be a secret: none is shown by `Debug`, or kept in HTTP/2's compression tables.
    value.set_sensitive(true);
    Ok((header, value))
}
