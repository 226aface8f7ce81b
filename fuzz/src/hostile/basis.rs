//! What a case takes for granted. A case blames a client for its own fault only: one that gets
//! wrong what another case is about is told so there, and here nothing.
//!
//! Most of it can be seen in the bytes: a stream with comments rests on `parse.comment`.

use super::case::{Act, Case, Check};

/// Cases that others rest on, the most basic first: none rests on one that stands after it.
const ORDER: &[&str] = &[
    "parse.lf",
    "parse.one-space",
    "parse.data-lines",
    "parse.trailing-space",
    "parse.first-colon",
    "parse.comment",
    "time.keep-alive",
    "parse.no-colon",
    "parse.unknown-field",
    "parse.type",
    "parse.type-forgotten",
    "parse.type-empty",
    "parse.type-error",
    "parse.type-prototype",
    "parse.empty-data",
    "parse.no-data",
    "parse.id",
    "parse.id-empty",
    "parse.id-without-data",
    "parse.nul-in-data",
    "parse.cr",
    "parse.crlf",
    "parse.cr-split",
    "parse.utf8-invalid",
    "parse.utf8-split",
    "parse.bom",
    "parse.bom-split",
    "con.type-parameters",
    "con.request",
    "con.reconnect",
    "con.reconnect-without-id",
    "time.retry",
    "time.empty-streams",
    "con.id-utf8",
    "cut.rst",
    "cut.mid-event",
];

/// The cases that this one rests on, the most basic first.
pub(super) fn of(case: &Case) -> Vec<&'static str> {
    let mut seen = Seen::default();
    for script in &case.scripts {
        seen.script(&script.0);
    }
    for check in case.all_checks() {
        seen.check(check);
    }
    seen.comes_back(case);
    let rank = |id: &str| ORDER.iter().position(|&basic| basic == id);
    let own = rank(&case.id).unwrap_or(ORDER.len());
    let mut basis: Vec<_> = ORDER[..own].iter().copied().filter(|id| seen.0.contains(id)).collect();
    basis.extend(case.rests_on.iter().filter(|&&id| id != case.id));
    basis
}

