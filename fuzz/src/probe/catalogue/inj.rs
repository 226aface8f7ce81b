//! `inj`: what is published, or asked for, must not become lines of its own in others' streams.

use super::Needs::{Publish, Url};
use super::{Check, Row, Severity, section};

/// Places of a published event that text can be put in, as the hook names them.
pub(in crate::probe) const FIELDS: [&str; 6] = ["data", "event", "id", "retry", "comment", "topic"];

/// Something to be published in a field.
#[derive(Clone, Copy, Debug)]
pub(in crate::probe) struct Payload {
    pub(in crate::probe) name: &'static str,
    /// `@` stands for a word that is new each time.
    pub(in crate::probe) text: &'static [u8],
    pub(in crate::probe) about: &'static str,
}

const fn payload(name: &'static str, text: &'static [u8], about: &'static str) -> Payload {
    Payload { name, text, about }
}

pub(in crate::probe) const PAYLOADS: &[Payload] = &[
    payload("lf", b"a@\nb@", "an LF"),
    payload("cr", b"a@\rb@", "a CR"),
    payload("crlf", b"a@\r\nb@", "CR LF"),
    payload("lf-lf", b"a@\n\ndata: b@", "two LF and an event"),
    payload("cr-cr", b"a@\r\rdata: b@", "two CR and an event"),
    payload("type", b"a@\nevent: b@", "an LF and a type"),
    payload("id-line", b"a@\nid: b@", "an LF and an id"),
    payload("retry-line", b"a@\nretry: 1", "an LF and a reconnection time"),
    payload("comment-line", b"a@\n:b@", "an LF and a comment"),
    payload("nul", b"a@\0b@", "a NUL"),
    payload("ls", "a@\u{2028}b@".as_bytes(), "U+2028, which ends no line"),
    payload("ps", "a@\u{2029}b@".as_bytes(), "U+2029, which ends no line"),
    payload("nel", "a@\u{85}b@".as_bytes(), "U+0085, which ends no line"),
    payload("vt", b"a@\x0bb@", "U+000B, which ends no line"),
    payload("ff", b"a@\x0cb@", "U+000C, which ends no line"),
    payload("surrogate", b"a@\\ud800b@", "a lone surrogate, as JSON has it"),
    payload("bom", "\u{feff}a@b@".as_bytes(), "a byte order mark first"),
    payload("bom-middle", "a@\u{feff}b@".as_bytes(), "a byte order mark within"),
    payload("invalid-utf8", b"a@\xffb@", "bytes that are no UTF-8"),
    payload("space", b" a@b@", "a leading space"),
    payload("colon", b":a@b@", "a leading colon"),
    payload("empty", b"", "nothing"),
    payload("megabyte", b"a@*b@", "one MiB"),
    payload("done", b"[DONE]", "the end mark of LLM streams"),
];

const REFLECTED: &[Row] = &[
    ("inj.path", Severity::Security, Url, "advice", "A line end in the path makes no line"),
    ("inj.query", Severity::Security, Url, "advice", "A line end in the query makes no line"),
    ("inj.user-agent", Severity::Security, Url, "advice", "User-Agent makes no line"),
    ("inj.cookie", Severity::Security, Url, "advice", "Cookie makes no line"),
    ("inj.last-event-id", Severity::Security, Url, "advice", "Last-Event-ID makes no line"),
];

const REFERENCES: [(&str, &str); 6] = [
    ("data", "CVE-2026-33128"),
    ("event", "CVE-2026-22735"),
    ("id", "CVE-2026-22735"),
    ("retry", "CVE-2026-29085"),
    ("comment", "CVE-2026-33128"),
    ("topic", "advice"),
];

/// Whether the id is one of a field and a payload.
pub(super) fn is_product(id: &str) -> bool {
    id.starts_with("inj.") && !REFLECTED.iter().any(|row| row.0 == id)
}

pub(super) fn checks() -> Vec<Check> {
    let mut checks: Vec<Check> = section(REFLECTED, false).collect();
    for (field, reference) in REFERENCES {
        checks.extend(PAYLOADS.iter().map(|payload| Check {
            id: format!("inj.{field}-{}", payload.name).into(),
            title: format!("Published in {field}, {} changes nothing else", payload.about).into(),
            severity: Severity::Security,
            needs: Publish,
            reference,
            is_aggressive: false,
        }));
    }
    checks
}
