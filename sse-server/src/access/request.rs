//! What is known of the client that asks for a stream: the request, and then the principal.

use std::any::Any;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::SystemTime;

use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use serde_json::{Map, Value};

/// A request for a stream, as a [`ChannelManager`](super::ChannelManager) sees it.
#[derive(Clone, Copy)]
pub struct AccessRequest<'a> {
    path: &'a str,
    query: &'a str,
    headers: &'a HeaderMap,
    peer: Option<SocketAddr>,
    client: Option<IpAddr>,
    channels: &'a [Arc<str>],
    original: Option<Original<'a>>,
    parts: Option<&'a Parts>,
}

/// A request as the client has made it, before proxies have changed it, as far as that can be
/// believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Original<'a> {
    /// The method.
    pub method: &'a str,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// The host, with its port if there is one.
    pub host: &'a str,
    /// The path and the query, as they were sent.
    pub uri: &'a str,
}

impl<'a> AccessRequest<'a> {
    /// A request for this path, with this query (without `?`) and these headers. It names no
    /// channel and comes from nowhere.
    pub const fn new(path: &'a str, query: &'a str, headers: &'a HeaderMap) -> Self {
        Self {
            path,
            query,
            headers,
            peer: None,
            client: None,
            channels: &[],
            original: None,
            parts: None,
        }
    }

    /// The same request, from this address.
    #[must_use]
    pub const fn with_peer(mut self, peer: Option<SocketAddr>) -> Self {
        self.peer = peer;
        self
    }

    /// The same request, made for a client at this address.
    #[must_use]
    pub const fn with_client(mut self, client: Option<IpAddr>) -> Self {
        self.client = client;
        self
    }

    /// The same request, naming these channels.
    #[must_use]
    pub const fn with_channels(mut self, channels: &'a [Arc<str>]) -> Self {
        self.channels = channels;
        self
    }

    /// The same request, which the client has made so.
    #[must_use]
    pub const fn with_original(mut self, original: Option<Original<'a>>) -> Self {
        self.original = original;
        self
    }

    /// The same request, with all that the HTTP server and the layers around the router know of it.
    #[must_use]
    pub const fn with_parts(mut self, parts: Option<&'a Parts>) -> Self {
        self.parts = parts;
        self
    }

    /// The head of the request as the router got it, with its extensions, unless it is not a
    /// request that a router got: a GRIP proxy asks later, by a link, for those whose stream it
    /// holds.
    pub const fn parts(&self) -> Option<&'a Parts> {
        self.parts
    }

    /// An extension of the request: what a layer of the application around the router has put
    /// there, such as the user of a session.
    pub fn extension<T: Clone + Send + Sync + 'static>(&self) -> Option<&'a T> {
        self.parts?.extensions.get()
    }

    /// What the client has asked for, if that is known.
    pub const fn original(&self) -> Option<Original<'a>> {
        self.original
    }

    /// The path, still percent-encoded.
    pub const fn path(&self) -> &'a str {
        self.path
    }

    /// The query, still encoded; may be empty.
    pub const fn query(&self) -> &'a str {
        self.query
    }

    /// The headers.
    pub const fn headers(&self) -> &'a HeaderMap {
        self.headers
    }

    /// The other end of the connection, if known: the client, or the last proxy.
    pub const fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// The client's address: what trusted proxies say, or else the [peer](Self::peer)'s.
    pub fn client(&self) -> Option<IpAddr> {
        self.client.or_else(|| self.peer.map(|peer| peer.ip()))
    }

    /// The channels that the path or the query names, each once.
    pub const fn channels(&self) -> &'a [Arc<str>] {
        self.channels
    }

    /// The first value of a parameter of the query, decoded.
    pub fn parameter(&self, name: &str) -> Option<String> {
        let mut pairs = form_urlencoded::parse(self.query.as_bytes());
        pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }

    /// The value of a cookie: the first of that name.
    pub fn cookie(&self, name: &str) -> Option<&'a str> {
        let headers = self.headers.get_all(header::COOKIE).iter();
        let mut cookies =
            headers.filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(';'));
        cookies.find_map(|cookie| {
            let (key, value) = cookie.trim().split_once('=')?;
            (key == name).then(|| value.trim_matches('"'))
        })
    }

    /// What follows `Bearer` in the authorization, whatever its bytes.
    pub(crate) fn bearer(&self) -> Option<&'a [u8]> {
        let value = self.headers.get(header::AUTHORIZATION)?.as_bytes();
        if value.eq_ignore_ascii_case(b"bearer") {
            return Some(b"");
        }
        let (scheme, token) = value.split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
    }
}

