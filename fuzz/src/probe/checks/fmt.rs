//! `fmt`: what the bytes of the streams say that have been read. No requests of its own.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::probe::catalogue::Check;
use crate::probe::context::{Probe, is_application};
use crate::probe::finding::{Finding, shown};
use crate::probe::lines::{Line, LineEnd, blocks, lines};
use crate::probe::tape::{End, Tape};

/// Above these, known clients give up.
const LONG_LINE: usize = 64 << 10;
const LONG_EVENT: usize = 1 << 20;

pub(super) fn judge(probe: &Probe, check: &Check) -> Finding {
    let kept = probe.tapes.lock().expect("nobody panics while keeping");
    let witness = probe.witness.tape();
    let tapes: Vec<&Tape> = std::iter::once(&*witness).chain(kept.iter()).collect();
    if tapes.iter().all(|tape| tape.body.is_empty()) {
        let text = "not a byte came; publish something, or wait longer (--wait)";
        return Finding::inconclusive(text).saw(&probe.target, &witness);
    }
    match check.id() {
        "fmt.silence" => return silence(probe, check, &witness),
        "fmt.first-byte" => return first_byte(probe, check, &witness),
        _ => {}
    }
    for tape in &tapes {
        if let Some(finding) = fault(check, tape) {
            return finding.saw(&probe.target, tape);
        }
    }
    if let Some(text) = unseen(check.id(), &tapes) {
        return Finding::inconclusive(text).saw(&probe.target, &witness);
    }
    Finding::pass()
}

/// Why what is not there has not been looked for, either.
fn unseen(id: &str, tapes: &[&Tape]) -> Option<&'static str> {
    let has_event = tapes.iter().any(|tape| !tape.events.is_empty());
    let has_id = tapes.iter().any(|tape| tape.events.iter().any(|event| event.id.is_some()));
    let has_end = tapes.iter().any(|tape| tape.end.is_some());
    match id {
        "fmt.utf8" | "fmt.bom" | "fmt.terminators" | "fmt.lf-cr" | "fmt.chunks" | "fmt.retry" => {
            None
        }
        "fmt.end" => (!has_end).then_some("no stream has ended while it was watched"),
        "fmt.id-nul" | "fmt.id-header" | "fmt.id-unique" => {
            (!has_id).then_some("no event with an id has come")
        }
        _ => (!has_event).then_some("no event has come"),
    }
}

fn fault(check: &Check, tape: &Tape) -> Option<Finding> {
    let lines = lines(&tape.body);
    let whole: Vec<Line<'_>> =
        lines.iter().copied().filter(|line| line.end != LineEnd::None).collect();
    let reason = match check.id() {
        "fmt.utf8" => utf8(tape),
        "fmt.bom" => whole
            .iter()
            .find(|line| line.text.starts_with(b"\xef\xbb\xbf"))
            .map(|line| format!("a byte order mark makes {} another field", shown(line.text))),
        "fmt.terminators" => terminators(&whole),
        "fmt.lf-cr" => lf_cr(tape),
        "fmt.fields" => whole
            .iter()
            .find(|line| is_unknown(line))
            .map(|line| format!("nobody reads {}", shown(line.text))),
        "fmt.space" => whole
            .iter()
            .find(|line| is_spaced(line))
            .map(|line| format!("a space makes another field of {}", shown(line.text))),
        "fmt.bare-json" => whole
            .iter()
            .find(|line| is_json(line))
            .map(|line| format!("nobody reads {}, which has no `data:`", shown(line.text))),
        "fmt.id-nul" => {
            let is_it = |line: &&Line<'_>| {
                let (name, value) = line.field();
                name == b"id" && value.contains(&0)
            };
            whole.iter().find(is_it).map(|line| format!("{} is void", shown(line.text)))
        }
        "fmt.retry" => return retry(check, &whole),
        "fmt.no-data" => no_data(&whole),
        "fmt.end" => end(tape, &lines),
        "fmt.data-data" => tape
            .events
            .iter()
            .find(|event| event.data.starts_with("data:"))
            .map(|event| format!("the data is {}", shown(event.data.as_bytes()))),
        "fmt.length" => length(&whole, tape),
        "fmt.heartbeat" => heartbeat(tape),
        "fmt.reserved-type" => {
            let is_it = |name: &str| matches!(name, "error" | "open");
            tape.events
                .iter()
                .find(|event| is_it(&event.event))
                .map(|event| format!("an EventSource has events {:?} of its own", event.event))
        }
        "fmt.id-header" => id_header(tape),
        "fmt.id-unique" => id_unique(tape, &whole),
        _ => chunks(tape),
    };
    reason.map(|reason| Finding::fault(check, reason))
}

