//! One try over HTTP: the request, its redirects, and the head of the response that ends them.
//! Knows nothing of event streams, and decides nothing about what the response means.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, StatusCode, Uri};
use percent_encoding::percent_decode_str;
use url::{Url, form_urlencoded};

use crate::coding;
use crate::error::{BuildError, place};
use crate::redirect::{self, RedirectRefused};
use crate::request::{Position, TryRequest};
use crate::send::{BoxError, BoxFuture, Shared};
use crate::transport::{
    Kind, RequestBody, ResponseBody, ResponseUrl, Transport, TransportError, USER_AGENT,
};

pub(crate) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// What makes headers for one try.
#[derive(Clone)]
pub(crate) struct Provider(pub(crate) Shared<(), Result<HeaderMap, BoxError>>);

/// What changes the request of one try.
#[derive(Clone)]
pub(crate) struct Preparer(pub(crate) Shared<TryRequest, Result<TryRequest, BoxError>>);

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}

impl fmt::Debug for Preparer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}

/// What every try asks for.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) method: Method,
    /// With user name and password, if the caller gave them so; a header is made of them.
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) provider: Option<Provider>,
    pub(crate) preparer: Option<Preparer>,
    pub(crate) position: Position,
    pub(crate) body: Option<Bytes>,
}

/// What is special about one try.
pub(crate) struct Try {
    /// From 1 on.
    pub(crate) number: u32,
    /// Where to resume, if anywhere.
    pub(crate) id: Option<String>,
    pub(crate) by_get: bool,
    /// How much of the body the connection has taken, in bytes.
    pub(crate) sent: Arc<AtomicUsize>,
    /// Set when the caller has made something else of it than a `GET`.
    pub(crate) is_other: Arc<AtomicBool>,
}

/// The response to a try, after redirects.
pub(crate) struct Answer {
    pub(crate) url: Url,
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// Why this is a redirect that was not followed.
    pub(crate) refusal: Option<RedirectRefused>,
    pub(crate) body: ResponseBody,
}

/// Why there is no response.
pub(crate) enum TryError {
    /// The caller had no headers, or no request, to send.
    Headers(BoxError),
    Transport(TransportError),
}

impl Target {
    /// Sends the request and follows redirects. Dropping the future aborts it.
    pub(crate) fn request(&self, this_try: Try) -> BoxFuture<Result<Answer, TryError>> {
        let mut this = self.clone();
        if this_try.by_get {
            this.become_get();
        }
        Box::pin(this.follow(this_try))
    }

    async fn follow(mut self, this_try: Try) -> Result<Answer, TryError> {
        let Try { number, id, sent, is_other, .. } = this_try;
        if let Some(provider) = &self.provider {
            let fresh = (provider.0)(()).await.map_err(TryError::Headers)?;
            self.add(fresh)?;
        }
        let id = self.prepare(number, id).await?;
        is_other.store(self.method != Method::GET, Ordering::Relaxed);
        if let (Position::Query(name), Some(id)) = (&self.position, &id) {
            set_parameter(&mut self.url, name, id);
        }
        let mut redirects = 0;
        loop {
            sent.store(0, Ordering::Relaxed);
            let request = self.assemble(id.as_deref(), &sent).map_err(TryError::Transport)?;
            let response = self.transport.send(request).await.map_err(|mut error| {
                // A server that redirects has seen the request, even if the next one has not.
                if redirects > 0 && error.kind != Kind::Local {
                    error.kind = Kind::Broken;
                }
                TryError::Transport(error)
            })?;
            if let Some(ResponseUrl(url)) = response.extensions().get() {
                self.arrive(url.clone());
            }
            let moved = match redirect::target(&self.url, &response, redirects) {
                Some(next) => next.and_then(|next| self.move_to(response.status(), next)),
                None => return Ok(Answer::new(&self.url, response, None)),
            };
            if let Err(refusal) = moved {
                return Ok(Answer::new(&self.url, response, Some(refusal)));
            }
            redirects += 1;
        }
    }

