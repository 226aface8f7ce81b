//! Faults in the bytes of one stream, each with the sentence that tells it.

use std::collections::BTreeSet;

use crate::probe::context::is_application;
use crate::probe::finding::Finding;
use crate::probe::lines::{Line, LineEnd, Stream, blocks};
use crate::wire::shown::shown;
use crate::wire::tape::End;

/// Above these, known clients give up.
const LONG_LINE: usize = 64 << 10;
const LONG_EVENT: usize = 1 << 20;

/// The first line of this kind.
fn line(stream: &Stream<'_>, is_it: impl Fn(&Line<'_>) -> bool) -> Option<String> {
    stream.whole.iter().find(|line| is_it(line)).map(|line| shown(line.text))
}

pub(super) fn bom(stream: &Stream<'_>) -> Option<String> {
    let line = line(stream, |line| line.text.starts_with(b"\xef\xbb\xbf"))?;
    Some(format!("a byte order mark makes {line} another field"))
}

pub(super) fn fields(stream: &Stream<'_>) -> Option<String> {
    line(stream, is_unknown).map(|line| format!("clients ignore {line}"))
}

pub(super) fn space(stream: &Stream<'_>) -> Option<String> {
    line(stream, is_spaced).map(|line| format!("a space makes another field of {line}"))
}

pub(super) fn bare_json(stream: &Stream<'_>) -> Option<String> {
    line(stream, is_json).map(|line| format!("clients ignore {line}, which has no `data:`"))
}

pub(super) fn id_nul(stream: &Stream<'_>) -> Option<String> {
    let is_void = |line: &Line<'_>| {
        let (name, value) = line.field();
        name == b"id" && value.contains(&0)
    };
    line(stream, is_void).map(|line| format!("{line} is void"))
}

pub(super) fn data_data(stream: &Stream<'_>) -> Option<String> {
    let event = stream.tape.events.iter().find(|event| event.data.starts_with("data:"))?;
    Some(format!("the data is {}", shown(event.data.as_bytes())))
}

pub(super) fn reserved_type(stream: &Stream<'_>) -> Option<String> {
    let is_it = |name: &str| matches!(name, "error" | "open");
    let event = stream.tape.events.iter().find(|event| is_it(&event.event))?;
    Some(format!("an EventSource has events {:?} of its own", event.event))
}

pub(super) fn utf8(stream: &Stream<'_>) -> Option<String> {
    let tape = stream.tape;
    let error = str::from_utf8(&tape.body).err()?;
    // No length: the rest of a character may still come.
    let len = error.error_len()?;
    let at = error.valid_up_to();
    let from = at.saturating_sub(20);
    let to = (at + len + 10).min(tape.body.len());
    Some(format!("byte {at} is no UTF-8: {}", shown(&tape.body[from..to])))
}

pub(super) fn terminators(stream: &Stream<'_>) -> Option<String> {
    let lines = &stream.whole;
    let first = lines.first()?.end;
    // The blank line of LF CR is another check's business.
    let is_stray = |line: &&Line<'_>| line.is_blank() && line.end == LineEnd::Cr;
    let mut others = lines.iter().filter(|line| line.end != first);
    let other = others.find(|line| first == LineEnd::Cr || !is_stray(line))?;
    Some(format!("lines end in {first:?}, and in {:?} after {}", other.end, shown(other.text)))
}

pub(super) fn lf_cr(stream: &Stream<'_>) -> Option<String> {
    let tape = stream.tape;
    // LF CR LF is a line end of each kind, and meant.
    let found = tape
        .body
        .windows(3)
        .position(|three| three[0] == b'\n' && three[1] == b'\r' && three[2] != b'\n')?;
    let from = found.saturating_sub(20);
    let to = (found + 20).min(tape.body.len());
    Some(format!("LF CR at byte {found}: {}", shown(&tape.body[from..to])))
}

fn is_json(line: &Line<'_>) -> bool {
    matches!(line.text.first(), Some(b'{' | b'[' | b'"'))
}

fn is_spaced(line: &Line<'_>) -> bool {
    let (name, _) = line.field();
    let trimmed = name.trim_ascii();
    trimmed.len() != name.len() && is_known(trimmed)
}

fn is_known(name: &[u8]) -> bool {
    matches!(name, b"data" | b"event" | b"id" | b"retry")
}

/// A field that is neither known nor another check's business.
fn is_unknown(line: &Line<'_>) -> bool {
    let (name, _) = line.field();
    let is_comment = name.is_empty();
    let is_marked = name.starts_with(b"\xef\xbb\xbf");
    !is_comment && !is_known(name) && !is_spaced(line) && !is_json(line) && !is_marked
}