/// The basic cases that something was seen of.
#[derive(Default)]
struct Seen(Vec<&'static str>);

impl Seen {
    fn needs(&mut self, case: &'static str) {
        if !self.0.contains(&case) {
            self.0.push(case);
        }
    }

    fn script(&mut self, acts: &[Act]) {
        let mut pieces = Vec::new();
        let mut is_chunked = false;
        for act in acts {
            match act {
                Act::Head(text) => {
                    let (head, rest) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
                    let head = head.to_ascii_lowercase();
                    is_chunked = head.contains("transfer-encoding: chunked");
                    if head.contains("text/event-stream;") || head.contains("text/event-stream ;") {
                        self.needs("con.type-parameters");
                    }
                    pieces.push(rest.as_bytes().to_vec());
                }
                Act::Send(bytes) if is_chunked => pieces.push(unchunked(bytes)),
                Act::Send(bytes) => pieces.push(bytes.clone()),
                Act::Alive => {
                    self.needs("parse.comment");
                    self.needs("time.keep-alive");
                }
                Act::Ids(_) => {
                    self.needs("parse.id");
                    self.needs("parse.no-data");
                    self.needs("parse.id-without-data");
                }
                Act::Flood { unit, .. } if **unit == *b"\n" => self.needs("parse.no-data"),
                _ => {}
            }
        }
        pieces.retain(|piece| !piece.is_empty());
        self.pieces(&pieces);
        self.lines(&pieces.concat());
    }

    /// What depends on how the bytes are cut.
    fn pieces(&mut self, pieces: &[Vec<u8>]) {
        if pieces.concat().starts_with(b"\xef\xbb\xbf") {
            self.needs("parse.bom");
            if pieces[0].len() < 3 {
                self.needs("parse.bom-split");
            }
        }
        for pair in pieces.windows(2) {
            if pair[0].ends_with(b"\r") && pair[1].starts_with(b"\n") {
                self.needs("parse.cr-split");
            }
            if pair[1].first().is_some_and(|byte| byte & 0xC0 == 0x80) {
                self.needs("parse.utf8-split");
            }
        }
    }

    fn lines(&mut self, bytes: &[u8]) {
        if str::from_utf8(bytes).is_err() {
            self.needs("parse.utf8-invalid");
        }
        let text = String::from_utf8_lossy(bytes);
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        if text.contains("\r\n") {
            self.needs("parse.crlf");
        }
        let text = text.replace("\r\n", "\n");
        if text.contains('\r') {
            self.needs("parse.cr");
        }
        let mut block = Block::default();
        for line in text.split_terminator(['\r', '\n']) {
            self.line(line, &mut block);
        }
    }

    fn line(&mut self, line: &str, block: &mut Block) {
        if line.is_empty() {
            return self.blank(block);
        }
        let Some((name, value)) = line.split_once(':') else {
            let is_field = ["data", "event", "id", "retry"].contains(&line);
            self.needs(if is_field { "parse.no-colon" } else { "parse.unknown-field" });
            return block.line(line, "");
        };
        if name.is_empty() {
            return self.needs("parse.comment");
        }
        if !["data", "event", "id", "retry"].contains(&name) {
            return self.needs("parse.unknown-field");
        }
        self.needs("parse.one-space");
        let value = value.strip_prefix(' ').unwrap_or(value);
        if value.contains(':') {
            self.needs("parse.first-colon");
        }
        if value.ends_with(' ') && value.trim() != "" {
            self.needs("parse.trailing-space");
        }
        if value.contains('\0') && name == "data" {
            self.needs("parse.nul-in-data");
        }
        if name == "event" && !value.is_empty() {
            self.needs("parse.type");
        }
        match (name, value) {
            ("event", "") => self.needs("parse.type-empty"),
            ("event", "error" | "open") => self.needs("parse.type-error"),
            ("event", "constructor" | "__proto__") => self.needs("parse.type-prototype"),
            ("id", "") => self.needs("parse.id-empty"),
            ("id", _) => self.needs("parse.id"),
            _ => {}
        }
        block.line(name, value);
    }

    fn blank(&mut self, block: &mut Block) {
        match block.data {
            0 => self.needs("parse.no-data"),
            1 if block.is_empty => self.needs("parse.empty-data"),
            1 => {}
            _ => self.needs("parse.data-lines"),
        }
        if block.data == 0 && block.has_id {
            self.needs("parse.id-without-data");
        }
        if block.had_type && !block.has_type {
            self.needs("parse.type-forgotten");
        }
        let had_type = block.has_type || block.had_type;
        *block = Block { had_type, ..Block::default() };
    }

    fn check(&mut self, check: &Check) {
        match check {
            Check::Events(events) if !events.is_empty() => {
                self.needs("parse.lf");
                self.needs("parse.data-lines");
            }
            Check::Data(_) | Check::LastEvent(_) => self.needs("parse.lf"),
            Check::Pause(..) => self.needs("time.retry"),
            Check::NoLoop | Check::Bounded(_) => self.needs("time.empty-streams"),
            Check::LastEventId(_, Some(id)) if !id.is_ascii() => self.needs("con.id-utf8"),
            Check::LastEventId(_, None) => {
                self.needs("con.request");
                self.needs("con.reconnect-without-id");
            }
            Check::LastEventId(_, Some(_)) => self.needs("con.reconnect"),
            Check::Header(..) => self.needs("con.request"),
            _ => {}
        }
    }

    /// A client comes back after a stream, and after a reset.
    fn comes_back(&mut self, case: &Case) {
        let first = case.scripts.first().map(|script| script.0.as_slice()).unwrap_or_default();
        let is_redirect = |act: &Act| matches!(act, Act::Head(head) if head.contains("Location:"));
        if case.reach < 2 || first.iter().any(is_redirect) {
            return;
        }
        self.needs("con.reconnect");
        let is_error = |act: &Act| matches!(act, Act::Reset | Act::Abandon);
        if first.iter().any(is_error) {
            self.needs("cut.rst");
        }
    }
}

/// What has been seen of an event.
#[derive(Default)]
#[allow(clippy::struct_excessive_bools, reason = "these are cells of a record")]
struct Block {
    data: usize,
    is_empty: bool,
    has_id: bool,
    has_type: bool,
    /// An event before had a type.
    had_type: bool,
}

impl Block {
    fn line(&mut self, name: &str, value: &str) {
        match name {
            "data" => {
                self.data += 1;
                self.is_empty = value.is_empty();
            }
            "id" => self.has_id = true,
            "event" => self.has_type = true,
            _ => {}
        }
    }
}

/// The data of a chunk of HTTP; what is no chunk has none.
fn unchunked(bytes: &[u8]) -> Vec<u8> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n");
    let data = end.and_then(|end| {
        let size = usize::from_str_radix(str::from_utf8(&bytes[..end]).ok()?, 16).ok()?;
        bytes.get(end + 2..end + 2 + size)
    });
    data.unwrap_or_default().to_vec()
}
