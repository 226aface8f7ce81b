//! Requests, as bytes.

use super::settings::Settings;
use super::target::Target;

/// A request that can be changed in any way before it becomes bytes, also into one that is not HTTP.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    method: String,
    path: String,
    version: &'static str,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl Ask {
    /// The request for the stream, as a client would make it.
    pub(super) fn stream(target: &Target, settings: &Settings) -> Self {
        let accept = match settings.profile {
            super::Profile::Mcp20251125 if settings.body.is_some() => {
                "application/json, text/event-stream"
            }
            _ => "text/event-stream",
        };
        let mut ask = Self {
            method: "GET".to_owned(),
            path: target.path(),
            version: "1.1",
            headers: vec![
                ("Host".to_owned(), target.authority().into_bytes()),
                ("Accept".to_owned(), accept.as_bytes().to_vec()),
                ("Cache-Control".to_owned(), b"no-cache".to_vec()),
                ("User-Agent".to_owned(), user_agent().into_bytes()),
            ],
            body: Vec::new(),
        };
        for (name, value) in &settings.headers {
            ask = ask.with(name, value);
        }
        match &settings.body {
            Some(body) => ask.method("POST").with("Content-Type", "application/json").body(body),
            None => ask,
        }
    }

    pub(super) fn method(mut self, method: &str) -> Self {
        self.method = method.to_owned();
        self
    }

    pub(super) fn path(mut self, path: &str) -> Self {
        self.path = path.to_owned();
        self
    }

    pub(super) fn http10(mut self) -> Self {
        self.version = "1.0";
        self
    }

    /// Sets a header, in place of one of the same name.
    pub(super) fn with(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.without(name).add(name, value)
    }

    /// Adds a header, also if there is one of the same name.
    pub(super) fn add(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    pub(super) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
        self
    }

    pub(super) fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        let length = self.body.len().to_string();
        self.with("Content-Length", length)
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes =
            format!("{} {} HTTP/{}\r\n", self.method, self.path, self.version).into_bytes();
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

pub(crate) fn user_agent() -> String {
    format!("sse-fuzz/{}", env!("CARGO_PKG_VERSION"))
}
