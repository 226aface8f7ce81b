//! How an event source is set up. Everything that can be wrong about it is found here.

mod session;

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, Url, redirect};
use sse_proto::{Policy, SessionConfig};

use crate::error::{describe, place};
use crate::source::EventSource;
use crate::transport::{LAST_EVENT_ID, Provider, Target};

/// How much of a refusal's body is kept, in bytes.
const MAX_ERROR_BODY: usize = 4096;

/// Sets up an [`EventSource`]; made by [`EventSource::builder`].
///
/// ```
/// use std::time::Duration;
/// use sse_client::EventSource;
///
/// let source = EventSource::builder("http://localhost:8080/events/?channel=news")
///     .bearer_token("secret")
///     .header("Accept-Language", "de")
///     .last_event_id("news:17")
///     .idle_timeout(Some(Duration::from_secs(90)))
///     .build()?;
/// assert_eq!(source.last_event_id(), Some("news:17"));
/// # Ok::<(), sse_client::BuildError>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct Builder {
    url: Result<Url, BuildError>,
    client: Option<Client>,
    method: Method,
    headers: HeaderMap,
    provider: Option<Provider>,
    body: Option<Bytes>,
    max_error_body: usize,
    last_event_id: Option<String>,
    config: SessionConfig,
    /// The first thing that was wrong.
    error: Option<BuildError>,
}

/// Why an event source cannot be set up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The URL cannot be read.
    #[error("bad URL: {reason}")]
    Url {
        /// What is wrong with it.
        reason: String,
    },
    /// The URL is none of `http` or `https`.
    #[error("the scheme of the URL is {scheme:?}; http or https is needed")]
    Scheme {
        /// What it is instead.
        scheme: String,
    },
    /// The URL is `https`, but this crate was built without TLS. Enable the feature `rustls` or
    /// `native-tls`, or give a [client](Builder::client) that has it.
    #[error("https needs the feature rustls or native-tls of sse-client")]
    NoTls,
    /// A header's name has a character that no name can have.
    #[error("{name:?} cannot be the name of a header")]
    HeaderName {
        /// The name.
        name: String,
    },
    /// A header's value has a control character.
    #[error("the value of header {name} has a control character at byte {position}")]
    HeaderValue {
        /// The name of the header.
        name: String,
        /// Where in the value, as an offset in bytes.
        position: usize,
    },
    /// `Last-Event-ID` was set as a header, where it would never change. Use
    /// [`Builder::last_event_id`].
    #[error("the header Last-Event-ID is set with last_event_id")]
    LastEventIdHeader,
    /// The body cannot be written as JSON.
    #[cfg(feature = "json")]
    #[error("the body cannot be written as JSON: {reason}")]
    Json {
        /// What serde says.
        reason: String,
    },
    /// The default HTTP client cannot be made, for example for lack of certificates.
    #[error("no HTTP client: {reason}")]
    Client {
        /// What reqwest says.
        reason: String,
    },
}

impl Builder {
    pub(crate) fn new(url: &str) -> Self {
        Self {
            url: parse(url),
            client: None,
            method: Method::GET,
            headers: HeaderMap::new(),
            provider: None,
            body: None,
            max_error_body: MAX_ERROR_BODY,
            last_event_id: None,
            config: SessionConfig::default(),
            error: None,
        }
    }

    /// Uses this HTTP client, for its proxies, certificates, cookies or connection pool.
    ///
    /// It should have no total timeout, which would end every stream, and follow no redirects
    /// ([`Policy::none`](redirect::Policy::none)): those that it follows itself are out of this
    /// crate's hands, and carry headers other than `Authorization` and `Cookie` to other origins.
    pub fn client(mut self, client: Client) -> Self {
        self.client = Some(client);
        self
    }

    /// The method of the request. Default: `GET`.
    ///
    /// With any other the default policy is [`Policy::Once`]: such a request may cost or change
    /// something, and is made again only if [`policy`](Self::policy) or [`decide`](Self::decide) says
    /// so.
    ///
    /// A redirect by 303 turns it into a `GET` without a body, as do 301 and 302 after a `POST`; any
    /// other redirect repeats method and body. To another origin (scheme, host or port) the body is not
    /// sent: the stream is then [closed](crate::Closed::Status) with the status of the redirect,
    /// and the error says where it led to.
    pub fn method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    /// The body of the request; `Content-Type` is to be set with [`header`](Self::header). It is not
    /// copied for a try, and held for as long as the source lives.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// The body of the request, as JSON, and `Content-Type: application/json`, unless another one was
    /// set.
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

    /// Adds a header to every request. A redirect to another origin (scheme, host or port) drops it.
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

