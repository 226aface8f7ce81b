//! What is probed: a URL, taken apart as far as a request needs it, and what of it must not be
//! shown.

use std::fmt::Write as _;

use url::Url;

use super::tls::Trust;

/// Names in a query whose values are secrets.
const SECRET_NAMES: [&str; 14] = [
    "access_token",
    "api_key",
    "apikey",
    "auth",
    "authorization",
    "code",
    "jwt",
    "key",
    "password",
    "secret",
    "sig",
    "signature",
    "ticket",
    "token",
];

/// Headers whose values may be shown: what is not known to be harmless is taken for a secret.
const HARMLESS_HEADERS: [&str; 49] = [
    "accept",
    "accept-encoding",
    "accept-ranges",
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-expose-headers",
    "access-control-request-headers",
    "access-control-request-method",
    "age",
    "allow",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "etag",
    "expect",
    "expires",
    "grip-channel",
    "grip-feature",
    "grip-hold",
    "grip-keep-alive",
    "grip-last",
    "grip-set-meta",
    "grip-status",
    "host",
    "if-none-match",
    "keep-alive",
    "last-event-id",
    "last-modified",
    "mercure-last-event-id",
    "origin",
    "pragma",
    "range",
    "retry-after",
    "server",
    "te",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "vary",
    "via",
    "x-accel-buffering",
    "x-content-type-options",
    "x-frame-options",
    "x-powered-by",
];

/// What stands for a secret.
pub(crate) const REDACTED: &str = "[redacted]";

/// A server's stream.
#[derive(Clone, Debug)]
pub struct Target {
    url: Url,
    host: String,
    port: u16,
    trust: Trust,
}

/// Why a URL cannot be probed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// It is not a URL.
    #[error("{0:?} is no URL: {1}")]
    Url(String, url::ParseError),
    /// Its scheme is something else.
    #[error("{0:?} is neither http nor https; give the URL of an event stream")]
    Scheme(String),
}

impl Target {
    /// Reads a URL.
    ///
    /// # Errors
    ///
    /// If it is not a URL, or neither `http` nor `https`.
    pub fn new(text: &str) -> Result<Self, TargetError> {
        let url = Url::parse(text).map_err(|error| TargetError::Url(text.to_owned(), error))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(TargetError::Scheme(text.to_owned()));
        }
        let host = url.host_str().unwrap_or_default().to_owned();
        let port = url.port_or_known_default().unwrap_or(80);
        Ok(Self { url, host, port, trust: Trust::default() })
    }

    /// The same, where other certificates are believed than those of the system's authorities.
    #[must_use]
    pub fn trusting(self, trust: Trust) -> Self {
        Self { trust, ..self }
    }

    pub(crate) const fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Another URL at the same place.
    pub(crate) fn join(&self, reference: &str) -> Option<Self> {
        let other = Self::new(self.url.join(reference).ok()?.as_str()).ok()?;
        Some(other.trusting(self.trust.clone()))
    }

    pub(crate) fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// The name to connect to, without the brackets of an IPv6 address.
    pub(crate) fn name(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// The value of `Host`.
    pub(crate) fn authority(&self) -> String {
        match self.url.port() {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.clone(),
        }
    }

    /// What stands in the request line.
    pub(crate) fn path(&self) -> String {
        match self.url.query() {
            Some(query) => format!("{}?{query}", self.url.path()),
            None => self.url.path().to_owned(),
        }
    }

    /// Whether this is the machine it runs on.
    pub fn is_loopback(&self) -> bool {
        match self.url.host() {
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            None => false,
        }
    }

    /// The first name of a secret in the query.
    pub(crate) fn secret_in_query(&self) -> Option<String> {
        let mut names = self.url.query_pairs().map(|(name, _)| name.into_owned());
        names.find(|name| is_secret_name(name))
    }

    /// Values that must not be shown.
    pub(crate) fn secrets(&self) -> Vec<String> {
        let pairs = self.url.query_pairs().filter(|(name, _)| is_secret_name(name));
        let mut secrets: Vec<String> = pairs.map(|(_, value)| value.into_owned()).collect();
        secrets.extend(self.url.password().map(str::to_owned));
        secrets
    }

    /// The channel's name, as django-eventstream and this project's server have it in the URL.
    pub(crate) fn channel(&self) -> Option<String> {
        let of_query = self.url.query_pairs().find(|(name, _)| name == "channel");
        if let Some((_, channel)) = of_query {
            return Some(channel.into_owned());
        }
        let last = self.url.path_segments()?.rfind(|segment| !segment.is_empty())?;
        let decoded = url::form_urlencoded::parse(last.as_bytes()).next()?;
        Some(decoded.0.into_owned())
    }

    /// The URL as it may be shown.
    pub fn shown(&self) -> String {
        redacted_url(self.url.as_str())
    }
}