fn utf8(tape: &Tape) -> Option<String> {
    let error = str::from_utf8(&tape.body).err()?;
    // No length: the rest of a character may still come.
    let len = error.error_len()?;
    let at = error.valid_up_to();
    let from = at.saturating_sub(20);
    let to = (at + len + 10).min(tape.body.len());
    Some(format!("byte {at} is no UTF-8: {}", shown(&tape.body[from..to])))
}

fn terminators(lines: &[Line<'_>]) -> Option<String> {
    let first = lines.first()?.end;
    // The blank line of LF CR is another check's business.
    let is_stray = |line: &&Line<'_>| line.is_blank() && line.end == LineEnd::Cr;
    let mut others = lines.iter().filter(|line| line.end != first);
    let other = others.find(|line| first == LineEnd::Cr || !is_stray(line))?;
    Some(format!("lines end in {first:?}, and in {:?} after {}", other.end, shown(other.text)))
}

fn lf_cr(tape: &Tape) -> Option<String> {
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

fn retry(check: &Check, lines: &[Line<'_>]) -> Option<Finding> {
    for line in lines {
        let (name, value) = line.field();
        if name != b"retry" {
            continue;
        }
        if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
            let reason = format!("{} is void: a reconnection time is digits", shown(line.text));
            return Some(Finding::fault(check, reason));
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

fn no_data(lines: &[Line<'_>]) -> Option<String> {
    let block = blocks(lines).into_iter().find(|block| {
        let has = |name: &[u8]| block.iter().any(|line| line.field().0 == name);
        // An id alone is meant: it sets the last event ID.
        has(b"event") && !has(b"data")
    })?;
    let text: Vec<_> = block.iter().map(|line| shown(line.text)).collect();
    Some(format!("no client is told of {:?}, which has no data", text.join("\\n")))
}

fn end(tape: &Tape, lines: &[Line<'_>]) -> Option<String> {
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

fn length(lines: &[Line<'_>], tape: &Tape) -> Option<String> {
    let line = lines.iter().map(|line| line.text.len()).max().unwrap_or(0);
    let event = tape.events.iter().map(|event| event.data.len()).max().unwrap_or(0);
    if event > LONG_EVENT {
        Some(format!("an event has {event} bytes; some clients stop at 1 MiB"))
    } else if line > LONG_LINE {
        Some(format!("a line has {line} bytes; some clients stop at 8 or 64 KiB"))
    } else {
        None
    }
}

fn heartbeat(tape: &Tape) -> Option<String> {
    let is_it = |data: &str| {
        let data = data.trim().to_ascii_lowercase();
        matches!(
            data.as_str(),
            "" | "ping" | "heartbeat" | "keep-alive" | "keepalive" | "thump" | "{}"
        )
    };
    let event = tape.events.iter().find(|event| event.event == "message" && is_it(&event.data))?;
    Some(format!("{:?} is handed to every client as a message", event.data))
}

fn id_header(tape: &Tape) -> Option<String> {
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

fn id_unique(tape: &Tape, lines: &[Line<'_>]) -> Option<String> {
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
    (has_ids && lines.iter().any(|line| is_empty(&line)))
        .then(|| "an empty id makes clients forget where they were".to_owned())
}

fn chunks(tape: &Tape) -> Option<String> {
    let small = tape.chunks.iter().filter(|&&size| size < 8).count();
    let is_scattered = tape.chunks.len() > 20 && small * 2 > tape.chunks.len();
    is_scattered
        .then(|| format!("{small} of {} HTTP chunks have less than 8 bytes", tape.chunks.len()))
}

/// The longest time without a byte, and how long was watched.
fn gaps(tape: &Tape, watched: Duration) -> Duration {
    let begin = tape.headed.unwrap_or_default();
    let end = tape.end.as_ref().map_or(watched, |(at, _)| *at);
    let times = tape.marks.iter().map(|mark| mark.at).chain([end]);
    let mut last = begin;
    let mut longest = Duration::ZERO;
    for at in times {
        longest = longest.max(at.saturating_sub(last));
        last = at;
    }
    longest
}

fn silence(probe: &Probe, check: &Check, tape: &Tape) -> Finding {
    let watched = probe.witness.start().elapsed();
    let longest = gaps(tape, watched);
    let text = format!("{:.1} s without a byte", longest.as_secs_f32());
    let finding = if longest > Duration::from_mins(1) {
        Finding::fault(check, text)
    } else if longest > Duration::from_secs(15) {
        Finding::info(text)
    } else if watched < Duration::from_secs(16) && probe.settings.wait < Duration::from_secs(16) {
        let text = "it was watched for less than 16 s; watch longer (--wait 70)";
        Finding::inconclusive(text)
    } else {
        Finding::pass_with(format!("at most {text}"))
    };
    finding.saw(&probe.target, tape)
}

fn first_byte(probe: &Probe, check: &Check, tape: &Tape) -> Finding {
    let (Some(head), Some(first)) = (tape.headed, tape.marks.first()) else {
        return Finding::inconclusive("not a byte came");
    };
    let late = first.at.saturating_sub(head);
    let fault = (late > Duration::from_secs(1)).then(|| {
        format!("the first byte came {:.1} s after the head; send a comment", late.as_secs_f32())
    });
    Finding::of(check, fault).saw(&probe.target, tape)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::fault;
    use crate::probe::catalogue::checks;
    use crate::probe::tape::Tape;

    fn found(bytes: &[u8]) -> Vec<String> {
        let mut tape = Tape::new(b"GET / HTTP/1.1\r\n\r\n".to_vec());
        tape.put(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n", Duration::ZERO);
        tape.put(bytes, Duration::ZERO);
        tape.close(Duration::ZERO, false);
        let checks = checks().into_iter().filter(|check| check.section() == "fmt");
        let found = checks.filter(|check| {
            !matches!(check.id(), "fmt.silence" | "fmt.first-byte" | "fmt.chunks")
                && fault(check, &tape).is_some()
        });
        found.map(|check| check.id().to_owned()).collect()
    }

    #[test]
    fn each_fault_of_the_bytes_is_told_from_the_others() {
        for (bytes, expected) in [
            (&b":ok\nretry: 1000\n\nid: 1\nevent: a\ndata: x\n\nid: 2\n\n"[..], None),
            (b"\xef\xbb\xbfdata: x\n\n", None),
            (b"data: x\r\n\r\ndata: y\r\n\r\n", None),
            (b"data: \xff\n\n", Some("fmt.utf8")),
            (b"data: x\n\n\xef\xbb\xbfdata: x\n\n", Some("fmt.bom")),
            (b"data: x\n\ndata: y\r\n\r\n", Some("fmt.terminators")),
            (b"data: x\n\nData: y\n\n", Some("fmt.fields")),
            (b"data: x\n\n data: y\n\n", Some("fmt.space")),
            (b"data: x\n\ndata : y\n\n", Some("fmt.space")),
            (b"data: x\n\n{\"error\": 1}\n\n", Some("fmt.bare-json")),
            (b"id: 1\0\ndata: x\n\n", Some("fmt.id-nul")),
            (b"retry: 5s\ndata: x\n\n", Some("fmt.retry")),
            (b"retry: 0\ndata: x\n\n", Some("fmt.retry")),
            (b"retry: 3600001\ndata: x\n\n", Some("fmt.retry")),
            (b"event: done\n\n", Some("fmt.no-data")),
            (b"data: x\n\ndata: y\n", Some("fmt.end")),
            (b"data: x\n\ndata: y", Some("fmt.end")),
            (b"data: data: y\n\n", Some("fmt.data-data")),
            (b"data: ping\n\n", Some("fmt.heartbeat")),
            (b"event: error\ndata: x\n\n", Some("fmt.reserved-type")),
            (b"id: a\tb\ndata: x\n\n", Some("fmt.id-header")),
            (b"id: a \ndata: x\n\n", Some("fmt.id-header")),
            (b"id: 1\ndata: x\n\nid: 1\ndata: y\n\n", Some("fmt.id-unique")),
            (b"id: 1\ndata: x\n\nid\ndata: y\n\n", Some("fmt.id-unique")),
        ] {
            assert_eq!(found(bytes), Vec::from_iter(expected), "{}", bytes.escape_ascii());
        }
        let long = format!("data: {}\n\n", "x".repeat(70_000)).into_bytes();
        assert_eq!(found(&long), ["fmt.length"]);
        assert_eq!(found(b"data: x\n\rdata: y\n\n"), ["fmt.lf-cr"]);
    }
}
