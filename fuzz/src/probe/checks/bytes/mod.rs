//! `fmt`: what the bytes of the streams say that have been read. No requests of its own.

use std::time::Duration;

use crate::probe::check::Needed::{Bytes, End as Ended, Event, Id};
use crate::probe::check::Severity::{Error, Note, Warning};
use crate::probe::check::{Check, Needed, Run, Turn};
use crate::probe::context::Probe;
use crate::probe::finding::Finding;
use crate::probe::lines::Stream;
use crate::wire::tape::{Seen, Tape};

mod faults;

/// A fault that is told by a sentence.
macro_rules! read {
    ($needed:expr, $fault:ident) => {
        Run::Read($needed, |stream| faults::$fault(stream).map(Finding::fault))
    };
}

pub(super) const CHECKS: &[Check] = &[
    Check::new("fmt.utf8", Error, "9.2.5", "The stream is UTF-8", read!(Bytes, utf8)),
    Check::new(
        "fmt.bom",
        Warning,
        "9.2.5",
        "A byte order mark begins no line but the first",
        read!(Bytes, bom),
    ),
    Check::new("fmt.terminators", Note, "9.2.5", "Lines end in one way", read!(Bytes, terminators)),
    Check::new(
        "fmt.lf-cr",
        Warning,
        "9.2.5",
        "No LF CR, which makes an unintended blank line",
        read!(Bytes, lf_cr),
    ),
    Check::new(
        "fmt.fields",
        Warning,
        "9.2.6",
        "Fields are data, event, id and retry, in lower case",
        read!(Event, fields),
    ),
    Check::new(
        "fmt.space",
        Warning,
        "9.2.6",
        "No space before a field's name or its colon",
        read!(Event, space),
    ),
    Check::new(
        "fmt.bare-json",
        Warning,
        "9.2.6",
        "No line is JSON without a field",
        read!(Event, bare_json),
    ),
    Check::new(
        "fmt.id-nul",
        Error,
        "9.2.6",
        "No id has a NUL, which makes it void",
        read!(Id, id_nul),
    ),
    Check::new(
        "fmt.retry",
        Error,
        "9.2.6",
        "A reconnection time is digits, from 1 ms to an hour",
        Run::Read(Bytes, faults::retry),
    ),
    Check::new(
        "fmt.no-data",
        Warning,
        "9.2.6",
        "No block has a type without data: clients drop it",
        read!(Event, no_data),
    ),
    Check::new(
        "fmt.end",
        Error,
        "9.2.6",
        "The stream ends at a blank line, or the last event is lost",
        read!(Ended, end),
    ),
    Check::new(
        "fmt.data-data",
        Note,
        "9.2.6",
        "No data begins with `data:`, a field written twice",
        read!(Event, data_data),
    ),
    Check::new(
        "fmt.length",
        Note,
        "advice",
        "No line above 64 KiB, no event above 1 MiB",
        read!(Event, length),
    ),
    Check::new(
        "fmt.silence",
        Warning,
        "9.2.7",
        "No silence of more than 60 s, better none of 15 s",
        Run::Look(silence),
    )
    .at(Turn::Gathered),
    Check::new(
        "fmt.heartbeat",
        Note,
        "9.2.7",
        "A heartbeat is a comment, not an event for every client",
        read!(Event, heartbeat),
    ),
    Check::new(
        "fmt.first-byte",
        Warning,
        "advice",
        "The first byte comes within a second of the head",
        Run::Look(first_byte),
    )
    .at(Turn::Gathered),
    Check::new(
        "fmt.reserved-type",
        Warning,
        "9.2.2",
        "No type is `error` or `open`, which an EventSource fires itself",
        read!(Event, reserved_type),
    ),
    Check::new(
        "fmt.id-header",
        Warning,
        "9.2.4",
        "Ids fit a header: 128 bytes, no controls, no space at the ends",
        read!(Id, id_header),
    ),
    Check::new(
        "fmt.id-unique",
        Warning,
        "9.2.4",
        "No id is used twice, none is empty",
        read!(Id, id_unique),
    ),
    Check::new(
        "fmt.chunks",
        Note,
        "advice",
        "Events are not scattered over many HTTP chunks",
        read!(Bytes, chunks),
    ),
];

