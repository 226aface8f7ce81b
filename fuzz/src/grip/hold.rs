//! What an answer tells the proxy: the headers of GRIP, or the instructions in its body.
//!
//! Read as Pushpin 1.36 and 1.41 read them. What they could not read is a problem of the answer.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::wire::tape::Head;

/// The media type of an answer that has its instructions in its body.
pub(super) const INSTRUCT: &str = "application/grip-instruct";

/// What a proxy does when an answer does not say.
const DEFAULT_KEEP_ALIVE: Duration = Duration::from_secs(55);

/// How a connection is to be held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Hold {
    /// `stream`, `response`, or something else; without one there is no hold.
    pub(super) mode: Option<String>,
    pub(super) channels: Vec<Channel>,
    pub(super) keep_alive: Option<KeepAlive>,
    pub(super) link: Option<Link>,
    pub(super) meta: BTreeMap<String, String>,
    /// What a proxy cannot read, or reads as something else.
    pub(super) problems: Vec<String>,
}

/// A channel that the connection is on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Channel {
    pub(super) name: String,
    pub(super) prev_id: Option<String>,
    pub(super) filters: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeepAlive {
    pub(super) bytes: Vec<u8>,
    pub(super) period: Duration,
}

/// Where the proxy asks next, and after what time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) uri: String,
    pub(super) timeout: Option<Duration>,
}

impl Hold {
    /// What the headers say.
    pub(super) fn of_headers(head: &Head) -> Self {
        let mut hold = Self { mode: head.header("grip-hold"), ..Self::default() };
        for line in head.all("grip-channel") {
            for entry in line.split(',').filter(|entry| !entry.trim().is_empty()) {
                hold.take_channel(entry);
            }
        }
        if let Some(value) = head.header("grip-keep-alive") {
            hold.take_keep_alive(&value);
        }
        for value in head.all("grip-link") {
            hold.take_link(value);
        }
        for value in head.all("grip-set-meta") {
            hold.take_meta(value);
        }
        hold.judge();
        hold
    }

    /// What a body of [`INSTRUCT`] says, and the body for the client.
    pub(super) fn of_body(head: &Head, body: &[u8]) -> (Self, Vec<u8>) {
        let Ok(said) = serde_json::from_slice::<Value>(body) else {
            let problems = vec!["the body is no JSON".to_owned()];
            return (Self { problems, ..Self::default() }, Vec::new());
        };
        let told = &said["hold"];
        let mut hold = Self::default();
        if told.is_object() {
            hold.mode = Some(told["mode"].as_str().unwrap_or("response").to_owned());
        }
        for channel in told["channels"].as_array().into_iter().flatten() {
            let text = |name: &str| channel[name].as_str().map(str::to_owned);
            let filters = channel["filters"].as_array().into_iter().flatten();
            hold.channels.push(Channel {
                name: text("name").unwrap_or_default(),
                prev_id: text("prev-id"),
                filters: filters.filter_map(|it| it.as_str().map(str::to_owned)).collect(),
            });
        }
        let alive = &told["keep-alive"];
        if let Some(bytes) = content(alive, "content") {
            let seconds = alive["timeout"].as_u64();
            let period = seconds.map_or(DEFAULT_KEEP_ALIVE, Duration::from_secs);
            hold.keep_alive = Some(KeepAlive { bytes, period });
        }
        for (name, value) in told["meta"].as_object().into_iter().flatten() {
            hold.meta.insert(name.clone(), value.as_str().unwrap_or_default().to_owned());
        }
        for value in head.all("grip-link") {
            hold.take_link(value);
        }
        hold.judge();
        (hold, content(&said["response"], "body").unwrap_or_default())
    }

    fn take_channel(&mut self, entry: &str) {
        let mut parts = entry.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_owned();
        let mut channel = Channel { name, ..Channel::default() };
        for part in parts {
            match part.split_once('=') {
                Some(("prev-id", id)) => channel.prev_id = Some(id.to_owned()),
                Some(("filter", name)) => channel.filters.push(name.to_owned()),
                _ => self.problems.push(format!("Grip-Channel has {part:?}, which says nothing")),
            }
        }
        self.channels.push(channel);
    }

