//! Requests, as bytes.

use super::settings::{Profile, Settings};
use crate::wire::connection::USER_AGENT;
use crate::wire::target::Target;

/// A request that can be changed in any way before it becomes bytes, also into one that is not
/// HTTP.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    method: String,
    path: String,
    version: &'static str,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl Ask {
    /// The request for the stream, as a client would make it.
    pub(crate) fn stream(target: &Target, settings: &Settings) -> Self {
        let accept = match settings.profile {
            Profile::Mcp20251125 if settings.body.is_some() => {
                "application/json, text/event-stream"
            }
            _ => "text/event-stream",
        };
        let mut ask = Self::get(target, accept);
        for (name, value) in &settings.headers {
            ask = ask.with(name, value);
        }
        match &settings.body {
            Some(body) => ask.method("POST").with("Content-Type", "application/json").body(body),
            None => ask,
        }
    }

    /// A request for this media type.
    pub(crate) fn get(target: &Target, accept: &str) -> Self {
        Self {
            method: "GET".to_owned(),
            path: target.path(),
            version: "1.1",
            headers: vec![
                ("Host".to_owned(), target.authority().into_bytes()),
                ("Accept".to_owned(), accept.as_bytes().to_vec()),
                ("Cache-Control".to_owned(), b"no-cache".to_vec()),
                ("User-Agent".to_owned(), USER_AGENT.into()),
            ],
            body: Vec::new(),
        }
    }

    pub(crate) fn method(mut self, method: &str) -> Self {
        self.method = method.to_owned();
        self
    }

    pub(crate) fn path(mut self, path: &str) -> Self {
        self.path = path.to_owned();
        self
    }

    pub(crate) fn http10(mut self) -> Self {
        self.version = "1.0";
        self
    }

    /// Sets a header, in place of one of the same name.
    pub(crate) fn with(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.without(name).add(name, value)
    }

    /// Adds a header, also if there is one of the same name.
    pub(crate) fn add(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
        self
    }

    pub(crate) fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        let length = self.body.len().to_string();
        self.with("Content-Length", length)
    }

    /// The same for HTTP/2, without a body; nothing if it cannot be said there.
    pub(crate) fn http2(&self, target: &Target) -> Option<http::Request<()>> {
        let scheme = if target.is_https() { "https" } else { "http" };
        let uri = format!("{scheme}://{}{}", target.authority(), self.path);
        let mut request = http::Request::builder().method(self.method.as_str()).uri(uri);
        for (name, value) in self.headers_of_http2() {
            request = request.header(name, value);
        }
        request.body(()).ok()
    }

    /// The headers without those that are said otherwise there (RFC 9113, section 8.2.2 and 8.3.1).
    pub(crate) fn headers_of_http2(&self) -> Vec<(String, Vec<u8>)> {
        let is_there = |(name, _): &&(String, Vec<u8>)| {
            !["host", "connection"].contains(&name.to_ascii_lowercase().as_str())
        };
        self.headers.iter().filter(is_there).cloned().collect()
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.bytes_as(self.version)
    }

    /// As if it were another version, to be shown.
    pub(crate) fn bytes_as(&self, version: &str) -> Vec<u8> {
        let mut bytes = format!("{} {} HTTP/{version}\r\n", self.method, self.path).into_bytes();
        for (name, value) in &self.headers {
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&self.body);
        bytes
    }
}