/// Says nothing of headers and query, which carry credentials.
impl fmt::Debug for AccessRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessRequest")
            .field("path", &self.path)
            .field("peer", &self.peer)
            .field("channels", &self.channels)
            .finish_non_exhaustive()
    }
}

/// A query for the log: the values of parameters that are credentials are left out.
pub(crate) fn redacted(query: &str, is_secret: impl Fn(&str) -> bool) -> String {
    let parts = query.split('&').map(|part| match part.split_once('=') {
        Some((key, _)) => {
            let mut decoded = form_urlencoded::parse(key.as_bytes());
            match decoded.next() {
                Some((name, _)) if is_secret(&name) => format!("{key}=…"),
                _ => part.to_owned(),
            }
        }
        None => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("&")
}

/// Who reads: a user, or somebody anonymous.
///
/// Kept as long as the stream is open. It holds what its manager needs to answer again, and no
/// more: ten thousand open streams keep ten thousand of these.
#[derive(Clone)]
pub struct Principal {
    name: Option<Arc<str>>,
    is_authenticated: bool,
    claims: Map<String, Value>,
    expires: Option<SystemTime>,
    context: Option<Arc<dyn Any + Send + Sync>>,
}

impl Principal {
    /// Somebody who has not said who they are.
    pub fn anonymous() -> Self {
        Self {
            name: None,
            is_authenticated: false,
            claims: Map::new(),
            expires: None,
            context: None,
        }
    }

    /// A user, by the name or number that [`permission_changed`](super::Access::permission_changed)
    /// will use for them.
    pub fn user(name: impl Into<Arc<str>>) -> Self {
        Self { name: Some(name.into()), is_authenticated: true, ..Self::anonymous() }
    }

    /// Somebody whose credentials hold, but say nothing of who they are.
    pub fn nameless() -> Self {
        Self { is_authenticated: true, ..Self::anonymous() }
    }

    /// The same, with what else is known, such as a token's claims.
    #[must_use]
    pub fn with_claims(mut self, claims: Map<String, Value>) -> Self {
        self.claims = claims;
        self
    }

    /// The same, until then: the stream is closed at this time.
    #[must_use]
    pub fn with_expiry(mut self, expires: SystemTime) -> Self {
        self.expires = Some(expires);
        self
    }

    /// The same, with whatever the manager wants to find again in [`context`](Self::context).
    #[must_use]
    pub fn with_context(mut self, context: impl Any + Send + Sync) -> Self {
        self.context = Some(Arc::new(context));
        self
    }

    /// The user, if known.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Whether there were credentials that hold.
    pub const fn is_authenticated(&self) -> bool {
        self.is_authenticated
    }

    /// What else is known.
    pub const fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }

    /// When this ceases to be true, if ever.
    pub const fn expires(&self) -> Option<SystemTime> {
        self.expires
    }

    /// What the manager has put there.
    pub fn context<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.context.as_ref()?.downcast_ref()
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Principal")
            .field("name", &self.name)
            .field("is_authenticated", &self.is_authenticated)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_in_a_query_are_left_out_of_the_log() {
        let is_secret = |name: &str| name == "access_token";
        for (query, shown) in [
            ("", ""),
            ("channel=a&access_token=s3cret", "channel=a&access_token=…"),
            ("access%5Ftoken=s3cret&x", "access%5Ftoken=…&x"),
            ("access_token=s3=cret", "access_token=…"),
        ] {
            assert_eq!(redacted(query, is_secret), shown);
        }
    }
}