    fn take_keep_alive(&mut self, value: &str) {
        let mut parts = value.split(';');
        let data = parts.next().unwrap_or_default();
        let mut format = "raw".to_owned();
        let mut period = DEFAULT_KEEP_ALIVE;
        for part in parts.map(str::trim) {
            match part.split_once('=') {
                Some(("format", name)) => name.clone_into(&mut format),
                Some(("timeout", text)) => match text.parse() {
                    Ok(seconds @ 1..) => period = Duration::from_secs(seconds),
                    _ => self.problems.push(format!("Grip-Keep-Alive: {text:?} are no seconds")),
                },
                Some(("mode", "idle" | "interval")) => {}
                _ => {
                    self.problems.push(format!("Grip-Keep-Alive has {part:?}, which says nothing"));
                }
            }
        }
        let bytes = match format.as_str() {
            "raw" => Some(data.as_bytes().to_vec()),
            "cstring" => cstring(data),
            "base64" => STANDARD.decode(data.trim()).ok(),
            _ => None,
        };
        match bytes {
            Some(bytes) => self.keep_alive = Some(KeepAlive { bytes, period }),
            None => self.problems.push(format!("Grip-Keep-Alive cannot be read as {format}")),
        }
    }

    fn take_link(&mut self, value: &str) {
        // A comma ends a link, also within the brackets.
        for entry in value.split(',') {
            let read = entry.trim().strip_prefix('<').and_then(|rest| rest.split_once('>'));
            let Some((uri, rest)) = read else {
                self.problems.push("Grip-Link has a part that is not <URI>; rel=next".to_owned());
                continue;
            };
            let mut is_next = false;
            let mut timeout = None;
            for part in rest.split(';').map(str::trim).filter(|part| !part.is_empty()) {
                match part.split_once('=') {
                    Some(("rel", rel)) => is_next = rel.trim_matches('"') == "next",
                    Some(("timeout", text)) => match text.parse() {
                        Ok(seconds) => timeout = Some(Duration::from_secs(seconds)),
                        Err(_) => {
                            self.problems.push(format!("Grip-Link: {text:?} are no seconds"));
                        }
                    },
                    _ => self.problems.push(format!("Grip-Link has {part:?}, which says nothing")),
                }
            }
            if is_next {
                self.link = Some(Link { uri: uri.to_owned(), timeout });
            }
        }
    }

    fn take_meta(&mut self, value: &str) {
        let mut rest = value.trim();
        while !rest.is_empty() {
            let Some((name, quoted)) = rest.split_once("=\"") else {
                self.problems.push(format!("Grip-Set-Meta: {rest:?} is not NAME=\"VALUE\""));
                return;
            };
            let mut text = String::new();
            let mut chars = quoted.char_indices();
            let end = loop {
                match chars.next() {
                    Some((at, '"')) => break Some(at),
                    Some((_, '\\')) => text.extend(chars.next().map(|(_, char)| char)),
                    Some((_, char)) => text.push(char),
                    None => break None,
                }
            };
            let Some(end) = end else {
                self.problems.push("Grip-Set-Meta: the quotes are not closed".to_owned());
                return;
            };
            self.meta.insert(name.trim().to_owned(), text);
            rest = quoted[end + 1..].trim_start_matches([',', ';', ' ']);
        }
    }

    /// What is wrong with names and modes, in either form.
    fn judge(&mut self) {
        let is_odd =
            |text: &str| text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic());
        for channel in &self.channels {
            if is_odd(&channel.name) || channel.name.contains(['"', ',', ';']) {
                self.problems.push(format!("{:?} cannot be a channel's name", channel.name));
            }
            if channel.prev_id.as_deref().is_some_and(is_odd) {
                self.problems.push(format!("the prev-id of {} cannot be one", channel.name));
            }
        }
        let mode = self.mode.as_deref().filter(|mode| !["stream", "response"].contains(mode));
        if let Some(mode) = mode {
            self.problems.push(format!("Grip-Hold is {mode:?}, which is no way to hold"));
        }
    }

    pub(super) const fn is_held(&self) -> bool {
        self.mode.is_some()
    }

    /// Whether what is sent goes through the filter that builds ids.
    pub(super) fn builds_ids(&self) -> bool {
        self.channels.iter().any(|it| it.filters.iter().any(|name| name == "build-id"))
    }

    /// Where the connection is in its channels, by name.
    pub(super) fn places(&self) -> BTreeMap<String, String> {
        let with_id = self
            .channels
            .iter()
            .filter_map(|channel| Some((channel.name.clone(), channel.prev_id.clone()?)));
        with_id.collect()
    }

    /// Names of channels.
    pub(super) fn names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.channels.iter().map(|it| it.name.as_str()).collect();
        names.sort_unstable();
        names
    }
}