pub(crate) fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_NAMES.contains(&name.as_str()) || name.ends_with("token") || name.ends_with("key")
}

/// A URL without user, password and the secrets of its query.
pub(crate) fn redacted_url(text: &str) -> String {
    let Ok(mut url) = Url::parse(text) else { return redacted_path(text) };
    if !url.username().is_empty() {
        // Neither can fail for http and https.
        let _ = url.set_username("redacted");
    }
    if url.password().is_some() {
        let _ = url.set_password(Some("redacted"));
    }
    redacted_path(url.as_str())
}

/// The same for the path and query of a request line.
fn redacted_path(text: &str) -> String {
    let Some((path, query)) = text.split_once('?') else { return text.to_owned() };
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, _)) if is_secret_name(name) => format!("{name}={REDACTED}"),
        _ => pair.to_owned(),
    });
    format!("{path}?{}", pairs.collect::<Vec<_>>().join("&"))
}

/// The head of a message as it may be shown: values of headers that are not known to be harmless
/// are left out, and those of secrets in the request line.
pub(crate) fn redacted_head(head: &str) -> String {
    let mut lines = head.split_inclusive('\n');
    let mut shown = String::new();
    if let Some(first) = lines.next() {
        let words: Vec<String> = first.split(' ').map(redacted_path).collect();
        shown += &words.join(" ");
    }
    for line in lines {
        match line.split_once(':') {
            Some((name, rest)) if !is_harmless(name) => {
                let end = &rest[rest.trim_end_matches(['\r', '\n']).len()..];
                let _ = write!(shown, "{name}: {REDACTED}{end}");
            }
            Some((name, rest)) if name.trim().eq_ignore_ascii_case("location") => {
                let _ = write!(shown, "{name}:{}", redacted_path(rest));
            }
            _ => shown += line,
        }
    }
    shown
}

pub(crate) fn is_harmless(name: &str) -> bool {
    let name = name.trim().to_ascii_lowercase();
    // Those of the probe itself.
    HARMLESS_HEADERS.contains(&name.as_str()) || name == "location" || name.starts_with("x-probe")
}

#[cfg(test)]
mod tests {
    use super::{Target, redacted_head, redacted_url};

    #[test]
    fn secrets_are_not_shown() {
        let shown =
            redacted_url("http://me:pw@h/a?channel=x&access_token=s3cret&sessionKey=s3cret");
        assert!(!shown.contains("s3cret") && !shown.contains("pw") && shown.contains("channel=x"));
        let head = "GET /a?token=s3cret HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer s3cret\r\n\
                    Cookie: s3cret\r\nX-Api: s3cret\r\nAccept: a\r\n\r\n";
        let shown = redacted_head(head);
        assert!(!shown.contains("s3cret"), "{shown}");
        assert!(shown.ends_with("X-Api: [redacted]\r\nAccept: a\r\n\r\n"), "{shown}");
    }

    #[test]
    fn loopback_is_told_from_the_rest() {
        for (url, is_it) in [
            ("http://127.0.0.1:1/", true),
            ("http://[::1]/", true),
            ("http://localhost/a", true),
            ("http://10.0.0.1/", false),
            ("http://example.com/", false),
        ] {
            assert_eq!(Target::new(url).expect(url).is_loopback(), is_it, "{url}");
        }
    }

    #[test]
    fn a_channel_is_found_in_query_or_path() {
        let channel = |url: &str| Target::new(url).expect(url).channel();
        assert_eq!(channel("http://h/events/?channel=a%20b").as_deref(), Some("a b"));
        assert_eq!(channel("http://h/events/x/").as_deref(), Some("x"));
        assert_eq!(channel("http://h/"), None);
    }
}
