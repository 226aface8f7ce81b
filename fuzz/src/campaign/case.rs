//! One request, by what is odd about it.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::wire::connection::USER_AGENT;
use crate::wire::target::Target;

/// Bytes, which JSON has as text: a code point for each byte, U+0000 to U+00FF.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Raw(pub Vec<u8>);

impl From<&str> for Raw {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl fmt::Debug for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

impl Serialize for Raw {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text: String = self.0.iter().copied().map(char::from).collect();
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes: Result<Vec<u8>, _> = text.chars().map(u8::try_from).collect();
        bytes.map(Self).map_err(|_| serde::de::Error::custom("bytes are U+0000 to U+00FF"))
    }
}

/// A request as far as it departs from the plain one: what is not set is as it should be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Case {
    /// In place of `GET`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<Raw>,
    /// In place of the URL's path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<Raw>,
    /// In place of the URL's query. `{secret}` stands for the value that the URL has there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<Raw>,
    /// In place of `HTTP/1.1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<Raw>,
    /// In place of the plain request's header of the same name; without a value it has none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(Raw, Option<Raw>)>,
    /// What follows the head. Its length is in the headers unless they say otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Raw>,
    /// All of it, in place of everything above.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub whole: Option<Raw>,
    /// After so many bytes the connection is reset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut: Option<usize>,
    /// How long it pauses in the middle, in milliseconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub pause: u64,
    /// How long the answer is read after its head, in milliseconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub hold: u64,
    /// In the end the connection is reset.
    #[serde(skip_serializing_if = "is_false")]
    pub reset: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// What stands for a secret's value.
pub(super) const SECRET: &str = "{secret}";

impl Case {
    /// The bytes to send.
    pub(super) fn bytes(&self, target: &Target, headers: &[(String, String)]) -> Vec<u8> {
        if let Some(whole) = &self.whole {
            return whole.0.clone();
        }
        let or = |part: &Option<Raw>, default: &str| {
            part.as_ref().map_or_else(|| default.as_bytes().to_vec(), |raw| raw.0.clone())
        };
        let plain = target.path();
        let (path, query) = plain.split_once('?').map_or((&*plain, None), |(p, q)| (p, Some(q)));
        let mut bytes = [or(&self.method, "GET"), b" ".to_vec(), or(&self.path, path)].concat();
        let query = match &self.query {
            Some(raw) => Some(restored(&raw.0, query.unwrap_or_default())),
            None => query.map(|query| query.as_bytes().to_vec()),
        };
        if let Some(query) = query {
            bytes.push(b'?');
            bytes.extend(query);
        }
        bytes.push(b' ');
        bytes.extend(or(&self.version, "HTTP/1.1"));
        bytes.extend(b"\r\n");
        let mut put = |name: &[u8], value: &[u8]| {
            bytes.extend([name, b": ", value, b"\r\n"].concat());
        };
        let is_odd = |name: &str| {
            self.headers.iter().any(|(odd, _)| odd.0.eq_ignore_ascii_case(name.as_bytes()))
        };
        let mut own = vec![
            ("Host".to_owned(), target.authority()),
            ("Accept".to_owned(), "text/event-stream".to_owned()),
            ("User-Agent".to_owned(), USER_AGENT.to_owned()),
        ];
        own.extend_from_slice(headers);
        if let Some(body) = &self.body
            && !is_odd("Transfer-Encoding")
        {
            own.push(("Content-Length".to_owned(), body.0.len().to_string()));
        }
        for (name, value) in own.iter().filter(|(name, _)| !is_odd(name)) {
            put(name.as_bytes(), value.as_bytes());
        }
        for (name, value) in &self.headers {
            if let Some(value) = value {
                put(&name.0, &value.0);
            }
        }
        bytes.extend(b"\r\n");
        bytes.extend(self.body.iter().flat_map(|body| body.0.clone()));
        bytes
    }

