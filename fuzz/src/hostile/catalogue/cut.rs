//! `cut`: connections that break where it hurts. What was whole must have been delivered, what was
//! not must be forgotten, and the next stream starts afresh.

use crate::hostile::case::{ADVICE, CHUNKED, Case, Check, Script};
use crate::hostile::dialect::chunk_of_http;

const END: &str = "9.2.6";
const M: &str = "message";

/// What all of them begin with.
const FIRST: &str = "retry: 200\nid: 1\ndata: a\n\n";

pub(super) fn cases() -> Vec<Case> {
    let resumed = |id: &str, title: &str, correct: &str, first: Script, second: &[u8]| {
        Case::new(id, title, END, correct)
            .on(first)
            .on(Script::stream(second).alive())
            .events(&[(M, "a", "1"), (M, "b", "2")])
            .resumes(2, Some("1"))
    };
    let second: &[u8] = b"id: 2\ndata: b\n\n";
    let with = |rest: &[u8]| Script::stream(FIRST).send(rest);
    let chunked =
        |bytes: &[u8]| Script::head(CHUNKED).send(chunk_of_http(FIRST.as_bytes())).send(bytes);
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
            b"ta: joined\n\nid: 2\ndata: b\n\n",
        ),
        resumed(
            "cut.mid-id",
            "The stream ends inside an id",
            "Does not resume from half an id.",
            with(b"data: lost\nid: 99"),
            b"\n\nid: 2\ndata: b\n\n",
        ),
        resumed(
            "cut.after-cr",
            "The stream ends after a CR, and the next begins with LF",
            "Does not take them for one line end, and delivers the next event.",
            with(b"data: lost\r"),
            b"\nid: 2\ndata: b\n\n",
        ),
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
            chunked(b"ff\r\ndata: lost\n"),
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
            chunked(b"zz\r\ndata: lost\n\n\r\n"),
            second,
        ),
        resumed(
            "cut.length",
            "The connection ends before Content-Length",
            "Delivers what was whole, and resumes.",
            Script::head(length).send(FIRST).send("data: lost"),
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
            "9.2.3",
            "Resumes from the id that it has.",
        )
        .on(Script::stream(FIRST))
        .on(Script::head("HTTP/1.1 200 OK\r\nContent-Ty"))
        .on(Script::stream(second).alive())
        .events(&[(M, "a", "1"), (M, "b", "2")])
        .resumes(3, Some("1"))
        .deadline(12),
        Case::new(
            "cut.always",
            "Every connection is reset at once",
            ADVICE,
            "Does not come back in a tight loop.",
        )
        .on(Script::default().reset())
        .events(&[])
        .check(Check::AtMost(12))
        .watch(4),
    ]
}
