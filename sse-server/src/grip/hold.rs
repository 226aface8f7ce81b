//! The headers that have a proxy hold a connection.

use std::fmt::Write;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

const HOLD: HeaderName = HeaderName::from_static("grip-hold");
const CHANNEL: HeaderName = HeaderName::from_static("grip-channel");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("grip-keep-alive");
const LINK: HeaderName = HeaderName::from_static("grip-link");
const SET_META: HeaderName = HeaderName::from_static("grip-set-meta");

/// What would end a name, or begin another one.
const NOT_IN_NAME: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b',').add(b';');
/// The same of a link.
const NOT_IN_LINK: &AsciiSet = &NOT_IN_NAME.add(b'<').add(b'>');

/// The most channels of a connection that Pushpin takes as it comes. It leaves out the others
/// without a word to us.
pub(crate) const MAX_CHANNELS: usize = 20;

/// How a proxy holds a connection as a stream, or that it asks for more at once.
#[derive(Clone, Debug)]
#[must_use]
pub struct Hold {
    is_held: bool,
    channels: Vec<String>,
    keep_alive: Option<(String, Duration)>,
    link: Option<(String, Option<Duration>)>,
    meta: Vec<(&'static str, String)>,
}

impl Hold {
    /// A stream, on no channel yet.
    pub const fn new() -> Self {
        Self { is_held: true, channels: Vec::new(), keep_alive: None, link: None, meta: Vec::new() }
    }

    /// No hold: the proxy follows the [next link](Self::next_link) at once, and goes on with what
    /// is there.
    pub fn more() -> Self {
        Self { is_held: false, ..Self::new() }
    }

    /// Holds it on this channel, which is one of [`Grip::channel`](super::Grip::channel). With the
    /// id of the event that the body ends with, the proxy notices that it has missed one; then
    /// there must be a [next link](Self::next_link), or the proxy closes the connection.
    pub fn channel(self, name: impl Into<String>, prev_id: Option<&str>) -> Self {
        self.filtered(name, prev_id, &[])
    }

    /// The same, with filters (`skip-self`, `skip-users`, `require-sub`, `build-id`, `var-subst`).
    pub fn filtered(
        mut self,
        name: impl Into<String>,
        prev_id: Option<&str>,
        filters: &[&str],
    ) -> Self {
        let mut channel = plain(&name.into());
        let mut add = |name: &str, value: &str| {
            write!(channel, "; {name}={value}").expect("writing to a String cannot fail");
        };
        if let Some(id) = prev_id {
            add("prev-id", id);
        }
        for filter in filters {
            add("filter", filter);
        }
        self.channels.push(channel);
        self
    }

    /// What the proxy writes after a silence of this long, at least a second; up to a second
    /// earlier.
    pub fn keep_alive(mut self, text: impl Into<String>, period: Duration) -> Self {
        self.keep_alive = Some((text.into(), period));
        self
    }

    /// Where the proxy asks when it has missed an event, and after this time (default: two
    /// minutes). It sends no header of the client's there; and it asks once for all connections
    /// that have the same link without its query, and are at the same place. So what an answer
    /// depends on belongs into the **path**.
    pub fn next_link(mut self, uri: impl Into<String>, timeout: Option<Duration>) -> Self {
        self.link = Some((uri.into(), timeout));
        self
    }

    /// Something that filters look at: `user`, or `id_format` for `build-id`. Any text but control
    /// characters.
    pub fn meta(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.meta.push((name, value.into()));
        self
    }

