//! What one check has found, and what it rests on.

use std::fmt::Write as _;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::verdict::Verdict;
use crate::wire::shown::{SHOWN_LEN, millis, shown};
use crate::wire::tape::{End, Tape};
use crate::wire::target::{REDACTED, Target, redacted_head};

/// How many reads and events of a connection are shown.
const SHOWN: usize = 12;

/// How a check has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ruling {
    /// With a violation, as grave as the check says.
    Fault,
    /// With this verdict, whatever the check says.
    Is(Verdict),
}

/// What is said, and the connections that show it.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) ruling: Ruling,
    pub(crate) reason: String,
    pub(crate) exchanges: Vec<Exchange>,
    /// It rests on the clock alone: on what took long, or did not come in time. What was received
    /// is a fact.
    pub(crate) is_of_time: bool,
}

/// What a check comes to. `Err` is a finding, too: one that ends the check early.
pub(crate) type Judged = Result<Finding, Finding>;

impl Finding {
    fn new(ruling: Ruling, reason: impl Into<String>) -> Self {
        Self { ruling, reason: reason.into(), exchanges: Vec::new(), is_of_time: false }
    }

    pub(crate) fn pass() -> Self {
        Self::pass_with("")
    }

    pub(crate) fn pass_with(reason: impl Into<String>) -> Self {
        Self::new(Ruling::Is(Verdict::Pass), reason)
    }

    /// A violation, as grave as the check says.
    pub(crate) fn fault(reason: impl Into<String>) -> Self {
        Self::new(Ruling::Fault, reason)
    }

    /// A failure, even of a check whose violations are less.
    pub(crate) fn fail(reason: impl Into<String>) -> Self {
        Self::new(Ruling::Is(Verdict::Fail), reason)
    }

    pub(crate) fn warn(reason: impl Into<String>) -> Self {
        Self::new(Ruling::Is(Verdict::Warn), reason)
    }

    pub(crate) fn info(reason: impl Into<String>) -> Self {
        Self::new(Ruling::Is(Verdict::Info), reason)
    }

    pub(crate) fn skip(reason: impl Into<String>) -> Self {
        Self::new(Ruling::Is(Verdict::Skip), reason)
    }

    pub(crate) fn inconclusive(reason: impl Into<String>) -> Self {
        Self::new(Ruling::Is(Verdict::Inconclusive), reason)
    }

    /// A pass, or a violation if there is something to say.
    pub(crate) fn of(fault: Option<String>) -> Self {
        fault.map_or_else(Self::pass, Self::fault)
    }

    /// If it is a violation, it rests on the clock alone, and is looked at again before it is said.
    pub(crate) fn of_time(self) -> Self {
        self.of_time_if(true)
    }

    pub(crate) fn of_time_if(mut self, is_of_time: bool) -> Self {
        self.is_of_time = is_of_time;
        self
    }

    /// Adds what was seen on a connection.
    pub(crate) fn saw(mut self, target: &Target, tape: &Tape) -> Self {
        self.exchanges.push(Exchange::of(target, tape));
        self
    }
}

/// A request and what came of it, as far as it is shown.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Exchange {
    /// The request's bytes.
    pub request: String,
    /// A command that makes the same request.
    pub curl: String,
    /// The head of the answer.
    pub head: String,
    /// What was read of the body, with the milliseconds since the connection was begun.
    pub chunks: Vec<(u64, String)>,
    /// The events in it, as `sse-fuzz decode` prints them.
    pub events: Vec<String>,
    /// How many bytes of body and events there were in all.
    pub total: (u64, usize),
    /// How it ended, if the server ended it.
    pub end: String,
}

impl Exchange {
    pub(crate) fn of(target: &Target, tape: &Tape) -> Self {
        let mut begin = 0;
        let mut chunks = Vec::new();
        for mark in &tape.marks {
            if chunks.len() == SHOWN {
                break;
            }
            let bytes = &tape.body[begin..mark.end];
            begin = mark.end;
            chunks.push((millis(mark.at), shown(bytes)));
        }
        let events = tape.events.iter().take(SHOWN).map(|event| {
            let data = shown(event.data.as_bytes());
            let line = serde_json::json!({"event": event.event, "data": data, "id": event.last_id});
            line.to_string()
        });
        let request = String::from_utf8_lossy(&tape.request);
        let head_len = request.find("\r\n\r\n").map_or(request.len(), |at| at + 4);
        let (head, body) = request.split_at(head_len);
        let head = redacted_head(head);
        Self {
            curl: curl(target, &head, body),
            request: shown(format!("{head}{body}").as_bytes()),
            head: tape.head.as_ref().map(|head| redacted_head(&head.text)).unwrap_or_default(),
            chunks,
            events: events.collect(),
            total: (tape.total, tape.events.len()),
            end: tape.end.as_ref().map(|(at, end)| ending(*at, end)).unwrap_or_default(),
        }
    }
}