    /// What is odd about it, in words; findings with the same ones are in one bucket.
    pub fn parts(&self) -> BTreeSet<String> {
        let mut parts = BTreeSet::new();
        for (part, name) in [
            (self.method.is_some(), "method"),
            (self.path.is_some(), "path"),
            (self.query.is_some(), "query"),
            (self.version.is_some(), "version"),
            (self.body.is_some(), "body"),
            (self.whole.is_some(), "whole"),
            (self.cut.is_some(), "cut"),
            (self.pause > 0, "pause"),
            (self.hold > 0, "hold"),
            (self.reset, "reset"),
        ] {
            if part {
                parts.insert(name.to_owned());
            }
        }
        for (name, _) in &self.headers {
            let name = String::from_utf8_lossy(&name.0).to_ascii_lowercase();
            parts.insert(format!("header {}", name.escape_default()));
        }
        parts
    }

    /// Whether a server must answer this: it is whole, and HTTP without doubt.
    pub(super) fn is_plain_http(bytes: &[u8]) -> bool {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut headers);
        let Ok(httparse::Status::Complete(len)) = request.parse(bytes) else { return false };
        let body = bytes.len() - len;
        let count = |name: &str| {
            request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name)).count()
        };
        let lengths = request
            .headers
            .iter()
            .filter(|header| header.name.eq_ignore_ascii_case("content-length"));
        let is_body = |value: &[u8]| {
            str::from_utf8(value).ok().and_then(|text| text.parse::<usize>().ok()) == Some(body)
        };
        let are_right = lengths.clone().all(|header| is_body(header.value));
        let is_framed = if body == 0 { are_right } else { lengths.count() == 1 && are_right };
        is_framed && count("host") == 1 && count("transfer-encoding") == 0 && count("expect") == 0
    }

    pub(super) const fn held(&self) -> Duration {
        Duration::from_millis(self.hold)
    }

    pub(super) const fn paused(&self) -> Duration {
        Duration::from_millis(self.pause)
    }
}

/// A query with the values that are in the URL, but in no file.
fn restored(query: &[u8], of_url: &str) -> Vec<u8> {
    let mut query = query.to_vec();
    for (name, value) in of_url.split('&').filter_map(|pair| pair.split_once('=')) {
        let place = format!("{name}={SECRET}");
        if let Some(at) = query.windows(place.len()).position(|part| part == place.as_bytes()) {
            query.splice(at..at + place.len(), format!("{name}={value}").into_bytes());
        }
    }
    query
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Target {
        Target::new("http://127.0.0.1:1/a?channel=x&token=s3cret").expect("a URL")
    }

    #[test]
    fn a_case_departs_from_the_plain_request_where_it_says_so() {
        let headers = [("Authorization".to_owned(), "me".to_owned())];
        let plain = String::from_utf8(Case::default().bytes(&target(), &headers)).expect("text");
        assert!(
            plain.starts_with("GET /a?channel=x&token=s3cret HTTP/1.1\r\nHost: 127.0.0.1:1\r\n")
        );
        assert!(plain.ends_with("Authorization: me\r\n\r\n"));
        assert!(Case::is_plain_http(plain.as_bytes()));
        let case = Case {
            query: Some("token={secret}&x=%".into()),
            headers: vec![("host".into(), None), ("X".into(), Some(Raw(vec![0xff])))],
            body: Some("ab".into()),
            ..Case::default()
        };
        let bytes = case.bytes(&target(), &headers);
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.starts_with("GET /a?token=s3cret&x=% HTTP/1.1\r\nAccept"), "{text}");
        assert!(text.ends_with("Content-Length: 2\r\nX: \u{fffd}\r\n\r\nab"), "{text}");
        assert!(!Case::is_plain_http(&bytes), "there is no host");
        let json = serde_json::to_string(&case).expect("it is JSON");
        assert_eq!(serde_json::from_str::<Case>(&json).expect("read again"), case);
        assert!(!json.contains("s3cret") && json.contains('\u{ff}'), "{json}");
    }
}
