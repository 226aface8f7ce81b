//! One try over HTTP: the request, its redirects, and the head of the response that ends them.
//! Knows nothing of event streams, and decides nothing about what the response means.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body::Body as _;
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Body, Client, Method, Response, StatusCode, Url};
use tokio::time::{Instant, timeout_at};

use crate::error::{BuildError, Cause, place};

/// As many as browsers and curl are content with, roughly.
const MAX_REDIRECTS: usize = 10;

/// How long such a body is waited for. It only explains; the failure itself is known.
const TEXT_TIMEOUT: Duration = Duration::from_secs(2);

pub(crate) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// What makes headers for one try.
#[derive(Clone)]
pub(crate) struct Provider(pub(crate) Arc<dyn Fn() -> Providing + Send + Sync>);

pub(crate) type Providing = Pin<Box<dyn Future<Output = Result<HeaderMap, Cause>> + Send>>;

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}

/// What every try asks for.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) client: Client,
    pub(crate) method: Method,
    /// With user name and password, if the caller gave them so; reqwest makes a header of them.
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) provider: Option<Provider>,
    pub(crate) body: Option<Bytes>,
    /// How much is kept of the body of a response that is no event stream, in bytes.
    pub(crate) max_error_body: usize,
}

/// The response to a try, after redirects.
pub(crate) struct Answer {
    pub(crate) url: Url,
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// Why this is a redirect that was not followed.
    pub(crate) refusal: Option<RedirectRefused>,
    pub(crate) body: Body,
}

/// Why there is no response.
pub(crate) enum TryError {
    /// The caller had no headers to send.
    Headers(Cause),
    /// There is no connection, so no server has seen the request.
    Unsent(reqwest::Error),
    Broken(reqwest::Error),
}

/// Why a redirect was not followed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RedirectRefused {
    #[error("more than {MAX_REDIRECTS} redirects")]
    TooMany,
    #[error("the location {0:?} of the redirect is not a URL")]
    Location(String),
    #[error("the redirect leads from https to {0}")]
    Downgrade(String),
    #[error("the redirect asks to send the body to another origin, at {0}")]
    Body(String),
}

impl Target {
    /// Sends the request and follows redirects. Dropping the future aborts it.
    pub(crate) fn request(
        &self,
        last_event_id: Option<HeaderValue>,
        by_get: bool,
    ) -> impl Future<Output = Result<Answer, TryError>> + Send + use<> {
        let mut this = self.clone();
        if by_get {
            this.become_get();
        }
        this.follow(last_event_id)
    }

    async fn follow(mut self, id: Option<HeaderValue>) -> Result<Answer, TryError> {
        if let Some(provider) = &self.provider {
            let fresh = (provider.0)().await.map_err(TryError::Headers)?;
            self.add(fresh)?;
        }
        let mut redirects = 0;
        loop {
            let mut request = self.client.request(self.method.clone(), self.url.clone());
            if let Some(body) = &self.body {
                request = request.body(body.clone());
            }
            let sent = request.headers(self.head(id.as_ref())).send().await;
            let response = sent.map_err(|error| {
                // A server that redirects has seen the request, even if the next one has not.
                let is_unsent = error.is_connect() && redirects == 0;
                if is_unsent { TryError::Unsent(error) } else { TryError::Broken(error) }
            })?;
            let moved = match redirect(&response, redirects) {
                Some(next) => next.and_then(|next| self.move_to(response.status(), next)),
                None => return Ok(Answer::new(response, None)),
            };
            if let Err(refusal) = moved {
                return Ok(Answer::new(response, Some(refusal)));
            }
            redirects += 1;
        }
    }

    /// Adds headers that were made for this try, in place of others of the same names.
    fn add(&mut self, mut fresh: HeaderMap) -> Result<(), TryError> {
        if fresh.contains_key(LAST_EVENT_ID) {
            return Err(TryError::Headers(BuildError::LastEventIdHeader.into()));
        }
        for value in fresh.values_mut() {
            value.set_sensitive(true);
        }
        self.headers.extend(fresh);
        Ok(())
    }

    fn head(&self, last_event_id: Option<&HeaderValue>) -> HeaderMap {
        let mut headers = self.headers.clone();
        headers.entry(header::ACCEPT).or_insert(HeaderValue::from_static("text/event-stream"));
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache"));
        if let Some(id) = last_event_id {
            headers.insert(LAST_EVENT_ID, id.clone());
        }
        headers
    }

    /// Follows a redirect. Whatever the caller has set is meant for the origin they named; any of
    /// it may be a secret.
    fn move_to(&mut self, status: StatusCode, mut next: Url) -> Result<(), RedirectRefused> {
        let is_post = self.method == Method::POST;
        // As browsers do it (WHATWG Fetch, "HTTP-redirect fetch").
        if status == StatusCode::SEE_OTHER || (is_post && matches!(status.as_u16(), 301 | 302)) {
            self.become_get();
        }
        if next.origin() != self.url.origin() {
            if self.body.is_some() {
                return Err(RedirectRefused::Body(place(&next)));
            }
            self.headers.clear();
        } else if next.username().is_empty() && next.password().is_none() {
            let is_set = next.set_username(self.url.username()).is_ok()
                && next.set_password(self.url.password()).is_ok();
            debug_assert!(is_set, "an http URL can hold credentials");
        }
        self.url = next;
        Ok(())
    }

    /// Leaves out the body and what describes it.
    fn become_get(&mut self) {
        self.method = Method::GET;
        self.body = None;
        for name in [
            header::CONTENT_TYPE,
            header::CONTENT_ENCODING,
            header::CONTENT_LANGUAGE,
            header::CONTENT_LENGTH,
            header::CONTENT_LOCATION,
        ] {
            self.headers.remove(name);
        }
    }
}

