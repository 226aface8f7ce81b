//! `cut`: connections that break where it hurts. What was whole must have been delivered, what was
//! not must be forgotten, and the next stream starts afresh.

use crate::hostile::case::{ADVICE, CHUNKED, Case, Check, Script};
use crate::hostile::dialect::chunk_of_http;

const END: &str = "9.2.6";
const M: &str = "message";

/// Cases in which the end is an error, of whatever layer.
const END_IS_ERROR: [&str; 5] = [
    "cut.rst-mid-codepoint",
    "cut.chunked-truncated",
    "cut.chunked-unfinished",
    "cut.chunked-garbage",
    "cut.length",
];

/// Cases that a client fails, too, if it forgets nothing at all.
const FORGETS: [&str; 6] = [
    "cut.mid-line",
    "cut.mid-name",
    "cut.mid-id",
    "cut.after-cr",
    "cut.bom-again",
    "cut.rst-mid-codepoint",
];

/// What all of them begin with.
const FIRST: &str = "retry: 200\nid: 1\ndata: a\n\n";

pub(super) fn cases() -> Vec<Case> {
    let resumed = |id: &str, title: &str, correct: &str, first: Script, second: &[u8]| {
        let reference = match id {
            "cut.rst" => "9.2.3",
            "cut.bom-again" | "cut.rst-mid-codepoint" => "9.2.5",
            "cut.length" => "RFC 9112, 8",
            _ if id.starts_with("cut.chunked") => "RFC 9112, 8",
            _ => END,
        };
        Case::new(id, title, reference, correct)
            .on(first)
            .on(Script::stream(second).alive())
            .events(&[(M, "a", "1"), (M, "b", "2")])
            .resumes(2, Some("1"))
            .rests_on(if END_IS_ERROR.contains(&id) { &["cut.rst"] } else { &[] })
            .rests_on(if FORGETS.contains(&id) { &["cut.mid-event"] } else { &[] })
    };
    let second: &[u8] = b"id: 2\ndata: b\n\n";
    let with = |rest: &[u8]| Script::stream(FIRST).send(rest);
    let chunked = |bytes: &[u8]| {
        Script::head(CHUNKED).send(chunk_of_http(FIRST.as_bytes())).settle().send(bytes)
    };
    let length = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 1000\r\n\
                  Connection: close\r\n\r\n";
    vec![
        resumed(
            "cut.mid-event",
            "The stream ends inside an event",
            "Forgets the event and its id, and resumes from the id before.",
            with(b"id: 9\nevent: x\ndata: lost\n"),
            second,
        ),
        resumed(
            "cut.mid-line",
            "The stream ends inside a line",
            "Forgets the line: the next stream does not continue it.",
            with(b"data: lost"),
            b"id: 2\ndata: b\n\n",
        ),
        resumed(
            "cut.mid-name",
            "The stream ends inside a field's name",
            "Forgets it: the next stream does not continue it.",
            with(b"da"),
            b"ta: joined\nid: 2\ndata: b\n\n",
        ),
        resumed(
            "cut.mid-id",
            "The stream ends inside an id",
            "Does not resume from half an id.",
            with(b"data: lost\nid: 99"),
            b"9\nid: 2\ndata: b\n\n",
        ),
        resumed(
            "cut.after-cr",
            "The stream ends after a CR, and the next begins with LF",
            "Does not take them for one line end, and delivers the next event.",
            with(b"data: lost\r"),
            b"\nid: 2\ndata: b\n\n",
        )
        .rests_on(&["parse.no-data"]),
        resumed(
            "cut.bom-again",
            "The stream that resumes begins with a byte order mark, too",
            "Drops it.",
            with(b""),
            b"\xef\xbb\xbfid: 2\ndata: b\n\n",
        ),
        resumed(
            "cut.rst",
            "The connection is reset after an event",
            "Resumes.",
            with(b"").reset(),
            second,
        ),
        resumed(
            "cut.rst-mid-codepoint",
            "The connection is reset inside a character",
            "Forgets the half: the next stream does not complete it.",
            with(b"data: \xe2\x82").reset(),
            b"\xac: x\nid: 2\ndata: b\n\n",
        ),
        resumed(
            "cut.chunked-truncated",
            "The connection ends inside a chunk of HTTP",
            "Delivers what was whole, and resumes.",
            chunked(b"ff\r\n: comment\n"),
            second,
        ),
        resumed(
            "cut.chunked-unfinished",
            "The connection ends without the last chunk of HTTP",
            "Resumes.",
            chunked(b""),
            second,
        ),
        resumed(
            "cut.chunked-garbage",
            "A chunk of HTTP has no length",
            "Delivers what was whole, and resumes.",
            chunked(b"zz\r\n: comment\n\r\n"),
            second,
        ),
        resumed(
            "cut.length",
            "The connection ends before Content-Length",
            "Delivers what was whole, and resumes.",
            Script::head(length).send(FIRST).settle(),
            second,
        ),
        Case::new(
            "cut.before-head",
            "The connection ends without an answer, once",
            "9.2.3",
            "Resumes from the id that it has.",
        )
        .on(Script::stream(FIRST))
        .on(Script::default())
        .on(Script::stream(second).alive())
        .events(&[(M, "a", "1"), (M, "b", "2")])
        .resumes(3, Some("1"))
        .deadline(12),
        Case::new(
            "cut.in-head",
            "The connection ends inside the response's head, once",
            ADVICE,
            "Resumes from the id that it has. Half a head has no meaning (RFC 9112, 8), but Chromium takes it \
             for a whole one.",
        )
        .on(Script::stream(FIRST))
        .on(Script::head("HTTP/1.1 200 OK\r\nContent-Ty"))
        .on(Script::stream(second).alive())
        .events(&[(M, "a", "1"), (M, "b", "2")])
        .resumes(3, Some("1"))
        .rests_on(&["cut.before-head"])
        .deadline(15),
        Case::new(
            "cut.always",
            "Every connection is reset at once",
            ADVICE,
            "Does not come back in a tight loop.",
        )
        .on(Script::default().reset())
        .events(&[])
        .check(Check::NoLoop)
        .watch(4),
    ]
}