    /// Lets the caller change the request. Returns the id that is still to be sent.
    async fn prepare(
        &mut self,
        number: u32,
        id: Option<String>,
    ) -> Result<Option<String>, TryError> {
        let Some(preparer) = self.preparer.clone() else {
            return Ok(id);
        };
        let request = TryRequest {
            method: self.method.clone(),
            url: self.url.clone(),
            headers: std::mem::take(&mut self.headers),
            body: self.body.take(),
            number,
            last_event_id: id,
        };
        let request = (preparer.0)(request).await.map_err(TryError::Headers)?;
        let TryRequest { method, url, headers, body, last_event_id, .. } = request;
        (self.method, self.url, self.body) = (method, url, body);
        self.add(headers)?;
        if !matches!(self.url.scheme(), "http" | "https") {
            let scheme = self.url.scheme().to_owned();
            return Err(TryError::Transport(TransportError::local(BuildError::Scheme { scheme })));
        }
        Ok(last_event_id)
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

    fn assemble(
        &self,
        id: Option<&str>,
        sent: &Arc<AtomicUsize>,
    ) -> Result<Request<RequestBody>, TransportError> {
        let mut uri = shown(&self.url);
        uri.set_fragment(None);
        let uri: Uri = uri.as_str().parse().map_err(TransportError::local)?;
        let body = RequestBody::new(self.body.clone().unwrap_or_default(), Arc::clone(sent));
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = self.head(id)?;
        Ok(request)
    }

    fn head(&self, id: Option<&str>) -> Result<HeaderMap, TransportError> {
        let mut headers = self.headers.clone();
        let mut default = |name, value| {
            headers.entry(name).or_insert(value);
        };
        default(header::ACCEPT, HeaderValue::from_static("text/event-stream"));
        default(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        default(header::ACCEPT_ENCODING, coding::accepted());
        if !self.transport.has_user_agent() {
            default(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        }
        if let Some(credentials) = credentials(&self.url) {
            default(header::AUTHORIZATION, credentials);
        }
        if let (Position::Header(name), Some(id)) = (&self.position, id) {
            let id = HeaderValue::from_bytes(id.as_bytes()).map_err(TransportError::local)?;
            headers.insert(name.clone(), id);
        }
        Ok(headers)
    }

    /// The transport has followed redirects by itself.
    fn arrive(&mut self, at: Url) {
        let mut asked = shown(&self.url);
        asked.set_fragment(None);
        if asked != at {
            self.url = at;
        }
    }

    /// Follows a redirect. Whatever the caller has set is meant for the origin they named; any of
    /// it may be a secret, but for what says only what is wanted, and by whom.
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
            let old = std::mem::take(&mut self.headers);
            for name in redirect::HARMLESS {
                for value in old.get_all(&name) {
                    self.headers.append(name.clone(), value.clone());
                }
            }
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

impl Answer {
    fn new(
        url: &Url,
        response: http::Response<ResponseBody>,
        refusal: Option<RedirectRefused>,
    ) -> Self {
        let (parts, body) = response.into_parts();
        let (url, status) = (shown(url), parts.status.as_u16());
        Self { url, status, headers: parts.headers, refusal, body }
    }

    pub(crate) fn content_type(&self) -> Option<String> {
        content_type(&self.headers)
    }

    /// The longest that a line of the header asks for.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.headers.get_all(header::RETRY_AFTER).iter().filter_map(delay).max()
    }
}

/// `Content-Type`, its lines joined by commas as one line would have them.
pub(crate) fn content_type(headers: &HeaderMap) -> Option<String> {
    let lines = headers.get_all(header::CONTENT_TYPE).iter();
    let lines: Vec<_> = lines.map(|line| String::from_utf8_lossy(line.as_bytes())).collect();
    (!lines.is_empty()).then(|| lines.join(", "))
}

/// The URL without user name and password.
pub(crate) fn shown(url: &Url) -> Url {
    let mut url = url.clone();
    let is_set = url.set_username("").is_ok() && url.set_password(None).is_ok();
    debug_assert!(is_set, "an http URL can hold credentials");
    url
}

/// What a user name and password in a URL say, as a header (RFC 7617).
fn credentials(url: &Url) -> Option<HeaderValue> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let mut pair: Vec<u8> = percent_decode_str(url.username()).collect();
    pair.push(b':');
    pair.extend(percent_decode_str(url.password().unwrap_or_default()));
    let value = format!("Basic {}", BASE64_STANDARD.encode(pair));
    let mut value = HeaderValue::try_from(value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Sets a parameter of the query, in place of others of its name. The rest stays as it is written:
/// it may be signed.
fn set_parameter(url: &mut Url, name: &str, value: &str) {
    let is_other = |pair: &&str| {
        let mut named = form_urlencoded::parse(pair.as_bytes());
        !pair.is_empty() && named.all(|(other, _)| other != name)
    };
    let others = url.query().unwrap_or_default().split('&').filter(is_other);
    let ours = form_urlencoded::Serializer::new(String::new()).append_pair(name, value).finish();
    let query: Vec<_> = others.chain([&*ours]).collect();
    let query = query.join("&");
    url.set_query(Some(&query));
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

#[cfg(test)]
mod tests {
    use super::*;

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

    struct Nobody;

    impl Transport for Nobody {
        fn send(
            &self,
            _: Request<RequestBody>,
        ) -> BoxFuture<Result<http::Response<ResponseBody>, TransportError>> {
            Box::pin(async { Err(TransportError::unsent("nobody is there")) })
        }
    }

    fn target(url: &str) -> Target {
        Target {
            transport: Arc::new(Nobody),
            method: Method::GET,
            url: Url::parse(url).expect("a URL"),
            headers: HeaderMap::new(),
            provider: None,
            preparer: None,
            position: Position::default(),
            body: None,
        }
    }

    #[test]
    fn credentials_in_the_url_become_a_header() {
        for (url, expected) in [
            ("http://a.example/", None),
            ("http://Aladdin:open%20sesame@a.example/", Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")),
            ("http://:%3A@a.example/", Some("Basic Ojo=")),
        ] {
            let request = target(url).assemble(None, &Arc::default()).expect("a request");
            let value = request.headers().get(header::AUTHORIZATION);
            assert_eq!(value.map(|value| value.to_str().expect("ASCII")), expected);
            assert_eq!(request.uri(), "http://a.example/");
        }
    }

    #[test]
    fn a_parameter_for_the_position_is_replaced() {
        for (before, after) in [
            ("?x=%20&after=1&y#part", "?x=%20&y&after=a%26b#part"),
            // A signature would be void if a character were written in another way.
            ("?sig=a%2Fb/c~%7E*&%61fter=1&&after", "?sig=a%2Fb/c~%7E*&after=a%26b"),
            ("", "?after=a%26b"),
            ("?", "?after=a%26b"),
        ] {
            let mut url = Url::parse(&format!("http://a.example/{before}")).expect("a URL");
            set_parameter(&mut url, "after", "a&b");
            assert_eq!(url.as_str(), format!("http://a.example/{after}"));
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