/// Where a response redirects to, if it does.
fn redirect(response: &Response, redirects: usize) -> Option<Result<Url, RedirectRefused>> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = response.headers().get(header::LOCATION)?.as_bytes();
    Some(resolve(response.url(), location, redirects))
}

fn resolve(from: &Url, location: &[u8], redirects: usize) -> Result<Url, RedirectRefused> {
    if redirects == MAX_REDIRECTS {
        return Err(RedirectRefused::TooMany);
    }
    let location = String::from_utf8_lossy(location);
    match from.join(&location) {
        Ok(next) if next.scheme() == "https" => Ok(next),
        Ok(next) if next.scheme() == "http" && from.scheme() == "http" => Ok(next),
        Ok(next) if next.scheme() == "http" => Err(RedirectRefused::Downgrade(place(&next))),
        _ => Err(RedirectRefused::Location(location.into())),
    }
}

impl Answer {
    fn new(mut response: Response, refusal: Option<RedirectRefused>) -> Self {
        Self {
            url: shown(response.url()),
            status: response.status().as_u16(),
            headers: std::mem::take(response.headers_mut()),
            refusal,
            body: response.into(),
        }
    }

    pub(crate) fn content_type(&self) -> Option<String> {
        let value = self.headers.get(header::CONTENT_TYPE)?;
        Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
    }

    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.headers.get(header::RETRY_AFTER).and_then(delay)
    }
}

/// The URL without user name and password.
pub(crate) fn shown(url: &Url) -> Url {
    let mut url = url.clone();
    let is_set = url.set_username("").is_ok() && url.set_password(None).is_ok();
    debug_assert!(is_set, "an http URL can hold credentials");
    url
}

/// `Retry-After = HTTP-date / delay-seconds` (RFC 9110, section 10.2.3). A date that has passed
/// asks for nothing.
fn delay(value: &HeaderValue) -> Option<Duration> {
    let value = value.to_str().ok()?.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // Only too many digits can fail.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

/// The beginning of a body, as text.
pub(crate) async fn text(mut body: Body, max_len: usize) -> String {
    let deadline = Instant::now() + TEXT_TIMEOUT;
    let mut text = Vec::new();
    while text.len() < max_len {
        let frame = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx));
        // What has come before an end of any kind is worth telling.
        let Ok(Some(Ok(frame))) = timeout_at(deadline, frame).await else {
            break;
        };
        if let Ok(data) = frame.into_data() {
            let len = data.len().min(max_len - text.len());
            text.extend_from_slice(&data[..len]);
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_resolved_and_https_is_never_left() {
        let from = Url::parse("https://a.example/x/y?z").expect("a URL");
        let resolve = |location: &str| {
            resolve(&from, location.as_bytes(), 0)
                .map(String::from)
                .map_err(|refused| refused.to_string())
        };
        assert_eq!(resolve("w"), Ok("https://a.example/x/w".to_owned()));
        assert_eq!(resolve("//b.example"), Ok("https://b.example/".to_owned()));
        for refused in ["http://a.example/", "ftp://a.example/", "data:,x", "https://"] {
            assert!(resolve(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let delay = |value: &str| delay(&HeaderValue::from_str(value).expect("a value"));
        assert_eq!(delay("120"), Some(Duration::from_secs(120)));
        assert_eq!(delay(" 0"), Some(Duration::ZERO));
        assert_eq!(delay("99999999999999999999"), Some(Duration::from_secs(u64::MAX)));
        assert_eq!(delay("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        assert!(delay("Fri, 31 Dec 9999 23:59:59 GMT") > Some(Duration::from_secs(3600)));
        for nothing in ["", "-1", "+1", "1.5", "soon"] {
            assert_eq!(delay(nothing), None, "{nothing:?}");
        }
    }

    fn target(url: &str) -> Target {
        Target {
            client: Client::new(),
            method: Method::GET,
            url: Url::parse(url).expect("a URL"),
            headers: HeaderMap::new(),
            provider: None,
            body: None,
            max_error_body: 0,
        }
    }

    #[test]
    fn credentials_in_the_url_stay_on_their_origin() {
        for (next, arrives) in [
            ("http://a.example/y", "http://u:p%40@a.example/y"),
            ("http://b.example/y", "http://b.example/y"),
            ("http://a.example:81/y", "http://a.example:81/y"),
        ] {
            let mut target = target("http://u:p%40@a.example/x");
            let moved = target.move_to(StatusCode::FOUND, Url::parse(next).expect("a URL"));
            moved.expect("nothing against it");
            assert_eq!(target.url.as_str(), arrives);
            assert!(!shown(&target.url).as_str().contains('@'));
        }
    }

    #[test]
    fn the_method_after_a_redirect_is_what_fetch_has() {
        for (method, status, expected) in [
            (Method::POST, 301, Method::GET),
            (Method::POST, 302, Method::GET),
            (Method::POST, 303, Method::GET),
            (Method::POST, 307, Method::POST),
            (Method::POST, 308, Method::POST),
            (Method::PUT, 302, Method::PUT),
            (Method::PUT, 303, Method::GET),
            (Method::GET, 303, Method::GET),
        ] {
            let mut target = target("http://a.example/x");
            (target.method, target.body) = (method, Some(Bytes::from_static(b"{}")));
            let status = StatusCode::from_u16(status).expect("a status");
            let next = Url::parse("http://a.example/y").expect("a URL");
            target.move_to(status, next).expect("nothing against it");
            assert_eq!(target.method, expected);
            assert_eq!(target.body.is_some(), expected != Method::GET || status == 307);
        }
    }
}
