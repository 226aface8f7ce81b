//! How an event source is set up. Everything that can be wrong about it is found here.

mod request;
mod response;
mod transport;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use http::header::{self, HeaderMap};
use sse_proto::{Policy, SessionConfig, Terminator};
use url::Url;

use crate::accepts::Accepts;
use crate::error::{BuildError, place};
use crate::events::Events;
use crate::exchange::{Preparer, Provider, Target};
use crate::request::Position;
use crate::runtime::{self, Runtime};
use crate::source::{EventSource, Options};
use crate::transport::Transport;

/// How much of a refusal's body is kept, in bytes.
const MAX_ERROR_BODY: usize = 4096;

/// Sets up an [`EventSource`]; made by [`EventSource::get`], [`post`](EventSource::post) and
/// [`channels`](EventSource::channels).
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
    transport: Option<Arc<dyn Transport>>,
    runtime: Option<Arc<dyn Runtime>>,
    method: Method,
    headers: HeaderMap,
    provider: Option<Provider>,
    preparer: Option<Preparer>,
    position: Position,
    body: Option<Bytes>,
    options: Options,
    last_event_id: Option<String>,
    config: SessionConfig,
    /// The first thing that was wrong.
    error: Option<BuildError>,
}

/// How to get one.
impl EventSource {
    /// Sets up a `GET` of this URL. Its user name and password, if it has them, become the header
    /// `Authorization: Basic`.
    pub fn get(url: impl AsRef<str>) -> Builder {
        Builder::new(url.as_ref())
    }

    /// The same, for a [method](Builder::method) that is set later.
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
    /// let source = EventSource::channels("http://localhost:8080/events/", channels).build()?;
    /// let url = "http://localhost:8080/events/?channel=news&channel=f%C3%BCr+alle";
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
            transport: None,
            runtime: None,
            method: Method::GET,
            headers: HeaderMap::new(),
            provider: None,
            preparer: None,
            position: Position::default(),
            body: None,
            options: Options {
                accepts: Accepts::default(),
                kept: Vec::new(),
                max_error_body: MAX_ERROR_BODY,
            },
            last_event_id: None,
            config: SessionConfig::default(),
            error: None,
        }
    }

    /// Uses this client of reqwest's, for its proxies, certificates, cookies or connection pool.
    ///
    /// Unless it is told otherwise, it takes proxies from the variables `HTTP_PROXY`,
    /// `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`, as the default client does.
    ///
    /// It should have no total timeout, which would end every stream, and follow no redirects
    /// ([`Policy::none`](reqwest::redirect::Policy::none)): those that it follows itself are out of
    /// this crate's hands, and carry headers other than `Authorization` and `Cookie` to other
    /// origins. Give it a [`tcp_keepalive`](reqwest::ClientBuilder::tcp_keepalive), so that a peer
    /// that is gone is missed, a `connect_timeout` and a `user_agent`, as the default client has.
    #[cfg(all(feature = "reqwest", not(target_family = "wasm")))]
    pub fn client(self, client: reqwest::Client) -> Self {
        self.transport(crate::transport::Reqwest::from(client))
    }

    /// Sends requests by this transport. Default: what the crate's features provide, reqwest before
    /// hyper, and `fetch` on wasm32.
    ///
    /// ```
    /// # #[cfg(feature = "hyper")] {
    /// use std::time::Duration;
    /// use sse_client::{EventSource, transport::Hyper};
    ///
    /// let hyper = Hyper::new(Duration::from_secs(10));
    /// let source = EventSource::get("http://localhost:8080/events/").transport(hyper).build()?;
    /// # }
    /// # Ok::<(), sse_client::BuildError>(())
    /// ```
    pub fn transport(mut self, transport: impl Transport) -> Self {
        self.transport = Some(Arc::new(transport));
        self
    }

    /// Waits by this timer. Default: tokio's, and on wasm32 JavaScript's.
    pub fn runtime(mut self, runtime: impl Runtime) -> Self {
        self.runtime = Some(Arc::new(runtime));
        self
    }

    /// Continues from an id that was stored when the program last ran; see
    /// [`EventSource::last_event_id`]. An empty one is the same as none.
    pub fn last_event_id(mut self, id: impl Into<String>) -> Self {
        self.last_event_id = Some(id.into()).filter(|id| !id.is_empty());
        self
    }

    /// Changes the part of the set-up that the session decides by: when to reconnect, when to give
    /// up, and what to deliver. [`SessionConfig`] says what each setting means, and its default.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use sse_client::{Backoff, EventSource};
    /// let builder = EventSource::builder("http://localhost:8080/events/?channel=news")
    ///     .session(|config| {
    ///         let backoff = Backoff::default().max(Duration::from_secs(60));
    ///         config.backoff(backoff).idle_timeout(Some(Duration::from_secs(90))).comments(true)
    ///     });
    /// # builder.build()?;
    /// # Ok::<(), sse_client::BuildError>(())
    /// ```
    pub fn session(mut self, set: impl FnOnce(SessionConfig) -> SessionConfig) -> Self {
        self.config = set(self.config);
        self
    }

    /// Which failures are final. Default: [`Policy::Resilient`] for `GET`, [`Policy::Once`] for
    /// every other method, also if [`request_with`](Self::request_with) chooses it. Short for
    /// [`session`](Self::session) with [`SessionConfig::policy`].
    pub fn policy(self, policy: Policy) -> Self {
        self.session(|config| config.policy(policy))
    }

    /// An event that completes the stream, such as `[DONE]`; called several times, any of them.
    /// Then the stream ends without an error. What the server still sends is read for half a
    /// second, without anyone waiting for it, so that the connection can be used again; then the
    /// request is aborted. Short for [`session`](Self::session) with
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
        let is_get = self.method == Method::GET;
        let policy = if is_get { Policy::Resilient } else { Policy::Once };
        let config = self.config.default_policy(policy);
        let config = config.fresh_credentials(self.provider.is_some() || self.preparer.is_some());
        let transport = match self.transport {
            Some(transport) => transport,
            None => transport::default(&url, config.connection_limit())?,
        };
        let runtime = self.runtime.or_else(runtime::default).ok_or(BuildError::NoRuntime)?;
        let Self { method, mut headers, provider, preparer, position, body, options, .. } = self;
        if !options.accepts.whole.is_empty() && !headers.contains_key(header::ACCEPT) {
            let types = format!("{}, text/event-stream", options.accepts.whole.join(", "));
            let (name, value) = request::checked("accept", types.as_bytes())?;
            headers.insert(name, value);
        }
        let target = Target { transport, method, url, headers, provider, preparer, position, body };
        Ok(EventSource::new(target, config, options, runtime, self.last_event_id))
    }

    /// The events of the source, and nothing else: short for [`build`](Self::build) and
    /// [`EventSource::events`], which says how to learn that the server is down.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build) has them.
    pub fn events(self) -> Result<Events, BuildError> {
        self.build().map(EventSource::events)
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

    #[cfg(feature = "reqwest")]
    #[test]
    fn https_without_tls_is_refused_unless_the_client_has_it() {
        let builder = Builder::new("https://localhost/");
        let has_tls = cfg!(any(feature = "rustls", feature = "native-tls"));
        assert_eq!(builder.clone().build().is_ok(), has_tls);
        assert!(builder.client(reqwest::Client::new()).build().is_ok());
    }

    #[test]
    fn secrets_are_not_shown() {
        let builder = Builder::new("http://u:secret@localhost/?token=secret");
        let builder = builder.bearer_token("secret").header("X-Key", "secret");
        assert!(!format!("{builder:?}").contains("secret"));
    }
}