    /// Asks this function for headers before every try: for tokens that expire. They replace those of
    /// the same names, and a redirect to another origin drops them, too.
    ///
    /// A try in which it fails has [failed](sse_proto::Failure::Headers), and is followed by another
    /// one if the policy allows it. It counts towards the [connect
    /// timeout](Self::connect_timeout). With such a function a status 401 is answered with one more
    /// request, whatever the policy; a second 401, without an open stream between them, is final.
    ///
    /// ```
    /// use sse_client::EventSource;
    /// use sse_client::reqwest::header::{AUTHORIZATION, HeaderMap};
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
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<HeaderMap, Box<dyn StdError + Send + Sync>>> + Send + 'static,
    {
        self.provider = Some(Provider(Arc::new(move || Box::pin(provider()))));
        self
    }

    /// Continues from an id that was stored when the program last ran; see
    /// [`EventSource::last_event_id`]. An empty one is the same as none.
    pub fn last_event_id(mut self, id: impl Into<String>) -> Self {
        self.last_event_id = Some(id.into()).filter(|id| !id.is_empty());
        self
    }

    /// How much is kept of the body of a response that is no event stream, in bytes; see
    /// [`EventSource::last_refusal`] and [`ClosedError::body`](crate::ClosedError::body). Default:
    /// 4 KiB. It is waited for at most two seconds, and read only if it is to be kept.
    pub fn max_error_body(mut self, bytes: usize) -> Self {
        self.max_error_body = bytes;
        self
    }

    /// The event source. It connects when it is first polled.
    ///
    /// # Errors
    ///
    /// A [`BuildError`] for the first thing that is wrong: the URL, a header, or the default client.
    pub fn build(self) -> Result<EventSource, BuildError> {
        let url = self.url?;
        if let Some(error) = self.error {
            return Err(error);
        }
        let client = match self.client {
            Some(client) => client,
            None => default_client(&url)?,
        };
        let is_get = self.method == Method::GET;
        let policy = if is_get { Policy::Resilient } else { Policy::Once };
        let config = self.config.default_policy(policy);
        let config = config.fresh_credentials(self.provider.is_some());
        let Self { method, headers, provider, body, .. } = self;
        let target = Target { client, method, url, headers, provider, body };
        Ok(EventSource::new(target, config, self.last_event_id, self.max_error_body))
    }

    fn refuse(&mut self, error: BuildError) {
        self.error.get_or_insert(error);
    }
}

/// Shows neither headers nor credentials.
impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("method", &self.method)
            .field("url", &self.url.as_ref().map(place))
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

fn parse(url: &str) -> Result<Url, BuildError> {
    let url = Url::parse(url).map_err(|error| BuildError::Url { reason: error.to_string() })?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        scheme => Err(BuildError::Scheme { scheme: scheme.to_owned() }),
    }
}

fn checked(name: &str, value: &[u8]) -> Result<(HeaderName, HeaderValue), BuildError> {
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

fn default_client(url: &Url) -> Result<Client, BuildError> {
    if url.scheme() == "https" && !cfg!(any(feature = "rustls", feature = "native-tls")) {
        return Err(BuildError::NoTls);
    }
    let client = Client::builder().redirect(redirect::Policy::none());
    client
        .build()
        .map_err(|error| BuildError::Client { reason: describe(&error, error.source(), "") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_named_when_it_is_built() {
        let start = || Builder::new("http://localhost/");
        for (builder, message) in [
            (Builder::new("events"), "bad URL: relative URL without a base"),
            (
                Builder::new("ftp://localhost/"),
                "the scheme of the URL is \"ftp\"; http or https is needed",
            ),
            (
                start().header("X Y", "z").header("X", "\n"),
                "\"X Y\" cannot be the name of a header",
            ),
            (
                start().header("X-Key", "a\nb"),
                "the value of header X-Key has a control character at byte 1",
            ),
            (
                start().bearer_token("s\u{7f}"),
                "the value of header authorization has a control character at byte 8",
            ),
            (
                start().header("last-event-id", "7"),
                "the header Last-Event-ID is set with last_event_id",
            ),
        ] {
            let error = builder.build().expect_err("refused");
            assert_eq!(error.to_string(), message);
        }
    }

    #[test]
    fn https_without_tls_is_refused_unless_the_client_has_it() {
        let builder = Builder::new("https://localhost/");
        let has_tls = cfg!(any(feature = "rustls", feature = "native-tls"));
        assert_eq!(builder.clone().build().is_ok(), has_tls);
        assert!(builder.client(Client::new()).build().is_ok());
    }

    #[test]
    fn secrets_are_not_shown() {
        let builder = Builder::new("http://u:secret@localhost/?token=secret");
        let builder = builder.bearer_token("secret").header("X-Key", "secret");
        assert!(!format!("{builder:?}").contains("secret"));
    }
}
