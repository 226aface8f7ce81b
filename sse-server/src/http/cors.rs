//! Which pages of other origins may read the answers (the Fetch standard, section "HTTP-access
//! control").
//!
//! Written here because tower-http's layer tells origins that are not allowed the methods, headers
//! and exposed headers too, and answers every `OPTIONS` with 200.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use url::Url;

/// Headers that clients of streams and publishers send, and that a browser asks about first.
const HEADERS: &str = "Last-Event-ID, Authorization, Cache-Control, Content-Type";

/// What a page may see of an answer beside its body: when to try again, and which credentials are
/// needed.
const EXPOSED: HeaderValue = HeaderValue::from_static("Retry-After, WWW-Authenticate");

/// Which pages of other origins may read streams, and publish.
///
/// An answer to an origin that is not allowed has none of the headers, so a browser keeps it from
/// the page. Errors have them as streams do, so that a page learns why.
///
/// ```
/// use sse_server::http::{Cors, HttpConfig};
///
/// let cors = Cors::new(["https://example.com", "https://*.example.org"])?.credentials(true)?;
/// let config = HttpConfig::new("a secret to publish with").cors(cors);
/// # let _ = config;
/// # Ok::<(), sse_server::http::CorsError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Cors {
    /// None: all.
    origins: Option<Vec<Origin>>,
    pub(crate) credentials: bool,
    pub(crate) headers: String,
    pub(crate) max_age: Duration,
    pub(crate) publish: bool,
}

/// Settings that cannot be: which of them, and what would do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct CorsError {
    pub(crate) field: &'static str,
    pub(crate) problem: String,
}

impl Cors {
    /// These origins are allowed: `https://example.com`, `http://localhost:8000`.
    /// `https://*.example.com` has all that are below, but not `https://example.com` itself;
    /// `http://localhost:*` has all ports. `*` alone has every page there is.
    ///
    /// # Errors
    ///
    /// If one is no origin, or the list is empty.
    pub fn new<T: AsRef<str>>(origins: impl IntoIterator<Item = T>) -> Result<Self, CorsError> {
        let origins = origins.into_iter().map(|text| {
            let text = text.as_ref();
            if text == "*" {
                return Ok(None);
            }
            Origin::parse(text).map(Some).map_err(|problem| CorsError {
                field: "origins",
                problem: format!("{text:?} {problem}"),
            })
        });
        let origins = origins.collect::<Result<Vec<_>, _>>()?;
        if origins.is_empty() {
            let problem = "the list is empty; name an origin, or leave the table out".to_owned();
            return Err(CorsError { field: "origins", problem });
        }
        Ok(Self {
            origins: origins.into_iter().collect(),
            credentials: false,
            headers: HEADERS.to_owned(),
            max_age: Duration::from_hours(1),
            publish: false,
        })
    }

    /// Whether pages may send cookies, and those that the browser has of a user. Default: no. With
    /// a token in `Authorization` that the page itself sets, it is not needed.
    ///
    /// # Errors
    ///
    /// If every origin is allowed: any page could read with its visitors' cookies.
    pub fn credentials(mut self, are_allowed: bool) -> Result<Self, CorsError> {
        if are_allowed && self.origins.is_none() {
            let problem = "every origin is allowed, so any page could read what its visitors may read; \
                           list the origins instead of *";
            return Err(CorsError { field: "credentials", problem: problem.to_owned() });
        }
        self.credentials = are_allowed;
        Ok(self)
    }

    /// More headers that pages may send. Default: `Last-Event-ID`, `Authorization`, `Cache-Control`
    /// and `Content-Type` alone.
    pub fn headers(mut self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        for name in names {
            self.headers.push_str(", ");
            self.headers.push_str(name.as_str());
        }
        self
    }

    /// How long a browser may remember that it may ask, in whole seconds. Default: 1 h. Browsers
    /// have limits of their own; shorter costs a request more each time a stream is resumed by
    /// header.
    pub const fn max_age(mut self, time: Duration) -> Self {
        self.max_age = time;
        self
    }

    /// Whether pages may publish, if they have a token. Default: no.
    pub const fn publish(mut self, is_allowed: bool) -> Self {
        self.publish = is_allowed;
        self
    }

    /// The origin to name in the answer, if the request's is allowed.
    fn allowed(&self, request: &HeaderMap) -> Option<HeaderValue> {
        let Some(origins) = &self.origins else { return Some(HeaderValue::from_static("*")) };
        let mut given = request.get_all(header::ORIGIN).iter();
        let (Some(value), None) = (given.next(), given.next()) else { return None };
        let text = value.to_str().ok()?;
        origins.iter().any(|origin| origin.matches(text)).then(|| value.clone())
    }

    fn preflight(&self, methods: &'static str) -> Response {
        let mut response = StatusCode::NO_CONTENT.into_response();
        let headers = response.headers_mut();
        let methods = HeaderValue::from_static(methods);
        headers.insert(header::ALLOW, methods.clone());
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        let allowed = HeaderValue::try_from(&self.headers).expect("names of headers and commas");
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, self.max_age.as_secs().into());
        response
    }
}

