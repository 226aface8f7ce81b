//! What one check found, and what it rests on. Secrets have gone before anything gets here.

use std::fmt::Write as _;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::catalogue::{Check, Severity};
use super::tape::{End, Tape};
use super::target::{REDACTED, Target, redacted_head};
use crate::verdict::Verdict;

/// How many reads and events of a connection are shown.
const SHOWN: usize = 12;

/// How much of one text is shown, in bytes.
const SHOWN_LEN: usize = 400;

/// What is said, and the connections that show it.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) verdict: Verdict,
    pub(super) reason: String,
    pub(super) exchanges: Vec<Exchange>,
}

impl Finding {
    pub(super) fn new(verdict: Verdict, reason: impl Into<String>) -> Self {
        Self { verdict, reason: reason.into(), exchanges: Vec::new() }
    }

    pub(super) fn pass() -> Self {
        Self::new(Verdict::Pass, "")
    }

    pub(super) fn pass_with(reason: impl Into<String>) -> Self {
        Self::new(Verdict::Pass, reason)
    }

    /// A violation, as grave as the check says.
    pub(super) fn fault(check: &Check, reason: impl Into<String>) -> Self {
        Self::new(check.severity.verdict(), reason)
    }

    pub(super) fn warn(reason: impl Into<String>) -> Self {
        Self::new(Verdict::Warn, reason)
    }

    pub(super) fn info(reason: impl Into<String>) -> Self {
        Self::new(Verdict::Info, reason)
    }

    pub(super) fn skip(reason: impl Into<String>) -> Self {
        Self::new(Verdict::Skip, reason)
    }

    pub(super) fn inconclusive(reason: impl Into<String>) -> Self {
        Self::new(Verdict::Inconclusive, reason)
    }

    /// A pass, or a violation if there is something to say.
    pub(super) fn of(check: &Check, fault: Option<String>) -> Self {
        fault.map_or_else(Self::pass, |reason| Self::fault(check, reason))
    }

    pub(super) fn saw(mut self, target: &Target, tape: &Tape) -> Self {
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
    pub(super) fn of(target: &Target, tape: &Tape) -> Self {
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

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Bytes as text in which nothing is invisible, and not too much of it.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let kept = &bytes[..bytes.len().min(SHOWN_LEN)];
    let mut text = String::new();
    for part in kept.utf8_chunks() {
        for char in part.valid().chars() {
            match char {
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                char if char.is_control() || ('\u{2028}'..='\u{202f}').contains(&char) => {
                    // Writing to a string cannot fail.
                    let _ = write!(text, "{}", char.escape_unicode());
                }
                char => text.push(char),
            }
        }
        for byte in part.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    if bytes.len() > kept.len() {
        let _ = write!(text, " … ({} bytes)", bytes.len());
    }
    text
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

/// What came of a check, for reports.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// The check's id.
    pub id: String,
    /// What is expected.
    pub title: String,
    /// What a violation means.
    pub severity: Severity,
    /// Where the expectation is written.
    pub reference: String,
    /// The verdict.
    pub verdict: Verdict,
    /// Why; may be empty for a pass.
    pub reason: String,
    /// Whether a failure was expected (`--expected-failures`).
    #[serde(default)]
    pub expected: bool,
    /// How long it took, in seconds.
    pub seconds: f32,
    /// What it rests on.
    pub exchanges: Vec<Exchange>,
}

impl Outcome {
    pub(super) fn new(check: &Check, finding: Finding, time: Duration, secrets: &Secrets) -> Self {
        let mut outcome = Self {
            id: check.id.clone().into_owned(),
            title: check.title.clone().into_owned(),
            severity: check.severity,
            reference: check.reference.to_owned(),
            verdict: finding.verdict,
            reason: finding.reason,
            expected: false,
            seconds: time.as_secs_f32(),
            exchanges: finding.exchanges,
        };
        secrets.hide(&mut outcome.reason);
        for exchange in &mut outcome.exchanges {
            let Exchange { request, curl, head, chunks, events, end, total: _ } = exchange;
            let texts = [request, curl, head, end].into_iter();
            let texts = texts.chain(chunks.iter_mut().map(|(_, text)| text)).chain(events);
            texts.for_each(|text| secrets.hide(text));
        }
        outcome
    }
}

/// Words that must not be seen, wherever they turn up: a server may send them back.
#[derive(Debug, Default)]
pub(super) struct Secrets(Vec<String>);

impl Secrets {
    pub(super) fn add(&mut self, secret: &str) {
        // Shorter ones would take harmless text with them.
        if secret.len() >= 4 {
            self.0.push(secret.to_owned());
        }
    }

    fn hide(&self, text: &mut String) {
        for secret in &self.0 {
            if text.contains(secret) {
                *text = text.replace(secret, REDACTED);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Exchange, Secrets, shown};
    use crate::probe::tape::Tape;
    use crate::probe::target::Target;

    #[test]
    fn nothing_is_invisible() {
        assert_eq!(shown(b"a\r\n\0\xffb"), "a\\r\\n\\u{0}\\xffb");
        assert!(shown(&[b'x'; 1000]).ends_with("… (1000 bytes)"));
    }

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
        let mut secrets = Secrets::default();
        secrets.add("s3cret");
        let mut text = "the token s3cret is wrong".to_owned();
        secrets.hide(&mut text);
        assert_eq!(text, "the token [redacted] is wrong");
    }
}