    /// The headers of the response. A value that no header can have is left out.
    pub fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut add = |name: &HeaderName, value: &str| {
            // As UTF-8, which the proxy reads.
            if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
                headers.append(name, value);
            }
        };
        if self.is_held {
            add(&HOLD, "stream");
        }
        self.channels.iter().for_each(|channel| add(&CHANNEL, channel));
        if let Some((text, period)) = self.keep_alive.as_ref().filter(|_| self.is_held) {
            let seconds = period.as_secs().max(1);
            add(&KEEP_ALIVE, &format!("{}; format=cstring; timeout={seconds}", cstring(text)));
        }
        if let Some((uri, timeout)) = &self.link {
            let timeout = timeout.map(|timeout| format!("; timeout={}", timeout.as_secs().max(1)));
            let uri = utf8_percent_encode(uri, NOT_IN_LINK);
            add(&LINK, &format!("<{uri}>; rel=next{}", timeout.unwrap_or_default()));
        }
        let meta = self.meta.iter().filter(|(_, value)| !value.contains(char::is_control));
        let meta: Vec<_> = meta
            .map(|(name, value)| {
                let value = value.replace('\\', "\\\\").replace('"', "\\\"");
                format!("{name}=\"{value}\"")
            })
            .collect();
        if !meta.is_empty() {
            add(&SET_META, &meta.join(", "));
        }
        headers
    }
}

impl Default for Hold {
    fn default() -> Self {
        Self::new()
    }
}

/// The name of a channel, where it says no more than that: what ends it in a header is encoded.
pub(super) fn plain(name: &str) -> String {
    utf8_percent_encode(name, NOT_IN_NAME).to_string()
}

/// As the proxy unescapes it.
fn cstring(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'\\' => escaped.push_str("\\\\"),
            b'\r' => escaped.push_str("\\r"),
            b'\n' => escaped.push_str("\\n"),
            b' '..=b'~' if byte != b';' => escaped.push(byte.into()),
            _ => write!(escaped, "\\x{byte:02x}").expect("writing to a String cannot fail"),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_is_headers_in_the_grammar_of_the_proxy() {
        let hold = Hold::new()
            .filtered("events-a", Some("41"), &["build-id", "skip-users"])
            .channel("user-7", None)
            .keep_alive("event: é;\ndata:\n\n", Duration::from_secs(20))
            .next_link("/grip/next/x", Some(Duration::from_mins(1)))
            .meta("user", "7");
        let headers = hold.headers();
        let all = |name| headers.get_all(name).iter().map(|it| it.to_str().expect("ASCII"));
        assert_eq!(all(HOLD).collect::<Vec<_>>(), ["stream"]);
        let channels = ["events-a; prev-id=41; filter=build-id; filter=skip-users", "user-7"];
        assert_eq!(all(CHANNEL).collect::<Vec<_>>(), channels);
        let keep_alive = r"event: \xc3\xa9\x3b\ndata:\n\n; format=cstring; timeout=20";
        assert_eq!(all(KEEP_ALIVE).collect::<Vec<_>>(), [keep_alive]);
        assert_eq!(all(LINK).collect::<Vec<_>>(), ["</grip/next/x>; rel=next; timeout=60"]);
        assert_eq!(all(SET_META).collect::<Vec<_>>(), ["user=\"7\""]);
        let more = Hold::more().next_link("/x", None).headers();
        assert!(!more.contains_key(HOLD) && more[LINK] == "</x>; rel=next");
    }
    /// Names of users and rooms come from outside, and some have forgotten `Grip::channel`.
    #[test]
    fn no_name_and_no_value_says_more_than_itself() {
        let hold = Hold::new()
            .channel("a, admin; prev-id=7\r\nx: \"é", None)
            .next_link("/x>; timeout=0, </y ?a=%20", None)
            .meta("user", "7\", id_format=\"\\é;")
            .meta("sender", "a\nb");
        let headers = hold.headers();
        let value = |name: HeaderName| {
            assert_eq!(headers.get_all(&name).iter().count(), 1);
            String::from_utf8(headers[name].as_bytes().to_vec()).expect("UTF-8")
        };
        assert_eq!(value(CHANNEL), "a%2C%20admin%3B%20prev-id=7%0D%0Ax:%20%22%C3%A9");
        assert_eq!(value(LINK), "</x%3E%3B%20timeout=0%2C%20%3C/y%20?a=%20>; rel=next");
        assert_eq!(value(SET_META), r#"user="7\", id_format=\"\\é;""#);
        let item = serde_json::to_value(crate::grip::Item::hint("a, admin")).expect("JSON");
        assert_eq!(item["channel"], "a%2C%20admin");
    }
}