pub(super) fn retry(stream: &Stream<'_>) -> Option<Finding> {
    for line in &stream.whole {
        let (name, value) = line.field();
        if name != b"retry" {
            continue;
        }
        if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
            let reason = format!("{} is void: a reconnection time is digits", shown(line.text));
            return Some(Finding::fault(reason));
        }
        let digits = String::from_utf8_lossy(value);
        let time = digits.parse::<u64>().unwrap_or(u64::MAX);
        if !(1..=3_600_000).contains(&time) {
            let reason = format!("a reconnection time of {digits} ms");
            return Some(Finding::warn(reason));
        }
    }
    None
}

pub(super) fn no_data(stream: &Stream<'_>) -> Option<String> {
    let block = blocks(&stream.whole).into_iter().find(|block| {
        let has = |name: &[u8]| block.iter().any(|line| line.field().0 == name);
        // An id alone is meant: it sets the last event ID.
        has(b"event") && !has(b"data")
    })?;
    let text: Vec<_> = block.iter().map(|line| shown(line.text)).collect();
    Some(format!("clients drop {:?}, which has no data", text.join("\\n")))
}

pub(super) fn end(stream: &Stream<'_>) -> Option<String> {
    let Stream { tape, lines, .. } = stream;
    let (_, end) = tape.end.as_ref()?;
    if matches!(end, End::Reset | End::Malformed(_)) || tape.total > tape.body.len() as u64 {
        return None;
    }
    let last = lines.iter().rposition(Line::is_blank).map_or(0, |at| at + 1);
    let rest = lines.get(last..).unwrap_or_default();
    let is_field = |line: &&Line<'_>| matches!(line.field().0, b"data" | b"event" | b"id");
    let line = rest.iter().find(is_field)?;
    Some(format!("the stream ended after {}, before a blank line", shown(line.text)))
}

pub(super) fn length(stream: &Stream<'_>) -> Option<String> {
    let Stream { tape, whole, .. } = stream;
    let line = whole.iter().map(|line| line.text.len()).max().unwrap_or(0);
    let event = tape.events.iter().map(|event| event.data.len()).max().unwrap_or(0);
    if event > LONG_EVENT {
        Some(format!("an event has {event} bytes; some clients stop at 1 MiB"))
    } else if line > LONG_LINE {
        Some(format!("a line has {line} bytes; some clients stop at 8 or 64 KiB"))
    } else {
        None
    }
}

pub(super) fn heartbeat(stream: &Stream<'_>) -> Option<String> {
    let tape = stream.tape;
    let is_it = |data: &str| {
        let data = data.trim().to_ascii_lowercase();
        matches!(
            data.as_str(),
            "" | "ping" | "heartbeat" | "keep-alive" | "keepalive" | "thump" | "{}"
        )
    };
    let event = tape.events.iter().find(|event| event.event == "message" && is_it(&event.data))?;
    Some(format!("{:?} comes to every client as a message", event.data))
}

pub(super) fn id_header(stream: &Stream<'_>) -> Option<String> {
    let tape = stream.tape;
    let ids = tape.events.iter().filter_map(|event| event.id.as_deref());
    for id in ids {
        let fault = if id.len() > 128 {
            format!("has {} bytes", id.len())
        } else if id.bytes().any(|byte| byte < 0x20 || byte == 0x7f) {
            "has a control character, so that it cannot be sent back".to_owned()
        } else if id.trim() != id {
            "begins or ends in a space, which a header loses".to_owned()
        } else {
            continue;
        };
        return Some(format!("the id {} {fault}", shown(id.as_bytes())));
    }
    None
}

pub(super) fn id_unique(stream: &Stream<'_>) -> Option<String> {
    let Stream { tape, whole, .. } = stream;
    let mut seen = BTreeSet::new();
    let mut last: Option<(&str, &str)> = None;
    for event in tape.events.iter().filter(|event| is_application(event)) {
        let Some(id) = event.id.as_deref().filter(|id| !id.is_empty()) else { continue };
        // A stream that goes back and repeats an event is the business of `res`.
        let is_repeat = last.is_some_and(|(_, data)| data == event.data);
        if !seen.insert(id) && last.is_some_and(|(last, _)| last == id) && !is_repeat {
            return Some(format!("two events have the id {}", shown(id.as_bytes())));
        }
        last = Some((id, &event.data));
    }
    let is_empty = |line: &&Line<'_>| line.field() == (&b"id"[..], &b""[..]);
    let has_ids = !seen.is_empty();
    (has_ids && whole.iter().any(|line| is_empty(&line)))
        .then(|| "an empty id makes clients forget where they were".to_owned())
}

pub(super) fn chunks(stream: &Stream<'_>) -> Option<String> {
    let tape = stream.tape;
    let small = tape.chunks.iter().filter(|&&size| size < 8).count();
    let is_scattered = tape.chunks.len() > 20 && small * 2 > tape.chunks.len();
    is_scattered
        .then(|| format!("{small} of {} HTTP chunks have less than 8 bytes", tape.chunks.len()))
}