fn content(of: &Value, name: &str) -> Option<Vec<u8>> {
    let binary = of[&format!("{name}-bin")].as_str();
    match binary {
        Some(text) => STANDARD.decode(text).ok(),
        None => of[name].as_str().map(|text| text.as_bytes().to_vec()),
    }
}

/// The only escapes that a proxy knows: `\\`, `\r`, `\n`, `\xHH`.
fn cstring(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'\\' {
            bytes.push(first);
            continue;
        }
        let (&escape, after) = rest.split_first()?;
        rest = after;
        match escape {
            b'\\' => bytes.push(b'\\'),
            b'r' => bytes.push(b'\r'),
            b'n' => bytes.push(b'\n'),
            b'x' => {
                let digits = str::from_utf8(rest.get(..2)?).ok()?;
                bytes.push(u8::from_str_radix(digits, 16).ok()?);
                rest = &rest[2..];
            }
            _ => return None,
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(headers: &[(&str, &str)]) -> Head {
        let headers = headers.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        Head { status: 200, headers: headers.collect(), text: String::new() }
    }

    #[test]
    fn a_hold_is_read_as_a_proxy_reads_it() {
        let hold = Hold::of_headers(&head(&[
            ("Grip-Hold", "stream"),
            ("Grip-Channel", "a; prev-id=7; filter=build-id; filter=skip-users, b"),
            ("grip-channel", "c"),
            ("Grip-Keep-Alive", r"event: k\n\x3b\n; format=cstring; timeout=20"),
            ("Grip-Link", "</next?a=b>; rel=next; timeout=60, </gone>; rel=gone"),
            ("Grip-Set-Meta", r#"id_format="a:%(a)s,c:%(c)s", user="x""#),
        ]));
        assert_eq!(hold.problems, Vec::<String>::new());
        assert_eq!(hold.names(), ["a", "b", "c"]);
        assert_eq!(hold.places(), BTreeMap::from([("a".to_owned(), "7".to_owned())]));
        assert!(hold.is_held() && hold.builds_ids());
        let alive = hold.keep_alive.expect("there is one");
        assert_eq!((&*alive.bytes, alive.period.as_secs()), (&b"event: k\n;\n"[..], 20));
        let link = hold.link.expect("there is one");
        assert_eq!((&*link.uri, link.timeout), ("/next?a=b", Some(Duration::from_mins(1))));
        assert_eq!(hold.meta["id_format"], "a:%(a)s,c:%(c)s");
        assert_eq!(hold.meta["user"], "x");
    }

    #[test]
    fn what_a_proxy_cannot_read_is_a_problem() {
        for (name, value) in [
            ("Grip-Hold", "forever"),
            ("Grip-Channel", "a b"),
            ("Grip-Channel", "a; prev-id="),
            ("Grip-Channel", "a; previd=7"),
            ("Grip-Keep-Alive", r"\t; format=cstring"),
            ("Grip-Keep-Alive", r":\n\n; format=c"),
            ("Grip-Keep-Alive", ":; timeout=0"),
            ("Grip-Link", "/next; rel=next"),
            ("Grip-Link", "</a,b>; rel=next"),
            ("Grip-Link", "</a>; rel=next; timeout=soon"),
            ("Grip-Set-Meta", "user=x"),
            ("Grip-Set-Meta", "user=\"x"),
        ] {
            let hold = Hold::of_headers(&head(&[(name, value)]));
            assert!(!hold.problems.is_empty(), "{name}: {value}");
        }
    }

    #[test]
    fn instructions_in_a_body_say_the_same() {
        let body = r#"{"hold": {"mode": "stream", "channels": [{"name": "a", "prev-id": "1"}],
            "keep-alive": {"content": ":\n\n", "timeout": 20}, "meta": {"user": "x"}},
            "response": {"body-bin": "OmhpCgo="}}"#;
        let (hold, body) = Hold::of_body(&head(&[]), body.as_bytes());
        assert_eq!((hold.mode.as_deref(), hold.names()), (Some("stream"), vec!["a"]));
        assert_eq!(hold.keep_alive.expect("there is one").bytes, b":\n\n");
        assert_eq!(body, b":hi\n\n");
        let (hold, _) = Hold::of_body(&head(&[]), b"{\"hold\": {}}");
        assert_eq!(hold.mode.as_deref(), Some("response"));
    }
}