/// Looks for a fault in all streams that have been read.
pub(super) fn judge(
    probe: &Probe,
    needed: Needed,
    fault: fn(&Stream<'_>) -> Option<Finding>,
) -> Finding {
    if let Some(silence) = all_silent(probe) {
        return silence;
    }
    let kept = probe.tapes.lock().expect("no check panics while it holds this");
    let witness = probe.witness.tape();
    let tapes: Vec<&Tape> = std::iter::once(&*witness).chain(kept.iter()).collect();
    for tape in &tapes {
        if let Some(finding) = fault(&Stream::of(tape)) {
            return finding.saw(&probe.target, tape);
        }
    }
    match unseen(needed, &tapes) {
        Some(text) => Finding::inconclusive(text).saw(&probe.target, &witness),
        None => Finding::pass(),
    }
}

/// With fewer events than this, unless the server ended the stream, the absence of a fault says
/// little.
const ENOUGH: usize = 3;

/// What is found if no stream had a byte.
fn all_silent(probe: &Probe) -> Option<Finding> {
    let kept = probe.tapes.lock().expect("no check panics while it holds this");
    let witness = probe.witness.tape();
    let is_silent = witness.body.is_empty() && kept.iter().all(|tape| tape.body.is_empty());
    let text = "not a byte came; publish something, or wait longer (--wait)";
    is_silent.then(|| Finding::inconclusive(text).saw(&probe.target, &witness))
}

/// Why the absence of a fault says nothing.
fn unseen(needed: Needed, tapes: &[&Tape]) -> Option<&'static str> {
    let has_ended = tapes.iter().any(|tape| tape.end.is_some());
    let count = |is_it: fn(&&Seen) -> bool| {
        tapes.iter().flat_map(|tape| &tape.events).filter(is_it).count()
    };
    let (seen, text) = match needed {
        Bytes => return None,
        Ended if has_ended => return None,
        Ended => return Some("no stream has ended while it was watched"),
        Event => (count(|_| true), "fewer than three events have come"),
        Id => (count(|event| event.id.is_some()), "fewer than three events with an id have come"),
    };
    (seen < if has_ended { 1 } else { ENOUGH }).then_some(text)
}

/// The longest time without a byte in which its reader was there to see one.
fn gaps(tape: &Tape, watched: Duration) -> Duration {
    let begin = tape.headed.unwrap_or_default();
    let end = tape.end.as_ref().map_or(watched, |(at, _)| *at);
    let times = tape.marks.iter().map(|mark| mark.at).chain([end]);
    let mut last = begin;
    let mut longest = Duration::ZERO;
    for at in times {
        longest = longest.max(tape.awake(last, at));
        last = at;
    }
    longest
}

fn silence(probe: &Probe) -> Finding {
    if let Some(silence) = all_silent(probe) {
        return silence;
    }
    let tape = probe.witness.tape();
    let watched = probe.witness.start().elapsed();
    let longest = gaps(&tape, watched);
    let text = format!("{:.1} s without a byte", longest.as_secs_f32());
    let finding = if longest > Duration::from_mins(1) {
        Finding::fault(text)
    } else if longest > Duration::from_secs(15) {
        Finding::info(text)
    } else if watched < Duration::from_secs(16) && probe.settings.wait < Duration::from_secs(16) {
        let text = "the stream was watched for less than 16 s; watch longer (--wait 70)";
        Finding::inconclusive(text)
    } else {
        Finding::pass_with(format!("at most {text}"))
    };
    finding.saw(&probe.target, &tape)
}

fn first_byte(probe: &Probe) -> Finding {
    if let Some(silence) = all_silent(probe) {
        return silence;
    }
    let tape = probe.witness.tape();
    let (Some(head), Some(first)) = (tape.headed, tape.marks.first()) else {
        return Finding::inconclusive("not a byte came");
    };
    let late = first.at.saturating_sub(head);
    let fault = (late > Duration::from_secs(1)).then(|| {
        format!("the first byte came {:.1} s after the head; send a comment", late.as_secs_f32())
    });
    Finding::of(fault).of_time().saw(&probe.target, &tape)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{CHECKS, Run};
    use crate::probe::lines::Stream;
    use crate::wire::tape::Tape;

    fn found(bytes: &[u8]) -> Vec<String> {
        let mut tape = Tape::new(b"GET / HTTP/1.1\r\n\r\n".to_vec());
        tape.put(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n", Duration::ZERO);
        tape.put(bytes, Duration::ZERO);
        tape.close(Duration::ZERO, false);
        let stream = Stream::of(&tape);
        let found = CHECKS.iter().filter(|check| match check.run {
            Run::Read(_, fault) => fault(&stream).is_some(),
            _ => false,
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