/// Adds what a browser needs to show the answer to a page of an allowed origin, and answers when it
/// asks whether the page may send the request. `methods` are those of the path.
pub(super) async fn apply(
    State((cors, methods)): State<(Arc<Cors>, &'static str)>,
    request: Request,
    next: Next,
) -> Response {
    let allowed = cors.allowed(request.headers());
    let asks = request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ORIGIN)
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response =
        if asks && allowed.is_some() { cors.preflight(methods) } else { next.run(request).await };
    let headers = response.headers_mut();
    if let Some(origin) = allowed {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if cors.credentials {
            let yes = HeaderValue::from_static("true");
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
        }
        if !asks {
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
    }
    if cors.origins.is_some() {
        // Also without an origin, or a cache would give that answer to a page.
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
    }
    response
}

/// One origin, or those below a name, or those of all ports.
#[derive(Clone, Debug)]
struct Origin {
    scheme: String,
    /// The end of it, from a dot on, if `is_below`.
    host: String,
    is_below: bool,
    port: Port,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Port {
    /// The usual one is the empty text.
    Exactly(String),
    Any,
}

impl Origin {
    fn parse(text: &str) -> Result<Self, String> {
        let example = "write for example https://example.com";
        let Some((scheme, authority)) = text.split_once("://") else {
            return Err(format!("is no origin; {example}"));
        };
        let scheme = scheme.to_ascii_lowercase();
        let is_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        if scheme.is_empty() || !scheme.chars().all(is_scheme) {
            return Err(format!("is no origin; {example}"));
        }
        if authority.contains(['/', '?', '#', '@', '\\']) {
            return Err(format!("has more than a scheme, a host and a port; {example}"));
        }
        let (host, port) = host_and_port(authority);
        let port = match (&*scheme, port) {
            (_, None) | ("http", Some("80")) | ("https", Some("443")) => {
                Port::Exactly(String::new())
            }
            (_, Some("*")) => Port::Any,
            (_, Some(port)) => match port.parse::<u16>() {
                Ok(port) => Port::Exactly(port.to_string()),
                Err(_) => return Err(format!("has the port {port:?}, which is not a port")),
            },
        };
        let (host, is_below) = match host.strip_prefix("*.") {
            Some(host) => (host, true),
            None => (host, false),
        };
        if host.contains('*') {
            let problem = "has a * where it would let in strangers; it can only be all of the host's first \
                           part, as in https://*.example.com, or the port";
            return Err(problem.to_owned());
        }
        if is_below && !host.contains('.') && host != "localhost" {
            return Err(format!("has everything below {host}, which is not yours"));
        }
        // As browsers write it: in lower case, and in ASCII.
        let url = Url::parse(&format!("http://{host}/")).ok();
        let Some(host) = url.as_ref().and_then(Url::host_str) else {
            return Err(format!("has the host {host:?}, which is not a host; {example}"));
        };
        let host = if is_below { format!(".{host}") } else { host.to_owned() };
        Ok(Self { scheme, host, is_below, port })
    }

    fn matches(&self, origin: &str) -> bool {
        let Some((scheme, authority)) = origin.split_once("://") else { return false };
        let (host, port) = host_and_port(authority);
        let is_port = match &self.port {
            Port::Any => true,
            Port::Exactly(wanted) => port.unwrap_or_default() == wanted,
        };
        let is_host = if self.is_below {
            // What could be no host is no browser's origin.
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
            let below = host.strip_suffix(&*self.host);
            below.is_some_and(|below| !below.is_empty() && below.chars().all(plain))
        } else {
            host == self.host
        };
        scheme == self.scheme && is_host && is_port
    }
}

/// `host:port`, where the host may be an IPv6 address in brackets.
fn host_and_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_allowed_if_scheme_host_and_port_are() {
        for (allowed, yes, no) in [
            (
                "https://example.com",
                &["https://example.com"][..],
                &[
                    "http://example.com",
                    "https://example.com:8443",
                    "https://example.com.evil.net",
                    "https://evilexample.com",
                    "https://a.example.com",
                    "https://example.com/",
                    "example.com",
                    "null",
                    "*",
                    "",
                ][..],
            ),
            ("HTTPS://Example.COM:443", &["https://example.com"], &["https://example.com:444"]),
            ("http://localhost:08000", &["http://localhost:8000"], &["http://localhost"]),
            (
                "http://localhost:*",
                &["http://localhost:8000", "http://localhost"],
                &["http://localhost.evil.net:80", "https://localhost:1", "http://localhost:1:2"],
            ),
            (
                "https://*.example.com",
                &["https://a.example.com", "https://a-b.c.example.com"],
                &[
                    "https://example.com",
                    "https://.example.com",
                    "https://evilexample.com",
                    "https://evil.net/.example.com",
                    "https://evil.net#.example.com",
                    "https://a.example.com:1",
                    "https://a.example.com.evil.net",
                ],
            ),
            ("https://grün.example", &["https://xn--grn-ioa.example"], &["https://grün.example"]),
            ("http://[::1]:8000", &["http://[::1]:8000"], &["http://[::1]"]),
            ("capacitor://localhost", &["capacitor://localhost"], &["http://localhost"]),
        ] {
            let allowed = Origin::parse(allowed).expect(allowed);
            for (origins, expected) in [(yes, true), (no, false)] {
                for origin in origins {
                    assert_eq!(allowed.matches(origin), expected, "{allowed:?} {origin}");
                }
            }
        }
    }
}
