//! One try over HTTP: the request, its redirects, and the head of the response that ends them.
//! Knows nothing of event streams, and decides nothing about what the response means.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::time::{Duration, SystemTime};

use http_body::Body as _;
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Body, Client, Response, Url};
use tokio::time::{Instant, timeout_at};

use crate::error::place;

/// As many as browsers and curl are content with, roughly.
const MAX_REDIRECTS: usize = 10;

/// How much is read of the body of a response that is no event stream, in bytes.
const MAX_TEXT_LEN: usize = 4096;

/// How long such a body is waited for. It only explains; the failure itself is known.
const TEXT_TIMEOUT: Duration = Duration::from_secs(2);

pub(crate) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// What every try asks for. Method and body will stand here when there are others than `GET`.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) client: Client,
    /// With user name and password, if the caller gave them so; reqwest makes a header of them.
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
}

/// The response to a try, after redirects.
pub(crate) struct Answer {
    pub(crate) url: Url,
    pub(crate) status: u16,
    pub(crate) content_type: Option<String>,
    pub(crate) retry_after: Option<Duration>,
    /// Why this is a redirect that was not followed.
    pub(crate) refusal: Option<RedirectRefused>,
    pub(crate) body: Body,
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
}

impl Target {
    /// Sends the request and follows redirects. Dropping the future aborts it.
    pub(crate) fn request(
        &self,
        last_event_id: Option<HeaderValue>,
    ) -> impl Future<Output = Result<Answer, reqwest::Error>> + Send + use<> {
        self.clone().follow(last_event_id)
    }

    async fn follow(mut self, id: Option<HeaderValue>) -> Result<Answer, reqwest::Error> {
        let mut redirects = 0;
        loop {
            let request = self.client.get(self.url.clone());
            let response = request.headers(self.head(id.as_ref())).send().await?;
            match redirect(&response, redirects) {
                Some(Ok(next)) => self.move_to(next),
                Some(Err(refusal)) => return Ok(Answer::new(response, Some(refusal))),
                None => return Ok(Answer::new(response, None)),
            }
            redirects += 1;
        }
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

    /// Whatever the caller has set is meant for the origin they named; any of it may be a secret.
    fn move_to(&mut self, mut next: Url) {
        if next.origin() != self.url.origin() {
            self.headers.clear();
        } else if next.username().is_empty() && next.password().is_none() {
            let is_set = next.set_username(self.url.username()).is_ok()
                && next.set_password(self.url.password()).is_ok();
            debug_assert!(is_set, "an http URL can hold credentials");
        }
        self.url = next;
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
    fn new(response: Response, refusal: Option<RedirectRefused>) -> Self {
        let headers = response.headers();
        Self {
            url: shown(response.url()),
            status: response.status().as_u16(),
            content_type: headers
                .get(header::CONTENT_TYPE)
                .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()),
            retry_after: headers.get(header::RETRY_AFTER).and_then(delay),
            refusal,
            body: response.into(),
        }
    }
}

/// The URL without user name and password.
pub(crate) fn shown(url: &Url) -> Url {
    let mut url = url.clone();
    let is_set = url.set_username("").is_ok() && url.set_password(None).is_ok();
    debug_assert!(is_set, "an http URL can hold credentials");
    url
}

/// `Retry-After = HTTP-date / delay-seconds` (RFC 9110, section 10.2.3). A date that has passed asks
/// for nothing.
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
pub(crate) async fn text(mut body: Body) -> String {
    let deadline = Instant::now() + TEXT_TIMEOUT;
    let mut text = Vec::new();
    while text.len() < MAX_TEXT_LEN {
        let frame = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx));
        // What has come before an end of any kind is worth telling.
        let Ok(Some(Ok(frame))) = timeout_at(deadline, frame).await else {
            break;
        };
        if let Ok(data) = frame.into_data() {
            let len = data.len().min(MAX_TEXT_LEN - text.len());
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
        assert_eq!(delay("120"), Some(Duration::from_mins(2)));
        assert_eq!(delay(" 0"), Some(Duration::ZERO));
        assert_eq!(delay("99999999999999999999"), Some(Duration::from_secs(u64::MAX)));
        assert_eq!(delay("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        assert!(delay("Fri, 31 Dec 9999 23:59:59 GMT") > Some(Duration::from_hours(1)));
        for nothing in ["", "-1", "+1", "1.5", "soon"] {
            assert_eq!(delay(nothing), None, "{nothing:?}");
        }
    }

    #[test]
    fn credentials_in_the_url_stay_on_their_origin() {
        let target = |url| Target {
            client: Client::new(),
            url: Url::parse(url).expect("a URL"),
            headers: HeaderMap::new(),
        };
        for (next, arrives) in [
            ("http://a.example/y", "http://u:p%40@a.example/y"),
            ("http://b.example/y", "http://b.example/y"),
            ("http://a.example:81/y", "http://a.example:81/y"),
        ] {
            let mut target = target("http://u:p%40@a.example/x");
            target.move_to(Url::parse(next).expect("a URL"));
            assert_eq!(target.url.as_str(), arrives);
            assert!(!shown(&target.url).as_str().contains('@'));
        }
    }
}
