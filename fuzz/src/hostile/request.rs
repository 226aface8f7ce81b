//! A request as the server has received it.

use std::time::Duration;

use http::request::Parts;

/// The longest head, in bytes.
const MAX_HEAD: usize = 64 << 10;

/// How long a request may take to arrive.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How much of a body is kept, in bytes.
pub(super) const MAX_BODY: usize = 1 << 20;

/// A request that a [`Server`](super::Server) has recorded.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[allow(clippy::struct_excessive_bools, reason = "these are cells of a record")]
pub struct Request {
    /// When its head was complete, since the first request of the run.
    pub at: Duration,
    /// Whether it came to the other origin, where redirects lead.
    pub at_other_origin: bool,
    /// Whether it came by HTTP/2.
    pub is_http2: bool,
    /// The method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Names as they were sent, and values without white space at their ends.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body, up to a megabyte of it.
    pub body: Vec<u8>,
    /// Bytes of the response that have been written.
    pub sent: u64,
    /// The server is sending as much as the client takes.
    pub(super) is_flooded: bool,
    /// The server has done all that its script says, but for keeping the connection open.
    pub played: bool,
    /// When the connection ended.
    pub ended: Option<Duration>,
    /// The client ended it.
    pub ended_by_client: bool,
}

impl Request {
    /// The first header of this name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        let mut headers = self.headers.iter();
        let header = headers.find(|(header, _)| header.eq_ignore_ascii_case(name));
        header.map(|(_, value)| value.as_slice())
    }

    /// The path's part that names the case, and the run.
    pub(super) fn case_and_run(&self) -> (&str, &str) {
        let (path, query) = self.target.split_once('?').unwrap_or((&self.target, ""));
        let id = path.trim_start_matches('/').split('/').next().unwrap_or_default();
        let run = query.split('&').find_map(|pair| pair.strip_prefix("run="));
        (id, run.unwrap_or_default())
    }

    /// How long its body is.
    pub(super) fn body_len(&self) -> usize {
        let length = self.header("content-length").and_then(|value| str::from_utf8(value).ok());
        length.and_then(|value| value.parse().ok()).unwrap_or(0).min(MAX_BODY)
    }

    /// Reads a head, once it is complete. The rest are the bytes that follow it.
    pub(super) fn parse(bytes: &[u8]) -> Head {
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
            return if bytes.len() > MAX_HEAD { Head::Bad } else { Head::Incomplete };
        };
        let mut lines = bytes[..end].split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
        let line = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
        let mut words = line.split(' ');
        let (Some(method), Some(target), Some(version)) =
            (words.next(), words.next(), words.next())
        else {
            return Head::Bad;
        };
        if !version.starts_with("HTTP/1.") {
            return Head::Bad;
        }
        let headers = lines.filter_map(|line| {
            let colon = line.iter().position(|&byte| byte == b':')?;
            let name = String::from_utf8_lossy(&line[..colon]).into_owned();
            Some((name, line[colon + 1..].trim_ascii().to_vec()))
        });
        let request = Self::new(method, target, headers.collect());
        Head::Complete(Box::new(request), end + 4)
    }

    /// What has come by HTTP/2.
    pub(super) fn by_http2(parts: &Parts, body: Vec<u8>) -> Self {
        let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
        let headers = parts.headers.iter();
        let headers = headers.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
        let request = Self::new(parts.method.as_str(), target, headers.collect());
        Self { is_http2: true, body, ..request }
    }

    fn new(method: &str, target: &str, headers: Vec<(String, Vec<u8>)>) -> Self {
        Self {
            at: Duration::ZERO,
            at_other_origin: false,
            is_http2: false,
            method: method.to_owned(),
            target: target.to_owned(),
            headers,
            body: Vec::new(),
            sent: 0,
            is_flooded: false,
            played: false,
            ended: None,
            ended_by_client: false,
        }
    }
}

pub(super) enum Head {
    Incomplete,
    Bad,
    /// And how long it is.
    Complete(Box<Request>, usize),
}
