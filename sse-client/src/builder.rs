//! How an event source is set up. Everything that can be wrong about it is found here.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, Url, redirect};
use sse_proto::{Policy, SessionConfig, Terminator};

use crate::error::{BuildError, describe, place};
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
///     .session(|config| config.idle_timeout(Some(Duration::from_secs(90))))
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

/// How to get one.
impl EventSource {
    /// An event source for this URL, with the default configuration.
    ///
    /// # Errors
    ///
    /// If the URL is neither `http` nor `https`, or the HTTP client cannot be made.
    pub fn get(url: impl AsRef<str>) -> Result<Self, BuildError> {
        Self::builder(url).build()
    }

    /// Sets up an event source for this URL.
    pub fn builder(url: impl AsRef<str>) -> Builder {
        Builder::new(url.as_ref())
    }

    /// Sets up a `POST`, to be made once: see [`Builder::method`]. For a language model, say; its
    /// body is set with [`Builder::body`] or, with the feature `json`, `Builder::json`.
    pub fn post(url: impl AsRef<str>) -> Builder {
        Self::builder(url).method(Method::POST)
    }

    /// Sets up an event source for these channels of a server that speaks the protocol of
    /// django-eventstream, as `sse-server` does: one `channel` parameter in the query for each.
    ///
    /// ```
    /// # use sse_client::EventSource;
    /// let channels = ["news", "für alle"];
    /// let source = EventSource::channels("https://example.com/events/", channels).build()?;
    /// let url = "https://example.com/events/?channel=news&channel=f%C3%BCr+alle";
    /// assert_eq!(source.url().as_str(), url);
    /// # Ok::<(), sse_client::BuildError>(())
    /// ```
    pub fn channels<C: AsRef<str>>(
        url: impl AsRef<str>,
        channels: impl IntoIterator<Item = C>,
    ) -> Builder {
        Self::builder(url).query(channels.into_iter().map(|channel| ("channel", channel)))
    }
}

impl Builder {
    fn new(url: &str) -> Self {
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
    /// something, and is made again only if [`policy`](Self::policy) or
    /// [`SessionConfig::decide`] says so.
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
    /// it.
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
    /// another one if the policy allows it. It counts towards the [connect
    /// timeout](SessionConfig::connect_timeout). With such a function a status 401 is answered with
    /// one more request, whatever the policy; a second 401, without an open stream between them, is
    /// final.
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
    /// 4 KiB, for which it waits at most two seconds; with 0 it reads nothing of the body.
    pub fn max_error_body(mut self, bytes: usize) -> Self {
        self.max_error_body = bytes;
        self
    }

    /// Changes the part of the set-up that the session decides by: when to reconnect, when to give
    /// up, and what to deliver. [`SessionConfig`] says what each setting means, and its default.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use sse_client::{Backoff, EventSource};
    /// let builder = EventSource::builder("http://localhost:8080/events/?channel=news")
    ///     .session(|config| config.idle_timeout(Some(Duration::from_secs(90))).comments(true));
    /// # builder.build()?;
    /// # Ok::<(), sse_client::BuildError>(())
    /// ```
    pub fn session(mut self, set: impl FnOnce(SessionConfig) -> SessionConfig) -> Self {
        self.config = set(self.config);
        self
    }

    /// Which failures are final. Default: [`Policy::Resilient`] for `GET`, [`Policy::Once`] for
    /// every other method. Short for [`session`](Self::session) with [`SessionConfig::policy`].
    pub fn policy(self, policy: Policy) -> Self {
        self.session(|config| config.policy(policy))
    }

    /// The event that completes the stream, such as `[DONE]`. Then the request is aborted, and the
    /// stream ends without an error. Short for [`session`](Self::session) with
    /// [`SessionConfig::until`].
    pub fn until(self, terminator: impl Into<Terminator>) -> Self {
        self.session(|config| config.until(terminator))
    }

    /// As [`until`](Self::until), and it is a failure if the stream ends without it. Short for
    /// [`session`](Self::session) with [`SessionConfig::must_end_with`].
    pub fn must_end_with(self, terminator: impl Into<Terminator>) -> Self {
        self.session(|config| config.must_end_with(terminator))
    }

    /// The event source. It connects when it is first polled.
    ///
    /// # Errors
    ///
    /// A [`BuildError`] for the first thing that is wrong: the URL, a header, or the default
    /// client.
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
        let Self { method, headers, provider, body, max_error_body, .. } = self;
        let target = Target { client, method, url, headers, provider, body, max_error_body };
        Ok(EventSource::new(target, config, self.last_event_id))
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
