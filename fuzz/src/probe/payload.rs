//! Texts that servers stumble over when somebody publishes them.

/// A text that is published in a field.
#[derive(Clone, Copy, Debug)]
pub(super) struct Payload {
    pub(super) name: &'static str,
    /// `@` stands for a word that is new each time, `*` for a mebibyte.
    pub(super) text: &'static [u8],
    pub(super) about: &'static str,
}

const fn payload(name: &'static str, text: &'static [u8], about: &'static str) -> Payload {
    Payload { name, text, about }
}

pub(super) const PAYLOADS: &[Payload] = &[
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