fn ending(at: Duration, end: &End) -> String {
    let how = match end {
        End::Complete => "the server ended the message",
        End::Closed => "the server closed the connection",
        End::Cut => "the connection was closed in the middle of a message",
        End::Reset => "the connection was reset",
        End::Malformed(what) => return format!("after {} ms: no HTTP: {what}", millis(at)),
    };
    format!("after {} ms: {how}", millis(at))
}

/// A command line for the request; of secrets, only the names.
fn curl(target: &Target, head: &str, body: &str) -> String {
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let words: Vec<&str> = first.split(' ').collect();
    let is_plain = |text: &str| text.len() < 1000 && !text.contains(['\r', '\n', '\0']);
    let headers: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    let [method, path, version] = words[..] else {
        return raw(target, head, body);
    };
    if !headers.iter().all(|line| is_plain(line)) || !is_plain(path) || !path.starts_with('/') {
        return raw(target, head, body);
    }
    let mut command = "curl -isN --max-time 10".to_owned();
    match method {
        "GET" => {}
        "HEAD" => command += " -I",
        method => {
            command += " -X ";
            command += method;
        }
    }
    if target.is_https() {
        command += &target.trust().as_curl_has_it();
    }
    if version == "HTTP/1.0" {
        command += " --http1.0";
    }
    if version == "HTTP/2" {
        command += if target.is_https() { " --http2" } else { " --http2-prior-knowledge" };
    }
    let authority = target.authority();
    for line in headers {
        let is_own = ["Content-Length:", "User-Agent:"].iter().any(|name| line.starts_with(name));
        if !is_own && line != format!("Host: {authority}") {
            let _ = write!(command, " -H {}", shell_words::quote(&line.replace(REDACTED, "…")));
        }
    }
    if !body.is_empty() {
        let _ = write!(command, " --data-raw {}", shell_words::quote(&shown(body.as_bytes())));
    }
    let scheme = if target.is_https() { "https" } else { "http" };
    command + &format!(" {}", shell_words::quote(&format!("{scheme}://{authority}{path}")))
}

/// For requests that curl would not make.
fn raw(target: &Target, head: &str, body: &str) -> String {
    let text = format!("{head}{body}");
    let mut quoted = String::new();
    for byte in text.bytes().take(SHOWN_LEN) {
        match byte {
            b'\r' => quoted.push_str("\\r"),
            b'\n' => quoted.push_str("\\n"),
            b'%' => quoted.push_str("%%"),
            b'\\' => quoted.push_str("\\\\"),
            b' '..=b'~' if byte != b'\'' => quoted.push(char::from(byte)),
            byte => {
                let _ = write!(quoted, "\\{byte:03o}");
            }
        }
    }
    let cut = if text.len() > SHOWN_LEN { " # cut short" } else { "" };
    let (name, port) = (target.name(), target.port());
    if target.is_https() {
        return format!("printf '{quoted}' | openssl s_client -quiet -connect {name}:{port}{cut}");
    }
    format!("printf '{quoted}' | nc {name} {port}{cut}")
}

#[cfg(test)]
mod tests {
    use super::Exchange;
    use crate::wire::tape::Tape;
    use crate::wire::target::Target;

    #[test]
    fn a_request_becomes_a_command_line_without_secrets() {
        let target = Target::new("http://h:1/a?token=s3cret").expect("a URL");
        let ask = |header: &str| {
            let request = format!("GET /a?token=s3cret HTTP/1.1\r\nHost: h:1\r\n{header}\r\n\r\n");
            Exchange::of(&target, &Tape::new(request.into_bytes()))
        };
        let plain = ask("Authorization: Bearer s3cret");
        assert_eq!(
            plain.curl,
            "curl -isN --max-time 10 -H 'Authorization: …' 'http://h:1/a?token=[redacted]'"
        );
        assert!(!plain.request.contains("s3cret"));
        let odd = ask("Last-Event-ID: a\rb");
        assert!(odd.curl.starts_with("printf 'GET /a") && odd.curl.ends_with("| nc h 1"));
    }
}
